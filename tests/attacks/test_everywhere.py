"""The corpus against every executor but the kernel sandbox, which `test_attacks` holds to more."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.boundary import Boundary
from tests.attacks.corpus import FAMILIES
from tests.attacks.host import Host
from tests.attacks.table import NOT_TRIED, PAGE, columns, is_tried, read, sizes, table_of
from tests.executors.contract.kit import EXECUTORS, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.attacks.attack import Attack

    from actloop.executors.session import SandboxLimits

pytestmark = pytest.mark.timeout(600)

OTHERS = [subject for subject in EXECUTORS.values() if subject.name != "local" and subject.attacks != ()]
NAMES = list(dict.fromkeys(family.name for family in FAMILIES))


PAIRS = [
    pytest.param(subject, name, id=f"{subject}-{name}")
    for subject in OTHERS
    for name in NAMES
    if is_tried(subject, name)
]


@pytest.fixture(scope="module")
def subject(request: pytest.FixtureRequest) -> Subject:
    subject: Subject = request.param
    if reason := subject.why_not():
        pytest.skip(f"{subject} cannot run here: {reason}")
    return subject


@pytest.fixture(scope="module")
def boundary(subject: Subject) -> Iterator[Boundary]:
    with Host() as host, subject.surroundings() as options:

        def make(imports: list[str], limits: SandboxLimits | None, **more: Any) -> Any:
            given = {**options, **({"limits": limits} if limits is not None else {}), **more}
            return subject.make(subject.name, imports, **given)

        yield Boundary(host, make, subject.remains)


def attacks_of(name: str, most: int | None) -> list[Attack]:
    """The attacks of a family; some of them, always the same, where `most` says so."""
    attacks = [attack for family in FAMILIES if family.name == name for attack in family.attacks]
    if most is None or os.environ.get("ACTLOOP_ALL_ATTACKS"):
        return attacks
    return random.Random(name).sample(attacks, min(most, len(attacks)))


@pytest.mark.parametrize(("subject", "name"), PAIRS, indirect=["subject"], scope="module")
def test_family(name: str, subject: Subject, boundary: Boundary) -> None:
    assert boundary.attack_all(attacks_of(name, subject.sample)) == {}


def test_the_documentation_shows_the_present_corpus_against_every_executor() -> None:
    told = read(table_of(PAGE.read_text()))
    assert list(told) == columns()
    for name, column in told.items():
        for family, size in sizes().items():
            expected = f"{size} / {size}" if is_tried(EXECUTORS[name], family) else NOT_TRIED
            assert column[family] == expected, f"{name}, {family}: make the table anew"
    assert sum(sizes().values()) >= 200
