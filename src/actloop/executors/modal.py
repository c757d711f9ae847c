"""Programs in sandboxes of the service Modal."""

from __future__ import annotations

import atexit
import dataclasses
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, cast

from actloop.executors.locks import ForkSafeLock
from actloop.executors.reaper import AT_EXIT, REAPER
from actloop.executors.service import ServiceExecutor
from actloop.executors.session import SandboxLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import modal

    from actloop.executors.cloud import Machine
    from actloop.executors.guest_process import GuestProcess

TIMEOUT = 3600
"""Seconds that a sandbox of the service lives at most, unless told otherwise."""

IDLE_TIMEOUT = 60
"""Seconds without a running command after which the service ends a sandbox, unless told otherwise."""

_MIB = 1 << 20
_OVERHEAD = 128
"""MiB that Python and the keeper take of a sandbox's memory, besides what programs may have."""

_REQUEST = 256
"""MiB of memory that a sandbox is sure to have."""

_OPENS_NETWORK = frozenset({"outbound_cidr_allowlist", "outbound_domain_allowlist"})
_CREATED_WITH = (
    *("block_network", "client", "cloud", "cpu", "encrypted_ports", "env", "environment_name", "ephemeral_disk"),
    *("experimental_options", "gpu", "idle_timeout", "image", "memory", "name", "network_file_systems", "proxy"),
    *("outbound_cidr_allowlist", "outbound_domain_allowlist", "region", "secrets", "tags", "volumes", "workdir"),
)
"""Arguments of `modal.Sandbox.create` that are looked for among the executor's."""

_PYTHONS = ((3, 11), (3, 13))
"""The oldest and the newest Python that an image is made with; else it has that of this process."""

_TOKENS = ("token_secret", "token_id", "oauth_refresh_token", "oauth_client_secret", "oauth_jwt_key")
_LOG_IN = "Run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"
_STATUS = "the service's state is at https://status.modal.com"


