"""Models at any of the services that LiteLLM knows."""

from __future__ import annotations

import functools
import os
import warnings
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from actloop.models.api import DEFAULT_TIMEOUT, ServiceModel, ain_time, in_time
from actloop.models.clients import Clients, http_library, import_openai, import_sdk
from actloop.models.completions import StreamReader, read_reply
from actloop.models.conversion import as_messages
from actloop.models.failures import explained
from actloop.models.secrets import secrets_in, without_secrets

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from contextlib import AbstractContextManager
    from types import ModuleType

    from actloop.models.api import Conversation
    from actloop.models.base import ToolLike
    from actloop.values.messages import ChatMessage

_DEFAULT_MODEL = "anthropic/claude-3-5-sonnet-20240620"
_FLAT = ("ollama", "groq", "cerebras")
_MARKED = ("claude",)
_MARKS = [{"location": "message", "role": "system"}, {"location": "message", "index": -1}]


class LiteLLMModel(ServiceModel):
    """A model at any of the services that LiteLLM knows.

    Args:
        model_id: The service and the model's name there, `anthropic/claude-sonnet-4-5` for instance.
        api_base: Address of the service.
        api_key: Key; by default the environment variable that LiteLLM reads for the service.
        custom_role_conversions: Roles to send instead of others.
        flatten_messages_as_text: Send content as plain text; by default for Ollama, Groq and Cerebras.
        timeout: Seconds that a request may take, as LiteLLM counts them, and a streamed reply as a whole.
        prompt_caching: Have LiteLLM mark the system prompt and the end of the conversation for a service that wants
            marks; by default for Claude.
        **kwargs: `native_tool_calls`, `requests_per_minute`, `retry` and `client` as for `ServiceModel`; all else is
            added to every request.
    """

    def __init__(
        self,
        model_id: str | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        flatten_messages_as_text: bool | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        prompt_caching: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if not model_id:
            text = f"Give LiteLLMModel a model_id; without one it asks {_DEFAULT_MODEL}, which may change."
            warnings.warn(text, FutureWarning, stacklevel=2)
            model_id = _DEFAULT_MODEL
        if flatten_messages_as_text is None:
            flatten_messages_as_text = str(model_id).startswith(_FLAT)
        super().__init__(
            model_id=model_id,
            custom_role_conversions=custom_role_conversions,
            flatten_messages_as_text=flatten_messages_as_text,
            timeout=timeout,
            **kwargs,
        )
        self.api_base = api_base
        self.api_key = api_key
        named = any(name in model_id for name in _MARKED)
        self.prompt_caching = named if prompt_caching is None else prompt_caching

    def create_client(self) -> Any:
        """The LiteLLM module, which keeps its own connections."""
        return _import_litellm()

    def to_dict(self) -> dict[str, Any]:
        """As for `ServiceModel`."""
        more = {"flatten_messages_as_text": self.flatten_messages_as_text, "prompt_caching": self.prompt_caching}
        return {**super().to_dict(), **more}

    def _request(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None,
        response_format: dict[str, Any] | None,
        tools_to_call_from: Sequence[ToolLike] | None,
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        own: dict[str, Any] = {"model": self.model_id, "timeout": self.timeout, "num_retries": 0, "max_retries": 0}
        own["_skip_mcp_handler"] = True  # else a request with tools imports LiteLLM's proxy, which needs more packages
        if self.api_base is not None:
            own["api_base"] = self.api_base
        if self.api_key is not None:
            own["api_key"] = self.api_key
        if self.prompt_caching and not self.flatten_messages_as_text:
            own["cache_control_injection_points"] = _MARKS
        request = self._prepare_completion_kwargs(
            messages,
            stop_sequences,
            response_format,
            tools_to_call_from,
            custom_role_conversions=self.custom_role_conversions,
            convert_images_to_image_urls=True,
            **{**own, **kwargs},
        )
        _add_thoughts(request["messages"], messages)
        return request

    def _send(self, request: dict[str, Any]) -> Any:
        return self.client.completion(**request)

    async def _asend(self, request: dict[str, Any]) -> Any:
        return await self.client.acompletion(**request)

    @contextmanager
    def _open(self, request: dict[str, Any]) -> Generator[Any]:
        stream = self._send(_streamed(request))
        try:
            yield in_time(stream, self.timeout, self._where)
        finally:
            close = getattr(stream, "close", None) or getattr(getattr(stream, "completion_stream", None), "close", None)
            if close is not None:
                close()

    @asynccontextmanager
    async def _aopen(self, request: dict[str, Any]) -> AsyncGenerator[Any]:
        stream = await self._asend(_streamed(request))
        try:
            yield ain_time(stream, self.timeout, self._where)
        finally:
            if hasattr(stream, "aclose"):
                await stream.aclose()

    def _read(self, response: Any, stop_sequences: list[str] | None) -> ChatMessage:
        return read_reply(response, stop_sequences, self._where)

    def _reader(self, stop_sequences: list[str] | None) -> StreamReader:
        return StreamReader(stop_sequences, self._where)

    def _explained(self) -> AbstractContextManager[None]:
        _import_litellm()
        sdk = import_openai("LiteLLMModel")  # LiteLLM's errors are derived from those of this SDK
        return explained(sdk, http_library(sdk.DefaultHttpxClient), self._where, self.timeout)

    @property
    def _where(self) -> str:
        return f"{self.model_id} at {self.api_base}" if self.api_base else f"{self.model_id} by LiteLLM"

    @property
    def _keys(self) -> tuple[str | None, ...]:
        return (self.api_key, *secrets_in(self.kwargs), *secrets_in(dict(os.environ)))


class LiteLLMRouterModel(LiteLLMModel):
    """Models of several services behind LiteLLM's router, which chooses one of them for each request.

    Args:
        model_id: Name of a group in `model_list`.
        model_list: The models: each with the `model_name` of its group, and its `litellm_params`.
        client_kwargs: Further arguments of `litellm.Router`, `routing_strategy` for instance. Its own retries are off
            unless `num_retries` says otherwise.
        custom_role_conversions: Roles to send instead of others.
        flatten_messages_as_text: Send content as plain text.
        **kwargs: As for `LiteLLMModel`.
    """

    def __init__(
        self,
        model_id: str,
        model_list: list[dict[str, Any]],
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        flatten_messages_as_text: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model_id=model_id,
            custom_role_conversions=custom_role_conversions,
            flatten_messages_as_text=flatten_messages_as_text,
            client_kwargs=client_kwargs,
            **kwargs,
        )
        self.model_list = model_list
        self.client_kwargs = {"model_list": model_list, "num_retries": 0, **self.client_kwargs}
        self._clients = Clients(self, functools.partial(_make_router, self.client_kwargs))

    def create_client(self) -> Any:
        """The router of this process."""
        return self._clients.blocking()

    def close(self) -> None:
        """Forget the router; a later request makes a new one."""
        self._clients.close()

    def to_dict(self) -> dict[str, Any]:
        """As for `LiteLLMModel`; keys in `model_list` are left out, so that the services' own variables hold them."""
        data = super().to_dict()
        data.pop("api_base", None)
        return {**data, "model_list": without_secrets({"models": self.model_list})["models"]}

    @property
    def _keys(self) -> tuple[str | None, ...]:
        return (*super()._keys, *secrets_in({"models": self.model_list}))


def _add_thoughts(sent: list[dict[str, Any]], messages: Conversation) -> None:
    """Send signed thoughts back with the calls that came after them, under LiteLLM's name for them."""
    thoughts = {
        message.tool_calls[0].id: message.reasoning_details
        for message in as_messages(messages)
        if message.tool_calls and message.reasoning_details
    }
    for item in sent:
        calls: list[dict[str, Any]] = item.get("tool_calls") or []
        if calls and calls[0]["id"] in thoughts:
            item["thinking_blocks"] = thoughts[calls[0]["id"]]


class _Router:
    """A router that can be closed like a client."""

    def __init__(self, router: Any) -> None:
        self._router = router

    def __getattr__(self, name: str) -> Any:
        return getattr(self._router, name)

    def close(self) -> None:
        self._router.discard()


def _make_router(settings: dict[str, Any], asynchronous: bool) -> Any:  # noqa: ARG001  # one router does both
    return _Router(_import_litellm().Router(**settings))


def _import_litellm() -> ModuleType:
    """LiteLLM, told to fetch nothing and to print nothing on its own account."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm: Any = import_sdk("litellm", "litellm", "LiteLLMModel")
    litellm.suppress_debug_info = True
    return litellm


def _streamed(request: dict[str, Any]) -> dict[str, Any]:
    return {"stream_options": {"include_usage": True}, **request, "stream": True}
