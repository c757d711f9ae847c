"""A folder that smolagents saved."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import pytest

from actloop import CodeAgent, LogLevel, ScriptedModel
from actloop.hub.folder import write_files

if TYPE_CHECKING:
    from pathlib import Path

SMOLAGENTS = {
    "agent.json": json.dumps(
        {
            "class": "CodeAgent",
            "tools": ["area", "final_answer"],
            "model": {"class": "HfApiModel", "data": {"model_id": "org/model"}},
            "managed_agents": {},
            "prompt_templates": {"system_prompt": "overwritten by prompts.yaml"},
            "max_steps": 6,
            "verbosity_level": 1,
            "planning_interval": None,
            "name": "boss",
            "description": None,
            "requirements": ["smolagents"],
            "authorized_imports": ["math", "queue", "stat", "yaml"],
            "executor_type": "local",
            "executor_kwargs": {},
            "max_print_outputs_length": None,
        }
    ),
    "prompts.yaml": (
        '"system_prompt": |-\n  Tools:\n  {%- for tool in tools.values() %}\n  {{ tool.to_code_prompt() }}\n'
        "  {% endfor %}\n  Imports: {{authorized_imports}} {{code_block_opening_tag}} {{custom_instructions}}\n"
        '"planning":\n  "initial_plan": "{{task}}"\n  "update_plan_pre_messages": "a"\n'
        '  "update_plan_post_messages": "b"\n'
        '"managed_agent":\n  "task": "{{name}}"\n  "report": "{{final_answer}}"\n'
        '"final_answer":\n  "pre_messages": "c"\n  "post_messages": "d"\n'
    ),
    "tools/area.py": textwrap.dedent(
        """\
        from smolagents import Tool
        from typing import Any, Optional

        class SimpleTool(Tool):
            name = "area"
            description = "Area."
            inputs = {'radius': {'type': 'number', 'description': 'Of it.'}}
            output_type = "number"

            def forward(self, radius: float) -> float:
                return 3 * radius**2"""
    ),
    "tools/final_answer.py": textwrap.dedent(
        """\
        from typing import Any, Optional
        from smolagents.tools import Tool

        class FinalAnswerTool(Tool):
            name = "final_answer"
            description = "Answers."
            inputs = {'answer': {'type': 'any', 'description': 'It.'}}
            output_type = "any"

            def forward(self, answer: Any) -> Any:
                return answer

            def __init__(self, *args, **kwargs):
                self.is_initialized = False
        """
    ),
}


def test_a_folder_that_smolagents_saved_is_loaded(tmp_path: Path) -> None:
    write_files(tmp_path, SMOLAGENTS)
    with pytest.raises(ValueError, match="would do the following") as refused:
        CodeAgent.from_folder(tmp_path)
    assert "'area'" in str(refused.value)
    assert "final_answer" not in str(refused.value)
    with ScriptedModel(["<code>\nfinal_answer(area(2))\n</code>"]) as model:
        agent = CodeAgent.from_folder(tmp_path, model=model, trust_remote_code=True, verbosity_level=LogLevel.OFF)
        with agent:
            assert agent.run("What is the area?") == 12
    assert agent.additional_authorized_imports == ["yaml"]
    assert (agent.max_steps, agent.name) == (6, "boss")
    assert agent.system_prompt.startswith("Tools:\ndef area(radius: float) -> float:")
