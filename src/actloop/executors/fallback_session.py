"""A session that goes on in another executor when a program needs more than the present one has."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from actloop.errors import AgentError, InterpreterError
from actloop.executors.fallback_names import Definitions
from actloop.executors.fallback_values import has_collections, has_objects, making, plain
from actloop.executors.session import Call, Finished, GuestFailure, Printed, Session
from actloop.guest import Opaque, Record
from actloop.guest.imports import Imports

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from actloop.executors.session import RemoteTool, Waiter
    from actloop.executors.snapshots import Snapshot
    from actloop.executors.workspace import FileChanges
    from actloop.values.events import NetworkRequested

_TOO_SLOW = 0.05
"""Seconds that taking a copy of the variables may last before each program."""

_MOST_LISTED = 30


class Executors(Protocol):
    """Several executors, and how they are taken one after another.

    Attributes:
        executors: In the order in which they are tried.
    """

    executors: list[Any]

    async def open_from(self, first: int, waiter: Waiter) -> tuple[int, Session]:
        """A session of the first executor from a place on that is available, and its place."""
        ...

    def log(self, text: str) -> None:
        """Print a line."""
        ...


class FallbackSession(Session):
    """A session in one of several executors.

    Args:
        owner: Has the executors.
        place: The place of the present one.
        session: Its session.
    """

    def __init__(self, owner: Executors, place: int, session: Session) -> None:
        self._owner, self._place, self._session = owner, place, session
        self._tools: dict[str, RemoteTool] = {}
        self._definitions = Definitions()
        self._observer: Callable[[NetworkRequested], None] | None = None
        self._code = ""
        self._note = ""
        self._reason = ""
        self._checkpoint: Snapshot | None = None
        self._slow = self._touched = self._stopped = False

    @property
    def session(self) -> Session:
        """The session in the present executor."""
        return self._session

    @property
    def _executor(self) -> Any:
        return self._owner.executors[self._place]

    @property
    def _can_move(self) -> bool:
        return self._place + 1 < len(self._owner.executors) and hasattr(self._executor, "lacks")

    @property
    def _elsewhere(self) -> list[str]:
        """Modules that can be imported in the executors that follow."""
        following = self._owner.executors[self._place + 1 :]
        return [name for executor in following for name in getattr(executor, "authorized_imports", ("*",))]

    # ---- what is handed on

    async def define(
        self, waiter: Waiter, *, tools: Sequence[RemoteTool] = (), variables: Mapping[str, Any] | None = None
    ) -> None:
        """As in `Session`."""
        self._tools |= {tool.name: tool for tool in tools}
        self._definitions.forget((*self._tools, *(variables or ())))
        await self._session.define(waiter, tools=tools, variables=variables)

    async def answer(self, call_id: int, value: Any, waiter: Waiter) -> None:
        """As in `Session`."""
        await self._session.answer(call_id, value, waiter)

    async def fail(self, call_id: int, kind: str, message: str, waiter: Waiter) -> None:
        """As in `Session`."""
        await self._session.fail(call_id, kind, message, waiter)

    async def stop(self, call_id: int, waiter: Waiter) -> None:
        """As in `Session`."""
        self._stopped = True
        await self._session.stop(call_id, waiter)

    def interrupt(self) -> None:
        """As in `Session`."""
        self._session.interrupt()

    def close(self) -> None:
        """As in `Session`."""
        self._session.close()

    @property
    def alive(self) -> bool:
        """As in `Session`."""
        return self._session.alive

    async def read(self, waiter: Waiter) -> dict[str, Any]:
        """As in `Session`."""
        return await self._session.read(waiter)

    async def snapshot(self, waiter: Waiter, *, without: Collection[str] = ()) -> Snapshot:
        """As in `Session`; it is of the kind of the present executor."""
        return await self._session.snapshot(waiter, without=without)

    async def restore(self, snapshot: Snapshot, waiter: Waiter) -> None:
        """As in `Session`; the session goes on in the executor of the snapshot's kind, if that is a later one."""
        kinds = [getattr(executor, "kind", "") for executor in self._owner.executors]
        if snapshot.kind in kinds[self._place + 1 :]:
            await self._move(waiter, f"a snapshot of {snapshot.kind} is restored", kinds.index(snapshot.kind))
        self._definitions.clear()
        await self._session.restore(snapshot, waiter)

    async def fork(self, waiter: Waiter, *, without: Collection[str] = ()) -> Session:
        """As in `Session`; it begins in the present executor, and goes on elsewhere on its own."""
        inner = await self._session.fork(waiter, without=without)
        other = FallbackSession(self._owner, self._place, inner)
        other._tools = self._tools.copy()
        other.learn_from(self)
        other._definitions.forget(without)
        return other

    def learn_from(self, other: FallbackSession) -> None:
        """Know what a session knows whose variables this one has copies of: what its programs defined, and lack."""
        self._definitions = other._definitions.copy()
        self._note, self._reason, self._slow = other._note, other._reason, other._slow

    async def take_files(self, waiter: Waiter, masked: Callable[[str], str] | None = None) -> FileChanges | None:
        """As in `Session`."""
        return await self._session.take_files(waiter, masked)

    def observe(self, observer: Callable[[NetworkRequested], None]) -> None:
        """As in `Session`."""
        self._observer = observer
        self._session.observe(observer)

    async def rest(self, waiter: Waiter) -> None:
        """As in `Session`."""
        self._observer = None
        await self._session.rest(waiter)

    async def report(self, waiter: Waiter) -> None:
        """As in `Session`."""
        await self._session.report(waiter)

    # ---- programs

    async def start(self, code: str, waiter: Waiter) -> None:
        """As in `Session`."""
        self._code, self._checkpoint = code, None
        self._touched = self._stopped = False
        if self._can_move:
            reason = self._reason or await waiter.compute(self._executor.lacks, code, self._elsewhere)
            if reason:
                await self._try_to_move(waiter, reason)
        if self._can_move and not self._slow:
            began = time.monotonic()
            self._checkpoint = await self._session.snapshot(waiter)
            self._slow = time.monotonic() - began > _TOO_SLOW
        await self._session.start(code, waiter)

    async def receive(self, waiter: Waiter) -> Call | Printed | Finished:
        """As in `Session`."""
        if self._note and not self._touched:
            self._touched = True
            return Printed(self._note)
        while True:
            event = await self._session.receive(waiter)
            if not isinstance(event, Finished):
                self._touched = True
                return event
            if not (reason := await self._lacked(waiter, event.failure)):
                return await self._ended(waiter, event)
            untouched = not self._touched and self._checkpoint is not None
            if not untouched:
                return await self._ended(waiter, event, reason)
            if not await self._try_to_move(waiter, reason):
                return await self._ended(waiter, event)
            await self._session.start(self._code, waiter)
            if self._note:
                self._touched = True
                return Printed(self._note)

    async def _lacked(self, waiter: Waiter, failure: GuestFailure | None) -> str:
        if failure is None or failure.lost or not self._can_move:
            return ""
        return await waiter.compute(self._executor.lacked, failure, self._code, self._elsewhere)

    async def _ended(self, waiter: Waiter, event: Finished, reason: str = "") -> Finished:
        logs, self._note = self._note + event.logs, ""
        failure = event.failure
        self._checkpoint = None
        if self._can_move:
            ended = failure is None and not self._stopped
            await waiter.compute(partial(self._definitions.learn, ended=ended), self._code)
        if failure is not None and reason:
            self._reason = reason
            hint = (
                f"This sandbox lacks {reason}. The next program runs in another one that has it, with the variables. "
                "What was called and printed before the failure is done: do not do it again."
            )
            failure = replace(failure, hint=hint)
        elif failure is not None and self._can_move:
            failure = replace(failure, hint=self._why_not_allowed(failure) or failure.hint)
        return Finished(event.output, logs, failure)

    def _why_not_allowed(self, failure: GuestFailure) -> str:
        """Of a module that no executor may import: what the last one would have said of it; else nothing."""
        found = re.fullmatch(r"No module named '([\w.]+)'", failure.message)
        if failure.kind != "ModuleNotFoundError" or found is None:
            return ""
        last = self._owner.executors[-1]
        gate = Imports(
            self._elsewhere,
            {},
            network=getattr(last, "network", None) is not None,
            files=getattr(last, "workspace", None) is not None,
        )
        return f"{gate.refusal(found[1])}."

    # ---- going on elsewhere

    async def _try_to_move(self, waiter: Waiter, reason: str) -> bool:
        """Go on in the next executor that is available; False if there is none."""
        try:
            await self._move(waiter, reason, self._place + 1)
        except AgentError as error:
            self._owner.log(f"Programs cannot go on in the next executor: {error}")
            return False
        return True

    async def _move(self, waiter: Waiter, reason: str, first: int) -> None:
        place, fresh = await self._owner.open_from(first, waiter)
        try:
            values, shared = await self._variables(waiter)
            await fresh.define(waiter, tools=list(self._tools.values()))
            left, bare = await self._hand_over(fresh, values, waiter)
        except BaseException:
            fresh.close()
            raise
        if self._observer is not None:
            fresh.observe(self._observer)
        old, self._session = self._session, fresh
        before, self._place = type(self._executor).__name__, place
        old.close()
        self._reason, self._checkpoint = "", None
        after = type(self._executor).__name__
        self._owner.log(f"Programs go on in {after}: {before} lacks {reason}")
        self._note = _told(left, bare, shared)

    async def _variables(self, waiter: Waiter) -> tuple[dict[str, Any], list[list[str]]]:
        """The variables as they were before the present program, and which of them share something."""
        if self._checkpoint is None:
            return await _read(self._session, waiter), await _shared(self._session, waiter)
        copy: Session = await self._executor.open_session(waiter, self._checkpoint)
        try:
            return await _read(copy, waiter), await _shared(copy, waiter)
        finally:
            copy.close()

    async def _hand_over(
        self, fresh: Session, values: Mapping[str, Any], waiter: Waiter
    ) -> tuple[list[str], list[str]]:
        """Give the next session what can be given; names of the rest, and of what holds objects as plain data now."""
        missing: list[str] = []
        imported: set[str] = set()
        for name, source in self._definitions.imports.items():
            if name not in self._tools:
                (imported.add if await _define_again(fresh, source, waiter) else missing.append)(name)
        left: list[str] = []
        bare: list[str] = []
        for name, value in values.items():
            if name in self._tools:
                continue
            try:
                if _is_left(value):
                    raise InterpreterError("it cannot be sent")
                await fresh.define(waiter, variables={name: plain(value)})
            except InterpreterError:
                left.append(name)
            else:
                if has_collections(value) and not await _define_again(fresh, making(name), waiter):
                    left.append(name)
                elif has_objects(value):
                    bare.append(name)
        for name in left:
            source = self._definitions.functions.get(name, "")
            if name not in imported and (not source or not await _define_again(fresh, source, waiter)):
                missing.append(name)
        return list(dict.fromkeys(missing)), bare


