"""The runs of one agent: those under way, and the latest, whose conversation may be continued."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actloop.memory.memory import AgentMemory
from actloop.runtime.run import current_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.executors.session import Session, Snapshot
    from actloop.runtime.run import Run


@dataclass
class Inherited:
    """What a new run takes over: from the run before when the conversation continues, nothing when it is reset."""

    memory: AgentMemory | None = None
    session: Session | None = None
    variables: dict[str, Any] = field(default_factory=dict[str, Any])
    sent: dict[str, Any] = field(default_factory=dict[str, Any])
    previous: Run | None = None
    snapshot: Snapshot | None = None
    """What its sandbox begins with, when there is no session."""


class Runs:
    """Keeps the runs of one agent apart; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may interrupt in the thread that begins a run
        self._latest: Run | None = None
        self._active: set[Run] = set()
        self.memory: AgentMemory | None = None
        """The conversation before any run, where one was asked for or set."""
        self.variables: dict[str, Any] = {}
        self._snapshot: Snapshot | None = None

    def shown(self, agent: Any) -> Run | None:
        """The agent's run that called this code, or else the latest."""
        run = current_run.get()
        while run is not None:
            if run.agent is agent:
                return run
            run = run.parent
        return self._latest

    def begin(self, reset: bool, make: Callable[[Inherited], Run]) -> Run:
        """Make a run the latest one.

        Args:
            reset: Inherit nothing.
            make: Makes the run from what it inherits.
        """
        with self._lock:
            previous, inherited = self._latest, Inherited(variables=self.variables)
            if not reset:
                inherited = self._inherit(previous)
            run = make(inherited)
            self._latest, self.memory, self.variables, self._snapshot = run, None, {}, None
            self._active.add(run)
        if previous is not None and previous not in self._active:
            previous.close()
        return run

    def _inherit(self, previous: Run | None) -> Inherited:
        if previous is None:
            return Inherited(memory=self.memory, variables=self.variables, snapshot=self._snapshot)
        if previous in self._active:
            # Another thread's run is still under way: its steps so far are read, everything else stays its own.
            memory = AgentMemory(previous.memory.system_prompt)
            memory.steps = previous.memory.steps.copy()
            return Inherited(memory, None, previous.variables, {}, previous, self._snapshot)
        if self._snapshot is not None:
            held = {name: value for name, value in previous.variables.items() if name in self._snapshot.names}
            return Inherited(previous.memory, None, previous.variables, held, previous, self._snapshot)
        session, previous.session = previous.session, None
        return Inherited(previous.memory, session, previous.variables, previous.sent, previous)

    def end(self, run: Run) -> None:
        """A run is over. The latest keeps its sandbox, so that the conversation can go on."""
        with self._lock:
            self._active.discard(run)
            superseded = self._latest is not run
        if superseded:
            run.close()

    def replace_memory(self, memory: AgentMemory) -> None:
        """The user sets another conversation; the next run may continue it."""
        with self._lock:
            latest, self._latest, self.memory = self._latest, None, memory
            if latest is not None:
                self.variables = latest.variables
        if latest is not None and latest not in self._active:
            latest.close()

    def restore(self, snapshot: Snapshot) -> None:
        """The sandbox of the next run that continues the conversation begins with this, in place of the latest one."""
        with self._lock:
            self._snapshot = snapshot

    def interrupt(self) -> None:
        """Ask every run under way to end."""
        with self._lock:
            active = list(self._active)
        for run in active:
            run.interrupt.set()

    def forget(self) -> None:
        """Leave every run behind: those under way are interrupted, and no sandbox is kept for a next one."""
        with self._lock:
            latest, self._latest, self.memory, self.variables = self._latest, None, None, {}
            self._snapshot = None
            active = list(self._active)
        for run in active:
            run.interrupt.set()
        if latest is not None and latest not in active:
            latest.close()

    def close(self) -> None:
        """End the sandbox that the latest run left."""
        latest = self._latest
        if latest is not None and latest not in self._active:
            latest.close()
