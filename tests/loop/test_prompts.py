"""The packaged prompts: examples are right replies under every pair of tags, and the prefix holds nothing of a task."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

from actloop import CodeAgent, ScriptedModel
from actloop.agents.prompting import check_templates, packaged_templates, populate_template
from actloop.loop.parsing import Program, parse_reply
from actloop.loop.replies import CallReader, Calls
from actloop.values.calls import calls_as_text
from actloop.values.messages import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole

TAGS = [("<code>", "</code>"), ("```python", "```"), ("<run>", "</run>")]


def variables(tags: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"code_block_opening_tag": tags[0], "code_block_closing_tag": tags[1], "answer_form": ""} | more


@pytest.mark.parametrize("tags", TAGS)
def test_every_example_is_a_right_reply(tags: tuple[str, str]) -> None:
    examples = packaged_templates("code_agent").get("examples", [])
    assert examples
    for example in examples:
        found = parse_reply(populate_template(example["assistant"], variables(tags)), tags)
        assert isinstance(found, Program)
        assert found.thought
        ast.parse(found.code)


def test_the_system_prompt_needs_nothing_of_a_task() -> None:
    template = packaged_templates("code_agent")["system_prompt"]
    sandbox = {"sandbox_files": False, "sandbox_network": True, "sandbox_notes": "It is small."}
    imports: dict[str, Any] = {"additional_imports": ["numpy"], "only_imports": None}
    given = variables(TAGS[2], **imports, custom_instructions="Be kind.", **sandbox)
    text = populate_template(template, given)
    assert "There is no input(), no host file. It is small.\n" in text
    assert "<run>" in text
    assert "you may import numpy" in text
    assert text.endswith("\n\nBe kind.")
    text = populate_template(template, given | {"only_imports": ["math", "re"]})
    assert "Only these modules can be imported: math, re. There is no input()" in text
    assert "library" not in text


@pytest.mark.parametrize("name", ["code_agent", "structured_code_agent", "toolcalling_agent"])
def test_the_templates_have_the_parts_that_users_replace(name: str) -> None:
    check_templates(packaged_templates(name))
    assert packaged_templates(name).keys() == packaged_templates("code_agent").keys()


def test_examples_of_structured_replies_are_what_the_response_format_asks_for() -> None:
    told = packaged_templates("structured_code_agent").get("examples", [])
    plain = packaged_templates("code_agent").get("examples", [])
    assert [example["user"] for example in told] == [example["user"] for example in plain]
    for example in told:
        reply = json.loads(populate_template(example["assistant"], {}))
        assert reply.keys() == {"thought", "code"}
        ast.parse(reply["code"])


def test_examples_of_calls_are_right_replies_in_the_form_in_which_they_are_sent_back() -> None:
    for example in packaged_templates("toolcalling_agent").get("examples", []):
        written = populate_template(example["assistant"], {})
        found = CallReader(native=False).read(ChatMessage(MessageRole.ASSISTANT, written), 1)
        assert isinstance(found, Calls)
        calls = [
            ChatMessageToolCall(ChatMessageToolCallFunction(dict(call.kwargs), call.name), call.id)
            for call in found.requests
        ]
        assert f"Thought: {found.thought}\n{calls_as_text(calls)}" == written
        assert all(call.refusal is None for call in found.requests)


def test_templates_that_are_changed_in_place_are_one_agents_own() -> None:
    one, other = CodeAgent([], ScriptedModel([])), CodeAgent([], ScriptedModel([]))
    one.prompt_templates["system_prompt"] += "\nAnswer in verse."
    one.prompt_templates["planning"]["initial_plan"] = "Plan in verse."
    assert "Answer in verse." in one.system_prompt
    assert "verse" not in other.system_prompt
    assert "verse" not in other.prompt_templates["planning"]["initial_plan"]
