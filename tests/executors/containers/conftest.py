"""Executors and the engine, for the tests of containers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from actloop.executors.containers.engine import Engine, engine_at
from actloop.executors.docker import DockerExecutor
from actloop.executors.reaper import REAPER

from ..engine import ENGINES, engine_url, image_of_tests, why_no_engine
from .kit import api_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session", params=ENGINES)
def engine_address(request: pytest.FixtureRequest) -> str:
    """The address of one engine after another."""
    if reason := why_no_engine(request.param):
        pytest.skip(reason)
    return engine_url(request.param)


@pytest.fixture
def engine(engine_address: str) -> Engine:
    return engine_at(engine_address)


@pytest.fixture
def image(engine_address: str) -> str:
    """The image of tests, at that engine."""
    return image_of_tests(engine_address)


@pytest.fixture
def make(engine: Engine, image: str) -> Iterator[Callable[..., DockerExecutor]]:
    """Makes executors with the image of tests, and ends them."""
    made: list[DockerExecutor] = []

    def new(imports: list[str] | None = None, logger: Any = None, **more: Any) -> DockerExecutor:
        if not {"base_image", "dockerfile_content", "image_name"} & set(more):
            more.setdefault("image", image)
        made.append(DockerExecutor(imports or [], logger, base_url=engine.address, **more))
        return made[-1]

    yield new
    for executor in made:
        executor.cleanup()
    assert REAPER.flush(60)
    for name in {executor.image_name for executor in made} - {image}:
        with contextlib.suppress(api_errors()):
            engine.api.remove_image(name, force=True)


@pytest.fixture
def everything(make: Callable[..., DockerExecutor]) -> DockerExecutor:
    """One whose programs may import everything."""
    return make(["*"])
