"""What an executor is: a way to open sessions in which model-written code runs.

A session keeps variables between snippets. The host starts a snippet, receives what the guest says (calls of tools,
printed text, the end), and answers the calls. No method of a session blocks on its own: each waits through the `Waiter`
that the runtime hands it, so that the same code serves a blocking and an asynchronous runtime.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from actloop.errors import InterpreterError, UnsupportedError
from actloop.executors.limits import SandboxLimits as SandboxLimits
from actloop.executors.snapshots import Snapshot as Snapshot  # noqa: TC001 - its place is here

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from actloop.executors.workspace import FileChanges
    from actloop.values.events import NetworkRequested

T = TypeVar("T")

LOST = "The sandbox was restarted, and all variables and imports of earlier code are gone: define again what you need."
"""The hint of a failure that lost the session."""


class Waiter(Protocol):
    """How a session waits for its stream; implemented once blocking and once on asyncio."""

    async def ready(self, fd: int, *, write: bool = False, timeout: float | None = None) -> bool:
        """Wait until `fd` can be read (or written).

        Args:
            fd: A file descriptor.
            write: Wait for room to write instead of for bytes to read.
            timeout: Seconds; None waits without end.

        Returns:
            False when the timeout passed first.

        Raises:
            AgentInterruptedError: The run was interrupted meanwhile.
        """
        ...

    async def compute(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that only computes; in a thread, where it would hold up an event loop.

        A caller that is cancelled meanwhile hears of that when the function has ended, or will not begin any more.

        Args:
            function: What to call; how long it takes is told by the size of its arguments.
            arguments: Its arguments.
        """
        ...


@dataclass(frozen=True, slots=True)
class RemoteTool:
    """What a guest needs to know of a tool that stays on the host."""

    name: str
    is_async: bool = False
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """The guest calls a tool and waits for the answer."""

    id: int
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    concurrent: bool = False
    """True when it was made from a second thread or from asyncio, so that others may come before it is answered."""


@dataclass(frozen=True, slots=True)
class Printed:
    """Text that the running snippet printed since the last such message."""

    text: str


