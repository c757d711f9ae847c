"""A session in Monty: the session contract over a worker that runs in a thread of its own."""

from __future__ import annotations

import keyword
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import AgentError, InterpreterError, SandboxUnavailableError
from actloop.executors.forks import forked
from actloop.executors.monty import endings, failures, lacks, prelude
from actloop.executors.monty.clock import Clock
from actloop.executors.monty.engine import Done, Engine
from actloop.executors.monty.pool import Bounds
from actloop.executors.monty.running import ENDED, Running, Speech
from actloop.executors.monty.snapshots import LONGEST_NAME, Dump, Saved, dumped, names_told, packed, swap, unpacked
from actloop.executors.monty.source import read_program
from actloop.executors.monty.values import Codec, joined
from actloop.executors.monty.workers import WORKERS
from actloop.executors.session import LOST, Call, Finished, GuestFailure, Printed, Session
from actloop.guest import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from actloop.executors.forks import Opener
    from actloop.executors.monty.pool import Checkout
    from actloop.executors.monty.source import Program
    from actloop.executors.session import RemoteTool, SandboxLimits, Waiter
    from actloop.executors.snapshots import Snapshot

GRACE = 0.1
"""Seconds after a program's time before the worker is killed: Monty mostly ends it by itself, and tells the line."""

INTERRUPT_GRACE = 0.3
"""Seconds that a program may take to end after the user's interrupt: it does when it sleeps or calls."""

STOP_GRACE = 0.5
"""Seconds that a program may take to end after its answer was given."""

START = 30.0
"""Seconds that a worker may take for what is asked of it between two programs, where time has no limit."""

_END = 5.0
_MOST_NAMES = 10_000


