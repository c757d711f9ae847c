"""Tools: called from wherever a program can, with every argument, through a runtime and by agents."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER, Driver

from actloop import CodeAgent, LogLevel, ScriptedModel, tool
from actloop.executors.session import Call
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable

MCP_SERVER = Path(__file__).parents[2] / "mcp" / "example_server.py"


def echo(*args: Any, **kwargs: Any) -> Any:
    return kwargs or (args[0] if len(args) == 1 else args)


def fail(kind: str, text: str) -> None:
    raise {"ValueError": ValueError, "KeyError": KeyError}.get(kind, RuntimeError)(text)


def mine(_: Any) -> str:
    return "mine"


def twice(number: int) -> int:
    return 2 * number


def stop(*_: Any) -> None:
    raise StopIteration


def test_a_tool_gets_its_arguments_and_its_result_comes_back(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, echo=echo)
    assert driver.value("echo(5)") == 5
    assert driver.value("echo(a=[1], b={'c': None})") == {"a": [1], "b": {"c": None}}
    assert driver.value("[echo(n) for n in range(20)]") == list(range(20))
    assert driver.value("def use(n):\n    return echo(n) + 1\nuse(1)") == 2
    assert len(driver.calls) == 23


def test_a_tool_that_fails_raises_at_the_call(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, fail=fail)
    code = "try:\n    fail('ValueError', 'so bad')\nexcept ValueError as error:\n    caught = str(error)\ncaught"
    assert driver.value(code) == "so bad"
    failure = driver.run("x = 1\nfail('KeyError', 'k')").failure
    assert failure is not None
    assert failure.kind == "KeyError"
    assert "line 2" in failure.traceback
    assert driver.value("x") == 1


def test_a_tool_takes_the_place_of_a_builtin(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, sum=mine)
    assert driver.value("sum([1, 2])") == "mine"


def test_nothing_runs_after_the_answer(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, final_answer=stop, echo=echo)
    code = "x = 1\ntry:\n    final_answer(x)\nexcept Exception:\n    x = 2\nx = 3\necho(x)"
    assert driver.run(code).failure is None
    assert [call.name for call in driver.calls] == ["final_answer"]
    assert driver.value("x") == 1


def test_tools_can_be_added_later(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, echo=echo)
    failure = driver.run("later()").failure
    assert failure is not None
    more = Driver(driver.session, later=lambda: "now")
    assert more.value("later()") == "now"


@pytest.mark.needs("async")
def test_asynchronous_tools_overlap(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, a_twice=twice)
    run_now(driver.session.start("import asyncio\nawait asyncio.gather(*[a_twice(n) for n in range(5)])", WAITER))
    calls: list[Call] = []
    while len(calls) < 5:  # none is answered before all are open
        event = run_now(driver.session.receive(WAITER))
        assert isinstance(event, Call)
        calls.append(event)
    for call in reversed(calls):
        driver.answer(call)
    assert driver.finish().output == [0, 2, 4, 6, 8]


@pytest.mark.needs("async")
def test_a_program_may_await_at_its_top(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, a_twice=twice)
    assert driver.value("async def four(n):\n    return await a_twice(await a_twice(n))\nx = await four(3)\nx") == 12


@pytest.mark.needs("threads")
def test_tools_are_called_from_threads(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, echo=echo)
    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(echo, range(40)))
    found
    """
    assert driver.value(textwrap.dedent(code)) == list(range(40))
    assert all(call.concurrent for call in driver.calls)


# ---- agents


@tool
def weigh(thing: str, unit: str = "kg") -> str:
    """Weighs a thing.

    Args:
        thing: What to weigh.
        unit: In what.
    """
    return f"{thing}: {len(thing)} {unit}"


@tool
async def look_up(word: str) -> str:
    """Looks a word up.

    Args:
        word: The word.
    """
    await asyncio.sleep(0.001)
    return word.upper()


def agent_of(executor: Any, replies: list[str], tools: list[Any], **options: Any) -> CodeAgent:
    programs = [f"<code>\n{reply}\n</code>" for reply in replies]
    given: dict[str, Any] = {"verbosity_level": LogLevel.OFF, "journal": None} | options
    return CodeAgent(tools, ScriptedModel(programs), executor=executor, **given)


def test_an_agent_keeps_variables_from_step_to_step(make: Callable[..., Any]) -> None:
    replies = ["w = weigh('pea', unit='g')\nprint(w)", "final_answer([w, weigh(thing='bean')])"]
    with agent_of(make(), replies, [weigh]) as agent:
        assert agent.run("go") == ["pea: 3 g", "bean: 4 kg"]
        assert "pea: 3 g" in str(getattr(agent.memory.steps[1], "observations", ""))


def test_variables_of_a_task_are_there(make: Callable[..., Any]) -> None:
    with agent_of(make(), ["final_answer(sum(numbers) + extra['n'])"], []) as agent:
        assert agent.run("go", additional_args={"numbers": [1, 2], "extra": {"n": 4}}) == 7


async def test_an_agent_runs_on_an_event_loop(make: Callable[..., Any]) -> None:
    agents = [agent_of(make(), ["final_answer(weigh('x' * n))"], [weigh]) for _ in range(3)]
    try:
        answers = await asyncio.gather(
            *[agent.arun("go", additional_args={"n": n}) for n, agent in enumerate(agents, 1)]
        )
    finally:
        for agent in agents:
            agent.cleanup()
    assert answers == ["x: 1 kg", "xx: 2 kg", "xxx: 3 kg"]


@pytest.mark.needs("async")
def test_an_asynchronous_tool_of_an_agent(make: Callable[..., Any]) -> None:
    with agent_of(make(), ["final_answer(await look_up('a') + await look_up(word='b'))"], [look_up]) as agent:
        assert agent.run("go") == "AB"


def test_a_managed_agent_is_called_like_a_tool(make: Callable[..., Any]) -> None:
    helper = agent_of(make(), ["final_answer('seven ' + weigh('dwarf'))"], [weigh], name="helper", description="Helps.")
    manager = agent_of(
        make(), ["found = helper(task='how many?')\nfinal_answer('seven dwarf' in found)"], [], managed_agents=[helper]
    )
    with manager, helper:
        assert manager.run("go") is True


@pytest.mark.needs("mcp")
def test_tools_of_an_mcp_server(make: Callable[..., Any]) -> None:
    from actloop import MCPClient
    from mcp import StdioServerParameters

    server = StdioServerParameters(command=sys.executable, args=[str(MCP_SERVER), "stdio"])
    with (
        MCPClient(server, structured_output=True) as tools,
        agent_of(make(), ["final_answer([add(a=2, b=3)['result'], add(1)['result']])"], tools) as agent,
    ):
        assert agent.run("go") == [5, 2]
