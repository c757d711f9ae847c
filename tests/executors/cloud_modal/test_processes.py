"""Programs of users that end: in the usual way, by Ctrl-C, by kill -9; and those that cannot begin."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.executors.cloud_modal.server import TOKEN_SECRET, Fault
from tests.waiting import eventually

from actloop.executors.modal import ModalExecutor

if TYPE_CHECKING:
    from tests.executors.cloud_modal.server import Account, ModalServer

OPENED = """
import asyncio, sys, threading, time
from actloop.executors.modal import ModalExecutor
executor = ModalExecutor([], None, create_kwargs={"idle_timeout": 1})
print(executor("6 * 7").output, flush=True)
"""
SILENT = """
import actloop.executors.cloud as cloud, actloop.executors.stream as stream
stream._BEAT = 0.3
whole = cloud.program
cloud.program = lambda options: whole({**options, "keep": {**options["keep"], "silence": 5}})
"""
"""Shortens the time in which a keeper must hear of its host, so that the test need not wait a minute."""


def started(server: ModalServer, code: str, **environment: str) -> subprocess.Popen[str]:
    """A program of a user's."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**server.environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ends(process: subprocess.Popen[str], within: float = 30.0) -> tuple[int, str, str]:
    """How it ended: its status, and what it wrote."""
    try:
        output, errors = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, output, errors


def end_of(account: Account, within: float = 20.0) -> list[str]:
    """What ended the sandboxes."""
    eventually(lambda: not account.alive, within)
    return [machine.why_over for machine in account.machines]


def test_a_program_that_ends_takes_its_sandbox_along(server: ModalServer, account: Account) -> None:
    assert ends(started(server, OPENED)) == (0, "42\n", "")
    assert [machine.why_over for machine in account.machines] == ["terminated"]


@pytest.mark.parametrize("end", ["raise RuntimeError('mine')", "sys.exit(3)"])
def test_a_program_that_fails_takes_its_sandbox_along(server: ModalServer, account: Account, end: str) -> None:
    status, output, _errors = ends(started(server, f"{OPENED}\n{end}"))
    assert (status, output) == (3 if "exit" in end else 1, "42\n")
    assert [machine.why_over for machine in account.machines] == ["terminated"]


def test_ctrl_c_while_a_program_runs(server: ModalServer, account: Account) -> None:
    process = started(server, f"{OPENED}\nexecutor('while True: pass')")
    assert process.stdout is not None
    assert process.stdout.readline() == "42\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    status, _output, errors = ends(process)
    assert status != 0
    assert "KeyboardInterrupt" in errors
    assert end_of(account) == ["terminated"]


def test_ctrl_c_while_a_sandbox_is_made(server: ModalServer, account: Account) -> None:
    account.faults["SandboxCreateV2"] = Fault(delay=3.0)
    process = started(server, OPENED)
    assert eventually(lambda: "SandboxCreateV2" in account.calls)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    status, _output, errors = ends(process)
    assert status != 0
    assert "KeyboardInterrupt" in errors
    assert TOKEN_SECRET not in errors
    assert time.monotonic() - began < 20
    assert set(end_of(account)) <= {"terminated", "idle"}


def test_a_host_that_is_killed_leaves_nothing_running(server: ModalServer, account: Account) -> None:
    process = started(server, f"{SILENT}\n{OPENED}\nexecutor('while True: pass')")
    assert process.stdout is not None
    assert process.stdout.readline() == "42\n"
    time.sleep(6)  # longer than a keeper bears silence
    assert len(account.alive) == 1
    process.kill()
    process.communicate()
    assert end_of(account) == ["idle"]


def test_a_program_without_a_token(server: ModalServer, account: Account) -> None:
    code = """
from actloop.executors.modal import ModalExecutor
print(ModalExecutor.why_unavailable())
try:
    ModalExecutor([], None)
except Exception as error:
    print(type(error).__name__, error)
"""
    status, output, errors = ends(started(server, code, MODAL_TOKEN_SECRET=""))
    assert (status, errors) == (0, "")
    why, refused = output.splitlines()
    assert "modal token new" in why
    assert "MODAL_TOKEN_ID" in why
    assert refused == f"SandboxUnavailableError {why}"
    assert account.calls == []


def test_a_program_with_a_wrong_token(server: ModalServer, account: Account) -> None:
    code = f"import sys\nsys.tracebacklimit = 0\n{OPENED}"
    status, output, errors = ends(started(server, code, MODAL_TOKEN_SECRET="as-not-this-one"))
    assert (status, output) == (1, "")
    assert "Modal refused the token" in errors
    assert "as-not-this-one" not in errors


def test_a_program_without_a_network(server: ModalServer, account: Account) -> None:
    code = f"import sys\nsys.tracebacklimit = 0\n{OPENED}".replace("([], None,", "([], None, start_timeout=2.0,")
    status, _output, errors = ends(started(server, code, MODAL_SERVER_URL="http://127.0.0.1:9"))
    assert status == 1
    assert "status.modal.com" in errors
    assert TOKEN_SECRET not in errors


def test_a_program_without_the_package(server: ModalServer) -> None:
    code = """
import sys
class Hidden:
    def find_spec(self, name, *_):
        if name == "modal":
            sys.path[:] = []
            return None
sys.meta_path.insert(0, Hidden())
from actloop.executors.modal import ModalExecutor
print(ModalExecutor.why_unavailable())
try:
    ModalExecutor([], None)
except ImportError as error:
    print(error)
"""
    status, output, errors = ends(started(server, code))
    assert (status, errors) == (0, "")
    assert output.count("pip install 'actloop[modal]'") == 2


def test_the_package_and_a_token_are_enough(server: ModalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        if name.startswith("MODAL_"):
            monkeypatch.setenv(name, value)
    assert ModalExecutor.why_unavailable() == ""
