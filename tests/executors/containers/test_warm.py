"""Containers that are kept ready."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from tests.waiting import eventually

from actloop.executors.containers.engine import Engine, owner
from actloop.executors.docker import DockerExecutor
from actloop.executors.reaper import REAPER
from actloop.executors.waiting import run_now

from ..driving import WAITER, Driver
from .kit import containers, needs_engine

if TYPE_CHECKING:
    from collections.abc import Callable


@needs_engine
def test_warm_containers_are_taken_and_replaced(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    executor = make(warm=2)
    executor("x = 1")
    assert REAPER.flush(60)
    assert eventually(lambda: len(containers(engine, owner())) == 3)
    session = run_now(executor.open_session(WAITER))
    assert Driver(session).value("'x' in globals()") is False
    session.close()
    executor.cleanup()
    assert REAPER.flush(60)
    assert eventually(lambda: containers(engine, owner()) == [])


@needs_engine
def test_an_executor_that_is_forgotten_leaves_no_warm_container(engine: Engine, image: str) -> None:
    executor = DockerExecutor(image=image, base_url=engine.address, warm=1)
    session = run_now(executor.open_session(WAITER))
    session.close()
    pool = executor._pool  # pyright: ignore[reportPrivateUsage]
    assert eventually(lambda: pool._ready)  # pyright: ignore[reportPrivateUsage]
    assert REAPER.flush(60)
    assert len(containers(engine, owner())) == 1
    del executor
    gc.collect()
    assert eventually(lambda: containers(engine, owner()) == [])


@needs_engine
def test_a_warm_container_that_died_is_not_taken(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    executor = make(warm=1)
    executor("1")
    executor_session = executor._session  # pyright: ignore[reportPrivateUsage]
    assert executor_session is not None
    assert eventually(lambda: len(executor._pool._ready) == 1)  # pyright: ignore[reportPrivateUsage]
    ready = executor._pool._ready[0]  # pyright: ignore[reportPrivateUsage]
    engine.remove(ready.container)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    assert eventually(lambda: not ready.alive)
    session = run_now(executor.open_session(WAITER))
    assert Driver(session).value("1") == 1
    session.close()
