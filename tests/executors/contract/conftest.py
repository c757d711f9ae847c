"""Every test of the contract runs once for each executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.contract.kit import EXECUTORS, Subject
from tests.executors.driving import WAITER, Driver

from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from actloop.executors.session import Session

Opener = "Callable[..., Driver]"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*traits): what a platform must have for the test, as kit.Subject.lacks")
    config.addinivalue_line("markers", "limit(*names): which limits an executor must enforce for the test")


@pytest.fixture(scope="module", params=list(EXECUTORS.values()), ids=str)
def subject(request: pytest.FixtureRequest) -> Subject:
    """One executor after another."""
    subject: Subject = request.param
    if reason := subject.why_not():
        pytest.skip(f"{subject} cannot run here: {reason}")
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
