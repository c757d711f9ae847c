"""Whoever ends a worker late, ends nothing of the session that has its process by then."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER
from tests.executors.monty.helpers import echo, ready, with_worker
from tests.waiting import eventually, lives

from actloop.executors.monty.engine import Done
from actloop.executors.monty.pool import Bounds, Checkout
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.executors.driving import Driver

pytest.importorskip("pydantic_monty")
pytestmark = pytest.mark.timeout(180)

BOUNDS = Bounds(64 << 20, 60.0, 1 << 20)


class Held(Checkout):
    """A checkout that stops, once it is told to, where its process is already free for another one."""

    def __init__(self) -> None:
        self.held = False
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.broken = False
        super().__init__(BOUNDS)

    def _enter(self, bounds: Bounds) -> None:
        if self.held:
            self.inside.set()
            assert self.go_on.wait(60)
        if self.broken:
            raise OSError("there is no worker")
        super()._enter(bounds)


@pytest.fixture
def held() -> Iterator[Held]:
    checkout = Held()
    yield checkout
    checkout.close()


def others(worker: int | None) -> tuple[list[Checkout], Checkout]:
    """Checkouts, and the one of them that has a process which was free."""
    taken: list[Checkout] = []
    for _ in range(20):
        taken.append(Checkout(BOUNDS))
        if taken[-1].worker == worker:
            return taken, taken[-1]
    raise AssertionError("a worker that is free is not lent again")


def test_a_kill_while_a_worker_is_renewed_is_none_of_the_next_session(held: Held) -> None:
    before = held.worker
    held.held = True
    raised: list[str] = []

    def renew() -> None:
        try:
            held.renew(BOUNDS)
        except RuntimeError as error:
            raised.append(str(error))

    thread = threading.Thread(target=renew)
    thread.start()
    assert held.inside.wait(60)
    taken, other = others(before)
    try:
        held.kill()
        other.feed("x = 1")
        held.go_on.set()
        thread.join()
        other.feed("x + 1")
        assert raised == ["the worker was killed"]  # the kill is not lost
        assert not held.works
        assert held.worker is not None
        worker = held.worker
        held.close()
        assert eventually(lambda: not lives(worker))
        other.feed("x + 2")
    finally:
        held.go_on.set()
        thread.join()
        for checkout in taken:
            checkout.close()


def test_a_worker_that_could_not_be_renewed_is_closed_without_the_next_session(held: Held) -> None:
    before = held.worker
    held.broken = True
    with pytest.raises(OSError, match="no worker"):
        held.renew(BOUNDS)
    taken, other = others(before)
    try:
        assert not held.works
        held.kill()
        held.close()
        held.kill()
        other.feed("x = 1")
        assert other.works
    finally:
        for checkout in taken:
            checkout.close()


def test_an_interrupt_after_the_end_of_a_program_leaves_the_session_its_worker(
    open_driver: Callable[..., Driver],
) -> None:
    driver, worker = with_worker(open_driver)
    session: Any = driver.session
    run_now(session.start("x = 5\nx", WAITER))
    assert eventually(lambda: Done in map(type, session._engine._events))  # nobody has received it yet
    session.interrupt()
    session._timer.join(60)
    assert driver.finish().output == 5
    assert driver.value("x + 1") == 6
    assert lives(worker)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="only POSIX has it")
def test_a_worker_that_is_just_being_killed_is_not_given(open_driver: Callable[..., Driver]) -> None:
    for _ in range(20):
        open_driver(echo=echo).session.close()
        for worker in ready():
            os.kill(worker, signal.SIGKILL)
        assert open_driver(echo=echo).value("echo(1)") == 1
