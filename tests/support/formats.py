"""What other tools read in the files that `xsigma report` writes for them.

usage: formats.py page INDEX FILE PAGE   a page that has speedscope, at INDEX, read FILE and say what it read
       formats.py speedscope DOM         the stacks that it read, from that page once it has run
       formats.py go RAW TYPE [outer]    the same of what `go tool pprof -raw` prints; less inlined functions
A line a stack, outermost function first, and its value.
"""
import base64
import html
import json
import os
import re
import sys

# Its "Export" would save what it has read; here that becomes the page.
HOOK = """<script>
URL.createObjectURL = blob => {
    blob.text().then(text => {
        const pre = document.createElement('pre');
        pre.id = 'read';
        pre.textContent = text;
        document.body.replaceChildren(pre);
    });
    return 'about:blank';
};
HTMLAnchorElement.prototype.click = () => {};
setInterval(() => {
    for (const e of document.querySelectorAll('div'))
        if (/^.{0,3}Export$/u.test(e.textContent))
            e.click();
}, 300);
</script>"""


def page(index, path, out):
    with open(index, encoding="utf-8") as f:
        text = f.read()
    base = f'<base href="file://{os.path.dirname(os.path.abspath(index))}/">'
    with open(out, "w", encoding="utf-8") as f:
        f.write(text.replace("<head>", "<head>" + base + HOOK, 1))
    with open(path, "rb") as f:
        data = base64.b64encode(f.read()).decode()
    with open(out + ".js", "w", encoding="utf-8") as f:
        f.write(f"speedscope.loadFileFromBase64({json.dumps(os.path.basename(path))}, '{data}')")


def speedscope(dom):
    with open(dom, encoding="utf-8") as f:
        read = json.loads(html.unescape(re.search(r'<pre id="read">(.*)</pre>', f.read(), re.S)[1]))
    names = [frame["name"] for frame in read["shared"]["frames"]]
    profile = read["profiles"][read["activeProfileIndex"]]
    sums = {}
    if profile["type"] == "sampled":
        stacks = list(zip(profile["samples"], profile["weights"]))
    else:
        stacks, open_ones, last = [], [], 0
        for event in profile["events"]:
            stacks.append((list(open_ones), event["at"] - last))
            last = event["at"]
            if event["type"] == "O":
                open_ones.append(event["frame"])
            else:
                assert open_ones.pop() == event["frame"]
        assert not open_ones
    for stack, value in stacks:
        key = ";".join(names[i] for i in stack)
        sums[key] = sums.get(key, 0) + value
    return sums


def go(raw, kind, outer=""):
    samples, places, at, types = [], {}, "", []
    with open(raw, encoding="utf-8") as f:
        for line in f:
            if re.match(r"\w+$", line) or line == "Samples:\n":
                at = line.strip().rstrip(":")
            elif at == "Samples" and not types:
                types = [t.split("/")[0] for t in line.split()]
            elif at == "Samples":
                m = re.match(r"\s*([\d ]+): ([\d ]+)$", line)
                if m:
                    samples.append(([int(v) for v in m[1].split()], m[2].split()))
            elif at == "Locations":
                m = re.match(r"\s+(?:(\d+): 0x\S+ M=\d+ )?(.*?) \S*:\d+ s=\d+(?:\((.*)\))?$", line)
                if m[1]:
                    place = places[m[1]] = []
                place.append(m[3] or m[2])
    sums = {}
    for values, ids in samples:
        key = ";".join(name for i in reversed(ids) for name in reversed(places[i][-1:] if outer else places[i]))
        sums[key] = sums.get(key, 0) + values[types.index(kind)]
    return sums


def main():
    verb, *rest = sys.argv[1:]
    if verb == "page":
        page(*rest)
        return
    for stack, value in {"speedscope": speedscope, "go": go}[verb](*rest).items():
        if value:
            print(stack, int(value))


if __name__ == "__main__":
    main()
