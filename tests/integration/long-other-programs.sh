#!/bin/bash
# Programs that are large and unlike each other, under every policy: Java with three of its collectors,
# PostgreSQL with parallel workers and compiled queries, ffmpeg, clang, Octave, Firefox, Mono, PHP. Those
# that are not here are left out.
# timeout: 7200
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"
if [ -z "${XS_ONLY_POLICY-}" ]; then
    xs_policies+=(full XSIGMA_SAMPLE=64K XSIGMA_CPU_HUGE_PAGES=thp)
    have_backend mimalloc && xs_policies+=(XSIGMA_PRESET=monte-carlo XSIGMA_PRESET=risk)
    have_backend tbb && xs_policies+=(XSIGMA_PRESET=pde)
fi
# What runs as another user writes reports too.
umask 0
chmod 755 "$xs_tmp"
absent=''

here() { # COMMAND...
    local c
    [[ -z ${XS_PROGRAMS-} || " $XS_PROGRAMS " == *" $1 "* ]] || return
    for c in "$@"; do
        command -v "$c" >/dev/null || {
            absent+=" $c"
            return 1
        }
    done
}
job() { # NAME, the script on standard input
    { echo '#!/bin/bash' && cat; } >"$1"
    chmod +x "$1"
}

if here java javac; then
    cat >Work.java <<'J'
import java.nio.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import java.util.zip.*;

public class Work {
    static long work(int seed) throws Exception {
        Map<Integer, String> map = new HashMap<>();
        long sum = 0;
        for (int i = 0; i < 20000; i++) {
            map.put((i * 31 + seed) % 20011, "v" + i);
            sum += map.size();
        }
        byte[] plain = new byte[300000], packed = new byte[400000];
        new Random(seed).nextBytes(plain);
        for (int i = 0; i < plain.length; i++)
            plain[i] &= 15;
        Deflater deflater = new Deflater();
        deflater.setInput(plain);
        deflater.finish();
        int length = deflater.deflate(packed);
        deflater.end();
        Inflater inflater = new Inflater();
        inflater.setInput(packed, 0, length);
        sum += inflater.inflate(plain);
        inflater.end();
        ByteBuffer direct = ByteBuffer.allocateDirect(1 << 20);
        for (int i = 0; i < 1 << 18; i++)
            direct.putInt(i * seed);
        direct.flip();
        while (direct.hasRemaining())
            sum += direct.getInt() & 7;
        return sum + length;
    }

    public static void main(String[] args) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(4);
        List<Future<Long>> results = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            final int k = i;
            results.add(threads.submit(() -> work(k)));
        }
        for (Future<Long> f : results)
            System.out.println(f.get());
        threads.shutdown();
        System.out.println(IntStream.range(0, 300000).parallel().mapToLong(x -> (long) x * x % 7).sum());
        for (int i = 0; i < 3; i++) {
            Process p = new ProcessBuilder("sh", "-c", "echo child " + i + "; exit " + i).start();
            System.out.print(new String(p.getInputStream().readAllBytes()));
            System.out.println(p.waitFor());
        }
        try {
            long[][] big = new long[1000][];
            for (int i = 0; i < 1000; i++)
                big[i] = new long[1 << 20];
        } catch (OutOfMemoryError e) {
            System.out.println("no more memory, as it should be");
        }
    }
}
J
    job java-job <<'S'
rm -rf classes && javac -d classes Work.java || exit 1
for collector in Serial G1 Z; do
    java -Xmx256m -XX:+Use${collector}GC -cp classes Work || exit 2
done
S
    same_output -e -c 'java javac' java ./java-job
fi

postgres_bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -n 1)
if PATH=$postgres_bin:$PATH here initdb && here setpriv && [ "$(id -u)" -eq 0 ]; then
    mkdir -m 777 data
    job postgres-job <<S
