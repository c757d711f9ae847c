"""What is E2B's own: its options, its clock, its network."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.cloud.service import Fault
from tests.waiting import eventually

from actloop import CodeAgent, E2BExecutor, LogLevel, RemotePythonExecutor, ScriptedModel
from actloop.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from tests.executors.cloud.conftest import Cloud


def created(e2b: Cloud) -> list[dict[str, Any]]:
    """What the service was asked to create."""
    return [json.loads(request.body) for request in e2b.service.asked(e2b.create)]


def test_a_sandbox_is_created_closed_and_for_a_short_time(e2b: Cloud) -> None:
    e2b.make()("1")
    (body,) = created(e2b)
    assert body["templateID"] == "code-interpreter-v1"
    assert (body["allow_internet_access"], body["timeout"], body["autoPause"]) == (False, 300, False)
    assert list(body["metadata"]) == ["actloop-session"]
    (request,) = e2b.service.asked(e2b.create)
    assert request.headers["x-api-key"] == e2b.service.options["api_key"]


def test_other_options_are_those_of_the_services_library(e2b: Cloud) -> None:
    executor = e2b.make(["os"], template="base", timeout=77, metadata={"who": "me"}, envs={"COLOUR": "blue"})
    assert executor("import os\nos.environ['COLOUR']").output == "blue"
    (body,) = created(e2b)
    assert (body["templateID"], body["timeout"], body["metadata"]["who"]) == ("base", 77, "me")
    with pytest.raises(SandboxUnavailableError, match=r"does not take an option.*colour"):
        e2b.make(colour="blue")("1")


def test_the_service_is_asked_to_keep_a_sandbox_while_it_is_used(e2b: Cloud) -> None:
    executor = e2b.make(timeout=3)
    executor("x = 1")
    (name,) = e2b.service.until
    first = e2b.service.until[name]
    assert eventually(lambda: e2b.service.until[name] > first)
    executor.cleanup()
    e2b.service.wait_empty()
    asked = len(e2b.service.asked("POST /sandboxes/.*/timeout"))
    time.sleep(1.2)
    assert len(e2b.service.asked("POST /sandboxes/.*/timeout")) == asked


def test_the_network_is_closed_again_after_packages_were_installed(e2b: Cloud) -> None:
    e2b.make(["numpy"])("1")
    (body,) = created(e2b)
    assert body["allow_internet_access"] is True
    (request,) = e2b.service.asked("PUT /sandboxes/.*/network")
    assert json.loads(request.body) == {"allow_internet_access": False}


def test_a_sandbox_whose_network_cannot_be_closed_again_is_not_used(e2b: Cloud) -> None:
    e2b.service.faults.append(Fault("PUT /sandboxes/.*/network", 500, "{}"))
    with pytest.raises(SandboxUnavailableError):
        e2b.make(["numpy"])("1")
    e2b.service.wait_empty()


def test_a_network_that_the_user_opens_stays_open(e2b: Cloud) -> None:
    port = e2b.service.url.rpartition(":")[2]
    program = f"import socket\nsocket.create_connection(('127.0.0.1', {port})).close()\n'reached'"
    assert e2b.make(["socket"], allow_internet_access=True)(program).output == "reached"
    assert created(e2b)[0]["allow_internet_access"] is True
    assert not e2b.service.asked("PUT .*")
    e2b.make(["socket"], network={"deny_out": ["10.0.0.0/8"]})(program)
    assert created(e2b)[1]["network"] == {"denyOut": ["10.0.0.0/8"]}


def test_an_agent_takes_e2b_api_key(e2b: Cloud) -> None:
    options = dict(e2b.service.options)
    model = ScriptedModel(["<code>\nfinal_answer(1)\n</code>"])
    key = options.pop("api_key")
    agent = CodeAgent(
        [], model, executor_type="e2b", executor_kwargs=options, e2b_api_key=key, verbosity_level=LogLevel.OFF
    )
    with agent:
        assert agent.run("One.") == 1
    assert issubclass(E2BExecutor, RemotePythonExecutor)


HOST = """
from tests.executors.cloud.conftest import cloud_of
class There: pass
service = There()
service.options = {options!r}
cloud_of("e2b", service).make()("x = 1")
"""


def test_an_interrupt_while_a_sandbox_is_created_removes_it(e2b: Cloud) -> None:
    e2b.service.faults.append(Fault(e2b.create, wait=2.0))
    script = HOST.format(options=e2b.service.options)
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, cwd=root) as host:
        assert eventually(lambda: e2b.service.asked(e2b.create))
        host.send_signal(signal.SIGINT)
        _, said = host.communicate(timeout=30)
    assert b"KeyboardInterrupt" in said
    assert len(e2b.service.machines) == 1
    e2b.service.wait_empty()
