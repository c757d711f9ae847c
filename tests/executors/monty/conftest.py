"""Sessions in Monty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER, Driver

from actloop.executors.monty import MontyExecutor
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actloop.executors.session import SandboxLimits


@pytest.fixture
def open_driver() -> Iterator[Callable[..., Driver]]:
    opened: list[Any] = []

    def open_driver(limits: SandboxLimits | None = None, /, **tools: Any) -> Driver:
        session = run_now(MontyExecutor(limits=limits).open_session(WAITER))
        opened.append(session)
        return Driver(session, **tools)

    yield open_driver
    for session in opened:
        session.close()


@pytest.fixture
def driver(open_driver: Callable[..., Driver]) -> Driver:
    return open_driver()
