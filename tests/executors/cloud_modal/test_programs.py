"""Programs in sandboxes of Modal's, over the service's own wire, with real processes behind it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from modal_proto import api_pb2
from tests.executors.cloud_modal.machines import processes_of
from tests.executors.driving import WAITER, Driver
from tests.waiting import eventually

from actloop import CodeAgent, LogLevel, ScriptedModel, tool
from actloop.executors.reaper import REAPER
from actloop.executors.session import SandboxLimits
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.executors.cloud_modal.server import Account, ModalServer

    from actloop.executors.modal import ModalExecutor

Maker = "Callable[..., ModalExecutor]"

USED = {
    *("AppGetOrCreate", "EnvironmentGetOrCreate", "ImageGetOrCreate", "ImageJoinStreaming", "AuthTokenGet"),
    *("SandboxCreateV2", "SandboxTerminateV2", "TaskExecStart", "TaskExecStdinWrite", "TaskExecStdioRead"),
}


@tool
def double(number: int) -> int:
    """Doubles a number.

    Args:
        number: Any number.
    """
    return 2 * number


def program(code: str) -> str:
    return f"<code>\n{code}\n</code>"


def quiet_agent(executor: Any, replies: list[str], **options: Any) -> CodeAgent:
    return CodeAgent(
        options.pop("tools", []),
        ScriptedModel(list(map(program, replies))),
        executor=executor,
        verbosity_level=LogLevel.OFF,
        journal=None,
        **options,
    )


def test_variables_prints_and_the_last_value(make: Callable[..., ModalExecutor], account: Account) -> None:
    with make() as executor:
        assert executor("x = [1]\nprint('begun')\nx").output == [1]
        done = executor("x.append(2)\nprint('more')\nx")
        assert (done.output, done.logs, done.is_final_answer) == ([1, 2], "more\n", False)
        assert executor.state["x"] == [1, 2]
        with pytest.raises(ValueError, match="ZeroDivisionError"):
            executor("1 / 0")
        assert executor("x").output == [1, 2]
    assert set(account.calls) <= USED
    assert len(account.machines) == 1


def test_each_session_has_a_sandbox_of_its_own_that_ends_with_it(
    make: Callable[..., ModalExecutor], account: Account
) -> None:
    executor = make()
    sessions = [run_now(executor.open_session(WAITER)) for _ in range(2)]
    drivers = [Driver(session) for session in sessions]
    assert [driver.value(f"x = {number}\nx") for number, driver in enumerate(drivers)] == [0, 1]
    assert len(account.alive) == 2
    sessions[0].close()
    assert eventually(lambda: len(account.alive) == 1 and not processes_of(account.machines[0].id))
    assert [machine.why_over for machine in account.machines] == ["terminated", ""]
    assert drivers[1].value("x") == 1
    sessions[1].close()


def test_an_agent_with_tools_and_a_managed_agent(make: Callable[..., ModalExecutor]) -> None:
    executor = make()
    helper = quiet_agent(executor, ["final_answer(double(20))"], tools=[double], name="helper", description="Helps.")
    replies = ["x = double(number=1)", "final_answer('40' in helper(task='twenty twice') and x == 2)"]
    with quiet_agent(executor, replies, tools=[double], managed_agents=[helper]) as agent:
        assert agent.run("go") is True


async def test_under_asyncio_nothing_blocks_and_nothing_warns(make: Callable[..., ModalExecutor]) -> None:
    agent = quiet_agent(make(), ["final_answer(double(21))"], tools=[double])
    slept = 0

    async def beat() -> None:
        nonlocal slept
        while True:
            await asyncio.sleep(0.005)
            slept += 1

    beating = asyncio.create_task(beat())
    assert await agent.arun("go") == 42
    beating.cancel()
    agent.cleanup()
    assert slept > 3


def test_what_the_service_is_asked_for(make: Callable[..., ModalExecutor], account: Account) -> None:
    with make(["numpy", "json.decoder", "PIL"], app_name="my-app", port=1234) as executor:
        executor("1")
    asked = account.machines[0].definition
    assert account.apps == ["my-app"]
    assert asked.network_access.network_access_type == api_pb2.NetworkAccess.BLOCKED
    assert not asked.open_ports.ports
    assert (asked.timeout_secs, asked.idle_timeout_secs) == (3600, 60)
    assert (asked.resources.memory_mb, asked.resources.memory_mb_max) == (256, 512 + 128)
    commands = " ".join(command for image in account.images.values() for command in image.dockerfile_commands)
    assert "numpy" in commands
    assert "pillow" in commands
    assert "json" not in commands


def test_options_of_the_service_come_before_ours(make: Callable[..., ModalExecutor], account: Account) -> None:
    import modal

    images: Any = modal.Image
    image = images.from_registry("python:3.13-slim").env({"MINE": "1"})
    wanted: dict[str, Any] = {"timeout": 120, "cpu": (0.5, 2.0), "memory": (512, 1024), "region": "eu", "image": image}
    with make([], {**wanted, "env": {"MODE": "test"}, "tags": {"team": "a"}}) as executor:
        assert executor.limits.memory == (1024 - 128) << 20
        executor("1")
    machine = account.machines[0]
    asked = machine.definition
    assert asked.timeout_secs == 120
    assert (asked.resources.milli_cpu, asked.resources.milli_cpu_max) == (500, 2000)
    assert (asked.resources.memory_mb, asked.resources.memory_mb_max) == (512, 1024)
    assert list(asked.scheduler_placement.regions) == ["eu"]
    assert machine.tags == {"team": "a"}
    assert any("python:3.13-slim" in " ".join(image.dockerfile_commands) for image in account.images.values())


def test_a_gpu_takes_the_service_older_way(make: Callable[..., ModalExecutor], account: Account) -> None:
    with make([], {"gpu": "T4"}) as executor:
        assert executor("6 * 7").output == 42
    assert account.machines[0].definition.resources.gpu_config.gpu_type == "T4"
    assert REAPER.flush(60)
    older = {"SandboxCreate", "SandboxGetTaskId", "TaskGetCommandRouterAccess", "SandboxTerminate"}
    assert older <= set(account.calls) <= USED | older


def test_one_image_and_one_app_for_all_sessions_of_an_executor(
    make: Callable[..., ModalExecutor], account: Account
) -> None:
    executor = make()
    for _ in range(3):
        run_now(executor.open_session(WAITER)).close()
    assert account.apps == ["actloop-executor"]
    assert len(account.images) == 1


def test_packages_that_are_asked_for_later_come_with_the_next_sandbox(
    make: Callable[..., ModalExecutor], account: Account
) -> None:
    with make() as executor:
        executor("1")
        assert executor.install_packages(["numpy"]) == ["numpy"]
        assert executor("import numpy\nint(numpy.arange(3).sum())").output == 3
    assert len(account.machines) == 2
    assert any("numpy" in " ".join(image.dockerfile_commands) for image in account.images.values())


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ("OPEN", {"allow_internet_access": True}),
        ("OPEN", {"create_kwargs": {"block_network": False}}),
        ("ALLOWLIST", {"create_kwargs": {"outbound_domain_allowlist": ["example.org"]}}),
    ],
)
def test_the_network_is_open_only_when_that_is_said(
    make: Callable[..., ModalExecutor], account: Account, asked: str, options: dict[str, Any]
) -> None:
    with make(**options) as executor:
        executor("1")
    access = account.machines[0].definition.network_access.network_access_type
    assert api_pb2.NetworkAccess.NetworkAccessType.Name(access) == asked


def test_requests_leave_by_the_hosts_of_allow_hosts_only(
    make: Callable[..., ModalExecutor], account: Account, server: ModalServer
) -> None:
    host = server.url.removeprefix("http://")
    code = f"""
