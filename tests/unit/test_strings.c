/* sys/strings.c answers as libc does, on random short texts of few letters. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

size_t __wrap_strlen(const char *s);
size_t __wrap_strnlen(const char *s, size_t most);
int __wrap_strncmp(const char *a, const char *b, size_t n);
int __wrap_strcmp(const char *a, const char *b);
int __wrap_memcmp(const void *a, const void *b, size_t n);
void *__wrap_memchr(const void *s, int c, size_t n);
char *__wrap_strchr(const char *s, int c);
char *__wrap_strrchr(const char *s, int c);
size_t __wrap_strspn(const char *s, const char *of);
size_t __wrap_strcspn(const char *s, const char *of);
void *__wrap_memmem(const void *s, size_t n, const void *what, size_t len);
char *__wrap_strstr(const char *s, const char *what);

static unsigned seed = 1;

static void make(char *to, unsigned most)
{
    unsigned len = (unsigned)rand_r(&seed) % (most + 1);

    for (unsigned i = 0; i < len; i++)
        to[i] = "ab\xe4\xff"[rand_r(&seed) % 4];
    to[len] = '\0';
}

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

Test(strings, as_libc)
{
    static const int letters[] = {'a', 'b', 0xe4, -1, 'x', '\0', 256 + 'a'};
    char a[41];
    char b[5];
    char c[41];

    for (int round = 0; round < 200000; round++) {
        make(a, round % 2 == 0 ? 40 : 6);
        make(b, 4);
        make(c, 6);
        size_t n = (size_t)rand_r(&seed) % 8;
        size_t both = n <= strlen(a) && n <= strlen(c) ? n : 0;
        cr_assert_eq(__wrap_strlen(a), strlen(a));
        cr_assert_eq(__wrap_strnlen(a, n), strnlen(a, n));
        cr_assert_eq(sign(__wrap_strcmp(a, c)), sign(strcmp(a, c)));
        cr_assert_eq(sign(__wrap_strncmp(a, c, n)), sign(strncmp(a, c, n)));
        cr_assert_eq(sign(__wrap_memcmp(a, c, both)), sign(memcmp(a, c, both)));
        cr_assert_eq(__wrap_strspn(a, b), strspn(a, b));
        cr_assert_eq(__wrap_strcspn(a, b), strcspn(a, b));
        cr_assert_eq(__wrap_memmem(a, strlen(a), b, strlen(b)), memmem(a, strlen(a), b, strlen(b)));
        cr_assert_eq(__wrap_strstr(a, b), strstr(a, b));
        for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
            cr_assert_eq(__wrap_memchr(a, letters[i], both), memchr(a, letters[i], both));
            cr_assert_eq(__wrap_strchr(a, letters[i]), strchr(a, letters[i]));
            cr_assert_eq(__wrap_strrchr(a, letters[i]), strrchr(a, letters[i]));
        }
    }
}
