"""A conversation as the services take it that know blocks: Anthropic's form, which Bedrock's follows one to one.

System prompts apart, the user and the model in turn, beginning with the user, each turn a list of blocks; a model's
calls are blocks of its turn, and all their results are blocks of the user's next one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from actloop.models.base import parse_json_if_needed
from actloop.models.conversion import as_messages, image_url, tool_role_conversions
from actloop.models.pairing import paired
from actloop.values.calls import CallsInWords, in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actloop.values.messages import ChatMessage, ChatMessageToolCall

Block = dict[str, Any]

EMPTY_RESULT = "(nothing)"
BEGIN = "Begin."
"""The user's first word where a conversation has none."""

_BAD_ID = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_ID = 64
_THOUGHTS = ("thinking", "redacted_thinking")


def turns_of(
    messages: Sequence[ChatMessage | dict[str, Any]],
    role_conversions: Mapping[str, str] | None = None,
    native_tool_calls: bool = True,
    needs_thoughts: bool = False,
) -> tuple[list[str], list[dict[str, Any]]]:
    """The system prompts and the turns.

    Nothing that was sent for a shorter conversation changes for a longer one, so that what a service remembers of it
    holds.

    Args:
        messages: The conversation; it is not changed.
        role_conversions: Roles to send instead of others.
        native_tool_calls: Send calls and their results as blocks; else as words.
        needs_thoughts: The service refuses calls without the signed thoughts before them; such calls are sent as words.
    """
    conversions = {**tool_role_conversions, **(role_conversions or {})}
    said = as_messages(messages)
    said = paired(said) if native_tool_calls else in_words(said)
    if needs_thoughts:
        said = _without_unthought_calls(said)
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for message in said:
        role = str(conversions.get(message.role, message.role))
        if role == "system":
            if not turns:
                system.extend(filter(str.strip, [message.text]))
                continue
            role = "user"  # later instructions stay in their place: before the turns they would spoil what is cached
        if blocks := _blocks(message):
            if not turns or turns[-1]["role"] != role:
                turns.append({"role": role, "content": []})
            turns[-1]["content"].extend(blocks)
    if not turns and system:
        return [], [{"role": "user", "content": [{"type": "text", "text": text} for text in system]}]
    if not turns or turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": BEGIN}]})
    last = turns[-1]["content"][-1]
    if turns[-1]["role"] == "assistant" and last["type"] == "text":
        last["text"] = last["text"].rstrip()  # a reply that is to be continued may not end in white space
    return system, turns


def _without_unthought_calls(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Calls as words from the first one on that lacks its thoughts, until the user speaks again."""
    kept: list[ChatMessage] = []
    words = CallsInWords()
    calling = unthought = False
    for message in messages:
        if message.tool_calls:
            if not calling:
                unthought = not _thoughts(message)
            calling = True
        elif message.tool_call_id is None and message.role == "user":
            calling = unthought = False
        kept.append(words.of(message) if unthought else message)
    return kept


def _blocks(message: ChatMessage) -> list[Block]:
    blocks = _content(message)
    if message.tool_call_id is not None:
        content = blocks or [{"type": "text", "text": EMPTY_RESULT}]
        return [{"type": "tool_result", "tool_use_id": _id(message.tool_call_id), "content": content}]
    if message.tool_calls:
        return [*_thoughts(message), *blocks, *map(_call, message.tool_calls)]
    return blocks


def _content(message: ChatMessage) -> list[Block]:
    content = message.content
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    blocks: list[Block] = []
    for part in content or ():
        match part["type"]:
            case "text":
                if str(part["text"]).strip():
                    blocks.append({"type": "text", "text": part["text"]})
            case "image":
                blocks.append(_image(image_url(part["image"])))
            case "image_url":
                blocks.append(_image(str(cast("Any", part["image_url"])["url"])))
            case _:
                blocks.append(part)
    return blocks


def _image(url: str) -> Block:
    head, found, data = url.partition(";base64,")
    if found and head.startswith("data:"):
        source = {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}
    else:
        source = {"type": "url", "url": url}
    return {"type": "image", "source": source}


def _thoughts(message: ChatMessage) -> list[Block]:
    return [block for block in message.reasoning_details or () if block.get("type") in _THOUGHTS]


def _call(call: ChatMessageToolCall) -> Block:
    arguments: object = parse_json_if_needed(call.function.arguments)
    given: dict[str, Any] = {"arguments": arguments} if arguments else {}
    if isinstance(arguments, dict):
        given = cast("dict[str, Any]", arguments)
    return {"type": "tool_use", "id": _id(call.id), "name": call.function.name, "input": given}


def _id(identity: str) -> str:
    """An id that every service takes; those of another service may hold other characters."""
    return _BAD_ID.sub("_", identity)[:_LONGEST_ID]
