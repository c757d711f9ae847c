"""Runs a program in a run's sandbox session, answering its calls through the gateway."""

from __future__ import annotations

import dataclasses
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentInterruptedError
from actloop.executors.session import LOST, Call, Finished, GuestFailure, Printed, RemoteTool, Session
from actloop.loop.effects import Execute, Execution, ToolUse
from actloop.runtime import foreign
from actloop.runtime.gateway import FINAL_ANSWER, Raised, Returned, is_async
from actloop.tools.render import signature
from actloop.values import events

if TYPE_CHECKING:
    from actloop.executors.workspace import FileChanges
    from actloop.memory.fold import StreamItem
    from actloop.runtime.ports import Handle, Port
    from actloop.runtime.run import Run

_MOST_USES = 8
"""Tool results of a program that the model may be shown."""

_FILES_OF_A_FACT = 500


async def execute(run: Run, effect: Execute, port: Port) -> tuple[Execution, StreamItem | None]:
    """Run a program to its end; returns what came of it, and the item for the stream."""
    start = run.now()
    program: _Program | None = None
    if hasattr(run.executor, "open_session"):
        program = _Program(run, port)
        ended, answer, uses = await program.run(effect.code), program.answer, tuple(program.uses)
    else:
        uses = ()
        ended, answer = await foreign.execute(run, effect.code, port)
    failure = None if answer is not None else ended.failure
    execution = Execution(
        output=answer.value if answer is not None else ended.output,
        logs=ended.logs,
        failure=failure,
        answered=answer is not None,
        uses=uses,
        notice=program.notice if program is not None else "",
    )
    finished = events.ProgramFinished(
        id=effect.id, lost=ended.failure is not None and ended.failure.lost, seconds=run.now() - start
    )
    execution, item = await port.compute(partial(_note, run, finished), execution)
    if program is not None and program.changes:
        _note_files(run, program.changes)
    return execution, item


def _note(run: Run, finished: events.ProgramFinished, execution: Execution) -> tuple[Execution, StreamItem | None]:
    """Note what came of a program; what the loop gets of it, and the item for the stream."""
    execution = run.vault.masked(execution)
    failure = execution.failure
    item = run.emit(
        dataclasses.replace(
            finished,
            output=execution.output,
            logs=execution.logs,
            error_kind=failure.kind if failure else None,
            error=failure.message if failure else None,
            answered=execution.answered,
        )
    )
    return execution, item


def _note_files(run: Run, changes: FileChanges) -> None:
    """Note what became of the workspace, in facts of a bounded size."""
    from actloop.executors.workspace import merged

    run.files = merged(run.files, changes)
    kinds: dict[str, list[Any]] = {
        "created": [file.dict() for file in changes.created],
        "changed": [file.dict() for file in changes.changed],
        "deleted": list(changes.deleted),
        "refused": list(changes.refused.items()),
    }
    every = [(kind, item) for kind, items in kinds.items() for item in items]
    for start in range(0, len(every), _FILES_OF_A_FACT):
        part = every[start : start + _FILES_OF_A_FACT]
        created, changed, deleted, refused = ([item for of, item in part if of == kind] for kind in kinds)
        run.emit(
            events.FilesChanged(
                folder=str(changes.folder), created=created, changed=changed, deleted=deleted, refused=dict(refused)
            )
        )


async def prepare(run: Run, port: Port) -> None:
    """Look at the workspace, and hand a run's variables to its sandbox, before the model is asked.

    What cannot be given to a sandbox then costs nothing.
    """
    if run.session is not None and run.session.alive:
        await define(run, run.session, port)
    elif hasattr(run.executor, "open_session"):
        if getattr(run.executor, "workspace", None) is not None and hasattr(run.executor, "check_workspace"):
            from actloop.executors.files.state import off_loop

            await off_loop(port, run.executor.check_workspace)
        if run.variables or run.snapshot is not None:
            await open_session(run, port)


async def open_session(run: Run, port: Port) -> Session:
    """The run's session: the one it has, or a fresh one that knows the tools and variables."""
    if run.session is not None and run.session.alive:
        _observe(run, run.session)
        return run.session
    run.close()
    snapshot, run.snapshot = run.snapshot, None
    session: Session = await run.executor.open_session(port)
    _observe(run, session)
    run.session = session
    if snapshot is None:
        run.sent = {}
    else:
        await session.restore(snapshot, port)
    await define(run, session, port)
    return session


