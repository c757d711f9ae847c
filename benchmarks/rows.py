"""What a benchmark tells: figures by name, shown as rows of one table with our figure, the peer's and the goal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Figure: TypeAlias = "float | str"
"""A number in its row's unit, or what is to be said in its place, such as `"> 8"`."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is aimed at: figures of at most `limit`; `text` is how the table shows it."""

    limit: float
    text: str


def below(limit: float) -> Goal:
    """Less than `limit`."""
    return Goal(limit, f"< {limit:g}")


def exactly(value: float) -> Goal:
    """Neither more nor, where less cannot be, less than `value`."""
    return Goal(value, f"{value:g}")


def about(value: float, tolerance: float) -> Goal:
    """No more than `value`, where a measurement is only exact to `tolerance`."""
    return Goal(value + tolerance, f"{value:g} ± {tolerance:g}")


@dataclass(frozen=True, slots=True)
class Line:
    """A row before its figures are known.

    Attributes:
        key: Name of the figure.
        what: What is measured.
        unit: Its unit.
        goal: What is aimed at; None where nothing is.
    """

    key: str
    what: str
    unit: str
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table; a figure is None where it was not measured."""

    benchmark: str
    what: str
    unit: str
    ours: Figure | None
    theirs: Figure | None
    goal: str | None
    reached: bool | None


def rows(
    benchmark: str, lines: Sequence[Line], ours: Mapping[str, Figure], theirs: Mapping[str, Figure] | None
) -> list[Row]:
    """Put figures into their rows; a line that neither side has a figure for is left out."""
    made: list[Row] = []
    for line in lines:
        mine, peer = ours.get(line.key), (theirs or {}).get(line.key)
        if mine is None and peer is None:
            continue
        reached = mine <= line.goal.limit if line.goal and isinstance(mine, (int, float)) else None
        goal = line.goal.text if line.goal else None
        made.append(Row(benchmark, line.what, line.unit, mine, peer, goal, reached))
    return made


def as_data(table: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain data."""
    return [asdict(row) for row in table]


def markdown(table: Sequence[Row], ours: str, theirs: str) -> str:
    """The rows as a Markdown table, aligned so that it reads well as plain text, too."""
    cells = [["benchmark", "what", "unit", ours, theirs, "theirs / ours", "goal", "reached"]]
    benchmark = ""
    for row in table:
        reached = "" if row.reached is None else "yes" if row.reached else "NO"
        cells.append(
            [
                row.benchmark if row.benchmark != benchmark else "",
                row.what,
                row.unit,
                _figure(row.ours),
                _figure(row.theirs),
                _ratio(row),
                row.goal or "",
                reached,
            ]
        )
        benchmark = row.benchmark
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = (3, 4, 5, 6)
    lines = ["| " + " | ".join(_aligned(cell, widths[i], i in right) for i, cell in enumerate(c)) + " |" for c in cells]
    rule = "|" + "|".join("-" * (width + 1) + (":" if i in right else "-") for i, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _aligned(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    if isinstance(figure, str):
        return figure
    if figure == int(figure) and abs(figure) < 1e9:
        return f"{int(figure):,}"
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.2g}" if abs(figure) < 1 else f"{figure:.3g}"


def _ratio(row: Row) -> str:
    """How many times our figure theirs is."""
    if not isinstance(row.ours, (int, float)) or not isinstance(row.theirs, (int, float)) or row.ours <= 0:
        return ""
    return _figure(row.theirs / row.ours)
