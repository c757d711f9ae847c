"""Standard input of a server, which can be ended from this side: a thread that reads it cannot be interrupted."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_LEAVING = 1.0
"""Seconds that the thread may take to end."""


@contextmanager
def ended_by_signals() -> Generator[None]:
    """Meanwhile SIGINT and SIGTERM end standard input, as a client does that leaves, so that all is closed in order.

    In another thread than the main one signals stay as they are.

    Raises:
        KeyboardInterrupt: At the end, where it was SIGINT.
        SystemExit: At the end, where it was SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, came = asyncio.get_running_loop(), list[int]()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    wake, waker = os.pipe()

    def end(number: int) -> None:
        came.append(number)
        os.write(waker, b"!")

    with _copied(wake, waker):
        for number in numbers:
            loop.add_signal_handler(number, end, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])
    if signal.SIGINT in came:
        raise KeyboardInterrupt
    if came:
        raise SystemExit(128 + came[0])


@contextmanager
def _copied(wake: int, waker: int) -> Generator[None]:
    """Put a pipe in the place of standard input; what comes is copied into it until `wake` can be read."""
    original = os.dup(0)
    inward, outward = os.pipe()
    os.dup2(inward, 0)
    os.close(inward)
    thread = threading.Thread(target=_copy, args=(original, outward, wake), name="actloop-stdin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.dup2(original, 0)
        os.write(waker, b"!")
        thread.join(_LEAVING)
        if not thread.is_alive():
            for descriptor in (original, wake, waker):
                os.close(descriptor)


def _copy(source: int, target: int, wake: int) -> None:
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(wake, select.POLLIN)
    with suppress(OSError):  # nobody reads any more
        while True:
            found = dict(poll.poll())
            data = b"" if wake in found else os.read(source, 1 << 16)
            if not data:
                break
            while data:
                data = data[os.write(target, data) :]
    os.close(target)
