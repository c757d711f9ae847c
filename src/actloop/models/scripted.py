"""A model that replies from a script: for tests of agents, examples and benchmarks."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from actloop.errors import AgentGenerationError
from actloop.models.base import Model, ToolLike, as_delta, remove_content_after_stop_sequences
from actloop.models.switch import allow_real_requests, forbid_real_requests
from actloop.values.cuts import cut
from actloop.values.messages import ChatMessage, ChatMessageStreamDelta, MessageRole
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator
    from types import TracebackType
    from typing import Self

__all__ = ["ModelRequest", "ScriptedModel", "allow_real_requests", "forbid_real_requests"]

Conversation: TypeAlias = Sequence[ChatMessage | dict[str, Any]]
Reply: TypeAlias = "str | ChatMessage | Exception"
ReplyFunction: TypeAlias = Callable[[list[ChatMessage]], Reply]

_PIECES = re.compile(r"\s*\S+|\s+")


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request that a scripted model got.

    Attributes:
        messages: The conversation at that time.
        stop_sequences: As they were passed.
        response_format: As it was passed.
        tools: Names of the tools that it was offered.
        kwargs: Further parameters.
        streamed: Whether the reply was asked for in pieces.
    """

    messages: list[ChatMessage]
    stop_sequences: list[str] | None
    response_format: dict[str, Any] | None
    tools: list[str]
    kwargs: dict[str, Any]
    streamed: bool


class ScriptedModel(Model):
    """Replies from a script, and remembers what it was asked.

    Tokens are counted by rule, not by a tokenizer: a text has one token for every four characters begun, a message four
    more, and an image 256. A `ChatMessage` in the script that carries its own `token_usage` keeps it. The reply ends at
    the first stop sequence, as a service's would.

    As a context manager it complains at the end of its block about replies that nobody asked for.

    Args:
        replies: The replies in order; or a function that is given the messages and returns each reply. A reply is a
            text, a `ChatMessage`, an exception to raise, or a function of the messages that returns one of these.
        model_id: Name to go by.
        delay: Seconds that each reply takes.
        obey_stops: End a reply at the first stop sequence in it.
        **kwargs: As for `Model`.

    Attributes:
        requests: What it was asked so far, in order.
    """

    supports_grammar = False

    def __init__(
        self,
        replies: Sequence[Reply | ReplyFunction] | ReplyFunction,
        *,
        model_id: str = "scripted",
        delay: float = 0.0,
        obey_stops: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(model_id=model_id, **kwargs)
        if isinstance(replies, str):
            raise TypeError("replies must be a list of replies or a function, not a single text")
        self._function = replies if callable(replies) else None
        self._replies: list[Reply | ReplyFunction] = [] if callable(replies) else list(replies)
        self._lock = threading.Lock()
        self._next = 0
        self._counted: list[ChatMessage] = []
        self._count = 0
        self.delay = delay
        self.obey_stops = obey_stops
        self.requests: list[ModelRequest] = []

    @property
    def left(self) -> int:
        """How many replies of the list were not asked for yet."""
        return len(self._replies) - self._next

    def check_exhausted(self) -> None:
        """Complain about replies left over.

        Raises:
            AssertionError: The agent asked less often than the script expects.
        """
        if self.left:
            raise AssertionError(
                f"{self.left} of {len(self._replies)} scripted replies were never asked for; "
                f"the next would have been {cut(str(self._replies[self._next]), 200)!r}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.check_exhausted()

    def generate(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The next reply of the script.

        Raises:
            AgentGenerationError: The script has no more replies.
            Exception: The script says so.
        """
        if self.delay:
            time.sleep(self.delay)
        return self._answer(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

    async def agenerate(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """As `generate`; it waits without a thread."""
        await asyncio.sleep(self.delay)
        return self._answer(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

    def generate_stream(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> Generator[ChatMessageStreamDelta]:
        """The next reply word by word, then its token counts; the delay is spread over the words."""
        reply = self._answer(messages, stop_sequences, response_format, tools_to_call_from, kwargs, streamed=True)
        deltas = list(_pieces(reply))
        for delta in deltas:
            if self.delay:
                time.sleep(self.delay / len(deltas))
            yield delta

    async def astream(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[ChatMessageStreamDelta]:
        """As `generate_stream`; it waits without a thread."""
        reply = self._answer(messages, stop_sequences, response_format, tools_to_call_from, kwargs, streamed=True)
        deltas = list(_pieces(reply))
        for delta in deltas:
            await asyncio.sleep(self.delay / len(deltas))
            yield delta

    def _answer(
        self,
        conversation: Conversation,
        stop_sequences: list[str] | None,
        response_format: dict[str, Any] | None,
        tools: Sequence[ToolLike] | None,
        kwargs: dict[str, Any],
        *,
        streamed: bool = False,
    ) -> ChatMessage:
        messages = cast("list[ChatMessage]", list(conversation))
        if dict in set(map(type, conversation)):
            messages = [ChatMessage.from_dict(m) if isinstance(m, dict) else m for m in conversation]
        names = [tool.name for tool in tools or ()]
        request = ModelRequest(messages, stop_sequences, response_format, names, kwargs, streamed)
        with self._lock:
            self.requests.append(request)
            reply = self._take(len(self.requests))
            read = self._count_messages(messages)
        if not isinstance(reply, (str, ChatMessage, Exception)):
            reply = reply(messages)
        if isinstance(reply, Exception):
            raise reply
        message = ChatMessage(MessageRole.ASSISTANT, reply) if isinstance(reply, str) else replace(reply)
        if self.obey_stops and isinstance(message.content, str):
            message.content = remove_content_after_stop_sequences(message.content, stop_sequences)
        if message.token_usage is None:
            written = count_tokens(message.text) + sum(count_tokens(str(call)) for call in message.tool_calls or ())
            message.token_usage = TokenUsage(read, written)
        return message

    def _take(self, number: int) -> Reply | ReplyFunction:
        if self._function is not None:
            return self._function
        if not self.left:
            raise AgentGenerationError(
                f"The script of {self.model_id} has {len(self._replies)} replies, but was asked for reply {number}. "
                "Add replies to the script, or find out why the agent took more steps than expected."
            )
        reply = self._replies[self._next]
        self._next += 1
        return reply

    def _count_messages(self, messages: list[ChatMessage]) -> int:
        """Tokens of a conversation. A growing one is counted on from where it last ended."""
        known = len(self._counted)
        # Comparing lists looks at identity first, so this is quick for the same messages.
        if not known or len(messages) < known or messages[:known] != self._counted:
            known = self._count = 0
        self._count += sum(_message_tokens(message) for message in messages[known:])
        self._counted = messages
        return self._count


def count_tokens(text: str) -> int:
    """One token for every four characters begun."""
    return (len(text) + 3) // 4


def _message_tokens(message: ChatMessage) -> int:
    images = 0
    if isinstance(message.content, list):
        images = sum(part.get("type") not in ("text", None) for part in message.content)
    calls = sum(count_tokens(str(call)) for call in message.tool_calls or ())
    return 4 + count_tokens(message.text) + calls + 256 * images


def _pieces(reply: ChatMessage) -> Iterator[ChatMessageStreamDelta]:
    whole = as_delta(reply)
    if whole.reasoning_content:
        yield ChatMessageStreamDelta(reasoning_content=whole.reasoning_content)
    for piece in cast("list[str]", _PIECES.findall(whole.content or "")):
        yield ChatMessageStreamDelta(content=piece)
    yield ChatMessageStreamDelta(tool_calls=whole.tool_calls, token_usage=whole.token_usage)
