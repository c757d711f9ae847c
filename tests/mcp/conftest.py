"""Servers that tests start, and what must be left when they are done: nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.waiting import eventually, lives

from mcp import StdioServerParameters

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src"


class Diary:
    """A file that a server writes to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self) -> list[str]:
        """What it wrote."""
        return self.path.read_text().splitlines()

    def wait_for(self, beginning: str, count: int = 1) -> list[str]:
        """Wait until that many lines begin so; gives their rests."""
        for _ in range(3000):
            found = [line.removeprefix(beginning).strip() for line in self.lines() if line.startswith(beginning)]
            if len(found) >= count:
                return found
            time.sleep(0.01)
        raise AssertionError(f"no {beginning!r} in {self.lines()}")


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    """A fresh one."""
    return Diary(tmp_path / "diary")


@pytest.fixture
def raw(diary: Diary) -> Callable[[str], StdioServerParameters]:
    """A server that misbehaves as asked."""

    def parameters(mode: str = "plain") -> StdioServerParameters:
        return StdioServerParameters(
            command=sys.executable, args=["-S", str(HERE / "raw_server.py"), mode], env={"DIARY": str(diary.path)}
        )

    return parameters


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def example_server(kind: str, diary: Path, port: int = 0) -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """The example server over HTTP ("http" or "sse"): its address and its process."""
    port = port or free_port()
    environment = {**os.environ, "DIARY": str(diary)}
    process = subprocess.Popen(
        [sys.executable, str(HERE / "example_server.py"), kind, str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_port(port, process)
        yield f"http://127.0.0.1:{port}/{'sse' if kind == 'sse' else 'mcp'}", process
    finally:
        process.kill()
        process.wait()


def await_port(port: int, process: subprocess.Popen[Any]) -> None:
    """Wait until a process listens."""
    for _ in range(3000):
        assert process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("the server does not listen")


def gone(pid: int) -> bool:
    """Wait until a process has ended."""
    return eventually(lambda: not lives(pid), within=60)


def held() -> tuple[int, set[str]]:
    """Open file descriptors, and threads of this process."""
    return len(os.listdir("/proc/self/fd")), {thread.name for thread in threading.enumerate()}


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Descriptors and threads are as before at the end of the test."""
    before = after = held()
    yield
    for _ in range(500):  # a thread that waited for a process may still be on its way out
        after = held()
        if after[0] <= before[0] and after[1] <= before[1]:
            break
        time.sleep(0.01)
    assert after[0] <= before[0], "descriptors were left open"
    assert after[1] <= before[1], "threads were left"
