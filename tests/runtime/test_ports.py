"""Both ports wait, call, and are woken by an interrupt."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from typing import TYPE_CHECKING

import pytest

from actloop.errors import AgentInterruptedError
from actloop.executors.waiting import run_now
from actloop.runtime.ports import Asyncio, Blocking, Interrupt, iterate_now

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def numbers(count: int, closed: list[str]) -> AsyncGenerator[int]:
    try:
        for number in range(count):
            yield number
    finally:
        closed.append("closed")


def test_an_async_generator_runs_without_a_loop_and_is_closed_early() -> None:
    closed: list[str] = []
    assert list(iterate_now(numbers(3, closed))) == [0, 1, 2]
    items = iterate_now(numbers(3, closed))
    assert next(items) == 0
    items.close()
    assert closed == ["closed", "closed"]


def test_a_coroutine_that_suspends_is_refused() -> None:
    with pytest.raises(RuntimeError, match="suspended"):
        run_now(asyncio.sleep(0))


def test_blocking_waits_for_bytes_and_for_the_timeout() -> None:
    port = Blocking(Interrupt())
    reading, writing = os.pipe()
    try:
        assert not run_now(port.ready(reading, timeout=0.01))
        os.write(writing, b"x")
        assert run_now(port.ready(reading, timeout=None))
        assert run_now(port.ready(writing, write=True, timeout=None))
    finally:
        port.close()
        os.close(reading)
        os.close(writing)


def test_an_interrupt_wakes_a_blocking_wait() -> None:
    interrupt = Interrupt()
    port = Blocking(interrupt)
    reading, writing = os.pipe()
    threading.Timer(0.05, interrupt.set).start()
    try:
        with pytest.raises(AgentInterruptedError):
            run_now(port.ready(reading, timeout=None))
    finally:
        port.close()
        os.close(reading)
        os.close(writing)


async def test_an_interrupt_wakes_an_asyncio_wait() -> None:
    interrupt = Interrupt()
    port = Asyncio(interrupt)
    reading, writing = os.pipe()
    threading.Timer(0.05, interrupt.set).start()
    try:
        with pytest.raises(AgentInterruptedError):
            await port.ready(reading, timeout=None)
    finally:
        os.close(reading)
        os.close(writing)


async def test_asyncio_waits_for_bytes_and_for_the_timeout() -> None:
    port = Asyncio(Interrupt())
    reading, writing = os.pipe()
    try:
        assert not await port.ready(reading, timeout=0.01)
        os.write(writing, b"x")
        assert await port.ready(reading, timeout=5)
    finally:
        os.close(reading)
        os.close(writing)


async def double(value: int) -> int:
    await asyncio.sleep(0.001)
    assert variable.get() == "set"
    return 2 * value


def test_blocking_code_runs_an_asynchronous_function_with_its_context() -> None:
    port = Blocking(Interrupt())
    variable.set("set")
    assert run_now(port.wait_for(lambda: double(4))) == 8


def test_blocking_code_sees_the_error_of_an_asynchronous_function() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("gone")

    with pytest.raises(KeyError):
        run_now(Blocking(Interrupt()).wait_for(fail))


async def test_blocking_functions_do_not_stop_the_loop_and_keep_the_context() -> None:
    port = Asyncio(Interrupt())
    variable.set("set")
    go = threading.Event()

    def wait() -> str:
        assert go.wait(60)
        return variable.get()

    waiting = asyncio.create_task(port.call(wait))
    await asyncio.sleep(0)
    go.set()
    assert await waiting == "set"


def test_blocking_calls_stay_in_the_callers_thread() -> None:
    assert run_now(Blocking(Interrupt()).call(threading.get_ident)) == threading.get_ident()


def test_work_that_was_started_runs_beside() -> None:
    port = Blocking(Interrupt())
    go, names = threading.Event(), list[int]()

    async def work() -> None:
        assert go.wait(60)
        names.append(threading.get_ident())

    handle = port.start(work)
    go.set()
    run_now(handle.wait())
    port.close()
    assert names != [threading.get_ident()]
