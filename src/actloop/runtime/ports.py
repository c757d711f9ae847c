"""How a runtime waits, calls functions and starts work: once blocking, once on asyncio.

Everything above is written once, as coroutines. Under `Blocking` no coroutine ever suspends, so `run_now` and
`iterate_now` drive it to its end without an event loop; under `Asyncio` it runs in the caller's loop and never blocks
it.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import select
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from actloop.errors import AgentInterruptedError
from actloop.executors.waiting import run_now
from actloop.values.smallness import is_small

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator

    from actloop.models.base import Model
    from actloop.values.messages import ChatMessage, ChatMessageStreamDelta

T = TypeVar("T")


class Interrupt:
    """A flag that ends a run, and wakes whoever waits for something else. Callable from any thread."""

    def __init__(self) -> None:
        self.is_set = False
        self._lock = threading.RLock()  # a signal handler may interrupt a run in the thread that holds it
        self._wakers: list[Callable[[], None]] = []

    def set(self) -> None:
        """Ask the run to end."""
        with self._lock:
            self.is_set = True
            for wake in self._wakers.copy():
                wake()

    def clear(self) -> None:
        """Take the request back, once it has been served."""
        self.is_set = False

    def add_waker(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when the flag is set; at once if it is."""
        with self._lock:
            self._wakers.append(wake)
            already = self.is_set
        if already:
            wake()

    def remove_waker(self, wake: Callable[[], None]) -> None:
        """Undo `add_waker`."""
        with self._lock:
            self._wakers.remove(wake)

    def check(self) -> None:
        """Raise `AgentInterruptedError` if the flag is set."""
        if self.is_set:
            raise AgentInterruptedError("Agent interrupted.")


class Handle(Protocol):
    """Work that was started and goes on by itself."""

    async def wait(self) -> None:
        """Wait for its end; raises what it raised."""
        ...

    def cancel(self) -> None:
        """Stop what can be stopped; the rest goes on unheard. Callable from any thread."""
        ...


class Port(Protocol):
    """What a runtime needs of the world. It is a `Waiter`, too."""

    interrupt: Interrupt

    async def ready(self, fd: int, *, write: bool = False, timeout: float | None = None) -> bool:
        """As in `executors.session.Waiter`."""
        ...

    async def compute(self, function: Callable[..., T], *arguments: Any) -> T:
        """As in `executors.session.Waiter`."""
        ...

    def is_cancelled(self) -> bool:
        """Whether the caller itself is being cancelled, so that a `CancelledError` is its own."""
        ...

    async def call(self, function: Callable[[], T]) -> T:
        """Call a blocking function."""
        ...

    async def wait_for(self, make: Callable[[], Awaitable[T]]) -> T:
        """Call an asynchronous function and wait for its result."""
        ...

    async def call_either(self, blocking: Callable[[], T], awaited: Callable[[], Awaitable[T]]) -> T:
        """Call what has both forms, in the one that suits."""
        ...

    async def generate(self, model: Model, messages: list[ChatMessage], **options: Any) -> ChatMessage:
        """A model's whole reply."""
        ...

    def stream(
        self, model: Model, messages: list[ChatMessage], **options: Any
    ) -> AsyncIterator[ChatMessageStreamDelta]:
        """A model's reply in pieces."""
        ...

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Handle:
        """Start work that runs beside the caller."""
        ...

    def close(self) -> None:
        """Free what the port holds."""
        ...


def iterate_now(items: AsyncGenerator[T, None]) -> Generator[T]:
    """The items of an asynchronous generator that never suspends."""
    try:
        while True:
            try:
                item = run_now(items.__anext__())  # pyright: ignore[reportArgumentType]
            except StopAsyncIteration:
                return
            yield item
    finally:
        run_now(items.aclose())


