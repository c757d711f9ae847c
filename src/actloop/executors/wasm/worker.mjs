// The thread that runs Pyodide, without any permission. Python sees two devices: the stream to the host, and a bell to
// wait by. It is given no object of JavaScript, and what it could reach all the same may do nothing.

const BELL = 0, HEAD = 1, TAIL = 2; // as in main.mjs: a worker without permissions can import no file
const AGAIN = 6, INTERRUPTED = 27, INVALID = 28, FULL = 51; // error numbers of WebAssembly's system interface

const KEPT = new Set(
  ("AbortController AbortSignal Array ArrayBuffer Atomics BigInt BigInt64Array BigUint64Array Boolean DOMException " +
    "DataView Date DedicatedWorkerGlobalScope Error EvalError Event EventTarget FinalizationRegistry Float32Array " +
    "Float64Array Function Headers Infinity Int16Array Int32Array Int8Array Iterator JSON Map Math NaN Number Object " +
    "Promise Proxy RangeError ReferenceError Reflect RegExp Response Set SharedArrayBuffer String SuppressedError " +
    "Symbol SyntaxError TextDecoder TextEncoder TypeError URIError URL Uint16Array Uint32Array Uint8Array " +
    "Uint8ClampedArray WeakMap WeakRef WeakSet WebAssembly WorkerGlobalScope clearTimeout gc console crypto " +
    "decodeURIComponent encodeURIComponent eval globalThis isFinite isNaN location navigator parseFloat parseInt " +
    "performance queueMicrotask self setTimeout undefined").split(" "),
);

const post = self.postMessage.bind(self);
const writeOut = Deno.stdout.writeSync.bind(Deno.stdout);

const text = (bytes) => new TextDecoder().decode(bytes);
const literal = (value) => JSON.stringify(String(value)); // which Python reads as the same text

self.onmessage = async ({ data }) => {
  let answer = { reason: "The interpreter has ended" };
  try {
    const { boot, guest } = data.files; // not there when an image is
    const python = await load(data);
    if (guest) python.runPython(`${text(boot)}\nprepare(${literal(text(guest))})`);
    if (data.make) answer = { image: python.makeMemorySnapshot() };
    else serve(python, data);
  } catch (error) {
    answer = { reason: `${error?.name}: ${error?.message}` };
  } finally {
    post(answer);
  }
};

async function load({ files, info, make }) {
  const url = (bytes) => URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
  const [loader, runtime] = [url(files.loader), url(files.runtime)];
  const served = {
    "python_stdlib.zip": new Response(files.library),
    "pyodide.asm.wasm": new Response(files.python, { headers: { "content-type": "application/wasm" } }),
  };
  for (const name of Object.getOwnPropertyNames(globalThis)) if (!KEPT.has(name)) delete globalThis[name];
  const { loadPyodide } = await import(loader); // it takes what is left for a web worker of a browser
  const { default: create } = await import(runtime);
  globalThis.fetch = (address) => Promise.resolve(served[String(address).split("/").pop()]);
  const nothing = () => undefined;
  const names = ["eval", "setTimeout", "clearTimeout", "setInterval", "clearInterval", "XMLHttpRequest", "fetch"];
  const options = {
    indexURL: "file:///",
    packageBaseUrl: "file:///",
    lockFileContents: { info, packages: {} },
    env: { HOME: "/tmp", LANG: "C.UTF-8", TZ: "UTC" },
    jsglobals: Object.fromEntries(names.map((name) => [name, nothing])),
    stdin: () => null,
    stdout: nothing,
    stderr: nothing,
    createPyodideModule(settings) {
      if (files.image) settings.preRun.push((module) => module.growMemory(files.image.length));
      return create(settings);
    },
  };
  if (make) options._makeSnapshot = true;
  if (files.image) options._loadSnapshot = files.image;
  const python = await loadPyodide(options);
  delete globalThis.fetch;
  delete python._api.config._loadSnapshot;
  for (const name of Object.keys(files)) delete files[name];
  return python;
}

function serve(python, { files, packages, names, config, limits, control, ring, interrupt }) {
  const { FS } = python;
  FS.mkdirTree("/packages");
  packages.forEach((bytes, index) => FS.writeFile(`/packages/${names[index]}`, bytes, { canOwn: true }));
  python.runPython(`install(${literal(JSON.stringify(names))})`);
  const stream = openDevice(FS, 64, streamTo(FS, control, ring, interrupt));
  const bell = openDevice(FS, 65, bellOf(FS, control, interrupt));
  boundFiles(FS, limits);
  python.setInterruptBuffer(interrupt);
  globalThis.gc(); // much was needed to get here
  post({ ready: true });
  python.runPython(`serve(${stream}, ${literal(JSON.stringify({ ...config, bell }))})`);
}

