"""Ends without warning, and things that outlive their snippet."""

from __future__ import annotations

from tests.attacks.attack import Family

crashes = Family("crashes", ends="SandboxCrash", dies=True)
crashes.add("a-null-pointer", "ctypes.string_at(0)")
crashes.add("a-wild-write", "ctypes.memset(0xDEAD0000, 0, 8)")
crashes.add(
    "a-broken-reference-count",
    """
    ctypes.memset(id(int), 0, 400)
    [int(x) for x in range(9)]
    """,
)
crashes.add("abort", "os.abort()")
crashes.add("exit-at-once", "os._exit(0)")
crashes.add("exit-by-system-call", "call('exit_group', 0)")
crashes.add(
    "exit-in-a-thread",
    """
    threading.Thread(target=lambda: os._exit(3)).start()
    while True: pass
    """,
)
crashes.add("a-forbidden-architecture", "call(0x40000000 + 1) if os.uname().machine == 'x86_64' else os._exit(1)")
crashes.add(
    "the-channel-is-closed",
    """
    os.close(3)
    1
    """,
    ends=None,
)
crashes.add(
    "the-channel-is-shut",
    """
    import socket
    c = socket.socket(fileno=os.dup(3))
    c.shutdown(2)
    """,
)
crashes.add(
    "the-channel-is-replaced",
    """
    os.dup2(0, 3)
    while True: pass
    """,
    wall=0.5,
    ends=None,
)
crashes.add(
    "every-descriptor-is-closed",
    """
    os.closerange(0, 1024)
    while True: pass
    """,
    wall=0.5,
    ends=None,
)
crashes.add(
    "code-that-is-none",
    """
    import mmap
    page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
    page.write(b"\\x0f\\x0b" if os.uname().machine == "x86_64" else bytes(4))
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    """,
)
crashes.add(
    "bytecode-that-is-none",
    """
    def f(): pass
    f.__code__ = f.__code__.replace(co_code=b'\\x64\\x7f' * 40, co_consts=())
    f()
    """,
)
crashes.add(
    "the-stack-runs-over-in-c",
    """
    sys.setrecursionlimit(10**9)
    class C:
        def __getattr__(self, name): return getattr(self, name + "x"[:0])
    x = []
    for _ in range(10**6): x = [x]
    repr(x)
    """,
    ends=None,
    dies=None,
)

disorder = Family("disorder", dies=None)
disorder.add("exit", "sys.exit(3)", dies=False)
disorder.add("exit-with-a-hostile-code", "raise SystemExit(['x' * 10**6] * 10)")
disorder.add("an-interrupt-of-its-own", "raise KeyboardInterrupt")
disorder.add(
    "an-exception-that-is-nobodys",
    """
    class Mine(BaseException): pass
    raise Mine('x')
    """,
    dies=False,
)
disorder.add("a-generators-exit", "raise GeneratorExit")
disorder.add(
    "no-streams",
    """
    sys.stdout = sys.stderr = None
    print('x')
    """,
)
disorder.add(
    "no-modules",
    """
    sys.modules.clear()
    1 / 0
    """,
    ends=None,
)
disorder.add(
    "no-builtins",
    """
    __builtins__.clear() if isinstance(__builtins__, dict) else vars(__builtins__).clear()
    0
    """,
    ends=None,
    then="0",
)
disorder.add(
    "builtins-that-lie",
    """
    import builtins
    builtins.len = lambda x: 2**62
    builtins.isinstance = lambda *a: True
    builtins.type = lambda x: int
    0
    """,
    wall=1.0,
)
disorder.add(
    "json-that-lies",
    """
    import json
    json.JSONEncoder.encode = lambda self, o: 'x' * 10**6
    0
    """,
)
disorder.add(
    "struct-that-lies",
    """
    sys.modules['actloop_guest.framing']._HEADER = struct.Struct('>B')
    0
    """,
    wall=1.0,
)
disorder.add(
    "the-guests-module-is-rewritten",
    """
    for name in list(sys.modules):
        if name.startswith('actloop_guest'):
            sys.modules[name].pack = lambda m, limit=0: b'\\xff' * 1000
    0
    """,
    dies=True,
)
disorder.add(
    "the-guests-locks-are-held",
    """
    import gc
    for one in gc.get_objects():
        if type(one).__name__ == "Channel":
            one._write_lock.acquire()
            one._lock.acquire()
    """,
    wall=0.5,
    dies=True,
    ends="TimeoutError",
)
disorder.add(
    "hooks-of-exceptions",
    """
    sys.excepthook = sys.unraisablehook = threading.excepthook = lambda *a: os._exit(9)
    class C:
        def __del__(self): 1 / 0
    C()
    0
    """,
)
disorder.add(
    "a-signal-to-itself",
    """
    import signal
    signal.raise_signal(signal.SIGTERM)
    0
    """,
)
disorder.add(
    "it-kills-itself",
    """
    os.kill(os.getpid(), 9)
    0
    """,
)
disorder.add(
    "the-hosts-own-signals",
    """
    import signal
    for s in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT):
        os.kill(os.getpid(), s)
    0
    """,
)
disorder.add(
    "line-cache-that-lies",
    """
    import linecache
    linecache.getlines = lambda *a: ['x' * 10**7]
    1 / 0
    """,
    dies=False,
)
disorder.add(
    "an-error-without-a-message",
    """
    class E(Exception):
        def __str__(self): raise RuntimeError
        __repr__ = __str__
    raise E
    """,
)
disorder.add(
    "an-error-that-is-its-own-cause",
    """
    e = ValueError('x')
    e.__cause__ = e
    e.__context__ = e
    raise e
    """,
    ends="ValueError",
    dies=False,
)
disorder.add(
    "errors-in-a-ring",
    """
    a, b = ValueError('a'), ValueError('b')
    a.__context__, b.__context__ = b, a
    raise a
    """,
    ends="ValueError",
    dies=False,
)
disorder.add(
    "a-group-of-errors",
    """
    g = ValueError('x')
    for _ in range(150): g = ExceptionGroup('g', [g])
    raise g
    """,
    dies=False,
)
disorder.add(
    "an-error-with-a-hostile-class",
    """
    class Meta(type):
        @property
        def __name__(cls): return os.urandom(10)
        def __getattribute__(cls, name): raise RuntimeError if name == "__mro__" else AttributeError
    class E(Exception, metaclass=Meta): pass
    raise E
    """,
)
disorder.add(
    "a-syntax-error-of-its-own",
    "raise SyntaxError('x', ('<step 1>', 10**9, 10**9, 'x' * 10**6))",
    ends="SyntaxError",
    dies=False,
)
disorder.add(
    "a-line-number-beyond-all",
    """
    e = SyntaxError('x', (None, 1, 1, 'x'))
    e.lineno = 2**70
    e.filename = '<step 2>'
    raise e
    """,
    ends="SyntaxError",
)
disorder.add(
    "text-that-is-no-text",
    """
    print('\\ud800' * 100)
    '\\udfff'[:0]
    """,
    ends="",
    dies=False,
)
disorder.add("control-characters", "print('\\x00\\x1b]0;owned\\x07\\x1b[2J\\x9b5n')", ends="", dies=False)

