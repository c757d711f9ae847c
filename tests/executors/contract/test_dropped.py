"""Executors and agents that are forgotten without being closed: nothing is left of them once they are collected."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.host import descendants
from tests.waiting import eventually

from actloop import CodeAgent, LogLevel, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.executors.contract.kit import Subject

_TIMES = 3


def _held() -> tuple[int, int, int]:
    """Descriptors, threads and processes."""
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(descendants(os.getpid()))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of sockets and processes: that is what is asked for here
@pytest.mark.parametrize("by", ["calls", "runs"])
def test_nothing_is_left_of_what_is_dropped(subject: Subject, surroundings: Mapping[str, Any], by: str) -> None:
    use = {"calls": _call, "runs": _run}[by]

    def one() -> None:
        use(subject.make(subject.name, [], **surroundings))
        gc.collect()

    for _ in range(2):
        one()
    before = _held()
    for _ in range(_TIMES):
        one()

    def left() -> list[int]:
        gc.collect()
        return [subject.remains(), *(max(0, now - then) for now, then in zip(_held(), before, strict=True))]

    eventually(lambda: not any(left()), within=60)
    assert left() == [0, 0, 0, 0]  # sandboxes, descriptors, threads, processes


def _call(executor: Any) -> None:
    assert executor("x = 1\nx + 1").output == 2


def _run(executor: Any) -> None:
    model = ScriptedModel(["<code>\nfinal_answer(1 + 1)\n</code>"])
    assert CodeAgent([], model, executor=executor, verbosity_level=LogLevel.OFF, journal=None).run("go") == 2
