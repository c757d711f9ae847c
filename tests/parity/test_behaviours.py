"""What the reference's documentation promises, and what its users miss there: a test for each, by the public names.

Behaviours that other tests prove already:

    conversations with reset=False      tests/agents/test_run.py::test_a_conversation_shows_the_model_what_came_before
    additional_args as variables        tests/agents/test_run.py::test_variables_given_with_the_task
    editable memory.steps               tests/agents/test_faces.py::test_steps_that_were_edited_or_removed_are_what_the_next_run_sees
    running one step at a time          tests/agents/test_run.py::test_one_step_at_a_time
                                        tests/agents/tool_calling/test_parts.py::test_one_step_at_a_time
    interrupt after a plan, edit, go on tests/agents/test_faces.py::test_interrupting_after_a_plan_editing_it_and_going_on
    instructions                        tests/agents/test_run.py::test_instructions_reach_the_system_prompt
    tools added to agent.tools later    tests/agents/test_faces.py::test_a_tool_added_to_agent_tools_later_is_offered_and_called
    managed agents with a run summary   tests/agents/test_managed.py::test_a_run_summary_holds_the_steps_of_that_call_only
    code tags "markdown"                tests/agents/test_run.py::test_markdown_tags
    structured output in a code agent   tests/agents/test_structured.py::test_replies_in_json_are_asked_for_and_run
    callbacks per step class            tests/agents/test_faces.py::test_callbacks_by_step_class_get_the_step_and_the_agent
    final_answer_checks                 tests/agents/test_run.py::test_checks_send_an_answer_back
    return_full_result                  tests/agents/test_run.py::test_the_full_result
    use from async code                 tests/agents/test_run.py::test_a_blocking_run_inside_a_running_loop
    async core                          tests/agents/test_run.py::test_the_asynchronous_faces
                                        tests/agents/test_shared.py::test_two_hundred_tasks
    timeouts that kill                  tests/executors/test_session.py::test_time_is_up_in_code_written_in_c
    tolerant parsing of code blocks     tests/loop/test_parsing.py::test_other_forms
    stops that are safe for tags        tests/loop/test_code.py::test_a_program_cut_inside_a_string_by_the_closing_tag_is_asked_for_again
    context within a limit              tests/memory/test_compaction.py::test_the_oldest_steps_give_way_to_a_summary
                                        tests/memory/test_context_at_the_wire.py::test_a_window_that_only_the_service_knows
    prompt caching                      tests/memory/test_context_at_the_wire.py::test_each_request_begins_with_the_former_one
                                        tests/models/test_anthropic.py::test_cache_marks_can_be_turned_off_or_set
    retry of 5xx and time-outs          tests/models/test_openai.py::test_what_may_pass_is_tried_again
    Retry-After                         tests/models/test_openai.py::test_the_services_wish_to_wait_is_honoured_up_to_a_bound
    parallel managed agents             tests/agents/test_managed.py::test_it_is_called_from_threads_of_a_program
    agents shared between threads       tests/agents/test_shared.py::test_twenty_threads
    a failed call keeps its siblings    tests/agents/tool_calling/test_calls.py::test_a_failing_call_does_not_discard_its_siblings
    injection defence                   tests/attacks/test_agents.py::test_observations_with_forged_delimiters
                                        tests/loop/test_tool_calls.py::test_a_result_cannot_speak_for_the_framework
    isolation by the operating system   tests/attacks/test_attacks.py::test_attack
    typed final answers                 tests/agents/test_typed_answers.py::test_an_answer_is_an_object_of_its_type
    JSON Schema for nested arguments    tests/tools/test_schema.py::test_type_schema
                                        tests/tools/test_validation.py::test_values_become_what_the_type_hint_names
    native tool-call messages           tests/models/test_tool_calls.py::test_tools_are_offered_and_calls_and_results_sent_back_by_id
    reasoning content kept              tests/models/test_openai.py::test_reasoning_is_kept_apart
                                        tests/models/test_anthropic.py::test_signed_thoughts_go_back_with_their_calls
    usage adds up, sub-agents included  tests/agents/test_managed.py::test_its_tokens_are_counted_into_the_managers
    one session for each visitor        tests/screens/test_page.py::test_two_visitors_at_once_do_not_mix
    loopback by default                 tests/screens/test_chat.py::test_the_page_is_served_on_this_machine_and_not_shared
"""  # noqa: E501

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image

from actloop import (
    REMOVE_PARAMETER,
    ActionStep,
    AgentError,
    CodeAgent,
    MCPClient,
    OpenAIModel,
    PlanningStep,
    PromptTemplates,
    ScriptedModel,
    ToolCallingAgent,
    UnsafeInProcessExecutor,
    tool,
)
from mcp import StdioServerParameters

