"""Sessions that begin in the first of several executors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER, Driver
from tests.executors.lines import Lines

from actloop.executors.fallback import FallbackExecutor
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.monty import MontyExecutor
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def open_driver() -> Iterator[Callable[..., Driver]]:
    made: list[Any] = []

    def open_driver(executors: list[Any] | None = None, **tools: Any) -> Driver:
        executor = FallbackExecutor(executors or [MontyExecutor(), LocalPythonExecutor()], Lines())
        session = run_now(executor.open_session(WAITER))
        made.extend((session, executor))
        return Driver(session, **tools)

    yield open_driver
    for session, executor in zip(made[::2], made[1::2], strict=True):
        session.close()
        executor.cleanup()
