"""What came of tasks, as data and as a table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH = 18


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one task went.

    Attributes:
        name: Name of the task.
        split: What the task is for.
        solved: Whether the answer passed the task's check.
        steps: Replies that the model gave.
        input_tokens: Tokens that the model was sent, of all requests, those it knew from before included.
        output_tokens: Tokens that it wrote.
        seconds: From the start of the run to its end.
        answer: The answer as text, or what went wrong.
    """

    name: str
    split: str
    solved: bool
    steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    answer: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The outcome as plain data."""
        return dataclasses.asdict(self)

    def cells(self) -> str:
        """The outcome as cells of a table row."""
        mark = "yes" if self.solved else "-"
        return f"{mark:>6} {self.steps:>5} {self.input_tokens:>8,} {self.output_tokens:>7,} {self.seconds:>7.1f}"


_COLUMNS = f"{'solved':>6} {'steps':>5} {'input':>8} {'output':>7} {'seconds':>7}"


def header(title: str) -> str:
    """The first lines of the table of one framework."""
    return f"\n{title}\n{'task':<{_WIDTH}}{_COLUMNS}  answer"


def row(outcome: Outcome) -> str:
    """One line of the table; a long answer is cut."""
    answer = " ".join(outcome.answer.split())
    return f"{outcome.name:<{_WIDTH}}{outcome.cells()}  {answer[:48]}{' ...' if len(answer) > 48 else ''}"


def totals(outcomes: Sequence[Outcome]) -> str:
    """Lines with the sums: of every split, and of all."""
    names = list(dict.fromkeys(outcome.split for outcome in outcomes))
    groups = [(name, [outcome for outcome in outcomes if outcome.split == name]) for name in names]
    if len(groups) > 1:
        groups.append(("all", list(outcomes)))
    return "\n".join(_total(name, group) for name, group in groups)


def _total(name: str, group: Sequence[Outcome]) -> str:
    solved = f"{sum(outcome.solved for outcome in group)}/{len(group)}"
    return (
        f"{name:<{_WIDTH}}{solved:>6} {sum(o.steps for o in group):>5} {sum(o.input_tokens for o in group):>8,} "
        f"{sum(o.output_tokens for o in group):>7,} {sum(o.seconds for o in group):>7.1f}"
    )


def comparison(ours: Sequence[Outcome], theirs: Sequence[Outcome], peer: str) -> str:
    """Both frameworks in one line each, and how they compare."""

    def share(ours: float, theirs: float) -> str:
        return f"{ours / theirs:.2f}" if theirs else "-"

    lines = [f"\n{'':<{_WIDTH}}{_COLUMNS}", _total("actloop", ours), _total(peer, theirs)]
    solved = share(sum(o.solved for o in ours), sum(o.solved for o in theirs))
    tokens = share(sum(o.input_tokens for o in ours), sum(o.input_tokens for o in theirs))
    seconds = share(sum(o.seconds for o in ours), sum(o.seconds for o in theirs))
    lines.append(f"actloop / {peer}: tasks solved {solved}, input tokens {tokens}, time {seconds}")
    return "\n".join(lines)
