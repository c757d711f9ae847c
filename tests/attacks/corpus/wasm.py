"""Attacks in what Pyodide has beside Python: ways to JavaScript, what JavaScript would do there, its C, its devices.

Whatever a program ends with counts as got hold of here, as in the kernel sandbox.
"""

from __future__ import annotations

from tests.attacks.attack import Family

from actloop.executors.session import SandboxLimits

DIG = '''
import sys

def attempt(action):
    """What an action gives, or nothing if it fails; a name that is not there is a fault of the attack."""
    try:
        return action()
    except NameError:
        raise
    except Exception:
        return None

def open_modules():
    """Take away what keeps the modules that lead to JavaScript from being imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] in FOREIGN]:
        del sys.modules[name]

FOREIGN = ("js", "pyodide_js", "pyodide", "_pyodide", "_pyodide_core")

def core():
    """The part of Pyodide that is written in C, which is always there."""
    open_modules()
    import _pyodide_core
    return _pyodide_core

def array():
    """An object of JavaScript."""
    return core().to_js([3, 1, 2])

def octets():
    """An array of bytes of JavaScript."""
    return core().to_js(b"x")

def by_js(code):
    import js
    return js.eval(code)

def by_run_js(code):
    from pyodide.code import run_js
    return run_js(code)

def by_constructor(code):
    return array().constructor.constructor("return " + code)()

def table():
    """A plain object of JavaScript."""
    return core().to_js({"a": 1})

def run(code):
    """The value of an expression of JavaScript, by whatever way there is."""
    open_modules()
    for way in (by_js, by_run_js, by_constructor):
        found = attempt(lambda: way(code))
        if found is not None:
            return str(found)
    return None

def script(code):
    """The value of an expression of JavaScript, by what Emscripten has for programs in C."""
    import ctypes
    library = ctypes.CDLL(None)
    library.emscripten_run_script_string.restype = ctypes.c_char_p
    return library.emscripten_run_script_string(f"String({code})".encode())

def c():
    """The functions of C."""
    import ctypes
    return ctypes.CDLL(None)
'''


def family(name: str, **options: object) -> Family:
    return Family(name, **{"platform": "wasm", "prelude": DIG, "limits": SandboxLimits(wall=2.0), **options})


hops = family("module-hops", control=True)
hops.add("import-js", "attempt(lambda: __import__('js').eval('1 + 1'))")
hops.add("import-js-again", "open_modules()\nattempt(lambda: __import__('js').eval('1 + 1'))")
hops.add("run-js", "open_modules()\nattempt(lambda: by_run_js('1 + 1'))")
hops.add("the-modules-of-pyodide", "open_modules()\nattempt(lambda: str(__import__('pyodide_js').FS))")
hops.add(
    "a-finder-that-knows-them",
    "import gc\n[str(one.jsproxies) for one in gc.get_objects() if type(one).__name__ == 'JsFinder' and one.jsproxies]",
)
hops.add(
    "a-finder-put-back",
    "import gc, importlib\nopen_modules()\n"
    "sys.meta_path.extend(one for one in gc.get_objects() if type(one).__name__ == 'JsFinder')\n"
    "attempt(lambda: importlib.import_module('js').eval('1 + 1'))",
)
hops.add(
    "an-object-that-was-kept",
    "import gc\n[str(one) for one in gc.get_objects() if type(one).__name__ == 'JsProxy' and hasattr(one, 'eval')]",
    control=False,
)
hops.add(
    "http-of-pyodide",
    """
    open_modules()
    try:
        from pyodide import http
        found = http.open_url(f"http://127.0.0.1:{tcp}/").read()
    except Exception:  # what it takes from JavaScript is not there
        found = None
    found
    """,
    control=False,
)
hops.add(
    "by-the-loop-of-pyodide",
    "open_modules()\nattempt(lambda: str(__import__('pyodide.webloop', fromlist=['x']).setTimeout))",
    control=False,
)

