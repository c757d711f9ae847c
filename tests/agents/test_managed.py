"""Agents that work for other agents: called from programs, in loops, threads and asynchronous code, each call a run."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actloop import (
    ActionStep,
    AgentInterruptedError,
    CodeAgent,
    LogLevel,
    ManagedAgent,
    MemoryJournal,
    ScriptedModel,
    TaskStep,
    tool,
)
from actloop.values.events import RunFinished, RunStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.values.messages import ChatMessage


def program(code: str) -> str:
    return f"Thought: I do it.\n<code>\n{code}\n</code>"


def answer(value: str) -> str:
    return program(f"final_answer({value})")


def agent(replies: Any, tools: list[Any] | None = None, **options: Any) -> CodeAgent:
    options = {"verbosity_level": LogLevel.OFF, "journal": MemoryJournal()} | options
    return CodeAgent(tools or [], ScriptedModel(replies), **options)


def echoing(reply: Callable[[str], str]) -> Callable[..., str]:
    """A reply that depends on the task that the model is shown last."""

    def replies(messages: list[ChatMessage], **_: Any) -> str:
        return reply(messages[-1].text)

    return replies


def doubler(**options: Any) -> CodeAgent:
    """An agent that doubles the number in its task."""

    def reply(text: str) -> str:
        number = text.partition("double ")[2].split()[0]
        return answer(f"'twice is ' + str({number} * 2)")

    return agent(echoing(reply), name="doubler", description="Doubles a number.", **options)


def runs_of(journal: MemoryJournal) -> list[RunStarted]:
    return [event for run in journal.runs() for event in journal.events(run.id) if isinstance(event, RunStarted)]


def test_it_is_called_from_a_program_in_a_loop_each_call_a_run_of_its_own() -> None:
    journal = MemoryJournal()
    helper = doubler(journal=journal)
    code = "found = [doubler(task=f'double {n} please') for n in range(3)]\nfinal_answer(' / '.join(found))"
    with agent([program(code)], managed_agents=[helper], journal=journal) as manager, helper:
        result = manager.run("delegate", return_full_result=True)
    for text in ("twice is 0", "twice is 2", "twice is 4"):
        assert text in result.output
    children = [started for started in runs_of(journal) if started.parent is not None]
    assert [started.parent for started in children] == [result.run_id] * 3
    assert len({started.run for started in children}) == 3


def test_it_is_called_from_threads_of_a_program() -> None:
    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: doubler(task=f'double {n} please'), range(6)))
    final_answer([text.split('twice is ')[1].split()[0] for text in found])
    """
    helper = doubler()
    with agent([program(_dedented(code))], managed_agents=[helper]) as manager, helper:
        assert manager.run("delegate") == ["0", "2", "4", "6", "8", "10"]


@pytest.mark.parametrize("face", ["run", "arun"])
async def test_it_is_gathered_in_asynchronous_code(face: str) -> None:
    """The calls overlap: each waits until all have begun."""
    together = threading.Barrier(4)

    @tool
    def meet() -> None:
        """Waits for the others."""
        together.wait(60)

    helper = agent(
        echoing(lambda text: program(f"meet()\nfinal_answer({text.partition('double ')[2].split()[0]!r})")),
        [meet],
        name="doubler",
        description="Doubles.",
    )
    code = """
    import asyncio
    async def main():
        return await asyncio.gather(*[doubler(task=f'double {n} please') for n in range(4)])
    final_answer([text.split()[-1] for text in asyncio.run(main())])
    """
    with agent([program(_dedented(code))], managed_agents=[helper]) as manager, helper:
        if face == "arun":
            found = await manager.arun("delegate")
        else:
            found = await asyncio.to_thread(manager.run, "delegate")
    assert found == ["0", "1", "2", "3"]


async def test_the_manager_awaits_it_without_blocking_the_event_loop() -> None:
    asleep, awake = asyncio.Event(), asyncio.Event()

    @tool
    async def pause() -> str:
        """Takes a while."""
        asleep.set()
        await awake.wait()
        return "rested"

    async def wake() -> None:
        await asleep.wait()
        awake.set()

    helper = agent([answer("pause()")], [pause], name="sleeper", description="Sleeps.")
    with agent([answer("sleeper('sleep')")], managed_agents=[helper]) as manager, helper:
        told, _ = await asyncio.gather(manager.arun("rest"), wake())
    assert "rested" in told