def _observe(run: Run, session: Session) -> None:
    """Note the requests that a session's programs make as facts of this run."""
    noting = weakref.ref(run)  # the session's proxy would else keep the run, and with it the session, for ever

    def note(request: events.NetworkRequested) -> None:
        noted = noting()
        if noted is not None:
            noted.emit(request)

    session.observe(note)


async def define(run: Run, session: Session, port: Port) -> None:
    """Tell a session of the run's tools, and of variables that are new or were set anew on the host."""
    known, unknown = run.sent, object()
    given = {**run.variables, **run.vault.of_sandbox}
    variables = {name: value for name, value in given.items() if known.get(name, unknown) is not value}
    tools = [
        RemoteTool(run.gateway.code_names[name], is_async(tool), signature(tool) if hasattr(tool, "inputs") else "")
        for name, tool in run.gateway.tools.items()
    ]
    await session.define(port, tools=tools, variables=variables)
    run.sent = given


class _Program:
    """One program while it runs."""

    def __init__(self, run: Run, port: Port) -> None:
        self._run = run
        self._port = port
        self._beside: list[Handle] = []
        self._answers: list[Handle] = []
        self.answer: Returned | None = None
        self.uses: list[ToolUse] = []
        self.changes: FileChanges | None = None

    @property
    def notice(self) -> str:
        """What the model is told of the workspace."""
        return self.changes.notice() if self.changes is not None else ""

    async def run(self, code: str) -> Finished:
        session = await open_session(self._run, self._port)
        try:
            await session.start(code, self._port)
            ended = await self._attend(session)
            for handle in self._answers:
                await handle.wait()
            for handle in self._beside:
                handle.cancel()  # the program has ended: nobody waits for these any more
        except (AgentInterruptedError, KeyboardInterrupt):
            await self._end_early(session)
            raise
        except BaseException:
            self._run.close()  # what the program is doing is not known any more
            raise
        await session.report(self._port)
        ended = await self._take_files(session, ended)
        if not session.alive:
            self._run.close()
        return ended

    async def _take_files(self, session: Session, ended: Finished) -> Finished:
        """Take over what the program did to the workspace. A sandbox that dies of being asked is lost."""
        if not session.alive:
            return ended
        self.changes = await session.take_files(self._port, self._run.vault.masked if self._run.vault else None)
        if session.alive or ended.failure is not None:
            return ended
        failure = GuestFailure("SandboxCrash", self.notice, hint=LOST, lost=True)
        return Finished(ended.output, ended.logs, failure)

    async def _attend(self, session: Session) -> Finished:
        """Do what the program asks for until it ends."""
        while True:
            match await session.receive(self._port):
                case Finished() as ended:
                    return ended
                case Printed(text):
                    await self._port.compute(self._run.emit, events.Printed(text=text))
                case Call(concurrent=True) as call:
                    handle = self._port.start(partial(self._answer, session, call))
                    (self._answers if call.name == FINAL_ANSWER else self._beside).append(handle)
                case Call() as call:
                    await self._answer(session, call)

    async def _answer(self, session: Session, call: Call) -> None:
        run = self._run
        outcome = await run.gateway.call(self._port, call.name, call.args, call.kwargs, within=run.active)
        match outcome:
            case Returned(final=True):
                self.answer = outcome
                await session.stop(call.id, self._port)
            case Returned(value=value):
                if len(self.uses) < _MOST_USES:
                    self.uses.append(ToolUse(call.name, call.args, call.kwargs, value))
                await session.answer(call.id, value, self._port)
            case Raised(kind, message):
                await session.fail(call.id, kind, message, self._port)

    async def _end_early(self, session: Session) -> None:
        """Interrupt the program. A session that obeys lives on, for a conversation that continues."""
        try:
            await self._drain(session)
            await session.report(self._port)
            self.changes = await session.take_files(self._port, self._run.vault.masked if self._run.vault else None)
            if self.changes:
                _note_files(self._run, self.changes)
        except BaseException:  # interrupted once more
            self._run.close()
            raise
        if not session.alive:
            self._run.close()

    async def _drain(self, session: Session) -> None:
        self._run.interrupt.clear()
        session.interrupt()
        while session.alive:
            match await session.receive(self._port):
                case Finished():
                    break
                case Call() as call:
                    await session.fail(call.id, "KeyboardInterrupt", "the run was interrupted", self._port)
                case Printed(text):
                    self._run.emit(events.Printed(text=text))
