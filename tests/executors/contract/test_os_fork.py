"""Forks of the process: the child hangs nowhere, has no session of its parent's, and takes nothing away from it."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.contract.test_forks import ahead_of, let_it_get_ready

from actloop.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.executors.contract.kit import Subject

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.needs("reach"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

_WELL, _NOT_HERE, _ODD = 0, 3, 4


def _outcome(subject: Subject) -> int:
    """What is expected of a fork: two libraries cannot be used in one, which is said."""
    return _NOT_HERE if subject.name in ("monty", "e2b") else _WELL


def _in_child(executor: Any) -> int:
    """What comes of a program in a fork of this process, which has 60 seconds for it."""
    child = os.fork()
    if not child:
        code = _ODD
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            code = _WELL if executor("1 + 1").output == 2 else _ODD
            executor.cleanup()
        except SandboxUnavailableError:
            code = _NOT_HERE
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_fork_while_another_thread_runs_a_program(subject: Subject, make: Callable[..., Any]) -> None:
    inside, go = threading.Event(), threading.Event()

    def wait(number: int) -> int:
        inside.set()
        assert go.wait(100)
        return number

    executor = make(additional_functions={"wait": wait})
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(executor("x = wait(7)\nx").output))
    thread.start()
    assert inside.wait(60)
    try:
        assert _in_child(executor) == _outcome(subject)
    finally:
        go.set()
        thread.join()
    assert results == [7]
    assert executor("x").output == 7


@pytest.mark.needs("workspace")
def test_a_fork_leaves_its_parent_the_sandbox_and_the_files(
    subject: Subject, make: Callable[..., Any], tmp_path: Any
) -> None:
    (tmp_path / "a.txt").write_text("here")
    executor = make(workspace=tmp_path, **ahead_of(make()))
    executor("x = 1")
    let_it_get_ready()
    assert _in_child(executor) == _outcome(subject)
    assert executor("x, open('a.txt').read()").output == (1, "here")
    executor.cleanup()
    assert executor("1").output == 1  # in what was kept ready


def test_a_tool_that_forks(make: Callable[..., Any]) -> None:
    def fork() -> int:
        child = os.fork()
        if not child:
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    executor = make(additional_functions={"fork": fork})
    assert executor("fork()").output == 0
