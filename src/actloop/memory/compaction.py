"""What of a conversation a model is still shown when it nears the model's window: decisions, without any I/O.

Steps keep all they hold, and so does the journal. What changes is the `View`: texts of old steps are cut, and the
oldest steps give way to a summary. Views change seldom, since each change makes a service read the conversation anew;
in between the messages only grow at their end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from actloop.memory.steps import ActionStep, MemoryStep, PlanningStep, TaskStep
from actloop.values.messages import ChatMessage, MessageRole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SUMMARY_PROMPT = """\
The conversation above is about to be shortened: what you write now takes the place of its older part, and you will go
on with the task knowing only that. Note down, briefly and in plain text: what was found out (names, numbers, paths and
short quotations exactly as they were), which variables and functions exist and what they hold, what was tried and
failed, and what is still to be done. Do not solve the task, and do not write code."""

UNSUMMARISED = (
    "[{count} earlier steps of this conversation were left out to save room. Variables that they set still exist.]"
)

HARDER_CUT = 200
"""Characters that texts of old steps are cut to after a service refused a conversation as too long."""

FEWEST_CHARACTERS_PER_TOKEN, MOST_CHARACTERS_PER_TOKEN = 1.0, 6.0
GUESSED_CHARACTERS_PER_TOKEN = 3.0
_MESSAGE = 12  # characters that a message's own marks count for
_IMAGE = 1_000  # tokens of an image whose size is not known
_PIXELS_PER_TOKEN = 750  # Anthropic's rule of thumb; OpenAI's counts are of the same order
_LEAST_GAIN = 0.1  # of the limit: less is not worth a new prefix
_SLACK = 100  # characters by which a text must exceed the limit to be cut at all
_SUMMARY_MARKS = 2 * _SLACK  # characters that a summary may take besides what the model wrote
_SUMMARY_ROOM = 0.15  # of the limit: what a summary may take


@dataclass(frozen=True, slots=True)
class ContextLimit:
    """How a conversation is kept within the model's window.

    When it is estimated to take more than `start` of `tokens`, what is old is compacted until it takes less than
    `target`: first the long texts and images of old steps are cut, and if that is not enough, the oldest steps give
    way to a summary. The system prompt, the task, the plan in force and the last steps always stay as they are.

    Attributes:
        tokens: Tokens that a request and its reply may have together; None for the model's window, where it is known.
        start: Part of `tokens` at which compaction begins; what is left is room for the reply.
        target: Part of `tokens` that compaction aims at. The lower, the seldomer it happens.
        keep_last: Newest action steps that stay as they are. Where these alone fill the room, so that every further
            step would have to be compacted, it is as many as leave some; the last one always stays.
        cut_to: Characters that longer texts of old steps are cut to.
        summarise: Ask the model for a summary of the oldest steps; False leaves them out with a notice.
        summary_prompt: What the model is asked with, after the steps.
    """

    tokens: int | None = None
    start: float = 0.75
    target: float = 0.45
    keep_last: int = 3
    cut_to: int = 600
    summarise: bool = True
    summary_prompt: str = SUMMARY_PROMPT

    def __post_init__(self) -> None:
        if self.tokens is not None and self.tokens < 1:
            raise ValueError(f"tokens must be 1 or more, or None for the model's window; got {self.tokens}")
        if not 0 < self.target < self.start <= 1:
            raise ValueError(f"0 < target < start <= 1 must hold; got target={self.target}, start={self.start}")
        if self.keep_last < 1 or self.cut_to < 1:
            raise ValueError(f"keep_last and cut_to must be 1 or more; got {self.keep_last} and {self.cut_to}")


@dataclass(frozen=True, slots=True)
class View:
    """How the steps of a memory are shown; steps are named by their `id`, and held so that it stays theirs.

    Attributes:
        cut: Steps whose texts are cut, with the number of characters.
        replaced: Steps that the summary stands for.
        summary: The summary, as the model is shown it.
    """

    cut: Mapping[int, tuple[MemoryStep, int]] = field(default_factory=dict[int, tuple[MemoryStep, int]])
    replaced: Mapping[int, MemoryStep] = field(default_factory=dict[int, MemoryStep])
    summary: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles hold copies of the steps, which have ids of their own."""
        return _view, (list(self.cut.values()), list(self.replaced.values()), self.summary)

    def messages(self, step: MemoryStep, *, summary_mode: bool = False) -> list[ChatMessage]:
        """The messages of one step; none for one that was replaced."""
        key = id(step)
        if key in self.replaced:
            return []
        written = step.to_messages(summary_mode=summary_mode) if summary_mode else step.to_messages()
        known = self.cut.get(key)
        return [shortened(message, known[1]) for message in written] if known is not None else written

    def written(self, steps: Sequence[MemoryStep], *, summary_mode: bool = False) -> list[ChatMessage]:
        """The messages of all steps; the summary stands where the last of those that it replaces stood."""
        last = self.last_replaced(steps)
        messages: list[ChatMessage] = []
        for step in steps:
            messages.extend(self.messages(step, summary_mode=summary_mode))
            if step is last:
                messages.append(self.summary_message())
        return messages

    def last_replaced(self, steps: Sequence[MemoryStep]) -> MemoryStep | None:
        """The last of the steps that the summary stands for; None where none of them is there any more."""
        if not self.replaced:
            return None
        return next((step for step in reversed(steps) if id(step) in self.replaced), None)

    def summary_message(self) -> ChatMessage:
        """The summary as a message."""
        return ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": self.summary}])

    def without(self, step: MemoryStep) -> View:
        """The view after the user edited a step: that one is shown again, and whole."""
        key = id(step)
        if key not in self.cut and key not in self.replaced:
            return self
        return replace(
            self,
            cut={other: value for other, value in self.cut.items() if other != key},
            replaced={other: value for other, value in self.replaced.items() if other != key},
        )

    def cutting(self, steps: Sequence[MemoryStep], kept: int, characters: int) -> View:
        """The view with the texts of all but the newest `kept` steps cut."""
        cut = {id(step): (step, characters) for step in _movable(steps, kept)}
        return replace(self, cut={**self.cut, **cut})

    def replacing(self, steps: Sequence[MemoryStep], kept: int, summary: str) -> View:
        """The view with a summary in place of all but the newest `kept` steps."""
        replaced = {id(step): step for step in _movable(steps, kept)}
        return View(cut=self.cut, replaced={**self.replaced, **replaced}, summary=summary)


