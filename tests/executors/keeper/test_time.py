"""Time limits of guests that are far away: what the way there and back takes is not the program's fault."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.executors.driving import Driver
from tests.executors.keepers import PipeStream, kept

from actloop.executors.guest_interrupt import INTERRUPT_GRACE
from actloop.executors.session import SandboxLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

WAY = 0.1
"""Seconds that everything takes in each direction."""

BURN = """
import time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keepers that are far away."""
    read, write = PipeStream.read, PipeStream.write

    def slow_read(self: PipeStream) -> bytes:
        data = read(self)
        time.sleep(WAY)
        return data

    def slow_write(self: PipeStream, data: bytes) -> None:
        time.sleep(WAY)
        write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(PipeStream, "read", slow_read)
        patch.setattr(PipeStream, "write", slow_write)
        yield


@pytest.mark.parametrize("limits", [SandboxLimits(wall=3), SandboxLimits(wall=20, cpu=0.5)])
@pytest.mark.usefixtures("ample_grace")
def test_a_program_far_away_is_interrupted_before_it_is_killed(far: None, limits: SandboxLimits) -> None:
    with kept(limits) as kept_one:
        driver = Driver(kept_one.session)
        assert driver.value("x = 1") is None
        failure = driver.run("while True: pass").failure
        assert failure is not None
        assert (failure.kind, failure.lost) == ("TimeoutError", False)
        assert driver.value("x") == 1


def test_the_users_interrupt_is_not_hasty_with_a_program_far_away(far: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(SandboxLimits(wall=60)) as kept_one:
        driver = Driver(kept_one.session, begun=lambda: threading.Timer(0.1, kept_one.session.interrupt).start())
        assert driver.value("x = 1") is None
        with monkeypatch.context() as patch:
            patch.setitem(globals(), "WAY", INTERRUPT_GRACE * 0.65)
            failure = driver.run("import time\nbegun()\ntime.sleep(600)").failure
        assert failure is not None
        assert (failure.kind, failure.lost) == ("KeyboardInterrupt", False)
        assert driver.value("x") == 1


@pytest.mark.parametrize("distant", [True, False])
def test_processor_time_of_earlier_programs_does_not_count(distant: bool, request: pytest.FixtureRequest) -> None:
    if distant:
        request.getfixturevalue("far")
    with kept(SandboxLimits(wall=20, cpu=0.5)) as kept_one:
        driver = Driver(kept_one.session)
        driver.run(BURN)
        for _ in range(4):
            assert driver.run("burn(0.3)").failure is None


def test_processor_time_of_threads_and_processes_counts() -> None:
    code = f"{BURN}\nimport os, signal\nfor _ in range(2):\n    if not os.fork():\n        burn(30)\nos.wait()"
    with kept(SandboxLimits(wall=20, cpu=0.5), {"imports": ["*"]}) as kept_one:
        failure = Driver(kept_one.session).run(code).failure
        assert failure is not None
        assert failure.kind == "TimeoutError"
        assert "processor time" in failure.message
