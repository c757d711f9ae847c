"""What an OpenAI-compatible service sends, read into our own values.

The SDK hands services' answers on unchecked, and services differ: fields are missing, null or misnamed. Nothing here
relies on a field being there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actloop.models.failures import broken
from actloop.models.fields import count, get, items, text
from actloop.models.stops import StopFilter
from actloop.values.cuts import cut
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


def read_reply(response: Any, stop_sequences: Sequence[str] | None, where: str) -> ChatMessage:
    """The message of a whole reply, cut at the first stop sequence.

    Raises:
        ModelRequestError: There is no message in it.
    """
    choices = items(get(response, "choices"))
    message = get(choices[0], "message") if choices else None
    if message is None:
        raise broken(where, f"its answer holds no choices: {cut(str(response), 300)!r}")
    content = text(get(message, "content")) or text(get(message, "refusal"))
    if content is not None:
        content = StopFilter(stop_sequences).feed_all(content)
    return ChatMessage(
        role=MessageRole.ASSISTANT,
        content=content,
        tool_calls=list(_tool_calls(get(message, "tool_calls"))) or None,
        raw=response,
        token_usage=_usage(get(response, "usage")),
        reasoning_content=_reasoning(message),
        reasoning_details=_thoughts(get(message, "thinking_blocks")) or None,
    )


class StreamReader:
    """Reads the chunks of a streamed reply.

    Usage comes as one last delta, since services send it once, in every chunk, or never.

    Attributes:
        stopped: A stop sequence was met; the rest of the stream need not be read.
    """

    def __init__(self, stop_sequences: Sequence[str] | None, where: str) -> None:
        self._filter = StopFilter(stop_sequences)
        self._where = where
        self._usage: TokenUsage | None = None
        self._finished = False
        self._call_ids: list[str] = []
        self._received = 0
        self._thought = ""
        self._thoughts: list[dict[str, Any]] = []

    @property
    def stopped(self) -> bool:
        return self._filter.stopped

    def read(self, event: Any) -> ChatMessageStreamDelta | None:
        """What a chunk says, if anything."""
        self._usage = _usage(get(event, "usage")) or self._usage
        choices = items(get(event, "choices"))
        if not choices:
            return None
        if get(choices[0], "finish_reason"):
            self._finished = True
        delta = get(choices[0], "delta")
        said = text(get(delta, "content")) or text(get(delta, "refusal")) or ""
        self._received += len(said)
        content = self._filter.feed(said)
        reasoning = _reasoning(delta)
        self._think(items(get(delta, "thinking_blocks")))
        calls = [self._call_piece(piece) for piece in items(get(delta, "tool_calls"))]
        if not (content or reasoning or calls):
            return None
        return ChatMessageStreamDelta(content or None, calls or None, reasoning_content=reasoning)

    def end(self) -> Iterator[ChatMessageStreamDelta]:
        """The last deltas, once the stream has ended.

        Raises:
            ModelRequestError: It ended before the reply did.
        """
        if not (self._finished or self.stopped or self._usage):
            raise broken(self._where, f"the stream ended in the middle of the reply, after {self._received} characters")
        rest = self._filter.flush()
        if rest or self._usage or self._thoughts:
            details = self._thoughts or None
            yield ChatMessageStreamDelta(rest or None, token_usage=self._usage, reasoning_details=details)

    def _think(self, pieces: list[Any]) -> None:
        """Signed thoughts come in pieces, the signature last."""
        for piece in pieces:
            self._thought += text(get(piece, "thinking")) or ""
            if whole := _thoughts([{**piece, "thinking": self._thought}]):
                self._thoughts += whole
                self._thought = ""

    def _call_piece(self, piece: Any) -> ChatMessageToolCallStreamDelta:
        identity = text(get(piece, "id"))
        index = get(piece, "index")
        if not isinstance(index, int):  # some services number nothing: a new id begins a new call
            if identity and identity not in self._call_ids:
                self._call_ids.append(identity)
            index = self._call_ids.index(identity) if identity else max(0, len(self._call_ids) - 1)
        function = get(piece, "function")
        return ChatMessageToolCallStreamDelta(
            index=index,
            id=identity,
            type=text(get(piece, "type")),
            function=ChatMessageToolCallFunction(
                arguments=text(get(function, "arguments")) or "", name=text(get(function, "name")) or ""
            ),
        )


def _reasoning(message: object) -> str | None:
    return text(get(message, "reasoning_content")) or text(get(message, "reasoning")) or None


def _thoughts(blocks: object) -> list[dict[str, Any]]:
    """Blocks of thoughts as Anthropic signs them, which LiteLLM hands on."""
    return [dict(block) for block in items(blocks) if get(block, "signature") or get(block, "data")]


def _usage(usage: object) -> TokenUsage | None:
    read, written = count(get(usage, "prompt_tokens")), count(get(usage, "completion_tokens"))
    return TokenUsage(read, written) if read is not None and written is not None else None


def _tool_calls(calls: object) -> Iterable[ChatMessageToolCall]:
    for call in items(calls):
        function = get(call, "function")
        name = text(get(function, "name"))
        if name:
            arguments: Any = get(function, "arguments")
            yield ChatMessageToolCall(
                ChatMessageToolCallFunction("" if arguments is None else arguments, name),
                id=text(get(call, "id")) or "",
            )
