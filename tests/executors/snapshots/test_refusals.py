"""Snapshots that are damaged, of another kind or of another version, and sessions that give none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER, Driver

from actloop.errors import InterpreterError, UnsupportedError
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.remote import RemotePythonExecutor
from actloop.executors.session import Session, Snapshot
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_snapshot_is_bytes_and_back(make: Callable[..., Any]) -> None:
    snapshot = make("x = 'ä'\ngenerator = (n for n in [1])").snapshot()
    assert Snapshot.from_bytes(snapshot.to_bytes()) == snapshot
    assert snapshot.python == ".".join(map(str, sys.version_info[:3]))
    assert "data" not in repr(snapshot)


def test_no_snapshot_while_a_program_runs(make: Callable[..., Any]) -> None:
    executor = make()
    driver = Driver(run_now(executor.open_session(WAITER)))
    run_now(driver.session.start("1", WAITER))
    with pytest.raises(InterpreterError, match="running"):
        run_now(driver.session.snapshot(WAITER))
    driver.finish()
    driver.session.close()
    with pytest.raises(InterpreterError, match="closed"):
        run_now(driver.session.snapshot(WAITER))


def test_other_kinds_and_versions_are_refused(make: Callable[..., Any]) -> None:
    executor = make("x = 1")
    taken = executor.snapshot()
    for changed, said in (
        (Snapshot("WasmExecutor", taken.python, taken.data), "of the kind 'WasmExecutor'"),
        (Snapshot(taken.kind, "3.9.1", taken.data), "Python 3.9.1"),
        (Snapshot(taken.kind, taken.python, b""), "damaged"),
        (Snapshot(taken.kind, taken.python, b"x" * 100), "version 120"),
        (Snapshot(taken.kind, taken.python, taken.data[:-5]), "could not be restored"),
        (Snapshot(taken.kind, taken.python, taken.data[3:]), "could not be restored"),
        (Snapshot(taken.kind, taken.python, b"\x00" + taken.data), "could not be restored"),
    ):
        with pytest.raises(InterpreterError, match=said):
            executor.restore(changed)
    assert executor("x").output == 1


def test_a_snapshot_that_fails_half_way_changes_nothing(make: Callable[..., Any]) -> None:
    code = """
    class A:
        def __init__(self): self.x = 1
        def __setstate__(self, state):
            if "here" not in globals(): raise ValueError("not here")
    a, here, b = 5, 1, A()
    """
    snapshot = make(code).snapshot()
    assert snapshot.left_out == {}
    other = make("a = 1")
    with pytest.raises(InterpreterError, match="the variable 'b' cannot be built: ValueError: not here"):
        other.restore(snapshot)
    assert other("a, 'here' in globals()").output == (1, False)


@pytest.mark.parametrize("given", [5, None, "text", [1]])
def test_what_is_no_bytes_is_no_snapshot(given: Any) -> None:
    with pytest.raises(TypeError, match=r"Snapshot\.from_bytes takes bytes"):
        Snapshot.from_bytes(given)


@pytest.mark.parametrize("given", [b"abc", None, 5])
def test_only_a_snapshot_is_restored(given: Any) -> None:
    with LocalPythonExecutor() as executor, pytest.raises(TypeError, match=r"takes a Snapshot; .*Snapshot\.from_bytes"):
        executor.restore(given)


def test_a_subclass_is_of_its_base_class_kind_unless_that_has_none() -> None:
    class Mine(LocalPythonExecutor):
        pass

    class Remote(RemotePythonExecutor):
        pass

    class Another(RemotePythonExecutor):
        pass

    assert (Mine.kind, Remote.kind, Another.kind) == ("local", "Remote", "Another")


def test_a_session_that_cannot_be_forked_says_why() -> None:
    kind = type("Plain", (Session,), dict.fromkeys(Session.__abstractmethods__))
    with pytest.raises(UnsupportedError, match="Sessions of Plain cannot be forked"):
        run_now(kind().fork(WAITER))
    session = run_now(LocalPythonExecutor().open_session(WAITER))
    with pytest.raises(UnsupportedError, match="keep the executor that opened it"):
        run_now(session.fork(WAITER))
    assert Driver(session).value("1") == 1
    session.close()
