"""Messages to and from models, and the deltas of a streamed reply."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable


class MessageRole(StrEnum):
    """Who speaks in a message. Tool roles are converted where a service does not know them."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL_CALL = "tool-call"
    TOOL_RESPONSE = "tool-response"

    @classmethod
    def roles(cls) -> list[str]:
        """Every role's name."""
        return [role.value for role in cls]


_ROLES = frozenset(MessageRole)


@dataclass
class ChatMessageToolCallFunction:
    """Name and arguments of a requested call; arguments are a mapping, or the model's own text."""

    arguments: Any
    name: str
    description: str | None = None


@dataclass
class ChatMessageToolCall:
    """A tool call that a model asked for."""

    function: ChatMessageToolCallFunction
    id: str
    type: str = "function"

    def __str__(self) -> str:
        return f"Call: {self.id}: Calling {self.function.name} with arguments: {self.function.arguments}"


@dataclass
class ChatMessageToolCallStreamDelta:
    """A piece of a tool call in a streamed reply; pieces with the same `index` belong together."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: ChatMessageToolCallFunction | None = None


@dataclass
class ChatMessageStreamDelta:
    """A piece of a streamed reply. `token_usage`, where present, counts tokens since the last delta that had one."""

    content: str | None = None
    tool_calls: list[ChatMessageToolCallStreamDelta] | None = None
    token_usage: TokenUsage | None = None
    reasoning_content: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None


@dataclass
class ChatMessage:
    """One message of a conversation with a model.

    Attributes:
        role: Who speaks.
        content: Text, or a list of parts such as `{"type": "text", "text": ...}` and `{"type": "image", "image": ...}`.
        tool_calls: Calls that the model asked for.
        raw: The service's own reply object, if any; never stored or sent.
        token_usage: Tokens of the request and of the reply; None where the service does not report them.
        reasoning_content: Text of the model's reasoning, where the service returns it apart from the reply.
        tool_call_id: Id of the call that a `TOOL_RESPONSE` message answers; None where it answers a program.
        reasoning_details: The service's own blocks of reasoning, signed and perhaps unreadable; plain data. A service
            that sends them wants them back, unchanged, with the tool calls that came after them.
    """

    role: MessageRole
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[ChatMessageToolCall] | None = None
    raw: Any | None = None
    token_usage: TokenUsage | None = None
    reasoning_content: str | None = None
    tool_call_id: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        if type(self.role) is str and self.role in _ROLES:
            self.role = MessageRole(self.role)  # models of users' own write it as plain text
        if self.tool_calls is not None:
            self.tool_calls = [_tool_call(call) for call in cast("Iterable[Any]", self.tool_calls)]

    @property
    def text(self) -> str:
        """The message's text alone, its text parts joined by newlines."""
        if isinstance(self.content, list):
            return "\n".join(str(part["text"]) for part in self.content if part.get("type") == "text")
        return self.content or ""

    def dict(self) -> dict[str, Any]:
        """The message as plain data (images stay objects)."""
        data: dict[str, Any] = {
            "role": self.role,
            "content": self.content,
            "tool_calls": [
                {
                    "function": {
                        "arguments": call.function.arguments,
                        "name": call.function.name,
                        "description": call.function.description,
                    },
                    "id": call.id,
                    "type": call.type,
                }
                for call in self.tool_calls
            ]
            if self.tool_calls is not None
            else None,
            "raw": self.raw,
            "token_usage": self.token_usage.dict() if self.token_usage else None,
        }
        if self.reasoning_content is not None:
            data["reasoning_content"] = self.reasoning_content
        if self.tool_call_id is not None:
            data["tool_call_id"] = self.tool_call_id
        if self.reasoning_details is not None:
            data["reasoning_details"] = self.reasoning_details
        return data

    def model_dump_json(self) -> str:
        """The message as JSON, without `raw`; what JSON does not know becomes its `str`."""
        return json.dumps({k: v for k, v in self.dict().items() if k != "raw"}, default=str)

    @classmethod
    def from_dict(
        cls, data: dict[str, Any], raw: Any | None = None, token_usage: TokenUsage | None = None
    ) -> ChatMessage:
        """A message from plain data as `dict` gives it.

        Raises:
            ValueError: The role is not one of `MessageRole`.
        """
        usage = data.get("token_usage")
        if token_usage is None and isinstance(usage, dict):
            counts = cast("dict[str, int]", usage)
            token_usage = TokenUsage(counts["input_tokens"], counts["output_tokens"])
        return cls(
            role=MessageRole(data["role"]),
            content=data.get("content"),
            tool_calls=data.get("tool_calls"),
            raw=raw,
            token_usage=token_usage,
            reasoning_content=data.get("reasoning_content"),
            tool_call_id=data.get("tool_call_id"),
            reasoning_details=data.get("reasoning_details"),
        )

    def render_as_markdown(self) -> str:
        """Text and tool calls for a person to read."""
        calls = [
            json.dumps({"tool": call.function.name, "arguments": call.function.arguments}, default=str)
            for call in self.tool_calls or ()
        ]
        return self.text + "\n".join(calls)


