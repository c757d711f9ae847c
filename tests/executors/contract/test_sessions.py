"""Many sessions: at once, and one after another without a trace."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.host import descendants
from tests.executors.driving import WAITER, Driver
from tests.waiting import eventually

from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.executors.contract.kit import Subject


def _memory() -> int:
    """Bytes of memory that this process holds by itself, without what it no longer uses."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # of the C library: it keeps what is freed, for each thread apart
        ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def _held() -> tuple[int, int, int]:
    """Descriptors, threads and processes."""
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(descendants(os.getpid()))


def triple(number: int) -> int:
    return 3 * number


def add(number: int) -> int:
    return number + 1


def test_several_at_once(make: Callable[..., Any]) -> None:
    executor = make()

    def work(number: int) -> Any:
        session = run_now(executor.open_session(WAITER))
        try:
            driver = Driver(session, triple=triple)
            driver.value(f"x = {number}")
            return [driver.value("triple(x)") for _ in range(5)]
        finally:
            session.close()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [[3 * n] * 5 for n in range(6)]


@pytest.mark.timeout(1800 if os.environ.get("ACTLOOP_ALL_SESSIONS") else 600)
def test_nothing_is_left_of_many_sessions(subject: Subject, make: Callable[..., Any]) -> None:
    executor = make()

    def one(number: int) -> None:
        session = run_now(executor.open_session(WAITER))
        assert Driver(session, add=add).value(f"x = [{number}] * 1000\nadd(x[0])") == number + 1
        session.close()

    for number in range(min(20, subject.sessions // 3)):
        one(number)
    held, memory = _held(), _memory()
    sessions = 1000 if os.environ.get("ACTLOOP_ALL_SESSIONS") else subject.sessions
    for number in range(sessions):
        one(number)
    executor.cleanup()

    def left() -> list[int]:
        return [subject.remains(), *(max(0, now - before) for now, before in zip(_held(), held, strict=True))]

    eventually(lambda: not any(left()), within=60)
    assert left() == [0, 0, 0, 0]  # sandboxes, descriptors, threads, processes
    assert _memory() - memory < (4 << 20) + (subject.grows << 10) * sessions
