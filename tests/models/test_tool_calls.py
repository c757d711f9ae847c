"""Tool calls at the wire: what a tool-calling agent sends to a service, and what it makes of the answers."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import pytest

from actloop import LogLevel, OpenAIModel, tool
from actloop.agents.tool_calling import ToolCallingAgent
from actloop.memory.steps import ActionStep
from actloop.values.messages import ChatMessageStreamDelta

from .conftest import DONE, Service, chunk, completion, stream


@tool
def get_weather(city: str, unit: str = "C") -> str:
    """Says how warm it is.

    Args:
        city: Name of the city.
        unit: Of the degrees.
    """
    if city == "Nowhere":
        raise ValueError("no such city")
    return f"18 {unit} in {city}"


def model_of(service: Service, **options: Any) -> OpenAIModel:
    return OpenAIModel("m", api_base=service.url, api_key="k", client_kwargs={"max_retries": 0}, **options)


def agent(model: OpenAIModel, **options: Any) -> ToolCallingAgent:
    return ToolCallingAgent([get_weather], model, verbosity_level=LogLevel.OFF, journal=None, **options)


def asks(name: str, arguments: Any, id: str | None = "c1") -> dict[str, Any]:
    """A call in a reply."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def paired(messages: list[dict[str, Any]]) -> None:
    """Check what services check: each call is answered, by its id, right behind the message that asked for it."""
    left: Counter[str] = Counter()
    for message in messages:
        if message["role"] == "tool":
            assert left[message["tool_call_id"]] == 1, "a result without its call"
            left[message["tool_call_id"]] -= 1
        else:
            assert not +left, "calls without results"
            left = Counter(call["id"] for call in message.get("tool_calls", ()))
            assert all(count == 1 for count in left.values()), "two calls with one id"
            for call in message.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert not +left


ANSWER = completion(None, tool_calls=[asks("final_answer", {"answer": 18}, "c9")])


def test_tools_are_offered_and_calls_and_results_sent_back_by_id(service: Service) -> None:
    service.answers = [
        completion("I look.", tool_calls=[asks("get_weather", {"city": "Paris"})]),
        ANSWER,
    ]
    assert agent(model_of(service)).run("how warm?") == 18
    first, second = service.requests
    assert [tool["function"]["name"] for tool in first["tools"]] == ["get_weather", "final_answer"]
    assert first["tools"][0]["function"]["parameters"]["properties"]["unit"]["default"] == "C"
    assert first["tools"][0]["function"]["parameters"]["required"] == ["city"]
    assert first["tool_choice"] == "required"
    turn, result = second["messages"][-2:]
    assert turn == {
        "role": "assistant",
        "content": [{"type": "text", "text": "I look."}],
        "tool_calls": [asks("get_weather", {"city": "Paris"})],
    }
    assert result == {
        "role": "tool",
        "tool_call_id": "c1",
        "content": [{"type": "text", "text": "18 C in Paris"}],
    }
    paired(second["messages"])


@pytest.mark.parametrize("ids", [("a", "b", "c"), ("a", "a", "a"), ("", None, "x")])
def test_calls_of_one_reply_are_each_answered_by_their_own_id(service: Service, ids: tuple[Any, ...]) -> None:
    cities = ("Paris", "Nowhere", "Oslo")
    made = [asks("get_weather", {"city": city}, id) for city, id in zip(cities, ids, strict=True)]
    service.answers = [completion(None, tool_calls=made), ANSWER]
    assert agent(model_of(service)).run("how warm?") == 18
    messages = service.requests[1]["messages"]
    paired(messages)
    assert messages[-4]["content"] is None
    results = [message["content"][0]["text"] for message in messages[-3:]]
    assert results == ["18 C in Paris", "Error: ValueError: no such city", "18 C in Oslo"]


def test_ids_that_a_service_gives_twice_in_a_run_are_told_apart(service: Service) -> None:
    call = completion(None, tool_calls=[asks("get_weather", {"city": "Paris"}, "same")])
    service.answers = [call, call, ANSWER]
    agent(model_of(service)).run("how warm?")
    messages = service.requests[2]["messages"]
    paired(messages)
    assert len({message["tool_call_id"] for message in messages if message["role"] == "tool"}) == 2


