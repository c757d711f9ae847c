"""The steps of a conversation, and the messages that a model is shown of them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from actloop.memory.compaction import Measure, View, decide, size_of, summary_request
from actloop.memory.steps import ActionStep, MemoryStep, PlanningStep, SystemPromptStep, TaskStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actloop.memory.compaction import ContextLimit, Decision
    from actloop.values.events import Compacted
    from actloop.values.messages import ChatMessage


class AgentMemory:
    """System prompt and steps of a conversation. Users may edit both; the next step sees the edit.

    Attributes:
        system_prompt: The first step, kept by `reset`.
        steps: Tasks, plans and actions in order, whole; what a model is shown of them may be less.
        window: Tokens that the model turned out to take, where a service refused the conversation as too long.
    """

    def __init__(self, system_prompt: str | SystemPromptStep) -> None:
        if isinstance(system_prompt, str):
            system_prompt = SystemPromptStep(system_prompt=system_prompt)
        self.system_prompt = system_prompt
        self.steps: list[MemoryStep] = []
        self.window: int | None = None
        self._view = View()
        self._earlier_views: list[tuple[MemoryStep, View]] = []
        self._measure = Measure()
        self._written: list[ChatMessage] = []
        self._written_from: list[MemoryStep] = []
        self._last_replaced: MemoryStep | None = None
        self._size = 0
        self._cacheable = True
        self._editable_in_place = False

    def reset(self) -> None:
        """Forget every step; the system prompt stays."""
        self.steps = []
        self._view = View()
        self._earlier_views = []
        self._measure = Measure()

    def touch(self, step: MemoryStep | None = None) -> None:
        """Say that a step was edited, so that all messages are written anew; one that was compacted is shown whole."""
        self._written_from = []
        if step is not None:
            self._view = self._view.without(step)

    def touch_what_is_editable_in_place(self) -> None:
        """As `touch`, if any step shows the model a list: its edits are not told, those of attributes are."""
        if self._editable_in_place:
            self.touch()

    def messages(self) -> list[ChatMessage]:
        """The conversation so far, as a model is sent it.

        Messages of steps that were written before are reused as they are: the cost of one more step does not depend on
        how many there were, and a model's prompt cache sees the same prefix.
        """
        self._write()
        return self._written.copy()

    def _write(self) -> None:
        """Bring the written messages, and their size, up to date with the steps."""
        known = self._written_from
        steps: list[MemoryStep] = [self.system_prompt, *self.steps]
        if not known or len(known) > len(steps) or not all(map(operator.is_, known, steps)):
            known, self._written, self._size = [], [], 0
            self._last_replaced = self._view.last_replaced(steps)
        for step in steps[len(known) :]:
            self._adopt(step)
            self._editable_in_place |= step.editable_in_place
            messages = self._view.messages(step)
            if step is self._last_replaced:
                messages = [*messages, self._view.summary_message()]
            self._written.extend(messages)
            self._size += size_of(messages)
        self._written_from = steps if self._cacheable else []

    def shown(self, *, summary_mode: bool = False) -> list[ChatMessage]:
        """The messages of the steps without the system prompt's, as much of them as the model is shown.

        Args:
            summary_mode: As in `MemoryStep.to_messages`.
        """
        return self._view.written(self.steps, summary_mode=summary_mode)

    # Keeping within the model's window

    def learn(self, tokens: int) -> None:
        """Take note of what a service reported for the conversation as it is now."""
        self._write()
        if tokens > 0:
            self._measure = Measure(self._size, tokens)

    def estimated_tokens(self) -> int:
        """About what the conversation takes now, judging by what a service reported of it last."""
        self._write()
        return self._measure.estimate(self._size)

    def decide(self, limit: ContextLimit, *, harder: bool = False) -> Decision | None:
        """What to compact before the next request; None for nothing. See `memory.compaction.decide`."""
        self._write()
        return decide(self.steps, self._view, self._size, self._measure, limit, harder=harder)

    def summary_request(
        self, steps: Sequence[MemoryStep], limit: ContextLimit, room: int, *, harder: bool = False
    ) -> list[ChatMessage]:
        """Messages that ask for a summary of some steps, and fit the model's window themselves."""
        allowed = (limit.tokens or 0) * (0.25 if harder else limit.start / 2) * self._measure.characters_per_token
        return summary_request(
            self.system_prompt.to_messages(), self._view, steps, limit.summary_prompt, room, int(allowed)
        )

    def compact(self, event: Compacted) -> None:
        """Show the model less of older steps from now on."""
        if self.steps:
            self._earlier_views.append((self.steps[-1], self._view))
        if event.cut_to is not None:
            self._view = self._view.cutting(self.steps, event.kept, event.cut_to)
        if event.summary is not None:
            self._view = self._view.replacing(self.steps, event.kept, event.summary)
        self.window = event.window or self.window
        self._written_from = []

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
        place = next((place for place, other in enumerate(self.steps) if other is step), len(self.steps))
        earlier = self.steps[:place]
        return self.system_prompt.to_messages() + self._view_of(step).written(earlier)

    def _view_of(self, step: MemoryStep) -> View:
        """How earlier steps were shown when the model was asked for `step`."""
        places = {id(other): place for place, other in enumerate(self.steps)}
        place = places.get(id(step), len(places))
        # Each was in force until the conversation was compacted after the step that it is noted with.
        return next((view for last, view in self._earlier_views if place <= places.get(id(last), -1)), self._view)

    def get_succinct_steps(self) -> list[dict[str, Any]]:
        """The steps as plain data, without the messages that each model call was sent."""
        return [
            {key: value for key, value in step.dict().items() if key != "model_input_messages"} for step in self.steps
        ]

    def get_full_steps(self) -> list[dict[str, Any]]:
        """The steps as plain data, with the messages that each model call was sent; grows with the square of them."""
        return [step.dict() for step in self.steps]

    @property
    def ends_with_plan(self) -> bool:
        """Whether a plan is the last step, so that nothing was done for it yet."""
        return bool(self.steps) and isinstance(self.steps[-1], PlanningStep)

    def replay(self, logger: Any, detailed: bool = False) -> None:
        """Print the steps.

        Args:
            logger: An `AgentLogger`.
            detailed: Print the messages that each model call was sent, too.
        """
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
                if step.is_final_answer:
                    logger.log_markdown(title="Answer:", content=str(step.action_output), level=0)

    def return_full_code(self) -> str:
        """Every program of the conversation, one after the other, as a single script."""
        return "\n\n".join(step.code_action for step in self.steps if isinstance(step, ActionStep) and step.code_action)
