"""Calls are read from whatever a model writes."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from actloop.loop.parsing import Misread
from actloop.loop.replies import CallReader, Calls
from actloop.values.messages import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole

if TYPE_CHECKING:
    from actloop.loop.effects import ToolRequest


def read(text: str) -> list[tuple[str, Any]]:
    found = CallReader(native=False).read(ChatMessage(MessageRole.ASSISTANT, text), 1)
    assert isinstance(found, Calls), found
    return [(call.name, list(call.args) if call.args else dict(call.kwargs)) for call in found.requests]


def own(*calls: tuple[str, str, Any]) -> tuple[ToolRequest, ...]:
    """The calls of a reply with tool calls of its own: id, name, arguments."""
    message = ChatMessage(
        MessageRole.ASSISTANT,
        None,
        tool_calls=[ChatMessageToolCall(ChatMessageToolCallFunction(given, name), id) for id, name, given in calls],
    )
    found = CallReader(native=True).read(message, 1)
    assert isinstance(found, Calls)
    assert found.thought is None
    return found.requests


PARIS = [("get_weather", {"city": "Paris"})]
JSON = '{"name": "get_weather", "arguments": {"city": "Paris"}}'


@pytest.mark.parametrize(
    "text",
    [
        JSON,
        f"Thought: I look.\n{JSON}",
        f"Action:\n{JSON}\nObservation: it is 30 degrees\n{JSON}",
        f"I call it.\n```json\n{JSON}\n```\nThen I see.",
        f"```\n{JSON}\n```",
        f"```tool_call\n{JSON}\n```",
        f"<tool_call>\n{JSON}\n</tool_call>",
        f"<tool_call>\n{JSON}",
        f"<|python_tag|>{JSON}<|eom_id|>",
        f"<code>\n{JSON}\n</code>",
        f"[TOOL_CALLS] [{JSON}]",
        f"<think>Which tool?</think>\n{JSON}",
        f'[{{"type": "function", "function": {JSON}}}]',
        f'{{"thought": "so", "tool_calls": [{{"function": {JSON}}}]}}',
        '{"function": {"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}}',
        '<tools>\n{{"name": "get_weather", "arguments": {"city": "Paris"}}}\n</tools>',
        '{"action": "get_weather", "action_input": {"city": "Paris"}}',
        '{"tool": "functions.get_weather", "parameters": {"city": "Paris"}}',
        'Thought: so\nAction: get_weather\nAction Input: {"city": "Paris"}\nObservation: 3',
        '<function=get_weather>{"city": "Paris"}</function>',
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
        '<code>\nget_weather(city="Paris")\n</code>',
        '```python\nweather = get_weather(city="Paris")\nprint(weather)\n```',
        'print(get_weather(city="Paris"))',
        'get_weather({"city": "Paris"})',
        'functions.get_weather(city="Paris")',
        'weather = get_weather(city="Paris")\nfinal_answer(weather)',
    ],
)
def test_a_call_in_any_form(text: str) -> None:
    assert read(text) == PARIS


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "f", "arguments": {"a": 1}}\n{"name": "g", "arguments": {"b": [null, true, 1.5]}}',
        'Thought: both\n{"name": "f", "arguments": {"a": 1}}\n{"name": "g", "arguments": {"b": [null, true, 1.5]}}',
        '[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {"b": [null, true, 1.5]}}]',
        (
            '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>\n'
            '<tool_call>{"name": "g", "arguments": {"b": [null, true, 1.5]}}</tool_call>'
        ),
        "f(a=1)\nx = g(b=[None, True, 1.5])\nprint(x)",
        "```python\nprint(f(a=1))\nprint(g(b=[None, True, 1.5]))\n```",
    ],
)
def test_several_calls_in_one_reply(text: str) -> None:
    assert read(text) == [("f", {"a": 1}), ("g", {"b": [None, True, 1.5]})]


def test_names_that_python_does_not_know() -> None:
    assert read('{"name": "image-generator", "arguments": {"prompt": "x"}}') == [("image-generator", {"prompt": "x"})]


def test_the_only_argument_may_lack_its_name() -> None:
    assert read('{"name": "web_search", "arguments": "the sea"}') == [("web_search", ["the sea"])]
    assert read('Action: web_search\nAction Input: "the sea"') == [("web_search", ["the sea"])]


def test_a_call_of_an_interpreter_stays_a_call() -> None:
    text = '{"name": "python_interpreter", "arguments": {"code": "1 + 1"}}'
    assert read(text) == [("python_interpreter", {"code": "1 + 1"})]


@pytest.mark.parametrize("key", ["final_answer", "result", "value"])
def test_an_answer_under_another_key(key: str) -> None:
    assert read(json.dumps({"name": "final_answer", "arguments": {key: 3}})) == [("final_answer", [3])]


def test_an_answer_that_is_a_mapping() -> None:
    assert read('{"name": "final_answer", "arguments": {"Paris": 3}}') == [("final_answer", {"Paris": 3})]


def test_text_in_python_keeps_its_escapes_and_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(r'f(a="one\ntwo \d \\ \u00e9")') == [("f", {"a": "one\ntwo \\d \\ é"})]


@pytest.mark.parametrize(
    "text", ["", "It is warm in Paris.", "for city in cities:\n    get_weather(city)", "x = 3", '{"city": "Paris"}']
)
@pytest.mark.parametrize("native", [True, False])
def test_what_holds_no_call_is_answered_with_what_to_write(text: str, native: bool) -> None:
    found = CallReader(native=native).read(ChatMessage(MessageRole.ASSISTANT, text), 1)
    assert isinstance(found, Misread)
    assert "final_answer" in found.message
    assert ('{"name"' in found.message) is not native
    assert "<code>" not in found.message


def test_hostile_text_is_read_in_bounded_time() -> None:
    for text in ("{" * 50_000, '{"name":' * 20_000, "f(" * 50_000, "<tool_call>" * 20_000, "[" * 100_000):
        assert isinstance(CallReader(native=False).read(ChatMessage(MessageRole.ASSISTANT, text), 1), Misread)


def test_a_message_with_very_many_calls_is_cut() -> None:
    assert len(own(*[(str(number), "f", {"a": number}) for number in range(1000)])) == 64


# -------------------------------------------------------------------------------------------- the model's own calls


def test_arguments_as_json_text_as_a_mapping_and_none() -> None:
    calls = own(("a", "f", '{"x": 1}'), ("b", "f", {"x": 2}), ("c", "g", ""), ("d", "g", None), ("e", "h", "plain"))
    assert [(call.args, call.kwargs) for call in calls] == [
        ((), {"x": 1}),
        ((), {"x": 2}),
        ((), {}),
        ((), {}),
        (("plain",), {}),
    ]


def test_arguments_written_as_python_are_understood() -> None:
    assert own(("a", "f", "{'x': True}"))[0].kwargs == {"x": True}


def test_arguments_that_break_off_are_not_passed_on() -> None:
    (call,) = own(("a", "f", '{"path": "/etc'))
    assert "no valid JSON" in (call.refusal or "")


@pytest.mark.parametrize("ids", [["", ""], ["x", "x"], [None, "x"]])
def test_ids_are_unique_whatever_the_service_gives(ids: list[Any]) -> None:
    calls = own(*[(identity, "f", {"a": number}) for number, identity in enumerate(ids)])
    assert len({call.id for call in calls}) == len(ids)
    assert all(call.id for call in calls)


def test_ids_are_unique_within_a_run() -> None:
    reader = CallReader(native=True)
    message = ChatMessage(
        MessageRole.ASSISTANT, tool_calls=[ChatMessageToolCall(ChatMessageToolCallFunction({}, "f"), "call_0")]
    )
    first, second = reader.read(message, 1), reader.read(message, 2)
    assert isinstance(first, Calls)
    assert isinstance(second, Calls)
    assert first.requests[0].id == "call_0"
    assert second.requests[0].id not in ("", "call_0")


def test_an_answer_beside_other_calls_waits_for_their_results() -> None:
    call, answer = own(("a", "f", {"x": 1}), ("b", "final_answer", {"answer": 3}))
    assert call.refusal is None
    assert "alone" in (answer.refusal or "")


def test_several_answers() -> None:
    (one,) = own(("a", "final_answer", {"answer": 3}), ("b", "final_answer", {"answer": 3}))
    assert one.refusal is None
    two = own(("a", "final_answer", {"answer": 3}), ("b", "final_answer", {"answer": 4}))
    assert all("several times" in (call.refusal or "") for call in two)
