"""Models at Amazon Bedrock, by its Converse interface."""

from __future__ import annotations

import base64
import functools
import importlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import AgentGenerationError
from actloop.models.api import DEFAULT_TIMEOUT, ServiceModel, from_environment, in_time
from actloop.models.blocks import BlockReader, counts_of, read_blocks, tokens_of
from actloop.models.clients import CONNECT_SECONDS, Clients, import_sdk
from actloop.models.failures import broken, late, lost, readable, refused
from actloop.models.fields import get, items, text
from actloop.models.turns import turns_of
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from actloop.models.api import Conversation
    from actloop.models.base import ToolLike
    from actloop.values.messages import ChatMessage, ChatMessageStreamDelta

_READ = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
_WRITTEN = "outputTokens"
_CACHE_POINT = {"cachePoint": {"type": "default"}}
_SETTINGS = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP", "stop": "stopSequences"}
_CACHING = ("anthropic.claude", "amazon.nova")
_NOT_CACHING = (
    "claude-instant",
    "claude-v2",
    "claude-3-haiku",
    "claude-3-sonnet",
    "claude-3-opus",
    "claude-3-5-sonnet-20240620",
)
_CHOOSING = ("anthropic.", "amazon.nova", "mistral.")
_STATUS = {
    "validationException": 400,
    "modelStreamErrorException": 424,
    "throttlingException": 429,
    "internalServerException": 500,
    "serviceUnavailableException": 503,
}
_CONNECTIONS = 50  # kept open for threads that send at once


class AmazonBedrockModel(ServiceModel):
    """A model at Amazon Bedrock. It signs in as boto3 does: by `AWS_BEARER_TOKEN_BEDROCK`, keys, profiles or roles.

    Args:
        model_id: The model's id, or that of an inference profile.
        client: A boto3 client for `bedrock-runtime`, to be used instead of one of our own.
        client_kwargs: Arguments of the boto3 client, `region_name` for instance; `profile_name` too.
        custom_role_conversions: Roles to send instead of others: `{"system": "user"}` for models that know no system
            prompt.
        timeout: Seconds to wait for the next part of a reply, and for a streamed reply as a whole.
        prompt_caching: Mark the system prompt and the end of the conversation, so that the service remembers what it
            has read; by default where the model's id says that it can.
        **kwargs: `native_tool_calls`, `requests_per_minute` and `retry` as for `ServiceModel`; `max_tokens`,
            `temperature` and `top_p` as for other models; all else (`inferenceConfig`, `guardrailConfig`,
            `additionalModelRequestFields` ...) is added to every request.
    """

    def __init__(
        self,
        model_id: str,
        client: Any | None = None,
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        prompt_caching: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model_id=model_id,
            client=client,
            client_kwargs=client_kwargs,
            custom_role_conversions=custom_role_conversions,
            timeout=timeout,
            **kwargs,
        )
        self.prompt_caching = _can_cache(model_id) if prompt_caching is None else prompt_caching
        self._clients = Clients(self, functools.partial(_make, self.client_kwargs, timeout))

    def create_client(self) -> Any:
        """The boto3 client of this process."""
        return self._clients.blocking()

    def close(self) -> None:
        """Close open connections; a later request opens new ones."""
        self._clients.close()

    def to_dict(self) -> dict[str, Any]:
        """As for `ServiceModel`."""
        return {**super().to_dict(), "prompt_caching": self.prompt_caching}

    @property
    def _is_asynchronous(self) -> bool:
        return False  # boto3 blocks

    def _request(
        self,
        messages: Conversation,
        stop_sequences: list[str] | None,
        response_format: dict[str, Any] | None,
        tools_to_call_from: Sequence[ToolLike] | None,
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        options: dict[str, Any] = {"modelId": self.model_id, **kwargs}
        request = self._prepare_completion_kwargs((), stop_sequences, response_format, tools_to_call_from, **options)
        tools: list[dict[str, Any]] = request.pop("tools", None) or []
        fields: object = request.get("additionalModelRequestFields")
        thinking: object = get(fields, "thinking") or get(fields, "reasoning_config")
        system, turns = turns_of(
            messages,
            self.custom_role_conversions,
            native_tool_calls=self.native_tool_calls and bool(tools or "toolConfig" in request),
            needs_thoughts=get(thinking, "type") == "enabled",
        )
        request["messages"] = [{"role": turn["role"], "content": [_sent(b) for b in turn["content"]]} for turn in turns]
        if system:
            request.setdefault("system", [{"text": text} for text in system])
        settings = {sent: request.pop(name) for name, sent in _SETTINGS.items() if name in request}
        if settings:
            request["inferenceConfig"] = {**settings, **request.get("inferenceConfig", {})}
        _add_format(request)
        self._add_tools(request, tools, forced=get(thinking, "type") in (None, "disabled"))
        if self.prompt_caching:
            _mark(request)
        return request

    def _add_tools(self, request: dict[str, Any], tools: list[dict[str, Any]], *, forced: bool) -> None:
        choice: Any = request.pop("tool_choice", None)
        if not tools or choice == "none":
            return
        config: dict[str, Any] = {"tools": [_tool(tool) for tool in tools]}
        if isinstance(choice, str):
            able = forced and any(name in str(self.model_id) for name in _CHOOSING)
            choice = (
                {"any": {}}
                if choice == "required" and able
                else None
                if choice in ("required", "auto")
                else {"tool": {"name": choice}}
            )
        elif get(choice, "type") == "function":
            choice = {"tool": {"name": get(choice["function"], "name")}}
        if choice is not None:
            config["toolChoice"] = choice
        request.setdefault("toolConfig", config)

    def _send(self, request: dict[str, Any]) -> Any:
        with readable(self._where):
            return self.client.converse(**request)

    @contextmanager
    def _open(self, request: dict[str, Any]) -> Generator[Any]:
        response: Any = self.client.converse_stream(**request)
        stream = response["stream"]
        try:
            yield in_time(stream, self.timeout, self._where)
        finally:
            if hasattr(stream, "close"):
                stream.close()

    def _read(self, response: Any, stop_sequences: list[str] | None) -> ChatMessage:
        blocks: Any = get(get(get(response, "output"), "message"), "content")
        if not isinstance(blocks, list):
            raise broken(self._where, f"its answer holds no content: {cut(str(response), 300)!r}")
        received = [_received(block) for block in cast("list[Any]", blocks)]
        reason = text(get(response, "stopReason"))
        message = read_blocks(received, stop_sequences, reason, self._where, response)
        message.token_usage = tokens_of(counts_of(get(response, "usage"), (*_READ, _WRITTEN)), _READ, _WRITTEN)
        return message

    def _reader(self, stop_sequences: list[str] | None) -> EventReader:
        return EventReader(stop_sequences, self._where)

    @contextmanager
    def _explained(self) -> Generator[None]:
        import_sdk("boto3", "bedrock", "AmazonBedrockModel")
        eventstream, exceptions, parsers, http = _errors()
        where = self._where
        try:
            yield
        except exceptions.ClientError as error:
            answer = cast("dict[str, Any]", error.response)
            said, about = answer.get("Error", {}), answer.get("ResponseMetadata", {})
            code = str(said.get("Code"))
            status = _STATUS.get(code) or about.get("HTTPStatusCode") or 500
            told = f"{code}: {said.get('Message')}"
            raise refused(where, status, None, told, about.get("HTTPHeaders")) from error
        except (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError, http.TimeoutError) as error:
            raise late(where, self.timeout) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError, http.HTTPError) as error:
            raise lost(where, error) from error
        except (
            parsers.ResponseParserError,
            eventstream.ParserError,
            json.JSONDecodeError,
            UnicodeDecodeError,
        ) as error:
            raise broken(where, f"it cannot be read ({error})") from error
        except exceptions.BotoCoreError as error:
            raise AgentGenerationError(f"No request to {where} could be made: {error}") from error

    @property
    def _where(self) -> str:
        place = self.client_kwargs.get("endpoint_url") or self.client_kwargs.get("region_name")
        return f"{self.model_id} at {place}" if place else f"{self.model_id} at Bedrock"

    @property
    def _keys(self) -> tuple[str | None, ...]:
        names = ("aws_secret_access_key", "aws_session_token")
        given = (text(self.client_kwargs.get(name)) for name in names)
        return (*given, *from_environment(*map(str.upper, names), "AWS_BEARER_TOKEN_BEDROCK"))