def test_an_agent_is_wrapped_under_a_name_within_tools() -> None:
    plain = agent([answer("'42 lines'")])
    with agent(
        [answer("coder(task='count the lines')")], [ManagedAgent(plain, name="coder", description="Codes.")]
    ) as one:
        with plain:
            assert "42 lines" in one.run("delegate")
        assert list(one.managed_agents) == ["coder"]
        assert "def coder(task: str" in one.memory.steps[0].to_messages()[0].text


def test_one_agent_under_two_names_is_told_what_each_adds() -> None:
    plain = agent(echoing(lambda text: answer("'polite'" if "Be kind" in text else "'short'")))
    kind = ManagedAgent(plain, name="kind", description="Kind.", additional_prompting="Be kind.")
    terse = ManagedAgent(plain, name="terse", description="Terse.")
    with agent([answer("[kind('a'), terse('b')]")], [kind, terse]) as one, plain:
        first, second = one.run("delegate")
    assert "polite" in first
    assert "'kind' reports" in first
    assert "short" in second


def test_a_run_summary_holds_the_steps_of_that_call_only() -> None:
    helper = doubler(provide_run_summary=True)
    code = "one = doubler('double 3 please')\ntwo = doubler('double 4 please')\nfinal_answer([one, two])"
    with agent([program(code)], managed_agents=[helper]) as manager, helper:
        first, second = manager.run("delegate")
    assert "<summary_of_work>" in first
    assert "str(3 * 2)" in first
    assert "str(4 * 2)" not in first
    assert "str(4 * 2)" in second
    assert "str(3 * 2)" not in second


