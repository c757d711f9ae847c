"""What came of the corpus when all of it was last run, in `told/`, from which the page is made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.attacks.attack import Attack

FOLDER = Path(__file__).with_name("told")


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of a family on an executor.

    Attributes:
        digest: Of the attacks that were run.
        tried: How many of them could be tried.
        blocked: How many of those were blocked.
        made: The day, and the version of actloop.
        absent: Those that do not apply, by name, with what the platform has not.
    """

    digest: str
    tried: int
    blocked: int
    made: str
    absent: Mapping[str, str] = field(default_factory=dict[str, str])


Told = dict[str, dict[str, Cell]]
"""By executor and family."""


def digest(attacks: Iterable[Attack]) -> str:
    """What changes with anything that is written down of some attacks."""
    return hashlib.sha256("\n".join(map(repr, attacks)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read() -> Told:
    """What was written."""
    found = {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}
    return {name: {family: Cell(**cell) for family, cell in column.items()} for name, column in found.items()}


def write(name: str, column: Mapping[str, Cell]) -> None:
    """Write what came of it on one executor."""
    FOLDER.mkdir(exist_ok=True)
    plain = {family: asdict(cell) for family, cell in column.items()}
    (FOLDER / f"{name}.json").write_text(json.dumps(plain, indent=1, sort_keys=True) + "\n")


def absent(told: Told, name: str) -> frozenset[str]:
    """Names of the attacks that do not apply to an executor."""
    return frozenset(attack for cell in told.get(name, {}).values() for attack in cell.absent)
