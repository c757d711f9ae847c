"""Snapshots: taken, carried as bytes, restored in another session and in another process."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.contract.kit import EXECUTORS, Subject
from tests.executors.driving import WAITER, Driver

from actloop.errors import InterpreterError
from actloop.executors.session import Snapshot
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = [pytest.mark.needs("snapshot")]


def taken(driver: Driver) -> Snapshot:
    return run_now(driver.session.snapshot(WAITER))


def test_a_snapshot_is_restored_in_another_session(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("a = [1]\nb = {'same': a}\ndef f(n):\n    return n + len(a)")
    snapshot = Snapshot.from_bytes(taken(driver).to_bytes())
    assert {"a", "b", "f"} <= set(snapshot.names)
    driver.value("a.append(9)")
    other = open_driver()
    run_now(other.session.restore(snapshot, WAITER))
    assert other.value("f(10)") == 11
    assert other.value("a.append(2)\n[b['same'], f(10)]") == [[1, 2], 12]
    assert driver.value("a") == [1, 9]


@pytest.mark.needs("reach")
def test_a_snapshot_is_restored_in_another_process(
    subject: Subject, surroundings: Mapping[str, Any], open_driver: Callable[..., Driver], tmp_path: Path
) -> None:
    driver = open_driver(None, who=lambda: "here")
    driver.value("a = [1]\nb = {'same': a}\ndef f(n):\n    return n + len(a)\ndef ask():\n    return who()")
    file = tmp_path / "snapshot"
    file.write_bytes(taken(driver).to_bytes())
    program = [sys.executable, "-W", "error", "-m", "tests.executors.contract.elsewhere"]
    restored = subprocess.run(
        [*program, subject.name, json.dumps(dict(surroundings)), str(file)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (restored.returncode, restored.stderr) == (0, "")
    assert json.loads(restored.stdout) == [11, [[1, 2], 12], "elsewhere"]


def test_tools_are_those_of_the_session_that_restores(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, who=lambda: "first")
    driver.value("def ask():\n    return who()\nx = 1")
    other = open_driver(None, who=lambda: "second")
    run_now(other.session.restore(taken(driver), WAITER))
    assert other.value("ask()") == "second"


@pytest.mark.needs("classes")
def test_what_cannot_be_taken_is_named(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("kept = 1\nrunning = (n for n in [1, 2])\nnext(running)")
    snapshot = taken(driver)
    assert set(snapshot.left_out) == {"running"}
    other = open_driver()
    run_now(other.session.restore(snapshot, WAITER))
    assert other.value("kept") == 1


def test_damaged_snapshots_are_refused(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("x = 1")
    data = taken(driver).to_bytes()
    for broken in (b"", data[:-1], data[:10], b"x" + data, data[:-5] + b"abcde"):
        with pytest.raises(ValueError, match="snapshot"):
            Snapshot.from_bytes(broken)
    foreign = Snapshot("another", "3.11.7", b"")
    with pytest.raises(InterpreterError, match="another"):
        run_now(driver.session.restore(foreign, WAITER))
    assert driver.value("x") == 1


def test_snapshots_of_other_kinds_are_refused_by_name(
    subject: Subject, open_driver: Callable[..., Driver], make: Callable[..., Any]
) -> None:
    assert make().kind == subject.name
    driver = open_driver()
    driver.value("x = 1")
    snapshot = taken(driver)
    assert snapshot.kind == subject.name
    for other in EXECUTORS.keys() - {subject.name}:
        foreign = dataclasses.replace(snapshot, kind=other)
        with pytest.raises(InterpreterError, match=f"'{other}' .*'{subject.name}'"):
            run_now(driver.session.restore(foreign, WAITER))
    assert driver.value("x") == 1
