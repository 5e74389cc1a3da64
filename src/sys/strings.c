/* What libc has for strings, for texts of a few words.
 *
 * libc's are fast on long ones, by code for each kind of processor, far from each other in its
 * file: to use them once at start maps some 200 KiB of that file into processes that never do so
 * again. So the library is linked with --wrap for each name here, as for those of sys/direct.c.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

size_t __wrap_strlen(const char *s);
size_t __wrap_strlen(const char *s)
{
    size_t n = 0;

    while (s[n] != '\0')
        n++;
    return n;
}

size_t __wrap_strnlen(const char *s, size_t most);
size_t __wrap_strnlen(const char *s, size_t most)
{
    size_t n = 0;

    while (n < most && s[n] != '\0')
        n++;
    return n;
}

int __wrap_strncmp(const char *a, const char *b, size_t n);
int __wrap_strncmp(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] || a[i] == '\0')
            return (unsigned char)a[i] - (unsigned char)b[i];
    return 0;
}

int __wrap_strcmp(const char *a, const char *b);
int __wrap_strcmp(const char *a, const char *b)
{
    return __wrap_strncmp(a, b, (size_t)-1);
}

int __wrap_memcmp(const void *a, const void *b, size_t n);
int __wrap_memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a;
    const unsigned char *y = b;

    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

void *__wrap_memchr(const void *s, int c, size_t n);
void *__wrap_memchr(const void *s, int c, size_t n)
{
    const unsigned char *at = s;

    for (size_t i = 0; i < n; i++)
        if (at[i] == (unsigned char)c)
            return (void *)(at + i);
    return NULL;
}

char *__wrap_strchr(const char *s, int c);
char *__wrap_strchr(const char *s, int c)
{
    for (; *s != (char)c; s++)
        if (*s == '\0')
            return NULL;
    return (char *)s;
}

char *__wrap_strrchr(const char *s, int c);
char *__wrap_strrchr(const char *s, int c)
{
    const char *last = NULL;

    do {
        if (*s == (char)c)
            last = s;
    } while (*s++ != '\0');
    return (char *)last;
}

size_t __wrap_strspn(const char *s, const char *of);
size_t __wrap_strspn(const char *s, const char *of)
{
    size_t n = 0;

    while (s[n] != '\0' && __wrap_strchr(of, s[n]) != NULL)
        n++;
    return n;
}

size_t __wrap_strcspn(const char *s, const char *of);
size_t __wrap_strcspn(const char *s, const char *of)
{
    size_t n = 0;

    while (s[n] != '\0' && __wrap_strchr(of, s[n]) == NULL)
        n++;
    return n;
}

void *__wrap_memmem(const void *s, size_t n, const void *what, size_t len);
void *__wrap_memmem(const void *s, size_t n, const void *what, size_t len)
{
    const unsigned char *text = s;
    const unsigned char *word = what;
    uint64_t has[4] = {0}; /* the characters of the word */

    for (size_t i = 0; i < len; i++)
        has[word[i] / 64] |= 1UL << word[i] % 64;
    for (size_t i = 0; len <= n && i <= n - len;) {
        /* Where the word's last character would be stands one that is not of it. */
        if (len != 0 && (has[text[i + len - 1] / 64] >> text[i + len - 1] % 64 & 1) == 0)
            i += len;
        else if (__wrap_memcmp(text + i, word, len) == 0)
            return (void *)(text + i);
        else
            i++;
    }
    return NULL;
}

char *__wrap_strstr(const char *s, const char *what);
char *__wrap_strstr(const char *s, const char *what)
{
    return __wrap_memmem(s, __wrap_strlen(s), what, __wrap_strlen(what));
}
