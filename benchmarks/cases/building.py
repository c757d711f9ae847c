"""Building an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.frameworks import answering, framework
from benchmarks.measuring import MILLI, median_seconds
from benchmarks.rows import Figure, Line, below

if TYPE_CHECKING:
    from benchmarks.frameworks import Side

LINES = (
    Line("bare", "building an agent without tools", "ms", below(0.3)),
    Line("tools", "building an agent with three tools", "ms", below(0.3)),
    Line("tool", "making a tool of a function", "ms"),
)


def measure(side: Side, *, quick: bool) -> dict[str, Figure]:
    """Times in milliseconds."""
    ours = framework(side)
    times = 5 if quick else 100
    tool = ours.package.tool
    tools = [tool(function) for function in (join, distance, lookup)]
    # Where the package imports things only when they are needed, the first agent pays for that; see "startup".
    return {
        "bare": median_seconds(lambda: ours.agent(_reply), times, warm_up=3) * MILLI,
        "tools": median_seconds(lambda: ours.agent(_reply, tools=tools), times, warm_up=3) * MILLI,
        "tool": median_seconds(lambda: tool(distance), times, warm_up=3) * MILLI,
    }


def _reply(messages: list[object]) -> str:
    return answering("1")


def join(parts: list[str], separator: str = ", ") -> str:
    """Joins texts.

    Args:
        parts: The texts.
        separator: What is put between them.
    """
    return separator.join(parts)


def distance(start: str, end: str) -> float:
    """Distance between two places.

    Args:
        start: Name of one place.
        end: Name of the other.

    Returns:
        Kilometres.
    """
    return float(abs(hash(start) - hash(end)))


def lookup(table: dict[str, int], key: str) -> int:
    """Looks a value up.

    Args:
        table: Where to look.
        key: What to look for.
    """
    return table[key]
