"""A server that is started as a process and spoken to over its standard input and output.

The SDK has such a transport, too. This one trusts the process less: a message has a greatest length, what is no
message is skipped up to a limit, standard error goes to a log, and nothing of the process tree outlives the connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

from actloop.mcp.messages import OversizedMessageError, read_message

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from actloop.mcp.servers import Options, Server

_log = logging.getLogger("actloop.mcp.stderr")

_GRACE = 2.0
"""Seconds that a server has to end after its input was closed, and again after SIGTERM."""

_MOST_GARBAGE = 1000
"""Lines that are no messages before a server counts as broken: some print a banner."""

_TAIL = 2000
"""Last characters of standard error that an error message quotes."""

_running: set[StdioTransport] = set()


class StdioTransport:
    """One process. `open` starts it, and ends it with all of its children."""

    def __init__(self, server: Server, options: Options) -> None:
        self._parameters = server.stdio
        self._label = server.label
        self._limit = options.max_message_bytes
        self._process: Process | None = None
        self._pipe = -1
        self._told = ""
        self.fault = ""
        """Why the connection was given up, where the server is to blame."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[tuple[Any, Any]]:
        """Start the process; gives the streams that a session reads and writes.

        Raises:
            OSError: It cannot be started.
        """
        wanted = self._parameters
        process = self._process = await asyncio.create_subprocess_exec(
            wanted.command,
            *wanted.args,
            env=get_default_environment() | (wanted.env or {}),
            cwd=wanted.cwd,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=self._limit,
            start_new_session=True,
        )
        _running.add(self)
        assert process.stdin is not None
        self._pipe = process.stdin.get_extra_info("pipe").fileno()
        inward, read_stream = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write_stream, outward = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as group:
            group.start_soon(self._read, process, inward)
            group.start_soon(self._write, process, outward, inward)
            group.start_soon(self._read_log, process)
            try:
                yield read_stream, write_stream
            finally:
                with anyio.CancelScope(shield=True):
                    read_stream.close()
                    write_stream.close()
                    await self._end(process)
                    inward.close()
                    outward.close()
                _running.discard(self)
                group.cancel_scope.cancel()

    async def _read(self, process: Process, inward: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        assert process.stdout is not None
        garbage = 0
        with inward:
            while True:
                try:
                    line = await process.stdout.readuntil(b"\n")
                except asyncio.IncompleteReadError:
                    return
                except asyncio.LimitOverrunError:
                    self.fault = f"it sent a message of more than {self._limit} bytes"
                    break
                try:
                    message = read_message(line)
                except OversizedMessageError as error:
                    self.fault = str(error)
                    break
                if message is None:
                    garbage += bool(line.strip())
                    if garbage > _MOST_GARBAGE:
                        self.fault = f"it wrote more than {_MOST_GARBAGE} lines that are no messages to its output"
                        break
                    continue
                try:
                    await inward.send(message)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    break
        with suppress(OSError):  # a process that still writes could not end
            while await process.stdout.read(1 << 16):
                pass

    async def _write(
        self,
        process: Process,
        outward: MemoryObjectReceiveStream[SessionMessage],
        inward: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        assert process.stdin is not None
        encoding, errors = self._parameters.encoding, self._parameters.encoding_error_handler
        try:
            async with outward:
                async for item in outward:
                    text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                    process.stdin.write(f"{text}\n".encode(encoding, errors))
                    await process.stdin.drain()
        except OSError:  # it has ended, or closed its input: nobody will be answered
            inward.close()

    async def _read_log(self, process: Process) -> None:
        assert process.stderr is not None
        with suppress(OSError):
            while chunk := await process.stderr.read(1 << 14):
                text = chunk.decode("utf-8", "replace")
                self._told = (self._told + text)[-_TAIL:]
                for line in text.splitlines():
                    _log.info("%s: %s", self._label, line)

    async def _end(self, process: Process) -> None:
        """Close its input, as the protocol has it; then end whoever is left of its process group."""
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        if not await _ended(process, _GRACE):
            self._signal(process, signal.SIGTERM)
            await _ended(process, _GRACE)
        self._signal(process, signal.SIGKILL)
        await _ended(process, _GRACE)
        # A child that left the group may hold the pipes open; nothing public closes our ends.
        transport = getattr(process, "_transport", None)
        if transport is not None:
            with suppress(OSError):
                transport.close()

    @staticmethod
    def _signal(process: Process, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)

    def kill(self) -> None:
        """End the process at once; callable from any thread."""
        if self._process is not None:
            self._signal(self._process, signal.SIGKILL)

    def let_go(self) -> None:
        """In a fork of this process: hold the server's input open no longer, so that its owner can end it."""
        if self._pipe < 0:
            return
        with suppress(OSError):
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(null, self._pipe, inheritable=False)
            os.close(null)

    def epitaph(self) -> str:
        """What is known of the end of the process, for an error message."""
        parts = [self.fault] if self.fault else []
        code = self._process.returncode if self._process is not None else None
        if code is not None and not self.fault:
            parts.append(f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}")
        if self._told.strip():
            parts.append(f"its standard error ends with:\n{self._told.strip()}")
        return "; ".join(parts)


async def _ended(process: Process, timeout: float) -> bool:
    # `process.wait()` would wait for the pipes, too, which a child of the server may hold.
    deadline = asyncio.get_running_loop().time() + timeout
    while process.returncode is None:
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(0.005)
    return True


def _after_fork() -> None:
    for transport in list(_running):
        transport.let_go()


os.register_at_fork(after_in_child=_after_fork)
