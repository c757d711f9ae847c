"""Four faces of one loop, run with scripted replies in the real sandbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from actloop import (
    ActionStep,
    AgentGenerationError,
    AgentMaxStepsError,
    AgentMemory,
    AgentParsingError,
    ChatMessage,
    ChatMessageStreamDelta,
    CodeAgent,
    FinalAnswerStep,
    LogLevel,
    MemoryJournal,
    PlanningStep,
    RunResult,
    ScriptedModel,
    SystemPromptStep,
    TaskStep,
    Tool,
    ToolCall,
    tool,
)
from actloop.errors import InterpreterError
from actloop.journal.sqlite import SQLiteJournal
from actloop.memory.fold import replayed
from actloop.values.events import ToolCalled

if TYPE_CHECKING:
    from pathlib import Path


def program(code: str) -> str:
    return f"Thought: I do it.\n<code>\n{code}\n</code>"


def answer(value: str) -> str:
    return program(f"final_answer({value})")


def agent(replies: Any, tools: list[Any] | None = None, **options: Any) -> CodeAgent:
    options = {
        "verbosity_level": LogLevel.OFF,
        "journal": MemoryJournal(),
        "code_block_tags": ("<code>", "</code>"),
    } | options
    return CodeAgent(tools or [], ScriptedModel(replies), **options)


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers.

    Args:
        a: One number.
        b: The other.
    """
    return a + b


@tool
async def slowly(value: int) -> int:
    """Gives the value back after a while.

    Args:
        value: Any number.
    """
    await asyncio.sleep(0.01)
    return value


def test_a_program_calls_a_tool_and_answers() -> None:
    with agent([answer("add(2, 3) * 10")], [add]) as one:
        assert one.run("add") == 50


def test_variables_live_from_step_to_step() -> None:
    with agent([program("x = 20"), program("x += 1"), answer("x * 2")]) as one:
        assert one.run("count") == 42
        steps = [step for step in one.memory.steps if isinstance(step, ActionStep)]
        assert [step.step_number for step in steps] == [1, 2, 3]
        assert steps[2].is_final_answer
        assert isinstance(one.memory.steps[0], TaskStep)


def test_prints_and_the_last_value_reach_the_model() -> None:
    with agent([program("print('seen')\n6 * 7"), answer("1")]) as one:
        one.run("show")
        shown = one.memory.steps[1]
        assert isinstance(shown, ActionStep)
        assert "seen" in (shown.observations or "")
        assert "42" in (shown.observations or "")
        assert shown.action_output == 42


def test_an_error_is_shown_with_the_line_and_the_run_goes_on() -> None:
    with agent([program("a = 1\nb = a + nothing"), answer("'ok'")]) as one:
        assert one.run("fail first") == "ok"
        failed = one.memory.steps[1]
        assert isinstance(failed, ActionStep)
        assert "b = a + nothing" in str(failed.error)
        assert "NameError" in str(failed.error)


def test_a_reply_without_a_program_is_answered_with_what_one_looks_like() -> None:
    with agent(["I do not know.", answer("1")]) as one:
        assert one.run("try") == 1
        misread = one.memory.steps[1]
        assert isinstance(misread, ActionStep)
        assert isinstance(misread.error, AgentParsingError)
        assert "<code>" in str(misread.error)


def test_the_items_of_a_stream() -> None:
    with agent([program("1 + 1"), answer("'done'")], stream_outputs=True) as one:
        items = list(one.run("go", stream=True))
        kinds = [type(item).__name__ for item in items if not isinstance(item, ChatMessageStreamDelta)]
        assert kinds == ["ToolCall", "ActionOutput", "ActionStep"] * 2 + ["FinalAnswerStep"]
        assert any(isinstance(item, ChatMessageStreamDelta) for item in items)
        assert items[-1].output == "done"


def test_a_stream_closed_early_ends_the_run_quietly() -> None:
    journal = MemoryJournal()
    with agent([program("x = 1"), answer("x")], journal=journal) as one:
        items = one.run("go", stream=True)
        assert isinstance(next(items), ToolCall)
        items.close()
        assert [run.state for run in journal.runs()] == ["interrupted"]


async def test_the_asynchronous_faces() -> None:
    with agent([answer("add(1, 1)"), answer("add(2, 2)")], [add]) as one:
        assert await one.arun("first") == 2
        items = [item async for item in one.astream("second")]
        assert isinstance(items[-1], FinalAnswerStep)
        assert items[-1].output == 4


async def test_a_blocking_run_inside_a_running_loop() -> None:
    with agent([answer("slowly(7)")], [slowly]) as one:
        assert one.run("as in a notebook") == 7


