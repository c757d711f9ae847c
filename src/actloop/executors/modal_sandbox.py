"""One sandbox of the service Modal, and the streams of the command that runs in it.

All calls of the service are made in an event loop in a thread of its own, whichever thread waits for them: so each can
be ended from outside, and none blocks or warns in a loop of the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar

from actloop.errors import SandboxUnavailableError
from actloop.executors.cloud import CloudStream
from actloop.executors.locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine, Iterator, Mapping
    from concurrent.futures import Future

    import modal

T = TypeVar("T")

_CALL = 30.0
"""Seconds that the service may take to find an app, or to begin a command."""

_END = 10.0
"""Seconds that a sandbox may take to be ended."""

_CHUNKS = 16
"""Pieces of output that are held until they are read."""


class _Loop:
    """An event loop in a daemon thread; a fork of this process gets one of its own."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner = 0
        self._tasks: set[asyncio.Future[Any]] = set()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have something done in the loop, from another thread."""
        with self._lock:
            if self._loop is None or self._owner != os.getpid():
                self._loop, self._owner = asyncio.new_event_loop(), os.getpid()
                threading.Thread(target=self._loop.run_forever, name="actloop-modal", daemon=True).start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin something in the loop, from within, that goes on whoever waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


LOOP = _Loop()


def wait_for(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """Do something in the loop and wait for it, at most so long.

    It is ended early when the main thread has: at its end Python waits for threads that wait here.

    Raises:
        TimeoutError: It took too long.
        SandboxUnavailableError: The program is ending.
    """
    future = LOOP.submit(asyncio.wait_for(work, seconds))
    ending = not threading.main_thread().is_alive()
    try:
        while True:
            try:
                return future.result(0.5)
            except TimeoutError:
                if future.done():
                    raise
                if not ending and not threading.main_thread().is_alive():
                    raise SandboxUnavailableError("this program is about to end") from None
    except BaseException:
        future.cancel()
        raise


def make_sandbox(app_name: str, options: Mapping[str, Any], within: float) -> ModalMachine:
    """Make a sandbox of the service.

    Args:
        app_name: The app of the service that it belongs to, unless the options hold one; made if there is none.
        options: Arguments of `modal.Sandbox.create`.
        within: Seconds that it may take, the building of an image included.

    Raises:
        TimeoutError: It took longer.
        Exception: What the service's library raised.
    """
    return wait_for(_made(app_name, options), within)


async def _made(app_name: str, options: Mapping[str, Any]) -> ModalMachine:
    import modal

    given = dict(options)
    app = given.pop("app", None)
    if app is None:
        async with asyncio.timeout(_CALL):
            app = await modal.App.lookup.aio(app_name, client=given.get("client"), create_if_missing=True)
    create: Any = modal.Sandbox.create  # whose types are known in part only
    making: asyncio.Task[modal.Sandbox] = LOOP.keep(create.aio(app=app, **given))
    try:
        return ModalMachine(await asyncio.shield(making), app)
    except asyncio.CancelledError:
        making.add_done_callback(_end_abandoned)
        raise


def _end_abandoned(making: asyncio.Future[modal.Sandbox]) -> None:
    """End a sandbox that was made when nobody waited for it any more."""

    async def end() -> None:
        with contextlib.suppress(Exception):  # the service's own time limits end it then
            await _ended(making.result())

    if not making.cancelled() and making.exception() is None:
        LOOP.keep(end())


async def _ended(sandbox: Any) -> None:
    await sandbox.terminate.aio()
    await sandbox.detach.aio()


class ModalMachine:
    """A sandbox of Modal's; a `cloud.Machine`.

    Attributes:
        app: The app that it belongs to.
    """

    def __init__(self, sandbox: modal.Sandbox, app: modal.App) -> None:
        self.name = sandbox.object_id
        self.app = app
        self._sandbox = sandbox

    def start(self, command: str, say: Callable[[str], object]) -> CloudStream:
        """As in `Machine`."""
        line = wait_for(_Line.begun(self._sandbox, command), _CALL)
        return CloudStream(line.output(), line.send, line.hang_up, say)

    def shut(self) -> None:
        """As in `Machine`: nothing, as it was never open for packages."""

    def prolong(self) -> None:
        """As in `Machine`: nothing, as a command runs in it."""

    def remove(self) -> None:
        """As in `Machine`."""
        wait_for(_ended(self._sandbox), _END)


class _Line:
    """The streams of a command in a sandbox; made in the loop, used by other threads."""

    def __init__(self, command: Any) -> None:
        self._command = command
        self._chunks: asyncio.Queue[tuple[str, bytes] | Exception | None] = asyncio.Queue(_CHUNKS)
        self._following = LOOP.keep(self._follow())
        self._lock = threading.Lock()
        self._open: set[Future[Any]] = set()
        self._closed = False

    @classmethod
    async def begun(cls, sandbox: modal.Sandbox, command: str) -> _Line:
        return cls(await sandbox.exec.aio("sh", "-c", command, text=False))

    async def _follow(self) -> None:
        async def follow(source: str, stream: AsyncIterable[bytes]) -> None:
            async for chunk in stream:
                await self._chunks.put((source, chunk))

        error: Exception | None = None
        try:
            await asyncio.gather(follow("stdout", self._command.stdout), follow("stderr", self._command.stderr))
        except Exception as failure:
            error = failure
        await self._chunks.put(error)

    def output(self) -> Iterator[tuple[str, bytes]]:
        """What it writes: the name of the stream and bytes; ends with the command or with `hang_up`."""
        while (chunk := self._do(self._chunks.get())) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def send(self, data: bytes) -> None:
        """Write into its standard input; blocks until the service has taken it."""

        async def write() -> None:
            self._command.stdin.write(data)
            await self._command.stdin.drain.aio()

        self._do(write())

    def _do(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do something in the loop and wait; None when `hang_up` comes first."""
        with self._lock:
            if self._closed:
                work.close()
                return None
            future = LOOP.submit(work)
            self._open.add(future)
        try:
            return future.result()
        except CancelledError:
            return None
        finally:
            with self._lock:
                self._open.discard(future)

    def hang_up(self) -> None:
        """End whatever waits for the command; idempotent, callable from any thread."""
        with self._lock:
            self._closed = True
            for future in self._open:
                future.cancel()

        async def stop() -> None:
            self._following.cancel()

        LOOP.submit(stop())
