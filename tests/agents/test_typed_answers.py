"""Answers of a type that the caller asks for: validated, and sent back with what to mend."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from actloop import (
    ActionStep,
    AgentMaxStepsError,
    AgentMemory,
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    CodeAgent,
    FinalAnswerTool,
    LogLevel,
    MemoryJournal,
    MessageRole,
    ScriptedModel,
    ToolCallingAgent,
)


class City(BaseModel):
    name: str
    people: int = Field(gt=0, description="Inhabitants")


@dataclass
class Point:
    x: int
    y: float = 0.0


def answer(value: str) -> str:
    return f"Thought: I answer.\n<code>\nfinal_answer({value})\n</code>"


def agent(replies: Any, output_type: Any, **options: Any) -> CodeAgent:
    options = {"verbosity_level": LogLevel.OFF, "journal": MemoryJournal()} | options
    return CodeAgent(options.pop("tools", []), ScriptedModel(replies), output_type=output_type, **options)


@pytest.mark.parametrize(
    ("wanted", "given", "expected"),
    [
        (int, "7", 7),
        (int, "'7'", 7),
        (float, "7", 7.0),
        (str, "'seven'", "seven"),
        (bool, "True", True),
        (list[int], "(1, 2)", [1, 2]),
        (dict[str, float], "{'a': 1}", {"a": 1.0}),
        (Literal["yes", "no"], "'yes'", "yes"),
        (City, "{'name': 'Ulm', 'people': '126000'}", City(name="Ulm", people=126_000)),
        (City, "name='Ulm', people=126000", City(name="Ulm", people=126_000)),
        (list[City], "[{'name': 'Ulm', 'people': 1}]", [City(name="Ulm", people=1)]),
        (Point, "{'x': 1}", Point(1)),
        (int | None, "None", None),
        (dt.date, "'2024-02-29'", dt.date(2024, 2, 29)),
    ],
)
def test_an_answer_is_an_object_of_its_type(wanted: Any, given: str, expected: Any) -> None:
    with agent([answer(given)], wanted) as one:
        found = one.run("what is it?")
    assert found == expected
    assert isinstance(found, type(expected))


@pytest.mark.parametrize(
    ("wanted", "wrong", "right", "told"),
    [
        (int, "'many'", "3", "must be int, got str 'many'"),
        (int, "3.7", "3", "must be int"),
        (City, "{'name': 'Ulm', 'people': -1}", "{'name': 'Ulm', 'people': 1}", "more than 0"),
        (City, "{'name': 'Ulm'}", "{'name': 'Ulm', 'people': 1}", "people"),
        (Literal["yes", "no"], "'perhaps'", "'no'", "'yes'"),
        (list[int], "['a']", "[1]", "int"),
    ],
)
def test_an_answer_that_does_not_fit_is_sent_back_with_what_to_mend(
    wanted: Any, wrong: str, right: str, told: str
) -> None:
    with agent([answer(wrong), answer(right)], wanted) as one:
        one.run("what is it?")
        first = next(step for step in one.memory.steps if isinstance(step, ActionStep))
    assert first.error is not None
    assert told in str(first.error)


def test_the_model_is_told_the_form_of_the_answer() -> None:
    with agent([], City) as one:
        assert '{"name": str, "people": int (Inhabitants)}' in one.system_prompt
    with agent([], int) as one:
        assert "The value must be: int" in one.system_prompt
    with agent([], None) as one:
        assert "The value must be" not in one.system_prompt


def test_a_check_sees_the_object() -> None:
    seen: list[Any] = []

    def check(value: Any, memory: AgentMemory, agent: Any) -> bool:
        seen.append(value)
        return value.people > 1

    replies = [answer("{'name': 'Ulm', 'people': 1}"), answer("{'name': 'Ulm', 'people': 2}")]
    with agent(replies, City, final_answer_checks=[check]) as one:
        assert one.run("which?") == City(name="Ulm", people=2)
    assert seen == [City(name="Ulm", people=1), City(name="Ulm", people=2)]


@pytest.mark.parametrize(
    "prose", ['{"name": "Ulm", "people": 5}', 'Here it is:\n```json\n{"name": "Ulm", "people": 5}\n```']
)
def test_an_answer_in_prose_is_read_as_json(prose: str) -> None:
    with agent([prose], City, max_steps=0) as one:
        assert one.run("which?") == City(name="Ulm", people=5)


def test_an_answer_in_prose_that_does_not_fit_ends_the_run_with_an_error() -> None:
    with (
        agent(["It is Ulm."], City, max_steps=0) as one,
        pytest.raises(AgentMaxStepsError, match=r"does not fit.*must be.*people"),
    ):
        one.run("which?")


@pytest.mark.parametrize("wrong", ["integer", 3, object()])
def test_what_is_no_type_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="output_type must be a type"):
        agent([], wrong)


def test_a_final_answer_tool_of_the_users_and_a_type_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="final_answer"):
        agent([], int, tools=[FinalAnswerTool()])


async def test_under_arun() -> None:
    with agent([answer("'8'")], int) as one:
        assert await one.arun("how many?") == 8


@pytest.mark.parametrize("native", [True, False])
def test_an_agent_that_calls_tools_gives_typed_answers_too(native: bool) -> None:
    def call(arguments: dict[str, Any]) -> ChatMessage | str:
        if not native:
            return json.dumps({"name": "final_answer", "arguments": arguments})
        function = ChatMessageToolCallFunction(arguments, "final_answer")
        return ChatMessage(MessageRole.ASSISTANT, "", [ChatMessageToolCall(function, id="c1")])

    replies = [call({"answer": {"name": "Ulm", "people": 0}}), call({"answer": {"name": "Ulm", "people": 7}})]
    model = ScriptedModel(replies)
    with ToolCallingAgent([], model, output_type=City, verbosity_level=LogLevel.OFF, journal=None) as one:
        assert one.run("which?") == City(name="Ulm", people=7)
        first = next(step for step in one.memory.steps if isinstance(step, ActionStep))
    assert "more than 0" in str(first.observations)
    said = "\n".join(message.text for message in model.requests[0].messages)
    assert "Inhabitants" in said


def test_an_agent_that_calls_tools_closes_with_a_typed_answer() -> None:
    model = ScriptedModel(['{"name": "Ulm", "people": 5}'])
    with ToolCallingAgent([], model, output_type=City, max_steps=0, verbosity_level=LogLevel.OFF, journal=None) as one:
        assert one.run("which?") == City(name="Ulm", people=5)
