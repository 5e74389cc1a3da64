'use strict';
(function () {
  const data = JSON.parse(document.getElementById('data').textContent);
  const page = document.getElementById('page');
  const COLORS = ['var(--a)', 'var(--b)', 'var(--c)', 'var(--d)', 'var(--e)'];
  const SVG = 'http://www.w3.org/2000/svg';
  const list = (v) => (Array.isArray(v) ? v : []);
  const known = (v) => v !== null && v !== undefined;

  /* ---- building blocks: all text goes in as text, never as markup ---- */

  function el(tag, attributes, ...children) {
    const e = document.createElement(tag);
    for (const [k, v] of Object.entries(attributes || {})) {
      if (k === 'style') e.style.cssText = v;
      else if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
      else e.setAttribute(k, v);
    }
    for (const c of children.flat(Infinity)) if (known(c)) e.append(c);
    return e;
  }
  function svg(tag, attributes, text) {
    const e = document.createElementNS(SVG, tag);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (known(text)) e.textContent = text;
    return e;
  }
  function card(id, title, ...children) {
    const c = el('section', { class: 'card', id }, el('h2', {}, title), children);
    page.append(c);
    return c;
  }

  /* ---- numbers ---- */

  function scaled(v, step, units) {
    let i = 0;
    while (Math.abs(v) >= step && i < units.length - 1) { v /= step; i++; }
    const digits = i === 0 || Math.abs(v) >= 100 ? 0 : Math.abs(v) >= 10 ? 1 : 2;
    return v.toFixed(digits) + units[i];
  }
  const bytes = (v) => (known(v) ? scaled(v, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB', ' PiB']) : '–');
  const count = (v) => (known(v) ? scaled(v, 1000, ['', ' k', ' M', ' G', ' T']) : '–');
  const plain = (text) => text.replace(/\.(\d*?)0+(?!\d)/, (_, digits) => (digits === '' ? '' : '.' + digits));
  const time = (ns) => (!known(ns) ? '–' : ns === 0 ? '0' : ns < 1e3 ? ns.toFixed(0) + ' ns' : ns < 1e6 ? (ns / 1e3).toFixed(1) + ' µs'
    : ns < 1e9 ? (ns / 1e6).toFixed(1) + ' ms' : ns < 6e11 ? (ns / 1e9).toFixed(2) + ' s' : (ns / 6e10).toFixed(1) + ' min');
  const share = (part, whole) => (!(whole > 0) ? '–' : part > 0 && part * 1000 < whole ? '<0.1\u00a0%'
    : (100 * part / whole).toFixed(part > 0 && part * 10 < whole ? 1 : 0) + '\u00a0%');
  const many = (n, what) => count(n) + ' ' + what + (n === 1 ? '' : 's');

  /* ---- head and tiles ---- */

  function head() {
    const p = data.process || {};
    const processes = list(data.processes).length;
    const ended = p.how === 'exit' || p.how === '_exit' || p.how === 'quick_exit'
      ? 'exit' + (known(p.status) ? ' ' + p.status : '') : p.how;
    document.title = (p.program || 'report') + ' – XSigma';
    page.append(el('header', {}, el('h1', {}, p.program || '?'),
      el('p', { class: 'soft' }, [processes > 1 ? processes + ' processes' : 'pid ' + p.pid, p.host,
        known(p.rank) ? 'rank ' + p.rank : null, ended, 'ran ' + time(p.wall_ns),
        'CPU ' + time((p.user_ns || 0) + (p.sys_ns || 0)), known(p.preset) ? 'preset ' + p.preset : null]
        .filter((x) => known(x) && x !== '').join('  ·  '))));
    if (p.passive) page.append(el('p', {}, 'The program brings its own malloc: nothing was routed.'));
  }
  function tiles() {
    const p = data.process || {}, t = (data.cpu || {}).totals || {};
    const box = el('div', { class: 'tiles', id: 'tiles' });
    const tile = (value, name) => box.append(el('div', { class: 'tile' }, el('b', {}, value), el('span', {}, name)));
    tile(bytes(p.rss_peak_bytes), 'peak resident memory');
    tile(bytes(t.requested_bytes), 'requested in all');
    tile(count(t.allocations), 'allocations');
    tile(count(t.live_blocks), 'blocks live at the end');
    if (t.failures > 0) tile(count(t.failures), 'failed allocations');
    for (const g of list(data.gpu)) {
      tile(bytes(g.in_use_bytes_peak), 'GPU ' + g.device + ': peak in use');
      tile(known(g.hit_permille) ? (g.hit_permille / 10).toFixed(1) + ' %' : '–', 'GPU ' + g.device + ': hits');
    }
    page.append(box);
  }
  function warnings() {
    if (list(data.warnings).length > 0)
      card('warnings', 'Warnings', data.warnings.map((w) => el('p', {}, w)));
  }
  function advice() {
    if (list(data.advice).length === 0) return;
    card('advice', 'Advice', data.advice.map((a) => {
      const now = known(a.current) ? a.current : a.value;
      return el('div', { class: 'advice' }, el('div', {}, (known(a.device) ? 'GPU ' + a.device + ': ' : '') + a.text),
        known(a.variable) ? el('code', {}, a.variable + '=' + a.suggested + (known(now) ? '   (now ' + now + ')' : '')) : null);
    }));
  }

  /* ---- charts over time ---- */

  function niceStep(most, n, step) {
    const raw = most / n, unit = Math.pow(step, Math.floor(Math.log(raw) / Math.log(step)));
    for (const m of step === 1024 ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] : [1, 2, 5, 10])
      if (m * unit >= raw) return m * unit;
    return raw;
  }
  /* Round times between two, with one unit and as many digits for all. */
  function clock(from, to, n) {
    const steps = [6e10, 12e10, 3e11, 6e11, 12e11, 18e11, 36e11, 72e11, 144e11, 216e11, 432e11, 864e11];
    for (let p = 1e9; p >= 1; p /= 10) steps.unshift(p, 2 * p, 5 * p);
    steps.splice(steps.indexOf(6e10), 0, 1e10, 15e9, 3e10);
    const step = steps.find((s) => s >= (to - from) / n) || (to - from) / n;
    const [unit, name] = [[1, ' ns'], [1e3, ' µs'], [1e6, ' ms'], [1e9, ' s'], [6e10, ' min'], [36e11, ' h']]
      .filter(([u]) => u === 1 || to >= (u < 6e10 ? u : 2 * u)).pop();
    const digits = Math.max(0, Math.ceil(-Math.log10(step / unit) - 1e-9)), marks = [];
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) marks.push([at, (at / unit).toFixed(digits) + name]);
    return marks;
  }
  function chart(into, t, series, format, step) {
    const box = el('div', { class: 'chart' });
    const tip = el('div', { class: 'tip' });
    series = series.filter((s) => s.values.some(known));
    if (t.length < 2 || series.length === 0) {
      into.append(el('p', { class: 'soft' }, 'Too short a run to show.'));
      return;
    }
    into.append(el('div', { class: 'legend' }, series.map((s, i) =>
      el('span', {}, el('i', { style: 'background:' + COLORS[i % COLORS.length] }), s.name))), box);
    const most = Math.max(1, ...series.map((s) => s.values.reduce((m, v) => Math.max(m, known(v) ? v : 0), 0)));
    const from = t[0], span = Math.max(1, t[t.length - 1] - from);
    const by = niceStep(most, 4, step), top = Math.ceil(most / by) * by;

    function draw() {
      const w = Math.max(240, box.clientWidth), h = w < 520 ? 180 : 240, left = 68, bottom = 24;
      const x = (ns) => left + (ns - from) / span * (w - left - 8), y = (v) => 8 + (1 - v / top) * (h - bottom - 8);
      const s = svg('svg', { viewBox: `0 0 ${w} ${h}`, height: h, role: 'img' });
      for (let v = 0; v <= top * 1.001; v += by) {
        s.append(svg('line', { x1: left, x2: w - 8, y1: y(v), y2: y(v), stroke: 'var(--line)' }));
        s.append(svg('text', { x: left - 8, y: y(v) + 4, 'text-anchor': 'end' }, plain(format(v))));
      }
      for (const [at, name] of clock(from, from + span, w < 520 ? 4 : 6))
        s.append(svg('text', { x: x(at), y: h - 6, 'text-anchor': 'middle' }, name));
      series.forEach((line, k) => {
        let path = '', pen = false;
        line.values.forEach((v, i) => {
          if (!known(v)) { pen = false; return; }
          path += (pen ? 'L' : 'M') + x(t[i]).toFixed(1) + ' ' + y(v).toFixed(1);
          pen = true;
        });
        s.append(svg('path', { d: path, fill: 'none', stroke: COLORS[k % COLORS.length], 'stroke-width': 2,
          'stroke-linejoin': 'round' }));
      });
      const cursor = svg('line', { y1: 8, y2: h - bottom, stroke: 'var(--soft)', visibility: 'hidden' });
      s.append(cursor);
      box.replaceChildren(s, tip);
      box.onpointermove = box.onpointerdown = (event) => {
        const r = box.getBoundingClientRect();
        const at = from + (event.clientX - r.left - left) / (w - left - 8) * span;
        let i = 0;
        while (i + 1 < t.length && Math.abs(t[i + 1] - at) <= Math.abs(t[i] - at)) i++;
        cursor.setAttribute('x1', x(t[i])); cursor.setAttribute('x2', x(t[i]));
        cursor.setAttribute('visibility', 'visible');
        tip.replaceChildren(el('div', { class: 'soft' }, time(t[i])),
          ...series.map((line) => el('div', {}, line.name + '  ' + format(line.values[i]))));
        tip.style.display = 'block';
        tip.style.left = Math.min(Math.max(0, x(t[i]) + 10), Math.max(0, w - tip.offsetWidth)) + 'px';
      };
      box.onpointerleave = () => { cursor.setAttribute('visibility', 'hidden'); tip.style.display = 'none'; };
    }
    new ResizeObserver(draw).observe(box);
    draw();
  }
  /* From sums that only rise what there was in a second; of many points so few that lines can be told apart. */
  function rates(into, t, series) {
    const step = Math.ceil(t.length / 200), at = t.map((_, i) => i).filter((i) => i % step === 0 || i === t.length - 1);
    const rise = (sums, i, j) => (known(sums[i]) && known(sums[j]) ? Math.max(0, sums[j] - sums[i]) * 1e9 / Math.max(1, t[j] - t[i]) : null);
    chart(into, at.slice(1).map((i) => t[i]), series.map(({ name, sums }) =>
      ({ name, values: at.slice(1).map((j, k) => rise(list(sums), at[k], j)) })), count, 10);
  }

  function timeline() {
    const l = data.timeline;
    if (!known(l)) return;
    const t = list(l.t_ns);
    chart(card('timeline', 'Memory over time'), t, [
      { name: 'in use', values: list(l.in_use_bytes) },
      { name: 'reserved', values: list(l.reserved_bytes) },
      { name: 'resident (RSS)', values: list(l.rss_bytes) }], bytes, 1024);
    rates(card('calls', 'Calls a second'), t, [{ name: 'allocations', sums: l.allocations }, { name: 'frees', sums: l.frees }]);
    for (const g of list(l.gpu)) {
      chart(card('gpu-timeline-' + g.device, 'GPU ' + g.device + ' memory over time'), t, [
        { name: 'in use', values: list(g.in_use_bytes) },
        { name: 'cached', values: list(g.cached_bytes) }], bytes, 1024);
      rates(card('gpu-hits-' + g.device, `GPU ${g.device} hits and misses a second`), t, [
        { name: 'hits', sums: g.hits }, { name: 'misses', sums: g.misses }]);
    }
  }

  /* ---- tables ---- */

  function table(columns, rows, style) {
    return el('div', { class: 'scroll' }, el('table', { class: style || '' },
      el('thead', {}, el('tr', {}, columns.map((c, i) => el('th', { class: i === 0 ? 'name' : '' }, c)))),
      el('tbody', {}, rows.map((r) => el('tr', {}, r.map((v, i) => el('td', { class: i === 0 ? 'name' : '' }, v)))))));
  }
  /* Of few rows: where there is no room for the columns, they are the rows. */
  const turning = (columns, rows) => [table(columns, rows, 'wide'), table([columns[0], ...rows.map((r) => r[0])],
    columns.slice(1).map((c, i) => [c, ...rows.map((r) => r[i + 1])]), 'narrow')];
  function backends() {
    const rows = list((data.cpu || {}).backends).filter((b) => b.active || b.allocations > 0);
    if (rows.length === 0) return;
    const c = card('backends', 'CPU allocator', turning(
      ['back end', 'allocations', 'requested', 'frees', 'live blocks', 'in use', 'reserved', 'peak'],
      rows.map((b) => [b.name, count(b.allocations), bytes(b.requested_bytes), count(b.frees), count(b.live_blocks),
        bytes(b.in_use_bytes), bytes(b.reserved_bytes), bytes(b.reserved_peak_bytes)])));
    const core = data.cpu.core;
    if (known(core))
      c.append(el('p', { class: 'soft' }, `bfc: ${many(core.regions, 'region')}, ${bytes(core.free_bytes)} free, the largest piece ` +
        `${bytes(core.largest_free_bytes)} (${(core.fragmentation_permille / 10).toFixed(0)} % fragmented)`));
  }

  /* Rows of a name, bars, and two cells of text, under two heads. */
  const bar = (part, i) => el('span', { class: 'bar', style: `width:${(100 * part).toFixed(2)}%;background:${COLORS[i]}` +
    (part > 0 ? ';min-width:1px' : '') });
  const cell = (text) => el('span', { class: 'n' }, text);
  const bars = (heads, rows) => el('div', { class: 'bars' }, el('span', {}), el('span', {}),
    heads.map((h) => el('span', { class: 'n soft' }, h)),
    rows.map(([name, parts, ...cells]) => [el('span', {}, name), el('div', {}, parts.map(bar)), cells.map(cell)]));

  /* A row for each doubling: four bins of the report, from 4 ns on. */
  function spread(l, kinds) {
    const of = (k, d) => list(l[k].bins).slice(4 * d, 4 * d + 4).reduce((s, n) => s + n, 0);
    const all = kinds.map((k) => list(l[k].bins).reduce((s, n) => s + n, 0)), rows = [];
    for (let d = 0; d < Math.max(...kinds.map((k) => list(l[k].bins).length / 4)); d++) {
      const n = kinds.map((k) => of(k, d));
      if (n.some((v) => v > 0))
        rows.push([d === 0 ? '< 4 ns' : `${time(2 ** (d + 1))} – ${time(2 ** (d + 2))}`, n.map((v, i) => v / (all[i] || 1)),
          ...n.map((v, i) => (v > 0 ? share(v, all[i]) : ''))]);
    }
    const most = Math.max(...rows.flatMap((r) => r[1]));
    for (const r of rows) r[1] = r[1].map((part) => part / most);
    return bars(kinds.map((k, i) => [el('i', { style: 'background:' + COLORS[i] }), k]), rows);
  }
  /* Nothing, or 1 ns where it rounds, is less than a step of the clock: less than the shortest time beyond. */
  function latencyOf(calls, ns) {
    const b = ns <= 1 ? list(calls.bins).findIndex((n, i) => i > 1 && n > 0) : -1;
    return b < 0 ? time(ns) : '<' + time(b < 4 ? b : (4 + b % 4) * 2 ** (Math.floor(b / 4) - 1));
  }
  function latency() {
    const l = data.latency;
    if (!known(l)) return;
    const kinds = ['malloc', 'free'].filter((k) => known(l[k]));
    const c = card('latency', 'Latency of a sample of the calls');
    if (kinds.length > 0)
      c.append(...turning(['', 'p50', 'p99', 'p99.9', 'longest', 'samples', 'of calls'], kinds.map((k) => [k,
        ...[l[k].p50_ns, l[k].p99_ns, l[k].p999_ns, l[k].max_ns].map((ns) => latencyOf(l[k], ns)),
        count(l[k].samples), count(l[k].calls)])), spread(l, kinds));
    for (const [key, whose] of [['lock_waits', 'the allocator'], ['gpu_lock_waits', 'the GPU cache']])
      if (known(l[key]) && l[key].count > 0)
        c.append(el('p', { class: 'soft' }, `locks of ${whose}: ${many(l[key].count, 'wait')}, ${time(l[key].ns)} in all, ` +
          `the longest ${time(l[key].max_ns)}`));
  }
  function gpus() {
    for (const g of list(data.gpu))
      card('gpu-' + g.device, 'GPU ' + g.device + (known(g.backend) ? ': ' + g.backend : ''), table(
        ['', 'now', 'peak'], [
          ['in use', bytes(g.in_use_bytes), bytes(g.in_use_bytes_peak)],
          ['cached', bytes(g.cached_bytes), bytes(g.cached_bytes_peak)],
          ['got from the driver', bytes(g.reserved_bytes), bytes(g.reserved_bytes_peak)],
          ['pinned host memory', bytes(g.pinned_in_use_bytes), bytes(g.pinned_in_use_bytes_peak)],
          ['managed memory', bytes(g.managed_in_use_bytes), bytes(g.managed_in_use_bytes_peak)]]),
      el('p', {}, `${count(g.allocations)} allocations, ${count(g.hits)} hits; misses: ${count(g.misses_cold)} cold, ` +
        `${count(g.misses_evicted)} evicted, ${count(g.misses_size)} of another size, ${count(g.misses_stream)} still at work`),
      el('p', { class: 'soft' }, `driver: ${count(g.driver_mallocs)} allocations, ${count(g.driver_frees)} frees, ` +
        `${time(g.driver_ns)}; ${count(g.ooms)} times out of memory`));
  }
  function sizes() {
    const rows = list(data.size_classes), most = Math.max(1, ...rows.map((r) => r.calls));
    const all = rows.reduce((s, r) => s + r.calls, 0);
    if (all === 0) return;
    card('sizes', 'Sizes of all requests', bars(['calls', 'share'], rows.filter((r) => r.calls > 0).map((r) => [
      known(r.max_bytes) ? '≤ ' + plain(bytes(r.max_bytes)) : '> ' + plain(bytes(r.min_bytes - 1)), [r.calls / most],
      count(r.calls), share(r.calls, all)])));
  }

  /* ---- sites ---- */

  const KINDS = [['peak', 'at the peak'], ['live', 'live at the end'], ['total', 'in all']];
  const where = (f) => f.function || (f.module ? f.module.split('/').pop() + '+' + f.address : f.address || '?');
  const line = (f) => (known(f.file) ? f.file.split('/').pop() + (known(f.line) ? ':' + f.line : '') : '');

  function treeOf(sites, kind) {
    const root = { name: 'all', value: 0, children: new Map(), parent: null };
    for (const s of sites) {
      const v = s[kind + '_bytes'] || 0;
      if (v === 0) continue;
      let n = root;
      root.value += v;
      for (const f of list(s.frames).slice().reverse()) {
        const name = where(f);
        if (!n.children.has(name)) n.children.set(name, { name, at: line(f), value: 0, children: new Map(), parent: n });
        n = n.children.get(name);
        n.value += v;
      }
    }
    return root;
  }
  const below = (n) => [...n.children.values()].sort((a, b) => b.value - a.value);
  function hue(name) {
    let h = 0;
    for (const c of name) h = (h * 31 + c.codePointAt(0)) % 997;
    return `hsl(${20 + h % 40} ${65 + h % 25}% ${62 + h % 14}%)`;
  }

  function flame(sites) {
    const kinds = [...new Set(sites.map((s) => s.kind))].sort((a, b) => (a !== 'cpu') - (b !== 'cpu') || a.localeCompare(b));
    const of = el('select', { 'aria-label': 'memory of' }, kinds.map((k) => el('option', { value: k }, k === 'cpu' ? 'CPU' : k.toUpperCase())));
    const kind = el('select', { 'aria-label': 'bytes counted' }, KINDS.map(([k, n]) => el('option', { value: k }, n)));
    const find = el('input', { type: 'search', placeholder: 'search functions', 'aria-label': 'search functions' });
    const reset = el('button', { type: 'button' }, 'reset zoom');
    const graph = el('div', { class: 'flame', tabindex: 0, role: 'tree', 'aria-label': 'flame graph; arrow keys move, Enter zooms, Escape goes back' });
    const said = el('p', { class: 'soft' });
    card('flame', 'Where memory was allocated', el('div', { class: 'tools' }, of, kind, find, reset), graph, said);
    let root, zoom, on, boxes;

    function tell() {
      const word = find.value.toLowerCase();
      let text = `${on.name}${on.at ? ' (' + on.at + ')' : ''}: ${bytes(on.value)}, ${share(on.value, root.value)}`;
      if (word !== '') {
        const sum = (n) => (n !== root && n.name.toLowerCase().includes(word) ? n.value : below(n).reduce((s, c) => s + sum(c), 0));
        text += `; found: ${bytes(sum(root))}, ${share(sum(root), root.value)}`;
      }
      said.textContent = text;
      for (const [n, b] of boxes) {
        b.classList.toggle('on', n === on);
        b.classList.toggle('found', word !== '' && n !== root && n.name.toLowerCase().includes(word));
      }
    }
    function draw() {
      const above = [];
      for (let n = zoom.parent; n !== null; n = n.parent) above.unshift(n);
      boxes = new Map();
      let deepest = 0;
      const add = (n, x, w, depth) => {
        const b = el('div', { style: `left:${x * 100}%;width:${w * 100}%;top:${depth * 20}px;background:${hue(n.name)}`,
          title: `${n.name}${n.at ? ' (' + n.at + ')' : ''}\n${bytes(n.value)}`, role: 'treeitem' }, n.name);
        b.addEventListener('click', () => { zoom = on = n; draw(); });
        boxes.set(n, b);
        deepest = Math.max(deepest, depth);
      };
      const down = (n, x, w, depth) => {
        add(n, x, w, depth);
        let at = x;
        for (const c of below(n)) {
          const part = w * c.value / n.value;
          if (part > 0.001) down(c, at, part, depth + 1);
          at += part;
        }
      };
      above.forEach((n, i) => add(n, 0, 1, i));
      down(zoom, 0, 1, above.length);
      graph.replaceChildren(...boxes.values());
      graph.style.height = (deepest + 1) * 20 + 'px';
      if (!boxes.has(on)) on = zoom;
      tell();
    }
    function rebuild() {
      root = treeOf(sites.filter((s) => s.kind === of.value), kind.value);
      zoom = on = root;
      if (root.value === 0) {
        graph.replaceChildren();
        graph.style.height = '0';
        said.textContent = 'Nothing of this.';
      } else {
        draw();
      }
    }
    graph.addEventListener('keydown', (event) => {
      if (root.value === 0) return;
      const beside = on.parent === null ? [on] : below(on.parent), i = beside.indexOf(on);
      const to = { ArrowDown: below(on)[0], ArrowUp: on.parent, ArrowRight: beside[i + 1], ArrowLeft: beside[i - 1] }[event.key];
      if (event.key === 'Enter') zoom = on;
      else if (event.key === 'Escape') zoom = on = zoom.parent || root;
      else if (to && boxes.has(to)) on = to;
      else return;
      event.preventDefault();
      if (event.key === 'Enter' || event.key === 'Escape') draw();
      else tell();
    });
    reset.addEventListener('click', () => { if (root.value > 0) { zoom = on = root; draw(); } });
    find.addEventListener('input', () => { if (root.value > 0) tell(); });
    of.addEventListener('change', rebuild);
    kind.addEventListener('change', rebuild);
    rebuild();
  }
  function siteTable(sites) {
    const FIRST = 25;
    /* Every site ends in some of these: who called them is what tells sites apart. */
    const allocates = (f) => /^(malloc|calloc|realloc|reallocarray|memalign|aligned_alloc|posix_memalign|strn?dup)$/.test(where(f)) ||
      /^(operator new|cudaMalloc|cudaHostAlloc|cuMemAlloc)/.test(where(f)) ||
      /^(std|__gnu_cxx|alloc|core)::/.test(where(f).replace(/<[^()]*>/g, '').replace(/\(.*/, '').split(' ').pop());
    const first = (s) => list(s.frames).find((f) => !allocates(f)) || s.frames[0];
    const columns = [['live', 'live'], ['peak', 'at peak'], ['total', 'total']];
    let by = 'peak', all = false;
    const c = card('sites', 'Call sites'), box = el('div', {});
    const value = (s, k) => bytes(s[k + '_bytes']) + (s[k + '_bytes'] > 0 && s[k + '_bytes_error'] > 0 ? ' ±' + share(s[k + '_bytes_error'], s[k + '_bytes']) : '');
    function draw() {
      const rows = sites.slice().sort((a, b) => (b[by + '_bytes'] || 0) - (a[by + '_bytes'] || 0));
      const shown = all ? rows : rows.slice(0, FIRST);
      const path = (s) => el('details', {}, el('summary', { class: 'site' }, where(first(s)),
        el('span', { class: 'soft' }, ' ' + line(first(s)) + (s.kind === 'cpu' ? '' : '  ' + s.kind.toUpperCase()) +
          (known(s.suppressed) ? '  suppressed: ' + s.suppressed : ''))),
        list(s.frames).map((f) => el('div', { class: 'soft' }, where(f) + ' ' + line(f))));
      box.replaceChildren(el('div', { class: 'scroll' }, el('table', { class: 'stack' },
        el('thead', {}, el('tr', {}, el('th', { class: 'name' }, 'function'), columns.map(([k, name]) => {
          const th = el('th', {}, el('button', { type: 'button', onclick: () => { by = k; draw(); } }, name + (by === k ? ' ▾' : '')));
          if (by === k) th.setAttribute('aria-sort', 'descending');
          return th;
        }))),
        el('tbody', {}, shown.map((s) => el('tr', {}, el('td', { class: 'name' }, path(s)),
          columns.map(([k]) => el('td', {}, value(s, k)))))))));
      if (shown.length < rows.length)
        box.append(el('div', { class: 'tools' }, el('button', { type: 'button', onclick: () => { all = true; draw(); } },
          `show all ${rows.length}`)));
    }
    c.append(box);
    if (known(data.sampling) && known(data.sampling.mean_bytes))
      c.append(el('p', { class: 'soft' }, `CPU sites are estimates from a sample, one block in ` +
        `${bytes(data.sampling.mean_bytes)} on average; ± is the 95 % interval.`));
    draw();
  }
  function sites() {
    const s = list(data.sites).filter((x) => known(x) && list(x.frames).length > 0);
    if (s.length === 0) return;
    flame(s);
    siteTable(s);
  }

  /* ---- processes and configuration ---- */

  function processes() {
    const rows = list(data.processes);
    if (rows.length < 2) return;
    card('processes', 'Processes', table(
      ['program', 'pid', 'rank', 'ended by', 'requested', 'allocations', 'peak RSS', 'time'],
      rows.map((p) => [p.program, String(p.pid), known(p.rank) ? String(p.rank) : '–', p.how || '–', bytes(p.requested_bytes),
        count(p.allocations), bytes(p.rss_peak_bytes), time(p.wall_ns)])));
  }
  function config() {
    const rows = list(data.config), row = (c) => [el('code', {}, c.name), c.value, c.source, c.default];
    /* Where the report was written to is nothing to him who reads it here. */
    const set = rows.filter((c) => c.source !== 'default' && c.value !== c.default && !/_STATS_(FILE|FORMAT)$/.test(c.name));
    const columns = ['variable', 'value', 'from', 'default'];
    card('config', 'Configuration',
      set.length > 0 ? table(columns, set.map(row), 'stack') : el('p', {}, 'Everything has its default value.'),
      el('details', {}, el('summary', {}, `all ${rows.length} variables`), table(columns, rows.map(row), 'stack')));
  }

  page.replaceChildren();
  for (const part of [head, tiles, warnings, advice, timeline, sizes, backends, latency, gpus, sites, processes, config]) part();
  page.append(el('footer', {}, `XSigma ${data.version || ''}, ${data.schema || ''}. This file needs no network.`));
}());