@pytest.mark.parametrize("code", ["slowly(1) + slowly(2)", "await slowly(1) + await slowly(2)"])
async def test_asynchronous_tools(code: str) -> None:
    with agent([answer(code), answer(code)], [slowly]) as one:
        assert await one.arun("wait") == 3
        assert await asyncio.to_thread(one.run, "wait") == 3


GATHER = """
import asyncio
async def main():
    return await asyncio.gather(*[slowly(i) for i in range(10)])
final_answer(asyncio.run(main()))
"""
THREADS = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(5) as pool:
    sums = list(pool.map(lambda i: add(i, 1), range(10)))
final_answer(sums)
"""


@pytest.mark.parametrize(("code", "expected"), [(GATHER, list(range(10))), (THREADS, list(range(1, 11)))])
async def test_several_calls_at_once(code: str, expected: list[int]) -> None:
    with agent([program(code), program(code)], [add, slowly]) as one:
        assert await one.arun("many") == expected
        assert await asyncio.to_thread(one.run, "many") == expected


def test_several_calls_overlap() -> None:
    import threading

    both = threading.Barrier(2, timeout=10)

    @tool
    def meet(name: str) -> str:
        """Waits for the other call.

        Args:
            name: Who comes.
        """
        both.wait()
        return name

    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    final_answer(list(pool.map(meet, ["a", "b"])))
"""
    with agent([program(code)], [meet]) as one:
        assert one.run("meet") == ["a", "b"]


def test_a_tools_error_is_raised_where_it_was_called() -> None:
    @tool
    def find(key: str) -> str:
        """Finds something.

        Args:
            key: What.
        """
        raise KeyError(key)

    code = "try:\n    find('x')\nexcept KeyError as error:\n    final_answer(f'caught {error}')"
    with agent([program(code)], [find]) as one:
        assert one.run("catch") == "caught 'x'"


def test_wrong_arguments_name_the_argument() -> None:
    with agent([program("add('one', 2)"), answer("0")], [add]) as one:
        one.run("wrong")
        step = one.memory.steps[1]
        assert isinstance(step, ActionStep)
        assert "a" in str(step.error)
        assert "int" in str(step.error)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("final_answer(168, 76127)", (168, 76127)),
        ("final_answer(count=168, total=76127)", {"count": 168, "total": 76127}),
        ("final_answer(answer=1)", 1),
        ("final_answer([1, 2])", [1, 2]),
    ],
)
def test_several_values_are_one_answer(code: str, expected: object) -> None:
    with agent([program(code)]) as one:
        assert one.run("two things") == expected


def test_nothing_runs_after_the_answer() -> None:
    with agent([program("final_answer(1)\nadd('no', 'no')\nfinal_answer(2)")], [add]) as one:
        assert one.run("stop") == 1


def test_an_answer_swallowed_by_the_program_still_counts() -> None:
    code = "try:\n    final_answer(5)\nexcept BaseException:\n    pass\nx = 1"
    with agent([program(code)]) as one:
        assert one.run("swallow") == 5


def test_reset_gives_a_fresh_sandbox_and_continuing_keeps_it() -> None:
    replies = [program("secret = 7"), answer("0"), answer("secret"), program("secret"), answer("'gone'")]
    with agent(replies) as one:
        one.run("remember")
        assert one.run("recall", reset=False) == 7
        assert one.run("afresh") == "gone"
        step = one.memory.steps[1]
        assert isinstance(step, ActionStep)
        assert "NameError" in str(step.error)


def test_a_conversation_shows_the_model_what_came_before() -> None:
    with agent([answer("1"), answer("2")]) as one:
        one.run("the first task")
        one.run("the second task", reset=False)
        model = one.model
        assert isinstance(model, ScriptedModel)
        texts = [message.text for message in one.memory.messages()]
        assert any("the first task" in text for text in texts)
        assert any("the second task" in text for text in texts)


def test_variables_given_with_the_task() -> None:
    with agent([answer("sum(numbers) + offset"), answer("offset + more")]) as one:
        assert one.run("sum", additional_args={"numbers": [1, 2, 3], "offset": 10}) == 16
        assert one.state["offset"] == 10
        assert one.run("again", reset=False, additional_args={"more": 5}) == 15


def test_a_variable_that_cannot_be_sent_costs_no_model_call() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with agent([answer("1")]) as one:
        with pytest.raises(InterpreterError, match="cyclic"):
            one.run("send", additional_args={"cyclic": cyclic})
        assert isinstance(one.model, ScriptedModel)
        assert one.model.requests == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"task": ""}, "task"),
        ({"task": None}, "task"),
        ({"max_steps": -1}, "max_steps"),
        ({"max_steps": "3"}, "max_steps"),
        ({"additional_args": {"no name": 1}}, "no name"),
        ({"additional_args": [1]}, "additional_args"),
        ({"additional_args": {"final_answer": 1}}, "hide a tool"),
        ({"additional_args": {"__builtins__": 1}}, "Python's own"),
        ({"images": ["not-an-image.png"]}, "PIL"),
    ],
)
def test_bad_input_is_refused_before_anything_happens(options: dict[str, Any], complaint: str) -> None:
    given: dict[str, Any] = {"task": "t"} | options
    with agent([answer("1")]) as one:
        with pytest.raises((ValueError, TypeError), match=complaint):
            one.run(**given)
        assert one.run("still works") == 1


