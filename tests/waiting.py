"""Waits for what another process or thread does, and asks whether a process lives."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


def eventually(what: Callable[[], object], within: float = 60.0) -> bool:
    """Whether something is so before `within` seconds are over."""
    until = time.monotonic() + within
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def lives(pid: int) -> bool:
    """Whether a process exists that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def watched(*pids: int) -> Generator[list[int]]:
    """Descriptors of processes, for `ends`; those that still live at the end are killed."""
    descriptors = [os.pidfd_open(pid) for pid in pids]
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            if not ends(descriptor, 0):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


def ends(descriptor: int, within: float = 60.0) -> bool:
    """Whether a process, by a descriptor of it, ends before `within` seconds are over."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(within * 1000))
