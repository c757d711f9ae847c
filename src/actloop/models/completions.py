"""What an OpenAI-compatible service sends, read into our own values.

The SDK hands services' answers on unchecked, and services differ: fields are missing, null or misnamed. Nothing here
relies on a field being there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actloop.models.retry import ModelRequestError, is_retriable_status, retry_after_of
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

_PASSING = ("server_error", "overloaded", "rate_limit", "timeout", "unavailable")
_HINTS = {
    401: "Check the API key.",
    403: "The key may not use this model, or not from here.",
    404: "Check the model's name and the address (api_base usually ends in /v1).",
    413: "The conversation is too long: lower max_steps or the tools' output.",
}


def read_reply(response: Any, stop_sequences: Sequence[str] | None, where: str) -> ChatMessage:
    """The message of a whole reply, cut at the first stop sequence.

    Raises:
        ModelRequestError: There is no message in it.
    """
    choices = _list(_get(response, "choices"))
    message = _get(choices[0], "message") if choices else None
    if message is None:
        raise broken(where, f"its answer holds no choices: {str(response)[:300]!r}")
    content = _text(_get(message, "content")) or _text(_get(message, "refusal"))
    if content is not None:
        content = StopFilter(stop_sequences).feed_all(content)
    return ChatMessage(
        role=MessageRole.ASSISTANT,
        content=content,
        tool_calls=list(_tool_calls(_get(message, "tool_calls"))) or None,
        raw=response,
        token_usage=_usage(_get(response, "usage")),
        reasoning_content=_reasoning(message),
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

    @property
    def stopped(self) -> bool:
        return self._filter.stopped

    def read(self, chunk: Any) -> ChatMessageStreamDelta | None:
        """What a chunk says, if anything."""
        self._usage = _usage(_get(chunk, "usage")) or self._usage
        choices = _list(_get(chunk, "choices"))
        if not choices:
            return None
        if _get(choices[0], "finish_reason"):
            self._finished = True
        delta = _get(choices[0], "delta")
        text = _text(_get(delta, "content")) or _text(_get(delta, "refusal")) or ""
        self._received += len(text)
        content = self._filter.feed(text)
        reasoning = _reasoning(delta)
        calls = [self._call_piece(piece) for piece in _list(_get(delta, "tool_calls"))]
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
        if rest or self._usage:
            yield ChatMessageStreamDelta(rest or None, token_usage=self._usage)

    def _call_piece(self, piece: Any) -> ChatMessageToolCallStreamDelta:
        identity = _text(_get(piece, "id"))
        index = _get(piece, "index")
        if not isinstance(index, int):  # some services number nothing: a new id begins a new call
            if identity and identity not in self._call_ids:
                self._call_ids.append(identity)
            index = self._call_ids.index(identity) if identity else max(0, len(self._call_ids) - 1)
        function = _get(piece, "function")
        return ChatMessageToolCallStreamDelta(
            index=index,
            id=identity,
            type=_text(_get(piece, "type")),
            function=ChatMessageToolCallFunction(
                arguments=_text(_get(function, "arguments")) or "", name=_text(_get(function, "name")) or ""
            ),
        )


def broken(where: str, what: str) -> ModelRequestError:
    """An answer that cannot be used, though its status says success; another try may bring a good one."""
    return ModelRequestError(f"{where} gave a broken answer: {what}.", retriable=True)


def refused(where: str, status: int, body: object, message: str, headers: Any) -> ModelRequestError:
    """An answer whose status says failure."""
    code = str(_get(body, "code") or "")
    retriable = is_retriable_status(status) and code != "insufficient_quota"
    if headers.get("x-should-retry") == "false":
        retriable = False
    hint = _HINTS.get(status, "")
    if code == "insufficient_quota":
        hint = "The account has no credit left."
    said = _text(_get(body, "message")) or message
    text = f"{where} answered {status}: {said[:1000].rstrip('.')}. {hint}".strip()
    return ModelRequestError(text, status=status, retriable=retriable, retry_after=retry_after_of(headers))


def failed_in_stream(where: str, body: object, message: str) -> ModelRequestError:
    """An error that a service sent as an event of a stream."""
    code = _get(body, "code")
    status = int(code) if str(code).isdecimal() else None
    kind = f"{_get(body, 'type')} {code}"
    retriable = is_retriable_status(status) if status else any(word in kind for word in _PASSING)
    return ModelRequestError(f"{where} failed while replying: {message[:1000]}", status=status, retriable=retriable)


def _get(value: object, name: str) -> Any:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).get(name)
    return getattr(value, name, None)


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _reasoning(message: object) -> str | None:
    return _text(_get(message, "reasoning_content")) or _text(_get(message, "reasoning")) or None


def _usage(usage: object) -> TokenUsage | None:
    read, written = _get(usage, "prompt_tokens"), _get(usage, "completion_tokens")
    return TokenUsage(read, written) if isinstance(read, int) and isinstance(written, int) else None


def _tool_calls(calls: object) -> Iterable[ChatMessageToolCall]:
    for call in _list(calls):
        function = _get(call, "function")
        name = _text(_get(function, "name"))
        if name:
            arguments: Any = _get(function, "arguments")
            yield ChatMessageToolCall(
                ChatMessageToolCallFunction("" if arguments is None else arguments, name),
                id=_text(_get(call, "id")) or "",
            )
