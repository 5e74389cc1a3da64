/* json_flat.c FILE - prints a JSON text as lines "path value": cpu.backends[0].frees 12.
 * Status 1, with the place of the error, when the text is not JSON (RFC 8259). */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text;
static const char *at;
static char path[4096];

static void bad(const char *why)
{
    fprintf(stderr, "json_flat: %s at byte %td: %.30s\n", why, at - text, at);
    exit(1);
}

static void space(void)
{
    while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')
        at++;
}

static void expect(char c)
{
    space();
    if (*at != c)
        bad("unexpected character");
    at++;
}

/* Copies a string without its quotes, escapes as they stand. */
static void string(char *out, size_t cap)
{
    size_t n = 0;
    expect('"');
    while (*at != '"') {
        if ((unsigned char)*at < 0x20)
            bad("control character in a string");
        size_t take = 1;
        if (*at == '\\') {
            if (at[1] == '\0' || strchr("\"\\/bfnrtu", at[1]) == NULL)
                bad("unknown escape");
            take = 2;
            if (at[1] == 'u') {
                take = 6;
                for (int i = 2; i < 6; i++)
                    if (!isxdigit((unsigned char)at[i]))
                        bad("bad \\u escape");
            }
        }
        while (take-- > 0) {
            if (n + 1 < cap)
                out[n++] = *at;
            at++;
        }
    }
    out[n] = '\0';
    at++;
}

static void number(void)
{
    const char *start = at;
    if (*at == '-')
        at++;
    if (*at == '0')
        at++;
    else if (isdigit((unsigned char)*at))
        while (isdigit((unsigned char)*at))
            at++;
    else
        bad("not a value");
    if (*at == '.') {
        at++;
        if (!isdigit((unsigned char)*at))
            bad("no digit after the point");
        while (isdigit((unsigned char)*at))
            at++;
    }
    if (*at == 'e' || *at == 'E') {
        at += at[1] == '+' || at[1] == '-' ? 2 : 1;
        if (!isdigit((unsigned char)*at))
            bad("no digit in the exponent");
        while (isdigit((unsigned char)*at))
            at++;
    }
    printf("%s %.*s\n", path, (int)(at - start), start);
}

static void value(size_t depth)
{
    char word[4096];
    size_t end = strlen(path);
    if (depth > 64)
        bad("nested too deeply");
    space();
    if (*at == '{') {
        at++;
        space();
        for (int first = 1; *at != '}'; first = 0) {
            if (!first)
                expect(',');
            space();
            string(word, sizeof(word));
            expect(':');
            int n = snprintf(path + end, sizeof(path) - end, "%s%s", end == 0 ? "" : ".", word);
            if (n < 0 || (size_t)n >= sizeof(path) - end)
                bad("names too long");
            value(depth + 1);
            path[end] = '\0';
            space();
        }
        at++;
    } else if (*at == '[') {
        at++;
        space();
        for (int i = 0; *at != ']'; i++) {
            if (i > 0)
                expect(',');
            snprintf(path + end, sizeof(path) - end, "[%d]", i);
            value(depth + 1);
            path[end] = '\0';
            space();
        }
        at++;
    } else if (*at == '"') {
        string(word, sizeof(word));
        printf("%s %s\n", path, word);
    } else if (strncmp(at, "true", 4) == 0 || strncmp(at, "null", 4) == 0) {
        printf("%s %.4s\n", path, at);
        at += 4;
    } else if (strncmp(at, "false", 5) == 0) {
        printf("%s false\n", path);
        at += 5;
    } else {
        number();
    }
}

int main(int argc, char **argv)
{
    static char buffer[8 << 20];
    FILE *f = argc > 1 ? fopen(argv[1], "r") : stdin;
    if (f == NULL) {
        perror(argv[1]);
        return 1;
    }
    size_t n = fread(buffer, 1, sizeof(buffer) - 1, f);
    buffer[n] = '\0';
    text = at = buffer;
    value(0);
    space();
    if (*at != '\0')
        bad("text after the value");
    return 0;
}
