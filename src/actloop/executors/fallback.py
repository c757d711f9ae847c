"""An executor of several: each takes the programs that those before it cannot run."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentError, InterpreterError, MissingExtraError, SandboxUnavailableError, UnsupportedError
from actloop.executors.direct import SessionExecutor
from actloop.executors.fallback_session import FallbackSession

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from actloop.executors.session import Session, Snapshot, Waiter


class FallbackExecutor(SessionExecutor):
    """Runs programs in the first of several executors that can, and goes on to the next one when it cannot.

    A session begins in the first executor that is available on this machine. A program that needs more than that has
    (an executor that runs a part of Python, as `MontyExecutor`, says so) runs in the next one, with the variables that
    can be sent there; the model is told which cannot. The session stays there. No program is run twice after it has
    called a tool or printed: it fails, and the next program runs in the next executor.

    Args:
        executors: In the order in which they are tried. This one owns them: `cleanup` ends them all.
        logger: Prints which executors are passed over, and why.

    Raises:
        ValueError: There are none, or one of them opens no sessions.
    """

    def __init__(self, executors: Sequence[Any], logger: Any = None) -> None:
        if not executors:
            raise ValueError("FallbackExecutor needs at least one executor")
        for executor in executors:
            if not hasattr(executor, "open_session"):
                raise ValueError(f"{type(executor).__name__} cannot be one of several: it opens no sessions")
        given: dict[str, Any] = {}
        for executor in reversed(executors):
            given |= getattr(executor, "additional_functions", {})
        super().__init__(given)
        self.executors = list(executors)
        self.logger = logger
        self.passed_over: dict[str, str] = {}

    @property
    def workspace(self) -> Any:
        """The workspace of the programs."""
        return next(filter(None, (getattr(executor, "workspace", None) for executor in self.executors)), None)

    @property
    def network(self) -> Any:
        """The hosts that programs may reach."""
        return next(filter(None, (getattr(executor, "network", None) for executor in self.executors)), None)

    @property
    def only_imports(self) -> list[str] | None:
        """The modules that programs can import, where the last executor has not all of Python's."""
        return getattr(self.executors[-1], "only_imports", None)

    def instructions(self) -> str:
        """What a model that writes programs for it must know besides."""
        notes = [executor.instructions() for executor in self.executors if hasattr(executor, "instructions")]
        if len(self.executors) == 1 or not hasattr(self.executors[0], "lacks"):
            return notes[0] if notes else ""
        last = notes[-1] if hasattr(self.executors[-1], "instructions") else ""
        first = (
            "Programs run in a small Python at first; one that needs a module or a feature that it lacks is moved to "
            "another sandbox by itself, and what could not be moved is said."
        )
        return " ".join(filter(None, (first, last)))

    def check_workspace(self) -> None:
        """As in `GuestExecutor`: one of the executors must be able to have it.

        Raises:
            UnsupportedError, SandboxUnavailableError: None is, as the first says.
        """
        failed: AgentError | None = None
        for executor in self.executors:
            try:
                if hasattr(executor, "check_workspace"):
                    executor.check_workspace()
            except (SandboxUnavailableError, MissingExtraError, UnsupportedError) as error:
                failed = failed or error
            else:
                return
        if failed is not None:
            raise failed

    async def open_session(self, waiter: Waiter, snapshot: Snapshot | None = None) -> Session:
        """As in `SessionExecutor`; a snapshot is restored in the executor of its kind.

        Raises:
            SandboxUnavailableError: None of the executors is available; the message says why for each.
            InterpreterError: The snapshot cannot be restored.
        """
        first = 0
        if snapshot is not None:
            kinds = [getattr(executor, "kind", "") for executor in self.executors]
            if snapshot.kind not in kinds:
                raise InterpreterError(f"None of {', '.join(kinds)} can restore a snapshot of {snapshot.kind!r}")
            first = kinds.index(snapshot.kind)
        place, session = await self.open_from(first, waiter, snapshot)
        opened = FallbackSession(self, place, session)
        self._opened = weakref.ref(opened)
        return opened

    async def open_from(self, first: int, waiter: Waiter, snapshot: Snapshot | None = None) -> tuple[int, Session]:
        """A session of the first executor from a place on that is available, and its place.

        Raises:
            SandboxUnavailableError: None is.
        """
        reasons: list[str] = []
        for place, executor in enumerate(self.executors[first:], first):
            try:
                session: Session = await (
                    executor.open_session(waiter, snapshot) if snapshot else executor.open_session(waiter)
                )
            except (SandboxUnavailableError, MissingExtraError, UnsupportedError) as error:
                reason = error.message
            else:
                return place, session
            self._pass_over(type(executor).__name__, reason)
            reasons.append(f"{type(executor).__name__}: {reason}")
        raise none_left(reasons)

    def _pass_over(self, name: str, reason: str) -> None:
        if self.passed_over.get(name) != reason:
            self.passed_over[name] = reason
            self.log(f"{name} is passed over: {reason}")

    def log(self, text: str) -> None:
        """Print a line where there is a logger."""
        if self.logger is not None:
            self.logger.log(text, level="info", markup=False)

    def fork(self) -> Self:
        """As in `SessionExecutor`; what programs defined can be defined again where the fork goes on, too."""
        with self._lock:
            other = super().fork()
            if isinstance(self._session, FallbackSession) and isinstance(other._session, FallbackSession):
                other._session.learn_from(self._session)
        return other

    def _set_apart(self) -> None:
        """As in `SessionExecutor`."""
        super()._set_apart()
        self.executors = [one.fork() if hasattr(one, "fork") else one for one in self.executors]

    def cleanup(self) -> None:
        """End this executor's own session, and all of its executors; idempotent."""
        super().cleanup()
        for executor in self.executors:
            if hasattr(executor, "cleanup"):
                executor.cleanup()


def none_left(reasons: list[str]) -> SandboxUnavailableError:
    """The error to raise when each of several was passed over, with the reason for each."""
    told = " ".join(reason if reason.endswith((".", "!", "?")) else f"{reason}." for reason in reasons)
    return SandboxUnavailableError(f"None of the executors is available here. {told}")