from ..models.conftest import Service, completion
from .listed import missing

QUIET: dict[str, Any] = {"verbosity_level": 0, "journal": None}


def code(program: str, tags: tuple[str, str] = ("<code>", "</code>")) -> str:
    return f"Thought: I do it.\n{tags[0]}\n{program}\n{tags[1]}"


def images_in(request: dict[str, Any]) -> int:
    """Images of a request as a service gets it."""
    parts: list[Any] = [part for message in request["messages"] for part in message["content"] if part]
    return sum(part["type"] == "image_url" for part in parts)


@tool
def double(number: int) -> int:
    """Doubles a number.

    Args:
        number: Any.
    """
    return 2 * number


def test_the_tests_that_the_table_names_exist() -> None:
    assert missing(__doc__ or "") == []


def test_additional_args_of_any_kind_as_variables() -> None:
    pd: Any = importlib.import_module("pandas")  # it has no types
    given = {"table": pd.DataFrame({"a": [1, 2, 4]}), "picture": Image.new("RGB", (3, 5)), "limits": {"low": 2}}
    program = "final_answer([int(table['a'].sum()), picture.size, limits['low']])"
    with CodeAgent([], ScriptedModel([code(program)]), additional_authorized_imports=["pandas"], **QUIET) as agent:
        assert agent.run("Describe them.", additional_args=given) == [7, (3, 5), 2]


def test_additional_args_as_variables_of_a_tool_calling_agent() -> None:
    replies = ['{"name": "double", "arguments": {"number": "size"}}', '{"name": "final_answer", "arguments": "done"}']
    agent = ToolCallingAgent([double], ScriptedModel(replies), **QUIET)
    assert agent.run("Double the size.", additional_args={"size": 21}) == "done"
    step = agent.memory.steps[1]
    assert isinstance(step, ActionStep)
    assert "42" in (step.observations or "")


def test_images_with_the_task_are_sent_to_the_service(service: Service) -> None:
    service.answers = [completion(code("x = 1")), completion(code("x = 2")), completion(code("final_answer(x)"))]
    model = OpenAIModel("m", api_base=service.url, api_key="k")
    with CodeAgent([], model, **QUIET) as agent:
        agent.run("Look at both.", images=[Image.new("RGB", (2, 2)), Image.new("RGB", (3, 3), "red")])
    assert [images_in(request) for request in service.requests] == [2, 2, 2]


def test_screenshots_that_a_callback_sets_and_deletes(service: Service) -> None:
    """Callbacks that show the model what there is to see now, and take the pictures of earlier steps away."""

    def look(memory_step: ActionStep, agent: CodeAgent) -> None:
        for earlier in agent.memory.steps:
            if isinstance(earlier, ActionStep) and earlier.step_number <= memory_step.step_number - 2:
                earlier.observations_images = None
        memory_step.observations_images = [Image.new("RGB", (4, 4))]
        memory_step.observations = f"{memory_step.observations or ''}\nPage {memory_step.step_number}"

    service.answers = [completion(code(f"x = {n}")) for n in range(4)] + [completion(code("final_answer(x)"))]
    model = OpenAIModel("m", api_base=service.url, api_key="k")
    with CodeAgent([], model, step_callbacks=[look], **QUIET) as agent:
        agent.run("Browse.")
    assert [images_in(request) for request in service.requests] == [0, 1, 2, 2, 2]
    assert "Page 4" in str(service.requests[-1]["messages"])


