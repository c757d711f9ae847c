"""What users do with an agent besides running it: plan, interrupt, edit, go on, step, look, replay."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from actloop import (
    ActionStep,
    AgentInterruptedError,
    AgentLogger,
    AgentMaxStepsError,
    AgentParsingError,
    CodeAgent,
    FinalAnswerStep,
    LogLevel,
    ManagedAgent,
    MemoryJournal,
    MessageRole,
    PlanningStep,
    PromptTemplates,
    ScriptedModel,
    SystemPromptStep,
    TaskStep,
    Timing,
    tool,
)


def program(code: str) -> str:
    return f"Thought: I do it.\n<code>\n{code}\n</code>"


def answer(value: str) -> str:
    return program(f"final_answer({value})")


def agent(replies: Any, tools: list[Any] | None = None, **options: Any) -> CodeAgent:
    options = {"verbosity_level": LogLevel.OFF, "journal": MemoryJournal()} | options
    return CodeAgent(tools or [], ScriptedModel(replies), **options)


def model_of(one: CodeAgent) -> ScriptedModel:
    assert isinstance(one.model, ScriptedModel)
    return one.model


def steps_of(one: CodeAgent) -> list[ActionStep]:
    return [step for step in one.memory.steps if isinstance(step, ActionStep)]


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers.

    Args:
        a: One number.
        b: The other.
    """
    return a + b


# Planning


def test_a_plan_comes_before_the_first_step_and_every_interval() -> None:
    replies = ["plan one", program("x = 1"), program("x += 1"), "plan two", program("x += 1"), answer("x")]
    with agent(replies, planning_interval=2) as one:
        assert one.run("count") == 3
        kinds = [type(step).__name__ for step in one.memory.steps]
    assert kinds == [
        "TaskStep",
        "PlanningStep",
        "ActionStep",
        "ActionStep",
        "PlanningStep",
        "ActionStep",
        "ActionStep",
    ]


def test_interrupting_after_a_plan_editing_it_and_going_on() -> None:
    seen: list[str] = []

    def review(step: PlanningStep, agent: CodeAgent) -> None:
        seen.append(step.plan)
        step.plan = step.plan.replace("weigh", "measure")
        agent.interrupt()

    replies = ["1. weigh it", answer("'measured'")]
    with agent(replies, planning_interval=5, step_callbacks={PlanningStep: review}) as one:
        with pytest.raises(AgentInterruptedError):
            one.run("how long is it?")
        assert "weigh" in seen[0]
        plan = one.memory.steps[-1]
        assert isinstance(plan, PlanningStep)
        assert "1. measure it" in plan.plan
        one.step_callbacks = type(one.step_callbacks)()
        assert one.run("go on", reset=False) == "measured"
        sent = "\n".join(message.text for message in model_of(one).requests[-1].messages)
        kinds = [type(step).__name__ for step in one.memory.steps]
    assert kinds == ["TaskStep", "PlanningStep", "TaskStep", "ActionStep"]  # no plan is asked for in its place
    assert "1. measure it" in sent
    assert "weigh" not in sent


def test_what_an_interrupted_program_says_at_last_is_shown() -> None:
    text = io.StringIO()
    logger = AgentLogger(console=Console(file=text, width=100, highlight=False))

    @tool
    def stop() -> None:
        """Interrupts the run."""
        one.interrupt()

    last = program("try:\n    stop()\n    while True: pass\nexcept BaseException:\n    print('last' + ' words')")
    with (
        agent([last], [stop], verbosity_level=LogLevel.INFO, logger=logger) as one,
        pytest.raises(AgentInterruptedError),
    ):
        one.run("go")
    assert "last words" in text.getvalue()


def test_an_edited_plan_is_what_the_next_step_sees() -> None:
    def mend(step: PlanningStep) -> None:
        step.plan = "Use the tool add."

    with agent(["a plan", answer("1")], planning_interval=3, step_callbacks={PlanningStep: mend}) as one:
        one.run("compute")
        sent = "\n".join(message.text for message in model_of(one).requests[-1].messages)
    assert "Use the tool add." in sent
    assert "a plan" not in sent


# Callbacks by class


def test_callbacks_by_step_class_get_the_step_and_the_agent() -> None:
    seen: list[tuple[str, Any]] = []

    def note(step: Any, agent: Any = None) -> None:
        seen.append((type(step).__name__, agent))

    callbacks = {ActionStep: note, PlanningStep: [note], FinalAnswerStep: note}
    with agent(["a plan", answer("1")], planning_interval=3, step_callbacks=callbacks) as one:
        one.run("compute")
        assert [name for name, _ in seen] == ["PlanningStep", "ActionStep", "FinalAnswerStep"]
        assert all(given is one for _, given in seen)


def test_a_callback_of_one_parameter_gets_the_step_alone() -> None:
    seen: list[Any] = []
    with agent([answer("1")], step_callbacks=[seen.append]) as one:
        one.run("compute")
    assert [type(step) for step in seen] == [ActionStep]


# Checks of the answer


def test_a_refused_answer_is_sent_back_with_the_name_of_the_check() -> None:
    def is_positive(value: Any, memory: Any, agent: Any) -> bool:
        return value > 0

    with agent([answer("-1"), answer("1")], final_answer_checks=[is_positive]) as one:
        assert one.run("a number") == 1
        assert "is_positive" in str(steps_of(one)[0].error)


