"""Executors that run programs in a guest: they open sessions for runs, and can be called without an agent."""

from __future__ import annotations

import dataclasses
import weakref
from abc import abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from actloop.errors import InterpreterError, UnsupportedError
from actloop.executors.checks import checked_texts
from actloop.executors.descriptors import none_left
from actloop.executors.direct import (
    CodeOutput as CodeOutput,
    PythonExecutor as PythonExecutor,
    SessionExecutor,
    call_on_host as call_on_host,
)
from actloop.executors.guest_session import GuestSession
from actloop.executors.hosts import NETWORK_BUDGET, checked_budget, checked_hosts
from actloop.executors.session import SandboxLimits
from actloop.executors.starting import Starting
from actloop.executors.workspace import as_workspace
from actloop.guest import BASE_BUILTIN_MODULES
from actloop.guest.files import MAX_FILES
from actloop.guest.imports import NETWORK_MODULES

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from actloop.executors.guest_process import GuestProcess
    from actloop.executors.network import NetworkPolicy, SessionProxy
    from actloop.executors.session import Session, Snapshot, Waiter
    from actloop.executors.workspace import Workspace

MAX_EXECUTION_TIME_SECONDS = 30
"""Seconds that a program may run unless told otherwise."""


class Unsaid(int):
    """Seconds that hold where none were given: the same number, when it is given, is an `int` or a `float`."""


PROXY_PORT = 3128
"""The port of the sandbox's own loopback interface on which programs find the proxy."""


