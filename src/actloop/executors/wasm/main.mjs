// The thread that owns standard input and output: it starts Pyodide in a worker without any permission, hands it what
// the host sends, and turns the host's signals into interrupts of the running program.

const BELL = 0, HEAD = 1, TAIL = 2; // places in the control block; counts of bytes wrap at 32 bits
const RING = 1 << 20; // bytes from the host that may wait for the guest

const plan = JSON.parse(Deno.args[0]);
const control = new Int32Array(new SharedArrayBuffer(64));
const ring = new Uint8Array(new SharedArrayBuffer(RING));
const interrupt = new Uint8Array(new SharedArrayBuffer(1));

function fail(reason) {
  console.error(String(reason).slice(0, 4000));
  Deno.exit(70);
}

function wake() {
  Atomics.add(control, BELL, 1);
  Atomics.notify(control, BELL);
}

for (const [name, number] of [["SIGINT", 2], ["SIGUSR1", 10]]) {
  Deno.addSignalListener(name, () => {
    Atomics.store(interrupt, 0, number);
    wake();
  });
}

async function startWorker() {
  const names = Object.keys(plan.files);
  const contents = await Promise.all(names.map((name) => Deno.readFile(plan.files[name])));
  const files = Object.fromEntries(names.map((name, index) => [name, contents[index]]));
  const packages = await Promise.all(plan.packages.map((path) => Deno.readFile(path)));
  Deno.permissions.revokeSync({ name: "read" });
  const source = URL.createObjectURL(new Blob([files.worker], { type: "text/javascript" }));
  const worker = new Worker(source, { type: "module", deno: { permissions: "none" } });
  worker.onerror = (event) => fail(event.message);
  worker.onmessageerror = () => fail("The worker sent what cannot be read");
  worker.onmessage = ({ data }) => {
    if (data.ready) return Deno.stderr.writeSync(new TextEncoder().encode("ready\n"));
    if (!plan.make || !(data.image instanceof Uint8Array)) fail(data.reason);
    writeAll(data.image);
    Deno.exit(0);
  };
  const buffers = [...contents, ...packages].map((file) => file.buffer);
  worker.postMessage({ ...plan, files, packages, control, ring, interrupt }, buffers);
}

function writeAll(data) {
  for (let written = 0; written < data.length;) written += Deno.stdout.writeSync(data.subarray(written));
}

/** Move what the host sends into the ring, as the guest takes it out; end with the host. */
async function pump() {
  const chunk = new Uint8Array(1 << 16);
  for (;;) {
    const count = await Deno.stdin.read(chunk);
    if (count === null) Deno.exit(0);
    for (let rest = chunk.subarray(0, count); rest.length;) {
      const head = Atomics.load(control, HEAD) >>> 0, tail = Atomics.load(control, TAIL);
      const room = RING - ((head - tail) >>> 0);
      if (room <= 0) {
        const waiting = Atomics.waitAsync(control, TAIL, tail);
        if (waiting.async) await waiting.value;
        continue;
      }
      const at = head % RING;
      const part = rest.subarray(0, Math.min(room, RING - at));
      ring.set(part, at);
      Atomics.store(control, HEAD, (head + part.length) | 0);
      wake();
      rest = rest.subarray(part.length);
    }
  }
}

startWorker().catch(fail);
if (!plan.make) pump().catch(() => Deno.exit(0));
