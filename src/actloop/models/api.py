"""What all models behind a service share: the limit on requests, retries, and the four faces of one request."""

from __future__ import annotations

import os
import time
from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from actloop.models.base import Model, ToolLike
from actloop.models.failures import late, without_keys
from actloop.models.retry import NO_RETRY, RateLimiter, RetryPolicy
from actloop.models.secrets import without_secrets
from actloop.models.switch import check_real_requests

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType
    from typing import Self

    from actloop.values.messages import ChatMessage, ChatMessageStreamDelta

    Conversation = Sequence[ChatMessage | dict[str, Any]]

DEFAULT_TIMEOUT = 600.0
"""Seconds that a request to a service may take, where nothing else is said."""


class ApiModel(Model):
    """Base class of models that a service runs.

    Args:
        model_id: The model's name at the service.
        custom_role_conversions: Roles to send instead of others, for services that do not know them.
        client: A client of the service's SDK, to be used instead of one of our own.
        requests_per_minute: Space requests so that there are no more of them; None for no limit. Models that are given
            the same `RateLimiter` share its limit; what is saved of it is the number.
        retry: Send a request again where that may help; a `RetryPolicy` says how often, False means never.
        **kwargs: As for `Model`.
    """

    def __init__(
        self,
        model_id: str,
        custom_role_conversions: dict[str, str] | None = None,
        client: Any | None = None,
        requests_per_minute: float | RateLimiter | None = None,
        retry: bool | RetryPolicy = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(model_id=model_id, **kwargs)
        self.custom_role_conversions = custom_role_conversions or {}
        shared = isinstance(requests_per_minute, RateLimiter)
        self.rate_limiter = requests_per_minute if shared else RateLimiter(requests_per_minute)
        self.requests_per_minute = self.rate_limiter.requests_per_minute
        self.retryer = retry if isinstance(retry, RetryPolicy) else RetryPolicy() if retry else NO_RETRY
        self._given_client = client

    @property
    def client(self) -> Any:
        """The client that was given, or one of our own, made when first asked for."""
        return self.create_client() if self._given_client is None else self._given_client

    def create_client(self) -> Any:
        """A client of the service's SDK."""
        raise NotImplementedError(f"{type(self).__name__} does not implement create_client()")

    def _apply_rate_limit(self) -> None:
        self.rate_limiter.throttle()

    def to_dict(self) -> dict[str, Any]:
        """The model's settings as plain data, without keys and tokens: pass those again when you load it."""
        data = without_secrets(super().to_dict())
        if self.requests_per_minute is not None:
            data["requests_per_minute"] = self.requests_per_minute
        return data


class Reader(Protocol):
    """Reads the events of a streamed reply.

    Attributes:
        stopped: A stop sequence was met; the rest of the stream need not be read.
    """

    @property
    def stopped(self) -> bool: ...

    def read(self, event: Any) -> ChatMessageStreamDelta | None:
        """What an event says, if anything."""
        ...

    def end(self) -> Iterable[ChatMessageStreamDelta]:
        """The last deltas, once the stream has ended; raises where it ended before the reply did."""
        ...


class ServiceModel(ApiModel):
    """A model of a service whose requests, answers and errors a subclass describes; this sends and retries them.

    One object may be used from any number of threads and event loops, and after a fork.

    A subclass says how a request looks (`_request`), how to send it (`_send`, `_open`, and `_asend`, `_aopen` where
    `_is_asynchronous`), how to read what comes (`_read`, `_reader`), and how its SDK's errors are told (`_explained`).

    Args:
        model_id: The model's name at the service.
        native_tool_calls: Whether to speak the service's own tool calls; off for models that do not know any, which
            then write them as text.
        timeout: Seconds that a request may take.
        client_kwargs: Further arguments of the SDK's client. `max_retries` sets the number of our own retries.
        **kwargs: As for `ApiModel`; what it does not know is added to every request.

    Raises:
        TypeError: `model_id` is no text.
    """

    native_tool_calls = True

    def __init__(
        self,
        model_id: str,
        *,
        native_tool_calls: bool | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        client_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(model_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"model_id must be a text, the model's name at the service; got {model_id!r:.100}")
        given = dict(client_kwargs or {})
        retries = given.pop("max_retries", None)
        if retries is not None:
            kwargs.setdefault("retry", RetryPolicy(attempts=retries + 1))
        super().__init__(model_id=model_id, **kwargs)
        if native_tool_calls is not None:
            self.native_tool_calls = native_tool_calls
        self.timeout = timeout
        self.client_kwargs = given
        self._exported_client_kwargs = {**given, "max_retries": retries} if retries is not None else given

    @property
    def offers_tools(self) -> bool:
        """As in `Model`: whether the service's own tool calls are spoken."""
        return self.native_tool_calls

    def generate(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The reply to a conversation; see `Model.generate`.

        Raises:
            ModelRequestError: The service cannot be reached, refuses, or answers nonsense.
        """
        request = self._checked_request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

        def send() -> ChatMessage:
            self._apply_rate_limit()
            with self._told():
                return self._read(self._send(request), stop_sequences)

        return self.retryer.call(send)

    async def agenerate(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """As `generate`, awaited: by the SDK's asynchronous client where it has one, else in a thread."""
        if not self._is_asynchronous:
            return await super().agenerate(messages, stop_sequences, response_format, tools_to_call_from, **kwargs)
        request = self._checked_request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

        async def send() -> ChatMessage:
            await self.rate_limiter.athrottle()
            with self._told():
                return self._read(await self._asend(request), stop_sequences)

        return await self.retryer.acall(send)

    def generate_stream(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> Generator[ChatMessageStreamDelta]:
        """The reply piece by piece. What fails before the first piece is tried again, what fails later is not.

        Raises:
            ModelRequestError: As for `generate`, or the stream breaks off.
        """
        request = self._checked_request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

        def begin() -> tuple[Generator[ChatMessageStreamDelta], ChatMessageStreamDelta | None]:
            self._apply_rate_limit()
            deltas = self._stream_once(request, stop_sequences)
            return deltas, next(deltas, None)

        deltas, first = self.retryer.call(begin)
        with closing(deltas):
            if first is not None:
                yield first
            yield from deltas

    async def astream(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[ChatMessageStreamDelta]:
        """As `generate_stream`, asynchronous."""
        if not self._is_asynchronous:
            given = super().astream(messages, stop_sequences, response_format, tools_to_call_from, **kwargs)
            async with aclosing(given):
                async for delta in given:
                    yield delta
            return
        request = self._checked_request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

        async def begin() -> tuple[AsyncGenerator[ChatMessageStreamDelta], ChatMessageStreamDelta | None]:
            await self.rate_limiter.athrottle()
            deltas = self._astream_once(request, stop_sequences)
            return deltas, await anext(deltas, None)

        deltas, first = await self.retryer.acall(begin)
        async with aclosing(deltas):
            if first is not None:
                yield first
            async for delta in deltas:
                yield delta

    def close(self) -> None:
        """Close open connections; a later request opens new ones."""

    async def aclose(self) -> None:
        """Close open connections, those of the running event loop too."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def to_dict(self) -> dict[str, Any]:
        """The model's settings as plain data, without keys and tokens: pass those again when you load it."""
        data = super().to_dict()
        if self.native_tool_calls != type(self).native_tool_calls:
            data["native_tool_calls"] = self.native_tool_calls
        if settings := without_secrets(self._exported_client_kwargs):
            data["client_kwargs"] = settings
        return data

    @property
    def _is_asynchronous(self) -> bool:
        """Whether there is an asynchronous client; one that was given blocks."""
        return self._given_client is None

    @property
    def _where(self) -> str:
        """Model and address, for messages."""
        return str(self.model_id)

    @property
    def _keys(self) -> tuple[str | None, ...]:
        """Keys that no message may show."""
        return ()

    def _request(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None,
        response_format: dict[str, Any] | None,
        tools_to_call_from: Sequence[ToolLike] | None,
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        """The parameters of a request."""
        raise NotImplementedError

    def _send(self, request: dict[str, Any]) -> Any:
        """Send a request; return the SDK's answer."""
        raise NotImplementedError

    async def _asend(self, request: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _open(self, request: dict[str, Any]) -> AbstractContextManager[Iterable[Any]]:
        """Begin a streamed reply; leaving it closes the stream."""
        raise NotImplementedError

    def _aopen(self, request: dict[str, Any]) -> AbstractAsyncContextManager[Any]:
        raise NotImplementedError

    def _read(self, response: Any, stop_sequences: list[str] | None) -> ChatMessage:
        """The message of a whole reply."""
        raise NotImplementedError

    def _reader(self, stop_sequences: list[str] | None) -> Reader:
        """What reads one streamed reply."""
        raise NotImplementedError

    def _explained(self) -> AbstractContextManager[None]:
        """Raises the SDK's errors as our own."""
        raise NotImplementedError

    def _checked_request(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None,
        response_format: dict[str, Any] | None,
        tools_to_call_from: Sequence[ToolLike] | None,
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        check_real_requests(self._where)
        return self._request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

    @contextmanager
    def _told(self) -> Generator[None]:
        with without_keys(self._keys), self._explained():
            yield

    def _stream_once(
        self, request: dict[str, Any], stop_sequences: list[str] | None
    ) -> Generator[ChatMessageStreamDelta]:
        """One attempt at a stream."""
        reader = self._reader(stop_sequences)
        with self._told():
            with self._open(request) as events:
                for event in events:
                    delta = reader.read(event)
                    if delta is not None:
                        yield delta
                    if reader.stopped:
                        break
            yield from reader.end()

    async def _astream_once(
        self, request: dict[str, Any], stop_sequences: list[str] | None
    ) -> AsyncGenerator[ChatMessageStreamDelta]:
        """One attempt at a stream, awaited."""
        reader = self._reader(stop_sequences)
        with self._told():
            async with self._aopen(request) as events:
                async for event in events:
                    delta = reader.read(event)
                    if delta is not None:
                        yield delta
                    if reader.stopped:
                        break
            for delta in reader.end():
                yield delta


def in_time(events: Iterable[Any], seconds: float, where: str) -> Iterator[Any]:
    """The events, until they have taken too long all together; for SDKs that only bound the wait for each."""
    deadline = time.monotonic() + seconds
    for event in events:
        yield event
        if time.monotonic() > deadline:
            raise late(where, seconds)


async def ain_time(events: AsyncIterable[Any], seconds: float, where: str) -> AsyncGenerator[Any]:
    """As `in_time`, awaited."""
    deadline = time.monotonic() + seconds
    async for event in events:
        yield event
        if time.monotonic() > deadline:
            raise late(where, seconds)


def from_environment(*names: str) -> tuple[str | None, ...]:
    """Environment variables that may hold keys."""
    return tuple(os.environ.get(name) for name in names)
