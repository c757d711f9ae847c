"""The end of a run whose steps are used up: the model is asked for an answer in prose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actloop.errors import AgentMaxStepsError, AgentToolCallError
from actloop.loop.effects import Answer, Generate
from actloop.values.events import StepFinished, StepStarted

if TYPE_CHECKING:
    from collections.abc import Generator

    from actloop.loop.effects import Effect
    from actloop.values.events import Event
    from actloop.values.messages import ChatMessage


class ClosingPrompts(Protocol):
    """Renders the closing question, and reads what is answered."""

    def closing_messages(self) -> list[ChatMessage]:
        """Messages that ask for an answer in prose."""
        ...

    def closing_answer(self, text: str) -> Any:
        """The answer that a text gives.

        Raises:
            AgentToolCallError: It is not of the type that is wanted.
        """
        ...


def close(prompts: ClosingPrompts, number: int) -> Generator[Effect | Event, Any, Answer]:
    """Ask for an answer in prose.

    Args:
        prompts: The run's prompts.
        number: Number of the step.

    Raises:
        AgentMaxStepsError: The run's answer has a type, and this one does not fit it.
    """
    yield StepStarted(number=number)
    reply: ChatMessage = yield Generate(prompts.closing_messages(), purpose="answer", rewrite=prompts.closing_messages)
    error = "Reached max steps."
    try:
        answer = prompts.closing_answer(reply.text)
    except AgentToolCallError as fault:
        error = f"{error} The answer in prose does not fit: {fault}"
        yield StepFinished(number=number, error_kind="AgentMaxStepsError", error=error, output=reply.text)
        raise AgentMaxStepsError(f"{error} Allow more steps, or a wider output_type.") from None
    yield StepFinished(number=number, error_kind="AgentMaxStepsError", error=error, output=reply.text)
    return Answer(answer, "max_steps_error")
