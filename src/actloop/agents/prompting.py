"""Prompt templates, and the messages that a run's loop asks to have rendered."""

from __future__ import annotations

import copy
import textwrap
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from actloop.loop import wording
from actloop.runtime.gateway import FINAL_ANSWER
from actloop.tools.final_answer import answer_in_text
from actloop.values.calls import in_words
from actloop.values.messages import ChatMessage, MessageRole

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jinja2

    from actloop.memory.memory import AgentMemory


class PlanningPromptTemplate(TypedDict):
    """Templates of planning.

    Attributes:
        initial_plan: Asks for the first plan.
        update_plan_pre_messages: Comes before the conversation when a plan is renewed.
        update_plan_post_messages: Comes after it and asks for the new plan.
    """

    initial_plan: str
    update_plan_pre_messages: str
    update_plan_post_messages: str


class ManagedAgentPromptTemplate(TypedDict):
    """Templates of an agent that another one calls: `task` wraps what it is asked, `report` what it answers."""

    task: str
    report: str


class FinalAnswerPromptTemplate(TypedDict):
    """Templates that ask for an answer when the steps are used up: before and after the conversation."""

    pre_messages: str
    post_messages: str


class Example(TypedDict):
    """One turn of a worked example: what the user says, and the reply."""

    user: str
    assistant: str


class PromptTemplates(TypedDict):
    """Everything an agent says to its model, as Jinja templates.

    `examples` and `task` are optional: worked examples as turns of a conversation before the task, and the message that
    brings the task, its tools and its variables.
    """

    system_prompt: str
    planning: PlanningPromptTemplate
    managed_agent: ManagedAgentPromptTemplate
    final_answer: FinalAnswerPromptTemplate
    examples: NotRequired[list[Example]]
    task: NotRequired[str]


EMPTY_PROMPT_TEMPLATES = PromptTemplates(
    system_prompt="",
    planning=PlanningPromptTemplate(initial_plan="", update_plan_pre_messages="", update_plan_post_messages=""),
    managed_agent=ManagedAgentPromptTemplate(task="", report=""),
    final_answer=FinalAnswerPromptTemplate(pre_messages="", post_messages=""),
)


def check_templates(templates: Mapping[str, Any]) -> None:
    """Refuse templates of the user's that lack a part.

    Raises:
        ValueError: Names the parts that are missing.
    """
    missing = [key for key in EMPTY_PROMPT_TEMPLATES if key not in templates]
    for key, value in EMPTY_PROMPT_TEMPLATES.items():
        if isinstance(value, dict) and key in templates:
            missing += [f"{key}.{part}" for part in cast("dict[str, str]", value) if part not in templates[key]]
    if missing:
        raise ValueError(f"prompt_templates lacks: {', '.join(missing)}")


def packaged_templates(name: str) -> PromptTemplates:
    """A copy of the templates that come with actloop, such as `code_agent`: users change those of their agents."""
    return copy.deepcopy(_packaged(name))


@lru_cache(maxsize=8)
def _packaged(name: str) -> PromptTemplates:
    from importlib import resources

    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = resources.files("actloop.prompts").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return cast("PromptTemplates", yaml.load(text, Loader=loader))  # noqa: S506  (both loaders are safe ones)


@lru_cache(maxsize=256)
def _compiled(template: str) -> jinja2.Template:
    from actloop.agents.templates import environment

    return environment().from_string(template)


def populate_template(template: str, variables: dict[str, Any]) -> str:
    """A Jinja template filled in; every variable it names must be there.

    Raises:
        ValueError: The template is broken or names a variable that is not given.
    """
    if "{" not in template and "\r" not in template:
        return template.removesuffix("\n")  # as Jinja does; most texts of examples name no variable
    try:
        return _compiled(template).render(**variables)
    except Exception as error:
        raise ValueError(f"Error during jinja template rendering: {type(error).__name__}: {error}") from error


def _message(role: MessageRole, text: str) -> ChatMessage:
    return ChatMessage(role=role, content=[{"type": "text", "text": text}])


class RunPrompts:
    """Renders the messages of one run; what the loop knows as `CodePrompts`.

    Args:
        templates: The agent's templates.
        task: The run's task.
        variables: What the templates may name: tools, managed agents, tags and so on.
        memory: The conversation, for plans and closing questions.
    """

    def __init__(self, templates: PromptTemplates, task: str, variables: dict[str, Any], memory: AgentMemory) -> None:
        self._templates = templates
        self._task = task
        self._variables: dict[str, Any] = {**variables, "task": task}
        self._memory = memory

    def task_message(self, extra: Mapping[str, Any]) -> str:
        """The message that brings the task.

        Args:
            extra: The task's variables by name.
        """
        template = self._templates.get("task")
        if template is None:
            if not extra:
                return f"New task:\n{self._task}"
            return f"New task:\n{self._task}\n\nVariables already defined:\n{wording.variables(extra)}"
        listed = wording.variables(extra) if extra else ""
        return populate_template(template, {**self._variables, "variables": listed})

    def plan_messages(self, *, first: bool, remaining: int) -> list[ChatMessage]:
        """Messages that ask for a plan; a renewed one is asked for around the conversation so far."""
        planning = self._templates["planning"]
        if first:
            return [_message(MessageRole.USER, populate_template(planning["initial_plan"], self._variables))]
        variables = {**self._variables, "remaining_steps": remaining}
        before = populate_template(planning["update_plan_pre_messages"], variables)
        after = populate_template(planning["update_plan_post_messages"], variables)
        steps = self._memory.shown(summary_mode=True)
        return [_message(MessageRole.SYSTEM, before), *steps, _message(MessageRole.USER, after)]

    def plan_text(self, reply: str, *, first: bool) -> str:
        """The plan as later steps see it."""
        if first:
            return f"What is known, and how I go about the task:\n```\n{reply}\n```"
        task = textwrap.shorten(self._task, 2000)
        return f"The task is still: {task}\n\nFrom here on I go about it in this way:\n```\n{reply}\n```"

    def closing_messages(self) -> list[ChatMessage]:
        """Messages that ask for an answer in prose."""
        final = self._templates["final_answer"]
        before = populate_template(final["pre_messages"], self._variables)
        after = populate_template(final["post_messages"], self._variables)
        steps = in_words(self._memory.shown())  # no tools are offered here, and services refuse calls without them
        return [_message(MessageRole.SYSTEM, before), *steps, _message(MessageRole.USER, after)]

    def closing_answer(self, text: str) -> Any:
        """The answer that a text in prose gives; where the run's answer has a type, the JSON in it.

        Raises:
            AgentToolCallError: It does not fit that type.
        """
        if not self._variables.get("answer_form"):
            return text
        return answer_in_text(self._variables["tools"][FINAL_ANSWER], text)


def example_messages(templates: PromptTemplates, variables: dict[str, Any]) -> list[ChatMessage]:
    """The worked examples, as turns of a conversation."""
    messages: list[ChatMessage] = []
    for turn in templates.get("examples", []):
        messages.append(_message(MessageRole.USER, populate_template(turn["user"], variables).strip()))
        messages.append(_message(MessageRole.ASSISTANT, populate_template(turn["assistant"], variables).strip()))
    return messages
