"""Agents that work for other agents: what they are told, what they report, and the wrapper that names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from actloop.agents.checks import valid_name
from actloop.agents.prompting import populate_template
from actloop.agents.result import RunResult
from actloop.tools.base import BaseTool, Tool
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from actloop.agents.base import MultiStepAgent
    from actloop.memory.memory import AgentMemory

INPUTS: dict[str, dict[str, Any]] = {
    "task": {"type": "string", "description": "What to do, in detail: the agent knows nothing else."},
    "additional_args": {
        "type": "object",
        "description": "Variables to hand over, by name: tables, images, anything the agent needs.",
        "nullable": True,
    },
}
"""What an agent that calls another one may pass."""

_MESSAGE_LIMIT = 20_000
"""Characters of one message in a summary of an agent's work."""


def briefing(agent: MultiStepAgent, called: MultiStepAgent | ManagedAgent, task: str) -> str:
    """The task as the called agent is told it, which was called directly or under a name of its own."""
    told = called.told(task) if isinstance(called, ManagedAgent) else task
    template = agent.prompt_templates["managed_agent"]["task"]
    return populate_template(template, {"name": called.name, "task": told}) or told


def own_report(agent: MultiStepAgent, called: MultiStepAgent | ManagedAgent, task: str, **options: Any) -> str:
    """Run an agent whose class has a `run` of its own for another agent, and report."""
    given = {name: value for name, value in options.items() if value is not None}
    result = agent.run(briefing(agent, called, task), **given)
    wanted = called.provide_run_summary
    summary = agent.provide_run_summary if wanted is None else wanted
    answer = result.output if isinstance(result, RunResult) else result
    return report(agent, called.name, answer, agent.memory, summary=summary)


def report(agent: MultiStepAgent, name: str | None, answer: Any, memory: AgentMemory, *, summary: bool) -> str:
    """What the calling agent is told of a run that has ended.

    Args:
        agent: The agent that worked.
        name: The name it was called by.
        answer: Its answer.
        memory: The conversation of its run.
        summary: Add a summary of its steps.
    """
    template = agent.prompt_templates["managed_agent"]["report"]
    text = populate_template(template, {"name": name, "final_answer": answer}) or str(answer)
    if not summary:
        return text
    steps = [memory.system_prompt, *memory.steps]
    told = [message.text for step in steps for message in step.to_messages(summary_mode=True)]
    work = "\n---\n".join(part if len(part) <= _MESSAGE_LIMIT else f"{part[:_MESSAGE_LIMIT]} ..." for part in told)
    opening = "For more detail, here is a summary of this agent's work:"
    return f"{text}\n\n{opening}\n<summary_of_work>\n{work}\n</summary_of_work>"


class ManagedAgent(BaseTool):
    """An agent under a name, for the `tools` or `managed_agents` of another agent.

    The same agent may be wrapped several times, under different names and descriptions. Each call is a run of its own,
    so one agent may be called in a loop, from threads and, with `await`, from asynchronous code, all at once.

    Args:
        agent: The agent that does the work.
        name: The name it is called by; the agent's own by default.
        description: What it can do, for the agent that calls it; the agent's own by default.
        additional_prompting: Added to every task it is given.
        provide_run_summary: Add a summary of its steps to its reports; as the agent is set by default.

    Raises:
        TypeError: `agent` is not an agent.
        ValueError: There is no name or no description, or the name is not an identifier.
    """

    inputs: ClassVar[dict[str, dict[str, Any]]] = INPUTS
    output_type: ClassVar[str] = "string"

    def __init__(
        self,
        agent: MultiStepAgent,
        name: str | None = None,
        description: str | None = None,
        additional_prompting: str | None = None,
        provide_run_summary: bool | None = None,
    ) -> None:
        if not hasattr(agent, "_report"):
            raise TypeError(cut(f"ManagedAgent wraps an agent; got {type(agent).__name__}: {agent!r}", 300))
        self.agent = agent
        given = valid_name(name or agent.name)
        self.description = description or agent.description or ""
        if given is None or not self.description:
            lacking = "name" if given is None else "description"
            raise ValueError(f"an agent that others call needs a name and a description; this one has no {lacking}")
        self.name = given
        self.additional_prompting = additional_prompting
        self.provide_run_summary = provide_run_summary

    def __call__(self, task: str, additional_args: dict[str, Any] | None = None, **kwargs: Any) -> str:
        """Run the agent on a task, and return its report."""
        return self.agent._report(self, task, additional_args=additional_args, **kwargs)  # pyright: ignore[reportPrivateUsage]

    async def acall(self, task: str, additional_args: dict[str, Any] | None = None, **kwargs: Any) -> str:
        """As calling it, awaited."""
        return await self.agent._areport(self, task, additional_args=additional_args, **kwargs)  # pyright: ignore[reportPrivateUsage]

    def told(self, task: str) -> str:
        """A task with what is added to every task."""
        return f"{task}\n\n{self.additional_prompting}" if self.additional_prompting else task

    def __repr__(self) -> str:
        return f"ManagedAgent({self.name!r}, {type(self.agent).__name__})"


def agents_apart(tools: Any) -> tuple[list[Any], list[Any]]:
    """Tools, and the agents among them, which the model is told of in other words."""
    if not isinstance(tools, list | tuple):
        raise TypeError(f"tools must be a list of Tool objects; got {type(tools).__name__}")
    given = cast("list[Any]", tools)
    agents = [
        item for item in given if hasattr(item, "acall") and hasattr(item, "description") and not isinstance(item, Tool)
    ]
    return [item for item in given if item not in agents], agents
