"""Floods of threads, descriptors and output. Each ends, and the host does not notice."""

from __future__ import annotations

from tests.attacks.attack import COMMON, Family

from actloop.executors.session import SandboxLimits

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

FAMILIES = [threads, handles, output]
