"""What is Blaxel's own: its options, the network that it cannot close, a stream that it cuts."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.cloud.service import Fault

from actloop import BlaxelExecutor, CodeAgent, LogLevel, RemotePythonExecutor, ScriptedModel
from actloop.errors import InterpreterError, SandboxUnavailableError

if TYPE_CHECKING:
    from tests.executors.cloud.conftest import Cloud


def created(blaxel: Cloud) -> list[dict[str, Any]]:
    """What the service was asked to create."""
    return [json.loads(request.body) for request in blaxel.service.asked(blaxel.create)]


def test_the_references_options_reach_the_service(blaxel: Cloud) -> None:
    options: dict[str, Any] = {"sandbox_name": "mine", "image": "blaxel/py-app", "memory": 2048, "ttl": "30m"}
    blaxel.make(**options, region="eu-lon-1")("1")
    (body,) = created(blaxel)
    assert body["metadata"]["name"] == "mine"
    assert body["spec"]["runtime"] == {"image": "blaxel/py-app", "memory": 2048, "ttl": "30m"}
    assert body["spec"]["region"] == "eu-lon-1"
    assert issubclass(BlaxelExecutor, RemotePythonExecutor)


def test_a_sandbox_that_nobody_uses_is_ended_by_the_service(blaxel: Cloud) -> None:
    blaxel.make()("1")
    (body,) = created(blaxel)
    assert body["spec"]["runtime"] == {"image": "blaxel/jupyter-notebook", "memory": 4096}
    (policy,) = body["spec"]["lifecycle"]["expirationPolicies"]
    assert policy == {"type": "ttl-idle", "value": "5m", "action": "delete"}
    assert body["metadata"]["name"].startswith("actloop-")


def test_credentials_go_with_every_request(blaxel: Cloud) -> None:
    blaxel.make()("1")
    for request in blaxel.service.asked(".*"):
        assert request.headers["x-blaxel-authorization"] == "Bearer " + blaxel.service.options["api_key"]
        assert request.headers["x-blaxel-workspace"] == "acme"
        assert request.headers["blaxel-version"]


def test_a_sandbox_that_is_still_starting_is_waited_for(blaxel: Cloud) -> None:
    blaxel.service.starting = 2
    assert blaxel.make()("6 * 7").output == 42


def test_sessions_side_by_side_have_names_of_their_own(blaxel: Cloud) -> None:
    executor = blaxel.make(sandbox_name="mine")
    model = ScriptedModel(["<code>\nfinal_answer(1)\n</code>"])
    with CodeAgent([], model, executor=executor, verbosity_level=LogLevel.OFF) as agent:
        executor("x = 1")
        assert agent.run("One.") == 1
        first, second = (body["metadata"]["name"] for body in created(blaxel))
    assert first == "mine"
    assert second.startswith("mine-")


def test_a_name_that_is_taken_is_named(blaxel: Cloud) -> None:
    first, second = blaxel.make(sandbox_name="mine"), blaxel.make(sandbox_name="mine")
    first("x = 1")
    with pytest.raises(SandboxUnavailableError, match=r"409.*sandbox_name"):
        second("1")
    assert first("x").output == 1, "the other's sandbox was left alone"


def test_a_workspace_without_access_is_named(blaxel: Cloud) -> None:
    with pytest.raises(SandboxUnavailableError, match=r"403.*BL_WORKSPACE"):
        blaxel.make(blaxel_workspace="other")("1")


@pytest.mark.parametrize(("old", "words"), [(True, "no standard input"), ("text", "too old")])
def test_an_image_with_an_old_api_is_named(old: bool | str, words: str, blaxel: Cloud) -> None:
    blaxel.service.old = old
    with pytest.raises(SandboxUnavailableError, match=words):
        blaxel.make()("1")
    blaxel.service.wait_empty()


def test_a_network_that_cannot_be_closed_is_not_used(blaxel: Cloud, tmp_path: Path) -> None:
    script = tmp_path / "python"
    broken = "import sys; sys.modules['ctypes'] = None; $1"
    script.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} -I -c "{broken}"\n')
    script.chmod(0o755)
    blaxel.service.python = f"/bin/sh {script}"
    with pytest.raises(SandboxUnavailableError, match="network cannot be closed"):
        blaxel.make()("1")
    assert blaxel.make(allow_internet_access=True)("1").output == 1


# ---- the stream


class Cutter:
    """Cuts the connection at a record, once or each time.

    Args:
        at: Which record, counted from 1.
        always: Do so with every connection.
    """

    def __init__(self, at: int, always: bool = False) -> None:
        self.left = at
        self._at, self._always = at, always
        self.cuts = 0

    def __call__(self, piece: bytes) -> bytes | None:
        self.left -= 1
        if self.left:
            return piece
        self.cuts += 1
        if self._always:
            self.left = self._at
        return None


def test_a_stream_that_is_cut_goes_on_where_it_was(blaxel: Cloud) -> None:
    executor = blaxel.make()
    executor("x = 1")
    cutter = blaxel.service.cut = Cutter(3)
    assert executor("big = b'b' * 300_000\nbig").output == b"b" * 300_000
    assert executor("x").output == 1
    assert cutter.cuts == 1
    assert len(blaxel.service.asked(blaxel.stream)) == 2


def test_a_stream_that_is_always_cut_loses_the_session(blaxel: Cloud) -> None:
    executor = blaxel.make(timeout_seconds=20)
    executor("x = 1")
    blaxel.service.cut = Cutter(1, always=True)
    with pytest.raises(InterpreterError, match="gone"):
        executor("x")


def test_a_stream_with_a_gap_loses_the_session(blaxel: Cloud) -> None:
    executor = blaxel.make()
    executor("x = 1")

    def gap(piece: bytes) -> bytes:
        return json.dumps({"type": "truncated", "data": "Output is incomplete"}).encode() + b"\n" + piece

    blaxel.service.cut = gap
    with pytest.raises(InterpreterError, match="gone"):
        executor("x")


def test_text_that_is_cut_inside_a_character_arrives_whole(blaxel: Cloud) -> None:
    executor = blaxel.make()
    assert executor("print('\u2603' * 30_000)\n'\u2603' * 100_000").output == "\u2603" * 100_000


def test_a_write_whose_answer_is_lost_is_not_made_again(blaxel: Cloud) -> None:
    notes: list[int] = []
    executor = blaxel.make()
    executor.send_tools({"note": notes.append})
    executor("x = 1")
    blaxel.service.faults.append(Fault(blaxel.write, drop=True, times=1))
    with contextlib.suppress(InterpreterError):  # it is over before or after the connection is known to be lost
        executor("note(1)")
    assert notes in ([], [1])


# ---- the library


def test_importing_the_services_library_leaves_logging_alone() -> None:
    script = """
import logging
from actloop.executors.blaxel import BlaxelExecutor, _Account
before = logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("httpx").level
_Account("key", "workspace", "http://127.0.0.1:9")
assert before == (logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("httpx").level)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3])
    assert logging.getLogger().level != logging.INFO or logging.getLogger().handlers
