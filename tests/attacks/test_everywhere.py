"""The corpus against every executor but the kernel sandbox, which `test_attacks` holds to more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.boundary import Boundary
from tests.attacks.choice import NAMES, attacks_of, wanted
from tests.attacks.corpus import OWN
from tests.attacks.host import Host
from tests.attacks.table import PAGE, columns, is_fresh, part, written
from tests.attacks.told import absent, read
from tests.executors.contract.kit import EXECUTORS, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actloop.executors.session import SandboxLimits

pytestmark = pytest.mark.timeout(600)

OTHERS = [subject for subject in EXECUTORS.values() if subject.name != "local" and subject.attacks != ()]
TOLD = read()

PAIRS = [
    pytest.param(subject, name, id=f"{subject}-{name}")
    for subject in OTHERS
    for name in NAMES
    if wanted(subject, name, absent(TOLD, subject.name))
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


@pytest.mark.parametrize(("subject", "name"), PAIRS, indirect=["subject"], scope="module")
def test_family(name: str, subject: Subject, boundary: Boundary) -> None:
    known = absent(TOLD, subject.name)
    verdicts = boundary.attack_all(wanted(subject, name, known))
    assert verdicts.wrong == {}
    assert {attack: reason for attack, reason in verdicts.absent.items() if attack not in known} == {}


@pytest.mark.parametrize("name", columns())
def test_the_table_tells_of_the_present_corpus(name: str) -> None:
    column, subject = TOLD.get(name, {}), EXECUTORS[name]
    stale = [
        family for family in NAMES if attacks_of(subject, family) and not is_fresh(subject, family, column.get(family))
    ]
    assert stale == [], "make the table anew: make attacks ARGS=--missing"


def test_the_page_shows_the_table() -> None:
    assert part(PAGE.read_text()) == written(TOLD), "make the page anew: make attacks ARGS=--missing"


@pytest.mark.parametrize("name", ["local", "docker"])
def test_every_attack_applies_where_python_is_cpython_on_linux(name: str) -> None:
    assert absent(TOLD, name) == frozenset()


def test_platforms_with_a_language_of_their_own_have_attacks_in_it() -> None:
    for platform in ("monty", "wasm"):
        assert sum(attack.platform == platform for family in OWN for attack in family.attacks) >= 40
