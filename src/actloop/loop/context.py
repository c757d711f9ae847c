"""Keeps a conversation within the model's window: a part around every kind of loop.

Between two steps it looks whether the conversation nears the limit, and has what is old compacted. A conversation that
a service refuses as too long is compacted harder, and sent once more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from actloop.errors import ContextLimitError
from actloop.loop.effects import Effect, Generate, Overflow
from actloop.loop.wording import neutral
from actloop.memory.compaction import summary_text
from actloop.values.events import Compacted, StepFinished

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from actloop.loop.effects import Loop
    from actloop.memory.compaction import ContextLimit, Decision
    from actloop.memory.steps import MemoryStep
    from actloop.values.events import Event
    from actloop.values.messages import ChatMessage


class CompactableConversation(Protocol):
    """The messages of a run so far, and what of them can be compacted."""

    window: int | None

    def messages(self) -> list[ChatMessage]:
        """The conversation, as a model is sent it."""
        ...

    def decide(self, limit: ContextLimit, *, harder: bool = False) -> Decision | None:
        """What to compact before the next request; None for nothing."""
        ...

    def summary_request(
        self, steps: Sequence[MemoryStep], limit: ContextLimit, room: int, *, harder: bool = False
    ) -> list[ChatMessage]:
        """Messages that ask for a summary of some steps."""
        ...

    def estimated_tokens(self) -> int:
        """About what the conversation takes now."""
        ...


def within_limit(loop: Loop, conversation: CompactableConversation, limit: ContextLimit) -> Loop:
    """The same loop, with its conversation kept within a limit.

    Raises:
        ContextLimitError: The model does not even take the task and the last step.
    """
    try:
        yield from _compact(conversation, limit)
        outcome: Any = None
        while True:
            try:
                asked = loop.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(asked, Generate):
                outcome = yield from _ask(asked, conversation, limit)
            else:
                outcome = yield asked
            if isinstance(asked, StepFinished) and not asked.answered:
                yield from _compact(conversation, limit)
    finally:
        loop.close()


def _ask(
    asked: Generate, conversation: CompactableConversation, limit: ContextLimit
) -> Generator[Effect | Event, Any, Any]:
    """Ask the model; where it refuses the conversation as too long, compact and ask once more."""
    outcome = yield replace(asked, may_overflow=True)
    if not isinstance(outcome, Overflow):
        return outcome
    before = conversation.estimated_tokens()
    # What was refused was too long, whatever is known: the estimate may be wrong, but so it will be the next time.
    known = (outcome.window, conversation.window, limit.tokens, before)
    window = min((tokens for tokens in known if tokens), default=1)
    shrunk = yield from _compact(conversation, replace(limit, tokens=window), harder=True, window=window)
    if shrunk:
        rewrite = asked.rewrite or conversation.messages
        outcome = yield replace(asked, messages=rewrite(), may_overflow=True)
        if not isinstance(outcome, Overflow):
            return outcome
    about = conversation.estimated_tokens()
    raise ContextLimitError(
        f"The conversation does not fit the model's context, although everything but the system prompt, the task and "
        f"the last step was left out of it (about {about:,} tokens remain). Give a shorter task, have tools return or "
        f"programs print less, or take a model with a larger context. The service said: {outcome.message}"
    )


def _compact(
    conversation: CompactableConversation, limit: ContextLimit, *, harder: bool = False, window: int | None = None
) -> Generator[Effect | Event, Any, bool]:
    """Compact what has to be; returns whether anything was."""
    known = min((tokens for tokens in (limit.tokens, conversation.window) if tokens is not None), default=None)
    if known is None:
        return False
    limit = replace(limit, tokens=known)
    decision = conversation.decide(limit, harder=harder)
    if decision is None:
        return False
    if decision.cut_to is not None:
        yield Compacted(kept=decision.kept, cut_to=decision.cut_to, tokens=decision.tokens, window=window)
    if decision.replaces:
        reply = ""
        if limit.summarise:
            messages = conversation.summary_request(decision.replaces, limit, decision.room, harder=harder)
            answer = yield Generate(messages, purpose="summary", may_overflow=True)
            reply = "" if isinstance(answer, Overflow) else neutral(answer.text)
        summary = summary_text(reply, len(decision.replaces), decision.room)
        yield Compacted(kept=decision.summary_kept, summary=summary, tokens=decision.tokens, window=window)
    return True
