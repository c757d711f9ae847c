"""What goes wrong with the service, and what is left of it: nothing."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from grpclib import Status
from tests.executors.cloud_modal.server import TOKEN_SECRET, Fault
from tests.executors.driving import WAITER, Driver
from tests.waiting import eventually

from actloop.errors import SandboxUnavailableError
from actloop.executors.modal import ModalExecutor
from actloop.executors.reaper import REAPER
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.executors.cloud_modal.server import Account, ModalServer

FAKE_KEEPER = """
import base64, os, re, sys, time, zlib
text = b""
while True:
    text += os.read(0, 1 << 20)
    try:
        plain = zlib.decompress(base64.b64decode(text))
        break
    except Exception:
        pass
marker = re.search(rb'\\\\*"marker\\\\*": \\\\*"([0-9a-f]{32})', plain)[1]
os.write(1, b"\\n" + marker + b"\\n")
"""
"""Takes the place of the keeper, knows the marker, and goes on as a test says."""


def refused(executor: ModalExecutor) -> str:
    """What is said when no session can be opened."""
    with pytest.raises(SandboxUnavailableError) as caught:
        executor("1")
    assert TOKEN_SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_wrong_token(server: ModalServer, account: Account) -> None:
    client = server.client(token_secret="as-another-secret")
    try:
        said = refused(ModalExecutor([], None, create_kwargs={"client": client}))
    finally:
        client.close()
    assert "refused the token" in said
    assert "modal token new" in said
    assert "MODAL_TOKEN_ID" in said
    assert "another-secret" not in said


@pytest.mark.parametrize(
    ("call", "status", "expected"),
    [
        ("AppGetOrCreate", Status.PERMISSION_DENIED, "does not let this account"),
        ("AppGetOrCreate", Status.UNAVAILABLE, "cannot be reached"),
        ("ImageGetOrCreate", Status.RESOURCE_EXHAUSTED, "limit of the account"),
        ("ImageGetOrCreate", Status.INTERNAL, "could not make a sandbox"),
        ("SandboxCreateV2", Status.RESOURCE_EXHAUSTED, "limit of the account"),
        ("SandboxCreateV2", Status.INVALID_ARGUMENT, "create_kwargs"),
        ("SandboxCreateV2", Status.INTERNAL, "could not make a sandbox"),
        ("SandboxCreateV2", Status.UNAUTHENTICATED, "refused the token"),
        ("TaskExecStart", Status.RESOURCE_EXHAUSTED, "limit of the account"),
        ("TaskExecStart", Status.NOT_FOUND, "create_kwargs"),
    ],
)
def test_a_call_that_is_refused(
    make: Callable[..., ModalExecutor], account: Account, call: str, status: Status, expected: str
) -> None:
    account.faults[call] = Fault(status, "the reason")
    said = refused(make())
    assert expected in said
    if status is not Status.UNAVAILABLE:
        assert "the reason" in said
    account.faults.clear()
    assert make()("6 * 7").output == 42


def test_secrets_of_this_machine_are_masked(
    make: Callable[..., ModalExecutor], account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODAL_TOKEN_SECRET", TOKEN_SECRET)
    account.faults["AppGetOrCreate"] = Fault(Status.UNAUTHENTICATED, f"bad secret {TOKEN_SECRET}")
    assert "bad secret ***" in refused(make())


def test_a_call_that_fails_for_a_moment_is_made_again(make: Callable[..., ModalExecutor], account: Account) -> None:
    for call in ("AppGetOrCreate", "SandboxCreateV2", "TaskExecStart", "TaskExecStdinWrite"):
        account.faults[call] = Fault(Status.UNAVAILABLE, times=1)
    assert make()("6 * 7").output == 42


def test_an_image_that_cannot_be_built(make: Callable[..., ModalExecutor], account: Account) -> None:
    account.build_error = "No matching distribution found for nunpy"
    said = refused(make(["nunpy"]))
    assert "could not build the image" in said
    assert "No matching distribution found for nunpy" in said


def test_an_option_that_the_service_does_not_know(make: Callable[..., ModalExecutor]) -> None:
    said = refused(make([], {"gpus": 1}))
    assert "create_kwargs" in said
    assert "gpus" in said
    assert "block_network" in refused(make([], {"encrypted_ports": [8888]}))


def test_a_service_that_takes_too_long(make: Callable[..., ModalExecutor], account: Account) -> None:
    account.faults["SandboxCreateV2"] = Fault(delay=5.0, times=1)
    assert "in time" in refused(make(start_timeout=3.0))
    assert eventually(lambda: account.machines and not account.alive)
    assert [machine.why_over for machine in account.machines] == ["terminated"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["sh", "-c", "echo no python here >&2; exit 127"], "no python here"),
        (["sh", "-c", "exit 1"], "without a word"),
        (["surely-no-such-program"], "surely-no-such-program"),
        (["sh", "-c", "echo hello; exec sleep 60"], "in time"),
        (["head", "-c", "3000000", "/dev/zero"], "sandbox"),
    ],
)
def test_a_sandbox_without_a_usable_python(
    make: Callable[..., ModalExecutor], account: Account, command: list[str], expected: str
) -> None:
    account.command[:] = command
    assert expected in refused(make(start_timeout=3.0))
    assert REAPER.flush(60)
    assert {machine.why_over for machine in account.machines} == {"terminated"}


@pytest.mark.parametrize(
    "goes_on",
    [
        "os.write(1, os.urandom(100_000))",
        "os.write(1, b'\\x01\\x00\\x00\\x00\\x00\\x7f\\xff\\xff\\xff')",
        "os.write(1, b'not base64 at all!\\n' * 1000)",
        "os.write(1, base64.b64encode(b'\\x0b' + bytes(20)) + b'\\n')",
        "os._exit(3)",
        "while True: os.write(1, b'x' * 65536)",
        "while True: os.write(2, b'x' * 65536)",
    ],
)
def test_a_hostile_sandbox_harms_nobody(make: Callable[..., ModalExecutor], account: Account, goes_on: str) -> None:
    account.command[:] = ["python3", "-I", "-c", f"{FAKE_KEEPER}\n{goes_on}\ntime.sleep(60)"]
    executor = make()

    def opened() -> Any:
        return run_now(executor.open_session(WAITER))

    if goes_on.startswith("while True: os.write(2"):
        threading.Timer(2.0, lambda: [machine.end("by the test") for machine in account.alive]).start()
    with pytest.raises(Exception, match=r"did not start|sandbox"):
        opened().close()
    assert REAPER.flush(60)
    assert not account.alive


def test_a_stream_that_is_cut_goes_on_where_it_was(make: Callable[..., ModalExecutor], account: Account) -> None:
    account.faults["TaskExecStdioRead"] = Fault(Status.UNAVAILABLE, "cut", times=5, after=20_000)
    with make() as executor:
        executor("import random\ndata = random.Random(1).randbytes(2_000_000)")
        assert executor("data").output == __import__("random").Random(1).randbytes(2_000_000)
    assert account.faults["TaskExecStdioRead"].times == 0


def test_a_sandbox_that_the_service_ends_is_lost(make: Callable[..., ModalExecutor], account: Account) -> None:
    executor = make()
    session = run_now(executor.open_session(WAITER))
    driver = Driver(session)
    run_now(session.start("print('begun')\nwhile True:\n    pass", WAITER))
    timer = threading.Timer(0.3, lambda: account.machines[0].end("by the service"))
    timer.start()
    ended = driver.finish()
    timer.join()
    assert ended.failure is not None
    assert (ended.failure.kind, ended.failure.lost) == ("SandboxCrash", True)
    assert not session.alive
    assert Driver(run_now(executor.open_session(WAITER))).value("1") == 1


def test_the_time_limits_of_the_service_are_set(make: Callable[..., ModalExecutor], account: Account) -> None:
    with make([], {"timeout": 2}) as executor:
        with pytest.raises(ValueError, match="SandboxCrash"):
            executor("while True:\n    pass")
        assert account.machines[0].why_over == "time-out"
        assert executor("1").output == 1


def test_a_sandbox_that_cannot_be_ended_is_told_of(
    make: Callable[..., ModalExecutor], account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    account.faults["SandboxTerminateV2"] = Fault(Status.FAILED_PRECONDITION, "not now")
    with make([], {"idle_timeout": 1}) as executor:
        executor("1")
    assert REAPER.flush(60)
    assert re.search(r"sb-new-\d+ could not be removed", caplog.text)
    assert eventually(lambda: not account.alive)
    assert [machine.why_over for machine in account.machines] == ["idle"]


def test_a_sandbox_is_ended_after_a_failure_of_a_moment(make: Callable[..., ModalExecutor], account: Account) -> None:
    account.faults["SandboxTerminateV2"] = Fault(Status.FAILED_PRECONDITION, "not now", times=1)
    with make() as executor:
        executor("1")
    assert REAPER.flush(60)
    assert [machine.why_over for machine in account.machines] == ["terminated"]
