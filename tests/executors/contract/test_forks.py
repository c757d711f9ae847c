"""Forks: what is done in one of the two is not seen in the other, and neither ends what the other has."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from actloop.executors.reaper import REAPER
from actloop.executors.registry import options_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("snapshot")]

AHEAD: dict[str, Any] = {"spare": True, "warm": 1}
"""Options by which executors start sandboxes before they are asked for."""


def let_it_get_ready() -> None:
    """Wait until what is started ahead is there."""
    assert REAPER.flush(60)
    for thread in threading.enumerate():
        if thread.name == "actloop-spare":
            thread.join()


def ahead_of(executor: Any) -> dict[str, Any]:
    """Those of these options that its class knows."""
    known = options_of(cast("type[Any]", type(executor)))
    return {name: value for name, value in AHEAD.items() if name in known}


@pytest.fixture
def executor(make: Callable[..., Any]) -> Any:
    """One that keeps sandboxes ready, where its class does that."""
    return make(**ahead_of(make()))


def test_a_fork_tries_an_alternative(executor: Any) -> None:
    executor("x = [1]")
    let_it_get_ready()
    with executor.fork() as other:
        assert other("x.append(2)\nx").output == [1, 2]
    assert executor("x").output == [1]


def test_a_fork_outlives_its_origin(executor: Any) -> None:
    executor("x = [1]")
    let_it_get_ready()
    with executor.fork() as other:
        assert other("x").output == [1]
        let_it_get_ready()
        executor.cleanup()
        assert other("x.append(2)\nx").output == [1, 2]


def test_what_is_kept_ready_outlives_a_fork(executor: Any) -> None:
    executor("x = 1")
    let_it_get_ready()
    with executor.fork() as other:
        assert other("x").output == 1
        let_it_get_ready()
    assert kept_ready(executor) == [True] * len(ahead_of(executor))


def kept_ready(executor: Any) -> list[bool]:
    """Whether each sandbox that an executor has started ahead still lives."""
    spare = getattr(executor, "_spare", None)
    pool = getattr(executor, "_pool", None)
    ready: list[Any] = [*([spare[1]] if spare is not None else []), *getattr(pool, "_ready", ())]
    return [process.alive for process in ready]


def test_packages_of_one_are_not_those_of_the_other(make: Callable[..., Any]) -> None:
    executor = make()
    if not hasattr(executor, "install_packages") or getattr(executor, "_given", None):
        pytest.skip(f"{type(executor).__name__} installs no packages here")
    other = executor.fork()
    assert other.install_packages(["attrs"]) == ["attrs"]
    assert (executor.additional_imports, "attr" in executor.authorized_imports) == ([], False)
    assert executor.install_packages(["attrs"]) == ["attrs"]
    assert executor.authorized_imports == other.authorized_imports