def test_custom_prompt_templates_written_for_the_reference() -> None:
    """Every variable that templates of the reference name is there, and every part is used."""
    templates: PromptTemplates = {
        "system_prompt": (
            "Write {{code_block_opening_tag}} and {{code_block_closing_tag}}.\n"
            "{%- for tool in tools.values() %}\n{{ tool.to_code_prompt() }}{% endfor %}\n"
            "{%- if managed_agents and managed_agents.values() | list %}\n"
            "{%- for agent in managed_agents.values() %}\nTeam: {{ agent.name }}: {{ agent.description }}"
            "{% for name, about in agent.inputs.items() %} {{ name }}={{ about.type }}{% endfor %}"
            "{% endfor %}{% endif %}\n"
            "Imports: {{authorized_imports}}{% if custom_instructions %}\n{{custom_instructions}}{% endif %}"
        ),
        "planning": {
            "initial_plan": "Plan for {{task}} with {{tools.values() | map(attribute='name') | join(',')}}.",
            "update_plan_pre_messages": "So far, for {{task}}:",
            "update_plan_post_messages": "{{remaining_steps}} steps are left for {{task}}. Plan anew.",
        },
        "managed_agent": {"task": "You are {{name}}. Do: {{task}}", "report": "{{name}} says {{final_answer}}"},
        "final_answer": {"pre_messages": "No steps are left.", "post_messages": "Answer {{task}} now."},
    }
    helper_model = ScriptedModel([code("final_answer(4)")])
    helper = CodeAgent(
        [], helper_model, templates, name="helper", description="Helps a lot.", **QUIET
    )  # templates by position
    replies = ["first plan", code("report = helper('count')"), "second plan", code("print(report)"), "in prose"]
    model = ScriptedModel(replies)
    agent = CodeAgent(
        [double],
        model,
        templates,
        instructions="Be kind.",
        managed_agents=[helper],
        planning_interval=1,
        max_steps=2,
        **QUIET,
    )
    with agent, helper:
        assert agent.run("Sums") == "in prose"
    plan, first, renewed, second, closing = ("\n".join(m.text for m in r.messages) for r in model.requests)
    assert plan == "Plan for Sums with double,final_answer."
    assert first.startswith("Write <code> and </code>.\ndef double(number: int)")
    for part in ("Team: helper: Helps a lot.", "task=string", "Imports: [", "Be kind.", "first plan"):
        assert part in first
    assert renewed.startswith("So far, for Sums:")
    assert renewed.endswith("1 steps are left for Sums. Plan anew.")
    assert "second plan" in second
    assert closing.startswith("No steps are left.")
    assert closing.endswith("Answer Sums now.")
    assert "helper says 4" in closing
    assert "You are helper. Do: count" in helper_model.requests[0].messages[-1].text


def test_a_system_prompt_that_is_extended_in_place() -> None:
    model = ScriptedModel([code("final_answer(1)")])
    with CodeAgent([], model, **QUIET) as agent, CodeAgent([], model, **QUIET) as other:
        agent.prompt_templates["system_prompt"] = (
            agent.prompt_templates["system_prompt"] + "\nRhyme, {{ 1 + 1 }} times."
        )
        agent.run("Go.")
        assert model.requests[0].messages[0].text.endswith("Rhyme, 2 times.")
        assert agent.memory.system_prompt.system_prompt.endswith("Rhyme, 2 times.")
        assert "Rhyme" not in other.system_prompt


@pytest.mark.parametrize("allowed", [["xml.*"], ["xml.dom"], ["xml"], ["*"]])
def test_packages_with_their_submodules_in_the_import_allow_list(allowed: list[str]) -> None:
    program = "from xml.dom import minidom\nfinal_answer(minidom.parseString('<a/>').documentElement.tagName)"
    with CodeAgent([], ScriptedModel([code(program)]), additional_authorized_imports=allowed, **QUIET) as agent:
        assert agent.run("Go.") == "a"


@pytest.mark.parametrize(
    ("tags", "reply"),
    [
        (("<py>", "</py>"), "I do.\n<py>\nfinal_answer(3)\n</py>"),
        (("[[", "]]"), "[[\nfinal_answer([[3]][0][0])\n]]"),
        (("```(?:python|py)", r"\n```"), "```py\nfinal_answer(3)\n```"),
        ("markdown", "```python\nfinal_answer(3)\n```"),
    ],
)
def test_custom_code_tags(tags: Any, reply: str) -> None:
    model = ScriptedModel([reply, reply])
    with CodeAgent([], model, code_block_tags=tags, **QUIET) as agent:
        assert agent.run("Go.") == 3


def test_extra_model_arguments_are_passed_through(service: Service) -> None:
    service.answers = [completion(code("final_answer(1)"))]
    model = OpenAIModel("m", service.url, "k", temperature=0.25, max_tokens=77, extra_body={"top_k": 5}, seed=3)
    with CodeAgent([], model, **QUIET) as agent:
        agent.run("Go.")
    sent = service.requests[0]
    assert {name: sent[name] for name in ("temperature", "max_tokens", "top_k", "seed")} == {
        "temperature": 0.25,
        "max_tokens": 77,
        "top_k": 5,
        "seed": 3,
    }


@pytest.mark.parametrize(("given", "sent"), [(["Stop here"], ["Stop here"]), (REMOVE_PARAMETER, None)])
def test_stop_sequences_can_be_configured(given: Any, sent: Any, service: Service) -> None:
    service.answers = [completion(code("final_answer(1)"))]
    with CodeAgent([], OpenAIModel("m", service.url, "k", stop=given), **QUIET) as agent:
        assert agent.run("Go.") == 1
    assert service.requests[0].get("stop") == sent