lingering = Family("outliving-the-snippet")
lingering.add(
    "a-thread-that-prints",
    """
    def chatter():
        while True:
            print("still here")
            time.sleep(0.001)
    threading.Thread(target=chatter, daemon=True).start()
    """,
    ends="",
    then="time.sleep(0.1)",
)
lingering.add(
    "a-thread-that-calls",
    """
    def chatter():
        while True:
            try:
                echo(1)
            except Exception:
                time.sleep(0.001)
    threading.Thread(target=chatter, daemon=True).start()
    """,
    ends="",
    then="0",
)
lingering.add(
    "a-thread-that-is-not-a-daemon", "threading.Thread(target=time.sleep, args=(100,)).start()", ends="", then="0"
)
lingering.add(
    "a-task-of-the-event-loop",
    """
    import asyncio
    async def chatter():
        while True:
            print("still here")
            await asyncio.sleep(0)
    kept = asyncio.ensure_future(chatter())
    await asyncio.sleep(0)
    """,
    ends="",
    then="""
    import asyncio
    await asyncio.sleep(0.05)
    kept.done()
    """,
)
lingering.add(
    "at-exit",
    """
    import atexit
    atexit.register(lambda: echo('at exit'))
    None
    """,
    ends="",
    then="0",
)
lingering.add(
    "a-timer-of-signals",
    """
    import signal
    signal.signal(signal.SIGALRM, lambda *a: print('x' * 100))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    None
    """,
    ends="",
    then="""
    time.sleep(0.05)
    len(echo('x' * 100_000)) != 100_000
    """,
)
lingering.add(
    "signals-that-raise",
    """
    import signal
    def fail(*a): raise RuntimeError("between")
    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    None
    """,
    then="time.sleep(0.05)",
)
lingering.add("a-tracer", "sys.settrace(lambda *a: (_ for _ in ()).throw(RuntimeError()))", then="0")
lingering.add(
    "a-destructor-at-the-end",
    """
    class C:
        def __del__(self): os.write(3, b'garbage' * 100)
    kept = C()
    """,
    ends="",
    then="""
    del kept
    0
    """,
)
lingering.add(
    "memory-that-stays",
    """
    kept = bytes(200 << 20)
    None
    """,
    ends="",
    then="""
    try:
        more = bytes(400 << 20)
    except MemoryError:
        more = None
    more
    """,
)
lingering.add("a-file-that-stays", "open('left', 'w').write('x') and None", ends="", then="open('left').read() != 'x'")
lingering.add(
    "code-in-place-of-a-tool",
    """
    echo = lambda x: 'forged'
    None
    """,
    ends="",
    then="None",
)
lingering.add(
    "working-folder-gone",
    """
    os.mkdir('w')
    os.chdir('w')
    os.rmdir('../w')
    """,
    ends="",
    then="attempt(os.getcwd)",
)

FAMILIES = [crashes, disorder, lingering]
