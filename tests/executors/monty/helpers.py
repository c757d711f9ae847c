"""What tests of Monty share."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from tests.attacks.host import descendants

from actloop.executors.monty.workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.executors.driving import Driver

    from actloop.executors.session import GuestFailure


def failed(driver: Driver, code: str) -> GuestFailure:
    failure = driver.run(code).failure
    assert failure is not None
    return failure


def echo(value: Any) -> Any:
    return value


def twice(number: Any) -> Any:
    return 2 * number


def works(driver: Driver, code: str) -> bool:
    return driver.run(code).failure is None


def workers() -> list[int]:
    """Process ids of workers, whoever has them."""
    found: list[int] = []
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "monty":
                found.append(pid)
    return found


def ready() -> set[int]:
    """Workers that no session has."""
    return set(workers()) - {checkout.worker or 0 for checkout in WORKERS.lent()}


def with_worker(open_driver: Callable[..., Driver], *given: Any, **tools: Any) -> tuple[Driver, int]:
    """A session and the process id of its worker."""
    others = {checkout.worker for checkout in WORKERS.lent()}
    driver = open_driver(*given, **tools)
    [worker] = {checkout.worker for checkout in WORKERS.lent()} - others
    assert worker is not None
    return driver, worker