chains = family("dunder-chains")
chains.add("a-function-from-text", "attempt(lambda: by_constructor('1 + 1'))", control=True)
chains.add("an-asynchronous-one", "attempt(lambda: array().values().constructor.constructor('return 1')())")
chains.add("what-is-global-as-this", "attempt(lambda: str(array().constructor.prototype.valueOf.call(None).fetch))")
chains.add(
    "this-of-a-callback",
    "seen = []\nattempt(lambda: array().forEach(core().create_proxy(lambda *a: seen.append(a), "
    "capture_this=True)))\n[str(one[0]) for one in seen if hasattr(one[0], 'Deno')]",
)
chains.add(
    "frames-of-a-stack",
    """
    seen = []
    def prepare(error, sites):
        for site in sites:
            for found in (site.getThis(), site.getFunction()):
                if found is not None:
                    seen.append(str(found)[:40])
        return "x"
    def look():
        try:
            array().constructor.new(-1)
        except Exception as error:
            kind = error.js_error.constructor if hasattr(error, "js_error") else error.constructor
            table().constructor.getPrototypeOf(kind).prepareStackTrace = core().create_proxy(prepare)
        try:
            array().constructor.new(-1)
        except Exception as error:
            str(error.stack)
    attempt(look)
    [one for one in seen if "import" in one or "Deno" in one]
    """,
)
chains.add("the-caller-of-a-function", "attempt(lambda: str(array().sort.caller))")
chains.add("the-arguments-of-a-function", "attempt(lambda: str(array().sort.arguments))")
chains.add(
    "symbols-of-an-object",
    "found = attempt(lambda: "
    "array().constructor.constructor.prototype.constructor.constructor('return Deno')())\n"
    "found and str(found)",
    control=True,
)
chains.add(
    "bound-to-another-object",
    "attempt(lambda: array().constructor.constructor.bind(None, 'return Deno.pid')()())",
    control=True,
)
chains.add(
    "applied-to-another-object",
    "attempt(lambda: array().constructor.constructor.apply(None, core().to_js(['return Deno.pid']))())",
    control=True,
)
chains.add(
    "called-as-a-method",
    "attempt(lambda: array().constructor.constructor.call(None, 'return Deno.pid')())",
    control=True,
)

JS = {
    "files": {
        "read": "Deno.readTextFileSync(CANARY)",
        "read-bytes": "Deno.readFileSync(CANARY).length",
        "list": "[...Deno.readDirSync(FOLDER)].length",
        "stat": "Deno.statSync(CANARY).size",
        "follow": "Deno.realPathSync(CANARY)",
        "where-it-runs": "Deno.cwd()",
        "the-hosts-users": "Deno.readTextFileSync('/etc/passwd')",
        "a-folder-of-the-host-is-mounted": "(process.getBuiltinModule('node:fs')).readFileSync(CANARY, 'utf8')",
    },
    "proc": {
        "the-environment": "Deno.env.get(SECRET)",
        "all-of-the-environment": "JSON.stringify(Deno.env.toObject())",
        "the-environment-as-node-has-it": "process.env[SECRET]",
        "its-number": "Deno.pid",
        "the-name-of-the-host": "Deno.hostname()",
        "its-own-path": "Deno.execPath()",
        "memory-of-the-system": "Deno.systemMemoryInfo().total",
    },
    "new-processes": {
        "a-command": "new Deno.Command('true').outputSync().success",
        "a-command-as-node-has-it": "process.getBuiltinModule('node:child_process').execSync('echo x')",
        "a-worker": "new Worker('data:text/javascript,0', {type: 'module'})",
        "a-library": "Deno.dlopen('libc.so.6', {getpid: {parameters: [], result: 'i32'}}).symbols.getpid()",
    },
    "signals": {"find-a-process": "(Deno.kill(VICTIM, 'SIGCONT'), 'found')"},
    "network": {
        "fetch": "fetch('http://127.0.0.1:TCP/')",
        "a-socket": "new WebSocket('ws://127.0.0.1:TCP/')",
        "a-connection": "Deno.connect({hostname: '127.0.0.1', port: TCP})",
        "a-request-that-waits": "new EventSource('http://127.0.0.1:TCP/')",
        "a-listener": "Deno.listen({hostname: '127.0.0.1', port: 0}).addr.port",
    },
    "other-ways-out": {
        "a-module-from-the-network": "import('http://127.0.0.1:TCP/x.mjs')",
        "a-module-that-is-a-file": "import('file://' + CANARY)",
        "a-module-of-node": "import('node:fs')",
        "a-message-to-its-host": "(postMessage({ready: true}), 'sent')",
        "a-message-that-it-failed": "(self.postMessage({reason: 'x'}), 'sent')",
        "a-channel-to-others": "(new BroadcastChannel('x').postMessage('x'), 'sent')",
    },
    "kernel-surface": {
        "permissions-asked-for": "Deno.permissions.requestSync({name: 'read'}).state",
        "the-inside-of-deno": "Object.keys(Deno[Deno.internal].core.ops).length",
        "shared-memory": "new SharedArrayBuffer(1 << 20).byteLength",
        "the-global-object": "Object.keys(globalThis).length || 1",
    },
}
"""By family: expressions of JavaScript, each of which gives something where nothing is in its way."""

