"""The packaged prompts: examples are right replies under every pair of tags, and the prefix holds nothing of a task."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from actloop.agents.prompting import check_templates, packaged_templates, populate_template
from actloop.loop.parsing import Program, parse_reply

TAGS = [("<code>", "</code>"), ("```python", "```"), ("<run>", "</run>")]


def variables(tags: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"code_block_opening_tag": tags[0], "code_block_closing_tag": tags[1]} | more


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
    text = populate_template(template, variables(TAGS[2], additional_imports=["numpy"], custom_instructions="Be kind."))
    assert "<run>" in text
    assert "you may import numpy" in text
    assert text.endswith("\n\nBe kind.")


def test_the_templates_have_the_parts_that_users_replace() -> None:
    check_templates(packaged_templates("code_agent"))
