#!/bin/bash
# Programs built with a sanitizer: its runtime, linked in or behind us, puts itself in front of libc, asks
# dlsym for what is there while it starts, and brings a malloc. They run under us as they do without, and
# the runtime still finds what is wrong, and nothing else.
# timeout: 280
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

cat >"$work/program.c" <<'C'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *work(void *unused)
{
    for (int i = 0; i < 2000; i++)
        free(malloc((size_t)i));
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    char *volatile block = malloc(10);

    (void)argv;
    pthread_create(&thread, NULL, work, NULL);
    pthread_join(thread, NULL);
    puts("worked");
    fflush(stdout);
    free(block);
    return argc > 1 ? block[1] == 'x' : 0;
}
C

# What a program prints, without the runtime's addresses and process numbers.
said() { # POLICY COMMAND...
    under "$1" XSIGMA_STATS=0 -- "${@:2}" >"$work/out" 2>"$work/err"
    echo "status $?" >>"$work/out"
    grep -E '^SUMMARY' "$work/err" >>"$work/out"
    cat "$work/out"
}

built=0
try() { # COMPILER FLAG...
    local program=$work/program-$built policy want wanted_wrong
    local how="$*"
    command -v "$1" >/dev/null && "$@" -g -O0 -pthread "$work/program.c" -o "$program" 2>/dev/null || return
    want=$(said none LD_PRELOAD= "$program")
    wanted_wrong=$(said none LD_PRELOAD= "$program" wrong)
    [ "$want" = $'worked\nstatus 0' ] || return # not on this kernel
    built=$((built + 1))
    for policy in "${policies[@]}"; do
        [ "$(said "$policy" "$program")" = "$want" ] || {
            fail "$policy: $how: $(cat "$work/out")"
            head -n 5 "$work/err"
        }
        [ "$(said "$policy" "$program" wrong)" = "$wanted_wrong" ] ||
            fail "$policy: $how finds $(cat "$work/out"), without us $wanted_wrong"
    done
}
try gcc -fsanitize=address
try gcc -fsanitize=address -static-libasan
try gcc -fsanitize=thread -static-libtsan
try gcc -fsanitize=thread
try gcc -fsanitize=leak
try gcc -fsanitize=undefined
try clang -fsanitize=address
try clang -fsanitize=thread
try clang -fsanitize=memory

# A block that new gave and free gets: new is the runtime's, too. And one that threads have in turn, which
# is no race for who sees malloc and free.
cat >"$work/new.cc" <<'C'
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>
int main(int argc, char **)
{
    std::vector<std::thread> threads;
    for (int k = 0; k < 4; k++)
        threads.emplace_back([k] {
            std::vector<std::string> kept;
            for (int i = 0; i < 3000; i++) {
                kept.push_back(std::string(20 + i % 200, char('a' + k)));
                if (i % 3 == 0)
                    kept.erase(kept.begin());
            }
        });
    for (auto &t : threads)
        t.join();
    int *volatile one = new int(1);
    puts("worked");
    fflush(stdout);
    if (argc > 1)
        free(one);
    else
        delete one;
}
C
for how in "-fsanitize=address" "-fsanitize=thread" "-fsanitize=leak"; do
    # shellcheck disable=SC2086 # flags
    g++ $how -g -O1 -pthread "$work/new.cc" -o "$work/new" 2>/dev/null || continue
    for argument in "" free; do
        want=$(said none LD_PRELOAD= "$work/new" $argument)
        for policy in "${policies[@]}"; do
            [ "$(said "$policy" "$work/new" $argument)" = "$want" ] || {
                fail "$policy: C++ $how $argument: $(cat "$work/out"), without us $want"
                head -n 5 "$work/err"
            }
        done
    done
done

# What TSan of gcc 11 does: mallopt before its own functions, which stand in front of libc's, can work.
cat >"$work/runtime.c" <<'C'
#include <malloc.h>
#include <stddef.h>
#include <unistd.h>
static int is_ready;
static void check(void) { if (!is_ready) _exit(66); }
int strcmp(const char *a, const char *b)
{
    check();
    for (; *a != 0 && *a == *b; a++)
        b++;
    return *(const unsigned char *)a - *(const unsigned char *)b;
}
char *strrchr(const char *s, int c)
{
    const char *found = NULL;
    check();
    for (; *s != 0; s++)
        if (*s == (char)c)
            found = s;
    return (char *)(c == 0 ? s : found);
}
__attribute__((constructor)) static void begin(void)
{
    int ok = mallopt(M_MXFAST, 0);
    is_ready = 1;
    if (ok != 1)
        _exit(67);
}
C
echo 'int main(void) { return 0; }' >"$work/main.c"
cc -O1 -fno-builtin -shared -fPIC "$work/runtime.c" -o "$work/libruntime.so" || fail "no stand-in for a runtime"
cc "$work/main.c" -o "$work/main" -Wl,--no-as-needed "$work/libruntime.so" || fail "no program with it"
for policy in "${policies[@]}"; do
    under "$policy" XSIGMA_STATS=0 -- "$work/main" || fail "$policy: mallopt before all else: status $?"
done
[ $built -gt 0 ] || skip "no sanitizer runs here"
echo "$built builds"
finish
