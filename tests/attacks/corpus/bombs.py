"""Resource bombs: memory, processor, threads, descriptors, output. Each ends, and the host does not notice."""

from __future__ import annotations

from tests.attacks.attack import COMMON, Family

from actloop.executors.session import SandboxLimits

small = SandboxLimits(wall=10.0, memory=128 << 20)

memory = Family("memory-bombs", limits=small)
memory.add("one-huge-object", "bytes(10**12)", ends="MemoryError", dies=False)
memory.add(
    "a-growing-list",
    """
    kept = []
    while True:
        kept.append(bytes(1 << 20))
    """,
    ends="MemoryError",
)
memory.add(
    "a-doubling-string",
    """
    text = 'x'
    while True:
        text += text
    """,
    ends="MemoryError",
)
memory.add("a-huge-list", "[0] * 10**11", ends="MemoryError", dies=False)
memory.add("a-wide-format", "'{:>{}}'.format(1, 10**11)", ends="MemoryError", dies=False)
memory.add("a-wide-percent-format", "'%1000000000d' % 1 and None", ends="MemoryError", dies=False)
memory.add("a-shift", "1 << 10**11", ends="MemoryError", dies=False)
memory.add(
    "many-small-objects",
    """
    kept = {}
    while True:
        kept[len(kept)] = [len(kept)]
    """,
    wall=20.0,
)
memory.add(
    "private-maps",
    """
    import mmap
    kept = []
    while True:
        kept.append(mmap.mmap(-1, 1 << 24, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        kept[-1].write(bytes(1 << 24))
    """,
    ends="OSError",
)
memory.add(
    "shared-maps",
    """
    import mmap
    kept = []
    while len(kept) < 64:
        kept.append(mmap.mmap(-1, 1 << 24))
        kept[-1].write(bytes(1 << 24))
    """,
    ends="PermissionError",
)
memory.add(
    "a-map-that-grows-downward",
    """
    worked(call("mmap", None, 1 << 30, 3, 0x0122, -1, 0)) if os.uname().machine == "x86_64" else []
    """,
)
memory.add(
    "maps-that-nothing-fills",
    """
    kept = []
    while len(kept) < 100_000:
        kept.append(call("mmap", None, 1 << 40, 0, 0x4022, -1, 0))
        if kept[-1] < 0:
            break
    len(kept) > 64
    """,
)
memory.add(
    "page-tables",
    """
    size = 1 << 30
    touched = 0
    fd = os.open("sparse", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 1 << 20)
    for _ in range(4096):
        place = call("mmap", None, 1 << 20, 1, 1, fd, 0)
        if place < 0:
            break
        touched += 1
    touched * (1 << 20) > 64 << 30
    """,
)
memory.add(
    "a-private-copy-of-a-file",
    """
    import mmap
    kept = []
    for _ in range(10_000):
        with open(library, "rb") as file:
            kept.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        kept[-1][:] = bytes(len(kept[-1]))
    """,
)
memory.add(
    "protection-changed-afterwards",
    """
    base = call("mmap", None, 1 << 29, 0, 0x22, -1, 0)
    [base] if base > 0 and call("mprotect", base, 1 << 29, 3) == 0 else []
    """,
)
memory.add(
    "a-map-moved-and-grown",
    """
    base = call("mmap", None, 4096, 3, 0x22, -1, 0)
    worked(call("mremap", base, 4096, 1 << 30, 1, 0))
    """,
)
memory.add(
    "pipes-and-sockets-filled",
    """
    import socket
    total = 0
    held = []
    try:
        while True:
            held.append(socket.socketpair())
            held[-1][0].setblocking(False)
            try:
                while True:
                    total += held[-1][0].send(bytes(65_536))
            except BlockingIOError:
                pass
    except OSError:
        pass
    total > 64 << 20
    """,
)
memory.add(
    "larger-pipes",
    """
    import fcntl
    ends = os.pipe()
    attempt(lambda: fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 1 << 20))
    """,
)
memory.add(
    "larger-socket-buffers",
    """
    import socket
    pair = socket.socketpair()
    attempt(lambda: pair[0].setsockopt(1, socket.SO_SNDBUF, 1 << 30) is None)
    """,
)
memory.add(
    "deep-recursion-in-python",
    """
    def f(): return f() + 1
    f()
    """,
    ends="RecursionError",
    dies=False,
)
memory.add(
    "recursion-without-a-limit",
    """
    sys.setrecursionlimit(10**9)
    def f(): return f() + 1
    f()
    """,
    limits=SandboxLimits(wall=1.0, memory=64 << 20),
)
memory.add(
    "recursion-in-c",
    """
    sys.setrecursionlimit(10**9)
    x = []
    for _ in range(10**6): x = [x]
    repr(x) == ''
    """,
)
memory.add(
    "a-deep-object-is-freed",
    """
    x = None
    for _ in range(10**6): x = (x,)
    del x
    """,
    ends="",
)

