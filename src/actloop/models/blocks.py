"""Replies that come in blocks (Anthropic's, and Bedrock's likewise), read into our own values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actloop.models.failures import broken
from actloop.models.fields import count, get, text
from actloop.models.retry import ModelRequestError
from actloop.models.stops import StopFilter
from actloop.values.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    ChatMessageToolCallStreamDelta,
    MessageRole,
)
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_DECLINED = {
    "refusal": "declined to answer",
    "content_filtered": "was stopped by its content filter",
    "guardrail_intervened": "was stopped by a guardrail",
    "model_context_window_exceeded": "has no room left: the conversation exceeds the context window",
}


def read_blocks(
    blocks: Iterable[Any], stop_sequences: Sequence[str] | None, reason: str | None, where: str, raw: Any
) -> ChatMessage:
    """The message of a whole reply.

    Args:
        blocks: The reply's blocks in Anthropic's form.
        stop_sequences: Where to cut its text.
        reason: Why the model stopped.
        where: Model and address.
        raw: The SDK's answer.

    Raises:
        ModelRequestError: The reply is empty because the service declined.
    """
    said: list[str] = []
    thoughts: list[str] = []
    details: list[dict[str, Any]] = []
    calls: list[ChatMessageToolCall] = []
    for block in blocks:
        match get(block, "type"):
            case "text":
                said.append(text(get(block, "text")) or "")
            case "thinking":
                thoughts.append(text(get(block, "thinking")) or "")
                details.extend(_thought(thoughts[-1], text(get(block, "signature"))))
            case "redacted_thinking":
                details.append({"type": "redacted_thinking", "data": get(block, "data")})
            case "tool_use":
                function = ChatMessageToolCallFunction(get(block, "input") or {}, text(get(block, "name")) or "")
                calls.append(ChatMessageToolCall(function, id=text(get(block, "id")) or ""))
            case _:
                pass
    content = "".join(said)
    if not content and not calls:
        _check_declined(reason, where)
    return ChatMessage(
        role=MessageRole.ASSISTANT,
        content=StopFilter(stop_sequences).feed_all(content),
        tool_calls=calls or None,
        raw=raw,
        reasoning_content="\n\n".join(filter(None, thoughts)) or None,
        reasoning_details=details or None,
    )


def tokens_of(counts: dict[str, int], read: Sequence[str], written: str) -> TokenUsage | None:
    """The usage, where it was told: `read` names the counts that are input, those of a cache among them."""
    if read[0] not in counts or written not in counts:
        return None
    return TokenUsage(sum(counts.get(name, 0) for name in read), counts[written])


def counts_of(usage: object, names: Iterable[str]) -> dict[str, int]:
    """The counts that there are."""
    return {name: number for name in names if (number := count(get(usage, name))) is not None}


class BlockReader:
    """Reads a streamed reply in blocks; a subclass says what each event of its service is.

    A thought is handed out once more at its block's end, whole and signed, to be sent back later.
    """

    read_names: tuple[str, ...] = ()
    """Names of the counts of tokens read, the plain one first."""
    written_name = ""

    def __init__(self, stop_sequences: Sequence[str] | None, where: str) -> None:
        self._filter = StopFilter(stop_sequences)
        self._where = where
        self._counts: dict[str, int] = {}
        self._reason: str | None = None
        self._received = 0
        self._calls = 0
        self._thought: list[str] = []
        self._signature = ""
        self._redacted: Any = None
        self._open_call = False
        self._any_argument = False

    @property
    def stopped(self) -> bool:
        return self._filter.stopped

    def end(self) -> Iterator[ChatMessageStreamDelta]:
        """The last deltas, once the stream has ended.

        Raises:
            ModelRequestError: It ended before the reply did, or the service declined.
        """
        if not (self._reason or self.stopped):
            raise broken(self._where, f"the stream ended in the middle of the reply, after {self._received} characters")
        if not self._received and not self._calls:
            _check_declined(self._reason, self._where)
        rest = self._filter.flush()
        usage = tokens_of(self._counts, self.read_names, self.written_name)
        if rest or usage:
            yield ChatMessageStreamDelta(rest or None, token_usage=usage)

    def _said(self, piece: str) -> ChatMessageStreamDelta | None:
        self._received += len(piece)
        content = self._filter.feed(piece)
        return ChatMessageStreamDelta(content) if content else None

    def _thinking(self, piece: str) -> ChatMessageStreamDelta | None:
        self._thought.append(piece)
        return ChatMessageStreamDelta(reasoning_content=piece) if piece else None

    def _calling(self, identity: str | None, name: str | None) -> ChatMessageStreamDelta:
        self._calls += 1
        self._open_call, self._any_argument = True, False
        return self._call_piece("", identity, name or "")

    def _argument(self, piece: str) -> ChatMessageStreamDelta | None:
        if not piece or not self._open_call:
            return None
        self._any_argument = True
        return self._call_piece(piece)

    def _call_piece(self, arguments: str, identity: str | None = None, name: str = "") -> ChatMessageStreamDelta:
        piece = ChatMessageToolCallStreamDelta(
            index=self._calls - 1,
            id=identity,
            type="function",
            function=ChatMessageToolCallFunction(arguments=arguments, name=name),
        )
        return ChatMessageStreamDelta(tool_calls=[piece])

    def _block_ended(self) -> ChatMessageStreamDelta | None:
        details = _thought("".join(self._thought), self._signature)
        if self._redacted:
            details = [{"type": "redacted_thinking", "data": self._redacted}]
        bare = self._open_call and not self._any_argument
        self._thought, self._signature, self._redacted, self._open_call = [], "", None, False
        if bare:
            return self._call_piece("{}")
        return ChatMessageStreamDelta(reasoning_details=details) if details else None

    def _told_usage(self, usage: object) -> None:
        self._counts.update(counts_of(usage, (*self.read_names, self.written_name)))


def _thought(thought: str, signature: str | None) -> list[dict[str, Any]]:
    """A thought that can be sent back: only signed ones are taken."""
    return [{"type": "thinking", "thinking": thought, "signature": signature}] if signature else []


def _check_declined(reason: str | None, where: str) -> None:
    if reason in _DECLINED:
        raise ModelRequestError(f"{where} {_DECLINED[reason]}.")
