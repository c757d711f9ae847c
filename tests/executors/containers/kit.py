"""What the tests of containers share."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from actloop import InterpreterError
from actloop.executors.containers.engine import OWNER, Engine

if TYPE_CHECKING:
    from actloop.executors.docker import DockerExecutor

needs_engine = pytest.mark.usefixtures("engine_address")
"""Once for each engine that there is."""


def api_errors() -> type[Exception]:
    from docker.errors import APIError  # pyright: ignore[reportMissingTypeStubs]

    return APIError


def failing(executor: DockerExecutor, program: str) -> str:
    """Why a program fails."""
    with pytest.raises(InterpreterError) as caught:
        executor(textwrap.dedent(program))
    return str(caught.value)


def containers(engine: Engine, name: str | None = None) -> list[str]:
    """Containers of this test run, running or not."""
    label = OWNER if name is None else f"{OWNER}={name}"
    return [entry["Id"] for entry in engine.api.containers(all=True, filters={"label": label})]
