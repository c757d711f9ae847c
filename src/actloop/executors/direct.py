"""Executors that open sessions, called directly: each has a session of its own besides those of runs."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import copy
import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import InterpreterError
from actloop.executors.checks import check_arguments, checked_dict, checked_tools
from actloop.executors.locks import ForkSafeLock
from actloop.executors.session import Call, Finished, RemoteTool
from actloop.executors.snapshots import check_snapshot
from actloop.executors.waiting import BlockingWaiter, run_now

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from actloop.executors.session import Session, Snapshot, Waiter
    from actloop.executors.workspace import WorkspaceFile


@dataclass
class CodeOutput:
    """What came of a program: the value of its last expression or its final answer, and what it printed."""

    output: Any
    logs: str
    is_final_answer: bool


class PythonExecutor(ABC):
    """Base class of executors of your own: an agent sends it tools and variables, then programs, one after another."""

    @abstractmethod
    def send_tools(self, tools: dict[str, Any]) -> None:
        """Make tools callable by programs, under their names."""

    @abstractmethod
    def send_variables(self, variables: dict[str, Any]) -> None:
        """Make variables visible to programs."""

    @abstractmethod
    def __call__(self, code_action: str) -> CodeOutput:
        """Run a program.

        Raises:
            InterpreterError: It failed.
        """


class SessionExecutor(PythonExecutor):
    """Opens sessions for the runs of agents, and has one of its own for being called directly.

    It may be shared between threads and runs; direct calls are made one at a time.

    Args:
        additional_functions: Functions of the caller that programs may call; they run in the caller's process.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check what the constructor is given, before it begins."""
        check_arguments(cls, args, kwargs)
        return super().__new__(cls)

    def __init__(self, additional_functions: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self.additional_functions = dict(additional_functions or {})
        self._session: Session | None = None
        self._opened: weakref.ref[Session] | None = None
        self._tools: dict[str, Any] = {}
        self._variables: dict[str, Any] = {}
        self._logs = ""
        self._files: dict[str, WorkspaceFile] = {}
        self._lock = ForkSafeLock()
        self._waiter = BlockingWaiter()

    @abstractmethod
    async def open_session(self, waiter: Waiter, snapshot: Snapshot | None = None) -> Session:
        """A fresh session for a run: without variables, or with those of a snapshot.

        Raises:
            SandboxUnavailableError: This machine cannot isolate code.
            InterpreterError: The snapshot cannot be restored.
        """

    def send_tools(self, tools: dict[str, Any]) -> None:
        """Make tools callable by programs: `Tool` objects or plain functions, which run in the caller's process.

        Raises:
            TypeError: They are no tools by their names.
        """
        tools = checked_tools("send_tools", tools)
        with self._lock:
            self._tools.update(tools)
            if self._session is not None and self._session.alive:
                run_now(self._session.define(self._waiter, tools=_remote(tools)))

    def send_variables(self, variables: dict[str, Any]) -> None:
        """Make variables visible to programs.

        Raises:
            InterpreterError: One cannot be sent; the message names it.
            TypeError: They are no variables by their names.
        """
        variables = checked_dict("send_variables", variables, "variables")
        with self._lock:
            self._variables.update(variables)
            if self._session is not None and self._session.alive:
                run_now(self._session.define(self._waiter, variables=variables))

    def __call__(self, code_action: str) -> CodeOutput:
        """Run a program in this executor's own session; variables live on from call to call.

        Raises:
            InterpreterError: It failed; the message is the traceback and a hint.
            SandboxUnavailableError: This machine cannot isolate code.
            TypeError: It is no text.
        """
        if not isinstance(code_action, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a program is a text (str); got {type(code_action).__name__}")
        with self._lock:
            return run_now(self._run(code_action))

    async def _run(self, code: str) -> CodeOutput:
        session = await self._own_session()
        await session.start(code, self._waiter)
        answer: tuple[Any] | None = None
        try:
            while True:
                event = await session.receive(self._waiter)
                if isinstance(event, Call):
                    answer = await self._answer(session, event) or answer
                elif isinstance(event, Finished):
                    break
        except BaseException:
            session.close()  # what the program is doing is not known any more
            raise
        notice = await self._take_files(session)
        self._logs = f"{event.logs}{notice}\n" if notice else event.logs
        if answer is not None:
            return CodeOutput(answer[0], self._logs, is_final_answer=True)
        if event.failure is not None:
            parts = (event.failure.traceback.rstrip(), event.failure.hint, notice)
            raise InterpreterError("\n".join(part for part in parts if part))
        return CodeOutput(event.output, self._logs, is_final_answer=False)

    async def _take_files(self, session: Session) -> str:
        """Take over what a program did to the workspace; a notice of what was not taken."""
        changes = await session.take_files(self._waiter)
        if not changes:
            return ""
        from actloop.executors.workspace import merged

        self._files = merged(self._files, changes)
        return changes.notice()

    @property
    def files(self) -> list[WorkspaceFile]:
        """What programs made or changed in the workspace when this was called without an agent, by name."""
        return [file for _, file in sorted(self._files.items())]

    async def _own_session(self) -> Session:
        if self._session is None or not self._session.alive:
            session = self._session = await self.open_session(self._waiter)
            await session.define(self._waiter, tools=_remote(self._callable()), variables=self._variables)
        return self._session

    def _callable(self) -> dict[str, Any]:
        """What programs may call when the executor is called without an agent."""
        return {**self.additional_functions, **self._tools}

    async def _answer(self, session: Session, call: Call) -> tuple[Any] | None:
        """Perform a call; a final answer in a tuple of one, if it was that."""
        try:
            value = call_on_host(self._callable()[call.name], call.args, call.kwargs)
        except Exception as error:
            await session.fail(call.id, type(error).__name__, str(error), self._waiter)
            return None
        if call.name == "final_answer":
            await session.stop(call.id, self._waiter)
            return (value,)
        await session.answer(call.id, value, self._waiter)
        return None

    @property
    def state(self) -> dict[str, Any]:
        """A copy of the variables of this executor's own session, and what it last printed as `_print_outputs`.

        One that was never called itself shows those of the latest run that it ran programs of, once that has ended.
        """
        with self._lock:
            values = dict(self._variables)
            session = self._session or (self._opened() if self._opened is not None else None)
            if session is not None and session.alive:
                with contextlib.suppress(InterpreterError):  # a program runs in it just now
                    values |= _named(run_now(session.read(self._waiter)))
            return {"__name__": "__main__", **values, "_print_outputs": self._logs}

    def snapshot(self) -> Snapshot:
        """The variables of this executor's own session as they are now; its `left_out` says what could not be taken.

        Raises:
            InterpreterError: They cannot be taken.
        """
        with self._lock:
            return run_now(run_now(self._own_session()).snapshot(self._waiter))

    def restore(self, snapshot: Snapshot) -> None:
        """Give this executor's own session the variables of a snapshot.

        They come to those that it has, and replace those of the same names; its tools stay as they are. Everything
        that is restored is a copy, of a class, too: it is not the class of objects that were there before.

        Raises:
            InterpreterError: The snapshot is of another kind of executor or another version of Python, or damaged:
                nothing has changed then.
            TypeError: It is no snapshot.
        """
        check_snapshot(snapshot)
        with self._lock:
            run_now(run_now(self._own_session()).restore(snapshot, self._waiter))

    def fork(self) -> Self:
        """An executor of the same settings, whose own session begins with copies of the variables of this one's.

        What a snapshot leaves out, it lacks. What is done in one of the two is not seen in the other; the tools are the
        same. Close both.

        Raises:
            InterpreterError: The variables cannot be taken.
        """
        with self._lock:
            other = copy.copy(self)
            other._set_apart()
            snapshot = self.snapshot() if self._session is not None and self._session.alive else None
        if snapshot is not None:
            try:
                other.restore(snapshot)
            except BaseException:
                other.cleanup()
                raise
        return other

    def _set_apart(self) -> None:
        """Called on a fork, which begins as a copy of its origin: give it its own of what the two cannot share.

        Lists, dicts and sets are copied here. A class that has more of that kind, such as processes that it keeps
        ready, extends this.
        """
        for name, value in list(vars(self).items()):
            if isinstance(value, list | dict | set):
                setattr(self, name, copy.copy(cast("Any", value)))
        self._lock = ForkSafeLock()
        self._session = self._opened = None

    def cleanup(self) -> None:
        """End this executor's own session; idempotent. A later call starts another."""
        with self._lock:
            if self._session is not None:
                self._session.close()
            self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cleanup()


def _named(values: Any) -> dict[str, Any]:
    """A guest's answer, which ought to be variables by their names."""
    if type(values) is not dict:
        return {}
    return {name: value for name, value in cast("dict[Any, Any]", values).items() if type(name) is str}


def _remote(tools: Mapping[str, Any]) -> list[RemoteTool]:
    """Tools as a guest knows them; a builtin under its own name is left to the guest, which has it."""
    return [
        RemoteTool(name, is_async=inspect.iscoroutinefunction(getattr(tool, "forward", tool)))
        for name, tool in tools.items()
        if tool is not getattr(builtins, name, None)
    ]


def call_on_host(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call a function in this thread; of an asynchronous one, the awaited result."""
    value = function(*args, **kwargs)
    if not inspect.iscoroutine(value):
        return value
    with asyncio.Runner() as runner:
        return runner.run(value)
