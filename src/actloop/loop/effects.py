"""What a loop asks of its runtime, and what it is sent back."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
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
        may_overflow: Where the model's service refuses the conversation as too long, the outcome is an `Overflow`; the
            run would fail otherwise.
    """

    messages: list[ChatMessage]
    purpose: Literal["action", "plan", "answer", "summary"] = "action"
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    response_format: dict[str, Any] | None = None
    temperature: float | None = None
    may_overflow: bool = False


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
    """

    output: Any = None
    logs: str = ""
    failure: GuestFailure | None = None
    answered: bool = False
    uses: tuple[ToolUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """Have the user's checks judge a final answer; the outcome is None, or why it was refused."""

    answer: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What a loop returns."""

    value: Any
    state: Literal["success", "max_steps_error"] = "success"


Effect: TypeAlias = Generate | Execute | Check
Loop: TypeAlias = Generator[Effect | Event, Any, Answer]
"""Yields effects, and events for the facts that it decides itself; an event's outcome is None."""