import urllib.request
def ask(address):
    try:
        return urllib.request.urlopen(address, timeout=10).status
    except OSError as error:
        return getattr(error, "code", None) or type(error).__name__
ask("http://{host}/"), ask("http://127.0.0.1:9/")
"""
    with make(allow_hosts=[host]) as executor:
        allowed, other = executor(code).output
    assert allowed != 403
    assert other == 403
    assert account.machines[0].definition.network_access.network_access_type == api_pb2.NetworkAccess.BLOCKED
    for options in ({"create_kwargs": {"block_network": False}}, {"allow_internet_access": True}):
        with pytest.raises(ValueError, match="allow_hosts"):
            make(allow_hosts=[host], **options)


def test_limits_that_cannot_be_kept_are_refused(make: Callable[..., ModalExecutor]) -> None:
    with pytest.raises(ValueError, match="disk"):
        make(limits=SandboxLimits(disk=1 << 20))
    with pytest.raises(ValueError, match="twice"):
        make([], {"memory": 512}, limits=SandboxLimits(memory=1 << 30))
    assert make([], {"memory": 512}).limits.memory is None
    with pytest.raises(ValueError, match="pickle"):
        make(allow_pickle=True)


def test_values_larger_than_any_message_of_the_service(make: Callable[..., ModalExecutor]) -> None:
    with make() as executor:
        executor.send_variables({"data": bytes(8 << 20)})
        assert len(executor("data + data").output) == 16 << 20


def test_processor_time_is_limited(make: Callable[..., ModalExecutor]) -> None:
    with make(limits=SandboxLimits(wall=30.0, cpu=0.5)) as executor, pytest.raises(ValueError, match="processor"):
        executor("while True:\n    pass")


def test_the_service_says_nothing_into_programs_output(
    make: Callable[..., ModalExecutor], capfd: pytest.CaptureFixture[str]
) -> None:
    with make() as executor:
        assert executor("print('mine')").logs == "mine\n"
    assert capfd.readouterr() == ("", "")