def test_no_steps_allowed_asks_for_the_answer_at_once() -> None:
    with agent(["forty-two"], max_steps=0) as one:
        result = one.run("what is it?", return_full_result=True)
        assert (result.output, result.state) == ("forty-two", "max_steps_error")
        assert isinstance(steps_of(one)[-1].error, AgentMaxStepsError)


# Taking a run apart


def test_provide_final_answer_asks_for_prose_from_the_conversation() -> None:
    with agent([program("x = 7"), "It is 7."], max_steps=1) as one:
        one.memory.steps.append(TaskStep("what is x?"))
        step = ActionStep(1, Timing(0.0))
        one.step(step)
        one.memory.steps.append(step)
        message = one.provide_final_answer("what is x?")
        sent = "\n".join(part.text for part in model_of(one).requests[-1].messages)
    assert message.text == "It is 7."
    assert "what is x?" in sent
    assert "x = 7" in sent


def test_extract_action_splits_at_the_last_token() -> None:
    one = agent([])
    assert one.extract_action("I add them. Action: add(1, 2)", "Action:") == ("I add them.", "add(1, 2)")
    with pytest.raises(AgentParsingError, match="Action:"):
        one.extract_action("add(1, 2)", "Action:")


def test_the_system_prompt_follows_its_parts() -> None:
    one = agent([], instructions="Answer in French.")
    assert "Answer in French." in one.initialize_system_prompt()
    one.instructions = "Answer in Latin."
    assert "Answer in Latin." in one.system_prompt


def test_custom_templates_are_used_and_a_missing_part_is_named() -> None:
    templates: PromptTemplates = {**agent([]).prompt_templates, "system_prompt": "You are {{ name }}."}
    with agent([answer("1")], prompt_templates=templates, name="ada") as one:
        one.run("compute")
        assert model_of(one).requests[0].messages[0].text == "You are ada."
    broken: Any = {"system_prompt": "", "managed_agent": {}, "final_answer": {}}
    with pytest.raises(ValueError, match="planning"):
        agent([], prompt_templates=broken)


def test_a_tool_added_to_agent_tools_later_is_offered_and_called() -> None:
    with agent([answer("add(1, 2)")]) as one:
        one.tools["add"] = add
        assert one.run("compute") == 3
        assert "def add(a: int, b: int)" in model_of(one).requests[0].messages[-1].text


# Memory


def test_write_memory_to_messages_in_whole_and_in_summary() -> None:
    with agent(["the plan", program("print('seen')"), answer("1")], planning_interval=9) as one:
        one.run("compute")
        whole = one.write_memory_to_messages()
        summary = one.write_memory_to_messages(summary_mode=True)
    assert whole[0].role == MessageRole.SYSTEM
    assert any("Thought: I do it." in message.text for message in whole)
    assert any("the plan" in message.text for message in whole)
    assert all(message.role != MessageRole.SYSTEM for message in summary)
    assert not any("Thought: I do it." in message.text or "the plan" in message.text for message in summary)
    assert any("seen" in message.text for message in summary)


def test_steps_that_were_edited_or_removed_are_what_the_next_run_sees() -> None:
    with agent([program("print('alpha')"), answer("1"), answer("2")]) as one:
        one.run("first")
        steps_of(one)[0].observations = "beta"
        del one.memory.steps[-1]
        one.run("second", reset=False)
        sent = "\n".join(message.text for message in model_of(one).requests[-1].messages)
    assert "beta" in sent
    assert "final_answer(1)" not in sent


def test_memory_of_another_agent_can_be_continued() -> None:
    with agent([program("print('found 12')"), answer("12")]) as one, agent([answer("13")]) as two:
        one.run("look")
        two.memory = one.memory
        two.run("go on", reset=False)
        sent = "\n".join(message.text for message in model_of(two).requests[-1].messages)
    assert "found 12" in sent


def test_return_full_code_and_succinct_steps() -> None:
    with agent([program("x = 20"), answer("x + 1")]) as one:
        one.run("compute")
        assert one.memory.return_full_code().split() == ["x", "=", "20", "final_answer(x", "+", "1)"]
        succinct, full = one.memory.get_succinct_steps(), one.memory.get_full_steps()
    assert all("model_input_messages" not in step for step in succinct)
    assert any(step.get("model_input_messages") for step in full)


# Screens


def printed(level: LogLevel = LogLevel.INFO) -> tuple[AgentLogger, io.StringIO]:
    text = io.StringIO()
    return AgentLogger(level=level, console=Console(file=text, width=100, highlight=False)), text


def test_visualize_shows_the_agents_tools_and_helpers() -> None:
    logger, text = printed()
    helper = agent([], [add])
    with agent([], managed_agents=[ManagedAgent(helper, "adder", "Adds for others.")], logger=logger) as one:
        one.visualize()
    for word in ("CodeAgent", "final_answer", "adder", "Adds for others.", "add", "Adds two numbers."):
        assert word in text.getvalue()


def test_replay_prints_the_steps_again() -> None:
    logger, text = printed()
    with agent([program("print('seen it')"), answer("41 + 1")], logger=logger) as one:
        one.run("the whole task")
        text.seek(text.truncate(0))
        one.replay()
        short = text.getvalue()
        text.seek(text.truncate(0))
        one.replay(detailed=True)
    assert "the whole task" in short
    assert "seen it" in short
    assert "42" in short
    assert len(text.getvalue()) > len(short)
    assert isinstance(one.memory.system_prompt, SystemPromptStep)
