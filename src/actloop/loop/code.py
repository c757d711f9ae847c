"""The loop of a code agent: ask for a program, run it, show what came of it, until it gives the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from actloop.loop import wording
from actloop.loop.closing import ClosingPrompts, close
from actloop.loop.effects import Answer, Check, Execute, Generate
from actloop.loop.parsing import Misread, Program, parse_reply
from actloop.loop.planning import PlanPrompts, is_due, make_plan
from actloop.loop.source import parsed
from actloop.values.events import ProgramStarted, StepFinished, StepStarted

if TYPE_CHECKING:
    from collections.abc import Generator

    from actloop.loop.effects import Effect, Execution, Loop
    from actloop.values.events import Event
    from actloop.values.messages import ChatMessage

OBSERVATION = "Observation:"


class CodePrompts(PlanPrompts, ClosingPrompts, Protocol):
    """Renders the messages of a code agent's run."""


@dataclass(frozen=True, slots=True)
class CodeTask:
    """Everything that a code agent's loop is given.

    Attributes:
        conversation: Gives the messages so far; the runtime keeps them up to date with the events.
        prompts: Renders plans and the closing question.
        tags: Opening and closing tag of a program in a reply.
        max_steps: Steps allowed; with 0 the model is asked for an answer at once.
        planning_interval: A plan is made before the first step and every so many steps; None for no plans.
        output_limit: Characters of printed output that the model is shown of one step.
        grammar: GBNF grammar of a reply, or None.
        response_format: Response format of a structured reply, or None.
        begun: Whether the conversation already holds earlier runs.
        planned: Whether it ends with a plan that nothing was done for yet.
    """

    conversation: Conversation
    prompts: CodePrompts
    tags: tuple[str, str]
    max_steps: int
    planning_interval: int | None = None
    output_limit: int = wording.OUTPUT_LIMIT
    grammar: str | None = None
    response_format: dict[str, Any] | None = None
    begun: bool = False
    planned: bool = False


class Conversation(Protocol):
    """The messages of a run so far."""

    def messages(self) -> list[ChatMessage]:
        """A list that nobody changes afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A program and what the model was shown of it, to notice when it goes in circles."""

    code: str
    shown: tuple[str | None, str | None]


def code_step(task: CodeTask, number: int) -> Loop:
    """A single step, for callers that take a run apart; the answer's value is None when the step gave none."""
    program = yield from _ask(task, retry=0)
    if isinstance(program, Misread):
        yield StepFinished(number=number, error_kind="AgentParsingError", error=program.message)
        return Answer(None)
    ended, answer = yield from _run(task, number, program)
    yield ended
    return answer or Answer(None)


def code_loop(task: CodeTask) -> Loop:
    """The whole run of a code agent, as effects and events."""
    last: _Attempt | None = None
    repeats = 0
    for number in range(1, task.max_steps + 1):
        if is_due(number, task.planning_interval, planned=task.planned):
            first = number == 1 and not task.begun
            yield from make_plan(task.prompts, first=first, remaining=task.max_steps - number + 1)
        yield StepStarted(number=number)
        program = yield from _ask(task, retry=repeats)
        if isinstance(program, Misread):
            yield StepFinished(number=number, error_kind="AgentParsingError", error=program.message)
            continue
        ended, answer = yield from _run(task, number, program)
        attempt = _Attempt(program.code, (ended.observation, ended.error))
        if last is not None and attempt.shown == last.shown and wording.same_program(attempt.code, last.code):
            repeats += 1
            ended = wording.noting_repetition(ended)
        else:
            repeats = 0
        last = attempt
        yield ended
        if answer is not None:
            return answer
    return (yield from close(task.prompts, task.max_steps + 1))


def _ask(task: CodeTask, *, retry: int) -> Generator[Effect | Event, Any, Program | Misread]:
    """Ask for a program.

    The closing tag stops generation, for a model that does not know when to end. Where it stood inside a string of the
    program, the reply was cut short, and the model is asked again without that stop.
    """
    closing = task.tags[1]
    ends_itself = closing in task.tags[0] or task.grammar is not None or task.response_format is not None
    stops = (OBSERVATION,) if ends_itself else (OBSERVATION, f"\n{closing}")
    # Going in circles at temperature 0 goes on for ever; a warmer reply leaves the circle.
    temperature = wording.RETRY_TEMPERATURE if retry else None
    reply = yield _action(task, stops, temperature)
    structured = task.response_format is not None
    found = parse_reply(reply.text, task.tags, structured=structured)
    if isinstance(found, Program) and len(stops) > 1 and _cut_inside_string(found.code):
        reply = yield _action(task, stops[:1], temperature)
        found = parse_reply(reply.text, task.tags, structured=structured)
    return found


def _action(task: CodeTask, stops: tuple[str, ...], temperature: float | None) -> Generate:
    return Generate(
        task.conversation.messages(),
        stop=stops,
        grammar=task.grammar,
        response_format=task.response_format,
        temperature=temperature,
        rewrite=task.conversation.messages,
    )


def _cut_inside_string(code: str) -> bool:
    error = parsed(code)
    return isinstance(error, SyntaxError) and "unterminated" in (error.msg or "")


def _run(
    task: CodeTask, number: int, program: Program
) -> Generator[Effect | Event, Any, tuple[StepFinished, Answer | None]]:
    """Run a program, and say how the step ended; with the answer, if it gave one that is accepted."""
    name = f"program_{number}"
    yield ProgramStarted(id=name, code=program.code)
    execution: Execution = yield Execute(name, program.code)
    printed = wording.printed(execution.logs, task.output_limit) or None
    notice = wording.neutral(execution.notice)
    if execution.answered:
        refusal: str | None = yield Check(execution.output)
        if refusal is None:
            return StepFinished(number=number, observation=printed, answered=True), Answer(execution.output)
        return StepFinished(number=number, error_kind="AgentError", error=wording.refused(refusal)), None
    if execution.failure is not None:
        shown = "\n".join(part for part in (printed, wording.returned(execution.uses), notice) if part) or None
        error = wording.failed(execution.failure, execution.uses)
        return StepFinished(number=number, observation=shown, error_kind="AgentExecutionError", error=error), None
    shown = wording.ran(execution.output, execution.logs, task.output_limit, execution.uses)
    return StepFinished(number=number, observation=f"{shown}\n{notice}" if notice else shown), None
