"""Folds a run's events into its memory, and into the items that a stream hands out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from actloop import errors
from actloop.memory.steps import (
    ActionOutput,
    ActionStep,
    FinalAnswerStep,
    MemoryStep,
    PlanningStep,
    SystemPromptStep,
    TaskStep,
    ToolCall,
    ToolOutput,
)
from actloop.values import events
from actloop.values.usage import Timing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actloop.memory.memory import AgentMemory
    from actloop.values.messages import ChatMessage, ChatMessageStreamDelta

StreamItem: TypeAlias = "ChatMessageStreamDelta | ToolCall | ToolOutput | ActionOutput | MemoryStep"


class MemoryFold:
    """Feeds one run's events into a memory. `step` is the action step in progress, `finished` the one just ended."""

    def __init__(self, memory: AgentMemory) -> None:
        self.memory = memory
        self.step: ActionStep | None = None
        self._plan_reply: ChatMessage | None = None
        self._plan_started = 0.0
        self._results: dict[str, Any] = {}
        self.keeps_steps = True
        """Whether steps go into the memory; not when the caller puts them there."""

    def apply(self, event: events.Event) -> StreamItem | None:
        """Take one event; returns what a stream hands out for it.

        Finished steps are returned before they are in the memory, so that callbacks can see and change them first:
        `keep` puts them there.
        """
        match event:
            case events.Delta():
                return event.delta
            case events.RunStarted():
                self._begin(event)
            case events.StepStarted():
                self.step = ActionStep(step_number=event.number, timing=Timing(event.time))
                self._results = {}
            case events.ModelReplied():
                self._reply(event)
            case events.Compacted():
                self.memory.compact(event)
            case events.ImagesObserved():
                self._illustrate(event)
            case events.PlanMade():
                return self._plan(event)
            case events.ProgramStarted():
                return self._program(event)
            case events.ProgramFinished() if self.step is not None:
                self.step.action_output = event.output
                if event.error_kind is None:
                    return ActionOutput(event.output, event.answered)
            case events.CallsRead() if self.step is not None:
                self.step.thought = event.thought
            case events.ToolCalled(origin="message"):
                return self._call(event)
            case events.ToolReturned() if self.step is not None and self.step.code_action is None:
                self._results[event.id] = event.result
            case events.CallObserved() if self.step is not None:
                return self._observe(self.step, event)
            case events.CallsFinished() if self.step is not None:
                return ActionOutput(self.step.action_output, event.answered)
            case events.StepFinished() if self.step is not None:
                return self._finish(self.step, event)
            case events.RunFinished() if event.state in ("success", "max_steps_error"):
                return FinalAnswerStep(event.answer)
            case events.RunFinished() if self.step is not None and (
                self.step.model_output is not None or self.step.tool_calls
            ):
                self._break_off(self.step, event)
            case _:
                pass
        return None

    def keep(self, step: MemoryStep) -> None:
        """Put a finished step into the memory."""
        if self.keeps_steps and not isinstance(step, FinalAnswerStep):
            self.memory.append(step)

    def _break_off(self, step: ActionStep, event: events.RunFinished) -> None:
        """Keep the step during which a run ended: what its program did so far has happened."""
        self.step = None
        step.error = error_of("AgentInterruptedError", "The run was interrupted here; a part may have been done.")
        if event.state == "failed":
            step.error = error_of("AgentError", f"The run failed here: {event.error_kind}: {event.error}")
        step.timing = Timing(step.timing.start_time, event.time)
        self.keep(step)

    def _begin(self, event: events.RunStarted) -> None:
        if self.memory.system_prompt.system_prompt != event.system_prompt:
            self.memory.system_prompt = SystemPromptStep(event.system_prompt, self.memory.system_prompt.examples)
        self.memory.append(TaskStep(task=event.task, task_images=event.images or None, prompt=event.prompt))

    def _reply(self, event: events.ModelReplied) -> None:
        if event.purpose == "action" and event.message.token_usage is not None:
            self.memory.learn(event.message.token_usage.input_tokens)
        if event.purpose == "plan":
            self._plan_reply, self._plan_started = event.message, event.time - event.seconds
        elif self.step is not None and event.purpose != "summary":
            self.step.model_output_message = replace(event.message, raw=None)  # an object of the service's client
            self.step.model_output = event.message.content
            used, more = self.step.token_usage, event.message.token_usage
            self.step.token_usage = used + more if used is not None and more is not None else more

    def _illustrate(self, event: events.ImagesObserved) -> None:
        """Give a step its images again; in the run itself it has them already."""
        for step in reversed(self.memory.steps):
            if isinstance(step, ActionStep) and step.step_number == event.number:
                if not step.observations_images:
                    step.observations_images = event.images
                return

    def _plan(self, event: events.PlanMade) -> PlanningStep | None:
        if self._plan_reply is None:
            return None
        reply, self._plan_reply = self._plan_reply, None
        return PlanningStep(
            model_input_messages=None,
            model_output_message=reply,
            plan=event.plan,
            timing=Timing(self._plan_started, event.time),
            token_usage=reply.token_usage,
        )

    def _program(self, event: events.ProgramStarted) -> ToolCall:
        call = ToolCall(name="python_interpreter", arguments=event.code, id=event.id)
        if self.step is not None:
            self.step.code_action = event.code
            self.step.tool_calls = [call]
        return call

    def _call(self, event: events.ToolCalled) -> ToolCall:
        arguments: Any = event.kwargs
        if event.args:
            arguments = event.args[0] if len(event.args) == 1 and not event.kwargs else [*event.args, event.kwargs]
        call = ToolCall(name=event.name, arguments=arguments, id=event.id)
        if self.step is not None:
            self.step.tool_calls = [*(self.step.tool_calls or ()), call]
        return call

    def _observe(self, step: ActionStep, event: events.CallObserved) -> ToolOutput | None:
        call = next((call for call in step.tool_calls or () if call.id == event.id), None)
        if call is None:
            return None
        output = self._results.pop(event.id, None)
        step.call_observations = [*(step.call_observations or ()), event.observation]
        step.observations = "\n".join(step.call_observations)
        if event.answered:
            step.action_output = output
        return ToolOutput(event.id, output, event.answered, event.observation, call)

    def _finish(self, step: ActionStep, event: events.StepFinished) -> ActionStep:
        self.step = None
        if step.call_observations is None:
            step.observations = event.observation
        if event.images:
            step.observations_images = event.images
        if event.error is not None:
            step.error = error_of(event.error_kind, event.error)
        if event.output is not None:
            step.action_output = event.output
        step.is_final_answer = event.answered
        step.timing = Timing(step.timing.start_time, event.time)
        return step


def error_of(kind: str | None, message: str) -> errors.AgentError:
    """The `AgentError` that an event tells of, by the name of its class."""
    cls: Any = getattr(errors, kind or "", None)
    if not (isinstance(cls, type) and issubclass(cls, errors.AgentError)):
        cls = errors.AgentError
    return cls(message)


def replayed(stored: Iterable[events.Event], memory: AgentMemory) -> AgentMemory:
    """A memory rebuilt from a stored run's events."""
    fold = MemoryFold(memory)
    for event in stored:
        item = fold.apply(event)
        if isinstance(item, MemoryStep):
            fold.keep(item)
    return memory