AmazonBedrockServerModel = AmazonBedrockModel


class EventReader(BlockReader):
    """Reads the events of a streamed reply; each is a mapping with its kind as the only key."""

    read_names = _READ
    written_name = _WRITTEN

    def read(self, event: Any) -> ChatMessageStreamDelta | None:
        """What an event says, if anything."""
        for kind, value in cast("dict[str, Any]", event).items():
            match kind:
                case "contentBlockStart":
                    call = get(get(value, "start"), "toolUse")
                    if call is not None:
                        return self._calling(text(get(call, "toolUseId")), text(get(call, "name")))
                case "contentBlockDelta":
                    return self._piece(get(value, "delta"))
                case "contentBlockStop":
                    return self._block_ended()
                case "messageStop":
                    self._reason = text(get(value, "stopReason")) or "end_turn"
                case "metadata":
                    self._told_usage(get(value, "usage"))
                case _:
                    pass
        return None

    def _piece(self, delta: object) -> ChatMessageStreamDelta | None:
        if (said := text(get(delta, "text"))) is not None:
            return self._said(said)
        if (call := get(delta, "toolUse")) is not None:
            return self._argument(text(get(call, "input")) or "")
        thought = get(delta, "reasoningContent")
        self._signature += text(get(thought, "signature")) or ""
        if (redacted := get(thought, "redactedContent")) is not None:
            self._redacted = (self._redacted or "") + _as_text(redacted)
        return self._thinking(text(get(thought, "text")) or "")


