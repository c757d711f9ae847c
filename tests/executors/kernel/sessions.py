"""What the tests of the kernel sandbox share: a client for `exec_guest`."""

from __future__ import annotations

import struct
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actloop.executors.kernel.spawned import Spawned

GUEST = Path(__file__).with_name("exec_guest.py")
LIMITS = {"memory": 256 << 20, "files": 64, "processes": 32, "disk": 4 << 20}
CONFIG: dict[str, Any] = {"limits": LIMITS}


def run(session: Spawned, code: str, timeout: float = 20.0) -> str:
    """Run a snippet: `"ok "` and the `repr` of its `result`, or its exception; `"gone"` when the session died."""
    session.channel.settimeout(timeout)
    payload = textwrap.dedent(code).encode()
    try:
        session.channel.sendall(struct.pack("!I", len(payload)) + payload)
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack_from("!I", data)[0]:
            chunk = session.channel.recv(65_536)
            if not chunk:
                return "gone"
            data += chunk
    except (BrokenPipeError, ConnectionResetError):
        return "gone"
    return data[4:].decode()


LEGITIMATE = {
    "asyncio": "import asyncio; result = asyncio.run(asyncio.wait_for(asyncio.to_thread(sum, [1, 2]), 5))",
    "threads": """
        import threading
        seen = []
        thread = threading.Thread(target=seen.append, args=(3,))
        thread.start()
        thread.join()
        result = seen[0]
    """,
    "futures": """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            result = sum(pool.map(int, ["1", "2"]))
    """,
    "sqlite3": """
        import sqlite3
        connection = sqlite3.connect("t.db")
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table t(a)")
        connection.execute("insert into t values (3)")
        connection.commit()
        result = connection.execute("select a from t").fetchone()[0]
        connection.close()
    """,
    "zoneinfo": """
        import datetime, zoneinfo
        tokyo = datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo"))
        result = tokyo.utcoffset().seconds // 3600 - 6
    """,
    "decimal": "from decimal import Decimal; result = int(Decimal('1.5') * 2)",
    "files": """
        from pathlib import Path
        folder = Path("d/e")
        folder.mkdir(parents=True)
        (folder / "f").write_text("abc")
        (folder / "f").rename("g")
        result = len(Path("g").read_text())
    """,
    "temporary": """
        import os, tempfile
        with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as file:
            file.write(b"abc")
            file.flush()
            result = os.path.getsize(file.name)
    """,
    "tmp": """
        import tempfile
        open(tempfile.gettempdir() + "/x", "w").write("abc")
        result = len(open("/sandbox/x").read())
    """,
    "zip": """
        import zipfile
        with zipfile.ZipFile("z.zip", "w") as archive:
            archive.writestr("a", "abc")
        result = len(zipfile.ZipFile("z.zip").read("a"))
    """,
    "copy": "import shutil; open('a', 'w').write('abc'); shutil.copyfile('a', 'b'); result = len(open('b').read())",
    "alarm": """
        import signal
        seen = []
        signal.signal(signal.SIGALRM, lambda *_: seen.append(3))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        signal.pause()
        result = seen[0]
    """,
    "mmap": """
        import mmap
        open("m", "wb").write(b"abc")
        with open("m", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
            result = len(view[:])
    """,
    "hashlib": "import hashlib, secrets; result = len(hashlib.sha256(b'').digest() + secrets.token_bytes(1)) - 30",
    "numpy": "import numpy; result = int(numpy.linalg.solve(numpy.eye(2), numpy.array([1.0, 2.0])).sum())",
    "pandas": """
        import pandas
        frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "x"]})
        result = int(frame.groupby("b").a.sum().iloc[0])
    """,
    "recursion": """
        def depth(n):
            return 0 if n == 0 else 1 + depth(n - 1)
        result = depth(900) - 897
    """,
}
"""Programs whose result is 3."""
