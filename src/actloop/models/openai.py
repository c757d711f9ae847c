"""Models behind a service that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
import os
from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentGenerationError
from actloop.models.base import Model, ToolLike
from actloop.models.clients import Clients, import_openai
from actloop.models.completions import StreamReader, broken, failed_in_stream, read_reply, refused
from actloop.models.retry import NO_RETRY, ModelRequestError, RateLimiter, RetryPolicy
from actloop.models.switch import check_real_requests

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from types import TracebackType
    from typing import Self

    from actloop.values.messages import ChatMessage, ChatMessageStreamDelta

    Conversation = Sequence[ChatMessage | dict[str, Any]]

DEFAULT_TIMEOUT = 600.0
_SDK_ARGUMENTS = frozenset({"stream", "timeout", "extra_body", "extra_headers", "extra_query"})


class ApiModel(Model):
    """Base class of models that a service runs.

    Args:
        model_id: The model's name at the service.
        custom_role_conversions: Roles to send instead of others, for services that do not know them.
        client: A client of the service's SDK, to be used instead of one of our own.
        requests_per_minute: Space requests so that there are no more of them; None for no limit.
        retry: Send a request again where that may help; a `RetryPolicy` says how often, False means never.
        **kwargs: As for `Model`.
    """

    def __init__(
        self,
        model_id: str,
        custom_role_conversions: dict[str, str] | None = None,
        client: Any | None = None,
        requests_per_minute: float | None = None,
        retry: bool | RetryPolicy = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(model_id=model_id, **kwargs)
        self.custom_role_conversions = custom_role_conversions or {}
        self.rate_limiter = RateLimiter(requests_per_minute)
        self.retryer = retry if isinstance(retry, RetryPolicy) else RetryPolicy() if retry else NO_RETRY
        self._given_client = client

    @property
    def client(self) -> Any:
        """The client that was given, or one of our own, made when first asked for."""
        return self._given_client or self.create_client()

    def create_client(self) -> Any:
        """A client of the service's SDK."""
        raise NotImplementedError(f"{type(self).__name__} does not implement create_client()")

    def _apply_rate_limit(self) -> None:
        self.rate_limiter.throttle()