def test_summaries_of_calls_at_once_do_not_mix() -> None:
    helper = doubler(provide_run_summary=True)
    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(lambda n: doubler(task=f'double {n} please'), range(5)))
    final_answer(found)
    """
    with agent([program(_dedented(code))], managed_agents=[helper]) as manager, helper:
        reports = manager.run("delegate")
    for number, text in enumerate(reports):
        assert f"str({number} * 2)" in text
        assert sum(f"str({other} * 2)" in text for other in range(5)) == 1


def test_its_tokens_are_counted_into_the_managers() -> None:
    journal = MemoryJournal()
    helper = doubler(journal=journal)
    with agent(
        [answer("[doubler('double 1 now'), doubler('double 2 now')]")], managed_agents=[helper], journal=journal
    ) as one:
        with helper:
            result = one.run("delegate", return_full_result=True)
            monitored = one.monitor.get_total_token_counts()
        steps = [step for step in one.memory.steps if isinstance(step, ActionStep)]
        own = sum(step.token_usage.total_tokens for step in steps if step.token_usage)
    finished = [e for run in journal.runs() for e in journal.events(run.id) if isinstance(e, RunFinished)]
    assert all(event.usage is not None for event in finished)
    children = sorted(event.usage.total_tokens for event in finished if event.usage)[:-1]
    assert len(children) == 2
    assert result.token_usage.total_tokens == own + sum(children)
    assert monitored.total_tokens == result.token_usage.total_tokens


def test_additional_args_reach_it_as_variables() -> None:
    helper = agent([answer("sum(numbers)")], name="adder", description="Adds.")
    with (
        agent(
            [answer("adder('add the numbers', additional_args={'numbers': [1, 2, 39]})")], managed_agents=[helper]
        ) as one,
        helper,
    ):
        assert "42" in one.run("delegate")


def test_its_failure_is_an_error_in_the_managers_program() -> None:
    def fail(messages: list[ChatMessage], **_: Any) -> str:
        raise ConnectionError("no route to the model")

    helper = agent(fail, name="broken", description="Breaks.")
    code = "try:\n    broken('try')\nexcept Exception as error:\n    final_answer(f'{type(error).__name__}: {error}')"
    with agent([program(code)], managed_agents=[helper]) as one:
        told = one.run("delegate")
    assert told.startswith("AgentGenerationError")
    assert "no route to the model" in told


@pytest.mark.parametrize("task", ["''", "'   '", "[7]", "None"])
def test_a_task_that_is_none_is_refused(task: str) -> None:
    helper = doubler()
    code = f"try:\n    doubler({task})\nexcept Exception as error:\n    final_answer(str(error))"
    with agent([program(code)], managed_agents=[helper]) as one:
        assert "task" in one.run("delegate")


def test_interrupting_the_manager_ends_the_agent_that_it_waits_for() -> None:
    begun = threading.Event()

    @tool
    def begin() -> None:
        """Says that it has begun."""
        begun.set()

    helper = agent([program("begin()\nwhile True:\n    pass")], [begin], name="endless", description="Never ends.")
    with agent([program("endless('go')")], managed_agents=[helper]) as one, helper:
        timer = threading.Thread(target=lambda: (begun.wait(60), one.interrupt()))
        timer.start()
        with pytest.raises(AgentInterruptedError):
            one.run("delegate")
        timer.join()
        last = helper.memory.steps[-1]
        assert isinstance(last, ActionStep)
        assert isinstance(last.error, AgentInterruptedError)


def test_interrupting_the_helper_alone_is_an_error_for_the_manager() -> None:
    begun = threading.Event()

    @tool
    def begin() -> None:
        """Says that it has begun."""
        begun.set()

    helper = agent([program("begin()\nwhile True:\n    pass")], [begin], name="endless", description="Never ends.")
    code = "try:\n    endless('go')\nexcept Exception as error:\n    final_answer(type(error).__name__)"
    with agent([program(code)], managed_agents=[helper]) as one, helper:
        timer = threading.Thread(target=lambda: (begun.wait(60), helper.interrupt()))
        timer.start()
        assert one.run("delegate") == "AgentInterruptedError"
        timer.join()


def test_agents_below_agents() -> None:
    leaf = agent([answer("'leaf'")], name="leaf", description="Ends it.")
    middle = agent([answer("leaf('go')")], managed_agents=[leaf], name="middle", description="Passes it on.")
    with agent([answer("middle('go')")], managed_agents=[middle]) as one, leaf, middle:
        assert "leaf" in one.run("go")


def test_people_see_the_task_that_it_was_given_and_its_model_the_whole_briefing() -> None:
    journal = MemoryJournal()
    helper = doubler(journal=journal)
    named = ManagedAgent(helper, name="twice", description="Doubles.", additional_prompting="Be short.")
    with agent([answer("twice('double 7 please')")], managed_agents=[named], journal=journal) as one, helper:
        one.run("delegate")
        begun = [e for run in journal.runs() for e in journal.events(run.id) if isinstance(e, RunStarted) and e.parent]
        assert [run.task for run in journal.runs() if run.parent] == ["double 7 please"]
        assert begun[0].task == "double 7 please"
        assert "You are 'twice'" in begun[0].prompt
        assert "Be short." in begun[0].prompt
        told = helper.memory.steps[0].to_messages()[-1].text
        assert told == begun[0].prompt


def test_it_is_called_by_hand() -> None:
    with doubler() as helper:
        assert "twice is 14" in helper("double 7 please")
        assert isinstance(helper.memory.steps[0], TaskStep)
        assert "twice is 14" in asyncio.run(helper.acall("double 7 please"))


def test_what_needs_a_name_or_a_description_says_so() -> None:
    plain = agent([])
    with pytest.raises(ValueError, match="no name"):
        ManagedAgent(plain, description="Does things.")
    with pytest.raises(ValueError, match="no description"):
        ManagedAgent(plain, name="worker")
    with pytest.raises(ValueError, match="identifier"):
        ManagedAgent(plain, name="my worker", description="Works.")
    with pytest.raises(TypeError, match="wraps an agent"):
        ManagedAgent("worker", name="worker", description="Works.")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="name and a description"):
        agent([], managed_agents=[plain])


def test_names_are_given_once() -> None:
    named = ManagedAgent(agent([]), name="add", description="Adds.")

    @tool
    def add(a: int) -> int:
        """Adds one.

        Args:
            a: A number.
        """
        return a + 1

    with pytest.raises(ValueError, match="more than once"):
        agent([], [add, named])


def _dedented(code: str) -> str:
    import textwrap

    return textwrap.dedent(code).strip()
