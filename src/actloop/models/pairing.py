"""Tool calls with their answers, in the order that services insist on.

A service that knows tool calls refuses a conversation in which a call has no answer, an answer no call, or something
stands between them. Memories hold such things: steps that broke off, that were cut out, that brought images.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actloop.values.calls import in_words
from actloop.values.messages import ChatMessage, MessageRole

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_RESULT = "(no result was kept)"
"""Stands for the answer of a call that has none."""

_OWN = (MessageRole.ASSISTANT, MessageRole.TOOL_CALL)


def paired(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The conversation with the answer of each call right behind it.

    A call without an answer gets one that says so; an answer without its call becomes plain words; so do calls whose
    ids do not tell them apart. The messages given are not changed.
    """
    ordered: list[ChatMessage] = []
    position = 0
    while position < len(messages):
        message = messages[position]
        position += 1
        if not message.tool_calls:
            ordered.append(_unlinked(message))
            continue
        end = position
        while end < len(messages) and messages[end].role not in _OWN:
            end += 1
        ordered.extend(_exchange(message, messages[position:end]))
        position = end
    return ordered


def _exchange(asking: ChatMessage, rest: Sequence[ChatMessage]) -> list[ChatMessage]:
    """A message with calls, their answers, and what else came before the model's next turn."""
    calls = asking.tool_calls or []
    ids = [call.id for call in calls]
    if "" in ids or len(set(ids)) < len(ids):
        return in_words([asking, *rest])
    answers: dict[str, ChatMessage] = {}
    others: list[ChatMessage] = []
    for message in rest:
        if message.tool_call_id in ids and message.tool_call_id not in answers:
            answers[message.tool_call_id] = message
        else:
            others.append(_unlinked(message))
    missing = [ChatMessage(MessageRole.TOOL_RESPONSE, NO_RESULT, tool_call_id=id_) for id_ in ids if id_ not in answers]
    answers.update({str(message.tool_call_id): message for message in missing})
    return [asking, *(answers[id_] for id_ in ids), *others]


def _unlinked(message: ChatMessage) -> ChatMessage:
    return message if message.tool_call_id is None else replace(message, tool_call_id=None)