def test_calls_in_a_streamed_reply(service: Service) -> None:
    def piece(index: int, arguments: str, **more: Any) -> str:
        name = more.pop("name", None)
        function = {"arguments": arguments} | ({"name": name} if name else {})
        return chunk(tool_calls=[{"index": index, "function": function, **more}])

    service.answers = [
        stream(
            chunk(content="I "),
            chunk(content="look."),
            piece(0, "", id="a", type="function", name="get_weather"),
            piece(0, '{"city": "Pa'),
            piece(1, "", id="b", type="function", name="get_weather"),
            piece(1, '{"city": "Oslo"}'),
            piece(0, 'ris"}'),
            chunk(finish="tool_calls"),
            chunk(usage=(3, 2)),
            DONE,
        ),
        stream(
            piece(0, '{"answer": 18}', id="z", type="function", name="final_answer"),
            chunk(finish="tool_calls"),
            chunk(usage=(3, 2)),
            DONE,
        ),
    ]
    one = agent(model_of(service), stream_outputs=True)
    items = list(one.run("how warm?", stream=True))
    deltas = [item for item in items if isinstance(item, ChatMessageStreamDelta)]
    assert "".join(delta.content or "" for delta in deltas) == "I look."
    assert sum(bool(delta.tool_calls) for delta in deltas) == 6
    messages = service.requests[1]["messages"]
    paired(messages)
    assert [message["content"][0]["text"] for message in messages[-2:]] == ["18 C in Paris", "18 C in Oslo"]


@pytest.mark.parametrize(
    "text",
    [
        'I look.\n```json\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n```',
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        'Thought: so\nAction: get_weather\nAction Input: {"city": "Paris"}',
    ],
)
def test_calls_that_a_service_returns_as_text_are_sent_back_as_calls(service: Service, text: str) -> None:
    service.answers = [completion(text), ANSWER]
    assert agent(model_of(service)).run("how warm?") == 18
    messages = service.requests[1]["messages"]
    paired(messages)
    assert json.loads(messages[-2]["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}
    assert messages[-1]["content"][0]["text"] == "18 C in Paris"


def test_arguments_that_break_off_are_told_and_sent_back_as_json(service: Service) -> None:
    service.answers = [completion(None, tool_calls=[asks("get_weather", '{"city": "Par')]), ANSWER]
    assert agent(model_of(service)).run("how warm?") == 18
    messages = service.requests[1]["messages"]
    paired(messages)
    assert "no valid JSON" in messages[-1]["content"][0]["text"]


def test_the_closing_question_offers_no_tools_and_holds_no_calls(service: Service) -> None:
    service.answers = [completion(None, tool_calls=[asks("get_weather", {"city": "Paris"})]), completion("18 degrees")]
    assert agent(model_of(service), max_steps=1).run("how warm?") == "18 degrees"
    closing = service.requests[1]
    assert "tools" not in closing
    assert all("tool_calls" not in message and message["role"] != "tool" for message in closing["messages"])
    assert "18 C in Paris" in json.dumps(closing["messages"])


def test_the_prefix_of_a_conversation_stays_the_same(service: Service) -> None:
    looks = [completion(None, tool_calls=[asks("get_weather", {"city": str(n)}, f"c{n}")]) for n in range(3)]
    service.answers = [*looks, ANSWER]
    agent(model_of(service)).run("how warm?")
    sent = [json.dumps(request["messages"])[:-1] for request in service.requests]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(sent))


def test_a_model_that_knows_no_calls_is_asked_for_text(service: Service) -> None:
    service.answers = [
        completion('Thought: both.\n{"name": "get_weather", "arguments": {"city": "Paris"}}\nget_weather("Oslo")'),
        completion('{"name": "get_weather", "arguments": {"city": "Rome"}}'),
        completion('Thought: so.\n{"name": "final_answer", "arguments": {"answer": 18}}'),
    ]
    one = agent(model_of(service, native_tool_calls=False))
    assert one.run("how warm?") == 18
    first, second, third = service.requests
    assert "tools" not in first
    assert '"city": {"type": "string"' in json.dumps(first["messages"]).replace('\\"', '"')
    assert second["messages"][-2] == {
        "role": "assistant",
        "content": [
            {"type": "text", "text": 'Thought: both.\n{"name": "get_weather", "arguments": {"city": "Paris"}}'}
        ],
    }
    assert second["messages"][-1]["content"] == [{"type": "text", "text": "Observation:\n18 C in Paris"}]
    assert third["messages"][-1]["content"] == [{"type": "text", "text": "Observation:\n18 C in Rome"}]
    assert all(message["role"] in ("system", "user", "assistant") for message in third["messages"])


def test_results_of_several_calls_in_words_name_their_calls(service: Service) -> None:
    text = "\n".join(json.dumps({"name": "get_weather", "arguments": {"city": city}}) for city in ("Paris", "Oslo"))
    service.answers = [completion(text), completion('{"name": "final_answer", "arguments": {"answer": 1}}')]
    agent(model_of(service, native_tool_calls=False)).run("how warm?")
    told = service.requests[1]["messages"][-1]["content"][0]["text"]
    assert told == (
        'Observation of get_weather {"city": "Paris"}:\n18 C in Paris\n'
        'Observation of get_weather {"city": "Oslo"}:\n18 C in Oslo'
    )


def test_steps_keep_the_calls_as_they_were_made(service: Service) -> None:
    service.answers = [completion(None, tool_calls=[asks("get_weather", {"city": "Paris"})]), ANSWER]
    one = agent(model_of(service))
    one.run("how warm?")
    step = next(step for step in one.memory.steps if isinstance(step, ActionStep))
    assert step.dict()["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    ]