async def _read(session: Session, waiter: Waiter) -> dict[str, Any]:
    """The variables, with records for what would arrive as something else."""
    exactly = getattr(session, "read_exactly", session.read)
    return await exactly(waiter)


async def _shared(session: Session, waiter: Waiter) -> list[list[str]]:
    """Names of variables that have a part in common, which will be as many parts as there are names."""
    tell = getattr(session, "shared", None)
    return await tell(waiter) if tell is not None else []


def _told(left: list[str], bare: list[str], shared: list[list[str]]) -> str:
    """What the model is told of a move; nothing if all is as it was."""
    parts: list[str] = []
    if left:
        parts.append(f"Not there any more, define again: {_listed(left)}.")
    if bare:
        parts.append(f"Objects in {_listed(bare)} are records now: their fields, without their class.")
    for group in shared[:_MOST_LISTED]:
        names = [name for name in group if name not in left]
        if group == [""]:
            parts.append("Other variables may have had objects in common and have copies now.")
        elif len(names) > 1:
            parts.append(f"{_listed(names)} had an object in common and have a copy each now.")
        elif names == group:
            parts.append(f"Parts of {names[0]} were one object and are copies now.")
    if len(shared) > _MOST_LISTED:
        parts.append("So have others.")
    return f"(Programs run in another sandbox now. {' '.join(parts)})\n" if parts else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST_LISTED]) + (", ..." if len(names) > _MOST_LISTED else "")


async def _define_again(session: Session, source: str, waiter: Waiter) -> bool:
    """Run a definition, which calls nothing; whether it succeeded."""
    await session.start(source, waiter)
    while True:
        event = await session.receive(waiter)
        if isinstance(event, Finished):
            if event.failure is not None and event.failure.lost:
                raise InterpreterError(event.failure.message)
            return event.failure is None
        if isinstance(event, Call):
            await session.fail(event.id, "RuntimeError", "tools cannot be called now", waiter)


def _is_left(value: Any, depth: int = 0) -> bool:
    """Whether a value is, or holds, something that exists in the old session only."""
    if isinstance(value, Opaque):
        return True
    if depth > 100:
        return True
    if isinstance(value, Record):
        return any(_is_left(item, depth + 1) for item in value.record_fields.values())
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value)
        return any(_is_left(key, depth + 1) or _is_left(item, depth + 1) for key, item in pairs.items())
    if isinstance(value, list | tuple | set | frozenset):
        return any(_is_left(item, depth + 1) for item in cast("list[Any]", value))
    return False