NO_CONTROL = (
    *("a-message", "find-a-process", "fetch", "a-socket", "a-connection", "a-request", "a-module", "a-command"),
    *("the-environment", "a-worker"),
)
"""Beginnings of those that would disturb the tests, reach what they watch, need what only the host has, or go on."""


def payload(code: str) -> str:
    """An expression of JavaScript in which what an attacker is told is put, as a program of Python's."""
    told = {"CANARY": "canary", "FOLDER": "folder", "SECRET": "secret_name", "VICTIM": "victim", "TCP": "tcp"}
    text = f"json.dumps({code!r})[1:-1]" if "\\" in code else repr(code)
    for name, variable in told.items():
        if name in code:
            quoted = f"str({variable})" if name in ("VICTIM", "TCP") else f"json.dumps({variable})"
            text += f".replace({name!r}, {quoted})"
    return f"import json, time\ncode = {text}\n"


javascript: list[Family] = []
for _family, _codes in JS.items():
    javascript.append(family(_family))
    for _name, _code in _codes.items():
        javascript[-1].add(
            f"javascript-{_name}",
            f"{payload(_code)}found = run(code)\ntime.sleep(0.1)\nfound",
            control=not _name.startswith(NO_CONTROL),
        )

scripts = family("kernel-surface", ends="SandboxCrash", dies=True)
scripts.add("javascript-from-c", "script('1 + 1')")
scripts.add("javascript-from-c-as-a-number", "c().emscripten_run_script_int(b'40 + 2')")
scripts.add("javascript-from-c-that-reads", payload("Deno.readTextFileSync(CANARY)") + "script(code)")

files = family("files")
files.add("open", "attempt(lambda: open(canary).read())")
files.add("list", "import os\nattempt(lambda: os.listdir(folder))")
files.add("by-a-system-call-of-emscripten", "import os\nattempt(lambda: c().open(canary.encode(), 0) >= 0)")
files.add("a-link-to-the-host", "import os\nos.symlink(canary, '/tmp/l')\nattempt(lambda: open('/tmp/l').read())")
files.add(
    "by-the-descriptors-of-deno", "import os\n[number for number in range(5, 200) if attempt(lambda: os.fstat(number))]"
)
files.add(
    "a-file-system-of-the-host",
    "open_modules()\nattempt(lambda: "
    "__import__('pyodide_js').FS.mount(__import__('pyodide_js').FS.filesystems.NODEFS, {'root': "
    "'/'}, '/mnt'))",
)
files.add(
    "packages-from-the-host",
    "open_modules()\nattempt(lambda: by_js('1') and __import__('pyodide_js').loadPackage('file://' + canary))",
)
files.add("mounted-by-c", "attempt(lambda: c().mount(b'/', b'/tmp', b'nodefs', 0, None) == 0)")

