"""The steps of a conversation, and the messages that a model is shown of them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from actloop.memory.steps import ActionStep, MemoryStep, PlanningStep, SystemPromptStep, TaskStep

if TYPE_CHECKING:
    from actloop.values.messages import ChatMessage


class AgentMemory:
    """System prompt and steps of a conversation. Users may edit both; the next step sees the edit.

    Attributes:
        system_prompt: The first step, kept by `reset`.
        steps: Tasks, plans and actions in order.
    """

    def __init__(self, system_prompt: str | SystemPromptStep) -> None:
        if isinstance(system_prompt, str):
            system_prompt = SystemPromptStep(system_prompt=system_prompt)
        self.system_prompt = system_prompt
        self.steps: list[MemoryStep] = []
        self._written: list[ChatMessage] = []
        self._written_from: list[MemoryStep] = []
        self._cacheable = True
        self._editable_in_place = False

    def reset(self) -> None:
        """Forget every step; the system prompt stays."""
        self.steps = []

    def touch(self) -> None:
        """Say that a step was edited, so that all messages are written anew."""
        self._written_from = []

    def touch_what_is_editable_in_place(self) -> None:
        """As `touch`, if any step shows the model a list: its edits are not told, those of attributes are."""
        if self._editable_in_place:
            self.touch()

    def messages(self) -> list[ChatMessage]:
        """The conversation so far, as a model is sent it.

        Messages of steps that were written before are reused as they are: the cost of one more step does not depend on
        how many there were, and a model's prompt cache sees the same prefix.
        """
        known = self._written_from
        steps: list[MemoryStep] = [self.system_prompt, *self.steps]
        if not known or len(known) > len(steps) or not all(map(operator.is_, known, steps)):
            known, self._written = [], []
        for step in steps[len(known) :]:
            self._adopt(step)
            self._editable_in_place |= step.editable_in_place
            self._written.extend(step.to_messages())
        self._written_from = steps if self._cacheable else []
        return self._written.copy()

    def _adopt(self, step: MemoryStep) -> None:
        """Have the step tell of edits. One that already tells another memory turns reuse off here."""
        holder = step._memory  # pyright: ignore[reportPrivateUsage]
        if holder is None:
            step._memory = self  # pyright: ignore[reportPrivateUsage]
        elif holder is not self:
            self._cacheable = False

    def append(self, step: MemoryStep) -> None:
        """Add a step at the end."""
        self._adopt(step)
        self.steps.append(step)

    def messages_before(self, step: MemoryStep) -> list[ChatMessage]:
        """What a model was sent for `step`: the messages of all earlier steps."""
        messages = self.system_prompt.to_messages()
        for earlier in self.steps:
            if earlier is step:
                break
            messages = messages + earlier.to_messages()
        return messages

    def get_succinct_steps(self) -> list[dict[str, Any]]:
        """The steps as plain data, without the messages that each model call was sent."""
        return [
            {key: value for key, value in step.dict().items() if key != "model_input_messages"} for step in self.steps
        ]

    def get_full_steps(self) -> list[dict[str, Any]]:
        """The steps as plain data, with the messages that each model call was sent; grows with the square of them."""
        return [step.dict() for step in self.steps]

    def replay(self, logger: Any, detailed: bool = False) -> None:
        """Print the steps.

        Args:
            logger: An `AgentLogger`.
            detailed: Print the messages that each model call was sent, too.
        """
        logger.console.log("Replaying the agent's steps:")
        logger.log_markdown(title="System prompt", content=self.system_prompt.system_prompt, level=0)
        for step in self.steps:
            if isinstance(step, TaskStep):
                logger.log_task(step.task, "", level=0)
                continue
            title = f"Step {step.step_number}" if isinstance(step, ActionStep) else "Planning step"
            logger.log_rule(title, level=0)
            if detailed:
                logger.log_messages(self.messages_before(step), level=0)
            if isinstance(step, PlanningStep):
                logger.log_markdown(title="Plan:", content=step.plan, level=0)
            elif isinstance(step, ActionStep):
                logger.log_markdown(title="Agent output:", content=str(step.model_output or ""), level=0)
                if step.observations:
                    logger.log_markdown(title="Observation:", content=step.observations, level=0)
                if step.error is not None:
                    logger.log_error(str(step.error))

    def return_full_code(self) -> str:
        """Every program of the conversation, one after the other, as a single script."""
        return "\n\n".join(step.code_action for step in self.steps if isinstance(step, ActionStep) and step.code_action)