@dataclass(frozen=True, slots=True)
class GuestFailure:
    """Why a snippet ended without finishing.

    Attributes:
        kind: Name of the exception's class in the guest, or `"TimeoutError"`, `"MemoryError"`, `"SandboxCrash"`.
        message: The exception's message.
        traceback: A traceback over the user's own lines only, as Python prints it.
        line: 1-based line of the user's program at which it failed, if known.
        source: Text of that line.
        hint: One sentence on what to do, for the model; may be empty.
        lost: True when the session died and its variables are gone.
    """

    kind: str
    message: str
    traceback: str = ""
    line: int | None = None
    source: str = ""
    hint: str = ""
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A snippet has ended: the value of its last expression and what it printed, or why it failed.

    Attributes:
        output: The value of the last expression. What cannot be encoded arrives as a `guest.Opaque` holding its `repr`.
        logs: Everything printed, cut at the session's output limit.
        failure: None when the snippet ran to its end.
    """

    output: Any = None
    logs: str = ""
    failure: GuestFailure | None = None


class Session(ABC):
    """One sandbox, alive from the first snippet to `close`."""

    @abstractmethod
    async def define(
        self, waiter: Waiter, *, tools: Sequence[RemoteTool] = (), variables: Mapping[str, Any] | None = None
    ) -> None:
        """Make tools callable and variables visible in the guest; a tool replaces a builtin of the same name.

        Raises:
            InterpreterError: A variable cannot be sent; the message names it.
        """

    @abstractmethod
    async def start(self, code: str, waiter: Waiter) -> None:
        """Begin to run a snippet. Only one may run at a time."""

    @abstractmethod
    async def receive(self, waiter: Waiter) -> Call | Printed | Finished:
        """The next thing that the guest says. Limits are kept here: a guest over its time is interrupted, then killed.

        A guest that dies, floods or breaks the protocol ends the snippet with a `Finished` whose failure is `lost`.
        """

    @abstractmethod
    async def answer(self, call_id: int, value: Any, waiter: Waiter) -> None:
        """Answer a call with its result."""

    @abstractmethod
    async def fail(self, call_id: int, kind: str, message: str, waiter: Waiter) -> None:
        """Answer a call with an exception: it is raised in the guest at the place of the call."""

    @abstractmethod
    async def stop(self, call_id: int, waiter: Waiter) -> None:
        """Answer a call by ending the snippet (the final answer was given): nothing after the call runs."""

    @abstractmethod
    def interrupt(self) -> None:
        """Interrupt the running snippet; callable from any thread. It is killed if it does not end soon."""

    @abstractmethod
    def close(self) -> None:
        """End the session and free what it holds; idempotent, never raises, callable from any thread."""

    async def read(self, waiter: Waiter) -> dict[str, Any]:  # noqa: ARG002
        """The variables, between two snippets: what cannot be sent as `guest.Opaque`; tools and modules are left out.

        Raises:
            InterpreterError: A snippet runs, or sessions of this kind cannot be read.
        """
        raise InterpreterError(f"The variables of {type(self).__name__} cannot be read")

    async def snapshot(self, waiter: Waiter, *, without: Collection[str] = ()) -> Snapshot:  # noqa: ARG002
        """Take the variables as they are now, between two snippets. What cannot be taken is named, the rest is kept.

        Args:
            waiter: How to wait.
            without: Names of variables that are not wanted.

        Raises:
            InterpreterError: A snippet runs, or sessions of this kind cannot be taken.
        """
        raise InterpreterError(f"Sessions of {type(self).__name__} cannot be taken as snapshots")

    async def restore(self, snapshot: Snapshot, waiter: Waiter) -> None:  # noqa: ARG002
        """Give this session the variables of a snapshot; its tools stay as they are.

        Raises:
            InterpreterError: The snapshot is of another kind or version, or damaged; or a snippet runs.
        """
        raise InterpreterError(f"Sessions of {type(self).__name__} cannot be restored from snapshots")

    async def fork(self, waiter: Waiter, *, without: Collection[str] = ()) -> Session:  # noqa: ARG002
        """A second session of the same executor, between two snippets, with the same tools and copies of the variables.

        What is done in one of the two is not seen in the other. What a snapshot leaves out, the second one lacks. Of
        files it has those of the workspace, and nobody observes its requests until `observe`. It is driven and closed
        on its own.

        Args:
            waiter: How to wait.
            without: Names of variables that are not wanted.

        Raises:
            UnsupportedError: Sessions of this kind cannot be forked, or the executor is gone.
            InterpreterError: A snippet runs, or the variables cannot be taken.
            SandboxUnavailableError: There is no second sandbox.
        """
        raise UnsupportedError(f"Sessions of {type(self).__name__} cannot be forked")

    async def take_files(
        self,
        waiter: Waiter,  # noqa: ARG002
        masked: Callable[[str], str] | None = None,  # noqa: ARG002
    ) -> FileChanges | None:
        """Take over what programs made and changed in a workspace that they may write, between two snippets.

        Args:
            waiter: How to wait.
            masked: Masks the secrets in a name. A file whose name holds one is not taken.

        Returns:
            What came of it, and what could not be taken over; None where there is nothing to take.
        """
        return None

    def observe(self, observer: Callable[[NetworkRequested], None]) -> None:  # noqa: B027 - most have no network
        """Have each request to the network told as it ends, from a thread of the proxy's own; ends a `rest`."""

    async def rest(self, waiter: Waiter) -> None:  # noqa: B027
        """Between runs: have requests that are under way told with what they moved so far, and the observer no more.

        Until there is another observer, nothing moves. Waits for what is being told, a second at most; suspends only
        where the waiter can call what blocks beside its event loop.
        """

    async def report(self, waiter: Waiter) -> None:  # noqa: B027
        """Have requests that are under way told now, with what they moved so far."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """False once the guest has died or `close` was called."""


class SessionExecutor(Protocol):
    """Opens sessions. Safe to share between threads and runs."""

    async def open_session(self, waiter: Waiter) -> Session:
        """A fresh session with no variables."""
        ...
