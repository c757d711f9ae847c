"""Models at Hugging Face's inference providers, or at an endpoint of one's own there."""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentGenerationError
from actloop.models.api import ServiceModel, ain_time, from_environment, in_time
from actloop.models.clients import Clients, check_address, http_library, import_sdk
from actloop.models.completions import StreamReader, read_reply
from actloop.models.failures import broken, failed_in_stream, late, lost, readable, refused, within_bounds
from actloop.models.replies import bound
from actloop.values.bodies import PACKINGS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import ModuleType

    from actloop.models.api import Conversation
    from actloop.models.base import ToolLike
    from actloop.values.messages import ChatMessage


class InferenceClientModel(ServiceModel):
    """A model at one of Hugging Face's inference providers, at an Inference Endpoint, or at any address that speaks so.

    Args:
        model_id: The model's name at the Hub, or the address of an endpoint.
        provider: The provider to ask, `"together"` for instance; chosen by the Hub by default.
        token: Token of the Hub or key of the provider; by default `HF_TOKEN`, else what `hf auth login` stored.
        timeout: Seconds to wait for the next part of a reply, and for a streamed or awaited reply as a whole.
        client_kwargs: Further arguments of `huggingface_hub.InferenceClient`. `max_retries` sets the number of our own
            retries.
        custom_role_conversions: Roles to send instead of others.
        api_key: The same as `token`.
        bill_to: Organisation that pays.
        base_url: Address to send to; `model_id` is then the model's name there, and `provider` is not used.
        **kwargs: `native_tool_calls`, `requests_per_minute`, `retry` and `client` as for `ServiceModel`; all else is
            added to every request.

    Raises:
        ValueError: Both `token` and `api_key` are given, or `base_url` is no address.
    """

    def __init__(
        self,
        model_id: str = "Qwen/Qwen3-Next-80B-A3B-Thinking",
        provider: str | None = None,
        token: str | None = None,
        timeout: float = 120,
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        api_key: str | None = None,
        bill_to: str | None = None,
        base_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        if token is not None and api_key is not None:
            raise ValueError("token and api_key mean the same: give only one of them")
        check_address("base_url", base_url)
        super().__init__(
            model_id=model_id,
            custom_role_conversions=custom_role_conversions,
            client_kwargs=client_kwargs,
            timeout=timeout,
            **kwargs,
        )
        self.provider = provider
        self.bill_to = bill_to
        self.base_url = base_url
        self._token = (
            token if token is not None else api_key if api_key is not None else from_environment("HF_TOKEN")[0]
        )
        self.client_kwargs = {
            **self.client_kwargs,
            "model": None if base_url else model_id,
            "provider": provider,
            "token": self._token,
            "timeout": timeout,
            "bill_to": bill_to,
            "base_url": base_url,
        }
        self._clients = Clients(self, functools.partial(_make, self.client_kwargs))

    def create_client(self) -> Any:
        """A client of the SDK. It is cheap: connections belong to the SDK itself, one pool for the process."""
        return _make(self.client_kwargs, False)

    async def aclose(self) -> None:
        """Close the running event loop's connections."""
        await self._clients.aclose()

    def to_dict(self) -> dict[str, Any]:
        """As for `ServiceModel`."""
        return {**super().to_dict(), "bill_to": self.bill_to, "base_url": self.base_url}

    def _request(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None,
        response_format: dict[str, Any] | None,
        tools_to_call_from: Sequence[ToolLike] | None,
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        body = self._prepare_completion_kwargs(
            messages,
            stop_sequences,
            response_format,
            tools_to_call_from,
            custom_role_conversions=self.custom_role_conversions,
            convert_images_to_image_urls=True,
            **kwargs,
        )
        named = {"model": body.pop("model", self.model_id if self.base_url else None), "messages": body.pop("messages")}
        # Among `extra_body` the SDK hands on what it does not know as well.
        return {**named, "extra_body": {**body, **(body.pop("extra_body", None) or {})}}

    def _send(self, request: dict[str, Any]) -> Any:
        with self._one_client() as client, readable(self._where):
            return client.chat_completion(**request)

    async def _asend(self, request: dict[str, Any]) -> Any:
        client = await self._clients.asynchronous()
        async with asyncio.timeout(self.timeout):
            with readable(self._where):
                return await client.chat_completion(**request)

    @contextmanager
    def _open(self, request: dict[str, Any]) -> Generator[Any]:
        with self._one_client() as client:
            yield in_time(client.chat_completion(**_streamed(request)), self.timeout, self._where)

    @asynccontextmanager
    async def _aopen(self, request: dict[str, Any]) -> AsyncGenerator[Any]:
        client = _make(self.client_kwargs, True)  # one for each stream: it closes no stream before it is closed itself
        try:
            yield ain_time(await client.chat_completion(**_streamed(request)), self.timeout, self._where)
        finally:
            await client.close()

    @contextmanager
    def _one_client(self) -> Generator[Any]:
        """The client that was given, or one for a single request: it closes no response before it is closed itself."""
        if self._given_client is not None:
            yield self._given_client
            return
        client = self.create_client()
        try:
            yield client
        finally:
            client.close()

    def _read(self, response: Any, stop_sequences: list[str] | None) -> ChatMessage:
        return read_reply(response, stop_sequences, self._where)

    def _reader(self, stop_sequences: list[str] | None) -> StreamReader:
        return StreamReader(stop_sequences, self._where)

    @contextmanager
    def _explained(self) -> Generator[None]:
        _import_hub()
        errors: Any = importlib.import_module("huggingface_hub.errors")
        http: Any = http_library(errors.HfHubHTTPError)
        where = self._where
        try:
            with within_bounds(where):
                yield
        except errors.HfHubHTTPError as error:
            body = _body(error.response)
            said = str(error.server_message or error).strip()
            raise refused(where, error.response.status_code, body, said, error.response.headers) from error
        except (TimeoutError, http.TimeoutException) as error:
            raise late(where, self.timeout) from error
        except http.RequestError as error:
            raise lost(where, error) from error
        except errors.TextGenerationError as error:
            raise failed_in_stream(where, {"type": type(error).__name__}, str(error)) from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise broken(where, f"it is not valid JSON ({error})") from error
        except ValueError as error:
            if str(error).startswith("Invalid data type"):  # what the SDK says of an answer that is no object
                raise broken(where, "it is no JSON object") from error
            raise AgentGenerationError(f"No request to {where} could be made: {error}") from error

    @property
    def _where(self) -> str:
        return f"{self.model_id} at {self.base_url or self.provider or 'Hugging Face'}"

    @property
    def _keys(self) -> tuple[str | None, ...]:
        return (self._token,)


def _make(settings: dict[str, Any], asynchronous: bool) -> Any:
    """A client of the SDK, which reads replies within bounds."""
    hub: Any = _import_hub()
    settings = {**settings, "headers": {"Accept-Encoding": PACKINGS, **(settings.get("headers") or {})}}
    client: Any = (hub.AsyncInferenceClient if asynchronous else hub.InferenceClient)(**settings)
    # The SDK reads by a client that all of the process shares; what it opens for one of ours it enters here.
    client.exit_stack = _AsyncStack() if asynchronous else _Stack()
    return client


class _Stack(ExitStack):
    def enter_context(self, cm: AbstractContextManager[Any, bool | None]) -> Any:
        """Enter; a response is bounded."""
        entered: Any = super().enter_context(cm)
        _bound(entered)
        return entered


class _AsyncStack(AsyncExitStack):
    async def enter_async_context(self, cm: AbstractAsyncContextManager[Any, bool | None]) -> Any:
        """Enter; the responses of an HTTP client are bounded."""
        entered: Any = await super().enter_async_context(cm)
        if hasattr(entered, "event_hooks"):

            async def hook(response: Any) -> None:
                _bound(response)

            hooks: dict[str, list[Any]] = entered.event_hooks
            entered.event_hooks = {**hooks, "response": [*hooks.get("response", ()), hook]}
        return entered


def _bound(response: Any) -> None:
    errors: Any = importlib.import_module("huggingface_hub.errors")
    streamed = "event-stream" in response.headers.get("content-type", "").lower()
    bound(http_library(errors.HfHubHTTPError), response, float("inf"), events=streamed)


def _import_hub() -> ModuleType:
    return import_sdk("huggingface_hub", "huggingface", "InferenceClientModel")


def _streamed(request: dict[str, Any]) -> dict[str, Any]:
    body = {"stream_options": {"include_usage": True}, **request["extra_body"]}
    return {**request, "stream": True, "extra_body": body}


def _body(response: Any) -> object:
    """A refusal's body: decoded JSON, or nothing."""
    try:
        return response.json()
    except Exception:  # unread, empty or not JSON: the error's own message must do
        return None
