"""Attacks every executor that can run here with the whole corpus, and writes what came of it into the documentation.

`make attacks`, or `python -m tests.attacks.table`, makes the table in `docs/attacks.md` anew; with names of executors,
only their columns; with `--missing`, only the cells whose attacks have changed since or of which not all was blocked.
"""

from __future__ import annotations

import datetime as dt
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.attacks.boundary import Boundary
from tests.attacks.choice import NAMES, attacks_of, chosen, lacking
from tests.attacks.corpus import ATTACKS, OWN
from tests.attacks.host import Host
from tests.attacks.told import Cell, Told, absent, digest, read, write
from tests.executors.contract.kit import EXECUTORS, Subject

from actloop import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actloop.executors.session import SandboxLimits

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
NOT_TRIED = "-"
REASONS = 4


def columns() -> list[str]:
    """The executors that the table has, in order."""
    return [subject.name for subject in EXECUTORS.values() if subject.attacks != ()]


def is_fresh(subject: Subject, family: str, cell: Cell | None) -> bool:
    """Whether a cell tells of the present attacks, and that all was blocked."""
    return cell is not None and cell.digest == digest(attacks_of(subject, family)) and cell.blocked == cell.tried


def attack(subject: Subject, told: Told, *, missing: bool) -> None:
    """Run the corpus against an executor; what came of each family is written at once."""
    column = told.setdefault(subject.name, {})
    for family in list(column):
        if not attacks_of(subject, family):
            del column[family]
    wanted = [family for family in NAMES if attacks_of(subject, family)]
    if missing:
        wanted = [family for family in wanted if not is_fresh(subject, family, column.get(family))]
    if not wanted:
        return
    with Host() as host, subject.surroundings() as options:

        def make(imports: list[str], limits: SandboxLimits | None, **more: Any) -> Any:
            return subject.make(subject.name, imports, **options, **({"limits": limits} if limits else {}), **more)

        boundary = Boundary(host, make, subject.remains)
        for place, family in enumerate(wanted, 1):
            column[family] = cell = run(boundary, subject, family)
            write(subject.name, column)
            sys.stderr.write(f"{subject} {place}/{len(wanted)} {family}: {shown(cell)}\n")


def run(boundary: Boundary, subject: Subject, family: str) -> Cell:
    """Run all attacks of a family that apply."""
    attacks = attacks_of(subject, family)
    without = {str(attack): reason for attack in attacks if (reason := lacking(subject, attack))}
    apply = [attack for attack in attacks if str(attack) not in without]
    made = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, actloop {__version__}"
    if not apply:
        return Cell(digest(attacks), 0, 0, made, without)
    verdicts = boundary.attack_all(apply)
    for name, wrong in verdicts.wrong.items():
        sys.stderr.write(f"    {name}: {wrong}\n")
    tried = len(apply) - len(verdicts.absent)
    blocked = max(0, tried - len(verdicts.wrong))
    return Cell(digest(attacks), tried, blocked, made, {**without, **verdicts.absent})


def shown(cell: Cell | None) -> str:
    """A cell of the table."""
    if cell is None:
        return NOT_TRIED
    counts = f"{cell.blocked} / {cell.tried}" if cell.tried else ""
    return f"{counts} ({len(cell.absent)})".strip() if cell.absent else counts


def written(told: Told) -> str:
    """What is generated of the page."""
    names = columns()
    lines = ["| family | " + " | ".join(f"`{name}`" for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [
        f"| {family} | {' | '.join(shown(told.get(name, {}).get(family)) for name in names)} |" for family in NAMES
    ]
    lines.append("| **all** | " + " | ".join(_total(told, name) for name in names) + " |")
    lines += ["", f"The corpus has {len(ATTACKS)} attacks for any executor, and {_own()}.", ""]
    lines += ["| | the table tried | tests of each commit try | most of what does not apply |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {_run(told, name)} | {_tested(told, name)} | {_reasons(told, name)} |" for name in names]
    return "\n".join(lines)


def _own() -> str:
    counts = Counter(attack.platform for family in OWN for attack in family.attacks)
    return " and ".join(f"{count} that are written for `{name}`" for name, count in counts.items())


def _cells(told: Told, name: str) -> list[Cell]:
    return list(told.get(name, {}).values())


def _total(told: Told, name: str) -> str:
    cells = _cells(told, name)
    missing = {str(number): "" for number in range(sum(len(cell.absent) for cell in cells))}
    tried, blocked = sum(cell.tried for cell in cells), sum(cell.blocked for cell in cells)
    return f"**{shown(Cell('', tried, blocked, '', missing))}**"


def _run(told: Told, name: str) -> str:
    made = sorted({cell.made for cell in _cells(told, name)})
    return f"{sum(cell.tried for cell in _cells(told, name))} ({'; '.join(made)})"


def _tested(told: Told, name: str) -> str:
    """How many attacks the tests try: as many on every day, though not the same ones."""
    subject, known = EXECUTORS[name], absent(told, name)
    tried = [attack for family in NAMES for attack in chosen(subject, family, known) if str(attack) not in known]
    return str(len(tried)) if subject.sample is None else f"{len(tried)}, others each day"


def _reasons(told: Told, name: str) -> str:
    reasons = Counter(reason for cell in _cells(told, name) for reason in cell.absent.values())
    return "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(REASONS)).replace("|", "\\|")


def part(page: str) -> str:
    """The part of the page that is generated."""
    found = re.search(f"{re.escape(BEGIN)}\n(.*?)\n?{re.escape(END)}", page, re.DOTALL)
    if found is None:
        raise ValueError(f"the page has no place for the table: {BEGIN} ... {END}")
    return found[1]


def main(arguments: Iterable[str]) -> None:
    """Make the table anew."""
    arguments = list(arguments)
    told = read()
    for name in [name for name in arguments if name != "--missing"] or columns():
        if reason := EXECUTORS[name].why_not():
            sys.stderr.write(f"{name} cannot run here: {reason}\n")
        else:
            attack(EXECUTORS[name], told, missing="--missing" in arguments)
    page = PAGE.read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{written(read())}\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
