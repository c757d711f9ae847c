"""What all models share: conversion of messages, tool calls in text, stops, threads under asyncio."""

import asyncio
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from actloop.errors import AgentParsingError
from actloop.models.base import (
    REMOVE_PARAMETER,
    Model,
    get_tool_json_schema,
    parse_json_if_needed,
    remove_content_after_stop_sequences,
    supports_stop_parameter,
)
from actloop.models.conversion import get_clean_message_list, tool_role_conversions
from actloop.models.stops import StopFilter
from actloop.values.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
)

USER, ASSISTANT, SYSTEM = MessageRole.USER, MessageRole.ASSISTANT, MessageRole.SYSTEM


@dataclass
class Described:
    name: str = "weather"
    description: str = "Weather of a city."
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])


class Echo(Model):
    """Replies with what it was asked, in a thread it tells about."""

    threads: list[threading.Thread]

    def generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatMessage:
        self.threads = [*getattr(self, "threads", []), threading.current_thread()]
        if messages == ["fail"]:
            raise ValueError("failed")
        return ChatMessage(ASSISTANT, str(messages))


class Endless(Model):
    """Streams without end, and notes when it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = threading.Event()

    def generate_stream(self, *args: Any, **kwargs: Any) -> Generator[ChatMessageStreamDelta]:
        try:
            while True:
                yield ChatMessageStreamDelta(content="x")
        finally:
            self.closed.set()


def test_messages_of_one_role_are_merged_and_tool_roles_converted() -> None:
    conversation: list[ChatMessage | dict[str, Any]] = [
        ChatMessage(SYSTEM, "be brief"),
        ChatMessage(USER, [{"type": "text", "text": "one"}]),
        ChatMessage(MessageRole.TOOL_RESPONSE, "two"),
        ChatMessage(MessageRole.TOOL_CALL, "calling"),
        {"role": "assistant", "content": "done"},
    ]
    before = repr(conversation)
    cleaned = get_clean_message_list(conversation, tool_role_conversions)
    assert cleaned == [
        {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "user", "content": [{"type": "text", "text": "one\ntwo"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "calling\ndone"}]},
    ]
    assert repr(conversation) == before
    flat = get_clean_message_list(conversation, tool_role_conversions, flatten_messages_as_text=True)
    assert [message["content"] for message in flat] == ["be brief", "one\ntwo", "calling\ndone"]


def test_images_become_data_urls_and_are_encoded_once() -> None:
    image = Image.new("RGB", (4, 4), "red")
    message = ChatMessage(USER, [{"type": "image", "image": image}, {"type": "text", "text": "what is it?"}])
    first = get_clean_message_list([message], convert_images_to_image_urls=True)
    again = get_clean_message_list([message], convert_images_to_image_urls=True)
    url = first[0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/png;base64,iVBOR")
    assert again[0]["content"][0]["image_url"]["url"] is url
    assert get_clean_message_list([message])[0]["content"][0] == {"type": "image", "image": url.split(",")[1]}


def test_images_are_refused_where_text_is_all_that_can_be_sent() -> None:
    message = ChatMessage(USER, [{"type": "image", "image": b"\xff\xd8"}])
    with pytest.raises(ValueError, match="text only"):
        get_clean_message_list([message], flatten_messages_as_text=True)


def test_unknown_roles_are_refused() -> None:
    with pytest.raises(ValueError, match="'narrator'"):
        get_clean_message_list([{"role": "narrator", "content": "once"}])


def test_stop_sequences_cut_at_the_first_one() -> None:
    assert remove_content_after_stop_sequences("a B c A", ["A", "B"]) == "a "
    assert remove_content_after_stop_sequences(None, ["A"]) is None
    assert remove_content_after_stop_sequences("text", None) == "text"


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("text", ["no stop at all", "before</code>after", "al</co almost </code", "</code>", "a\nObs"])
def test_a_stream_is_cut_where_the_whole_text_would_be(text: str, size: int) -> None:
    stops = ["</code>", "Observation:"]
    cut = StopFilter(stops)
    pieces = [cut.feed(text[i : i + size]) for i in range(0, len(text), size)]
    assert "".join(pieces) + cut.flush() == remove_content_after_stop_sequences(text, stops)
    assert cut.stopped == ("</code>" in text)


@pytest.mark.parametrize(
    ("model_id", "takes_stop"),
    [
        ("gpt-4o", True),
        ("openai/o3", False),
        ("o3-mini", True),
        ("o4-mini", False),
        ("gpt-5.1", False),
        ("xai.grok-3", False),
        ("grok-4", False),
        ("Qwen2.5", True),
        ("o30", True),
    ],
)
def test_which_models_take_stop(model_id: str, takes_stop: bool) -> None:
    assert supports_stop_parameter(model_id) is takes_stop


def test_a_tool_as_a_function_definition() -> None:
    inputs = {
        "city": {"type": "string", "description": "Where."},
        "day": {"type": "integer", "description": "Which day.", "nullable": True},
        "unit": {"anyOf": [{"type": "string", "enum": ["C", "F"]}, {"type": "null"}], "description": "Unit."},
        "more": {"type": "any", "description": "Anything."},
    }
    schema = get_tool_json_schema(Described(inputs=inputs))["function"]["parameters"]
    assert schema["required"] == ["city", "unit", "more"]
    assert schema["properties"]["unit"] == {
        "anyOf": [{"type": "string", "enum": ["C", "F"]}, {"type": "null"}],
        "description": "Unit.",
    }
    assert schema["properties"]["more"] == {"description": "Anything."}
    assert "anyOf" in inputs["unit"]


def test_the_models_own_parameters_win_and_can_remove() -> None:
    model = Model(model_id="m", temperature=0.5, seed=REMOVE_PARAMETER)
    request = model._prepare_completion_kwargs([], ["S"], temperature=1, seed=3, top_p=0.1)  # pyright: ignore[reportPrivateUsage]
    assert request == {"messages": [], "stop": ["S"], "temperature": 0.5, "top_p": 0.1}


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "add", "arguments": {"x": 1}}',
        'I call it:\n```json\n{"name": "add", "arguments": {"x": 1}}\n```\nand then {"name": "no"}',
        'first {not json} then {"name": "add", "arguments": "{\\"x\\": 1}"} }',
        '{"type": "function", "function": {"name": "add", "arguments": {"x": 1}}}',
    ],
)
def test_tool_calls_are_found_in_text(text: str) -> None:
    message = Model().parse_tool_calls(ChatMessage(USER, text))
    assert message.role == ASSISTANT
    assert [(c.function.name, c.function.arguments) for c in message.tool_calls or ()] == [("add", {"x": 1})]


@pytest.mark.parametrize("text", ["", "no call here", '{"x": 1}', "{" * 100_000, "[" * 100_000])
def test_a_text_without_a_tool_call_is_answered_with_an_example(text: str) -> None:
    with pytest.raises(AgentParsingError, match='"tool name"'):
        Model().parse_tool_calls(ChatMessage(ASSISTANT, text))


def test_arguments_that_are_not_json_stay_text() -> None:
    assert parse_json_if_needed('{"a": 1}') == {"a": 1}
    assert parse_json_if_needed("{broken") == "{broken"


def test_settings_survive_a_round_trip_without_secrets() -> None:
    model = Model(model_id="m", temperature=0.5, api_key="secret")
    data = model.to_dict()
    assert data == {"model_id": "m", "temperature": 0.5}
    assert Model.from_dict(data).to_dict() == data


async def test_awaiting_a_blocking_model_uses_another_thread() -> None:
    model = Echo()
    assert (await model.agenerate(["hi"])).content == "['hi']"  # pyright: ignore[reportArgumentType]
    assert model.threads[0] is not threading.current_thread()
    with pytest.raises(ValueError, match="failed"):
        await model.agenerate(["fail"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="failed"):
        _ = [delta async for delta in model.astream(["fail"])]  # pyright: ignore[reportArgumentType]


async def test_a_model_that_cannot_stream_hands_out_one_piece() -> None:
    model = Echo()
    assert not model.supports_streaming
    assert [delta.content async for delta in model.astream(["hi"])] == ["['hi']"]  # pyright: ignore[reportArgumentType]


async def test_leaving_a_stream_early_closes_the_blocking_one() -> None:
    model = Endless()
    stream = model.astream([])
    assert (await anext(stream)).content == "x"
    await stream.aclose()
    assert await asyncio.to_thread(model.closed.wait, 10)


def test_a_call_without_arguments_has_none() -> None:
    call = ChatMessageToolCall(ChatMessageToolCallFunction(arguments="", name="now"), id="1")
    message = Model().parse_tool_calls(ChatMessage(MessageRole.ASSISTANT, "", tool_calls=[call]))
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == {}