class OpenAIModel(ApiModel):
    """A model at any service that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama and many more.

    One object may be used from any number of threads and event loops, and after a fork.

    Args:
        model_id: The model's name at the service.
        api_base: Address of the service; OpenAI's by default.
        api_key: Key; `OPENAI_API_KEY` by default.
        organization: OpenAI organisation of the requests.
        project: OpenAI project of the requests.
        client_kwargs: Further arguments of the SDK's client. `max_retries` sets the number of our own retries.
        custom_role_conversions: Roles to send instead of others.
        flatten_messages_as_text: Send content as plain text.
        timeout: Seconds that a whole request may take, the reply included, before it counts as failed.
        **kwargs: `requests_per_minute`, `retry` and `client` as for `ApiModel`; all else is added to every request,
            `temperature` for instance.
    """

    _sdk_class = "OpenAI"
    _direct = False

    def __init__(
        self,
        model_id: str,
        api_base: str | None = None,
        api_key: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        flatten_messages_as_text: bool = False,
        timeout: float = DEFAULT_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        settings = dict(client_kwargs or {})
        retries = settings.pop("max_retries", None)
        if retries is not None:
            kwargs.setdefault("retry", RetryPolicy(attempts=retries + 1))
        super().__init__(
            model_id=model_id,
            custom_role_conversions=custom_role_conversions,
            flatten_messages_as_text=flatten_messages_as_text,
            **kwargs,
        )
        self.api_base = api_base
        self.organization = organization
        self.project = project
        self.timeout = timeout
        self.client_kwargs = {"timeout": timeout, **settings, "organization": organization, "project": project}
        self._api_key = api_key
        self._clients = Clients(self, self.client_kwargs, self._sdk_class, direct=self._direct)
        self._asks_for_usage = True

    def create_client(self) -> Any:
        """The SDK's client of this process."""
        return self._clients.blocking(*self._endpoint())

    def close(self) -> None:
        """Close open connections; a later request opens new ones."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close open connections, those of the running event loop too."""
        await self._clients.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        request = self._request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

        def send() -> ChatMessage:
            self._apply_rate_limit()
            with self._explained():
                return read_reply(self._create(request), stop_sequences, self._where)

        return self.retryer.call(send)

    async def agenerate(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """As `generate`, by the SDK's asynchronous client; cancelling it ends the request."""
        if self._given_client is not None:
            return await super().agenerate(messages, stop_sequences, response_format, tools_to_call_from, **kwargs)
        request = self._request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

        async def send() -> ChatMessage:
            await self.rate_limiter.athrottle()
            with self._explained():
                client = await self._clients.asynchronous(*await self._aendpoint())
                create: Any = client.chat.completions.create
                return read_reply(await create(**_unchanged(request)), stop_sequences, self._where)

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
        request = self._request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

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
        """As `generate_stream`, by the SDK's asynchronous client."""
        if self._given_client is not None:
            given = super().astream(messages, stop_sequences, response_format, tools_to_call_from, **kwargs)
            async with aclosing(given):
                async for delta in given:
                    yield delta
            return
        request = self._request(messages, stop_sequences, response_format, tools_to_call_from, kwargs)

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

    def _stream_once(
        self, request: dict[str, Any], stop_sequences: list[str] | None
    ) -> Generator[ChatMessageStreamDelta]:
        """One attempt at a stream."""
        reader = StreamReader(stop_sequences, self._where)
        with self._explained():
            try:
                stream = self._create(self._streamed(request))
            except Exception as error:
                if not self._refuses_usage(error):
                    raise
                stream = self._create(self._streamed(request))
            try:
                for chunk in stream:
                    delta = reader.read(chunk)
                    if delta is not None:
                        yield delta
                    if reader.stopped:
                        break
            finally:
                if hasattr(stream, "close"):  # a client that was given may return any iterable
                    stream.close()
            yield from reader.end()

    async def _astream_once(
        self, request: dict[str, Any], stop_sequences: list[str] | None
    ) -> AsyncGenerator[ChatMessageStreamDelta]:
        """One attempt at a stream, awaited."""
        reader = StreamReader(stop_sequences, self._where)
        with self._explained():
            client = await self._clients.asynchronous(*await self._aendpoint())
            create: Any = client.chat.completions.create
            try:
                stream = await create(**_unchanged(self._streamed(request)))
            except Exception as error:
                if not self._refuses_usage(error):
                    raise
                stream = await create(**_unchanged(self._streamed(request)))
            try:
                async for chunk in stream:
                    delta = reader.read(chunk)
                    if delta is not None:
                        yield delta
                    if reader.stopped:
                        break
            finally:
                await stream.close()
            for delta in reader.end():
                yield delta

    def _endpoint(self) -> tuple[str | None, str | None]:
        """Address and key to use for the next attempt."""
        return self.api_base, self._api_key

    async def _aendpoint(self) -> tuple[str | None, str | None]:
        return self._endpoint()

    def _request(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None,
        response_format: dict[str, Any] | None,
        tools_to_call_from: Sequence[ToolLike] | None,
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        check_real_requests(self._where)
        return self._prepare_completion_kwargs(
            messages,
            stop_sequences,
            response_format,
            tools_to_call_from,
            custom_role_conversions=self.custom_role_conversions,
            convert_images_to_image_urls=True,
            **{"model": self.model_id, **kwargs},
        )

    def _create(self, request: dict[str, Any]) -> Any:
        """Send a request by the client that was given, or by our own."""
        if self._given_client is not None:
            return self._given_client.chat.completions.create(**request)
        return self.client.chat.completions.create(**_unchanged(request))

    def _streamed(self, request: dict[str, Any]) -> dict[str, Any]:
        options = {"stream_options": {"include_usage": True}} if self._asks_for_usage else {}
        return {**options, **request, "stream": True}

    def _refuses_usage(self, error: Exception) -> bool:
        """Whether a service does not know the option that asks for usage in a stream; it is not asked again then."""
        if self._asks_for_usage and getattr(error, "status_code", 0) in (400, 422) and "stream_options" in str(error):
            self._asks_for_usage = False
            return True
        return False

    @property
    def _where(self) -> str:
        """Model and address, for messages."""
        return f"{self.model_id} at {self.api_base or os.environ.get('OPENAI_BASE_URL') or 'api.openai.com'}"

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Raise the SDK's errors as our own."""
        openai = import_openai()
        where = self._where
        try:
            yield
        except openai.APITimeoutError as error:
            text = f"{where} did not answer within {self.timeout:g} s. Set timeout to wait longer."
            raise ModelRequestError(text, retriable=True) from error
        except openai.APIConnectionError as error:
            text = f"The connection to {where} failed: {_reason(error)}. Check the address and the network."
            raise ModelRequestError(text, retriable=True) from error
        except openai.APIStatusError as error:
            raise refused(where, error.status_code, error.body, error.message, error.response.headers) from error
        except (openai.APIResponseValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise broken(where, f"it is not valid JSON ({error})") from error
        except openai.APIError as error:
            raise failed_in_stream(where, error.body, error.message) from error
        except openai.OpenAIError as error:
            raise AgentGenerationError(f"No request to {where} could be made: {error}") from error


OpenAIServerModel = OpenAIModel


def _reason(error: BaseException) -> str:
    """What the operating system said, from below all that was raised on top of it."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return str(error) or type(error).__name__


def _unchanged(request: dict[str, Any]) -> dict[str, Any]:
    """A request as arguments with which the SDK sends it as it is.

    What it knows it converts by the types of its own definitions, which takes a quarter of a millisecond for each
    message of a conversation, and what it does not know it refuses.
    """
    arguments = {name: value for name, value in request.items() if name in _SDK_ARGUMENTS}
    body = {name: value for name, value in request.items() if name not in _SDK_ARGUMENTS}
    body.update(arguments.pop("extra_body", None) or {})
    return {**arguments, "model": body["model"], "messages": (), "extra_body": body}
