/* fork_stdio.c - fork while other threads hold stdio's locks and allocate under them.
 *
 * fflush(NULL) takes the list of streams and then each stream; getline allocates with its stream
 * locked; fork takes the list of streams after the handlers of pthread_atfork. A handler that takes
 * an allocator's lock before that closes the circle and hangs.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STREAMS = 4, SECONDS = 2 };

static atomic_int stop;
static atomic_int lines;
static atomic_int flushes;

static void *flusher(void *arg)
{
    while (!atomic_load(&stop)) {
        fflush(NULL);
        atomic_fetch_add(&flushes, 1);
        usleep(1);
    }
    return arg;
}

/* Reads lines of growing length, with a fresh buffer each time: many reallocs under the lock. */
static void *reader(void *arg)
{
    FILE *f = arg;
    while (!atomic_load(&stop)) {
        rewind(f);
        char *line = NULL;
        size_t size = 0;
        while (!atomic_load(&stop) && getline(&line, &size, f) > 0) {
            free(line);
            line = NULL;
            size = 0;
            if (atomic_fetch_add(&lines, 1) % 4 == 0)
                usleep(1); /* lets go of the lock: the mutex is not fair */
        }
        free(line);
    }
    return NULL;
}

/* New streams join and leave the list, each with a buffer from malloc. */
static void *opener(void *arg)
{
    while (!atomic_load(&stop)) {
        FILE *f = fopen("/dev/null", "w");
        if (f == NULL)
            abort();
        fputs("text", f);
        fclose(f);
        usleep(1);
    }
    return arg;
}

int main(void)
{
    pthread_t t[STREAMS + 3];
    int n = 0;
    for (int i = 0; i < STREAMS; i++) {
        FILE *f = tmpfile();
        if (f == NULL)
            return 2;
        for (int line = 1; line < 200; line++)
            fprintf(f, "%*d\n", line * 7, line);
        if (pthread_create(&t[n++], NULL, reader, f) != 0)
            return 2;
    }
    if (pthread_create(&t[n++], NULL, flusher, NULL) != 0 ||
        pthread_create(&t[n++], NULL, flusher, NULL) != 0 ||
        pthread_create(&t[n++], NULL, opener, NULL) != 0)
        return 2;

    time_t end = time(NULL) + SECONDS;
    int forks = 0;
    while (time(NULL) < end || forks < 20) {
        pid_t pid = fork();
        if (pid < 0)
            return 2;
        if (pid == 0) {
            alarm(10);
            free(malloc(100));
            /* The streams' locks are nobody's in the child: stdio must work there. */
            FILE *f = fopen("/dev/null", "w");
            if (f == NULL || fputs("child", f) < 0 || fclose(f) != 0)
                _exit(1);
            _exit(0);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0) {
            fprintf(stderr, "fork %d: wait status %#x\n", forks, (unsigned)status);
            _exit(1);
        }
        forks++;
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < n; i++)
        pthread_join(t[i], NULL);
    printf("%s\n", forks >= 20 && lines > 0 && flushes > 0 ? "done" : "nothing ran");
    return 0;
}
