"""Answers as Anthropic's service gives them."""

import json
from typing import Any

from .conftest import Answer, status


def whole(*blocks: dict[str, Any], usage: Any = None, reason: str = "end_turn") -> Answer:
    body: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(blocks),
        "stop_reason": reason,
        "stop_sequence": None,
    }
    if usage:
        body["usage"] = usage
    return status(200, body)


def event(kind: str, **body: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **body})}\n\n"


def streamed(*blocks: list[dict[str, Any]], usage: Any = None, reason: str = "end_turn") -> list[str]:
    """Events of a reply: each block is its beginning and its deltas."""
    begun: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m"}
    if usage:
        begun["usage"] = {**usage, "output_tokens": 1}
    events = [event("message_start", message=begun), event("ping")]
    for index, (start, *deltas) in enumerate(blocks):
        events.append(event("content_block_start", index=index, content_block=start))
        events.extend(event("content_block_delta", index=index, delta=delta) for delta in deltas)
        events.append(event("content_block_stop", index=index))
    ended = {"usage": {"output_tokens": usage["output_tokens"]}} if usage else {}
    events.append(event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, **ended))
    events.append(event("message_stop"))
    return events


def text_block(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": ""}, *({"type": "text_delta", "text": letter} for letter in text)]


def call_block(identity: str, name: str, arguments: str) -> list[dict[str, Any]]:
    parts = [arguments[:4], arguments[4:]] if arguments != "{}" else [""]
    start: dict[str, Any] = {"type": "tool_use", "id": identity, "name": name, "input": {}}
    return [start, *({"type": "input_json_delta", "partial_json": part} for part in parts)]


def thinking_block(thoughts: str, signature: str) -> list[dict[str, Any]]:
    start = {"type": "thinking", "thinking": "", "signature": ""}
    pieces = [{"type": "thinking_delta", "thinking": letter} for letter in thoughts]
    return [start, *pieces, {"type": "signature_delta", "signature": signature}]
