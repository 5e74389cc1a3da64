#!/bin/bash
# node: JSON, zlib, hashes, worker threads, buffers.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need node
cat >work.js <<'JS'
const zlib = require('zlib');
const crypto = require('crypto');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

function rows(seed, n) {
  let x = seed;
  const out = [];
  for (let i = 0; i < n; i++) {
    x = (x * 48271) % 2147483647;
    out.push({ id: i, name: 'row ' + (x % 1000), values: [x % 7, x % 11, x / 3], flag: x % 2 === 0 });
  }
  return out;
}
function digest(data) {
  return crypto.createHash('sha256').update(data).digest('hex');
}
function work(seed) {
  const text = JSON.stringify(rows(seed, 8000));
  const packed = zlib.gzipSync(text, { level: 6 });
  const back = zlib.gunzipSync(packed).toString();
  const brotli = zlib.brotliCompressSync(text.slice(0, 60000),
    { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } });
  const parsed = JSON.parse(back);
  return [text.length, packed.length, brotli.length, digest(back), parsed[77].name].join(' ');
}

if (isMainThread) {
  console.log(work(1));
  const parts = [];
  for (let i = 0; i < 300; i++) parts.push(Buffer.alloc(1 + (i * 977) % 65536, i));
  console.log(digest(Buffer.concat(parts)));
  const results = [];
  let open = 4; // three workers and the deflate; whichever ends last prints
  const done = () => { if (--open === 0) console.log(results.join('\n')); };
  for (let w = 0; w < 3; w++) {
    const worker = new Worker(__filename, { workerData: w + 2 });
    worker.on('message', (m) => { results[w] = m; });
    worker.on('exit', done);
  }
  zlib.deflate('x'.repeat(1 << 20), (err, out) => {
    results[3] = err ? 'failed' : out.length;
    done();
  });
} else {
  parentPort.postMessage(work(workerData));
}
JS
same_output -e zlib-json node work.js
finish
