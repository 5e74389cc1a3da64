#!/bin/bash
# What else can be started with LD_PRELOAD: Rust, Go with C parts; and musl and 32-bit programs,
# which xsigma run refuses and which a preload by hand does no more to than their loader says.
# timeout: 1200
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

if command -v rustc >/dev/null; then
    cat >work.rs <<'END'
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;

fn main() {
    let (tx, rx) = mpsc::channel::<Vec<String>>();
    let threads: Vec<_> = (0..4u64).map(|t| {
        let tx = tx.clone();
        thread::spawn(move || {
            let mut x = t + 1;
            for _ in 0..200 {
                let mut v = Vec::new();
                for _ in 0..50 {
                    x = x * 48271 % 2147483647;
                    v.push("y".repeat((x % 900) as usize));
                }
                tx.send(v).unwrap();
            }
        })
    }).collect();
    drop(tx);
    let mut m: BTreeMap<usize, usize> = BTreeMap::new();
    for v in rx { for s in v { *m.entry(s.len()).or_insert(0) += 1; } }
    for t in threads { t.join().unwrap(); }
    println!("{} {}", m.len(), m.iter().map(|(k, v)| k * v).sum::<usize>());
}
END
    rustc -O work.rs -o work-rust 2>rust.err && same_output -e rust ./work-rust
fi

if command -v go >/dev/null; then
    mkdir -p gowork
    cat >gowork/work.go <<'END'
package main

/*
#include <stdlib.h>
#include <string.h>
static long work(long n) {
    long sum = 0;
    for (long i = 1; i <= n; i++) {
        char *p = malloc((size_t)(i * 37 % 5000 + 1));
        memset(p, (int)i, 1);
        sum += *p;
        free(p);
    }
    return sum;
}
*/
import "C"
import (
	"fmt"
	"sync"
)

func main() {
	var wait sync.WaitGroup
	sums := make([]int64, 8)
	for g := range sums {
		wait.Add(1)
		go func(g int) {
			defer wait.Done()
			sums[g] = int64(C.work(C.long(1000 * (g + 1))))
		}(g)
	}
	wait.Wait()
	fmt.Println(sums)
	C.exit(0) // Go itself ends by a system call, unseen by any library
}
END
    GOCACHE=$xs_tmp/gocache GOFLAGS=-mod=mod go build -o work-go gowork/work.go && same_output -e go ./work-go
fi

# refused NAME WHY PROGRAM - in one line by xsigma run; by hand it runs, or its loader says why not.
refused() {
    "$xs_build/xsigma" run -- "$3" >got.out 2>got.err
    [ $? -eq 2 ] && [ "$(wc -l <got.err)" -eq 1 ] && grep -q "$2" got.err ||
        fail "$1: xsigma run does not refuse it in a line: $(cat got.err)"
    xs_runs=$((xs_runs + 1))
}
echo 'int puts(const char *); int main(void) { puts("ran"); return 0; }' >hello.c
if command -v musl-gcc >/dev/null && musl-gcc hello.c -o hello-musl && [ "$(./hello-musl)" = ran ]; then
    refused musl 'linked with musl' ./hello-musl
    LD_PRELOAD=$XS_LIB ./hello-musl >got.out 2>got.err
    echo "musl with a preload by hand: status $?: $(head -n 1 got.err)"
    grep -q '^ran$' got.out || [ -s got.err ] || fail "musl with a preload by hand says nothing"
fi
# No need of a compiler's 32-bit half: the C library's is enough.
if [ -e /lib/ld-linux.so.2 ] && [ -e /lib32/libc.so.6 ]; then
    printf '%s\n' 'int puts(const char *); void exit(int);' \
        'void _start(void) { puts("ran"); exit(0); }' >hello32.c
    if gcc -m32 -ffreestanding -fno-pie -no-pie -fno-stack-protector -nostdlib -nostartfiles hello32.c \
        /lib32/libc.so.6 -Wl,-dynamic-linker,/lib/ld-linux.so.2 -o hello32 && [ "$(./hello32)" = ran ]; then
        refused 32-bit '32-bit program' ./hello32
        LD_PRELOAD=$XS_LIB ./hello32 >got.out 2>got.err
        [ "$?$(cat got.out)" = 0ran ] || fail "32-bit with a preload by hand: $(cat got.out got.err)"
        grep -q 'wrong ELF class' got.err || fail "32-bit: the loader says: $(cat got.err)"
    fi
fi
[ $xs_runs -gt 0 ] || skip "neither Rust, Go, musl nor 32-bit libraries here"
finish