async def test_use_from_asynchronous_code() -> None:
    """In a thread of its own, as the reference has to be used; and awaited."""
    agents = [CodeAgent([], ScriptedModel([code(f"final_answer({n})")] * 2), **QUIET) for n in range(4)]
    assert await asyncio.gather(*(asyncio.to_thread(agent.run, "Go.") for agent in agents)) == [0, 1, 2, 3]
    assert await asyncio.gather(*(agent.arun("Go.") for agent in agents)) == [0, 1, 2, 3]
    for agent in agents:
        agent.cleanup()


def test_a_program_over_its_time_is_killed_and_the_run_goes_on() -> None:
    model = ScriptedModel([code("x = 10 ** 10 ** 8"), code("final_answer('went on')")])
    with CodeAgent([], model, executor_kwargs={"timeout_seconds": 0.5}, **QUIET) as agent:
        assert agent.run("Go.") == "went on"
        step = agent.memory.steps[1]
    assert isinstance(step, ActionStep)
    assert "0.5" in str(step.error)


@pytest.mark.parametrize("where", ["kernel", "no sandbox"])
def test_tools_mcp_tools_and_managed_agents_inside_every_executor(where: Literal["kernel", "no sandbox"]) -> None:
    server = StdioServerParameters(
        command=sys.executable, args=[str(Path(__file__).parents[1] / "mcp" / "example_server.py"), "stdio"]
    )
    helper = CodeAgent([double], ScriptedModel([code("final_answer(double(5))")]), name="helper", description="Helps.")
    helper.logger.level = -1
    program = "final_answer([double(2), add(a=2, b=3), helper('ten')])"
    options = {"executor": UnsafeInProcessExecutor()} if where == "no sandbox" else {}
    with MCPClient(server, structured_output=False) as tools:
        agent = CodeAgent([double, *tools], ScriptedModel([code(program)]), managed_agents=[helper], **options, **QUIET)
        with agent, helper:
            doubled, added, report = agent.run("Go.")
    assert (doubled, int(added)) == (4, 5)
    assert "10" in report


def test_a_plan_that_the_user_customises() -> None:
    """As a program that shows each plan, and has it accepted, edited or refused."""
    decisions = iter(["edit", "cancel"])

    def review(memory_step: PlanningStep, agent: CodeAgent) -> None:
        decision = next(decisions)
        if decision == "edit":
            memory_step.plan = "1. Use double.\n2. Answer."
        elif decision == "cancel":
            agent.interrupt()

    replies = ["1. Guess.", code("x = double(4)"), "1. Wait.", code("final_answer(x)")]
    model = ScriptedModel(replies)
    agent = CodeAgent([double], model, planning_interval=1, step_callbacks={PlanningStep: review}, **QUIET)
    with agent:
        with pytest.raises(AgentError, match="interrupted"):
            agent.run("Double four.")
        assert "Use double" in "\n".join(message.text for message in model.requests[1].messages)
        kinds = [type(step).__name__ for step in agent.memory.steps]
        assert kinds == ["TaskStep", "PlanningStep", "ActionStep", "PlanningStep"]
        agent.step_callbacks = type(agent.step_callbacks)()
        assert agent.run("Double four.", reset=False) == 8


def test_steps_by_hand_as_the_guide_shows_them() -> None:
    """A loop of the user's own around `step`, which changes the memory on its way."""
    from actloop import SystemPromptStep, TaskStep

    model = ScriptedModel([code("x = 20"), code("final_answer(x + 1)")])
    with CodeAgent([], model, **QUIET) as agent:
        agent.python_executor.send_tools({**agent.tools})
        agent.memory.system_prompt = SystemPromptStep(system_prompt=agent.system_prompt)
        agent.memory.steps.append(TaskStep(task="Count.", task_images=[]))
        final_answer, number = None, 1
        while final_answer is None and number <= 10:
            memory_step = ActionStep(step_number=number, observations_images=[])
            final_answer = agent.step(memory_step)
            agent.memory.steps.append(memory_step)
            memory_step.observations = f"noted by hand {number}"
            number += 1
    assert (final_answer, number) == (21, 3)
    assert "noted by hand 1" in model.requests[1].messages[-1].text


def test_a_callback_that_gives_the_agent_another_model() -> None:
    """As one that takes a larger model after a failure."""
    larger = ScriptedModel([code("final_answer('larger')")])

    def escalate(memory_step: ActionStep, agent: CodeAgent) -> None:
        if memory_step.error is not None:
            agent.model = larger

    with CodeAgent([], ScriptedModel([code("1 / 0")]), step_callbacks=[escalate], **QUIET) as agent:
        assert agent.run("Go.") == "larger"
