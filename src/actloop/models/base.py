"""What every model is: messages in, a reply out, blocking, streaming or awaited."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Protocol, cast

from actloop.errors import AgentParsingError
from actloop.models.conversion import get_clean_message_list, tool_role_conversions
from actloop.models.threads import call_in_thread, iterate_in_thread
from actloop.values.arguments import remember_arguments
from actloop.values.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    ChatMessageToolCallStreamDelta,
    MessageRole,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
    from typing import Self

CODEAGENT_RESPONSE_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "ThoughtAndCodeAnswer",
        "strict": True,
        "schema": {
            "title": "ThoughtAndCodeAnswer",
            "type": "object",
            "properties": {
                "thought": {"title": "Thought", "type": "string", "description": "What to do next, and why."},
                "code": {"title": "Code", "type": "string", "description": "Valid Python code that does it."},
            },
            "required": ["thought", "code"],
            "additionalProperties": False,
        },
    },
}
"""Response format of a code agent with `use_structured_outputs_internally`."""

_SECRETS = frozenset({"token", "api_key"})
_EXPORTED = (
    "custom_role_conversions",
    "temperature",
    "max_tokens",
    "provider",
    "timeout",
    "api_base",
    "torch_dtype",
    "device_map",
    "organization",
    "project",
    "azure_endpoint",
)
_NO_STOP = re.compile(r"o3(?:[-.].*)?|o4(?:[-.].*)?|gpt-5.*|(?:[A-Za-z][\w-]*\.)?grok-[A-Za-z0-9][\w.-]*")


class ToolLike(Protocol):
    """The part of a tool that a model is told about."""

    name: str
    description: str
    inputs: Any


class _RemoveParameter:
    def __repr__(self) -> str:
        return "REMOVE_PARAMETER"


REMOVE_PARAMETER: Any = _RemoveParameter()
"""Given as a model's keyword argument, it removes that parameter from every request."""


def supports_stop_parameter(model_id: str) -> bool:
    """Whether a hosted model takes `stop`; OpenAI's o3, o4 and gpt-5 families and xAI's grok do not (o3-mini does)."""
    name = model_id.rsplit("/", 1)[-1]
    return name == "o3-mini" or _NO_STOP.fullmatch(name) is None


def remove_content_after_stop_sequences(content: str | None, stop_sequences: Sequence[str] | None) -> str | None:
    """The text before the first stop sequence in it, wherever a service does not stop by itself."""
    if not content or not stop_sequences:
        return content
    ends = [end for stop in stop_sequences if stop and (end := content.find(stop)) >= 0]
    return content[: min(ends)] if ends else content


def parse_json_if_needed(arguments: str | dict[str, Any]) -> Any:
    """Decodes arguments that arrived as JSON text; what is not JSON stays as it is."""
    if isinstance(arguments, dict):
        return arguments
    try:
        return json.loads(arguments)
    except (TypeError, ValueError, RecursionError):
        return arguments


def get_tool_json_schema(tool: ToolLike) -> dict[str, Any]:
    """A tool as an OpenAI function definition."""
    from actloop.tools.render import tool_json_schema

    return tool_json_schema(tool)


def get_tool_call_from_text(text: str, tool_name_key: str, tool_arguments_key: str) -> ChatMessageToolCall:
    """The first tool call written as JSON in a text, whatever stands around it.

    Raises:
        AgentParsingError: No JSON object in the text names a tool.
    """
    found: list[str] = []
    for value in _json_objects(text):
        nested = value.get("function")
        call = cast("dict[str, Any]", nested) if isinstance(nested, dict) else value
        name = call.get(tool_name_key)
        if isinstance(name, str):
            arguments = call.get(tool_arguments_key)
            if isinstance(arguments, str):
                arguments = parse_json_if_needed(arguments)
            import uuid

            return ChatMessageToolCall(ChatMessageToolCallFunction(arguments, name), id=str(uuid.uuid4()))
        found.append(f"an object with the keys {sorted(value)}")
    example = json.dumps({tool_name_key: "tool name", tool_arguments_key: {"argument": "value"}})
    seen = " and ".join(found[:3]) or "no JSON object"
    raise AgentParsingError(f"The reply holds no tool call, but {seen}. Reply with one JSON object: {example}")


