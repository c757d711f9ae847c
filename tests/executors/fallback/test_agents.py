"""Agents whose programs go on elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actloop import ActionStep

from .kit import agent_of

pytest.importorskip("pydantic_monty")
STEPS = (
    "weights = {thing: weigh(thing) for thing in ['pea', 'bean']}\nprint(weights)",
    "import statistics\nmean = statistics.mean(weights.values())",
    "final_answer([mean, weigh('x'), weights['pea']])",
)


def test_an_agent_goes_on_elsewhere() -> None:
    with agent_of(*STEPS) as agent:
        assert agent.run("go") == [3.5, 1, 3]
        assert "moved to another sandbox by itself" in agent.system_prompt
        assert "inheritance" not in agent.system_prompt


@pytest.mark.parametrize("kind", ["monty", ["monty"], ["monty", "local"]])
@pytest.mark.parametrize("structured", [False, True])
def test_the_prompt_names_the_modules_that_there_are(kind: Any, structured: bool) -> None:
    with agent_of("1", executor_type=kind, use_structured_outputs_internally=structured) as agent:
        small, whole = "Only these modules can be imported: asyncio, ", "Only the Python standard library is available"
        assert (small in agent.system_prompt, whole in agent.system_prompt) == ("local" not in kind, "local" in kind)
    templates: Any = agent.prompt_templates | {"system_prompt": "{{ authorized_imports }}"}
    with agent_of("1", executor_type=kind, prompt_templates=templates) as agent:
        assert ("argparse" in agent.system_prompt) == ("local" in kind)


async def test_agents_go_on_elsewhere_on_an_event_loop() -> None:
    agents = [agent_of(*STEPS) for _ in range(3)]
    try:
        assert await asyncio.gather(*(agent.arun("go") for agent in agents)) == [[3.5, 1, 3]] * 3
    finally:
        for agent in agents:
            agent.cleanup()


def test_modules_that_the_user_authorised_are_there() -> None:
    code = "import numpy as np\nfinal_answer(int(np.arange(4).sum()))"
    with agent_of(code, additional_authorized_imports=["numpy"]) as agent:
        assert agent.run("go") == 6


def test_two_runs_begin_in_the_first_executor() -> None:
    with agent_of("import statistics\nfinal_answer(1)", "final_answer(2)") as agent:
        assert agent.run("go") == 1
        assert agent.run("go") == 2


@pytest.mark.parametrize("module", ["sqlite3", "numpy"])
def test_a_module_that_nobody_may_import_says_how_the_user_allows_it(module: str) -> None:
    with agent_of(f"import {module}", "final_answer(1)") as agent:
        agent.run("go")
        told = [step.error.message for step in agent.memory.steps if isinstance(step, ActionStep) and step.error]
    assert f"The user can allow it with additional_authorized_imports=['{module}'], or --imports {module}." in told[0]