decompression = Family("decompression-bombs", limits=small, prelude=COMMON)
decompression.add("zlib", "import zlib; zlib.decompress(zlib.compress(bytes(1 << 25)), bufsize=1 << 40)")
decompression.add(
    "zlib-within-zlib",
    """
    import zlib
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()
    len(zlib.decompress(data)) > 0
    """,
    ends="MemoryError",
)
decompression.add(
    "bz2",
    """
    import bz2
    packer = bz2.BZ2Compressor(1)
    data = b"".join(packer.compress(bytes(1 << 22)) for _ in range(60)) + packer.flush()
    len(bz2.decompress(data)) > 0
    """,
    ends="MemoryError",
)
decompression.add(
    "gzip",
    """
    import gzip, io, zlib
    packer = zlib.compressobj(1, 8, 31)
    data = b"".join(packer.compress(bytes(1 << 22)) for _ in range(60)) + packer.flush()
    len(gzip.GzipFile(fileobj=io.BytesIO(data)).read()) > 0
    """,
    ends="MemoryError",
)
decompression.add(
    "a-zip-of-overlapping-files",
    """
    import io, zipfile
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("x", bytes(100 << 20))
    len(zipfile.ZipFile(out).read("x")) > 0
    """,
    ends="MemoryError",
)
decompression.add(
    "a-billion-laughs",
    """
    import xml.etree.ElementTree as tree
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "ha"}">' for i in range(12))
    try:
        loot = len(tree.fromstring(f"<!DOCTYPE x [{entities}]><x>&a11;</x>").text)
    except tree.ParseError:
        loot = 0
    loot
    """,
)
decompression.add(
    "entities-from-files",
    """
    import xml.etree.ElementTree as t, xml.sax
    try:
        loot = t.fromstring(f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{canary}">]><x>&e;</x>').text
    except Exception:
        loot = None
    loot
    """,
)

