"""Programs in containers, with a real engine."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from actloop import CodeAgent, ScriptedModel
from actloop.executors.docker import DockerExecutor, LocalDockerExecutor
from actloop.executors.remote import RemotePythonExecutor
from actloop.executors.waiting import run_now

from ..driving import WAITER, Driver
from .kit import needs_engine

if TYPE_CHECKING:
    from collections.abc import Callable


@needs_engine
def test_programs_run_in_a_container_and_call_tools(make: Callable[..., DockerExecutor]) -> None:
    executor = make()
    executor.send_tools({"double": (2).__mul__})
    executor.send_variables({"x": 4})
    assert executor("print('hi')\ny = double(x)\ny").output == 8
    assert (executor("y + 1").output, executor("1").logs) == (9, "")
    assert executor.state["y"] == 8


@needs_engine
def test_an_agent_runs_its_programs_in_containers(engine_address: str, image: str) -> None:
    model = ScriptedModel(["<code>\nimport os\nfinal_answer(os.uname().nodename)\n</code>"])
    kwargs = {"image": image, "base_url": engine_address}
    with CodeAgent(
        [], model, executor_type="docker", executor_kwargs=kwargs, additional_authorized_imports=["os"]
    ) as agent:
        assert agent.run("Where are you?") == "sandbox"


@needs_engine
def test_names_of_smolagents(make: Callable[..., DockerExecutor]) -> None:
    assert LocalDockerExecutor is DockerExecutor
    executor = make(host="127.0.0.1", port=8888, build_new_image=True, container_run_kwargs={})
    assert isinstance(executor, RemotePythonExecutor)
    assert executor.run_code_raise_errors("1 + 1").output == 2
    executor.delete()
    with pytest.raises(ValueError, match="never as pickles"):
        make(allow_pickle=True)


@needs_engine
def test_snapshots_go_from_one_container_to_another(make: Callable[..., DockerExecutor]) -> None:
    executor = make()
    first, second = (run_now(executor.open_session(WAITER)) for _ in range(2))
    with contextlib.closing(first), contextlib.closing(second):
        Driver(first).value("def f(): return 42\nx = [1]")
        run_now(second.restore(run_now(first.snapshot(WAITER)), WAITER))
        assert Driver(second).value("f(), x") == (42, [1])
