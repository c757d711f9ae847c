"""A tool-calling agent with scripted replies and real tools."""

from __future__ import annotations

from typing import Any

from actloop import ActionStep, ChatMessage, LogLevel, MemoryJournal, MessageRole, ScriptedModel, tool
from actloop.agents.tool_calling import ToolCallingAgent
from actloop.values.messages import ChatMessageToolCall, ChatMessageToolCallFunction


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers.

    Args:
        a: One.
        b: The other.
    """
    return a + b


@tool
def fail(text: str) -> str:
    """Raises.

    Args:
        text: What it says.
    """
    raise ValueError(text)


class Native(ScriptedModel):
    """A scripted model of a service with tool calls of its own."""

    native_tool_calls = True


def call(name: str, id: str = "", /, **arguments: Any) -> ChatMessageToolCall:
    return ChatMessageToolCall(ChatMessageToolCallFunction(arguments, name), id)


def calls(*made: ChatMessageToolCall, text: str | None = None) -> ChatMessage:
    return ChatMessage(MessageRole.ASSISTANT, text, tool_calls=list(made))


def answer(value: Any) -> ChatMessage:
    return calls(call("final_answer", answer=value))


def agent(replies: Any, tools: list[Any] | None = None, *, cls: Any = Native, **options: Any) -> ToolCallingAgent:
    options = {"verbosity_level": LogLevel.OFF, "journal": MemoryJournal()} | options
    return ToolCallingAgent(tools if tools is not None else [add, fail], cls(replies), **options)


def asked(one: ToolCallingAgent) -> list[ChatMessage]:
    """The messages of the latest request."""
    assert isinstance(one.model, ScriptedModel)
    return one.model.requests[-1].messages


def action_steps(one: Any) -> list[ActionStep]:
    return [step for step in one.memory.steps if isinstance(step, ActionStep)]