def _json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object in a text, in order."""
    decoder = json.JSONDecoder(strict=False)
    position = text.find("{")
    while position >= 0:
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
        else:
            if isinstance(value, dict):
                yield cast("dict[str, Any]", value)
        position = text.find("{", position)


class Model:
    """Base class of models. A subclass implements `generate`, and `generate_stream` where it can stream.

    Args:
        flatten_messages_as_text: Send content as plain text where a service takes no list of parts.
        tool_name_key: Key of a tool's name in a call that the model writes as JSON text.
        tool_arguments_key: Key of its arguments.
        model_id: The model's name.
        context_window: Tokens that a request and its reply may have together, as the model's maker states them.
        supports_images: Show the model images that programs and tools give.
        **kwargs: Added to every request; they win over what a caller of `generate` passes. `REMOVE_PARAMETER` as a
            value removes a parameter.
    """

    supports_grammar: bool = False
    """Whether `generate` takes `grammar`, a GBNF grammar that the reply must follow."""

    native_tool_calls: bool = False
    """Whether the service returns tool calls apart from the text, and takes them and their answers back by id."""

    context_window: int | None = None
    """Tokens that a request and its reply may have together; None where it is not known."""

    supports_images: bool = False
    """Whether the model is shown images that a program or a tool gave; those of a task are sent in any case."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """A model that knows what it was constructed with, so that it can be saved."""
        self = super().__new__(cls)
        remember_arguments(self, args, kwargs)
        return self

    def __init__(
        self,
        flatten_messages_as_text: bool = False,
        tool_name_key: str = "name",
        tool_arguments_key: str = "arguments",
        model_id: str | None = None,
        context_window: int | None = None,
        supports_images: bool | None = None,
        **kwargs: Any,
    ) -> None:
        self.flatten_messages_as_text = flatten_messages_as_text
        self.tool_name_key = tool_name_key
        self.tool_arguments_key = tool_arguments_key
        self.model_id = model_id
        self.kwargs: dict[str, Any] = kwargs
        if context_window is not None:
            self.context_window = context_window
        if supports_images is not None:
            self.supports_images = supports_images

    @property
    def supports_stop_parameter(self) -> bool:
        """Whether the service takes stop sequences."""
        return supports_stop_parameter(self.model_id or "")

    @property
    def offers_tools(self) -> bool:
        """Whether a tool-calling agent hands it the tools by `tools_to_call_from`, and does not only write of them."""
        return True

    @property
    def supports_streaming(self) -> bool:
        """Whether replies can be had piece by piece."""
        return type(self).generate_stream is not Model.generate_stream or type(self).astream is not Model.astream

    def _prepare_completion_kwargs(
        self,
        messages: Sequence[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        custom_role_conversions: Mapping[str, str] | None = None,
        convert_images_to_image_urls: bool = False,
        tool_choice: str | dict[str, Any] | None = "required",
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The parameters of a request. The model's own `kwargs` win over `kwargs`, and these over the rest."""
        flatten: bool = kwargs.pop("flatten_messages_as_text", self.flatten_messages_as_text)
        request: dict[str, Any] = {
            "messages": get_clean_message_list(
                messages,
                role_conversions=custom_role_conversions or tool_role_conversions,
                convert_images_to_image_urls=convert_images_to_image_urls,
                flatten_messages_as_text=flatten,
                native_tool_calls=self.native_tool_calls,
            )
        }
        if stop_sequences and self.supports_stop_parameter:
            request["stop"] = stop_sequences
        if response_format is not None:
            request["response_format"] = response_format
        if tools_to_call_from:
            request["tools"] = [get_tool_json_schema(tool) for tool in tools_to_call_from]
            if tool_choice is not None:
                request["tool_choice"] = tool_choice
        request.update(kwargs)
        request.update(self.kwargs)
        return {name: value for name, value in request.items() if value is not REMOVE_PARAMETER}

    def generate(
        self,
        messages: Sequence[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The model's reply to a conversation.

        Args:
            messages: The conversation so far; it is not changed.
            stop_sequences: Texts at which the reply ends; they are not part of it.
            response_format: JSON Schema response format in OpenAI's shape.
            tools_to_call_from: Tools that the model may call by the service's own tool calls.
            **kwargs: Further parameters of the request, `grammar` where the model supports it.

        Raises:
            AgentGenerationError: No reply could be had.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement generate()")

    def generate_stream(
        self,
        messages: Sequence[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> Generator[ChatMessageStreamDelta]:
        """As `generate`, piece by piece; a model that cannot stream hands out its whole reply as one piece."""
        yield as_delta(self.generate(messages, stop_sequences, response_format, tools_to_call_from, **kwargs))

    async def agenerate(
        self,
        messages: Sequence[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """As `generate`, awaited. Without an asynchronous client it runs in a thread of its own.

        Cancelling it returns at once; a request that a thread has sent already runs to its end unheard.
        """
        return await call_in_thread(
            lambda: self.generate(messages, stop_sequences, response_format, tools_to_call_from, **kwargs)
        )

    async def astream(
        self,
        messages: Sequence[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: Sequence[ToolLike] | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[ChatMessageStreamDelta]:
        """As `generate_stream`, asynchronous. Without an asynchronous client it runs in a thread of its own."""
        deltas = iterate_in_thread(
            lambda: self.generate_stream(messages, stop_sequences, response_format, tools_to_call_from, **kwargs)
        )
        try:
            async for delta in deltas:
                yield delta
        finally:
            await deltas.aclose()

    def __call__(self, *args: Any, **kwargs: Any) -> ChatMessage:
        """The same as `generate`."""
        return self.generate(*args, **kwargs)

    def parse_tool_calls(self, message: ChatMessage) -> ChatMessage:
        """The message with its tool calls, read from its text where the service did not return them apart.

        Raises:
            AgentParsingError: There is no tool call in it.
        """
        message.role = MessageRole.ASSISTANT
        if not message.tool_calls:
            call = get_tool_call_from_text(message.text, self.tool_name_key, self.tool_arguments_key)
            message.tool_calls = [call]
        for call in message.tool_calls:
            call.function.arguments = parse_json_if_needed(call.function.arguments or {})
        return message

    def to_dict(self) -> dict[str, Any]:
        """The model's settings as plain data, without keys and tokens: pass those again when you load it."""
        data = {name: value for name, value in self.kwargs.items() if name not in _SECRETS}
        data["model_id"] = self.model_id
        for name in _EXPORTED:
            if hasattr(self, name):
                data[name] = getattr(self, name)
        own = vars(self)
        data |= {name: own[name] for name in ("context_window", "supports_images") if name in own}
        return data

    @classmethod
    def from_dict(cls, model_dictionary: dict[str, Any]) -> Self:
        """A model from what `to_dict` gave."""
        return cls(**model_dictionary)


def as_delta(message: ChatMessage) -> ChatMessageStreamDelta:
    """A whole reply as a single piece of a stream."""
    calls = [
        ChatMessageToolCallStreamDelta(
            index=index,
            id=call.id,
            type=call.type,
            function=ChatMessageToolCallFunction(
                arguments=call.function.arguments
                if isinstance(call.function.arguments, str)
                else json.dumps(call.function.arguments),
                name=call.function.name,
            ),
        )
        for index, call in enumerate(message.tool_calls or ())
    ]
    return ChatMessageStreamDelta(
        content=message.text or None,
        tool_calls=calls or None,
        token_usage=message.token_usage,
        reasoning_content=message.reasoning_content,
        reasoning_details=message.reasoning_details,
    )
