"""Events are plain facts: each can be written down and read back."""

from __future__ import annotations

import dataclasses
import json

import pytest

from actloop.values import events
from actloop.values.messages import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole
from actloop.values.usage import TokenUsage

REPLY = ChatMessage(
    MessageRole.ASSISTANT,
    "text",
    tool_calls=[ChatMessageToolCall(ChatMessageToolCallFunction({"a": 1}, "f"), "id-1")],
    raw=object(),
    token_usage=TokenUsage(3, 4),
    reasoning_content="hm",
)

EXAMPLES: list[events.Event] = [
    events.RunStarted(
        time=1.5,
        run="r",
        agent="a",
        model="m",
        task="t",
        system_prompt="s",
        prompt="p",
        max_steps=3,
        variables={"x": 1},
    ),
    events.StepStarted(number=1),
    events.ModelReplied(purpose="action", message=dataclasses.replace(REPLY, raw=None), seconds=0.5),
    events.PlanMade(plan="first this", first=True),
    events.Compacted(kept=3, cut_to=600, summary="s", tokens=9_000, window=8_192),
    events.ImagesObserved(number=1, images=["an image"]),
    events.ProgramStarted(id="program_1", code="x"),
    events.ToolCalled(id="call_1", name="f", args=[1], kwargs={"b": 2}, origin="code"),
    events.ToolReturned(id="call_1", result=[1, 2], seconds=0.1),
    events.CallsRead(thought="so"),
    events.CallObserved(id="call_1", observation="1, 2", stored="image.png"),
    events.CallsFinished(answered=True),
    events.ProgramFinished(id="program_1", output=3, logs="out"),
    events.NetworkRequested(
        host="api.example.org", port=443, method="CONNECT", address="192.0.2.1", sent=3, received=4, seconds=0.5
    ),
    events.FilesChanged(
        folder="/w",
        created=[{"name": "a.csv", "type": "text/csv", "size": 3}],
        deleted=["b.csv"],
        refused={"c": "it is a link"},
    ),
    events.SnapshotTaken(reference="sha256:00", size=3, left_out=["f"]),
    events.StepFinished(number=1, observation="o", error_kind="AgentParsingError", error="e"),
    events.RunFinished(state="success", answer=3, usage=TokenUsage(1, 2)),
]


def test_every_stored_event_has_an_example() -> None:
    stored = {name for name, cls in events.type_of.items() if not cls.passing}
    assert {type(example).__name__ for example in EXAMPLES} == stored


@pytest.mark.parametrize("event", EXAMPLES, ids=[type(example).__name__ for example in EXAMPLES])
def test_round_trip_through_json(event: events.Event) -> None:
    assert events.from_dict(json.loads(json.dumps(events.to_dict(event)))) == event


def test_the_services_own_object_is_never_stored() -> None:
    assert "raw" not in events.to_dict(events.ModelReplied(purpose="action", message=REPLY, seconds=1.0))["message"]


def test_fields_of_a_newer_version_are_ignored() -> None:
    assert events.from_dict({"kind": "StepStarted", "number": 2, "colour": "red"}) == events.StepStarted(number=2)


@pytest.mark.parametrize("data", [{}, {"kind": None}, {"kind": "Nothing"}, {"kind": 3}])
def test_an_unknown_kind_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        events.from_dict(data)
