"""The final answer: refused, typed, or asked for at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from actloop import ScriptedModel, Tool

from .kit import action_steps, agent, answer, asked, call, calls


@dataclass
class City:
    """A city."""

    name: str


def test_a_failing_final_answer_is_an_error_and_no_answer() -> None:
    class Picky(Tool):
        name = "final_answer"
        description = "Answers."
        inputs: dict[str, dict[str, Any]] = {"answer": {"type": "any", "description": "The answer."}}
        output_type = "any"

        def forward(self, answer: Any) -> Any:
            if answer == "bad":
                raise ValueError("not that one")
            return answer

    one = agent([answer("bad"), answer("good")], [Picky()])
    assert one.run("go") == "good"
    assert "not that one" in action_steps(one)[0].observations.__str__()


def test_an_answer_that_a_check_refuses_goes_on() -> None:
    def check(value: Any, memory: Any, agent: Any) -> bool:
        return value > 1

    one = agent([answer(1), answer(2)], final_answer_checks=[check])
    assert one.run("go") == 2
    assert "not accepted" in asked(one)[-1].text
    assert asked(one)[-1].tool_call_id


@pytest.mark.parametrize("given", [{"answer": {"name": "Ulm"}}, {"name": "Ulm"}, {"answer": '{"name": "Ulm"}'}])
def test_a_typed_answer(given: dict[str, Any]) -> None:
    one = agent([answer("Ulm is it"), calls(call("final_answer", **given))], [], output_type=City)
    assert one.run("which city?") == City("Ulm")
    assert "name" in asked(one)[-1].text
    assert isinstance(one.model, ScriptedModel)


def test_max_steps_of_zero_asks_at_once() -> None:
    assert agent(["five"], max_steps=0).run("go") == "five"


def test_the_closing_question_holds_the_work_as_text() -> None:
    one = agent([calls(call("add", "x", a=1, b=2)), "three"], max_steps=1)
    assert one.run("go") == "three"
    assert not any(message.tool_calls or message.tool_call_id for message in asked(one))
    told = "\n".join(message.text for message in asked(one))
    assert '{"name": "add", "arguments": {"a": 1, "b": 2}}' in told
    assert "Observation:\n3" in told
