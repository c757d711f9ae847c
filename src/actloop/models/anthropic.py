"""Models at Anthropic, or at any service that speaks its Messages interface."""

from __future__ import annotations

import functools
import os
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import AgentGenerationError
from actloop.models.api import DEFAULT_TIMEOUT, ServiceModel, from_environment
from actloop.models.blocks import BlockReader, counts_of, read_blocks, tokens_of
from actloop.models.clients import Clients, check_address, client_settings, http_library, import_sdk
from actloop.models.failures import broken, explained, failed_in_stream
from actloop.models.fields import get, text
from actloop.models.retry import ModelRequestError
from actloop.models.turns import turns_of
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from types import ModuleType

    from actloop.models.api import Conversation
    from actloop.models.base import ToolLike
    from actloop.values.messages import ChatMessage, ChatMessageStreamDelta

DEFAULT_MAX_TOKENS = 8192
"""Tokens that a reply may have where nothing else is said: the service insists on a number."""

_READ = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_WRITTEN = "output_tokens"
_SDK_ARGUMENTS = frozenset(
    {"stream", "timeout", "extra_body", "extra_headers", "extra_query", "user_profile_id", "workspace_id"}
)
_CACHED = {"type": "ephemeral"}
_CHOICES = {"required": "any", "auto": "auto", "none": "none"}
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class AnthropicModel(ServiceModel):
    """A model at Anthropic.

    Its thoughts (`thinking={"type": "enabled", "budget_tokens": 4096}`) come as `reasoning_content`; with tool calls,
    they go back as they came, signed, as the service demands.

    Args:
        model_id: The model's name.
        api_key: Key; `ANTHROPIC_API_KEY` by default.
        api_base: Address of the service; Anthropic's by default.
        client_kwargs: Further arguments of the SDK's client. `max_retries` sets the number of our own retries.
        custom_role_conversions: Roles to send instead of others.
        timeout: Seconds that a whole request may take, the reply included, before it counts as failed.
        prompt_caching: Mark the system prompt and the end of the conversation, so that the service remembers what it
            has read: the next step reads only what is new. `cache_control` in `kwargs` sets the mark itself.
        **kwargs: `native_tool_calls`, `requests_per_minute`, `retry` and `client` as for `ServiceModel`; all else is
            added to every request. `max_tokens` is 8192 by default, beyond what `thinking` may use.
    """

    supports_images = True

    def __init__(
        self,
        model_id: str,
        api_key: str | None = None,
        api_base: str | None = None,
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        prompt_caching: bool = True,
        **kwargs: Any,
    ) -> None:
        check_address("api_base", api_base)
        super().__init__(
            model_id=model_id,
            custom_role_conversions=custom_role_conversions,
            client_kwargs=client_kwargs,
            timeout=timeout,
            **kwargs,
        )
        self.api_base = api_base
        self.prompt_caching = prompt_caching
        self.client_kwargs = {"timeout": timeout, **self.client_kwargs}
        self._api_key = api_key
        self._clients = Clients(self, functools.partial(_make, self.client_kwargs))

    def create_client(self) -> Any:
        """The SDK's client of this process."""
        return self._clients.blocking(self.api_base, self._api_key)

    def close(self) -> None:
        """Close open connections; a later request opens new ones."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close open connections, those of the running event loop too."""
        await self._clients.aclose()

    def to_dict(self) -> dict[str, Any]:
        """As for `ServiceModel`."""
        return {**super().to_dict(), "prompt_caching": self.prompt_caching}

    def _request(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None,
        response_format: dict[str, Any] | None,
        tools_to_call_from: Sequence[ToolLike] | None,
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        options: dict[str, Any] = {"model": self.model_id, **kwargs}
        given = self._prepare_completion_kwargs((), stop_sequences, response_format, tools_to_call_from, **options)
        thinking: object = given.get("thinking")
        kind = get(thinking, "type")
        system, turns = turns_of(
            messages,
            self.custom_role_conversions,
            native_tool_calls=self.native_tool_calls and bool(given.get("tools")),
            needs_thoughts=kind == "enabled",
        )
        budget: Any = get(thinking, "budget_tokens") or 0
        request = {"max_tokens": budget + DEFAULT_MAX_TOKENS, **given, "messages": turns}
        if system:
            request.setdefault("system", [{"type": "text", "text": text} for text in system])
        _add_stops(request)
        _add_format(request)
        _add_tools(request, thinks=kind not in (None, "disabled"))
        if self.prompt_caching:
            _mark(request)
        return request

    def _send(self, request: dict[str, Any]) -> Any:
        return self.client.messages.create(**_unchanged(request))

    async def _asend(self, request: dict[str, Any]) -> Any:
        client = await self._clients.asynchronous(self.api_base, self._api_key)
        return await client.messages.create(**_unchanged(request))

    @contextmanager
    def _open(self, request: dict[str, Any]) -> Generator[Any]:
        stream = self._send({**request, "stream": True})
        try:
            yield stream
        finally:
            stream.close()

    @asynccontextmanager
    async def _aopen(self, request: dict[str, Any]) -> AsyncGenerator[Any]:
        stream = await self._asend({**request, "stream": True})
        try:
            yield stream
        finally:
            await stream.close()

    def _read(self, response: Any, stop_sequences: list[str] | None) -> ChatMessage:
        blocks: Any = get(response, "content")
        if not isinstance(blocks, list):
            raise broken(self._where, f"its answer holds no content: {cut(str(response), 300)!r}")
        reason = text(get(response, "stop_reason"))
        message = read_blocks(cast("list[Any]", blocks), stop_sequences, reason, self._where, response)
        message.token_usage = tokens_of(counts_of(get(response, "usage"), (*_READ, _WRITTEN)), _READ, _WRITTEN)
        return message

    def _reader(self, stop_sequences: list[str] | None) -> EventReader:
        return EventReader(stop_sequences, self._where)

    @contextmanager
    def _explained(self) -> Generator[None]:
        sdk = _import_sdk()
        try:
            with explained(sdk, http_library(sdk.DefaultHttpxClient), self._where, self.timeout):
                yield
        except ModelRequestError as error:
            # An error in a stream comes without a status of its own: the answer's said success.
            body: object = getattr(error.__cause__, "body", None)
            status = _STATUS.get(str(get(get(body, "error"), "type")))
            if error.status is None and status is not None:
                raise failed_in_stream(self._where, body, error.message, status) from error.__cause__
            raise
        except TypeError as error:
            if "authentication" not in str(error):
                raise
            text = f"No request to {self._where} could be made: there is no key. Set api_key or ANTHROPIC_API_KEY."
            raise AgentGenerationError(text) from error

    @property
    def _where(self) -> str:
        return f"{self.model_id} at {self.api_base or os.environ.get('ANTHROPIC_BASE_URL') or 'api.anthropic.com'}"

    @property
    def _keys(self) -> tuple[str | None, ...]:
        return (self._api_key, *from_environment("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))


class EventReader(BlockReader):
    """Reads the events of a streamed reply."""

    read_names = _READ
    written_name = _WRITTEN

    def read(self, event: Any) -> ChatMessageStreamDelta | None:
        """What an event says, if anything."""
        match get(event, "type"):
            case "message_start":
                self._told_usage(get(get(event, "message"), "usage"))
            case "content_block_start":
                return self._block(get(event, "content_block"))
            case "content_block_delta":
                return self._piece(get(event, "delta"))
            case "content_block_stop":
                return self._block_ended()
            case "message_delta":
                self._told_usage(get(event, "usage"))
                self._reason = text(get(get(event, "delta"), "stop_reason")) or self._reason
            case "message_stop":
                self._reason = self._reason or "end_turn"
            case _:
                pass
        return None

    def _block(self, block: object) -> ChatMessageStreamDelta | None:
        match get(block, "type"):
            case "tool_use":
                return self._calling(text(get(block, "id")), text(get(block, "name")))
            case "redacted_thinking":
                self._redacted = get(block, "data")
            case "text":
                return self._said(text(get(block, "text")) or "")
            case _:
                pass
        return None

    def _piece(self, delta: object) -> ChatMessageStreamDelta | None:
        match get(delta, "type"):
            case "text_delta":
                return self._said(text(get(delta, "text")) or "")
            case "thinking_delta":
                return self._thinking(text(get(delta, "thinking")) or "")
            case "signature_delta":
                self._signature += text(get(delta, "signature")) or ""
            case "input_json_delta":
                return self._argument(text(get(delta, "partial_json")) or "")
            case _:
                pass
        return None


def _add_stops(request: dict[str, Any]) -> None:
    """Stop sequences; those of white space alone are refused, and obeyed on our side instead."""
    stops = [stop for stop in request.pop("stop", None) or () if stop.strip()]
    if stops:
        request.setdefault("stop_sequences", stops)


def _add_format(request: dict[str, Any]) -> None:
    """OpenAI's response format as the service's own."""
    given: Any = request.pop("response_format", None)
    if get(given, "type") == "json_schema":
        schema = get(given["json_schema"], "schema")
        request["output_config"] = {
            "format": {"type": "json_schema", "schema": schema},
            **request.get("output_config", {}),
        }


def _add_tools(request: dict[str, Any], *, thinks: bool) -> None:
    """Tools and the choice among them in the service's form; where the model thinks, it may not be made to call."""
    parallel = request.pop("parallel_tool_calls", None)
    choice: Any = request.pop("tool_choice", None)
    if not request.get("tools"):
        return
    request["tools"] = [_tool(tool) for tool in request["tools"]]
    if isinstance(choice, str):
        choice = {"type": _CHOICES[choice]} if choice in _CHOICES else {"type": "tool", "name": choice}
    elif get(choice, "type") == "function":
        choice = {"type": "tool", "name": get(choice["function"], "name")}
    if choice is not None and thinks and choice["type"] in ("any", "tool"):
        choice = {"type": "auto"}
    if parallel is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice is not None:
        request["tool_choice"] = choice


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        return tool  # one of the service's own
    function: dict[str, Any] = tool["function"]
    return {
        "name": function["name"],
        "description": function.get("description", ""),
        "input_schema": function["parameters"],
    }


def _mark(request: dict[str, Any]) -> None:
    """Ask the service to remember the tools and system prompt, and the conversation up to its end."""
    mark = request.setdefault("cache_control", _CACHED)
    if mark is None:
        return
    for name in ("system", "tools"):
        blocks: Any = request.get(name)
        if isinstance(blocks, list) and blocks:
            fixed = cast("list[dict[str, Any]]", blocks)
            request[name] = [*fixed[:-1], {**fixed[-1], "cache_control": mark}]
            return  # tools come before the system prompt, so one mark is enough


def _make(settings: dict[str, Any], asynchronous: bool, base_url: str | None, api_key: str | None) -> Any:
    """A client of the SDK."""
    sdk = _import_sdk()
    given = {"base_url": base_url, "api_key": api_key}
    settings = {**settings, **{name: value for name, value in given.items() if value is not None}}
    make = sdk.AsyncAnthropic if asynchronous else sdk.Anthropic
    client = make(**client_settings(sdk, asynchronous, settings, direct=False))
    check_address("the service's address", client.base_url)  # it may come from the environment
    return client


def _import_sdk() -> ModuleType:
    return import_sdk("anthropic", "anthropic", "AnthropicModel")


def _unchanged(request: dict[str, Any]) -> dict[str, Any]:
    """A request as arguments with which the SDK sends it as it is, also what this release of it does not know."""
    arguments = {name: value for name, value in request.items() if name in _SDK_ARGUMENTS}
    body = {name: value for name, value in request.items() if name not in _SDK_ARGUMENTS}
    body.update(arguments.pop("extra_body", None) or {})
    # The number of tokens among the arguments would only make the SDK refuse long replies that are not streamed.
    return {**arguments, "model": body["model"], "max_tokens": 1, "messages": (), "extra_body": body}
