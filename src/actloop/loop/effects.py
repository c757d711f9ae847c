"""What a loop asks of its runtime, and what it is sent back."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from actloop.values.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actloop.executors.session import GuestFailure
    from actloop.values.messages import ChatMessage


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask the model for a reply; the outcome is its `ChatMessage`.

    Attributes:
        messages: The conversation; the receiver must not change it.
        purpose: What the reply is for.
        stop: Texts at which generation ends; they are not part of the reply.
        grammar: GBNF grammar of the reply, used only by models that support one.
        response_format: JSON Schema response format, for structured replies.
        temperature: Overrides the model's own for this reply.
        tools: Tools that the model is offered to call by the service's own tool calls.
        may_overflow: Where the model's service refuses the conversation as too long, the outcome is an `Overflow`; the
            run would fail otherwise.
        rewrite: Gives the messages anew once the conversation was compacted.
    """

    messages: list[ChatMessage]
    purpose: Literal["action", "plan", "answer", "summary"] = "action"
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    response_format: dict[str, Any] | None = None
    temperature: float | None = None
    tools: tuple[Any, ...] = ()
    may_overflow: bool = False
    rewrite: Callable[[], list[ChatMessage]] | None = None


@dataclass(frozen=True, slots=True)
class Overflow:
    """A service refused a conversation as too long.

    Attributes:
        message: What it said.
        window: Tokens that it takes, where it said so.
    """

    message: str
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Execute:
    """Run a program in the run's sandbox session; the outcome is an `Execution`."""

    id: str
    code: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call that a program made, and what the tool returned."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    value: Any


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of a program.

    Attributes:
        output: Value of the last expression, or the final answer.
        logs: What it printed.
        failure: Why it did not run to its end; None when it did, or when it gave the final answer.
        answered: Whether it gave the final answer.
        uses: The first tool calls that returned.
        notice: What the model is told besides; empty when there is nothing.
    """

    output: Any = None
    logs: str = ""
    failure: GuestFailure | None = None
    answered: bool = False
    uses: tuple[ToolUse, ...] = ()
    notice: str = ""


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool call that a message of the model asks for.

    Attributes:
        id: Unique within the run.
        name: The tool's name.
        args: Arguments without a name.
        kwargs: Arguments by name.
        refusal: Why it is not to be performed, as the model is told; None where it is.
    """

    id: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    refusal: str | None = None

    def same_call(self, other: ToolRequest) -> bool:
        """Whether both ask for the same, whatever their ids."""
        return (self.name, self.args, self.kwargs) == (other.name, other.args, other.kwargs)


@dataclass(frozen=True, slots=True)
class CallTools:
    """Perform the tool calls of one message; the outcome is a `CallOutcome` for each, in their order."""

    calls: tuple[ToolRequest, ...]


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What came of a tool call.

    Attributes:
        value: The result.
        error_kind: Class of the error that it ended with, or None.
        error: That error's message.
        final: Whether the result is the run's answer.
        stored: Name of the run's variable that holds the result, where that is an image or a sound.
    """

    value: Any = None
    error_kind: str | None = None
    error: str | None = None
    final: bool = False
    stored: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Have the user's checks judge a final answer; the outcome is None, or why it was refused."""

    answer: Any


@dataclass(frozen=True, slots=True)
class CallUser:
    """Call a function of the user's class of agent; the outcome is what it returns; what it raises ends the run."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a loop returns."""

    value: Any
    state: Literal["success", "max_steps_error"] = "success"


Effect: TypeAlias = Generate | Execute | CallTools | Check | CallUser
Loop: TypeAlias = Generator[Effect | Event, Any, Answer]
"""Yields effects, and events for the facts that it decides itself; an event's outcome is None."""
