"""Executors over cloud services: one sandbox of the service for each session, with a guest in it."""

from __future__ import annotations

import inspect
import sys
from abc import abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from actloop.errors import AgentError, MissingExtraError, SandboxUnavailableError
from actloop.executors.base import GuestExecutor
from actloop.executors.cloud import GUEST_USER, RLIMITS, Lease, Machine, begin, masked
from actloop.executors.packages import packages_of
from actloop.executors.reaper import REAPER
from actloop.executors.remote import RemotePythonExecutor
from actloop.executors.stream import KeeperProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actloop.executors.guest_process import GuestProcess
    from actloop.executors.network import SessionProxy
    from actloop.executors.stream import ByteStream


class ServiceExecutor(RemotePythonExecutor, common=True):
    """Base class of executors over cloud services.

    Args:
        additional_imports: Modules that programs may import besides the standard library's, or requirements as pip
            understands them. What a sandbox does not have is installed in it when it starts.
        logger: Prints what happens; None prints nothing.
        allow_internet_access: Leave the network of sandboxes open.
        allow_pickle: Accepted for programs written for smolagents, as False: no value travels as a pickle.
        start_timeout: Seconds that a sandbox may take to start, the installation of packages included.
        **options: Those of `GuestExecutor`: `limits`, `timeout_seconds`, `allow_hosts`, ...

    Raises:
        MissingExtraError: The service's library is not installed.
        SandboxUnavailableError: There are no credentials for the service.
        ValueError: Something is asked for that this service cannot do.
    """

    enforced = frozenset({"wall", "cpu", "output", "value", "memory", "files", "processes"})

    networked = True
    workspace_folder = "workspace"

    service: ClassVar[str] = ""
    """Its name, for messages."""
    extra: ClassVar[str] = ""
    """The extra with its library, which is the name of the library's package, too."""
    instead: ClassVar[Mapping[str, str]] = {}
    """What to write instead of options that this class does not take, by their names."""
    hands_on: ClassVar[Mapping[str, str]] = {}
    """The types of options that go to the service's library, where they are checked here."""
    armor: ClassVar[bool] = True
    """Whether the service's streams carry text only."""

    def __init__(
        self,
        additional_imports: Sequence[str],
        logger: Any,
        *,
        allow_internet_access: bool = False,
        allow_pickle: bool = False,
        start_timeout: float = 300.0,
        **options: Any,
    ) -> None:
        if allow_internet_access and options.get("allow_hosts"):
            raise ValueError(
                "allow_hosts: with allow_internet_access=True programs reach all hosts; leave one of them out"
            )
        super().__init__(additional_imports, logger, allow_pickle, **options)
        self.allow_internet_access = allow_internet_access
        self._start_timeout = start_timeout
        if find_spec(self.extra) is None:
            raise MissingExtraError(self.extra, self.extra, type(self).__name__)
        if reason := self._why_no_credentials():
            raise SandboxUnavailableError(reason)

    @classmethod
    def why_unavailable(cls) -> str:
        """As in `GuestExecutor`."""
        if find_spec(cls.extra) is None:
            return f"the package '{cls.extra}' is not installed: pip install 'actloop[{cls.extra}]'"
        return cls._why_no_environment()

    @classmethod
    @abstractmethod
    def _why_no_environment(cls) -> str:
        """Which credentials the environment lacks; empty when it has them."""

    def _why_no_credentials(self) -> str:
        """Which credentials are missing, given what this executor was told."""
        return self._why_no_environment()

    @abstractmethod
    def _create(self) -> tuple[Machine, float | None, str]:
        """Create a sandbox: it, after how many seconds its service must be asked to keep it, and what ends it at last.

        Raises:
            Exception: What the service's library raised.
        """

    @abstractmethod
    def _explain(self, error: BaseException) -> str:
        """What an error of the service's library means, and what to do."""

    @abstractmethod
    def _hidden(self) -> list[str | None]:
        """Credentials, which no message may show."""

    def _network(self) -> str:
        """What the sandbox does about its network, as in `boot.boot`."""
        return "open" if self.allow_internet_access else "close"

    def _say(self, line: str) -> None:
        super()._say(masked(line, self._hidden()))

    def spawn(self, config: dict[str, Any]) -> GuestProcess:
        """As in `GuestExecutor`."""
        try:
            machine, every, left = self._create()
        except Exception as error:
            raise self._unavailable(error) from None
        lease = Lease(machine, every, left)
        try:
            keep = {"config": {**config, "uid": GUEST_USER}, "armor": self.armor, "rlimits": RLIMITS}
            packages = packages_of(self.additional_imports, sys.stdlib_module_names)
            options = {"keep": keep, "packages": packages, "network": self._network()}
            stream = begin(machine, options, self._say, self._start_timeout)
        except BaseException as error:
            REAPER.put(lease.end)
            if isinstance(error, Exception):
                raise self._unavailable(error) from None
            raise
        proxy = self.new_proxy()
        return _ServiceProcess(stream, lease.end, proxy, armor=self.armor)

    def _unavailable(self, error: Exception) -> AgentError:
        hidden = self._hidden()
        if isinstance(error, SandboxUnavailableError):
            reason = f"The sandbox of {self.service} cannot run programs: {error.message}"
        else:
            reason = self._explain(error)
        return SandboxUnavailableError(masked(reason, hidden))


class _ServiceProcess(KeeperProcess):
    """A guest in a sandbox of a service.

    Attributes:
        proxy: What serves the requests of its programs; None where they have no network.
    """

    def __init__(self, stream: ByteStream, end: Callable[[], None], proxy: SessionProxy | None, *, armor: bool) -> None:
        self.proxy = proxy
        super().__init__(stream, end, armor=armor, connect=None if proxy is None else proxy.serve)

    def close(self) -> None:
        """As in `KeeperProcess`."""
        super().close()
        if self.proxy is not None:
            self.proxy.close()


def options_of_guests() -> frozenset[str]:
    """The options that every executor with a guest takes."""
    return frozenset(inspect.signature(GuestExecutor.__init__).parameters) - {"self", "additional_authorized_imports"}
