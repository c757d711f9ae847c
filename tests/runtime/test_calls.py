"""Calls of a message pass the gateway: noted in order, named, resolved, refused, performed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from actloop import tool
from actloop.executors.waiting import run_now
from actloop.runtime.calls import resolved
from actloop.runtime.gateway import Gateway, Raised, Returned
from actloop.runtime.ports import Blocking, Interrupt
from actloop.tools.types import AgentText
from actloop.values.events import Event, ToolCalled, ToolReturned


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers.

    Args:
        a: One.
        b: The other.
    """
    return a + b


def gateway() -> tuple[Gateway, list[Event]]:
    noted: list[Event] = []
    made = Gateway({"add": add})
    made.emit = noted.append
    return made, noted


def test_a_call_is_noted_when_it_enters_and_answered_when_it_is_performed() -> None:
    made, noted = gateway()
    call = made.enter("add", (), {"a": 1, "b": 2}, origin="message", call_id="x")
    assert noted == [ToolCalled(id="x", name="add", args=[], kwargs={"a": 1, "b": 2}, origin="message")]
    outcome = run_now(made.perform(Blocking(Interrupt()), call, within=nullcontext))
    assert outcome == Returned(3)
    assert isinstance(noted[1], ToolReturned)
    assert (noted[1].id, noted[1].result) == ("x", 3)


def test_a_refused_call_is_answered_without_being_performed() -> None:
    made, noted = gateway()
    call = made.enter("add", (), {"a": 1}, origin="message")
    assert made.refuse(call, "not now") == Raised("AgentToolCallError", "not now")
    assert [type(event) for event in noted] == [ToolCalled, ToolReturned]
    assert call.id == "call_1"


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ("rows", [1, 2]),
        ("other", "other"),
        (["rows", "x"], [[1, 2], "x"]),
        ({"a": {"b": ["rows"]}}, {"a": {"b": [[1, 2]]}}),
        ("text", "hello"),
        (3, 3),
        ([[[[["rows"]]]]], [[[[["rows"]]]]]),
    ],
)
def test_names_of_variables_become_their_values(value: Any, becomes: Any) -> None:
    result = resolved(value, {"rows": [1, 2], "text": AgentText("hello")})
    assert result == becomes
    assert not isinstance(result, AgentText)
