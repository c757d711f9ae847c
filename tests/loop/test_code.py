"""The loop alone: a generator that is sent outcomes from a list; no model, no sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from actloop.executors.session import GuestFailure
from actloop.loop.code import CodeTask, code_loop
from actloop.loop.effects import Answer, Check, Effect, Execute, Execution, Generate
from actloop.values.events import Event, PlanMade, ProgramStarted, StepFinished, StepStarted
from actloop.values.messages import ChatMessage, MessageRole

TAGS = ("<code>", "</code>")


class NoConversation:
    def messages(self) -> list[ChatMessage]:
        return []


class PlainPrompts:
    def plan_messages(self, *, first: bool, remaining: int) -> list[ChatMessage]:
        return [ChatMessage(MessageRole.USER, f"plan {first} {remaining}")]

    def plan_text(self, reply: str, *, first: bool) -> str:
        return f"plan: {reply}"

    def closing_messages(self) -> list[ChatMessage]:
        return [ChatMessage(MessageRole.USER, "close")]

    def closing_answer(self, text: str) -> Any:
        return text


@dataclass
class Played:
    """What a loop asked for and noted, and what it returned."""

    effects: list[Effect] = field(default_factory=list[Effect])
    events: list[Event] = field(default_factory=list[Event])
    answer: Answer | None = None

    def steps(self) -> list[StepFinished]:
        return [event for event in self.events if isinstance(event, StepFinished)]


def play(outcomes: list[Any], **options: Any) -> Played:
    """Drive a loop with outcomes in order; every one must be used."""
    settings: dict[str, Any] = {"max_steps": 5, "tags": TAGS} | options
    loop = code_loop(CodeTask(conversation=NoConversation(), prompts=PlainPrompts(), **settings))
    played, left, outcome = Played(), list(outcomes), None
    try:
        while True:
            asked = loop.send(outcome)
            if isinstance(asked, Event):
                played.events.append(asked)
                outcome = None
            else:
                played.effects.append(asked)
                outcome = left.pop(0)
    except StopIteration as end:
        played.answer = end.value
    assert left == []
    return played


def says(code: str) -> ChatMessage:
    return ChatMessage(MessageRole.ASSISTANT, f"Thought: so.\n<code>\n{code}\n</code>")


def test_an_answer_in_one_step() -> None:
    played = play([says("final_answer(1)"), Execution(1, answered=True), None])
    assert played.answer == Answer(1)
    assert [type(effect) for effect in played.effects] == [Generate, Execute, Check]
    assert [type(event) for event in played.events] == [StepStarted, ProgramStarted, StepFinished]
    assert played.steps()[0].answered


def test_a_refused_answer_goes_on() -> None:
    played = play([says("a"), Execution(1, answered=True), "too small", says("b"), Execution(2, answered=True), None])
    first, second = played.steps()
    assert (first.answered, second.answered) == (False, True)
    assert "too small" in (first.error or "")
    assert played.answer == Answer(2)


def test_what_cannot_be_read_is_a_parsing_error_and_runs_nothing() -> None:
    played = play([ChatMessage(MessageRole.ASSISTANT, "Hello!"), says("a"), Execution(1, answered=True), None])
    assert played.steps()[0].error_kind == "AgentParsingError"
    assert sum(isinstance(effect, Execute) for effect in played.effects) == 1


def test_a_failure_keeps_what_was_printed() -> None:
    failure = GuestFailure("ValueError", "bad", line=2, source="int('x')", hint="It is no number.")
    played = play(
        [says("a"), Execution(logs="before\n", failure=failure), ChatMessage(MessageRole.ASSISTANT, "?")], max_steps=1
    )
    step = played.steps()[0]
    assert "before" in (step.observation or "")
    assert "int('x')" in (step.error or "")
    assert "It is no number." in (step.error or "")
    assert step.error_kind == "AgentExecutionError"


def test_steps_used_up_ask_for_an_answer_in_prose() -> None:
    played = play([says("a"), Execution(1), ChatMessage(MessageRole.ASSISTANT, "perhaps 1")], max_steps=1)
    assert played.answer == Answer("perhaps 1", "max_steps_error")
    assert isinstance(played.effects[-1], Generate)
    assert played.effects[-1].purpose == "answer"


@pytest.mark.parametrize(("interval", "before"), [(1, [1, 2, 3]), (2, [1, 3]), (5, [1]), (None, [])])
def test_plans_at_their_interval(interval: int | None, before: list[int]) -> None:
    outcomes: list[Any] = []
    for number in (1, 2, 3):
        if number in before:
            outcomes.append(ChatMessage(MessageRole.ASSISTANT, f"plan {number}"))
        outcomes += [says(f"step {number}".replace(" ", "_")), Execution(number)]
    played = play([*outcomes, ChatMessage(MessageRole.ASSISTANT, "end")], max_steps=3, planning_interval=interval)
    plans = [event.plan for event in played.events if isinstance(event, PlanMade)]
    assert plans == [f"plan: plan {number}" for number in before]


def test_a_circle_is_named_and_left_at_a_higher_temperature() -> None:
    failure = GuestFailure("NameError", "name 'x' is not defined", line=1, source="x")
    again = [says("x"), Execution(failure=failure)]
    played = play([*again, *again, says("1"), Execution(1, answered=True), None])
    first, second, _ = played.steps()
    assert first.error != second.error
    asked = [effect for effect in played.effects if isinstance(effect, Generate)]
    assert asked[0].temperature is None
    assert asked[1].temperature is None
    assert (asked[2].temperature or 0) > 0


def test_polling_with_a_new_result_is_no_circle() -> None:
    played = play(
        [
            says("poll()"),
            Execution("wait"),
            says("poll()"),
            Execution("ready"),
            says("1"),
            Execution(1, answered=True),
            None,
        ]
    )
    asked = [effect for effect in played.effects if isinstance(effect, Generate)]
    assert [effect.temperature for effect in asked] == [None, None, None]


def test_a_program_cut_inside_a_string_by_the_closing_tag_is_asked_for_again() -> None:
    cut = ChatMessage(MessageRole.ASSISTANT, '<code>\nx = """')
    whole = says('x = """\n</code>\n"""\nfinal_answer(x)')
    played = play([cut, whole, Execution("\n</code>\n", answered=True), None])
    first, second = [effect for effect in played.effects if isinstance(effect, Generate)]
    assert any("</code>" in stop for stop in first.stop)
    assert not any("</code>" in stop for stop in second.stop)
    run = [effect.code for effect in played.effects if isinstance(effect, Execute)]
    assert run == ['x = """\n</code>\n"""\nfinal_answer(x)']
