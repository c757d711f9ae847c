"""Programs in microVMs of the service E2B."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, cast

from actloop.errors import SandboxUnavailableError
from actloop.executors.cloud import CloudStream
from actloop.executors.reaper import REAPER
from actloop.executors.service import ServiceExecutor, options_of_guests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from e2b import Sandbox

KEY = "E2B_API_KEY"
_WHERE = "https://e2b.dev/dashboard?tab=keys"
_TEMPLATE = "code-interpreter-v1"
_TIMEOUT = 300
_MOST_SECONDS = 86_400
_OUR_MARK = "actloop-session"


class E2BExecutor(ServiceExecutor):
    """Runs programs in sandboxes of E2B's: one for each session, which ends with it.

    The network of a sandbox is closed unless `allow_internet_access=True` or a `network` is given; while packages are
    installed, it is open. A sandbox of which nothing was heard is ended by the service after `timeout` seconds (300);
    while a session is open, the service is asked to keep it.

    Args:
        additional_imports: As in `ServiceExecutor`.
        logger: As in `ServiceExecutor`.
        **kwargs: Those of `ServiceExecutor`; all others go to `e2b.Sandbox.create`: `api_key` (`E2B_API_KEY` by
            default), `template` ("code-interpreter-v1"), `timeout`, `metadata`, `envs`, `network`, `domain`, ...

    Raises:
        MissingExtraError: The package `e2b` is not installed.
        SandboxUnavailableError: There is no API key.
    """

    kind = "e2b"
    takes_more = True
    hands_on: ClassVar[Mapping[str, str]] = {
        "api_key": "str | None",
        "domain": "str | None",
        "envs": "Mapping | None",
        "metadata": "Mapping | None",
        "template": "str | None",
    }
    service = "E2B"
    extra = "e2b"

    def __init__(self, additional_imports: Sequence[str], logger: Any, **kwargs: Any) -> None:
        ours = {name: kwargs.pop(name) for name in (*_OPTIONS, *options_of_guests()) if name in kwargs}
        if "network" in kwargs:
            ours["allow_internet_access"] = True
        self._kwargs = kwargs
        self._timeout = _checked_timeout(kwargs.get("timeout"))
        super().__init__(additional_imports, logger, **ours)

    @classmethod
    def _why_no_environment(cls) -> str:
        return "" if os.environ.get(KEY) else f"no API key of E2B: set {KEY} (make one at {_WHERE})"

    def _why_no_credentials(self) -> str:
        return "" if self._kwargs.get("api_key") else self._why_no_environment()

    def _hidden(self) -> list[str | None]:
        return [self._kwargs.get("api_key"), os.environ.get(KEY)]

    def _network(self) -> str:
        return "open" if self.allow_internet_access else "try"

    def _create(self) -> tuple[_Machine, float, str]:
        _check_not_forked()
        from e2b import Sandbox

        mark = uuid.uuid4().hex
        options: dict[str, Any] = {
            "template": _TEMPLATE,
            "timeout": self._timeout,
            "lifecycle": {"on_timeout": "kill"},
            **self._kwargs,
            "metadata": {**(self._kwargs.get("metadata") or {}), _OUR_MARK: mark},
        }
        options.setdefault("allow_internet_access", self.allow_internet_access or bool(self.installed_packages))
        try:
            sandbox = Sandbox.create(**options)
        except Exception as error:
            if not isinstance(error, TypeError) and getattr(error, "status_code", None) is None:
                REAPER.put(lambda: self._sweep(mark))  # it may have been created all the same
            raise
        machine = _Machine(sandbox, self._timeout, open_for_packages=not self.allow_internet_access)
        return machine, max(1.0, self._timeout / 3), f"The service ends it within {self._timeout} seconds."

    def _sweep(self, mark: str) -> None:
        """Remove what was created by a request whose answer never came."""
        from e2b import Sandbox, SandboxQuery

        api = {name: self._kwargs[name] for name in _API_OPTIONS if name in self._kwargs}
        page = Sandbox.list(query=SandboxQuery(metadata={_OUR_MARK: mark}), **api)
        for sandbox in page.next_items():
            Sandbox.kill(sandbox.sandbox_id, **api)

    def _explain(self, error: BaseException) -> str:
        if isinstance(error, SandboxUnavailableError):
            return error.message
        import e2b
        import httpx

        status = getattr(error, "status_code", None)
        match error, status:
            case e2b.AuthenticationException(), _:
                return f"E2B refused the API key (401). Check {KEY} or api_key, or make a new key at {_WHERE}"
            case _, 429:
                return (
                    "E2B's limit of requests, or of sandboxes at once, is reached (429). Close sessions, wait a while, "
                    f"or raise the limit of your account: {error}"
                )
            case _, 402 | 403:
                return f"E2B does not let this account do that ({status}); see its plan and payments: {error}"
            case _, 404:
                template = self._kwargs.get("template") or _TEMPLATE
                return f"E2B knows no template {template!r} of this account (404): {error}"
            case ((e2b.TimeoutException() | httpx.TimeoutException() | TimeoutError()), _):
                return f"E2B did not answer in time, or the sandbox ended meanwhile: {error}"
            case ((httpx.TransportError() | OSError()), _):
                return f"E2B cannot be reached: {error}. Check the network, and `domain` if you gave one"
            case e2b.ServiceBusyException(), _:
                return f"E2B has no room for a sandbox just now (503). Try again in a while: {error}"
            case TypeError(), _:
                return f"E2B's library does not take an option that was given: {error}"
            case _:
                return f"E2B could not make a sandbox: {type(error).__name__}: {error}"


_users: set[int] = set()
"""This process, if it has used the service's library, and those that it was forked from that had."""