def _tool_call(value: Any) -> ChatMessageToolCall:
    """Accepts our own class, a mapping, or an SDK's object."""
    if isinstance(value, ChatMessageToolCall):
        return value
    for method in ("model_dump", "dict"):
        if hasattr(value, method):
            value = getattr(value, method)()
            break
    function = value["function"]
    if not isinstance(function, ChatMessageToolCallFunction):
        function = ChatMessageToolCallFunction(
            arguments=function["arguments"], name=function["name"], description=function.get("description")
        )
    return ChatMessageToolCall(function=function, id=value["id"], type=value.get("type", "function"))


class StreamedReply:
    """Builds a reply from its deltas, in linear time: `add` each, then `message()`."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._calls: dict[int, tuple[ChatMessageToolCall, list[str]]] = {}
        self._usage: TokenUsage | None = None

    def add(self, delta: ChatMessageStreamDelta) -> None:
        """Take one more delta.

        Raises:
            ValueError: A piece of a tool call has no index.
        """
        if delta.token_usage is not None:
            self._usage = delta.token_usage if self._usage is None else self._usage + delta.token_usage
        if delta.content:
            self._content.append(delta.content)
        if delta.reasoning_content:
            self._reasoning.append(delta.reasoning_content)
        self._details.extend(delta.reasoning_details or ())
        for piece in delta.tool_calls or ():
            if piece.index is None:
                raise ValueError(f"a piece of a tool call in a streamed reply has no index: {piece}")
            if piece.index not in self._calls:
                empty = ChatMessageToolCall(ChatMessageToolCallFunction(arguments="", name=""), id="")
                self._calls[piece.index] = (empty, [])
            call, arguments = self._calls[piece.index]
            call.id = piece.id or call.id
            call.type = piece.type or call.type
            if piece.function is not None:
                call.function.name = piece.function.name or call.function.name
                if piece.function.arguments:
                    arguments.append(piece.function.arguments)

    def message(self, role: MessageRole = MessageRole.ASSISTANT) -> ChatMessage:
        """The reply so far. `tool_calls` and `token_usage` are None where no delta carried any."""
        calls = [
            replace(call, function=replace(call.function, arguments="".join(arguments)))
            for _, (call, arguments) in sorted(self._calls.items())
        ]
        return ChatMessage(
            role=role,
            content="".join(self._content),
            tool_calls=calls or None,
            token_usage=self._usage,
            reasoning_content="".join(self._reasoning) or None,
            reasoning_details=list(self._details) or None,
        )


def agglomerate_stream_deltas(
    stream_deltas: list[ChatMessageStreamDelta], role: MessageRole = MessageRole.ASSISTANT
) -> ChatMessage:
    """One message from all the deltas of a streamed reply."""
    reply = StreamedReply()
    for delta in stream_deltas:
        reply.add(delta)
    return reply.message(role)