class ModalExecutor(ServiceExecutor):
    """Runs programs in sandboxes of Modal's: one for each session, which ends with it.

    It needs a token: `modal token new`, or the variables MODAL_TOKEN_ID and MODAL_TOKEN_SECRET. The network of a
    sandbox is closed unless `allow_internet_access=True`, or `create_kwargs` opens it. The service ends a sandbox after
    an hour, and a minute after the last command in it has ended, which it does when this process is gone.

    Args:
        additional_imports: As in `ServiceExecutor`; installed into the image that is built, or to be found in yours.
        logger: As in `ServiceExecutor`.
        app_name: The service's app that sandboxes belong to; it is made if there is none.
        port: Accepted for programs written for smolagents; no port is opened.
        create_kwargs: Arguments of `modal.Sandbox.create`, which come before all others: `timeout`, `idle_timeout`
            (seconds), `cpu` (cores), `memory` (MiB), `gpu`, `region`, `image`, `secrets`, `client`, ...
        **options: Those of `ServiceExecutor`. The limit of memory becomes the sandbox's, unless `create_kwargs` has
            one.

    Raises:
        MissingExtraError: The package `modal` is not installed.
        SandboxUnavailableError: There is no token.
        ValueError: `create_kwargs` contradicts the limits.
    """

    kind = "modal"
    service = "Modal"
    extra = "modal"
    armor = False
    instead: ClassVar[Mapping[str, str]] = {
        **{name: f"write create_kwargs={{'{name}': ...}}, which modal.Sandbox.create gets" for name in _CREATED_WITH},
        "timeout": "write create_kwargs={'timeout': ...} for a sandbox's life, timeout_seconds=... for one program's",
        "token_id": "set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or write create_kwargs={'client': ...}",
        "token_secret": "set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or write create_kwargs={'client': ...}",
    }
    enforced = frozenset({"wall", "cpu", "memory", "output", "files", "value"})

    def __init__(
        self,
        additional_imports: Sequence[str],
        logger: Any,
        app_name: str = "actloop-executor",
        port: int = 8888,
        create_kwargs: Mapping[str, Any] | None = None,
        *,
        start_timeout: float = 600.0,
        **options: Any,
    ) -> None:
        self.app_name = app_name
        self.port = port
        self.create_kwargs = dict(create_kwargs or {})
        _check_sizes(self.create_kwargs)
        self._app: modal.App | None = None
        self._image: modal.Image | None = None
        self._image_lock = ForkSafeLock()
        if options.get("allow_hosts") and self._is_opened():
            raise ValueError("allow_hosts: create_kwargs opens the network for all programs; leave one of them out")
        super().__init__(additional_imports, logger, start_timeout=start_timeout, **options)
        self.limits = self._agreed(self.limits)

    def _is_opened(self) -> bool:
        """Whether `create_kwargs` opens the network of sandboxes."""
        return bool(_OPENS_NETWORK & self.create_kwargs.keys()) or not self.create_kwargs.get("block_network", True)

    def _agreed(self, limits: SandboxLimits) -> SandboxLimits:
        """The limits, with the memory that `create_kwargs` has."""
        memory = self.create_kwargs.get("memory")
        if memory is None:
            return limits
        if limits.memory not in (SandboxLimits().memory, None):
            raise ValueError("Memory is limited twice: leave it out of create_kwargs or of the limits")
        most = cast("tuple[int, int]", memory)[1] if isinstance(memory, tuple) else None
        return dataclasses.replace(limits, memory=most and max(1, most - _OVERHEAD) * _MIB)

    @classmethod
    def _why_no_environment(cls) -> str:
        try:
            from modal.config import config

            pairs = (("token_id", "token_secret"), ("oauth_refresh_token", "oauth_client_id"))
            if any(all(config.get(name) for name in pair) for pair in pairs):
                return ""
        except Exception as error:
            return f"the configuration of Modal cannot be read: {error}"
        return f"no token of Modal. {_LOG_IN}"

    def _why_no_credentials(self) -> str:
        return "" if self.create_kwargs.get("client") else self._why_no_environment()

    def _hidden(self) -> list[str | None]:
        from modal.config import config

        return [config.get(name) for name in _TOKENS]

    def _network(self) -> str:
        return "open" if self.allow_internet_access or self._is_opened() else "try"

    def _create(self) -> tuple[Machine, None, str]:
        from actloop.executors.modal_sandbox import make_sandbox

        self._say("Making a sandbox of Modal")
        options = self._create_options()
        if "image" not in options:
            options["image"] = self._own_image()
        options.setdefault("app", self._app)
        self._app = None  # it may be gone when this fails
        machine = make_sandbox(self.app_name, options, self._start_timeout)
        self._app = machine.app
        return machine, None, "The service ends it when no command runs in it, or at its time limit."

    def _create_options(self) -> dict[str, Any]:
        """The arguments of `modal.Sandbox.create`."""
        options: dict[str, Any] = {"timeout": TIMEOUT, "idle_timeout": IDLE_TIMEOUT}
        if not self.allow_internet_access and not self._is_opened():
            options["block_network"] = True
        if self.limits.memory is not None:
            most = -(-self.limits.memory // _MIB) + _OVERHEAD
            options["memory"] = (min(_REQUEST, most), most)
        return options | self.create_kwargs

    def _own_image(self) -> modal.Image:
        """A small image with the packages; built by the service when it has none like it yet."""
        import modal

        with self._image_lock:
            if self._image is None:
                version = min(max(sys.version_info[:2], _PYTHONS[0]), _PYTHONS[1])
                image = modal.Image.debian_slim(python_version="{}.{}".format(*version))
                packages = list(self.installed_packages)
                self._image = image.pip_install(*packages) if packages else image
            return self._image

    def install_packages(self, additional_imports: list[str]) -> list[str]:
        """As in `ServiceExecutor`: the next sandbox has an image with them."""
        with self._image_lock:
            self._image = None
        return super().install_packages(additional_imports)

    def spawn(self, config: dict[str, Any]) -> GuestProcess:
        """As in `GuestExecutor`."""
        process = super().spawn(config)
        _end_at_exit(process)
        return process

    def _explain(self, error: BaseException) -> str:
        import modal.exception as known

        reason = str(error).strip() or type(error).__name__
        match error:
            case known.AuthError():
                return f"Modal refused the token. {_LOG_IN}: {reason}"
            case known.PermissionDeniedError():
                return f"Modal does not let this account do that: {reason}"
            case known.ResourceExhaustedError():
                return (
                    "Modal has no room for a sandbox, or a limit of the account is reached. Close sessions, wait a "
                    f"while, or raise the limit: {reason}"
                )
            case known.ImageBuildError():
                return f"Modal could not build the image. Look through additional_imports and the image: {reason}"
            case known.InvalidError() | known.NotFoundError() | known.AlreadyExistsError() | TypeError() | ValueError():
                return f"Modal does not take what it was asked for. Look through create_kwargs: {reason}"
            case TimeoutError() | known.TimeoutError():
                return f"Modal did not answer in time; {_STATUS}: {reason}"
            case OSError() | known.ConnectionError() | known.ServiceError():
                return f"Modal cannot be reached. Check the network; {_STATUS}: {reason}"
            case _:
                return f"Modal could not make a sandbox; {_STATUS}: {type(error).__name__}: {reason}"


def _check_sizes(options: Mapping[str, Any]) -> None:
    """Refuse sizes that no sandbox can have.

    Raises:
        TypeError: One is no number.
        ValueError: One is not above 0.
    """
    for name, unit in (("memory", "MiB"), ("cpu", "cores"), ("timeout", "seconds"), ("idle_timeout", "seconds")):
        given = options.get(name)
        for size in cast("tuple[Any, ...]", given) if isinstance(given, tuple) else (given,):
            if size is None:
                continue
            if isinstance(size, bool) or not isinstance(size, int | float):
                raise TypeError(f"create_kwargs: {name} must be a number of {unit}, not {type(size).__name__}")
            if not 0 < size <= 1e9:
                raise ValueError(f"create_kwargs: {name} must be a number of {unit} above 0, not {size!r:.40}")


_alive: weakref.WeakSet[GuestProcess] = weakref.WeakSet()


def _end_at_exit(process: GuestProcess) -> None:
    """End a process before the interpreter ends, while the service's library, which then ends too, still works."""
    _alive.add(process)
    atexit.unregister(_end_all)
    atexit.register(_end_all)  # comes before what was registered earlier


def _end_all() -> None:
    for process in list(_alive):
        process.close()
    REAPER.flush(AT_EXIT)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alive.clear)