class MontySession(Session):
    """A session in Monty; its methods may be called from several threads at once, `receive` from one.

    Args:
        limits: What it is held to.
        opener: Opens another session of the same executor, for `fork`.
    """

    def __init__(self, limits: SandboxLimits, opener: Opener | None = None) -> None:
        self._limits = limits
        self._opener = opener
        self._bounds = Bounds(limits.memory, limits.wall, limits.value)
        self._mark = ""
        self._codec = Codec(limits.value)
        self._lock = threading.RLock()
        self._tools: dict[str, RemoteTool] = {}
        self._names: dict[str, None] = {}
        self._classes: dict[str, list[str]] = {}
        self._feeds: dict[str, tuple[str, str]] = {}
        self._running: Running | None = None
        self._refusal: GuestFailure | None = None
        self._asking = self._timed_out = self._cut = False
        self._steps = 0
        self._logs: list[str] = []
        self._timer: threading.Timer | None = None
        self._alive = True
        # Nothing that the thread keeps may lead to the session: it ends when nobody else has it any more.
        self._engine = Engine(partial(WORKERS.take, self._bounds))

    # ---- between two programs

    async def wait_ready(self, waiter: Waiter) -> None:
        """Wait until there is a worker.

        Raises:
            SandboxUnavailableError: There is none.
        """
        self._asking = True
        try:
            self._mark = await self._told(waiter, START)
        except AgentError:
            raise
        except Exception as error:
            raise SandboxUnavailableError(f"Monty did not start: {error}") from error

    async def define(
        self, waiter: Waiter, *, tools: Sequence[RemoteTool] = (), variables: Mapping[str, Any] | None = None
    ) -> None:
        """As in `Session`."""
        given: list[tuple[str, str]] = []
        for name, value in (variables or {}).items():
            try:
                given.append((name, await waiter.compute(self._codec.text, value)))
            except Exception as error:
                raise InterpreterError(f"The variable {name!r} cannot be sent into the sandbox: {error}") from error
        fresh = [tool for tool in tools if tool.name.isidentifier() and not keyword.iskeyword(tool.name)]
        self._tools |= {tool.name: tool for tool in fresh}
        self._know(variables or ())
        given = [(name, text) for name, text in given if name.isidentifier() and not keyword.iskeyword(name)]
        if not fresh and not given:
            return

        def define(checkout: Checkout) -> None:
            if fresh:
                checkout.feed(prelude.wrappers(fresh))
            for name, text in given:
                checkout.feed(prelude.binding(name), __actloop_given=text)

        await self._ask(define, waiter, "take variables")

    async def read(self, waiter: Waiter) -> dict[str, Any]:
        """As in `Session`."""
        return await self._variables(waiter, exactly=False)

    async def read_exactly(self, waiter: Waiter) -> dict[str, Any]:
        """As `read`, with records that tell what arrives as something else otherwise; see `prelude.telling`."""
        return await self._variables(waiter, exactly=True)

    async def _variables(self, waiter: Waiter, *, exactly: bool) -> dict[str, Any]:
        code = prelude.telling(self._tools, values=True, exactly=exactly)
        told = await self._ask(lambda checkout: self._hear(checkout, code), waiter, "tell its variables")
        try:
            return cast("dict[str, Any]", (await waiter.compute(self._codec.value, told))["value"])
        except (WireError, KeyError, TypeError) as error:
            raise InterpreterError(f"The sandbox told its variables wrongly: {error}") from None

    async def shared(self, waiter: Waiter) -> list[list[str]]:
        """Names of variables that have an object in common which may change, together; one name for parts of itself.

        An empty name says that not all was looked at.
        """
        told = await self._ask(
            lambda checkout: self._hear(checkout, prelude.sharing(self._tools)), waiter, "tell its variables"
        )
        try:
            pairs: Any = self._codec.value(told)["value"]
            named = [(str(one), str(other)) for one, other in pairs[: prelude.MOST_SHARED + 1]]
            return joined([pair for pair in named if all(len(name) <= LONGEST_NAME for name in pair)])
        except (WireError, KeyError, TypeError, ValueError) as error:
            raise InterpreterError(f"The sandbox told its variables wrongly: {error}") from None

    def _hear(self, checkout: Checkout, code: str) -> str:
        speech = Speech(self._mark, self._limits.value, lambda _: None)
        checkout.feed(code, speech)
        return speech.taken() or "{}"

    async def snapshot(self, waiter: Waiter, *, without: Collection[str] = ()) -> Snapshot:
        """As in `Session`; everything can be taken."""
        unwanted = [name for name in without if name.isidentifier() and not keyword.iskeyword(name)]
        code = prelude.telling(self._tools, values=False)

        def take(checkout: Checkout) -> tuple[str, Dump]:
            return self._hear(checkout, code), dumped(checkout, unwanted)

        told, dump = await self._ask(take, waiter, "take a snapshot")
        return packed(Saved(dump, self._classes, names_told(told, unwanted)), self._bounds)

    async def restore(self, snapshot: Snapshot, waiter: Waiter) -> None:
        """As in `Session`. Of the variables that the session has, those are kept that can be sent.

        The library that loads it trusts a snapshot: give it those only that this program has made.
        """
        saved = unpacked(snapshot, self._bounds)
        used = bool(self._steps or self._names)
        had = await self.read(waiter) if used else {}
        kept = {name: value for name, value in had.items() if name not in saved.names}

        def load(checkout: Checkout) -> None:
            swap(checkout, saved.dump, self._engine.replace, self._equip, used=used)

        await self._ask(load, waiter, "restore a snapshot", deadly=False)
        self._classes |= saved.classes
        self._feeds.clear()
        self._know(saved.names)
        await self.define(waiter, variables=kept)

    def _equip(self, checkout: Checkout) -> None:
        """Tell another worker what this session has beside its variables."""
        checkout.feed(prelude.setting(self._mark, self._limits.value))
        checkout.feed(prelude.wrappers(self._tools.values()))

    async def fork(self, waiter: Waiter, *, without: Collection[str] = ()) -> Session:
        """As in `Session`."""
        return await forked(self, self._opener, self._tools.values(), waiter, without)

    async def _ask(self, job: Callable[[Checkout], Any], waiter: Waiter, what: str, *, deadly: bool = True) -> Any:
        """Have something done between two programs.

        Raises:
            InterpreterError: It could not be done; the session is lost then, unless it is not `deadly`.
        """
        with self._lock:
            self._check_free(what)
            self._asking = True
        self._engine.do(job)
        try:
            return await self._told(waiter, self._limits.wall or START)
        except AgentError:
            raise
        except Exception as error:
            if deadly:
                self.close()
            raise InterpreterError(f"The sandbox could not {what}: {error}{' ' + LOST if deadly else ''}") from error

    async def _told(self, waiter: Waiter, timeout: float) -> Any:
        until = time.monotonic() + timeout + GRACE
        try:
            while (left := until - time.monotonic()) > 0 and self._alive:
                event = await self._engine.next(waiter, left)
                if isinstance(event, Done):
                    if event.error is not None:
                        raise event.error
                    self._asking = False
                    return event.value
        except BaseException as error:
            self._asking = False
            if not isinstance(error, Exception) or isinstance(error, AgentError):
                self.close()
            raise
        self.close()
        raise InterpreterError(f"The sandbox died or took too long. {LOST}")

    def _know(self, names: Any) -> None:
        self._names |= dict.fromkeys(name for name in names if not name.startswith("__"))
        while len(self._names) > _MOST_NAMES:
            del self._names[next(iter(self._names))]

    # ---- a program

    async def start(self, code: str, waiter: Waiter) -> None:
        """As in `Session`."""
        with self._lock:
            self._check_free("start a program")
            self._steps += 1
            self._logs = []
            self._timed_out = False
            self._asking = True  # nothing else may begin while the program is read
            self._cut = False
        name = failures.step(self._steps)
        try:
            found = await waiter.compute(_read, code, name, self._limits.value)
        finally:
            self._asking = False
        with self._lock:
            self._check_free("start a program")
            if isinstance(found, GuestFailure):
                self._refusal = found
            else:
                self._run(found, name)
                if self._cut:
                    self.interrupt()

    def _check_free(self, what: str) -> None:
        """Fail when something else goes on, or nothing may any more; the lock is held."""
        if not self._alive:
            raise InterpreterError("The sandbox is closed; open a new session.")
        if self._running is not None or self._refusal is not None or self._asking:
            raise InterpreterError(f"The sandbox cannot {what} now: another program runs")

    def _run(self, program: Program, name: str) -> None:
        fresh = {kind: names for kind, names in program.classes.items() if self._classes.get(kind) != names}
        self._classes |= fresh
        running = Running(
            self._engine.post,
            self._codec,
            program.fed,
            tools=frozenset(self._tools),
            awaits=program.awaits,
            speech=(self._mark, self._limits.value),
            output=self._limits.output,
            clock=Clock(self._limits.wall, self._engine.wake),
        )
        if fresh:
            running.before = prelude.knowing(fresh)
        self._running = running
        self._program = (name, program.source)
        self._know(program.names)
        self._engine.run(running)

    async def receive(self, waiter: Waiter) -> Call | Printed | Finished:
        """As in `Session`."""
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            return Finished(None, "", refusal)
        running = self._running
        if not self._alive:
            return self._lost(endings.lost("SandboxCrash", "The sandbox is closed."))
        if running is None:
            raise InterpreterError("No program is running in the sandbox.")
        ended_by = 0.0
        while self._alive:
            left = running.clock.left
            timeout = None if left is None else max(0.0, left + GRACE)
            match await self._engine.next(waiter, _END if ended_by else timeout):
                case Printed(text):
                    text += "".join(more.text for more in self._engine.take(Printed))
                    self._logs.append(text)
                    return Printed(text)
                case Call() as call:
                    return call
                case Done() as done:
                    return self._finished(running, done)
                case _ if ended_by:
                    if time.monotonic() > ended_by:
                        return self._finished(running, Done(error=RuntimeError("it did not end")))
                case _:
                    left = running.clock.left
                    if left is not None and left <= -GRACE:
                        ended_by = time.monotonic() + _END
                        self._timed_out = True
                        self._engine.kill()
                        running.interrupt()
        return self._lost(endings.lost("SandboxCrash", "The sandbox is closed."))

    async def answer(self, call_id: int, value: Any, waiter: Waiter) -> None:
        """As in `Session`."""
        try:
            result: Any = {"return_value": await waiter.compute(self._codec.text, value)}
        except Exception as error:
            result = failures.raised("ValueError", f"the result cannot be sent into the sandbox: {error}")
        self._settle(call_id, result)

    async def fail(self, call_id: int, kind: str, message: str, waiter: Waiter) -> None:  # noqa: ARG002
        """As in `Session`."""
        self._settle(call_id, failures.raised(kind, message[: self._limits.value // 8]))

    async def stop(self, call_id: int, waiter: Waiter) -> None:  # noqa: ARG002
        """As in `Session`."""
        with self._lock:
            if self._running is not None:
                self._running.stopped = True
                self._running.clock.cut(STOP_GRACE)
        self._settle(call_id, ENDED)

    def _settle(self, call_id: int, result: Any) -> None:
        with self._lock:
            if self._running is not None and self._alive:
                self._running.answer(call_id, result)

    # ---- the end

    def _finished(self, running: Running, done: Done) -> Finished:
        with self._lock:
            self._running = None
            self._cancel_timer()
        logs, error = "".join(self._logs), done.error
        self._feeds[running.feed] = self._program
        if error is None:
            return Finished(None if running.stopped else done.value, logs)
        failure = endings.failure(
            error,
            running,
            self._limits.wall,
            killed=self._timed_out,
            feeds=self._feeds,
            name=self._program[0],
            known=[*self._names, *self._tools],
        )
        return Finished(None, logs, failure) if failure is None or not failure.lost else self._lost(failure)

    def _lost(self, failure: GuestFailure) -> Finished:
        self._engine.close(kill=True)
        self.close()
        return Finished(None, "".join(self._logs), failure)

    def interrupt(self) -> None:
        """As in `Session`."""
        with self._lock:
            running = self._running
            if running is None or not self._alive:
                self._cut = True  # for a program that is still being read
                return
            running.interrupt()
            if self._timer is None:
                self._timer = threading.Timer(INTERRUPT_GRACE, self._kill_if_running, (running,))
                self._timer.daemon = True
                self._timer.start()

    def _kill_if_running(self, running: Running) -> None:
        with self._lock:
            if self._running is running and self._alive:
                self._engine.kill(running)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """As in `Session`."""
        if self._engine.is_foreign:
            self._alive = False
            self._engine.close(kill=False)
            return
        with self._lock:
            busy = self._running is not None or self._asking
            self._alive = False
            self._cancel_timer()
        self._engine.close(kill=busy)

    def __del__(self) -> None:
        if getattr(self, "_engine", None) is not None:
            self.close()

    @property
    def alive(self) -> bool:
        """As in `Session`; a fork of the process that opened it has no session."""
        return self._alive and not self._engine.is_foreign


def _read(code: str, name: str, most: int) -> Program | GuestFailure:
    """A program of at most so many characters; or why it is none, or none that Monty would run as it says."""
    if len(code) > most:
        return failures.of_syntax(SyntaxError("the program is too large"), "", name)
    try:
        program = read_program(code)
    except SyntaxError as error:
        return failures.of_syntax(error, code, name)
    if (refused := lacks.unkept(program.tree)) is not None:
        return failures.of_refusal(refused[1], refused[0], program, name)
    return program
