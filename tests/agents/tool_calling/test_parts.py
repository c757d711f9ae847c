"""Single steps and calls, managed agents, and models of the user."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actloop import (
    ActionStep,
    AgentParsingError,
    ChatMessage,
    CodeAgent,
    LogLevel,
    MemoryJournal,
    MessageRole,
    ScriptedModel,
    ToolCall,
)
from actloop.agents.tool_calling import ToolCallingAgent
from actloop.errors import AgentToolCallError, AgentToolExecutionError
from actloop.memory.steps import ToolOutput
from actloop.values.usage import Timing

from .kit import action_steps, add, agent, answer, asked, call, calls


def test_execute_tool_call() -> None:
    one = agent([answer(1)])
    one.run("go", additional_args={"two": 2})
    assert one.execute_tool_call("add", {"a": 1, "b": "two"}) == 3
    with pytest.raises(AgentToolExecutionError, match="no tool named 'nothing'"):
        one.execute_tool_call("nothing", {})
    with pytest.raises(AgentToolCallError, match="'b'"):
        one.execute_tool_call("add", {"a": 1})
    with pytest.raises(AgentToolExecutionError, match=r"fail.: ValueError: oh"):
        one.execute_tool_call("fail", "oh")


def test_process_tool_calls() -> None:
    one = agent([])
    step = ActionStep(1, Timing(0.0))
    items = list(one.process_tool_calls(calls(call("add", "a", a=1, b=2), call("fail", "b", text="x")), step))
    assert [type(item) for item in items] == [ToolCall, ToolCall, ToolOutput, ToolOutput]
    assert step.observations == "3\nError: ValueError: x"
    assert [made.id for made in step.tool_calls or ()] == ["a", "b"]
    with pytest.raises(AgentParsingError):
        list(one.process_tool_calls(ChatMessage(MessageRole.ASSISTANT, "hi"), step))


def test_one_step_at_a_time() -> None:
    one = agent([calls(call("add", a=1, b=2)), answer(3)])
    one.memory.steps.append(step := ActionStep(1, Timing(0.0)))
    one.memory.steps.clear()
    assert one.step(step) is None
    assert step.observations == "3"
    one.memory.steps.append(step)
    assert one.step(ActionStep(2, Timing(0.0))) == 3


def test_tools_and_managed_agents() -> None:
    helper = agent([], name="helper", description="Helps.")
    one = agent([], managed_agents=[helper])
    assert [item.name for item in one.tools_and_managed_agents] == ["add", "fail", "final_answer", "helper"]


@pytest.mark.parametrize("face", ["run", "arun"])
def test_a_managed_agent_called_by_messages_several_times_at_once(face: str) -> None:
    def reply(messages: list[ChatMessage]) -> str:
        task = next(m.text for m in reversed(messages) if "number=" in m.text)
        return f"<code>\nfinal_answer({task.rpartition('number=')[2].split()[0]} * extra)\n</code>"

    with CodeAgent(
        [],
        ScriptedModel(reply),
        name="helper",
        description="Multiplies.",
        verbosity_level=LogLevel.OFF,
        journal=MemoryJournal(),
        code_block_tags=("<code>", "</code>"),
    ) as helper:
        made = [call("helper", str(n), task=f"number={n} please", additional_args={"extra": "ten"}) for n in (1, 2, 3)]
        one = agent([calls(*made), answer(6)], [], managed_agents=[helper])
        options: dict[str, Any] = {"additional_args": {"ten": 10}, "return_full_result": True}
        result = one.run("go", **options) if face == "run" else asyncio.run(one.arun("go", **options))
        told = [message.text for message in asked(one)[-3:]]
        assert [text.split()[-1] for text in told] == ["10", "20", "30"]
        own = sum(step.token_usage.total_tokens for step in action_steps(one) if step.token_usage)
        assert result.token_usage.total_tokens > own


def test_a_custom_model_without_any_flag_is_offered_the_tools() -> None:
    offered: list[list[str]] = []

    class Own:
        model_id = "own"

        def generate(
            self,
            messages: Any,
            stop_sequences: Any = None,
            response_format: Any = None,
            tools_to_call_from: Any = None,
            **kwargs: Any,
        ) -> ChatMessage:
            offered.append([tool.name for tool in tools_to_call_from])
            return answer(4)

    one = ToolCallingAgent([add], Own(), verbosity_level=LogLevel.OFF, journal=None)  # pyright: ignore[reportArgumentType]
    assert one.run("go") == 4
    assert offered == [["add", "final_answer"]]
