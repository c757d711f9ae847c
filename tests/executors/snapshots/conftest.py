"""Executors whose snapshots are taken, with a kernel's sandbox and with the guest as one file."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from actloop.executors import bundle
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import Snapshot

from .kit import BundleExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actloop.executors.base import GuestExecutor


@pytest.fixture(scope="module", params=["kernel", "bundle"])
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> type[GuestExecutor]:
    """A class of executors."""
    if request.param == "kernel":
        return LocalPythonExecutor
    BundleExecutor.path = tmp_path_factory.mktemp("guest") / "guest.py"
    BundleExecutor.path.write_text(bundle.source(), "utf-8")
    return BundleExecutor


@pytest.fixture
def made() -> Iterator[list[GuestExecutor]]:
    executors: list[GuestExecutor] = []
    yield executors
    for executor in executors:
        executor.cleanup()


@pytest.fixture
def make(kind: type[GuestExecutor], made: list[GuestExecutor]) -> Callable[..., Any]:
    """Makes an executor, and runs a program in it."""

    def make(code: str = "", **options: Any) -> GuestExecutor:
        executor = kind(**options)
        made.append(executor)
        if code:
            executor(textwrap.dedent(code))
        return executor

    return make


@pytest.fixture
def moved(make: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a program, moves its variables to another session as bytes; gives the value of a second program there."""

    def moved(code: str, then: str, **options: Any) -> Any:
        snapshot = Snapshot.from_bytes(make(code, **options).snapshot().to_bytes())
        assert snapshot.left_out == {}
        other = make(**options)
        other.restore(snapshot)
        return other(textwrap.dedent(then)).output

    return moved