rm -rf data/* && exec setpriv --reuid=65534 --regid=65534 --clear-groups ./postgres-steps
S
    job postgres-steps <<S
export PATH=$postgres_bin:\$PATH PGHOST=$xs_tmp/data PGUSER=u PGDATABASE=postgres
S
    cat >>postgres-steps <<'S'
initdb -D data/db -A trust -U u --no-sync >/dev/null || exit 1
pg_ctl -D data/db -w -l data/log -o "-k $PGHOST -c listen_addresses= -c shared_buffers=16MB -c jit=on -c jit_above_cost=0 \
-c max_parallel_workers_per_gather=4 -c min_parallel_table_scan_size=0 -c parallel_setup_cost=0 -c parallel_tuple_cost=0" \
    start >/dev/null || exit 2
psql -X -q -v ON_ERROR_STOP=1 <<'Q' || exit 3
create table t as select i, i * 7 % 1001 as k, md5(i::text) as s from generate_series(1, 60000) i;
create index on t(k);
analyze t;
select count(*), sum(k), min(s), max(s) from t;
select k, count(*), string_agg(left(s, 2), ',' order by i) from t where k < 5 group by k order by k;
select a.k, count(*) from t a join t b on a.i = b.k group by a.k order by 2 desc, 1 limit 5;
explain (costs off) select sum(length(s)) from t;
select sum(length(s)) from t;
do $$ declare j int; begin for j in 1..300 loop perform count(*) from t where k = j; end loop; end $$;
select jsonb_agg(x) from (select k, avg(i)::numeric(10,2) from t where k < 10 group by k order by k) x;
Q
for c in 1 2 3 4; do
    for k in 1 2 3 4 5; do echo "select sum(k * $c) from t where k > $k;"; done | psql -X -q -t >data/client.$c &
done
wait
cat data/client.*
pg_ctl -D data/db -w -m fast stop
grep -E 'PANIC|terminated by signal' data/log
exit 0
S
    same_output -c postgres PostgreSQL ./postgres-job
fi

if here ffmpeg ffprobe; then
    # What it makes of other sources, and with x264, depends on memory that nobody wrote to.
    job ffmpeg-job <<'S'
quiet=(ffmpeg -hide_banner -nostdin -loglevel error -y)
"${quiet[@]}" -f lavfi -i testsrc=s=320x240:d=2 -f lavfi -i sine=d=2 -c:v mpeg4 -c:a mp2 -bitexact a.avi || exit 1
"${quiet[@]}" -threads 4 -i a.avi -vf 'scale=160:120,hflip,gblur=2' -an -f framemd5 - || exit 2
"${quiet[@]}" -i a.avi -c:v libx264 -threads 4 -an b.mp4 || exit 3
ffprobe -v error -show_streams b.mp4 | grep -E '^(codec_name|nb_frames|width)'
"${quiet[@]}" -i nofile -f null - 2>/dev/null
echo "status $?"
S
    same_output -c ffmpeg ffmpeg ./ffmpeg-job
fi

if here clang++; then
    cat >work.cc <<'C'
#include <algorithm>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>
template <int N> struct F { static constexpr unsigned long v = F<N - 1>::v * 3 + N; };
template <> struct F<0> { static constexpr unsigned long v = 1; };
int main()
{
    std::map<std::string, int> m;
    std::mt19937 g(1);
    for (int i = 0; i < 30000; i++)
        m[std::to_string(g() % 5000)]++;
    std::vector<std::thread> threads;
    size_t r[4];
    for (int k = 0; k < 4; k++)
        threads.emplace_back([&r, k] {
            std::vector<std::string> v;
            for (int i = 0; i < 20000; i++)
                v.push_back(std::to_string(i * k));
            std::sort(v.begin(), v.end());
            r[k] = v[77].size();
        });
    for (auto &t : threads)
        t.join();
    std::cout << m.size() << r[3] << F<400>::v << "\n";
}
C
    job clang-job <<'S'
clang++ -std=c++17 -O2 -g -pthread work.cc -o work && ./work || exit 1
clang++ -std=c++17 -O1 -S -emit-llvm -o - work.cc | md5sum
echo 'int main(void) { return x; }' >wrong.c
clang -c wrong.c
echo "status $?"
S
    same_output -e -c clang clang ./clang-job
fi

if here octave-cli; then
    cat >work.m <<'M'
rand('twister', 1);
A = rand(120); B = A * A';
printf('%.6f\n', trace(B));
[q, r] = qr(A); printf('%d\n', norm(q * r - A) < 1e-10);
e = sort(eig(B)); printf('%.4f ', e(end-3:end)); printf('\n');
S = sprand(1000, 1000, 0.004) + speye(1000) * 10; x = S \ ones(1000, 1); printf('%.8f\n', sum(x));
c = cell(1, 500); for i = 1:500 c{i} = sprintf('%d,', 1:i); end; printf('%d\n', length([c{:}]));
s = struct(); for i = 1:300 s.(sprintf('f%d', i)) = i; end; printf('%d\n', numfields(s));
t = 0; for i = 1:4000 t += mod(i, 7) * length(num2str(i)); end; printf('%d\n', t);
[t, y] = ode45(@(t, y) [y(2); -y(1)], [0 5], [1 0]); printf('%.5f\n', y(end, 1));
try; error('an error'); catch e; disp(e.message); end
M
    same_output -c octave-cli octave octave-cli --norc -q work.m
fi

if here firefox-esr; then
    cat >page.html <<'H'
<html><body><canvas id=c width=200 height=200></canvas><p id=p></p><script>
let x = document.getElementById("c").getContext("2d");
for (let i = 0; i < 200; i++) { x.fillStyle = "rgb(" + i + ",0,99)"; x.fillRect(i, i / 2, 20, 20); }
let m = new Map();
for (let i = 0; i < 200000; i++) m.set("k" + i % 5003, i);
document.getElementById("p").textContent = "sum " + [...m.values()].reduce((a, b) => a + b);
</script></body></html>
H
    # Its own malloc serves it.
    job firefox-job <<'S'
rm -rf profile page.png && mkdir profile
firefox-esr --headless --no-remote --profile "$PWD/profile" --window-size 500,400 \
    --screenshot "$PWD/page.png" "file://$PWD/page.html" >/dev/null 2>&1 || exit 1
md5sum <page.png
S
    same_output firefox ./firefox-job
fi

if here mono mcs; then
    cat >work.cs <<'C'
using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
class Program {
    static void Main() {
        var d = new Dictionary<string, int>();
        for (int i = 0; i < 100000; i++)
            d["k" + i % 5003] = i;
        Console.WriteLine(d.Values.Sum(x => (long)x));
        var tasks = Enumerable.Range(0, 8).Select(k => Task.Run(() => {
            long s = 0;
            for (int i = 0; i < 20000; i++)
                s += i.ToString().Length * k;
            return s;
        })).ToArray();
        Task.WaitAll(tasks);
        Console.WriteLine(tasks.Sum(t => t.Result));
        for (int i = 0; i < 2000; i++)
            new byte[100000][5] = 1;
        GC.Collect();
        try { object o = null; o.ToString(); } catch (NullReferenceException) { Console.WriteLine("null"); }
        Environment.Exit(4);
    }
}
C
    job mono-job <<'S'
mcs work.cs && mono work.exe
S
    same_output -e -s 4 -c mono mono ./mono-job
fi

if here php; then
    cat >work.php <<'P'
<?php
$a = [];
for ($i = 0; $i < 200000; $i++) $a[$i * 7919 % 50021] = "v$i";
ksort($a);
echo count($a), "\n", md5(serialize($a)), "\n", strlen(json_encode($a)), "\n";
echo preg_match_all('/v(\d)/', implode(',', $a)), "\n", strlen(gzcompress(serialize($a))), "\n";
echo shell_exec('echo child');
ini_set('memory_limit', '20M');
$s = str_repeat('a', 100000000);
P
    same_output -e -s 255 php php -d display_errors=stderr work.php
    # shellcheck disable=SC2016 # PHP's
    USE_ZEND_ALLOC=0 same_output php-by-malloc php -d memory_limit=-1 -r \
        'for ($i = 0; $i < 100000; $i++) $a[] = str_repeat("x", $i % 200); echo md5(serialize($a)), "\n";'
fi

[ -z "$absent" ] || echo "not here:$absent"
[ $xs_runs -gt 0 ] || skip "none of these programs is here"
finish
