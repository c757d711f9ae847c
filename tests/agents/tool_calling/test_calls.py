"""Several calls in one reply, and calls that fail."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from actloop import tool
from actloop.errors import AgentToolCallError, AgentToolExecutionError

from .kit import action_steps, agent, answer, asked, call, calls


def test_a_failing_call_does_not_discard_its_siblings() -> None:
    made = calls(call("add", "a", a=1, b=2), call("fail", "b", text="broken"), call("add", "c", a=3, b=4))
    one = agent([made, answer(0)])
    assert one.run("go") == 0
    results = asked(one)[-3:]
    assert [(m.tool_call_id, m.text) for m in results] == [("a", "3"), ("b", "Error: ValueError: broken"), ("c", "7")]
    step = action_steps(one)[0]
    assert isinstance(step.error, AgentToolExecutionError)
    assert step.observations == "3\nError: ValueError: broken\n7"


@pytest.mark.parametrize("face", ["run", "arun"])
def test_calls_of_one_reply_are_made_at_once_and_answered_in_order(face: str) -> None:
    met = threading.Barrier(3)

    @tool
    def meet(name: str) -> str:
        """Returns once all are there.

        Args:
            name: Who.
        """
        met.wait(60)
        time.sleep(0.02 if name == "a" else 0)
        return name

    one = agent([calls(*[call("meet", name, name=name) for name in "abc"]), answer(1)], [meet])
    assert (one.run("go") if face == "run" else asyncio.run(one.arun("go"))) == 1
    assert [message.text for message in asked(one)[-3:]] == ["a", "b", "c"]


@pytest.mark.parametrize("face", ["run", "arun"])
def test_no_more_calls_at_once_than_max_tool_threads(face: str) -> None:
    lock, running, most = threading.Lock(), 0, 0

    @tool
    def work(n: int) -> int:
        """Works.

        Args:
            n: A number.
        """
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return n

    replies = [calls(*[call("work", n=n) for n in range(12)]), answer(1)]
    one = agent(replies, [work], max_tool_threads=3)
    assert (one.run("go") if face == "run" else asyncio.run(one.arun("go"))) == 1
    assert 1 < most <= 3
    assert action_steps(one)[0].observations == "\n".join(str(n) for n in range(12))


@pytest.mark.parametrize(("count", "limit"), [(1, None), (4, 1)])
def test_calls_one_at_a_time_are_made_in_the_callers_own_thread(count: int, limit: int | None) -> None:
    threads: list[int] = []

    @tool
    def where() -> int:
        """Notes its thread."""
        threads.append(threading.get_ident())
        return 1

    one = agent([calls(*[call("where") for _ in range(count)]), answer(1)], [where], max_tool_threads=limit)
    one.run("go")
    assert threads == [threading.get_ident()] * count


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_max_tool_threads_is_a_whole_number(wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_tool_threads"):
        agent([], max_tool_threads=wrong)


def test_calls_with_the_same_or_no_id_are_told_apart() -> None:
    one = agent([calls(call("add", a=1, b=1), call("add", "x", a=2, b=2), call("add", "x", a=3, b=3)), answer(1)])
    one.run("go")
    turn, *results = asked(one)[-4:]
    ids = [made.id for made in turn.tool_calls or ()]
    assert len({*ids}) == 3
    assert [(m.tool_call_id, m.text) for m in results] == list(zip(ids, ["2", "4", "6"], strict=True))


def test_an_answer_beside_other_calls_is_not_taken_before_their_results_are_known() -> None:
    made: list[int] = []

    @tool
    def look() -> int:
        """Looks."""
        made.append(1)
        return 5

    one = agent([calls(call("look"), call("final_answer", answer="a guess")), answer(5)], [look])
    assert one.run("go") == 5
    assert made == [1]
    assert "alone" in asked(one)[-1].text


def test_an_unknown_tool_is_named_with_those_that_there_are() -> None:
    one = agent([calls(call("subtract", a=1)), answer(1)])
    one.run("go")
    assert "no tool named 'subtract'" in asked(one)[-1].text
    assert "add, fail, final_answer" in asked(one)[-1].text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"a": 1}, ["missing the argument 'b'", "int"]),
        ({"a": 1, "b": "two"}, ["'b'", "int", "'two'"]),
        ({"a": 1, "b": 2, "c": 3}, ["no argument 'c'"]),
    ],
)
def test_wrong_arguments_name_the_argument_what_was_expected_and_what_came(
    arguments: dict[str, Any], words: list[str]
) -> None:
    one = agent([calls(call("add", **arguments)), answer(1)])
    one.run("go")
    assert all(word in asked(one)[-1].text for word in words)
    assert isinstance(action_steps(one)[0].error, AgentToolCallError)


def test_arguments_of_the_wrong_type_are_converted_where_nothing_is_lost() -> None:
    one = agent([calls(call("add", a="1", b=2.0)), answer(1)])
    one.run("go")
    assert asked(one)[-1].text == "3"
