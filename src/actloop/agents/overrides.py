"""Methods of an agent that a subclass of the user's own overrides: what they do takes part in every run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from inspect import isgenerator
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import AgentError, message_of
from actloop.loop.closing import close
from actloop.loop.effects import Answer, CallUser, Check, Generate
from actloop.loop.planning import is_due, make_plan
from actloop.loop.wording import refused
from actloop.memory.steps import ActionOutput
from actloop.values.events import ModelReplied, StepFinished, StepStarted
from actloop.values.messages import ChatMessage, MessageRole

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.agents.base import MultiStepAgent
    from actloop.agents.prompting import RunPrompts
    from actloop.loop.code import Conversation
    from actloop.loop.effects import Loop
    from actloop.memory.steps import ActionStep
    from actloop.runtime.run import Run


def overrides(agent: object, base: type, name: str) -> bool:
    """Whether the agent's class has a method of its own where `base` has one."""
    return getattr(type(agent), name, None) is not getattr(base, name)


class OwnMessages:
    """The conversation as the agent's own `write_memory_to_messages` writes it."""

    def __init__(self, agent: MultiStepAgent, run: Run) -> None:
        self._agent = agent
        self._run = run

    def messages(self) -> list[ChatMessage]:
        """As in `Conversation`."""
        with self._run.active():
            return list(self._agent.write_memory_to_messages())


def conversation(agent: MultiStepAgent, base: type, run: Run) -> Conversation:
    """What the loop asks for the messages so far."""
    return OwnMessages(agent, run) if overrides(agent, base, "write_memory_to_messages") else run.memory


def closing_by(loop: Loop, answer: Callable[[str], Any], task: str) -> Loop:
    """The same loop, whose closing question the agent's own `provide_final_answer` answers."""
    outcome: Any = None
    try:
        while True:
            try:
                asked = loop.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(asked, Generate) and asked.purpose == "answer":
                given = yield CallUser(partial(answer, task))
                outcome = given if isinstance(given, ChatMessage) else ChatMessage(MessageRole.ASSISTANT, str(given))
                yield ModelReplied(purpose="answer", message=outcome, seconds=0.0)
            else:
                outcome = yield asked
    finally:
        loop.close()


def own_loop(agent: MultiStepAgent, run: Run, prompts: RunPrompts, *, begun: bool) -> Loop:
    """The run of an agent that says itself what a step is, in `_step_stream` or `step`."""
    planned = run.memory.ends_with_plan
    for number in range(1, run.max_steps + 1):
        if is_due(number, agent.planning_interval, planned=planned):
            first = number == 1 and not begun
            yield from make_plan(prompts, first=first, remaining=run.max_steps - number + 1)
        yield StepStarted(number=number)
        step = cast("ActionStep", run.fold.step)
        output: ActionOutput | AgentError = yield CallUser(partial(_taken, agent, step))
        if step.model_output_message is not None:
            yield _reply(step)
        if isinstance(output, AgentError):
            kind = type(output).__name__
            yield StepFinished(number=number, observation=step.observations, error_kind=kind, error=message_of(output))
            continue
        refusal: str | None = None
        if output.is_final_answer:
            refusal = yield Check(output.output)
        answered = output.is_final_answer and refusal is None
        ended = StepFinished(number=number, observation=step.observations, output=output.output, answered=answered)
        yield ended if refusal is None else replace(ended, error_kind="AgentError", error=refused(refusal))
        if answered:
            return Answer(output.output)
    return (yield from close(prompts, run.max_steps + 1))


def _reply(step: ActionStep) -> ModelReplied:
    """The reply that a step of the user's got, so that it is counted and stored."""
    message = cast("ChatMessage", step.model_output_message)
    step.token_usage = None  # it is counted from the message
    return ModelReplied(purpose="action", message=message, seconds=0.0)


def own_step(agent: MultiStepAgent, run: Run, number: int) -> Loop:
    """A single step of such an agent."""
    output: ActionOutput = yield CallUser(partial(_take, agent, cast("ActionStep", run.fold.step)))
    yield StepFinished(number=number, answered=output.is_final_answer)
    return Answer(output.output if output.is_final_answer else None)


def _taken(agent: MultiStepAgent, step: ActionStep) -> ActionOutput | AgentError:
    """As `_take`; an error that the model is to be told of is an outcome, too."""
    try:
        return _take(agent, step)
    except AgentError as error:
        return error


def _take(agent: object, step: ActionStep) -> ActionOutput:
    """One step as the agent's class takes it: `_step_stream` gives items of which the last counts, `step` an answer."""
    own: Any = getattr(agent, "_step_stream", None)
    if own is None and "step" in vars(type(agent)):
        own = cast("Any", agent).step
    if own is None:
        raise NotImplementedError(f"{type(agent).__name__} does not say what a step is: define step(memory_step)")
    given = own(step)
    if isgenerator(given):
        items: list[Any] = list(cast("Any", given))
        given = items[-1] if items else None
    return given if isinstance(given, ActionOutput) else ActionOutput(given, given is not None)


class OwnCall:
    """A tool that is called by way of the agent's own `execute_tool_call`."""

    is_async = False

    def __init__(self, tool: Any, call: Callable[[str, dict[str, Any]], Any], name: str) -> None:
        self._tool = tool
        self._call = call
        self._name = name

    def __call__(self, **arguments: Any) -> Any:
        """Call it."""
        return self._call(self._name, arguments)

    def __getattr__(self, name: str) -> Any:
        if name in ("acall", "ensure_setup"):
            raise AttributeError(name)
        return getattr(self._tool, name)


async def as_called(agent: Any, task: str, **options: Any) -> Any:
    """An agent that has a blocking way of its own to work for another, in a thread."""
    return await asyncio.to_thread(agent, task, **options)
