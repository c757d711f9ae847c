"""Every test of the contract runs once for each executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.contract.kit import DOCKERD, EXECUTORS, Subject
from tests.executors.driving import WAITER, Driver
from tests.executors.engine import ENGINES

from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from actloop.executors.session import Session

Opener = "Callable[..., Driver]"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*traits): what a platform must have for the test, as kit.Subject.lacks")
    config.addinivalue_line("markers", "limit(*names): which limits an executor must enforce for the test")


CORE = {"test_programs", "test_files", "test_network", "test_snapshots"}
"""What Docker is held against besides podman; what else tells the two apart, `tests/executors/containers` does."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" in metafunc.fixturenames:
        core = metafunc.definition.path.stem in CORE and "docker" in ENGINES
        subjects = [*EXECUTORS.values(), *([DOCKERD] if core else [])]
        metafunc.parametrize("subject", subjects, indirect=True, ids=str, scope="module")


@pytest.fixture(scope="module")
def subject(request: pytest.FixtureRequest) -> Subject:
    """One executor after another."""
    subject: Subject = request.param
    if reason := subject.why_not():
        pytest.skip(reason if subject is DOCKERD else f"{subject} cannot run here: {reason}")
    return subject


@pytest.fixture(autouse=True)
def needed(request: pytest.FixtureRequest, subject: Subject) -> None:
    """Leave out what a platform cannot do, with its reason."""
    for mark in request.node.iter_markers("needs"):
        for trait in mark.args:
            if trait in subject.lacks:
                pytest.skip(f"{subject} has no {trait}: {subject.lacks[trait]}")


@pytest.fixture(scope="module")
def surroundings(subject: Subject) -> Iterator[Mapping[str, Any]]:
    """What the executor needs around it, and the options that follow from that."""
    with subject.surroundings() as options:
        yield options


@pytest.fixture
def make(subject: Subject, surroundings: Mapping[str, Any]) -> Iterator[Callable[..., Any]]:
    """Makes executors: `make(imports, **options)`."""
    made: list[Any] = []

    def make(imports: list[str] | None = None, **options: Any) -> Any:
        executor = subject.make(subject.name, imports or [], **{**surroundings, **options})
        made.append(executor)
        return executor

    yield make
    for executor in made:
        executor.cleanup()


@pytest.fixture
def open_driver(make: Callable[..., Any]) -> Iterator[Callable[..., Driver]]:
    """Opens sessions: `open_driver(options, **tools)`."""
    sessions: list[Session] = []

    def open_driver(options: Mapping[str, Any] | None = None, /, **tools: Any) -> Driver:
        session = run_now(make(**(options or {})).open_session(WAITER))
        sessions.append(session)
        return Driver(session, **tools)

    yield open_driver
    for session in sessions:
        session.close()