processor = Family("processor-bombs", wall=0.3, prelude=COMMON)
processor.add("a-loop", "while True: pass", ends="TimeoutError", dies=False)
processor.add("a-huge-power", "10**10**8", ends="TimeoutError")
processor.add("a-huge-factorial", "import math; math.factorial(10**8)", ends="TimeoutError")
processor.add(
    "digits-of-a-huge-number",
    "import sys; sys.set_int_max_str_digits(0); len(str(7 ** 3_000_000)) == 0",
    ends="TimeoutError",
)
processor.add("a-catastrophic-expression", "import re; re.match(r'(a+)+$', 'a' * 64 + 'b')", ends="TimeoutError")
processor.add("a-huge-sum", "sum(range(10**15))", ends="TimeoutError", dies=True)
processor.add("a-search-in-a-huge-range", "'x' in iter(int, 1)", ends="TimeoutError", dies=True)
processor.add(
    "a-product-without-end",
    "import itertools; list(zip(itertools.repeat(0), [0])) and sum(itertools.repeat(0))",
    ends="TimeoutError",
    dies=True,
)
processor.add("hashes-that-collide", "d = {i * (2**61 - 1): 0 for i in range(10**6)}; None", ends="TimeoutError")
processor.add(
    "a-slow-comparison", "('a' * 10**7 + 'b') in ('a' * 10**7 + 'c') * 3; max(iter(int, 1))", ends="TimeoutError"
)
processor.add("deep-parentheses", "import ast; ast.parse('(' * 10**5 + ')' * 10**5)", ends="SyntaxError", dies=False)
processor.add("a-compiler-bomb", "compile('-' * 10**6 + '1', 'x', 'eval') and None", ends=None)
processor.add("a-compiler-that-folds", "compile('(((\"x\" * 4096) * 4096) * 4096)', 'x', 'eval') and None", ends="")
processor.add(
    "a-decimal-power",
    """
    import decimal; decimal.getcontext().prec = 10**7; decimal.Decimal(7) ** decimal.Decimal('0.123456789'); None
    """,
    ends="TimeoutError",
)
processor.add(
    "everything-is-caught",
    """
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
    """,
    ends="TimeoutError",
    dies=True,
)
processor.add(
    "a-finally-without-end",
    """
    try:
        while True:
            pass
    finally:
        while True:
            pass
    """,
    ends="TimeoutError",
    dies=True,
)
processor.add(
    "a-generator-that-does-not-close",
    """
    def g():
        while True:
            try:
                yield 1
            except GeneratorExit:
                while True:
                    pass
    one = g()
    next(one)
    one.close()
    """,
    ends="TimeoutError",
)
processor.add(
    "a-context-that-does-not-exit",
    """
    class Stay:
        def __enter__(self): return self
        def __exit__(self, *error):
            while True: pass
    with Stay():
        1 / 0
    """,
    ends="TimeoutError",
)
processor.add(
    "a-destructor-without-end",
    """
    class C:
        def __del__(self):
            while True: pass
    C()
    None
    """,
)
processor.add(
    "an-expression-that-is-shown-for-ever",
    """
    class C:
        def __repr__(self):
            while True: pass
    C()
    """,
    ends="TimeoutError",
)
processor.add(
    "an-error-that-is-shown-for-ever",
    """
    class E(Exception):
        def __str__(self):
            while True: pass
    raise E
    """,
    ends="TimeoutError",
)
processor.add("asleep-for-ever", "import time; time.sleep(10**6)", ends="TimeoutError", dies=False)
processor.add(
    "a-lock-for-ever", "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()", ends="TimeoutError"
)
processor.add("a-queue-for-ever", "import queue; queue.Queue().get()", ends="TimeoutError")
processor.add("an-event-loop-for-ever", "import asyncio; await asyncio.Event().wait()", ends="TimeoutError")
processor.add(
    "tasks-that-refuse-to-be-cancelled",
    """
    import asyncio
    async def stay():
        while True:
            try:
                await asyncio.sleep(1)
            except BaseException:
                pass
    await asyncio.gather(*(stay() for _ in range(10)))
    """,
    ends="TimeoutError",
)

native = Family("stuck-in-c", wall=0.3)
native.add("sleeping-in-c", "while True: _libc.sleep(1000)", ends="TimeoutError")
native.add(
    "every-signal-is-blocked",
    """
    import signal
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.Signals)
    while True: pass
    """,
    ends="TimeoutError",
    dies=True,
)
native.add(
    "every-signal-is-ignored",
    """
    import signal
    for s in signal.Signals:
        attempt(lambda: signal.signal(s, signal.SIG_IGN))
    while True: pass
    """,
    ends="TimeoutError",
    dies=True,
)
native.add(
    "a-thread-keeps-the-interpreter",
    """
    hold = ctypes.PyDLL(None).sleep  # without giving the interpreter's lock away
    threading.Thread(target=hold, args=(1000,), daemon=True).start()
    while True: pass
    """,
    ends="TimeoutError",
    dies=True,
)
native.add(
    "it-stops-itself",
    """
    import signal
    os.kill(os.getpid(), signal.SIGSTOP)
    while True: pass
    """,
    ends="TimeoutError",
)
native.add(
    "code-of-its-own-that-loops",
    """
    import mmap
    page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
    page.write(bytes.fromhex({"x86_64": "ebfe", "aarch64": "00000014"}[os.uname().machine]))
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    """,
    ends="TimeoutError",
    dies=True,
)
native.add("waiting-for-nobody", "_libc.poll(None, 0, -1)", ends="TimeoutError")
native.add(
    "alarms-in-a-storm",
    """
    import signal
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1e-6, 1e-6)
    while True: pass
    """,
    ends="TimeoutError",
)

