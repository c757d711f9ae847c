"""Executors and the engine, for the tests of containers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from actloop.executors.containers.engine import Engine, engine_at
from actloop.executors.docker import DockerExecutor
from actloop.executors.reaper import REAPER

from ..engine import engine_url, test_image as image_of_tests
from .kit import api_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def make() -> Iterator[Callable[..., DockerExecutor]]:
    """Makes executors with the image of tests, and ends them."""
    made: list[DockerExecutor] = []

    def new(imports: list[str] | None = None, logger: Any = None, **more: Any) -> DockerExecutor:
        if not {"base_image", "dockerfile_content", "image_name"} & set(more):
            more.setdefault("image", image_of_tests())
        made.append(DockerExecutor(imports or [], logger, base_url=engine_url(), **more))
        return made[-1]

    yield new
    for executor in made:
        executor.cleanup()
    assert REAPER.flush(20)
    api = engine_at(engine_url()).api
    for name in {executor.image_name for executor in made} - {image_of_tests()}:
        with contextlib.suppress(api_errors()):
            api.remove_image(name, force=True)


@pytest.fixture
def everything(make: Callable[..., DockerExecutor]) -> DockerExecutor:
    """One whose programs may import everything."""
    return make(["*"])


@pytest.fixture
def engine() -> Engine:
    return engine_at(engine_url())