def test_no_steps_allowed_asks_for_an_answer_at_once() -> None:
    with agent(["in prose"]) as one:
        result = one.run("now", max_steps=0, return_full_result=True)
        assert (result.output, result.state) == ("in prose", "max_steps_error")


def test_steps_used_up() -> None:
    with agent([program("1"), program("2"), "the best I have"], max_steps=2) as one:
        assert one.run("long") == "the best I have"
        last = one.memory.steps[-1]
        assert isinstance(last, ActionStep)
        assert isinstance(last.error, AgentMaxStepsError)


def test_the_full_result() -> None:
    with agent([program("1"), answer("2")], return_full_result=True) as one:
        result = one.run("count")
        assert isinstance(result, RunResult)
        assert (result.output, result.state) == (2, "success")
        assert result.token_usage is not None
        assert result.token_usage.input_tokens > 0
        assert result.timing is not None
        assert result.timing.duration is not None
        assert len(result.steps or []) == 3
        assert one.run.__name__ == "run"


def test_tokens_of_all_steps_add_up() -> None:
    with agent([program("1"), answer("2")]) as one:
        result = one.run("count", return_full_result=True)
        used = [step.token_usage for step in one.memory.steps if isinstance(step, ActionStep)]
        assert all(used)
        assert result.token_usage.total_tokens == sum(usage.total_tokens for usage in used if usage)
        assert one.monitor.get_total_token_counts().total_tokens == result.token_usage.total_tokens


def test_a_model_that_fails_ends_the_run() -> None:
    journal = MemoryJournal()
    with agent([ConnectionError("no route")], journal=journal) as one:
        with pytest.raises(AgentGenerationError, match="no route"):
            one.run("fail")
        assert [run.state for run in journal.runs()] == ["failed"]


def test_checks_send_an_answer_back() -> None:
    def is_even(value: Any, memory: Any, agent: Any) -> bool:
        return value % 2 == 0

    with agent([answer("3"), answer("4")], final_answer_checks=[is_even]) as one:
        assert one.run("even") == 4
        refused = one.memory.steps[1]
        assert isinstance(refused, ActionStep)
        assert "is_even" in str(refused.error)
        assert not refused.is_final_answer


def test_a_check_that_raises_sends_the_answer_back() -> None:
    def broken(value: Any, memory: Any, agent: Any) -> bool:
        return value["key"]

    with agent([answer("3"), answer("{'key': True}")], final_answer_checks=[broken]) as one:
        assert one.run("keyed") == {"key": True}


def test_callbacks_see_and_change_steps() -> None:
    seen: list[str] = []

    def each(step: ActionStep, agent: CodeAgent) -> None:
        seen.append(f"{step.step_number} of {agent.task}")
        step.observations = "changed by the callback"

    def last(step: FinalAnswerStep) -> None:
        seen.append(f"answer {step.output}")

    replies = [program("1"), answer("2")]
    with agent(replies, step_callbacks={ActionStep: each, FinalAnswerStep: [last]}) as one:
        one.run("watch")
        assert seen == ["1 of watch", "2 of watch", "answer 2"]
        assert "changed by the callback" in one.memory.messages()[-3].text


def test_plans_are_made_at_their_interval() -> None:
    replies = ["first plan", program("1"), program("2"), "second plan", answer("3")]
    with agent(replies, planning_interval=2) as one:
        assert one.run("plan") == 3
        kinds = [type(step) for step in one.memory.steps]
        assert kinds == [TaskStep, PlanningStep, ActionStep, ActionStep, PlanningStep, ActionStep]
        plan = one.memory.steps[1]
        assert isinstance(plan, PlanningStep)
        assert "first plan" in plan.plan


def test_instructions_reach_the_system_prompt() -> None:
    with agent([answer("1")], instructions="Answer in French.") as one:
        assert "Answer in French." in one.system_prompt


def test_images_are_shown_once() -> None:
    from PIL import Image

    with agent([program("1"), program("2"), answer("3")]) as one:
        one.run("look", images=[Image.new("RGB", (2, 2))])
        assert isinstance(one.model, ScriptedModel)
        parts = [p for m in one.memory.messages() if isinstance(m.content, list) for p in m.content]
        assert sum(part["type"] == "image" for part in parts) == 1


