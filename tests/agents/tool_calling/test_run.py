"""What a tool-calling agent asks for, and what its stream gives."""

from __future__ import annotations

from typing import Any

import pytest

from actloop import (
    ActionOutput,
    ActionStep,
    AgentParsingError,
    ChatMessage,
    FinalAnswerStep,
    MessageRole,
    ScriptedModel,
    ToolCall,
)
from actloop.agents.tool_calling import ToolCallingAgent
from actloop.memory.steps import ToolOutput
from actloop.values.messages import ChatMessageStreamDelta

from .kit import action_steps, agent, answer, asked, call, calls


def test_calls_and_an_answer() -> None:
    one = agent([calls(call("add", "x", a=1, b=2), text="I add."), answer(3)])
    assert one.run("add") == 3
    first, last = action_steps(one)
    assert first.tool_calls == [ToolCall("add", {"a": 1, "b": 2}, "x")]
    assert first.observations == "3"
    assert last.is_final_answer
    assert last.action_output == 3
    turn, result = asked(one)[-2:]
    assert (turn.role, turn.text) == (MessageRole.ASSISTANT, "I add.")
    assert [c.id for c in turn.tool_calls or ()] == ["x"]
    assert (result.role, result.text, result.tool_call_id) == (MessageRole.TOOL_RESPONSE, "3", "x")


async def test_the_four_faces_of_a_run() -> None:
    replies: list[Any] = [calls(call("add", a=1, b=2)), answer(3)]
    one = agent(replies)
    assert await one.arun("add") == 3
    items = [item async for item in agent(replies).astream("add")]
    assert [type(item) for item in items] == [type(item) for item in agent(replies).run("add", stream=True)]
    kinds = [ToolCall, ToolOutput, ActionOutput, ActionStep]
    assert [type(item) for item in items] == [*kinds, *kinds, FinalAnswerStep]


def test_items_of_the_stream() -> None:
    items = list(agent([calls(call("add", "x", a=1, b=2)), answer(3)]).run("add", stream=True))
    made, result, output = items[:3]
    assert made == ToolCall("add", {"a": 1, "b": 2}, "x")
    assert isinstance(result, ToolOutput)
    assert (result.id, result.output, result.observation, result.tool_call) == ("x", 3, "3", made)
    assert output == ActionOutput(None, is_final_answer=False)
    assert items[-3] == ActionOutput(3, is_final_answer=True)


def test_streamed_replies_hand_out_their_pieces() -> None:
    one = agent([calls(call("add", a=1, b=2), text="I add them."), answer(3)], stream_outputs=True)
    items = list(one.run("add", stream=True))
    deltas = [item for item in items if isinstance(item, ChatMessageStreamDelta)]
    assert "".join(delta.content or "" for delta in deltas) == "I add them."
    assert any(delta.tool_calls for delta in deltas)
    assert isinstance(items[-1], FinalAnswerStep)
    assert items[-1].output == 3


def test_streaming_needs_a_model_that_streams() -> None:
    class Mute:
        def generate(self, messages: Any, **kwargs: Any) -> ChatMessage:
            return answer(1)

    with pytest.raises(ValueError, match="generate_stream"):
        ToolCallingAgent([], Mute(), stream_outputs=True)  # pyright: ignore[reportArgumentType]


def test_text_replies_are_shown_in_the_form_that_is_asked_for() -> None:
    one = agent(
        ["I will add.\n```python\nadd(1, 2)\n```", '{"name": "final_answer", "arguments": 3}'], cls=ScriptedModel
    )
    assert one.run("add") == 3
    turn, _ = asked(one)[-2:]
    assert turn.text == "Thought: I will add."
    assert [c.function.arguments for c in turn.tool_calls or ()] == [{"a": 1, "b": 2}]
    system, task = asked(one)[0].text, one.memory.steps[0].to_messages()[0].text
    assert '{"name"' in system
    assert "add: Adds two numbers." in task


def test_a_native_model_is_offered_the_tools_and_told_of_no_other_form() -> None:
    one = agent([answer(1)])
    one.run("x")
    assert isinstance(one.model, ScriptedModel)
    assert one.model.requests[0].tools == ["add", "fail", "final_answer"]
    assert '{"name"' not in "".join(message.text for message in asked(one))


def test_a_reply_without_a_call_is_answered_with_what_to_write() -> None:
    one = agent(["It is 3.", answer(3)])
    assert one.run("add") == 3
    assert isinstance(action_steps(one)[0].error, AgentParsingError)
    assert "Call one of the tools" in asked(one)[-1].text