network = family("network")
network.add("a-socket-of-python", "import socket\nattempt(lambda: socket.create_connection(('127.0.0.1', tcp), 1))")
network.add(
    "a-datagram-of-python",
    "import socket\ndef go():\n    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    "    return s.sendto(b'x', ('127.0.0.1', udp)) and None\n"
    "attempt(go)",
)
network.add(
    "a-listener-of-python",
    "import socket\ndef go():\n    s = socket.socket()\n"
    "    s.bind(('127.0.0.1', 0))\n    s.listen()\n    return None\n"
    "attempt(go)",
)
network.add(
    "a-web-socket-of-emscripten",
    "import ctypes, time\nurl = f'ws://127.0.0.1:{tcp}/'.encode()\n"
    "class A(ctypes.Structure): _fields_ = [('url', ctypes.c_char_p), ('protocols', "
    "ctypes.c_char_p), ('main', ctypes.c_int)]\nfound = attempt(lambda: "
    "c().emscripten_websocket_new(ctypes.byref(A(url, None, 0))) > 0)\n"
    "time.sleep(0.1)\nNone",
    ends=None,
)
network.add("a-name-looked-up", "import socket\nattempt(lambda: socket.getaddrinfo('localhost', tcp)) and None")

processes = family("new-processes")
processes.add("a-command-of-c", "attempt(lambda: c().system(b'true') == 0)")
processes.add("a-fork", "import os\nattempt(lambda: os.fork() or True)")
processes.add("a-program-in-its-place", "import os\nattempt(lambda: os.execv('/bin/true', ['true']))")
processes.add(
    "a-thread-of-c",
    "import ctypes\nthread = ctypes.c_long()\nattempt(lambda: "
    "c().pthread_create(ctypes.byref(thread), None, None, None) == 0)",
    ends=None,
)

pollution = family("disorder", ends=None)
for _name, _code in {
    "the-bytes-that-are-read": ("octets().constructor.prototype.subarray = core().create_proxy(lambda *a: None)"),
    "the-bytes-that-are-set": "octets().constructor.prototype.set = core().create_proxy(lambda *a: None)",
    "the-length-of-bytes": (
        "octets().constructor.prototype.__defineGetter__('length', core().create_proxy(lambda *a: 2**40))"
    ),
    "every-object-is-ready": "table().constructor.prototype.ready = True",
    "every-object-has-an-image": "table().constructor.prototype.image = octets()",
    "every-object-can-be-awaited": (
        "table().constructor.prototype.__setattr__('then', core().create_proxy(lambda *a: None))"
    ),
    "every-object-is-other-text": (
        "table().constructor.prototype.toString = core().create_proxy(lambda *a: 'x' * 10**6)"
    ),
    "functions-are-not-called": "array().constructor.constructor.prototype.call = core().create_proxy(lambda *a: 7)",
    "functions-are-not-applied": "array().constructor.constructor.prototype.apply = core().create_proxy(lambda *a: 7)",
    "lists-do-not-grow": "array().constructor.prototype.push = core().create_proxy(lambda *a: 2**53)",
    "lists-are-never-searched": "array().constructor.prototype.forEach = core().create_proxy(lambda *a: 1 / 0)",
    "a-setter-for-every-object": (
        "table().constructor.prototype.__defineSetter__('data', core().create_proxy(lambda *a: None))"
    ),
}.items():
    pollution.add(_name, f"{_code}\nprint('x' * 100_000)\necho('x' * 100_000) and None", then="None")

memory = family("memory-bombs", ends=None, wall=2.0)
memory.add(
    "buffers-of-javascript",
    "kept = []\nwhile True:\n    kept.append(octets().constructor.new(100 << 20))\n    kept[-1].fill(1)",
)
memory.add("one-huge-buffer", "attempt(lambda: octets().constructor.new(3 << 30))")
memory.add("lists-of-javascript", "one = array()\nwhile True: one = one.concat(one)")
memory.add("a-list-that-is-filled", "attempt(lambda: array().constructor.new(2**32 - 1).fill(1))")
memory.add("a-list-that-is-text", "attempt(lambda: len(array().constructor.new(2**27).fill('x' * 1000).join('y')))")
memory.add("proxies-without-end", "core_ = core()\nkept = []\nwhile True: kept.append(core_.create_proxy([0] * 100))")
memory.add(
    "files-without-end",
    "number = 0\nwhile True:\n    number += 1\n    open(f'/tmp/{number}', 'wb').write(bytes(1 << 20))",
)
memory.add(
    "a-file-of-holes", "import os\nattempt(lambda: os.truncate(os.open('/tmp/s', os.O_CREAT | os.O_RDWR), 1 << 40))"
)
memory.add("memory-of-c", "import ctypes\nlibrary = c()\nwhile library.malloc(64 << 20): pass")
memory.add(
    "bytes-that-cross-without-end", "core_ = core()\nkept = []\nwhile True: kept.append(core_.to_js(bytes(32 << 20)))"
)

