"""Programs that would not end, in Python and in C. Each is ended, and the host does not notice."""

from __future__ import annotations

from tests.attacks.attack import COMMON, Family

processor = Family("processor-bombs", wall=0.3, prelude=COMMON)
processor.add("a-loop", "while True: pass", ends="TimeoutError")
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
processor.add("asleep-for-ever", "import time; time.sleep(10**6)", ends="TimeoutError")
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

FAMILIES = [processor, native]
