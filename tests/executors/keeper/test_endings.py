"""That nothing is left running, whoever ends: the guest, the session, the host or the keeper."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tests.waiting import eventually, lives

from actloop.executors import bundle
from actloop.executors.reaper import REAPER, Reaper

from ..driving import Driver
from ..keepers import guest_of, keeper_stream, kept

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[3]


def test_a_guest_that_dies_ends_its_sandbox() -> None:
    with kept(config={"imports": ["*"]}) as made:
        driver = Driver(made.session)
        ended = driver.run("import os\nprint('last words', flush=True)\nos._exit(3)")
        assert ended.failure is not None
        assert (ended.failure.kind, ended.logs) == ("SandboxCrash", "last words\n")
        made.wait_gone()
        assert (made.process.status, made.ended) == (3, 1)


def test_nothing_of_a_closed_session_is_left() -> None:
    program = """
        import os, time
        pids = []
        for _ in range(2):
            here, there = os.pipe()
            if not os.fork():
                os.setsid()
                if not os.fork():
                    os.write(there, str(os.getpid()).encode())
                    time.sleep(600)
                os._exit(0)
            pids.append(int(os.read(here, 20)))
        pids
    """
    with kept(config={"imports": ["*"]}) as made:
        pids = [*Driver(made.session).value(textwrap.dedent(program)), guest_of(made)]
        assert all(map(lives, pids))
        made.session.close()
        assert eventually(lambda: not any(map(lives, pids)))


def test_a_session_closes_at_once_and_its_sandbox_is_removed_once() -> None:
    with kept() as made:
        free = threading.Event()
        end = made.process._end  # pyright: ignore[reportPrivateUsage]

        def slowly() -> None:
            free.wait(60)
            end()

        made.process._end = slowly  # pyright: ignore[reportPrivateUsage]
        made.session.close()
        made.process.kill()
        made.process.close()
        assert made.ended == 0
        free.set()
        made.wait_gone()
        assert REAPER.flush(60)
        assert made.ended == 1


HOST = """
import sys
sys.path.insert(0, {root!r})
from tests.executors.keepers import *
from tests.executors.driving import Driver
with kept(config={{"imports": ["*"]}}) as made:
    driver = Driver(made.session)
    driver.value("import os, time\\nif not os.fork():\\n    os.setsid()\\n    time.sleep(600)")
    children = driver.value("os.getpid(), int(open(f'/proc/self/task/{{os.getpid()}}/children').read())")
    print(made.stream.child.pid, *children, flush=True)
    {then}
"""


def host(then: str) -> subprocess.Popen[str]:
    program = HOST.format(root=str(ROOT), then=then)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_a_dead_host_leaves_nothing_running() -> None:
    with host("import time; time.sleep(600)") as process:
        assert process.stdout is not None
        pids = list(map(int, process.stdout.readline().split()))
        assert len(pids) == 3
        assert all(map(lives, pids))
        process.kill()
        process.wait()
        assert eventually(lambda: not any(map(lives, pids)))


def test_a_host_that_forgets_to_close_removes_the_sandbox_at_its_end() -> None:
    with host("made.session.close = lambda: None; made.wait_gone = lambda: None") as process:
        assert process.stdout is not None
        pids = list(map(int, process.stdout.readline().split()))
        assert process.wait(60) == 0
        assert not lives(pids[0])
        assert eventually(lambda: not any(map(lives, pids)))


def test_a_fork_of_the_host_does_not_end_the_session() -> None:
    with kept() as made:
        driver = Driver(made.session)
        pid = os.fork()
        if not pid:
            made.process.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert driver.value("1") == 1


def test_a_silent_host_is_taken_for_dead() -> None:
    stream = keeper_stream(silence=0.5)
    assert eventually(lambda: stream.child.poll() is not None)
    stream.close()
    stream.end()


def test_a_keeper_without_a_bundle_ends() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", bundle.BOOT], input=b"0000", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (75, b"")


def test_the_reaper_goes_on_after_what_fails(caplog: pytest.LogCaptureFixture) -> None:
    reaper, done = Reaper(workers=1), threading.Event()

    def fail() -> None:
        raise OSError("no such container")

    reaper.put(fail)
    reaper.put(sys.exit)
    reaper.put(done.set)
    assert reaper.flush(60)
    assert done.is_set()
    assert "no such container" in caplog.text


def test_what_hangs_in_the_reaper_hangs_nobody_else() -> None:
    reaper, free = Reaper(workers=1), threading.Event()
    for _ in range(2):
        reaper.put(lambda: free.wait(600))
    assert not reaper.flush(0.1)
    free.set()
    assert reaper.flush(60)


def test_what_hangs_in_the_reaper_does_not_keep_the_interpreter() -> None:
    program = """
        import atexit, time
        from actloop.executors import reaper
        atexit.unregister(reaper.REAPER.flush)
        atexit.register(reaper.REAPER.flush, 0.1)
        for _ in range(20):
            reaper.REAPER.put(lambda: time.sleep(600))
        print("over", flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
