/* What the child of a fork has of the shim's, in a program linked with the driver: it looks no name
 * up, so only finding the driver tells of CUDA. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda_shim/shim.h"
#include "gpu/gpu.h"
#include "sys/elf.h"

/* ---- a fork while another thread finds the driver: it stands still at one look-up of a symbol, at
 * each in turn, and the child must find the whole driver itself -----------------------------------
 */

static struct {
    sem_t reached, go_on;
    unsigned at, now; /* in the thread only */
} stop;
static __thread bool is_stopped;

void *__real_xs_elf_in(const void *map, const char *name);
void *__wrap_xs_elf_in(const void *map, const char *name);
void *__wrap_xs_elf_in(const void *map, const char *name)
{
    if (is_stopped && stop.now++ == stop.at) {
        sem_post(&stop.reached);
        sem_wait(&stop.go_on);
    }
    return __real_xs_elf_in(map, name);
}

static void *look(void *unused)
{
    is_stopped = true;
    (void)xs_shim_driver();
    is_stopped = false;
    if (stop.now <= stop.at)
        sem_post(&stop.reached); /* fewer look-ups than that */
    return unused;
}

enum { WELL, NOT_FOUND, OFF, TORN, STOPPED = 20 };

/* What the program is given is the driver's own, call by call. */
static int state_of_driver(void)
{
    const void *map = xs_shim_driver();

    if (map == NULL)
        return NOT_FOUND;
    if (!xs_shim_is_on() || xs_cu.cuMemAlloc_v2 == NULL || xs_cu.cuStreamGetCtx == NULL)
        return OFF;
    for (unsigned i = 0; i < XS_HOOK_COUNT; i++)
        if (xs_shim_real[i] != __real_xs_elf_in(map, xs_hook_symbol((enum xs_hook)i)))
            return TORN;
    return xs_shim_real[XS_HOOK_cuMemAlloc_v2] == NULL ? TORN : WELL;
}

static int exit_of(pid_t child)
{
    int status;

    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

/* A process that has not found the driver yet. */
static int with_stop_at(unsigned at)
{
    pthread_t thread;
    int child, own;

    stop.at = at;
    sem_init(&stop.reached, 0, 0);
    sem_init(&stop.go_on, 0, 0);
    pthread_create(&thread, NULL, look, NULL);
    sem_wait(&stop.reached);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(5);
        xs_gpu_fork_child();
        _exit(state_of_driver());
    }
    child = exit_of(pid);
    sem_post(&stop.go_on);
    pthread_join(thread, NULL);
    own = state_of_driver();
    return child != WELL ? child : own != WELL ? own + 10 : stop.now > at ? STOPPED : WELL;
}

Test(cuda_fork, a_child_finds_the_driver_whole)
{
    unsigned at = 0;
    int result;

    cr_assert_not_null(dlopen("libcuda.so.1", RTLD_NOW), "%s", dlerror());
    do {
        pid_t pid = fork();
        if (pid == 0)
            _exit(with_stop_at(at));
        result = exit_of(pid);
        cr_assert(result == STOPPED || result == WELL, "look-up %u: %d", at, result);
        at++;
    } while (result == STOPPED);
    cr_assert_gt(at, XS_HOOK_COUNT, "each look-up was one stop");
}

/* ---- what the parent has begun ---------------------------------------------------------- */

static unsigned ended;
void __wrap_xs_gpu_capture_ended(void);
void __wrap_xs_gpu_capture_ended(void)
{
    ended++;
}

static CUresult well(void)
{
    return CUDA_SUCCESS;
}

Test(cuda_fork, a_child_has_none_of_its_parents_captures)
{
    CUstream stream = (CUstream)0x70;
    CUgraph graph;

    cr_assert_not_null(dlopen("libcuda.so.1", RTLD_NOW), "%s", dlerror());
    cr_assert(xs_shim_is_on());
    xs_shim_real[XS_HOOK_cuStreamBeginCapture_v2] = (void *)(uintptr_t)well;
    xs_shim_real[XS_HOOK_cuStreamEndCapture] = (void *)(uintptr_t)well;
    for (unsigned i = 0; i < 2; i++)
        xs_do_cuStreamBeginCapture_v2(stream, 0);
    xs_do_cuStreamEndCapture(stream, &graph);
    cr_assert_eq(ended, 1);
    pid_t pid = fork();
    if (pid == 0) {
        xs_gpu_fork_child();
        xs_do_cuStreamEndCapture(stream, &graph);
        _exit((int)ended);
    }
    cr_assert_eq(exit_of(pid), 1, "the child ended what it has not begun");
}
