"""Which attacks an executor is held against: in the table all that apply to it, in the tests as many as time allows."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.attacks.corpus import ATTACKS, FAMILIES, OWN

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.attacks.attack import Attack
    from tests.executors.contract.kit import Subject

NAMES = list(dict.fromkeys(family.name for family in (*FAMILIES, *OWN)))
"""Names of all families, in order."""

DAY = 86_400


def attacks_of(subject: Subject, family: str) -> list[Attack]:
    """Every attack of a family that an executor can be meant by: those for any, and those written for it."""
    if subject.attacks is not None and family not in subject.attacks:
        return []
    everywhere = [attack for attack in ATTACKS if attack.family == family]
    own = [attack for known in OWN if known.name == family for attack in known.attacks]
    return everywhere + [attack for attack in own if attack.platform == subject.name]


def lacking(subject: Subject, attack: Attack) -> str:
    """The platform's reason why an attack does not apply to it, where that is known beforehand; else nothing."""
    return next((subject.lacks[trait] for trait in sorted(attack.traits) if trait in subject.lacks), "")


def turn() -> int:
    """Which part of the corpus is met where tests cannot try all: another one each day, or `ACTLOOP_ATTACK_TURN`."""
    return int(os.environ.get("ACTLOOP_ATTACK_TURN") or time.time() // DAY)


def chosen(subject: Subject, family: str, absent: Collection[str] = ()) -> list[Attack]:
    """The attacks of a family that the tests try: those written for the executor, and as many others as it takes.

    Args:
        subject: The executor.
        family: Name of the family.
        absent: Attacks of which it is known that they do not apply: they are left out where not all are tried.
    """
    attacks = [attack for attack in attacks_of(subject, family) if not lacking(subject, attack)]
    if subject.sample is None:
        return attacks
    own = [attack for attack in attacks if attack.platform]
    rest = [attack for attack in attacks if not attack.platform and str(attack) not in absent]
    first = turn() * subject.sample % len(rest) if rest else 0
    return own + (rest[first:] + rest[:first])[: subject.sample]


def wanted(subject: Subject, family: str, absent: Collection[str] = ()) -> list[Attack]:
    """As `chosen`; all that apply where `ACTLOOP_ALL_ATTACKS` is set."""
    if os.environ.get("ACTLOOP_ALL_ATTACKS"):
        return [attack for attack in attacks_of(subject, family) if not lacking(subject, attack)]
    return chosen(subject, family, absent)
