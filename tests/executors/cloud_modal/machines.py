"""The sandboxes of the stand-in for Modal: real processes, which end with their sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_proto import api_pb2

_MARK = "MODAL_SANDBOX_ID"
_OWNER = "ACTLOOP_STAND_IN_OF"
"""Of the processes of a sandbox: which test run they belong to, since several may be under way."""
_numbers = itertools.count(1)


_PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin:/usr/sbin:/sbin"
_APART = """
root=$(mktemp -d -p "$HOME") && mount -t tmpfs -o mode=755 none "$root"
for name in bin sbin lib lib32 lib64; do if [ -L /$name ]; then cp -P /$name "$root/"; fi; done
for name in bin sbin lib lib32 lib64 usr etc dev "$ENVIRONMENT" "$INTERPRETER"; do
    if [ -d "/$name" ] && [ ! -L "/$name" ]; then mkdir -p "$root/$name" && mount --rbind "/$name" "$root/$name"; fi
done
mkdir -p "$root/proc" "$root/root" "$root/tmp" && chmod 1777 "$root/tmp" && mount -t proc none "$root/proc"
ip link set lo up
exec env -u ENVIRONMENT -u INTERPRETER HOME=/root chroot "$root" "$@"
"""
"""Where the tests run as root, a sandbox has namespaces and a root of its own, as in the service."""


@cache
def _isolated() -> list[str]:
    """What a command is begun with, so that it has no network and ends with all that it started."""
    apart = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--", "sh", "-ec", _APART]
    apart.append("sh")
    if os.geteuid() or not shutil.which("unshare"):
        return []
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run([*apart, "python3", "-c", "0"], capture_output=True, env=_variables(folder), check=False)
    return [] if tried.returncode else apart


def _variables(folder: str) -> dict[str, str]:
    """The environment of a sandbox."""
    own = {"ENVIRONMENT": sys.prefix, "INTERPRETER": sys.base_prefix}
    return {"PATH": _PATH, "HOME": folder} | (own if not os.geteuid() else {})


def processes_of(sandbox_id: str = "") -> list[int]:
    """The live processes of a sandbox, or of all sandboxes of this test run."""
    wanted = (f"{_MARK}={sandbox_id}" if sandbox_id else f"{_OWNER}={os.getpid()}").encode()
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                variables = (folder / "environ").read_bytes().split(b"\0")
                if wanted in variables:
                    found.append(int(folder.name))
    return found


class Command:
    """A command that runs in a sandbox.

    Attributes:
        taken: Bytes of its input that have come.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._written = {"stdout": bytearray(), "stderr": bytearray()}
        self._open = {"stdout", "stderr"}
        self._changed = asyncio.Condition()
        self._writing = asyncio.Lock()
        self.process: Process | None = None

    async def follow(self, process: Process) -> None:
        """Collect what it writes until it has ended."""
        self.process = process
        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.gather(self._collect("stdout", process.stdout), self._collect("stderr", process.stderr))
        await process.wait()

    async def _collect(self, name: str, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(1 << 16):
            async with self._changed:
                self._written[name] += data
                self._changed.notify_all()
        async with self._changed:
            self._open.discard(name)
            self._changed.notify_all()

    async def more(self, name: str, offset: int) -> bytes:
        """What it has written to a stream from there on; empty at the end."""
        written = self._written[name]
        async with self._changed:
            await self._changed.wait_for(lambda: name not in self._open or len(written) > offset)
            return bytes(written[offset : offset + (1 << 16)])

    async def write(self, offset: int, data: bytes, end: bool) -> None:
        """Write into its input what has not come yet."""
        async with self._writing:
            assert self.process is not None
            assert self.process.stdin is not None
            assert offset <= self.taken, "a part of the input is missing"
            new = data[self.taken - offset :]
            self.taken += len(new)
            self.process.stdin.write(new)
            await self.process.stdin.drain()
            if end:
                self.process.stdin.close()


class Machine:
    """A sandbox of the service.

    Attributes:
        why_over: What ended it; empty while it lives.
    """

    def __init__(self, definition: api_pb2.Sandbox, tags: dict[str, str], old: bool) -> None:
        number = int(f"{os.getpid()}{next(_numbers):06}")
        self.id = f"sb-{number:022d}" if old else f"sb-new-{number}"
        self.task_id = f"ta-{number}{'' if old else 'V'}"
        self.definition = definition
        self.tags = tags
        self.commands: dict[str, Command] = {}
        self.why_over = ""
        self._folder = tempfile.mkdtemp(prefix="modal-")
        self._running = 0
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.call_later(definition.timeout_secs, self.end, "time-out")
        self._watch_idleness()

    def _watch_idleness(self) -> None:
        if self.definition.idle_timeout_secs and not self._running and not self.why_over:
            self._idle = self._loop.call_later(self.definition.idle_timeout_secs, self.end, "idle")

    async def start(self, exec_id: str, arguments: Sequence[str]) -> None:
        """Run a command in it."""
        if exec_id in self.commands:
            return
        command = self.commands[exec_id] = Command()
        variables = {**_variables(self._folder), _MARK: self.id, _OWNER: str(os.getpid())}
        process = await asyncio.create_subprocess_exec(
            *_isolated(), *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=self._folder, env=variables
        )
        self._running += 1
        if self._idle is not None:
            self._idle.cancel()
        task = self._loop.create_task(self._follow(command, process))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, command: Command, process: Process) -> None:
        try:
            await command.follow(process)
        finally:
            self._running -= 1
            self._watch_idleness()

    def end(self, why: str) -> None:
        """End everything that runs in it."""
        if self.why_over:
            return
        self.why_over = why
        for _ in range(20):  # a process may just be starting another
            left = processes_of(self.id)
            for process in left:
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
            if not left:
                break
        shutil.rmtree(self._folder, ignore_errors=True)

    async def over(self) -> None:
        """Wait until all its commands have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