def _check_not_forked() -> None:
    """The library waits for threads of its own, which a fork of the process that started them has not."""
    _users.add(os.getpid())
    if len(_users) > 1:
        _users.discard(os.getpid())
        raise SandboxUnavailableError(
            "E2B's library cannot be used in a process that was forked from one that used it: start processes with "
            "multiprocessing's method 'spawn' or 'forkserver', or choose another executor"
        )


def _checked_timeout(seconds: Any) -> int:
    """How long the service waits for a word of this process before it ends a sandbox."""
    if seconds is None:
        return _TIMEOUT
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"timeout must be a number of seconds, or None for {_TIMEOUT}, not {type(seconds).__name__}")
    if not 1 <= seconds <= _MOST_SECONDS:
        raise ValueError(f"timeout must be 1 to {_MOST_SECONDS:,} seconds, or None for {_TIMEOUT}")
    return int(seconds)


_OPTIONS = ("allow_internet_access", "allow_pickle", "start_timeout")
_API_OPTIONS = ("api_key", "domain", "api_url", "headers", "api_headers", "proxy", "http_version", "request_timeout")


class _Machine:
    """A sandbox of E2B's."""

    def __init__(self, sandbox: Sandbox, timeout: int, *, open_for_packages: bool) -> None:
        self.name = sandbox.sandbox_id
        self._sandbox = sandbox
        self._timeout = timeout
        self._open_for_packages = open_for_packages

    def start(self, command: str, say: Callable[[str], object]) -> CloudStream:
        """As in `Machine`."""
        commands = self._sandbox.commands
        handle = commands.run(command, background=True, user="root", stdin=True, timeout=0, retain_output=False)
        pid = handle.pid

        def output() -> Iterator[tuple[str, str | bytes]]:
            parts = cast("Iterator[tuple[str | None, str | None, bytes | None]]", iter(handle))
            for stdout, stderr, _terminal in parts:
                yield ("stdout", stdout) if stdout is not None else ("stderr", stderr or "")

        return CloudStream(output(), lambda data: commands.send_stdin(pid, data), handle.kill, say)

    def shut(self) -> None:
        """As in `Machine`."""
        if self._open_for_packages:
            self._sandbox.update_network({"allow_internet_access": False})

    def prolong(self) -> None:
        """As in `Machine`."""
        self._sandbox.set_timeout(self._timeout)

    def remove(self) -> None:
        """As in `Machine`."""
        self._sandbox.kill()