stuck = family("stuck-in-c", wall=0.5, ends="TimeoutError", dies=True)
stuck.add(
    "a-sort-that-never-ends", "def compare(*a):\n    while True: pass\narray().sort(core().create_proxy(compare))"
)
stuck.add(
    "a-loop-of-javascript",
    "array().constructor.new(2**32 - 1).map(core().create_proxy(lambda *a: 1))\nwhile True: pass",
)
stuck.add(
    "a-getter-that-never-ends",
    "def forever(*a):\n    while True: pass\none = array()\n"
    "one.__defineGetter__('x', core().create_proxy(forever))\n"
    "one.x",
)
stuck.add(
    "signals-are-ignored",
    "import signal\nfor n in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM): attempt(lambda: "
    "signal.signal(n, signal.SIG_IGN))\nwhile True: pass",
)
stuck.add("the-bell-for-ever", "import os, struct\nwhile True: os.write(4, struct.pack('<dB', -1.0, 0))")
stuck.add("an-expression", "import re\nre.match('(a+)+$', 'a' * 60 + 'b')")

crashes = family("crashes", ends="SandboxCrash", dies=True)
crashes.add("a-fatal-error", "core().trigger_fatal_error()")
crashes.add("abort", "c().abort()")
crashes.add("exit", "c().exit(0)")
crashes.add("forced-exit", "c().emscripten_force_exit(0)")
crashes.add("all-memory-is-overwritten", "import ctypes\nctypes.memset(1024, 0xFF, 16 << 20)")
crashes.add("past-the-end-of-memory", "import ctypes\nctypes.string_at(2**32 - 64, 64)")
crashes.add("a-function-that-is-none", "import ctypes\nctypes.CFUNCTYPE(None)(12345678)()")
crashes.add("exit-of-python", "import os\nos._exit(0)")

protocol = family("protocol", ends=None)
protocol.add("the-hosts-bytes-are-stolen", "import os\n[one for one in [attempt(lambda: os.read(3, 1 << 20))] if one]")
protocol.add(
    "a-bell-of-the-wrong-size", "import os\n[n for n in (0, 1, 8, 10, 10**6) if attempt(lambda: os.write(4, bytes(n)))]"
)
protocol.add(
    "a-bell-that-is-no-number",
    "import os, struct\nattempt(lambda: os.write(4, struct.pack('<dB', float('nan'), 0)))\nNone",
)
protocol.add(
    "a-bell-before-all-time",
    "import os, struct\nattempt(lambda: os.write(4, struct.pack('<dB', float('-inf'), 0)))\nNone",
)
protocol.add("the-bell-is-read", "import os\nattempt(lambda: os.read(4, 100))")
protocol.add("the-stream-is-sought", "import os\nattempt(lambda: os.lseek(3, 0, 0) or None)")
protocol.add("the-stream-is-truncated", "import os\nattempt(lambda: os.ftruncate(3, 0) or None)")
protocol.add("the-stream-is-mapped", "import mmap\nattempt(lambda: mmap.mmap(3, 4096)[:10])")
protocol.add("the-stream-is-closed", "import os\nos.close(3)\nNone")
protocol.add("the-bell-is-closed", "import os, time\nos.close(4)\ntime.sleep(0.1)\nNone")
protocol.add(
    "devices-of-its-own",
    "import os\nattempt(lambda: os.mknod('/tmp/d', 0o20600, os.makedev(64, 0)) or open('/tmp/d', 'rb').read(10))",
)

FAMILIES = [
    *(hops, chains, *javascript, scripts, files, network, processes, pollution, memory, stuck, crashes, protocol),
]
