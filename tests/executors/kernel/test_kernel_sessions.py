"""Real sessions: apart from each other, limited, and ended when they must end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.executors.kernel.sessions import CONFIG, LIMITS, run
from tests.waiting import ends

if TYPE_CHECKING:
    from actloop.executors.kernel.host import Zygote
    from actloop.executors.kernel.spawned import Spawned


def test_sessions_do_not_share_anything(zygote: Zygote) -> None:
    first, second = zygote.spawn(CONFIG), zygote.spawn(CONFIG)
    try:
        assert run(first, "open('secret', 'w').write('x')\nimport random\nresult = random.random()") != run(
            second, "import os, random\nresult = random.random()"
        )
        assert run(second, "result = os.listdir('/sandbox')") == "ok []"
        if os.geteuid() == 0:
            owners = {Path(f"/proc/{spawned.pid}").stat().st_uid for spawned in (first, second)}
            status = [Path(f"/proc/{spawned.pid}/status").read_text() for spawned in (first, second)]
            uids = {line for text in status for line in text.splitlines() if line.startswith("Uid:")}
            assert len(uids) == 2, owners
    finally:
        first.close()
        second.close()


def test_the_disk_is_limited_however_many_files(session: Spawned) -> None:
    fill = "for i in range(9):\n with open(f'f{i}', 'wb', buffering=0) as f: f.write(bytes(1 << 20))"
    run(session, fill)
    used = run(session, "import os\nresult = sum(os.path.getsize(n) for n in os.listdir('.'))")
    assert int(used.removeprefix("ok ")) <= LIMITS["disk"]


def test_many_threads_are_refused_and_the_session_lives(session: Spawned) -> None:
    code = (
        "import threading\ne = threading.Event(); ts = []\ntry:\n for _ in range(500):\n"
        "  t = threading.Thread(target=e.wait); t.start(); ts.append(t)\nexcept RuntimeError: pass\n"
        "e.set()\nfor t in ts: t.join()\nresult = len(ts)"
    )
    started = int(run(session, code).removeprefix("ok "))
    assert started == LIMITS["processes"] - 1
    assert run(session, "result = 1") == "ok 1"


def test_memory_that_runs_out_leaves_the_session_alive(session: Spawned) -> None:
    assert run(session, "x = []\nwhile True: x.append(bytearray(1 << 20))").startswith("MemoryError")
    assert run(session, "x = None\nresult = 1") == "ok 1"


@pytest.mark.parametrize(
    "code",
    [
        "import ctypes; ctypes.string_at(0)",
        "import os; os.abort()",
        "import faulthandler; faulthandler._stack_overflow()",
    ],
)
def test_a_crash_ends_only_the_session(zygote: Zygote, code: str) -> None:
    session = zygote.spawn(CONFIG)
    try:
        assert run(session, code) == "gone"
        assert session.exit_code() in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)
    finally:
        session.close()
    again = zygote.spawn(CONFIG)
    assert run(again, "result = 1") == "ok 1"
    again.close()


def test_a_session_that_ignores_everything_is_killed(zygote: Zygote) -> None:
    session = zygote.spawn(CONFIG)
    code = b"""
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""
    session.channel.sendall(len(code).to_bytes(4, "big") + code)
    session.interrupt()
    session.kill()
    assert ends(session.pidfd)
    assert session.exit_code() == -signal.SIGKILL
    session.close()


def test_an_interrupt_arrives_as_a_keyboard_interrupt(session: Spawned) -> None:
    code = b"import os\nos.write(channel, b'spin')\nwhile True: pass"
    session.channel.settimeout(10)
    session.channel.sendall(len(code).to_bytes(4, "big") + code)
    assert session.channel.recv(4) == b"spin"
    session.interrupt()
    assert b"KeyboardInterrupt" in session.channel.recv(4096)