function openDevice(FS, number, operations) {
  const device = FS.makedev(number, 0);
  FS.registerDevice(device, { open: (stream) => (stream.seekable = false), close() {}, ...operations });
  const path = `/dev/actloop${number}`;
  FS.mkdev(path, 0o600, device);
  const { fd } = FS.open(path, "r+");
  FS.unlink(path);
  return fd;
}

/** Reading never waits, writing does. */
function streamTo(FS, control, ring, interrupt) {
  return {
    read(_stream, buffer, offset, length) {
      const head = Atomics.load(control, HEAD) >>> 0, tail = Atomics.load(control, TAIL) >>> 0;
      const there = (head - tail) >>> 0;
      if (!there) throw new FS.ErrnoError(AGAIN);
      const at = tail % ring.length;
      const count = Math.min(there, length, ring.length - at);
      buffer.set(ring.subarray(at, at + count), offset);
      Atomics.store(control, TAIL, (tail + count) | 0);
      Atomics.notify(control, TAIL);
      return count;
    },
    write(_stream, buffer, offset, length) {
      return writeOut(new Uint8Array(buffer.buffer, buffer.byteOffset + offset, length));
    },
  };
}

/** Writing to it waits: for so many seconds (a double, negative for ever), or until the host has sent something. */
function bellOf(FS, control, interrupt) {
  return {
    write(_stream, buffer, offset, length) {
      if (length !== 9) throw new FS.ErrnoError(INVALID);
      const view = new DataView(buffer.buffer, buffer.byteOffset + offset, length);
      const seconds = view.getFloat64(0, true), forInput = view.getUint8(8);
      const until = seconds < 0 ? Infinity : performance.now() + 1000 * seconds;
      for (;;) {
        const rung = Atomics.load(control, BELL);
        if (Atomics.load(interrupt, 0)) throw new FS.ErrnoError(INTERRUPTED);
        if (forInput && Atomics.load(control, HEAD) !== Atomics.load(control, TAIL)) return length;
        const left = until - performance.now();
        if (left <= 0) return length;
        Atomics.wait(control, BELL, rung, left);
      }
    },
  };
}

/** Hold all files together to a size, and open files to a number. Contents lie outside of Python's own memory. */
function boundFiles(FS, { disk, files }) {
  const { MEMFS } = FS.filesystems;
  const operations = MEMFS.ops_table.file.stream;
  const kept = total(FS);
  let used = 0;
  const roomFor = (more) => {
    if (used + more > disk) used = total(FS) - kept;
    return disk - used;
  };
  const reserve = (node, size) => {
    const more = size - node.usedBytes;
    if (more <= 0) return;
    if (roomFor(more) < more) throw new FS.ErrnoError(FULL);
    used += more;
  };
  const { write } = operations;
  operations.write = (stream, buffer, offset, length, position, canOwn) => {
    const more = position + length - stream.node.usedBytes;
    const over = Math.max(0, more - (more > 0 ? roomFor(more) : 0));
    const fits = over < length ? length - over : length; // a disk that gets full takes what it can, and then nothing
    reserve(stream.node, position + fits);
    return write(stream, buffer, offset, fits, position, canOwn);
  };
  const { resizeFileStorage } = MEMFS;
  MEMFS.resizeFileStorage = (node, size) => {
    reserve(node, size);
    return resizeFileStorage(node, size);
  };
  MEMFS.expandFileStorage = (node, size) => {
    if (size <= node.contents.length) return;
    const more = Math.min(node.contents.length, 1 << 20); // so that small writes do not copy the file each time
    const contents = new Uint8Array(Math.max(size, node.contents.length + more));
    contents.set(node.contents.subarray(0, node.usedBytes));
    node.contents = contents;
  };
  if (files !== null) FS.MAX_OPEN_FDS = files;
}

/** Bytes of all files, those that are open but have no name any more among them. */
function total(FS) {
  const seen = new Set();
  const visit = (node) => {
    if (seen.has(node)) return;
    seen.add(node);
    if (FS.isDir(node.mode)) Object.values(node.contents ?? {}).forEach(visit);
  };
  visit(FS.root);
  FS.streams.forEach((stream) => stream?.node && visit(stream.node));
  let size = 0;
  for (const node of seen) if (FS.isFile(node.mode)) size += node.usedBytes;
  return size;
}
