"""The state of a run, its memory and its journal."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from actloop import ActionStep, ChatMessage, MemoryJournal, PlanningStep, ScriptedModel, Tool, ToolCall, tool
from actloop.journal.sqlite import SQLiteJournal
from actloop.memory.fold import replayed
from actloop.memory.memory import AgentMemory
from actloop.tools.types import AgentImage
from actloop.values.events import ToolCalled, ToolReturned

from .kit import action_steps, agent, answer, asked, call, calls


class Painter(Tool):
    name = "paint"
    description = "Paints."
    inputs: dict[str, dict[str, Any]] = {"colour": {"type": "string", "description": "Which."}}
    output_type = "image"

    def forward(self, colour: str) -> Image.Image:
        return Image.new("RGB", (2, 2), colour)


class Measure(Tool):
    name = "measure"
    description = "Measures."
    inputs: dict[str, dict[str, Any]] = {"image": {"type": "image", "description": "An image."}}
    output_type = "string"

    def forward(self, image: Image.Image) -> str:
        assert isinstance(image, Image.Image)
        return str(image.getpixel((0, 0)))


def test_an_image_that_a_tool_returns_is_stored_and_passed_on_by_its_name() -> None:
    replies = [
        calls(call("paint", colour="red"), call("paint", colour="blue")),
        calls(call("measure", image="image.png"), call("measure", image="image_2.png")),
        answer("image_2.png"),
    ]
    one = agent(replies, [Painter(), Measure()])
    result = one.run("paint")
    first, second, _ = action_steps(one)
    assert "'image.png'" in (first.observations or "")
    assert "'image_2.png'" in (first.observations or "")
    assert second.observations == "(255, 0, 0)\n(0, 0, 255)"
    assert isinstance(result, AgentImage)
    assert result.getpixel((0, 0)) == (0, 0, 255)
    assert set(one.state) == {"image.png", "image_2.png"}


def test_a_variable_of_the_run_is_replaced_by_its_value() -> None:
    seen: list[Any] = []

    @tool
    def look(table: list[int], more: dict[str, Any]) -> int:
        """Looks.

        Args:
            table: A table.
            more: More.
        """
        seen.append((table, more))
        return len(table)

    one = agent([calls(call("look", "x", table="rows", more={"inside": ["rows"]})), answer("rows")], [look])
    assert one.run("go", additional_args={"rows": [1, 2, 3]}) == [1, 2, 3]
    assert seen == [([1, 2, 3], {"inside": [[1, 2, 3]]})]
    assert action_steps(one)[0].tool_calls == [ToolCall("look", {"table": "rows", "more": {"inside": ["rows"]}}, "x")]


def test_state_of_a_shared_agent_stays_apart_in_twenty_threads() -> None:
    @tool
    def echo(value: int) -> int:
        """Returns it.

        Args:
            value: A number.
        """
        time.sleep(0.001)
        return value

    def reply(messages: list[ChatMessage]) -> ChatMessage:
        return answer("mine") if messages[-1].tool_call_id else calls(call("echo", "x", value="mine"))

    one = agent(reply, [echo])
    with ThreadPoolExecutor(20) as pool:
        running = [pool.submit(one.run, f"number {n}", additional_args={"mine": n}) for n in range(60)]
        assert [run.result() for run in running] == list(range(60))


def test_planning_and_summaries_are_text() -> None:
    plan = "1. Add."
    one = agent([plan, calls(call("add", "x", a=1, b=2)), plan, answer(3)], planning_interval=1)
    assert one.run("go") == 3
    assert sum(isinstance(step, PlanningStep) for step in one.memory.steps) == 2
    assert isinstance(one.model, ScriptedModel)
    renewed = one.model.requests[2]
    assert renewed.tools == []
    assert not any(message.tool_calls or message.tool_call_id for message in renewed.messages)
    assert "Observation:\n3" in "\n".join(message.text for message in renewed.messages)
    summary = "\n".join(message.text for message in one.write_memory_to_messages(summary_mode=True))
    assert '{"name": "add"' in summary


def test_an_edited_observation_reaches_the_model() -> None:
    def hide(step: ActionStep, agent: Any) -> None:
        if step.observations and "7" in step.observations:
            step.observations = "secret"

    made = calls(call("add", "a", a=3, b=4), call("add", "b", a=1, b=2))
    one = agent([made, answer(1)], step_callbacks=[hide])
    one.run("go")
    first, second = asked(one)[-2:]
    assert (first.tool_call_id, first.text) == ("a", "secret")
    assert second.tool_call_id == "b"
    assert "3" not in second.text


def test_an_edited_reply_of_text_reaches_the_model() -> None:
    def shorten(step: ActionStep, agent: Any) -> None:
        step.model_output = "edited"

    one = agent(["Thought: long\nadd(1, 2)", "final_answer(3)"], cls=ScriptedModel, step_callbacks=[shorten])
    one.run("go")
    assert asked(one)[-2].text == "edited"


def test_a_stored_run_gives_the_same_memory(tmp_path: Any) -> None:
    journal = SQLiteJournal(tmp_path / "journal.db")
    made = calls(call("add", "a", a=1, b=2), call("fail", "b", text="no"), text="Both.")
    one = agent([made, "Thought: so\nadd(3, 4)", "nonsense", answer(3)], journal=journal)
    result = one.run("go", return_full_result=True)
    stored = journal.events(result.run_id)
    journal.close()
    rebuilt = replayed(stored, AgentMemory(one.memory.system_prompt.system_prompt))
    told = [(m.role, m.text, m.tool_calls, m.tool_call_id) for m in one.memory.messages()]
    assert [(m.role, m.text, m.tool_calls, m.tool_call_id) for m in rebuilt.messages()] == told
    assert [step.dict()["tool_calls"] for step in action_steps(one)] == [
        step.dict()["tool_calls"] for step in rebuilt.steps if isinstance(step, ActionStep)
    ]


def test_every_call_is_in_the_journal_as_the_models_own() -> None:
    journal = MemoryJournal()
    one = agent([calls(call("add", "a", a=1, b=2), call("nothing", "b")), answer(3)], journal=journal)
    result = one.run("go", return_full_result=True)
    noted = list(journal.events(result.run_id))
    called = [event for event in noted if isinstance(event, ToolCalled)]
    assert [(event.id, event.name, event.origin) for event in called[:2]] == [
        ("a", "add", "message"),
        ("b", "nothing", "message"),
    ]
    assert {event.id for event in noted if isinstance(event, ToolReturned)} == {event.id for event in called}


def test_a_conversation_goes_on() -> None:
    one = agent([calls(call("add", "x", a=1, b=2)), answer(3), calls(call("add", "x", a=3, b=4)), answer(7)])
    assert one.run("first") == 3
    assert one.run("second", reset=False) == 7
    assert [m.text for m in asked(one) if m.tool_call_id == "x"] == ["3", "7"]
