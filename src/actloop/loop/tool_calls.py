"""The loop of a tool-calling agent: ask for calls, have them performed, show what came of them, until the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from actloop.loop import wording
from actloop.loop.call_wording import observed, repeated
from actloop.loop.closing import ClosingPrompts, close
from actloop.loop.effects import Answer, CallTools, Check, Generate
from actloop.loop.parsing import Misread
from actloop.loop.planning import PlanPrompts, is_due, make_plan
from actloop.loop.replies import CallReader, Calls
from actloop.values.events import CallObserved, CallsFinished, CallsRead, StepFinished, StepStarted

if TYPE_CHECKING:
    from collections.abc import Generator

    from actloop.loop.code import Conversation
    from actloop.loop.effects import CallOutcome, Effect, Loop, ToolRequest
    from actloop.values.events import Event
    from actloop.values.messages import ChatMessage

STOPS = ("Observation:",)


class ToolPrompts(PlanPrompts, ClosingPrompts, Protocol):
    """Renders the messages of a tool-calling agent's run."""


@dataclass(frozen=True, slots=True)
class ToolTask:
    """Everything that a tool-calling agent's loop is given.

    Attributes:
        conversation: Gives the messages so far; the runtime keeps them up to date with the events.
        prompts: Renders plans and the closing question.
        max_steps: Steps allowed; with 0 the model is asked for an answer at once.
        tools: Tools that the model is offered; none where it is told of them in the prompt alone.
        native: Whether the model has tool calls of its own.
        planning_interval: A plan is made before the first step and every so many steps; None for no plans.
        output_limit: Characters of a result that the model is shown.
        grammar: GBNF grammar of a reply, or None.
        begun: Whether the conversation already holds earlier runs.
        planned: Whether it ends with a plan that nothing was done for yet.
    """

    conversation: Conversation
    prompts: ToolPrompts
    max_steps: int
    tools: tuple[Any, ...] = ()
    native: bool = False
    planning_interval: int | None = None
    output_limit: int = wording.RESULT_LIMIT
    grammar: str | None = None
    begun: bool = False
    planned: bool = False


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Calls and what the model was shown of them, to notice when it goes in circles."""

    requests: tuple[ToolRequest, ...]
    shown: tuple[str, ...]

    def same(self, other: _Attempt | None) -> bool:
        if other is None or self.shown != other.shown or len(self.requests) != len(other.requests):
            return False
        return all(one.same_call(two) for one, two in zip(self.requests, other.requests, strict=True))


@dataclass(frozen=True, slots=True)
class _Performed:
    """Calls that were performed: what the model is shown of each, and the answer if one gave it."""

    observed: list[CallObserved]
    answer: Answer | None = None
    error_kind: str | None = None
    error: str | None = None

    def noted(self, number: int) -> Generator[Event, None, StepFinished]:
        """Note the observations; returns how the step ended."""
        yield from self.observed
        yield CallsFinished(answered=self.answer is not None)
        return StepFinished(
            number=number, error_kind=self.error_kind, error=self.error, answered=self.answer is not None
        )


def tool_step(task: ToolTask, number: int) -> Loop:
    """A single step, for callers that take a run apart; the answer's value is None when the step gave none."""
    calls = yield from _ask(task, CallReader(native=task.native), number, retry=0)
    if isinstance(calls, Misread):
        yield StepFinished(number=number, error_kind="AgentParsingError", error=calls.message)
        return Answer(None)
    performed = yield from _perform(calls.requests, task.output_limit)
    yield (yield from performed.noted(number))
    return performed.answer or Answer(None)


def calls_step(requests: tuple[ToolRequest, ...], number: int, limit: int = wording.RESULT_LIMIT) -> Loop:
    """The calls of a message that is there already, as a step of their own."""
    performed = yield from _perform(requests, limit)
    yield (yield from performed.noted(number))
    return performed.answer or Answer(None)


def tool_loop(task: ToolTask) -> Loop:
    """The whole run of a tool-calling agent, as effects and events."""
    reader = CallReader(native=task.native)
    last: _Attempt | None = None
    repeats = 0
    for number in range(1, task.max_steps + 1):
        if is_due(number, task.planning_interval, planned=task.planned):
            first = number == 1 and not task.begun
            yield from make_plan(task.prompts, first=first, remaining=task.max_steps - number + 1)
        yield StepStarted(number=number)
        calls = yield from _ask(task, reader, number, retry=repeats)
        if isinstance(calls, Misread):
            yield StepFinished(number=number, error_kind="AgentParsingError", error=calls.message)
            continue
        performed = yield from _perform(calls.requests, task.output_limit)
        attempt = _Attempt(calls.requests, tuple(observation.observation for observation in performed.observed))
        if attempt.same(last):
            repeats += 1
            performed = replace(performed, observed=repeated(performed.observed))
        else:
            repeats = 0
        last = attempt
        yield (yield from performed.noted(number))
        if performed.answer is not None:
            return performed.answer
    return (yield from close(task.prompts, task.max_steps + 1))


def _ask(
    task: ToolTask, reader: CallReader, number: int, *, retry: int
) -> Generator[Effect | Event, Any, Calls | Misread]:
    reply: ChatMessage = yield Generate(
        task.conversation.messages(),
        stop=STOPS,
        grammar=task.grammar,
        # Going in circles at temperature 0 goes on for ever; a warmer reply leaves the circle.
        temperature=wording.RETRY_TEMPERATURE if retry else None,
        tools=task.tools,
        rewrite=task.conversation.messages,
    )
    calls = reader.read(reply, number)
    if isinstance(calls, Calls) and calls.thought is not None:
        yield CallsRead(thought=calls.thought)
    return calls


def _perform(requests: tuple[ToolRequest, ...], limit: int) -> Generator[Effect | Event, Any, _Performed]:
    """Have calls performed, and an answer among them judged."""
    outcomes: list[CallOutcome] = yield CallTools(requests)
    shown: list[CallObserved] = []
    answer: Answer | None = None
    kind = error = None
    for request, outcome in zip(requests, outcomes, strict=True):
        text = observed(outcome, limit)
        refusal: str | None = None
        if outcome.final:
            refusal = yield Check(outcome.value)
            if refusal is None:
                answer = Answer(outcome.value)
            else:
                text = f"Error: {wording.refused(refusal)}"
        shown.append(CallObserved(id=request.id, observation=text, stored=outcome.stored, answered=answer is not None))
        if error is None and (refusal is not None or outcome.error is not None):
            kind = "AgentError" if refusal is not None else _kind_of(outcome)
            error = text.removeprefix("Error: ")
    return _Performed(shown, answer, kind, error)


def _kind_of(outcome: CallOutcome) -> str:
    """The class of ours that a failed call's error belongs to."""
    return "AgentToolCallError" if outcome.error_kind == "AgentToolCallError" else "AgentToolExecutionError"