def test_a_closing_tag_inside_a_string_does_not_cut_the_program() -> None:
    code = 'text = """\n</code>\n"""\nfinal_answer(text.strip())'

    def reply(messages: list[ChatMessage]) -> str:
        return program(code)

    with agent(reply) as one:
        assert one.run("tags") == "</code>"


def test_markdown_tags() -> None:
    with agent(["```python\nfinal_answer(9)\n```"], code_block_tags="markdown") as one:
        assert one.run("fence") == 9


def test_tools_added_later_are_known() -> None:
    with agent([answer("add(1, 2)")]) as one:
        one.tools["add"] = add
        assert one.run("late") == 3


def test_one_step_at_a_time() -> None:
    from actloop import Timing

    with agent([program("x = 4"), answer("x + 1")]) as one:
        one.memory.steps.append(TaskStep("step by step"))
        first = ActionStep(1, Timing(0.0))
        assert one.step(first) is None
        assert first.code_action == "x = 4"
        one.memory.steps.append(first)
        second = ActionStep(2, Timing(0.0))
        assert one.step(second) == 5
        assert second.is_final_answer


def test_a_managed_agent_is_called_like_a_tool() -> None:
    helper = CodeAgent(
        [add],
        ScriptedModel([answer("add(20, 1)")]),
        name="helper",
        description="Adds.",
        verbosity_level=LogLevel.OFF,
        journal=None,
        code_block_tags=("<code>", "</code>"),
    )
    journal = MemoryJournal()
    with agent([answer("helper(task='add them')")], managed_agents=[helper], journal=journal) as one, helper:
        result = one.run("delegate", return_full_result=True)
        assert "21" in result.output
        own = sum(
            step.token_usage.total_tokens
            for step in one.memory.steps
            if isinstance(step, ActionStep) and step.token_usage
        )
        assert result.token_usage.total_tokens > own


@pytest.mark.parametrize(("name", "called"), [("image-size", "image_size"), ("class", "class_"), ("sum", "sum")])
def test_a_tool_of_any_name_can_be_called(name: str, called: str) -> None:
    class Named(Tool):
        description = "Gives seven."
        inputs = {}
        output_type = "integer"

        def forward(self) -> int:
            return 7

    Named.name = name
    with agent([answer(f"{called}()")], [Named()]) as one:
        assert one.run("call") == 7


def test_the_memory_is_rebuilt_from_the_journal(tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "journal.db")
    replies = ["a plan", program("print(add(1, 2))"), program("nothing"), "no program", answer("{'sum': 3}")]
    with agent(replies, [add], journal=journal, planning_interval=10) as one:
        result = one.run("remember", additional_args={"x": 1}, return_full_result=True)
        again = replayed(
            journal.events(result.run_id), AgentMemory(SystemPromptStep("", one.memory.system_prompt.examples))
        )
        assert [message.dict() for message in again.messages()] == [message.dict() for message in one.memory.messages()]
        assert [type(step) for step in again.steps] == [type(step) for step in one.memory.steps]
        last = again.steps[-1]
        assert isinstance(last, ActionStep)
        assert (last.action_output, last.is_final_answer) == ({"sum": 3}, True)
    journal.close()


def test_functions_of_the_executor_pass_the_gateway() -> None:
    async def later(value: int) -> int:
        await asyncio.sleep(0)
        return value + 1

    def double(value: int) -> int:
        return 2 * value

    journal = MemoryJournal()
    kwargs = {"additional_functions": {"double": double, "later": later}}
    code = answer("double(later(1))")
    with agent([code, code], executor_kwargs=kwargs, journal=journal) as one:
        assert one.run("blocking") == 4
        assert asyncio.run(one.arun("awaited")) == 4
        called = [event.name for event in journal.events(journal.runs()[0].id) if isinstance(event, ToolCalled)]
        assert called == ["later", "double", "final_answer"]


def test_edited_state_reaches_a_continued_conversation() -> None:
    with agent([answer("x"), answer("x + y")]) as one:
        one.state["x"] = 5
        assert one.run("first") == 5
        one.state["x"] = 9
        one.state["y"] = 1
        assert one.run("second", reset=False) == 10


def test_a_callback_does_not_make_steps_be_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    original = ActionStep.to_messages

    def counting(self: ActionStep, summary_mode: bool = False) -> list[ChatMessage]:
        written.append(self.step_number)
        return original(self, summary_mode)

    monkeypatch.setattr(ActionStep, "to_messages", counting)
    seen: list[object] = []
    with agent([*(program(str(i)) for i in range(20)), answer("1")], step_callbacks=[seen.append], max_steps=30) as one:
        one.run("many")
    assert written == list(range(1, 21))


def test_the_old_name_of_steps() -> None:
    with pytest.warns(FutureWarning, match="steps"):
        assert RunResult(messages=[{"a": 1}]).steps == [{"a": 1}]
