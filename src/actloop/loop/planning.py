"""Planning: a part that every kind of loop uses."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from actloop.loop.effects import Generate
from actloop.values.events import PlanMade

if TYPE_CHECKING:
    from collections.abc import Generator

    from actloop.loop.effects import Effect
    from actloop.values.events import Event
    from actloop.values.messages import ChatMessage

END_OF_PLAN = "<end_plan>"


class PlanPrompts(Protocol):
    """Renders the messages that ask for a plan, and the plan as later steps see it."""

    def plan_messages(self, *, first: bool, remaining: int) -> list[ChatMessage]:
        """Messages that ask for a plan.

        Args:
            first: There is no earlier plan or step.
            remaining: Steps that are left.
        """
        ...

    def plan_text(self, reply: str, *, first: bool) -> str:
        """The plan in the words that later steps see."""
        ...


def is_due(number: int, interval: int | None, *, planned: bool = False) -> bool:
    """Whether a plan comes before step `number` (the first is 1) when one is wanted every `interval` steps.

    Args:
        number: Of the step.
        interval: Steps from plan to plan; None for no plans.
        planned: A plan stands that nothing was done for yet, as after an interrupt that let the user look at it.
    """
    return interval is not None and (number - 1) % interval == 0 and not (planned and number == 1)


def make_plan(prompts: PlanPrompts, *, first: bool, remaining: int) -> Generator[Effect | Event, ChatMessage]:
    """Ask for a plan and note it."""
    rewrite = partial(prompts.plan_messages, first=first, remaining=remaining)
    messages = rewrite()
    reply = yield Generate(messages, purpose="plan", stop=(END_OF_PLAN,), rewrite=rewrite)
    yield PlanMade(plan=prompts.plan_text(reply.text, first=first), first=first)