class GuestExecutor(SessionExecutor):
    """Runs programs in a guest; what kind of process that is, a subclass says.

    It opens sessions for the runs of agents, and has one of its own for being called directly. It may be
    shared between threads and runs; direct calls are made one at a time.

    Args:
        additional_authorized_imports: Modules that programs may import besides `BASE_BUILTIN_MODULES`: a name covers
            its submodules, `"*"` covers everything that is installed.
        max_print_outputs_length: Characters of printed output that are kept; 50,000 by default.
        additional_functions: Functions of the caller that programs may call; they run in the caller's process.
        timeout_seconds: Seconds that a program may run; None for no limit.
        limits: All limits of a session; the two above, when given, replace theirs.
        allow_hosts: Hosts that programs may send HTTP requests to, as in `network.NetworkPolicy`:
            `"api.example.org:443"`, `"*.example.org"`, `"10.1.2.3:8080"`. None of them: there is no network.
        network_budget: Bytes that a session may exchange with those hosts, both ways together; None for no limit.
        workspace: A folder that is the programs' current folder: they can read it, and where a `Workspace` says so,
            write it, too.

    Raises:
        InterpreterError: An authorised module is not installed.
        TypeError: `limits` are no `SandboxLimits`.
        ValueError: A limit is asked for that this kind of executor cannot enforce; or hosts that it cannot keep
            programs to; or there is no such host.
    """

    enforced: ClassVar[frozenset[str]] = frozenset({"wall", "output", "value"})
    """The limits that this kind of executor enforces: fields of `SandboxLimits`. The others it does not promise."""

    files_in_memory: ClassVar[bool] = False
    """Whether the files of programs lie in this machine's memory, where only the limit of disk holds them."""

    workspace_folder: ClassVar[str] = "/workspace"
    """Where sandboxes have the workspace; a relative path is one beneath the guest's own current folder."""

    takes_more: ClassVar[bool] = False
    """Whether the constructor takes options of any name, to hand them on to a service's library."""

    networked: ClassVar[bool] = False
    """Whether this kind of executor can let programs reach some hosts and nothing else."""

    kind: ClassVar[str] = ""
    """What kind of sandbox this is: snapshots are restored in their own kind only. By default, the class;
    a subclass of a class that has one inherits it."""

    def __init_subclass__(cls, *, common: bool = False) -> None:
        """As in `object`; a class that is `common` to several kinds has none itself."""
        super().__init_subclass__()
        if not common:
            cls.kind = cls.kind or cls.__name__

    def __init__(
        self,
        additional_authorized_imports: Iterable[str] = (),
        max_print_outputs_length: int | None = None,
        additional_functions: dict[str, Callable[..., Any]] | None = None,
        timeout_seconds: float | None = Unsaid(MAX_EXECUTION_TIME_SECONDS),
        limits: SandboxLimits | None = None,
        allow_hosts: Iterable[str] = (),
        network_budget: int | None = NETWORK_BUDGET,
        workspace: Workspace | str | os.PathLike[str] | None = None,
    ) -> None:
        self.workspace = as_workspace(workspace) if workspace is not None else None
        self.network = self._policy(allow_hosts, network_budget)
        self.additional_authorized_imports = checked_texts(
            "additional_authorized_imports", additional_authorized_imports
        )
        network_modules = NETWORK_MODULES if self.network is not None else ()
        self.authorized_imports = sorted({*BASE_BUILTIN_MODULES, *network_modules, *self.additional_authorized_imports})
        super().__init__(additional_functions)
        said = not isinstance(timeout_seconds, Unsaid)
        if limits is None:
            limits = SandboxLimits(wall=timeout_seconds if said else float(timeout_seconds))
        elif not isinstance(limits, SandboxLimits):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"limits must be SandboxLimits, such as SandboxLimits(wall=3); got {limits!r:.100}")
        elif said:
            limits = dataclasses.replace(limits, wall=timeout_seconds)
        if max_print_outputs_length is not None:
            limits = dataclasses.replace(limits, output=max_print_outputs_length)
        self.limits = self._promised(limits)
        self._check_installed()

    @property
    def max_print_outputs_length(self) -> int:
        """Characters of printed output that are kept."""
        return self.limits.output

    @property
    def timeout_seconds(self) -> float | None:
        """Seconds that a program may run."""
        return self.limits.wall

    @classmethod
    def why_unavailable(cls) -> str:
        """The one thing that is missing for programs to run here; empty when nothing is. Takes a second at most."""
        return ""

    def instructions(self) -> str:
        """What a model that writes programs for it must know besides; empty when there is nothing."""
        return " ".join(filter(None, (self.workspace.instructions() if self.workspace else "", self._reachable())))

    def _reachable(self) -> str:
        if self.network is None:
            return ""
        return (
            f"Programs can send HTTP and HTTPS requests to these hosts: {self.network.listed}. Use urllib.request: it "
            "finds the proxy by itself. No other host and no other protocol can be reached."
        )

    def _policy(self, allow_hosts: Iterable[str], budget: int | None) -> NetworkPolicy | None:
        allow_hosts, budget = checked_hosts(allow_hosts), checked_budget(budget)
        if not allow_hosts:
            return None
        if not self.networked:
            raise UnsupportedError(
                f"{type(self).__name__} cannot keep programs to the hosts of allow_hosts: leave it out, or choose "
                "another executor"
            )
        from actloop.executors.network import NetworkPolicy

        return NetworkPolicy(allow_hosts, budget)

    def new_proxy(self) -> SessionProxy | None:
        """The way out of one session that is about to be started; None where programs have no network.

        Whoever starts the guest hands it the connections that programs make to the port `config["network"]`, and makes
        it the `proxy` of the guest's process, which closes it at its own end.
        """
        if self.network is None:
            return None
        from actloop.executors.network import SessionProxy

        return SessionProxy(self.network)

    def _promised(self, limits: SandboxLimits) -> SandboxLimits:
        """The limits without those that cannot be enforced; one of them that was asked for is an error."""
        others = {item.name: item.default for item in dataclasses.fields(limits) if item.name not in self.enforced}
        asked = [name for name, default in others.items() if getattr(limits, name) not in (default, None)]
        if asked:
            raise UnsupportedError(
                f"{type(self).__name__} cannot enforce {' and '.join(asked)}: leave it out, or choose another executor"
            )
        if self.files_in_memory and limits.disk is None:
            raise ValueError(f"{type(self).__name__} keeps files in memory: give a limit of disk")
        return dataclasses.replace(limits, **dict.fromkeys(others))

    def _check_installed(self) -> None:
        missing = [
            name
            for name in self.additional_authorized_imports
            if name != "*" and not _is_installed(name.partition(".")[0])
        ]
        if missing:
            raise InterpreterError(
                f"These authorised imports are not installed: {', '.join(missing)}. Install them, or do not "
                "authorise them."
            )

    # ---- sessions

    def mounts_workspace(self) -> bool:
        """Whether `spawn` mounts a workspace that can only be read, so that its files are not copied; may block.

        The folder to mount is `self.workspace.path`, the place for it `config["workspace"]["folder"]`.

        Raises:
            UnsupportedError: The workspace can be neither mounted nor copied.
        """
        return False

    def check_workspace(self) -> None:
        """Whether a session can have the workspace: asked before a model is; may block.

        Raises:
            UnsupportedError: It cannot; the message says why, and what to do.
            SandboxUnavailableError: This machine cannot isolate code.
        """
        if self.workspace is not None and (self.workspace.writable or not self.mounts_workspace()):
            self.workspace.check_copy()

    def _spawn(self, config: dict[str, Any]) -> GuestProcess:
        """Start a guest, having decided how it gets the workspace."""
        if self.workspace is not None:
            mounted = not self.workspace.writable and self.mounts_workspace()
            config["workspace"] = {"folder": self.workspace_folder, "mounted": mounted}
            config["workspace"]["writable"] = self.workspace.writable
            config["workspace"] |= {
                "quota": self.workspace.quota,
                "room": self.workspace.room,
                "files": MAX_FILES,
            }
        return self.spawn(config)

    async def _share_files(self, session: GuestSession, waiter: Waiter) -> None:
        """Give a new session the files of the workspace.

        Raises:
            UnsupportedError: They cannot be given.
        """
        from actloop.executors.exchange import Exchange

        assert self.workspace is not None
        try:
            session.exchange = Exchange(self.workspace, self.limits.value)
        except OSError as error:
            raise UnsupportedError(f"The workspace {self.workspace.path} is gone: {error.strerror or error}") from None
        await session.give_files(waiter, first=True)

    @abstractmethod
    def spawn(self, config: dict[str, Any]) -> GuestProcess:
        """Start a guest; may block.

        Raises:
            SandboxUnavailableError: This machine cannot isolate it.
        """

    async def open_session(self, waiter: Waiter, snapshot: Snapshot | None = None) -> Session:
        """A fresh session for a run: without variables, or with those of a snapshot.

        Raises:
            SandboxUnavailableError: This machine cannot isolate code.
            UnsupportedError: The workspace cannot be given to a sandbox.
            InterpreterError: The snapshot cannot be restored.
        """
        config: dict[str, Any] = {
            "value": self.limits.value,
            "output": self.limits.output,
            "wall": self.limits.wall,
            "cpu": self.limits.cpu,
            "imports": self.authorized_imports,
            "limits": dataclasses.asdict(self.limits),
        }
        if self.network is not None:
            config |= {"network": PROXY_PORT, "hosts": self.network.listed}
        starting = Starting(lambda: self._spawn(config))
        session: GuestSession | None = None
        try:
            try:
                process = await starting.process(waiter)
            except OSError as error:
                if (full := none_left(error)) is not None:
                    raise full from error
                raise
            session = GuestSession(process, self.limits, self.kind, weakref.WeakMethod(self.open_session))
            await session.wait_ready(waiter)
            if self.workspace is not None and not config["workspace"]["mounted"]:
                await self._share_files(session, waiter)
            if snapshot is not None:
                await session.restore(snapshot, waiter)
        except BaseException:
            starting.abandon()
            if session is not None:
                session.close()
            raise
        self._opened = weakref.ref(session)
        return session


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
