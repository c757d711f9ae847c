"""Tool calls and their results in words, for models and readers that know no tool calls of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actloop.values.messages import ChatMessage, ChatMessageToolCall

_LONGEST_CALL = 200


def arguments_as_text(arguments: Any) -> str:
    """A call's arguments as the JSON text that services expect."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, default=str)


def calls_as_text(calls: Sequence[ChatMessageToolCall]) -> str:
    """Tool calls as a model writes them that knows no tool calls of its own: one JSON object a line."""
    return "\n".join(
        json.dumps({"name": call.function.name, "arguments": call.function.arguments}, ensure_ascii=False, default=str)
        for call in calls
    )


class CallsInWords:
    """Writes a conversation's calls as the model's own words, and their results as observations.

    Use one object for a conversation, since a result names the call that it belongs to.
    """

    def __init__(self) -> None:
        self._calls: dict[str, ChatMessageToolCall] = {}

    def of(self, message: ChatMessage) -> ChatMessage:
        """The message without calls and ids; itself where it has none."""
        if message.tool_calls:
            self._calls = {call.id: call for call in message.tool_calls}
            return replace(
                message, content=_with_text(message.content, calls_as_text(message.tool_calls)), tool_calls=None
            )
        if message.tool_call_id is None:
            return message
        label = "Observation:"
        call = self._calls.get(message.tool_call_id)
        if call is not None and len(self._calls) > 1:
            written = f"{call.function.name} {arguments_as_text(call.function.arguments)}"
            label = f"Observation of {written[:_LONGEST_CALL]}:"
        content = message.content
        content = f"{label}\n{content}" if isinstance(content, str) else _labelled(content or [], label)
        return replace(message, content=content, tool_call_id=None)


def in_words(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """A conversation whose calls and results are plain text, for requests that offer no tools."""
    words = CallsInWords()
    return [words.of(message) for message in messages]


def _with_text(content: str | list[dict[str, Any]] | None, text: str) -> str | list[dict[str, Any]]:
    if not content:
        return text
    if isinstance(content, str):
        return f"{content}\n{text}"
    return [*content, {"type": "text", "text": text}]


def _labelled(parts: list[dict[str, Any]], label: str) -> list[dict[str, Any]]:
    if parts and parts[0].get("type") == "text":
        return [{"type": "text", "text": f"{label}\n{parts[0]['text']}"}, *parts[1:]]
    return [{"type": "text", "text": label}, *parts]
