// Takes the place of worker.mjs: JavaScript with all of Deno's names at hand tries what it could want, and tells what worked.
self.onmessage = async ({ data }) => {
  const { canary, folder, secret_name: secret, tcp, udp, victim, pyodide } = data.config;
  const address = `127.0.0.1:${tcp}`;
  const worked = [];
  const refused = [];
  const attempt = async (name, action) => {
    try {
      const value = await Promise.race([action(), new Promise((_, fail) => setTimeout(() => fail("slow"), 3000))]);
      if (value !== undefined && value !== null && value !== false) worked.push(`${name}: ${String(value).slice(0, 80)}`);
      else refused.push(name);
    } catch {
      refused.push(name);
    }
  };
  for (const name of ["read", "write", "net", "env", "run", "ffi", "sys", "import"]) {
    await attempt(`permission to ${name}`, async () => (await Deno.permissions.query({ name })).state === "granted");
    await attempt(`request to ${name}`, async () => (await Deno.permissions.request({ name })).state === "granted");
  }
  await attempt("read", () => Deno.readTextFile(canary));
  await attempt("read sync", () => Deno.readTextFileSync(canary));
  await attempt("read pyodide", () => Deno.readTextFile(pyodide));
  await attempt("open", () => Deno.open(canary));
  await attempt("stat", () => Deno.stat(canary));
  await attempt("list", () => [...Deno.readDirSync(folder)]);
  await attempt("write", async () => (await Deno.writeTextFile(canary, "!"), true));
  await attempt("temporary", () => Deno.makeTempFile());
  await attempt("environment", () => Deno.env.get(secret));
  await attempt("environment of node", async () => (await import("node:process")).env[secret]);
  await attempt("host name", () => Deno.hostname());
  await attempt("command", () => new Deno.Command("true").outputSync());
  await attempt("kill", async () => (Deno.kill(victim, "SIGTERM"), true));
  await attempt("connect", () => Deno.connect({ hostname: "127.0.0.1", port: tcp }));
  await attempt("datagram", () =>
    Deno.listenDatagram({ hostname: "127.0.0.1", port: 0, transport: "udp" })
      .send(new Uint8Array(1), { hostname: "127.0.0.1", port: udp, transport: "udp" }));
  await attempt("listen", () => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  await attempt("fetch", () => fetch(`http://${address}/fetch`));
  await attempt("fetch a file", async () => (await fetch(`file://${canary}`)).text());
  await attempt("socket", () =>
    new Promise((done, fail) => {
      const socket = new WebSocket(`ws://${address}/socket`);
      socket.onopen = () => done(true);
      socket.onerror = () => fail();
    }));
  await attempt("import", () => import(`http://${address}/module.mjs`));
  await attempt("import of a file", () => import(`file://${canary}`));
  await attempt("import of a package", () => import("npm:left-pad@1.3.0"));
  await attempt("files of node", async () => (await import("node:fs")).readFileSync(canary, "utf8"));
  await attempt("processes of node", async () => (await import("node:child_process")).execSync("id"));
  await attempt("sockets of node", async () =>
    new Promise((done, fail) => {
      import("node:net").then(({ connect }) => {
        const socket = connect(tcp, "127.0.0.1", () => done(true));
        socket.on("error", fail);
      });
    }));
  await attempt("library", () => Deno.dlopen("libc.so.6", {}));
  await attempt("eval", () => eval("1 + 1"));
  await attempt("function", () => new Function("return 1 + 1")());
  for (const permissions of ["inherit", "none", { read: true, net: true, run: true, env: true, write: true }]) {
    await attempt(`worker with ${JSON.stringify(permissions)}`, () =>
      new Promise((done, fail) => {
        const source = "try { postMessage(Deno.readTextFileSync(" + JSON.stringify(canary) + ")) } catch { postMessage(null) }";
        const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
        const worker = new Worker(url, { type: "module", deno: { permissions } });
        worker.onmessage = ({ data }) => (worker.terminate(), done(data));
        worker.onerror = (event) => (event.preventDefault(), fail());
      }));
  }
  self.postMessage({ reason: `worked=${JSON.stringify(worked)} refused=${refused.length}` });
};
