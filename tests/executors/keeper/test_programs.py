"""Guests under a keeper: everything over one stream."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.waiting import eventually

from actloop.executors.session import SandboxLimits

from ..driving import Driver
from ..keepers import Kept, guest_of, kept

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[False, True], ids=["plain", "armored"])
def one(request: pytest.FixtureRequest) -> Iterator[Kept]:
    with kept(armor=request.param) as made:
        yield made


def twice(number: int) -> int:
    return 2 * number


def test_programs_run_and_call_tools(one: Kept) -> None:
    driver = Driver(one.session, twice=twice, a_twice=twice)
    assert driver.value("x = 20\nprint('hello')\ntwice(x) + await a_twice(1)") == 42
    assert driver.printed == ["hello\n"]
    assert driver.value("x") == 20


def test_large_values_cross_in_both_directions(one: Kept) -> None:
    driver = Driver(one.session)
    driver.define(data=os.urandom(5_000_000))
    assert driver.value("data == bytes(data)")
    assert len(driver.value("data + data")) == 10_000_000


@pytest.mark.usefixtures("ample_grace")
def test_a_program_is_interrupted_at_its_deadline() -> None:
    with kept(SandboxLimits(wall=2)) as made:
        driver = Driver(made.session)
        ended = driver.run("x = 1\nwhile True: x += 1")
        assert ended.failure is not None
        assert (ended.failure.kind, ended.failure.lost) == ("TimeoutError", False)
        assert driver.value("x") > 1


def test_a_program_that_obeys_no_signal_is_killed() -> None:
    with kept(SandboxLimits(wall=2)) as made:
        ended = Driver(made.session).run(
            "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass"
        )
        assert ended.failure is not None
        assert (ended.failure.kind, ended.failure.lost) == ("TimeoutError", True)


def test_the_user_interrupts_a_program(one: Kept) -> None:
    driver = Driver(one.session, begun=lambda: threading.Timer(0.1, one.session.interrupt).start())
    ended = driver.run("import time\nx = 1\nbegun()\ntime.sleep(60)")
    assert ended.failure is not None
    assert (ended.failure.kind, ended.failure.lost) == ("KeyboardInterrupt", False)
    assert driver.value("x") == 1


def test_threads_get_no_time_between_snippets(one: Kept) -> None:
    driver = Driver(one.session)
    driver.value(
        "import threading, time\nticks = 0\ndef tick():\n    global ticks\n    while True:\n        ticks += 1"
    )
    driver.value("threading.Thread(target=tick, daemon=True).start()")
    pid = guest_of(one)
    assert eventually(lambda: is_stopped(pid))
    used = time_of(pid)
    time.sleep(0.2)
    assert time_of(pid) == used
    before = driver.value("ticks")
    assert eventually(lambda: driver.value("ticks") > before), "it goes on while programs run"


def is_stopped(pid: int) -> bool:
    """Whether none of its threads runs."""
    return {stat_of(int(thread))[0] for thread in os.listdir(f"/proc/{pid}/task")} == {"T"}


def time_of(pid: int) -> tuple[int, int]:
    """Processor time that it has used, as itself and in the kernel: of its threads all together."""
    _, *fields = stat_of(pid)
    return int(fields[10]), int(fields[11])


def stat_of(pid: int) -> list[str]:
    """What the kernel tells of it, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def test_processor_time_is_limited_too() -> None:
    with kept(SandboxLimits(wall=60, cpu=0.3)) as made:
        driver = Driver(made.session)
        assert driver.value("import time; time.sleep(0.4)") is None
        ended = driver.run("while True: pass")
        assert ended.failure is not None
        assert ended.failure.kind == "TimeoutError"
        assert "processor time" in ended.failure.message


def test_processor_time_counts_what_other_processes_of_the_guest_use() -> None:
    with kept(config={"imports": ["*"]}) as made:
        driver = Driver(made.session)
        before = made.process.cpu_time()
        driver.value("import os\nif not os.fork():\n    sum(range(10_000_000))\n    os._exit(0)\nos.wait()[1]")
        assert before is not None
        assert eventually(lambda: (made.process.cpu_time() or 0) > before + 0.02)


def test_limits_of_the_guest_are_set_by_the_keeper() -> None:
    limits = {"memory": 100 << 20, "files": 32, "processes": None, "disk": 1 << 20}
    with kept(config={"limits": limits, "imports": ["*"]}, rlimits=("memory", "files", "disk")) as made:
        driver = Driver(made.session)
        ended = driver.run("x = bytearray(200_000_000)")
        assert ended.failure is not None
        assert (ended.failure.kind, ended.failure.lost) == ("MemoryError", False)
        assert driver.value("import resource; resource.getrlimit(resource.RLIMIT_NOFILE)") == (32, 32)
        assert driver.value("resource.getrlimit(resource.RLIMIT_FSIZE)") == (1 << 20, 1 << 20)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.skipif(not os.access("/usr/bin/python3", os.X_OK), reason="the system has no Python of its own")
def test_the_guest_of_a_root_keeper_is_unprivileged(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    config = {"uid": 65532, "folder": str(tmp_path), "imports": ["*"]}
    with kept(config=config, interpreter="/usr/bin/python3") as made:
        driver = Driver(made.session)
        driver.value("import os")
        assert driver.value("os.getresuid(), os.getresgid(), os.getgroups()") == ((65532,) * 3, (65532,) * 3, [])
        assert driver.value("open('made', 'w').close(); os.getcwd()") == str(tmp_path)
        ended = driver.run("os.kill(os.getppid(), 9)")
        assert ended.failure is not None
        assert ended.failure.kind == "PermissionError"