class _Awaited:
    """What a piece of work awaits on the background loop; once it is cancelled, it awaits nothing more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: set[Future[Any]] = set()
        self._cancelled = False

    def add(self, future: Future[Any]) -> None:
        with self._lock:
            self._futures.add(future)
            cancelled = self._cancelled
        if cancelled:
            future.cancel()

    def discard(self, future: Future[Any]) -> None:
        with self._lock:
            self._futures.discard(future)

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            futures = list(self._futures)
        for future in futures:
            future.cancel()


class _BlockingHandle:
    def __init__(self, future: Future[None], awaited: _Awaited) -> None:
        self._future = future
        self._awaited = awaited

    async def wait(self) -> None:
        self._future.result()

    def cancel(self) -> None:
        self._future.cancel()
        self._awaited.cancel()


class Blocking:
    """Waits in the caller's own thread. Asynchronous functions are run on one loop in a thread of its own."""

    def __init__(self, interrupt: Interrupt) -> None:
        self.interrupt = interrupt
        self._wake: tuple[int, int] | None = None
        self._pool: ThreadPoolExecutor | None = None

    async def ready(self, fd: int, *, write: bool = False, timeout: float | None = None) -> bool:
        """Wait with poll; an interrupt wakes it through a pipe of its own."""
        self.interrupt.check()
        if self._wake is None:
            self._wake = os.pipe()
            self.interrupt.add_waker(self._wake_up)
        poll = select.poll()
        poll.register(fd, select.POLLOUT if write else select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        found = dict(poll.poll(None if timeout is None else max(0.0, timeout * 1000)))
        if self._wake[0] in found:
            self.interrupt.check()
            os.read(self._wake[0], 64)  # one that was served already
        return fd in found

    def _wake_up(self) -> None:
        wake = self._wake
        if wake is not None:
            os.write(wake[1], b"!")

    async def compute(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call it here."""
        return function(*arguments)

    def is_cancelled(self) -> bool:
        """Nothing cancels a thread."""
        return False

    async def call(self, function: Callable[[], T]) -> T:
        """Call it here: notebooks, database connections and plots expect the caller's own thread."""
        return function()

    async def wait_for(self, make: Callable[[], Awaitable[T]]) -> T:
        """Run it on the shared loop, with the caller's context variables."""
        return _background.run(make, _awaited.get())

    async def call_either(self, blocking: Callable[[], T], awaited: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002
        """Call the blocking form here."""
        return blocking()

    async def generate(self, model: Model, messages: list[ChatMessage], **options: Any) -> ChatMessage:
        """Ask in the caller's thread."""
        return model.generate(messages, **options)

    async def stream(
        self, model: Model, messages: list[ChatMessage], **options: Any
    ) -> AsyncGenerator[ChatMessageStreamDelta]:
        """Ask in the caller's thread; an interrupt ends it between two pieces."""
        for delta in model.generate_stream(messages, **options):
            self.interrupt.check()
            yield delta

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Handle:
        """Run it in a thread."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(256, thread_name_prefix="actloop-call")
        awaited = _Awaited()
        context = contextvars.copy_context()
        context.run(_awaited.set, awaited)
        return _BlockingHandle(self._pool.submit(context.run, lambda: run_now(work())), awaited)

    def close(self) -> None:
        """Close the pipe; threads that are still at work end by themselves."""
        if self._wake is not None:
            self.interrupt.remove_waker(self._wake_up)
            wake, self._wake = self._wake, None
            os.close(wake[0])
            os.close(wake[1])
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


class Asyncio:
    """Waits on the running event loop; blocking functions go to threads."""

    def __init__(self, interrupt: Interrupt) -> None:
        self.interrupt = interrupt
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ready(self, fd: int, *, write: bool = False, timeout: float | None = None) -> bool:
        """Wait with the loop's own selector; an interrupt resolves the wait."""
        self.interrupt.check()
        loop, found = self._loop, self._loop.create_future()

        def resolve(value: bool) -> None:
            if not found.done():
                found.set_result(value)

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed with the run pending
                loop.call_soon_threadsafe(resolve, False)

        add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
        add(fd, resolve, True)
        timer = None if timeout is None else loop.call_later(max(0.0, timeout), resolve, False)
        self.interrupt.add_waker(wake)
        try:
            is_ready = await found
        finally:
            self.interrupt.remove_waker(wake)
            remove(fd)
            if timer is not None:
                timer.cancel()
        self.interrupt.check()
        return is_ready

    async def call(self, function: Callable[[], T]) -> T:
        """Call it in a thread, with the caller's context variables."""
        context = contextvars.copy_context()
        return await self._loop.run_in_executor(
            _waiting.pool(), partial(context.run, partial(_without_control_flow, function))
        )

    async def compute(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call it here if its arguments are small; else in one of few threads, with the caller's context variables."""
        if all(map(is_small, arguments)):
            return function(*arguments)
        context = contextvars.copy_context()
        work = partial(_without_control_flow, partial(function, *arguments))
        submitted = _computing.pool().submit(context.run, work)
        done = asyncio.wrap_future(submitted)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            submitted.cancel()
            while not done.done():  # it does not work on unheard, on what its caller may end now
                with suppress(asyncio.CancelledError):  # asked for once more: this one is raised when it has ended
                    await asyncio.wait([done])
            raise

    def is_cancelled(self) -> bool:
        """Whether the current task was asked to end."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    async def wait_for(self, make: Callable[[], Awaitable[T]]) -> T:
        """Await it here."""
        return await make()

    async def call_either(self, blocking: Callable[[], T], awaited: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002
        """Await the asynchronous form here."""
        return await awaited()

    async def generate(self, model: Model, messages: list[ChatMessage], **options: Any) -> ChatMessage:
        """Await the model; an interrupt cancels the request."""
        return await self._interruptible(model.agenerate(messages, **options))

    async def stream(
        self, model: Model, messages: list[ChatMessage], **options: Any
    ) -> AsyncGenerator[ChatMessageStreamDelta]:
        """Await each piece; an interrupt ends it between two pieces."""
        async for delta in model.astream(messages, **options):
            self.interrupt.check()
            yield delta

    async def _interruptible(self, work: Coroutine[Any, Any, T]) -> T:
        task = self._loop.create_task(work)

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed with the run pending
                self._loop.call_soon_threadsafe(task.cancel)

        self.interrupt.add_waker(wake)
        try:
            return await task
        except asyncio.CancelledError:
            self.interrupt.check()
            raise
        finally:
            self.interrupt.remove_waker(wake)
            task.cancel()

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Handle:
        """Run it as a task."""
        task = self._loop.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _AsyncioHandle(task)

    def close(self) -> None:
        """Cancel tasks that are still at work."""
        for task in self._tasks:
            task.cancel()


class _AsyncioHandle:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def wait(self) -> None:
        await self._task

    def cancel(self) -> None:
        with suppress(RuntimeError):  # the loop was closed
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)


class _Background:
    """One event loop in a daemon thread, for asynchronous functions that are called from blocking code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner = 0

    def run(self, make: Callable[[], Awaitable[T]], awaited: _Awaited) -> T:
        result: Future[T] = Future()
        awaited.add(result)
        context = contextvars.copy_context()

        async def work() -> T:
            return await make()

        def begin() -> None:
            task = asyncio.ensure_future(work())
            result.add_done_callback(lambda _: loop.call_soon_threadsafe(task.cancel) if result.cancelled() else None)
            task.add_done_callback(lambda done: _pass_on(done, result))

        loop = self._running_loop()
        loop.call_soon_threadsafe(begin, context=context)
        try:
            return result.result()
        except BaseException:
            result.cancel()  # Ctrl-C in the waiting thread ends the work, too
            raise
        finally:
            awaited.discard(result)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._owner != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._owner = os.getpid()
                threading.Thread(target=self._loop.run_forever, name="actloop-async", daemon=True).start()
            return self._loop


def _pass_on(done: asyncio.Future[T], result: Future[T]) -> None:
    if result.cancelled():
        return
    if done.cancelled():
        result.set_exception(asyncio.CancelledError())
    elif (error := done.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(done.result())


def _without_control_flow(function: Callable[[], T]) -> T:
    """Call a function whose exceptions must pass through a future and a coroutine, which these two would break."""
    try:
        return function()
    except (StopIteration, GeneratorExit) as error:
        raise RuntimeError(f"{type(error).__name__} was raised where an error was expected") from error


_awaited: contextvars.ContextVar[_Awaited] = contextvars.ContextVar("actloop_awaited", default=_Awaited())  # noqa: B039
"""What the current piece of work awaits on the background loop, so that it can be cancelled."""

_background = _Background()


class _Threads:
    """Threads of asynchronous runs, made when they are first needed, and again in a fork."""

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._pool: ThreadPoolExecutor | None = None
        self._owner = 0

    def pool(self) -> ThreadPoolExecutor:
        """The threads."""
        if self._pool is None or self._owner != os.getpid():
            self._pool, self._owner = ThreadPoolExecutor(self._count, thread_name_prefix=self._name), os.getpid()
        return self._pool


_waiting = _Threads(256, "actloop-blocking")
"""For blocking tools and models. Far more than asyncio's default pool has: they mostly wait, and a run that waits must
not hold up a thousand others."""

_computing = _Threads(2, "actloop-computing")
"""For large values. Few: while one of them works, the event loop waits for the interpreter's lock, with all others that
do. Not those that wait: a value must not be held up by tools that wait for it."""
