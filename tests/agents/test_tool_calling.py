"""A tool-calling agent with scripted replies and real tools."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from actloop import (
    ActionOutput,
    ActionStep,
    AgentInterruptedError,
    AgentParsingError,
    ChatMessage,
    CodeAgent,
    FinalAnswerStep,
    LogLevel,
    MemoryJournal,
    MessageRole,
    PlanningStep,
    ScriptedModel,
    Tool,
    ToolCall,
    tool,
)
from actloop.agents.tool_calling import ToolCallingAgent
from actloop.errors import AgentToolCallError, AgentToolExecutionError
from actloop.journal.sqlite import SQLiteJournal
from actloop.memory.fold import replayed
from actloop.memory.memory import AgentMemory
from actloop.memory.steps import ToolOutput
from actloop.tools.types import AgentImage
from actloop.values.events import ToolCalled, ToolReturned
from actloop.values.messages import ChatMessageStreamDelta, ChatMessageToolCall, ChatMessageToolCallFunction


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers.

    Args:
        a: One.
        b: The other.
    """
    return a + b


@tool
def fail(text: str) -> str:
    """Raises.

    Args:
        text: What it says.
    """
    raise ValueError(text)


@dataclass
class City:
    """A city."""

    name: str


class Native(ScriptedModel):
    """A scripted model of a service with tool calls of its own."""

    native_tool_calls = True


def call(name: str, id: str = "", /, **arguments: Any) -> ChatMessageToolCall:
    return ChatMessageToolCall(ChatMessageToolCallFunction(arguments, name), id)


def calls(*made: ChatMessageToolCall, text: str | None = None) -> ChatMessage:
    return ChatMessage(MessageRole.ASSISTANT, text, tool_calls=list(made))


def answer(value: Any) -> ChatMessage:
    return calls(call("final_answer", answer=value))


def agent(replies: Any, tools: list[Any] | None = None, *, cls: Any = Native, **options: Any) -> ToolCallingAgent:
    options = {"verbosity_level": LogLevel.OFF, "journal": MemoryJournal()} | options
    return ToolCallingAgent(tools if tools is not None else [add, fail], cls(replies), **options)


def asked(one: ToolCallingAgent) -> list[ChatMessage]:
    """The messages of the latest request."""
    assert isinstance(one.model, ScriptedModel)
    return one.model.requests[-1].messages


def action_steps(one: Any) -> list[ActionStep]:
    return [step for step in one.memory.steps if isinstance(step, ActionStep)]


def test_calls_and_an_answer() -> None:
    one = agent([calls(call("add", "x", a=1, b=2), text="I add."), answer(3)])
    assert one.run("add") == 3
    first, last = action_steps(one)
    assert first.tool_calls == [ToolCall("add", {"a": 1, "b": 2}, "x")]
    assert first.observations == "3"
    assert last.is_final_answer
    assert last.action_output == 3
    turn, result = asked(one)[-2:]
    assert (turn.role, turn.text) == (MessageRole.ASSISTANT, "I add.")
    assert [c.id for c in turn.tool_calls or ()] == ["x"]
    assert (result.role, result.text, result.tool_call_id) == (MessageRole.TOOL_RESPONSE, "3", "x")


async def test_the_four_faces_of_a_run() -> None:
    replies: list[Any] = [calls(call("add", a=1, b=2)), answer(3)]
    one = agent(replies)
    assert await one.arun("add") == 3
    items = [item async for item in agent(replies).astream("add")]
    assert [type(item) for item in items] == [type(item) for item in agent(replies).run("add", stream=True)]
    kinds = [ToolCall, ToolOutput, ActionOutput, ActionStep]
    assert [type(item) for item in items] == [*kinds, *kinds, FinalAnswerStep]


def test_items_of_the_stream() -> None:
    items = list(agent([calls(call("add", "x", a=1, b=2)), answer(3)]).run("add", stream=True))
    made, result, output = items[:3]
    assert made == ToolCall("add", {"a": 1, "b": 2}, "x")
    assert isinstance(result, ToolOutput)
    assert (result.id, result.output, result.observation, result.tool_call) == ("x", 3, "3", made)
    assert output == ActionOutput(None, is_final_answer=False)
    assert items[-3] == ActionOutput(3, is_final_answer=True)


def test_streamed_replies_hand_out_their_pieces() -> None:
    one = agent([calls(call("add", a=1, b=2), text="I add them."), answer(3)], stream_outputs=True)
    items = list(one.run("add", stream=True))
    deltas = [item for item in items if isinstance(item, ChatMessageStreamDelta)]
    assert "".join(delta.content or "" for delta in deltas) == "I add them."
    assert any(delta.tool_calls for delta in deltas)
    assert isinstance(items[-1], FinalAnswerStep)
    assert items[-1].output == 3