threads = Family("thread-bombs", wall=2.0)
threads.add(
    "as-many-as-can-be",
    """
    started = 0
    try:
        for _ in range(5_000):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            started += 1
    except (RuntimeError, MemoryError):
        pass
    started > 64
    """,
)
threads.add(
    "bare-threads",
    """
    import _thread
    started = 0
    try:
        while started < 5_000:
            _thread.start_new_thread(time.sleep, (60,))
            started += 1
    except RuntimeError:
        pass
    started > 64
    """,
)
threads.add(
    "all-of-them-busy",
    """
    def spin():
        while True: pass
    try:
        for _ in range(200):
            threading.Thread(target=spin, daemon=True).start()
    except RuntimeError:
        pass
    spin()
    """,
    wall=0.5,
    ends="TimeoutError",
)
threads.add(
    "threads-that-make-threads",
    """
    def grow():
        while True:
            try:
                threading.Thread(target=grow, daemon=True).start()
            except RuntimeError:
                time.sleep(0.01)
    grow()
    """,
    wall=0.5,
    ends="TimeoutError",
)
threads.add(
    "a-pool-without-end",
    """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(time.sleep, [100] * 32))
    """,
    wall=0.5,
    ends="TimeoutError",
)

handles = Family("descriptor-bombs", limits=SandboxLimits(wall=5.0))
handles.add(
    "as-many-as-can-be",
    """
    kept = []
    try:
        while len(kept) < 5000: kept.append(os.open('/dev/null', 0))
    except OSError: pass
    len(kept) > 64
    """,
)
handles.add(
    "duplicates",
    """
    kept = []
    try:
        while len(kept) < 5000: kept.append(os.dup(3))
    except OSError: pass
    len(kept) > 64
    """,
)
handles.add("a-descriptor-of-a-high-number", "attempt(lambda: os.dup2(3, 100_000))")
handles.add(
    "none-left-for-the-guest",
    """
    kept = []
    try:
        while True: kept.append(os.pipe())
    except OSError: pass
    echo(1) != 1
    """,
    dies=False,
)
handles.add(
    "record-locks-without-end",
    """
    import fcntl
    fd = os.open("l", os.O_CREAT | os.O_RDWR)
    count = 0
    until = time.monotonic() + 1
    while time.monotonic() < until:
        for _ in range(100):
            count += 1
            fcntl.lockf(fd, fcntl.LOCK_EX, 1, 2 * count)
    count > 1_000_000
    """,
)
handles.add(
    "queues-of-events",
    """
    import select
    count = 0
    for _ in range(30):
        poller = select.epoll()
        for fd in range(64):
            if attempt(lambda: poller.register(fd) is None):
                count += 1
        os.dup(poller.fileno()) if count < 10 else None
    count > 64 * 64
    """,
)

output = Family("output-floods", prelude=COMMON)
output.add("printing-for-ever", "while True: print('x' * 1000)", wall=0.5, ends="TimeoutError")
output.add("one-huge-print", "print('x' * (100 << 20))", ends="")
output.add("one-letter-at-a-time", "for _ in range(300_000): print('x', end='', flush=True)", ends="", wall=20.0)
output.add(
    "past-the-writer",
    """
    import sys; os = sys.modules['os']
    while True: os.write(1, b'x' * 65_536)
    """,
    wall=0.5,
    ends="TimeoutError",
)
output.add(
    "to-the-error-stream",
    """
    import sys
    while True: sys.stderr.write('x' * 1000)
    """,
    wall=0.5,
    ends="TimeoutError",
)
output.add(
    "warnings-for-ever",
    """
    import warnings
    for i in range(20_000): warnings.warn(f'{i}' * 100)
    """,
    ends="",
)
output.add("a-huge-error", "raise ValueError('x' * (50 << 20))", ends="ValueError", dies=False)
output.add(
    "a-huge-name-of-an-error",
    "raise type('E' * (5 << 20), (Exception,), {})('x')",
    dies=False,
)
output.add(
    "a-chain-of-errors",
    """
    def f(n):
        try:
            f(n - 1) if n else 1 / 0
        except Exception as error:
            raise ValueError("x" * 1000) from error
    f(500)
    """,
    ends="ValueError",
    dies=False,
)
output.add(
    "a-huge-value",
    "['x' * 100] * 10**6",
    ends="",
    dies=False,
    yields=True,
    limits=SandboxLimits(wall=10.0, value=1 << 20),
)
output.add(
    "a-value-of-many-parts",
    "[[] for _ in range(3 * 10**6)]",
    ends="",
    dies=False,
    yields=True,
    limits=SandboxLimits(wall=10.0, value=1 << 20),
)
output.add("a-huge-line-of-source", "x = 1; " * 20_000 + "1 / 0", ends="ZeroDivisionError", dies=False)

FAMILIES = [memory, decompression, processor, native, threads, handles, output]
