#!/bin/bash
# bash and dash: loops, pipes, subshells, here documents, traps, exec, statuses of children.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need bash dash awk sed
cat >common <<'SH'
i=0
s=
while [ $i -lt 3000 ]; do
    i=$((i + 1))
    s="$s$i,"
done
echo "${#s}"
echo "$s" | tr , '\n' | sed -n 's/^\(1[0-9]*\)$/<\1>/p' | sort -r | head -n 20
f() { if [ "$1" -gt 0 ]; then f $(($1 - 1)); echo "$1"; fi; }
f 200 | wc -l
x=$(for n in a b c d; do (echo "sub $n"; exit 4) & done | sort; echo done)
echo "$x"
cat <<END
here $i $(echo nested "$(echo deeper)")
END
(exit 7)
echo "status $?"
sh -c 'kill -TERM $$' 2>/dev/null
echo "status $?"
trap 'echo leaving; trap - EXIT' EXIT
for f in /etc/passwd /no/such/file; do
    if cat "$f" >/dev/null 2>&1; then echo "read $f"; else echo "no $f"; fi
done
awk 'BEGIN { for (i = 0; i < 20000; i++) a[i % 777] = a[i % 777] i; n = 0; for (k in a) n += length(a[k]); print n }'
echo "to standard error" >&2
(exec /bin/echo replaced)
(exec sh -c 'echo inner; exec true')
exit 5
SH
cat >for-bash <<'SH'
declare -A map
for ((i = 0; i < 5000; i++)); do
    map[key$((i % 613))]+=$i
done
n=0
for k in "${!map[@]}"; do n=$((n + ${#map[$k]})); done
echo "$n ${map[key42]}"
mapfile -t lines < <(seq 1 5000)
printf '%s\n' "${lines[@]//9/nine}" | cksum
[[ abcabcabc =~ (b.)(a) ]] && echo "${BASH_REMATCH[@]}"
coproc tr a-z A-Z
echo through a coprocess >&"${COPROC[1]}"
fd=${COPROC[1]}
exec {fd}>&-
cat <&"${COPROC[0]}"
SH
cat for-bash common >bash-script
same_output -e -s 5 bash bash ./bash-script
same_output -e -s 5 dash dash ./common
finish