def _sent(block: dict[str, Any]) -> dict[str, Any]:
    """A block as Bedrock takes it."""
    match block.get("type"):
        case "text":
            return {"text": block["text"]}
        case "image":
            return {"image": _image(block["source"])}
        case "tool_use":
            return {"toolUse": {"toolUseId": block["id"], "name": block["name"], "input": block["input"]}}
        case "tool_result":
            return {"toolResult": {"toolUseId": block["tool_use_id"], "content": [_sent(b) for b in block["content"]]}}
        case "thinking":
            return {"reasoningContent": {"reasoningText": {"text": block["thinking"], "signature": block["signature"]}}}
        case "redacted_thinking":
            return {"reasoningContent": {"redactedContent": base64.b64decode(block["data"])}}
        case _:
            return {name: value for name, value in block.items() if name != "type"}


def _image(source: dict[str, Any]) -> dict[str, Any]:
    if source["type"] == "base64":
        kind = str(source["media_type"]).partition("/")[2]
        return {"format": kind, "source": {"bytes": base64.b64decode(source["data"])}}
    url = str(source["url"])
    if not url.startswith("s3://"):
        raise ValueError(
            f"Bedrock takes no image by its address ({cut(url, 100)}): give the image itself, or an s3:// address"
        )
    kind = url.rpartition(".")[2].lower()
    return {"format": "jpeg" if kind == "jpg" else kind, "source": {"s3Location": {"uri": url}}}


def _received(block: object) -> dict[str, Any]:
    """A block of a reply in Anthropic's form."""
    if (said := get(block, "text")) is not None:
        return {"type": "text", "text": said}
    if (call := get(block, "toolUse")) is not None:
        return {
            "type": "tool_use",
            "id": get(call, "toolUseId"),
            "name": get(call, "name"),
            "input": get(call, "input"),
        }
    if (thought := get(block, "reasoningContent")) is not None:
        if (redacted := get(thought, "redactedContent")) is not None:
            return {"type": "redacted_thinking", "data": _as_text(redacted)}
        inner = get(thought, "reasoningText")
        return {"type": "thinking", "thinking": get(inner, "text"), "signature": get(inner, "signature")}
    return {}


def _as_text(redacted: Any) -> str:
    return base64.b64encode(redacted).decode() if isinstance(redacted, bytes) else str(redacted)


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        return tool
    function: dict[str, Any] = tool["function"]
    spec = {"name": function["name"], "inputSchema": {"json": function["parameters"]}}
    if function.get("description"):
        spec["description"] = function["description"]
    return {"toolSpec": spec}


def _add_format(request: dict[str, Any]) -> None:
    """OpenAI's response format as the service's own."""
    given: Any = request.pop("response_format", None)
    if get(given, "type") == "json_schema":
        named = cast("dict[str, Any]", given["json_schema"])
        schema = {"name": named.get("name", "answer"), "schema": json.dumps(named.get("schema", {}))}
        form = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
        request["outputConfig"] = {**form, **request.get("outputConfig", {})}


def _mark(request: dict[str, Any]) -> None:
    """Ask the service to remember the tools and system prompt, and the conversation up to its end."""
    if request.get("system"):
        request["system"] = [*request["system"], _CACHE_POINT]
    elif items(get(request.get("toolConfig"), "tools")):
        config = request["toolConfig"]
        request["toolConfig"] = {**config, "tools": [*config["tools"], _CACHE_POINT]}
    last: dict[str, Any] = request["messages"][-1]
    if last["role"] == "user":
        last["content"].append(_CACHE_POINT)


def _errors() -> tuple[Any, Any, Any, Any]:
    """The modules of all the errors that boto3 lets through."""
    names = ("botocore.eventstream", "botocore.exceptions", "botocore.parsers", "urllib3.exceptions")
    eventstream, exceptions, parsers, http = map(importlib.import_module, names)
    return eventstream, exceptions, parsers, http


def _can_cache(model_id: str) -> bool:
    return any(name in model_id for name in _CACHING) and not any(name in model_id for name in _NOT_CACHING)


def _make(settings: dict[str, Any], seconds: float, asynchronous: bool) -> Any:  # noqa: ARG001  # boto3 only blocks
    """A boto3 client without retries of its own."""
    boto3 = import_sdk("boto3", "bedrock", "AmazonBedrockModel")
    config = importlib.import_module("botocore.config").Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        read_timeout=seconds,
        connect_timeout=min(seconds, CONNECT_SECONDS),
        max_pool_connections=_CONNECTIONS,
    )
    given = dict(settings)
    if given.get("config") is not None:
        config = config.merge(given.pop("config"))
    # A session of its own, since boto3's shared one may not be used by several threads at once.
    core = importlib.import_module("botocore.session").Session(profile=given.pop("profile_name", None))
    core.register_component("data_loader", _loader())
    return boto3.session.Session(botocore_session=core).client("bedrock-runtime", **given, config=config)


@functools.cache
def _loader() -> Any:
    """Reads boto3's descriptions of services, which are long, once for all models."""
    return importlib.import_module("botocore.loaders").create_loader()
