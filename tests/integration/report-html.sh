#!/bin/bash
# The page of a report: whole, by itself, and whatever the names in it are they stay text.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need python3

tool=$build/xsigma
ends=$(program ends) || exit 1
export XSIGMA_RECORD=$work

# The data of a page, and what else must hold of it.
data() { # PAGE >JSON
    python3 - "$1" <<'PY'
import re, sys
page = open(sys.argv[1], encoding="utf-8").read()
start = page.index('id="data">') + len('id="data">')
end = page.index("</script>", start)
text = page[start:end]
rest = page[:start] + page[end:]
if "<" in text or "\u2028" in text or "\u2029" in text:
    sys.exit("the data could end the script")
if page.count("</script>") != 2 or not page.rstrip().endswith("</html>"):
    sys.exit("the page is not whole")
for found in re.findall(r"""(?:src|href)=|url\(|@import|\bfetch\(|https?://[^'"\s]*""", rest):
    if found != "http://www.w3.org/2000/svg":
        sys.exit(f"the page asks for something else: {found}")
print(text)
PY
}
same_json() { # A B
    python3 -c 'import json, sys; a, b = (json.load(open(f)) for f in sys.argv[1:]); sys.exit(a != b)' "$1" "$2"
}

# Every section, hostile names, and fields that this version does not know.
LD_PRELOAD=$lib XSIGMA_STATS_FILE=$work/base.json "$ends" exit 100 >/dev/null 2>&1
python3 "$root/tests/support/make_report.py" "$work/base.json" >"$work/full.json" || fail "no made-up report"
python3 - "$work/full.json" >"$work/plain.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
r.update(sites=[], sampling=None)
json.dump(r, sys.stdout)
PY
"$tool" report --html "$work/full.html" "$work/full.json" >"$work/out" || fail "report --html: status $?"
"$tool" report --html "$work/plain.html" "$work/plain.json" || fail "report --html: status $?"
[ ! -s "$work/out" ] || fail "report --html FILE prints something"
data "$work/full.html" >"$work/back.json" || fail "the page of a report with every section"
python3 - "$work/full.json" "$work/back.json" <<'PY' || fail "the page has other sites"
import json, sys
names = [sorted(f["function"] or "" for s in json.load(open(j))["sites"] for f in s["frames"]) for j in sys.argv[1:]]
sys.exit(names[0] != names[1])
PY
data "$work/plain.html" >"$work/back.json" || fail "the page of a report without sites"
same_json "$work/plain.json" "$work/back.json" || fail "the page's data are not the report's"
"$tool" report --html - "$work/full.json" | cmp -s - "$work/full.html" || fail "--html - is another page"

# A file that cannot be written costs a line and nothing else.
"$tool" report --html "$work/none/page.html" "$work/full.json" 2>"$work/err" && fail "no directory, but status 0"
grep -q "none/page.html: No such file" "$work/err" || fail "no directory: $(cat "$work/err")"
"$tool" report --html 2>"$work/err" && fail "--html without a file, but status 0"
# Before the program runs, it costs no more.
out=$("$tool" run --lib "$lib" --html "$work/none/page.html" -- echo ran 2>"$work/err")
[ "$? $out" = '2 ' ] || fail "run --html into no directory: it runs, or status $?"
grep -q "none/page.html: No such file" "$work/err" || fail "run --html into no directory: $(cat "$work/err")"
out=$("$tool" run --lib "$lib" --html "$work" -- echo ran 2>"$work/err")
[ "$? $out" = '2 ' ] || fail "run --html DIRECTORY: it runs, or status $?"

"$tool" report --html /dev/full "$work/full.json" 2>"$work/err" && fail "a full disk, but status 0"
grep -q "/dev/full: No space left on device" "$work/err" || fail "a full disk: $(cat "$work/err")"
"$tool" run --lib "$lib" --html - -- true >"$work/out" 2>"$work/err" || fail "run --html -: status $?"
{ grep -q '</html>' "$work/out" && [ ! -s "$work/err" ]; } || fail "run --html -: $(cat "$work/err")"

# What is no plain file is written to and stays what it is (root would lose its /dev/null), and so does a link.
mkfifo "$work/pipe"
timeout 20 cat "$work/pipe" >"$work/piped" &
"$tool" report --html "$work/pipe" "$work/full.json" || fail "--html PIPE: status $?"
[ -p "$work/pipe" ] || fail "--html PIPE: it is no pipe any more"
wait $!
cmp -s "$work/piped" "$work/full.html" || fail "--html PIPE is another page"
echo old >"$work/behind"
ln -s behind "$work/link"
"$tool" report --html "$work/link" "$work/full.json" || fail "--html LINK: status $?"
[ -L "$work/link" ] && cmp -s "$work/behind" "$work/full.html" || fail "--html LINK is not followed"

# `run` waits for the end, ends as the program does, and leaves nothing but the page.
mkdir "$work/tmp"
TMPDIR=$work/tmp "$tool" run --lib "$lib" --html "$work/run.html" -- "$ends" exit 4001 >/dev/null 2>"$work/err"
[ $? -eq 3 ] || fail "run --html: not the program's status"
data "$work/run.html" >"$work/run.json" || fail "the page of run"
python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
sys.exit(r["process"]["how"] != "exit" or r["cpu"]["totals"]["allocations"] < 4001)' "$work/run.json" || fail "run --html: wrong numbers"
[ -z "$(ls "$work/tmp")" ] || fail "run --html leaves $(ls "$work/tmp")"

# Killed, it writes no report: the page comes from its record.
(TMPDIR=$work/tmp "$tool" run --lib "$lib" --html "$work/killed.html" -- "$ends" kill 4001) >/dev/null 2>"$work/err"
[ $? -eq 137 ] || fail "run --html of a killed program: not its signal"
data "$work/killed.html" >"$work/killed.json" || fail "the page of a killed program: $(cat "$work/err")"
python3 -c '
import json, sys
sys.exit(json.load(open(sys.argv[1]))["cpu"]["totals"]["allocations"] < 4001)' "$work/killed.json" || fail "killed: wrong numbers"

# A signal to the command reaches the program, and both end of it.
"$tool" run --lib "$lib" --html "$work/term.html" -- sleep 60 2>"$work/err" &
pid=$!
for _ in $(seq 100); do
    [ -n "$(pgrep -P $pid sleep)" ] && break
    sleep 0.05
done
kill -TERM $pid
wait $pid
[ $? -eq 143 ] || fail "SIGTERM does not end it"

"$tool" run --html a --json b -- true 2>"$work/err" && fail "--html and --json together are taken"
"$tool" run --lib "$lib" --html "$work/no.html" -- "$work/missing" 2>"$work/err"
[ $? -eq 127 ] || fail "a missing program: not status 127"
[ ! -e "$work/no.html" ] || fail "a page of a program that did not start"
finish
