#!/bin/bash
# redis-server under redis-benchmark on the loopback network, with a background save, a reload and
# values checked by the data set's digest.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need redis-cli redis-benchmark
# Debian's redis-tools has the server too, as redis-check-rdb: the name it is called by decides.
server=$(command -v redis-server) || server=$(command -v redis-check-rdb) || skip "no redis-server here"
ln -s "$server" "$xs_tmp/redis-server"
requests=${REDIS_REQUESTS:-1000}

cat >session <<'SH'
#!/bin/bash
# session DIRECTORY REDIS-SERVER REQUESTS - one life of a server; prints what it held.
dir=$1 server=$2 requests=$3
say() {
    redis-cli -p "$port" --no-raw "$@"
}
rm -rf "$dir"
mkdir -p "$dir"
# Before 7 it always is, and redis-benchmark sends some more requests than it is told to.
debug=(--enable-debug-command yes)
"$server" --version | grep -q ' v=[1-6]\.' && debug=()
for attempt in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 20000))
    "$server" --port "$port" --bind 127.0.0.1 --dir "$dir" --save '' --io-threads 2 \
        "${debug[@]}" --activedefrag no >"$dir/log" 2>&1 &
    pid=$!
    for _ in {1..100}; do
        [ "$(redis-cli -p "$port" info server 2>/dev/null | tr -d '\r' |
            sed -n 's/^process_id://p')" = "$pid" ] && break 2
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    kill "$pid" 2>/dev/null
    wait "$pid"
    if [ "$attempt" = 5 ]; then
        cat "$dir/log"
        exit 1
    fi
done
redis-benchmark -p "$port" -q -n "$requests" -c 20 -P 8 -d 300 -t set,incr,lpush,sadd,hset,zadd \
    >"$dir/bench" 2>&1 || cat "$dir/bench"
redis-benchmark -p "$port" -q -n 200 -c 5 -d 70000 -t set,lpush >"$dir/bench" 2>&1 ||
    cat "$dir/bench"
[ ${#debug[@]} -gt 0 ] || say flushall
awk 'BEGIN { for (i = 0; i < 4000; i++) {
    printf "SET s:%d %0*d\r\nHSET h:%d f%d %d\r\nRPUSH l:%d %d\r\n", i, 1 + i % 500, i, i % 90, i, i, i % 50, i
    printf "ZADD z:%d %d m%d\r\nAPPEND s:%d tail%d\r\n", i % 20, i * 7 % 1000, i, i / 3, i
    if (i % 4 == 0) printf "DEL s:%d\r\nSETRANGE r:%d %d x\r\n", i / 2, i % 30, i * 11 } }' |
    redis-cli -p "$port" --pipe | tail -n 1
say dbsize
say debug digest
say get counter:__rand_int__
say get s:3777
say zrange z:3 0 5 withscores
say strlen r:7
say sort l:9 desc limit 0 4
say eval "local t = {} for i = 1, 2000 do t[i] = string.rep('x', i % 50) end return #table.concat(t)" 0
say bgsave >/dev/null
for _ in {1..200}; do
    redis-cli -p "$port" info persistence | grep -q rdb_bgsave_in_progress:0 && break
    sleep 0.02
done
redis-cli -p "$port" info persistence | grep rdb_last_bgsave_status
say debug reload
say debug digest
say memory purge
say flushall
say dbsize
say shutdown nosave
wait "$pid"
echo "server's status $?"
grep -c -i 'crash\|assert\|fail' "$dir/log"
exit 0
SH
chmod +x session
served='redis-[sc][eh]*'
# Redis 8 mixes malloc with calls that only jemalloc has, so there we stand aside.
grep -aq dallocx "$server" && served='bash*'
same_output -e -c "$served" redis ./session "$xs_tmp/data" "$xs_tmp/redis-server" "$requests"
finish
