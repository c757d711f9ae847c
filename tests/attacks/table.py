"""Attacks every executor that can run here, and writes what came of it into the documentation.

`python -m tests.attacks.table` makes the table in `docs/attacks.md` anew; with names of executors, only their columns;
with `--missing`, only the cells that do not show yet that all was blocked.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.attacks.boundary import Boundary
from tests.attacks.corpus import ATTACKS, FAMILIES
from tests.attacks.host import Host
from tests.executors.contract.kit import EXECUTORS, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actloop.executors.session import SandboxLimits

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
NOT_TRIED = "-"

Column = dict[str, str]
"""By family: how many attacks were tried and blocked, or that none was."""


def attacked(subject: Subject, known: Column) -> Column:
    """Run the corpus against an executor; families of which it is known that all was blocked are left out."""
    column: Column = {}
    with Host() as host, subject.surroundings() as options:

        def make(imports: list[str], limits: SandboxLimits | None, **more: Any) -> Any:
            return subject.make(subject.name, imports, **options, **({"limits": limits} if limits else {}), **more)

        boundary = Boundary(host, make, subject.remains)
        for name in sizes():
            if not is_tried(subject, name):
                column[name] = NOT_TRIED
                continue
            attacks = [attack for attack in ATTACKS if attack.family == name]
            if known.get(name) == f"{len(attacks)} / {len(attacks)}":
                column[name] = known[name]
                continue
            wrong = boundary.attack_all(attacks)
            column[name] = f"{len(attacks) - len(wrong)} / {len(attacks)}"
            sys.stderr.write(f"{subject} {name}: {column[name]} {wrong or ''}\n")
    return column


def is_tried(subject: Subject, family: str) -> bool:
    """Whether an executor is attacked with a family: with all, where it has what they need, or with those it names."""
    needs = {trait for attack in ATTACKS if attack.family == family for trait in attack.needs}
    return not needs & subject.lacks.keys() and (subject.attacks is None or family in subject.attacks)


def sizes() -> dict[str, int]:
    """How many attacks each family has."""
    counts: dict[str, int] = {}
    for family in FAMILIES:
        counts[family.name] = counts.get(family.name, 0) + len(family.attacks)
    return counts


def columns() -> list[str]:
    """The executors that the table has, in order."""
    return [subject.name for subject in EXECUTORS.values() if subject.attacks != ()]


def read(text: str) -> dict[str, Column]:
    """The columns of a table that was written before."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    if len(rows) < 3:
        return {}
    return {
        name.strip("`"): {row[0]: row[place] for row in rows[2:] if place < len(row)}
        for place, name in enumerate(rows[0])
        if place > 0
    }


def written(told: Mapping[str, Column]) -> str:
    """The table as text."""
    names = [name for name in columns() if name in told]
    lines = ["| family | " + " | ".join(f"`{name}`" for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    cells = {family: [told[name].get(family, NOT_TRIED) for name in names] for family in sizes()}
    return "\n".join([*lines, *(f"| {family} | {' | '.join(row)} |" for family, row in cells.items())])


def table_of(page: str) -> str:
    """The part of the page that is generated."""
    found = re.search(f"{re.escape(BEGIN)}\n(.*?)\n?{re.escape(END)}", page, re.DOTALL)
    if found is None:
        raise ValueError(f"the page has no place for the table: {BEGIN} ... {END}")
    return found[1]


def main(names: Iterable[str]) -> None:
    """Make the table anew."""
    page = PAGE.read_text()
    told = read(table_of(page))
    names = list(names)
    missing = "--missing" in names
    for name in [name for name in names if name != "--missing"] or columns():
        subject = EXECUTORS[name]
        if reason := subject.why_not():
            sys.stderr.write(f"{name} cannot run here: {reason}\n")
            continue
        told[name] = attacked(subject, told.get(name, {}) if missing else {})
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{written(told)}\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