def test_streaming_needs_a_model_that_streams() -> None:
    class Mute:
        def generate(self, messages: Any, **kwargs: Any) -> ChatMessage:
            return answer(1)

    with pytest.raises(ValueError, match="generate_stream"):
        ToolCallingAgent([], Mute(), stream_outputs=True)  # pyright: ignore[reportArgumentType]


def test_text_replies_are_shown_in_the_form_that_is_asked_for() -> None:
    one = agent(
        ["I will add.\n```python\nadd(1, 2)\n```", '{"name": "final_answer", "arguments": 3}'], cls=ScriptedModel
    )
    assert one.run("add") == 3
    turn, _ = asked(one)[-2:]
    assert turn.text == "Thought: I will add."
    assert [c.function.arguments for c in turn.tool_calls or ()] == [{"a": 1, "b": 2}]
    system, task = asked(one)[0].text, one.memory.steps[0].to_messages()[0].text
    assert '{"name"' in system
    assert "add: Adds two numbers." in task


def test_a_native_model_is_offered_the_tools_and_told_of_no_other_form() -> None:
    one = agent([answer(1)])
    one.run("x")
    assert isinstance(one.model, ScriptedModel)
    assert one.model.requests[0].tools == ["add", "fail", "final_answer"]
    assert '{"name"' not in "".join(message.text for message in asked(one))


def test_a_reply_without_a_call_is_answered_with_what_to_write() -> None:
    one = agent(["It is 3.", answer(3)])
    assert one.run("add") == 3
    assert isinstance(action_steps(one)[0].error, AgentParsingError)
    assert "Call one of the tools" in asked(one)[-1].text


# ----------------------------------------------------------------------------------------------------- several calls


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
        met.wait(10)
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


# ------------------------------------------------------------------------------------------------------------ errors


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


# ------------------------------------------------------------------------------------------------- state and media


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


# ------------------------------------------------------------------------------------------- memory, plans, journal


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


# ------------------------------------------------------------------------------------------------- ends before its end


def waiting(started: threading.Event, release: threading.Event) -> Any:
    @tool
    def wait(n: int) -> int:
        """Waits.

        Args:
            n: A number.
        """
        started.set()
        assert release.wait(20)
        return n

    return wait


def no_call_threads() -> bool:
    """Whether every thread of a call ends."""
    for _ in range(500):
        if not any(thread.name.startswith("actloop-call") for thread in threading.enumerate()):
            return True
        time.sleep(0.01)
    return False


def test_an_interrupt_drops_what_is_not_begun_and_leaves_no_thread() -> None:
    started, release = threading.Event(), threading.Event()
    one = agent(
        [calls(*[call("wait", str(n), n=n) for n in range(6)])], [waiting(started, release)], max_tool_threads=2
    )

    def stop() -> None:
        started.wait(20)
        one.interrupt()
        release.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(AgentInterruptedError):
        one.run("go")
    thread.join()
    assert no_call_threads()
    step = action_steps(one)[-1]
    turn, *results = step.to_messages()
    assert len(turn.tool_calls or ()) == len(results) == 6


@pytest.mark.parametrize("count", [1, 2])
async def test_an_interrupt_ends_an_asynchronous_run_at_once(count: int) -> None:
    started = asyncio.Event()

    @tool
    async def forever(n: int) -> int:
        """Never returns.

        Args:
            n: A number.
        """
        started.set()
        await asyncio.sleep(3600)
        return n

    one = agent([calls(*[call("forever", n=n) for n in range(count)])], [forever])
    running = asyncio.create_task(one.arun("go"))
    await started.wait()
    one.interrupt()
    with pytest.raises(AgentInterruptedError):
        await running
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_an_asynchronous_run_leaves_no_task() -> None:
    started = asyncio.Event()

    @tool
    async def forever(n: int) -> int:
        """Never returns.

        Args:
            n: A number.
        """
        started.set()
        await asyncio.sleep(3600)
        return n

    one = agent([calls(call("forever", n=1), call("forever", n=2)), answer(1)], [forever])
    running = asyncio.create_task(one.arun("go"))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await one.arun("again") == 1


@pytest.mark.parametrize("count", [1, 2])
def test_asynchronous_tools_of_a_blocking_run_are_ended_by_an_interrupt(count: int) -> None:
    started = threading.Event()

    @tool
    async def forever(n: int) -> int:
        """Never returns.

        Args:
            n: A number.
        """
        started.set()
        await asyncio.sleep(3600)
        return n

    one = agent([calls(*[call("forever", n=n) for n in range(count)])], [forever])
    thread = threading.Thread(target=lambda: (started.wait(20), one.interrupt()))
    thread.start()
    with pytest.raises(AgentInterruptedError):
        one.run("go")
    thread.join()
    assert no_call_threads()


