"""What tests of Monty share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
