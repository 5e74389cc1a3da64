#!/bin/bash
# timeout: 300
# The page of a report in a browser: every section is drawn, names stay text, an empty report is no
# trouble, search and zoom work.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need chromium
need python3

tool=$build/xsigma
ends=$(program ends) || exit 1

# The document as it stands when the page has drawn itself.
drawn() { # PAGE >HTML
    timeout 100 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
        --user-data-dir="$work/profile" --window-size="${width:-1280},2000" --virtual-time-budget=3000 \
        --dump-dom "file://$1" 2>"$work/chromium.log"
}
has() { # FILE TEXT
    grep -qF -- "$2" "$1" || fail "${1##*/} lacks $2"
}
LD_PRELOAD=$lib XSIGMA_STATS_FILE=$work/base.json "$ends" exit 100 >/dev/null 2>&1
python3 "$root/tests/support/make_report.py" "$work/base.json" >"$work/full.json"
"$tool" report --html "$work/full.html" "$work/full.json" || fail "report --html"

for width in 1280 390; do
    drawn "$work/full.html" >"$work/dom" || fail "chromium: $(tail -n 3 "$work/chromium.log")"
    for id in warnings advice timeline calls gpu-timeline-0 gpu-hits-0 sizes backends latency gpu-0 flame sites config; do
        has "$work/dom" "id=\"$id\""
    done
    has "$work/dom" 'XSIGMA_GPU_CACHE_MAX=8G'
    has "$work/dom" 'locks of the allocator: 3 waits'
    ! grep -q 'locks of the GPU cache' "$work/dom" || fail "waits that there were none of"
    has "$work/dom" 'std::vector&lt;double&gt;::_M_realloc_insert'
    # Had a name become an element, the title would be another and the picture there.
    has "$work/dom" '– XSigma</title>'
    ! grep -q '<img' "$work/dom" || fail "a name became an element"
    [ "$(grep -o '<path d="M' "$work/dom" | wc -l)" -eq 9 ] || fail "not nine lines in the charts"
done

# With nothing but what has to be there.
printf '{"schema":"xsigma.stats/1","process":null,"timeline":null,"sites":[],"gpu":[]}' >"$work/empty.json"
python3 - "$work/full.html" "$work/empty.json" >"$work/empty.html" <<'PY'
import sys
page, data = (open(f, encoding="utf-8").read() for f in sys.argv[1:])
start = page.index('id="data">') + len('id="data">')
print(page[:start] + data + page[page.index("</script>", start):])
PY
drawn "$work/empty.html" >"$work/dom"
has "$work/dom" 'id="config"'
has "$work/dom" 'This file needs no network'

# Typed and clicked by a script of ours at the end of the page.
python3 - "$work/full.html" >"$work/used.html" <<'PY'
import sys
page = open(sys.argv[1], encoding="utf-8").read()
print(page.replace("</body>", """<script>
const found = document.querySelector('#flame input'), all = () => document.querySelectorAll('.flame div');
const said = [all().length];
found.value = 'build_paths'; found.dispatchEvent(new Event('input'));
said.push(document.querySelectorAll('.flame .found').length);
[...all()].find((d) => d.textContent === 'build_paths').click();
said.push(all().length);
document.querySelector('#flame button').click();
said.push(all().length === said[0]);
const graph = document.querySelector('.flame');
for (const key of ['ArrowDown', 'ArrowDown', 'Enter']) graph.dispatchEvent(new KeyboardEvent('keydown', {key}));
said.push(document.querySelector('.flame .on').textContent);
document.querySelectorAll('#sites th button')[2].click();
said.push(document.querySelector('#sites th[aria-sort]').textContent);
document.body.append('SAID ' + said.join(' '));
</script></body>"""))
PY
drawn "$work/used.html" >"$work/dom"
grep -o 'SAID [0-9].*' "$work/dom" | sed 's/<.*//' >"$work/said"
read -r _ all hits zoomed back on by _ <"$work/said"
[ "${all:-0}" -gt 50 ] && [ "$hits" = 1 ] && [ "$zoomed" -lt "$all" ] && [ "$back" = true ] &&
    [ "$on" = simulate ] && [ "$by" = total ] || fail "search, zoom, keys or sorting: $(cat "$work/said")"
finish