def _view(cut: list[tuple[MemoryStep, int]], replaced: list[MemoryStep], summary: str) -> View:
    return View({id(step): (step, limit) for step, limit in cut}, {id(step): step for step in replaced}, summary)


def _movable(steps: Sequence[MemoryStep], kept: int) -> list[MemoryStep]:
    """All but the newest `kept` steps, the current task and the plan in force."""
    task = next((place for place in range(len(steps) - 1, -1, -1) if isinstance(steps[place], TaskStep)), -1)
    plan = next((place for place in range(len(steps) - 1, task, -1) if isinstance(steps[place], PlanningStep)), -1)
    return [step for place, step in enumerate(steps[: max(len(steps) - kept, 0)]) if place not in (task, plan)]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done.

    Attributes:
        kept: Newest steps of the memory that stay as they are.
        cut_to: Characters that texts of older steps are cut to; None to leave them.
        replaces: Older steps that a summary is to stand for; empty for none.
        summary_kept: As `kept`, for the summary.
        tokens: Estimate of what the conversation takes now.
        room: Characters that the summary may have.
    """

    kept: int
    tokens: int
    cut_to: int | None = None
    replaces: tuple[MemoryStep, ...] = ()
    summary_kept: int = 0
    room: int = 0


@dataclass(frozen=True, slots=True)
class Measure:
    """How many tokens a conversation takes, learned from what a service reported of an earlier one.

    Attributes:
        size: `size_of` the conversation then.
        tokens: What it took; 0 where nothing was reported yet.
    """

    size: int = 0
    tokens: int = 0

    @property
    def characters_per_token(self) -> float:
        """Characters that one token stands for."""
        if not self.tokens or not self.size:
            return GUESSED_CHARACTERS_PER_TOKEN
        return min(max(self.size / self.tokens, FEWEST_CHARACTERS_PER_TOKEN), MOST_CHARACTERS_PER_TOKEN)

    def estimate(self, size: int) -> int:
        """Tokens of a conversation of that size."""
        return max(int(self.tokens + (size - self.size) / self.characters_per_token), 0)


def decide(
    steps: Sequence[MemoryStep], view: View, size: int, measure: Measure, limit: ContextLimit, *, harder: bool = False
) -> Decision | None:
    """What to compact before the next request; None for nothing.

    Args:
        steps: The memory's steps.
        view: How they are shown now.
        size: `size_of` the messages as they are shown now.
        measure: What is known of their tokens.
        limit: The user's choice; `tokens` must be given.
        harder: A service refused the conversation as too long: compact whatever can be.
    """
    allowed = limit.tokens or 0
    tokens = measure.estimate(size)
    if not harder and tokens <= limit.start * allowed:
        return None
    # Whatever the estimate says, a conversation that was refused must shrink.
    excess = max(tokens - limit.target * allowed, tokens / 2 if harder else 0) * measure.characters_per_token
    room = max(int(min(_SUMMARY_ROOM * allowed * measure.characters_per_token, 8_000)), 200)
    # Steps that leave no room for others would be compacted one by one, each time with a new prefix.
    halfway = max(tokens - (limit.start + limit.target) / 2 * allowed, tokens / 2 if harder else 0)
    most = size - halfway * measure.characters_per_token - room
    kept = _kept(steps, 1) if harder else _kept_within(steps, view, size, most, limit.keep_last)
    cut_to = min(limit.cut_to, HARDER_CUT) if harder else limit.cut_to
    after = view.cutting(steps, kept, cut_to)
    movable = [step for step in _movable(steps, kept) if id(step) not in view.replaced]
    cut_sizes = [size_of(after.messages(step)) for step in movable]
    gain = sum(size_of(view.messages(step)) for step in movable) - sum(cut_sizes)
    cut = cut_to if gain > 0 else None
    least = 0 if harder or tokens > allowed else _LEAST_GAIN * allowed * measure.characters_per_token
    # What a cut achieves without another request is worth more.
    if cut is not None and gain >= halfway * measure.characters_per_token:
        return Decision(kept, tokens, cut)
    gain_of_cut = gain
    gain -= room + _SUMMARY_MARKS - len(view.summary)
    replaces: list[MemoryStep] = []
    for step, cut_size in zip(movable, cut_sizes, strict=True):
        if gain >= excess:
            break
        replaces.append(step)
        gain += cut_size
    if not replaces or gain <= max(least, gain_of_cut):
        return Decision(kept, tokens, cut) if cut is not None and gain_of_cut > least else None
    cut = None if len(replaces) == len(movable) else cut
    last = max(place for place, step in enumerate(steps) if step is replaces[-1])
    return Decision(kept, tokens, cut, tuple(replaces), len(steps) - last - 1, room)


def _kept_within(steps: Sequence[MemoryStep], view: View, size: int, most: float, actions: int) -> int:
    """As `_kept`, with fewer action steps where what stays would take more than `most`; one at least."""
    for number in range(actions, 1, -1):
        kept = _kept(steps, number)
        if size - sum(size_of(view.messages(step)) for step in _movable(steps, kept)) <= most:
            return kept
    return _kept(steps, 1)


def _kept(steps: Sequence[MemoryStep], actions: int) -> int:
    """How many of the newest steps hold so many action steps, a plan made just before them included."""
    for place in range(len(steps) - 1, -1, -1):
        actions -= isinstance(steps[place], ActionStep)
        if actions == 0:
            return len(steps) - place
    return len(steps)


def summary_request(
    system: list[ChatMessage], view: View, steps: Sequence[MemoryStep], prompt: str, room: int, limit: int
) -> list[ChatMessage]:
    """Messages that ask for a summary of some steps, at most about `limit` characters of them.

    Args:
        system: The messages that every conversation begins with.
        view: How the steps are shown.
        steps: Those to be summarised.
        prompt: What to ask.
        room: Characters that the summary may have.
        limit: Characters of the steps that are sent.
    """
    told: list[ChatMessage] = [view.summary_message()] if view.summary else []
    told.extend(message for step in steps for message in view.messages(step))
    texts = [_all_text(message) for message in told]
    share = _fair_share(list(map(len, texts)), limit)
    lines = [f"{message.role.value}: {_cut(text, share)}" for message, text in zip(told, texts, strict=True)]
    # One text, not turns of a conversation: nothing in it asks for a program.
    record = "\n\n".join(lines).replace("</record", "< /record")
    asked = f"This is a record of work so far:\n\n<record>\n{record}\n</record>\n\n{prompt}\nAt most {room} characters."
    own = [message for message in system if message.role is MessageRole.SYSTEM]
    return [*own, ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": asked}])]


def _fair_share(lengths: list[int], limit: int) -> int:
    """Characters that each text may have so that all take about `limit`; short ones leave theirs to the others."""
    left, count = limit, len(lengths)
    for length in sorted(lengths):
        if length * count >= left:
            return max(left // count, 80)
        left, count = left - length, count - 1
    return max(lengths, default=0)


def summary_text(reply: str, count: int, room: int) -> str:
    """The summary as the model is shown it; a notice where it wrote nothing."""
    reply = reply.strip()
    if not reply:
        return UNSUMMARISED.format(count=count)
    return f"Summary of the earlier steps of this conversation, which are not shown any more:\n{_cut(reply, room)}"


def shortened(message: ChatMessage, characters: int) -> ChatMessage:
    """The message with long texts of others than the model cut, and images described."""
    if message.role is MessageRole.ASSISTANT or message.role is MessageRole.SYSTEM:
        return message
    if isinstance(message.content, str):
        content = _cut(message.content, characters)
        return message if content is message.content else replace(message, content=content)
    parts = message.content or []
    cut = [_shortened_part(part, characters) for part in parts]
    if all(a is b for a, b in zip(parts, cut, strict=True)):
        return message
    return replace(message, content=cut)


def _shortened_part(part: dict[str, Any], characters: int) -> dict[str, Any]:
    if part.get("type") == "text":
        text = _cut(str(part["text"]), characters)
        return part if text is part["text"] else {"type": "text", "text": text}
    size: Any = getattr(part.get("image"), "size", None)
    about = f" of {size[0]} x {size[1]} pixels" if isinstance(size, tuple) else ""
    return {"type": "text", "text": f"[an image{about} that was shown here was left out to save room]"}


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit + _SLACK:
        return text
    head = limit * 2 // 3
    tail = limit - head
    left_out = len(text) - limit
    return f"{text[:head]}\n[... {left_out:,} of {len(text):,} characters left out to save room ...]\n{text[-tail:]}"


def _all_text(message: ChatMessage) -> str:
    calls = "\n".join(str(call) for call in message.tool_calls or ())
    return "\n".join(part for part in (message.text, calls) if part)


def size_of(messages: Sequence[ChatMessage]) -> int:
    """About how many characters messages take; an image counts as its tokens would."""
    size = 0
    for message in messages:
        size += _MESSAGE
        content = message.content
        if isinstance(content, str):
            size += len(content)
        else:
            for part in content or ():
                text = part.get("text")
                size += len(text) if isinstance(text, str) else _image_size(part)
        for call in message.tool_calls or ():
            size += len(call.function.name) + len(str(call.function.arguments)) + 2 * _MESSAGE
    return size


def _image_size(part: dict[str, Any]) -> int:
    size = getattr(part.get("image"), "size", None)
    tokens = _IMAGE
    if isinstance(size, tuple):
        width, height = cast("tuple[int, int]", size)
        tokens = min(max(width * height // _PIXELS_PER_TOKEN, 85), 1_600)
    return int(tokens * GUESSED_CHARACTERS_PER_TOKEN)
