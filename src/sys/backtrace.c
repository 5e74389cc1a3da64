#include "sys/backtrace.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "sys/elf.h"
#include "sys/filter.h"

/* The C++ ABI's interface (Itanium C++ ABI, level I), in the types that it says. */
typedef int trace_step(void *context, void *arg);
typedef int backtrace_function(trace_step *step, void *arg);
typedef uintptr_t get_ip_function(void *context);

enum { GO_ON = 0, STOP = 4 }; /* _URC_NO_REASON, _URC_NORMAL_STOP */

XS_UNLIKELY_DATA static struct {
    backtrace_function *walk;
    get_ip_function *get_ip;
    uintptr_t start; /* of this library's memory */
    uintptr_t end;
    atomic_bool known;
} unwinder;

static XS_TLS bool walking; /* the unwinder itself allocates: that call has no stack */

extern const ElfW(Ehdr) __ehdr_start XS_HIDDEN;
extern const char _end[] XS_HIDDEN;

bool xs_backtrace_open(bool may_load)
{
    if (unwinder.walk != NULL)
        return true;
    void *walk = xs_elf_next("_Unwind_Backtrace");
    void *get_ip = xs_elf_next("_Unwind_GetIP");
    if ((walk == NULL || get_ip == NULL) && may_load) {
        void *library = dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (library == NULL)
            return false;
        walk = dlsym(library, "_Unwind_Backtrace");
        get_ip = dlsym(library, "_Unwind_GetIP");
    }
    if (walk == NULL || get_ip == NULL)
        return false;
    unwinder.get_ip = (get_ip_function *)(uintptr_t)get_ip;
    unwinder.walk = (backtrace_function *)(uintptr_t)walk;
    return true;
}

/* In this library's own code. */
static bool is_ours(uintptr_t pc)
{
    return pc - (uintptr_t)&__ehdr_start < (uintptr_t)_end - (uintptr_t)&__ehdr_start;
}

struct walk {
    uintptr_t *pc;
    unsigned n;
    unsigned most;
};

static int step(void *context, void *arg)
{
    struct walk *w = arg;
    uintptr_t pc = unwinder.get_ip(context);

    if (pc == 0 || w->n == w->most)
        return STOP;
    if (w->n > 0 || !is_ours(pc))
        w->pc[w->n++] = pc;
    return GO_ON;
}

unsigned xs_backtrace(uintptr_t pc[], unsigned most)
{
    struct walk w = {pc, 0, most};

    if (unwinder.walk == NULL || walking || xs_is_filtered())
        return 0;
    walking = true;
    (void)unwinder.walk(step, &w);
    walking = false;
    return w.n;
}

/* ---- names ------------------------------------------------------------------------------ */

struct search {
    uintptr_t at;
    const char *name;
    uintptr_t base;
};

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct search *s = arg;

    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type == PT_LOAD && s->at - (info->dlpi_addr + h->p_vaddr) < h->p_memsz) {
            s->name = info->dlpi_name;
            s->base = info->dlpi_addr;
            return 1;
        }
    }
    return 0;
}

bool xs_backtrace_object(uintptr_t at, const char **name, uintptr_t *base)
{
    struct search s = {.at = at};

    if (dl_iterate_phdr(look, &s) == 0)
        return false;
    *name = s.name;
    *base = s.base;
    return true;
}

void xs_backtrace_name(struct xs_buf *b, uintptr_t pc)
{
    char program[256];
    const char *name;
    uintptr_t base;

    pc--; /* from where it returns to, into the call */
    if (!xs_backtrace_object(pc, &name, &base)) {
        xs_fmt(b, "0x%lx", (unsigned long)pc);
        return;
    }
    if (name[0] == '\0') {
        ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
        program[n > 0 ? n : 0] = '\0';
        name = n > 0 ? program : "program";
    }
    xs_fmt(b, "%s+0x%lx", name, (unsigned long)(pc - base));
}
