"""Programs that would fill the memory, also by unpacking little into much. Each ends, and the host does not notice."""

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

FAMILIES = [memory, decompression]