# ------------------------------------------------------------------------------------------ parts, and other agents


@pytest.mark.parametrize("count", [1, 3])
def test_ctrl_c_waits_for_the_calls_under_way_and_leaves_no_thread(count: int) -> None:
    ended: list[int] = []

    @tool
    def work(n: int) -> int:
        """Works.

        Args:
            n: A number.
        """
        if n == 0:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        ended.append(n)
        return n

    one = agent([calls(*[call("work", n=n) for n in range(count)]), answer(1)], [work])
    with pytest.raises(KeyboardInterrupt):
        one.run("go")
    assert no_call_threads()
    assert len(ended) <= count
    assert one.run("again", reset=False) == 1


def test_execute_tool_call() -> None:
    one = agent([answer(1)])
    one.run("go", additional_args={"two": 2})
    assert one.execute_tool_call("add", {"a": 1, "b": "two"}) == 3
    with pytest.raises(AgentToolExecutionError, match="no tool named 'nothing'"):
        one.execute_tool_call("nothing", {})
    with pytest.raises(AgentToolCallError, match="'b'"):
        one.execute_tool_call("add", {"a": 1})
    with pytest.raises(AgentToolExecutionError, match=r"fail.: ValueError: oh"):
        one.execute_tool_call("fail", "oh")


def test_process_tool_calls() -> None:
    from actloop.values.usage import Timing

    one = agent([])
    step = ActionStep(1, Timing(0.0))
    items = list(one.process_tool_calls(calls(call("add", "a", a=1, b=2), call("fail", "b", text="x")), step))
    assert [type(item) for item in items] == [ToolCall, ToolCall, ToolOutput, ToolOutput]
    assert step.observations == "3\nError: ValueError: x"
    assert [made.id for made in step.tool_calls or ()] == ["a", "b"]
    with pytest.raises(AgentParsingError):
        list(one.process_tool_calls(ChatMessage(MessageRole.ASSISTANT, "hi"), step))


def test_one_step_at_a_time() -> None:
    from actloop.values.usage import Timing

    one = agent([calls(call("add", a=1, b=2)), answer(3)])
    one.memory.steps.append(step := ActionStep(1, Timing(0.0)))
    one.memory.steps.clear()
    assert one.step(step) is None
    assert step.observations == "3"
    one.memory.steps.append(step)
    assert one.step(ActionStep(2, Timing(0.0))) == 3


def test_tools_and_managed_agents() -> None:
    helper = agent([], name="helper", description="Helps.")
    one = agent([], managed_agents=[helper])
    assert [item.name for item in one.tools_and_managed_agents] == ["add", "fail", "final_answer", "helper"]


@pytest.mark.parametrize("face", ["run", "arun"])
def test_a_managed_agent_called_by_messages_several_times_at_once(face: str) -> None:
    def reply(messages: list[ChatMessage]) -> str:
        task = next(m.text for m in reversed(messages) if "number=" in m.text)
        return f"<code>\nfinal_answer({task.rpartition('number=')[2].split()[0]} * extra)\n</code>"

    with CodeAgent(
        [],
        ScriptedModel(reply),
        name="helper",
        description="Multiplies.",
        verbosity_level=LogLevel.OFF,
        journal=MemoryJournal(),
        code_block_tags=("<code>", "</code>"),
    ) as helper:
        made = [call("helper", str(n), task=f"number={n} please", additional_args={"extra": "ten"}) for n in (1, 2, 3)]
        one = agent([calls(*made), answer(6)], [], managed_agents=[helper])
        options: dict[str, Any] = {"additional_args": {"ten": 10}, "return_full_result": True}
        result = one.run("go", **options) if face == "run" else asyncio.run(one.arun("go", **options))
        told = [message.text for message in asked(one)[-3:]]
        assert [text.split()[-1] for text in told] == ["10", "20", "30"]
        own = sum(step.token_usage.total_tokens for step in action_steps(one) if step.token_usage)
        assert result.token_usage.total_tokens > own


def test_a_custom_model_without_any_flag_is_offered_the_tools() -> None:
    offered: list[list[str]] = []

    class Own:
        model_id = "own"

        def generate(
            self,
            messages: Any,
            stop_sequences: Any = None,
            response_format: Any = None,
            tools_to_call_from: Any = None,
            **kwargs: Any,
        ) -> ChatMessage:
            offered.append([tool.name for tool in tools_to_call_from])
            return answer(4)

    one = ToolCallingAgent([add], Own(), verbosity_level=LogLevel.OFF, journal=None)  # pyright: ignore[reportArgumentType]
    assert one.run("go") == 4
    assert offered == [["add", "final_answer"]]
