/* The part of Criterion that tests/unit uses, for machines without it: a cross compiler's, where
 * Criterion's own way of starting itself again does not work under an emulator. Each test runs in a
 * child process; main prints the failures and a count. One file of tests includes this. */
#ifndef XS_CROSS_CRITERION_H
#define XS_CROSS_CRITERION_H

#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct xs_cross_options {
    char none; /* so that no options are a list, too */
    void (*init)(void);
    void (*fini)(void);
    int signal;
    double timeout;
};

struct xs_cross_test {
    const char *suite;
    const char *name;
    void (*body)(void);
    struct xs_cross_options options;
    struct xs_cross_test *next;
};

/* A suite is a test without a body. */
static struct xs_cross_test *xs_cross_all;

static inline void xs_cross_add(struct xs_cross_test *t, struct xs_cross_options options)
{
    t->options = options;
    t->next = xs_cross_all;
    xs_cross_all = t;
}

#define XS_CROSS_ADD(id, suite_name, test_name, body_function, ...)                                \
    static struct xs_cross_test id = {                                                             \
        .suite = suite_name, .name = test_name, .body = body_function};                            \
    __attribute__((constructor)) static void id##_add(void)                                        \
    {                                                                                              \
        xs_cross_add(&id, (struct xs_cross_options){.none = 0, __VA_ARGS__});                      \
    }
#define Test(s, n, ...)                                                                            \
    static void s##_##n##_body(void);                                                              \
    XS_CROSS_ADD(s##_##n##_test, #s, #n, s##_##n##_body, __VA_ARGS__)                              \
    static void s##_##n##_body(void)
#define TestSuite(s, ...) XS_CROSS_ADD(s##_suite, #s, NULL, NULL, __VA_ARGS__)

#define XS_CROSS_CHECK(condition, text, ...)                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s ", __FILE__, __LINE__, text);                               \
            fprintf(stderr, " " __VA_ARGS__);                                                      \
            fputc('\n', stderr);                                                                   \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define XS_CROSS_COMPARE(a, op, b, ...) XS_CROSS_CHECK((a)op(b), #a " " #op " " #b, __VA_ARGS__)
#define cr_assert(c, ...)               XS_CROSS_CHECK(c, #c, __VA_ARGS__)
#define cr_assert_not(c, ...)           XS_CROSS_CHECK(!(c), "not " #c, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)         XS_CROSS_COMPARE(a, ==, b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)        XS_CROSS_COMPARE(a, !=, b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)         XS_CROSS_COMPARE(a, <, b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)        XS_CROSS_COMPARE(a, <=, b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)         XS_CROSS_COMPARE(a, >, b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)        XS_CROSS_COMPARE(a, >=, b, __VA_ARGS__)
#define cr_assert_null(a, ...)          XS_CROSS_CHECK((a) == NULL, #a " is NULL", __VA_ARGS__)
#define cr_assert_not_null(a, ...)      XS_CROSS_CHECK((a) != NULL, #a " is not NULL", __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)     XS_CROSS_CHECK(strcmp(a, b) == 0, #a " is " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)                                                               \
    XS_CROSS_CHECK(strcmp(a, b) != 0, #a " is not " #b, __VA_ARGS__)
#define cr_assert_float_eq(a, b, e, ...)                                                           \
    XS_CROSS_CHECK(fabs((double)((a) - (b))) <= (e), #a " is about " #b, __VA_ARGS__)

static const struct xs_cross_test *xs_cross_suite(const char *name)
{
    for (const struct xs_cross_test *t = xs_cross_all; t != NULL; t = t->next)
        if (t->body == NULL && strcmp(t->suite, name) == 0)
            return t;
    return NULL;
}

static bool xs_cross_run(const struct xs_cross_test *t)
{
    const struct xs_cross_test *suite = xs_cross_suite(t->suite);
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        alarm(900); /* a test that hangs; how slow an emulator is nobody knows */
        if (suite != NULL && suite->options.init != NULL)
            suite->options.init();
        t->body();
        if (suite != NULL && suite->options.fini != NULL)
            suite->options.fini();
        fflush(NULL);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return false;
    return t->options.signal != 0 ? WIFSIGNALED(status) && WTERMSIG(status) == t->options.signal
                                  : WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void)
{
    int passed = 0;
    int failed = 0;

    for (const struct xs_cross_test *t = xs_cross_all; t != NULL; t = t->next) {
        if (t->body == NULL)
            continue;
        if (xs_cross_run(t)) {
            passed++;
        } else {
            failed++;
            printf("FAIL: %s/%s\n", t->suite, t->name);
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0 || passed == 0;
}

#endif
