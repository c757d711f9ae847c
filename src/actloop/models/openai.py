"""Models behind a service that speaks OpenAI's chat completions."""

from __future__ import annotations

import functools
import os
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from actloop.models.api import DEFAULT_TIMEOUT, ApiModel as ApiModel, ServiceModel, from_environment
from actloop.models.clients import Clients, check_address, client_settings, http_library, import_openai
from actloop.models.completions import StreamReader, read_reply
from actloop.models.failures import explained

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from contextlib import AbstractContextManager

    from actloop.models.api import Conversation
    from actloop.models.base import ToolLike
    from actloop.values.messages import ChatMessage

_SDK_ARGUMENTS = frozenset({"stream", "timeout", "extra_body", "extra_headers", "extra_query"})


class OpenAIModel(ServiceModel):
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
        **kwargs: `native_tool_calls`, `requests_per_minute`, `retry` and `client` as for `ServiceModel`; all else is
            added to every request, `temperature`, `tool_choice` or `parallel_tool_calls` for instance.

    Raises:
        TypeError: `model_id` is no text.
        ValueError: `api_base` is no address.
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
        check_address("api_base", api_base)
        super().__init__(
            model_id=model_id,
            custom_role_conversions=custom_role_conversions,
            flatten_messages_as_text=flatten_messages_as_text,
            client_kwargs=client_kwargs,
            timeout=timeout,
            **kwargs,
        )
        self.api_base = api_base
        self.organization = organization
        self.project = project
        self.client_kwargs = {
            "timeout": timeout,
            **self.client_kwargs,
            "organization": organization,
            "project": project,
        }
        self._api_key = api_key
        self._clients = Clients(self, functools.partial(_make, self._sdk_class, self._direct, self.client_kwargs))
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
        return self._prepare_completion_kwargs(
            messages,
            stop_sequences,
            response_format,
            tools_to_call_from,
            custom_role_conversions=self.custom_role_conversions,
            convert_images_to_image_urls=True,
            **{"model": self.model_id, **kwargs},
        )

    def _send(self, request: dict[str, Any]) -> Any:
        """Send a request by the client that was given, or by our own."""
        if self._given_client is not None:
            return self._given_client.chat.completions.create(**request)
        return self.client.chat.completions.create(**_unchanged(request))

    async def _asend(self, request: dict[str, Any]) -> Any:
        client = await self._clients.asynchronous(*await self._aendpoint())
        return await client.chat.completions.create(**_unchanged(request))

    @contextmanager
    def _open(self, request: dict[str, Any]) -> Generator[Any]:
        try:
            stream = self._send(self._streamed(request))
        except Exception as error:
            if not self._refuses_usage(error):
                raise
            stream = self._send(self._streamed(request))
        try:
            yield stream
        finally:
            if hasattr(stream, "close"):  # a client that was given may return any iterable
                stream.close()

    @asynccontextmanager
    async def _aopen(self, request: dict[str, Any]) -> AsyncGenerator[Any]:
        try:
            stream = await self._asend(self._streamed(request))
        except Exception as error:
            if not self._refuses_usage(error):
                raise
            stream = await self._asend(self._streamed(request))
        try:
            yield stream
        finally:
            await stream.close()

    def _read(self, response: Any, stop_sequences: list[str] | None) -> ChatMessage:
        return read_reply(response, stop_sequences, self._where)

    def _reader(self, stop_sequences: list[str] | None) -> StreamReader:
        return StreamReader(stop_sequences, self._where)

    def _explained(self) -> AbstractContextManager[None]:
        sdk = import_openai(type(self).__name__)
        return explained(sdk, http_library(sdk.DefaultHttpxClient), self._where, self.timeout)

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
        return f"{self.model_id} at {self.api_base or os.environ.get('OPENAI_BASE_URL') or 'api.openai.com'}"

    @property
    def _keys(self) -> tuple[str | None, ...]:
        given = self._api_key if isinstance(self._api_key, str) else None
        return (given, *from_environment("OPENAI_API_KEY"))


OpenAIServerModel = OpenAIModel


def _make(
    sdk_class: str,
    direct: bool,
    settings: dict[str, Any],
    asynchronous: bool,
    base_url: str | None,
    api_key: str | None,
) -> Any:
    """A client of the SDK; its asynchronous classes are called like the others, after `Async`."""
    sdk = import_openai()
    settings = {**settings, "api_key": api_key}
    if base_url is not None:
        settings["base_url"] = base_url
        if not api_key and not os.environ.get("OPENAI_API_KEY"):
            settings["api_key"] = "none"  # the SDK insists on one, servers of one's own seldom do
    make = getattr(sdk, f"Async{sdk_class}" if asynchronous else sdk_class)
    client = make(**client_settings(sdk, asynchronous, settings, direct))
    check_address("the service's address", client.base_url)  # it may come from the environment
    return client


def _unchanged(request: dict[str, Any]) -> dict[str, Any]:
    """A request as arguments with which the SDK sends it as it is.

    What it knows it converts by the types of its own definitions, which takes a quarter of a millisecond for each
    message of a conversation, and what it does not know it refuses.
    """
    arguments = {name: value for name, value in request.items() if name in _SDK_ARGUMENTS}
    body = {name: value for name, value in request.items() if name not in _SDK_ARGUMENTS}
    body.update(arguments.pop("extra_body", None) or {})
    return {**arguments, "model": body["model"], "messages": (), "extra_body": body}
