"""The default executor: programs run on this machine, each session in a kernel sandbox of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from typing import TYPE_CHECKING, Any

from actloop.errors import SandboxUnavailableError, UnsupportedError
from actloop.executors.base import (
    MAX_EXECUTION_TIME_SECONDS,
    CodeOutput,
    GuestExecutor,
    PythonExecutor,
)
from actloop.executors.checks import checked_dict, checked_texts, checked_tools
from actloop.executors.cpu_time import cpu_time_of
from actloop.executors.session import SandboxLimits
from actloop.guest import BASE_BUILTIN_MODULES

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from actloop.executors.guest_process import GuestProcess
    from actloop.executors.kernel.host import Zygote
    from actloop.executors.kernel.spawned import Spawned
    from actloop.executors.network import SessionProxy

__all__ = [
    "BASE_BUILTIN_MODULES",
    "MAX_EXECUTION_TIME_SECONDS",
    "CodeOutput",
    "LocalPythonExecutor",
    "LocalPythonInterpreter",
    "PythonExecutor",
    "evaluate_python_code",
]

_MAX_PRINTED = 50_000


class KernelProcess:
    """A guest in the kernel sandbox.

    Args:
        spawned: Its process.
        proxy: Its way out, if it has one.
        zygote: What it was forked from; it lives as long as its sessions.
    """

    def __init__(self, spawned: Spawned, proxy: SessionProxy | None = None, zygote: Zygote | None = None) -> None:
        self.channel: socket.socket = spawned.channel
        self._zygote = zygote
        self.proxy = proxy
        self._spawned = spawned
        if proxy is not None and spawned.network is not None:
            proxy.listen(spawned.network)

    def signal(self, number: int) -> None:
        if self._spawned.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._spawned.pidfd, number)

    def kill(self) -> None:
        self._spawned.kill()

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def cpu_time(self) -> float | None:
        return cpu_time_of(self._spawned.pid)

    def close(self) -> None:
        self._spawned.close()
        if self.proxy is not None:
            self.proxy.close()


class LocalPythonExecutor(GuestExecutor):
    """Runs programs on this machine in the kernel sandbox: at CPython's speed, without files and environment of it.

    There is no network, but for the way to `allow_hosts`.

    Arguments are those of `GuestExecutor`.
    """

    kind = "local"
    enforced = frozenset(field.name for field in dataclasses.fields(SandboxLimits))
    files_in_memory = True
    networked = True

    @classmethod
    def why_unavailable(cls) -> str:
        """As in `GuestExecutor`; `kernel.probe` proves how well it isolates."""
        from actloop.executors.kernel import host

        return host.why_unavailable()

    def spawn(self, config: dict[str, Any]) -> GuestProcess:
        """As in `GuestExecutor`."""
        from actloop.executors.kernel import host

        try:
            zygote = self._zygote(mounted=config.get("workspace", {}).get("mounted", False))
            return KernelProcess(zygote.spawn(config), self.new_proxy(), zygote)
        except SandboxUnavailableError as error:
            if not host.why_unavailable():
                raise
            raise SandboxUnavailableError(
                f"Code cannot be isolated on this machine: {error}. `actloop doctor` shows what is missing. For code "
                "that you trust, pass executor=UnsafeInProcessExecutor(...) to run it without isolation."
            ) from error

    def mounts_workspace(self) -> bool:
        """As in `GuestExecutor`."""
        assert self.workspace is not None
        if not self.workspace.can_mount(others=os.geteuid() == 0):  # then sessions have a user id of their own
            return False
        why = self._zygote(mounted=True).why_no_workspace()
        if not why:
            return True
        from actloop.executors.files.host_folder import HostFolder

        too_large = HostFolder(self.workspace.path).scan().too_large(self.workspace.quota)
        if too_large:
            raise UnsupportedError(
                f"The workspace {self.workspace.path} cannot be mounted ({why}), and not be copied in instead: "
                f"{too_large}."
            )
        return False

    def _zygote(self, *, mounted: bool) -> Zygote:
        from actloop.executors.kernel import host

        modules = (*host.DEFAULT_PRELOAD, "asyncio", "cloudpickle", *sorted(self._own_modules()))
        network = self.network is not None
        if not mounted or self.workspace is None:
            return host.zygote_for(None, modules, network=network)
        self._mounting = host.zygote_for(None, modules, str(self.workspace.path), network=network)
        return self._mounting  # held here, so that it lives on between sessions

    def _own_modules(self) -> set[str]:
        return {name.removesuffix(".*") for name in self.additional_authorized_imports if name != "*"}


LocalPythonInterpreter = LocalPythonExecutor
"""The name that older programs use."""


def evaluate_python_code(
    code: str,
    static_tools: dict[str, Callable[..., Any]] | None = None,
    custom_tools: dict[str, Callable[..., Any]] | None = None,
    state: dict[str, Any] | None = None,
    authorized_imports: Iterable[str] = BASE_BUILTIN_MODULES,
    max_print_outputs_length: int = _MAX_PRINTED,
    timeout_seconds: float | None = MAX_EXECUTION_TIME_SECONDS,
) -> tuple[Any, bool]:
    """Run a program in a sandbox of its own.

    Args:
        code: The program.
        static_tools: Functions that it may call; they run in the caller's process.
        custom_tools: More of them.
        state: Variables it begins with; updated with its variables, and with what it printed as `_print_outputs`.
        authorized_imports: Modules that it may import.
        max_print_outputs_length: Characters of printed output that are kept.
        timeout_seconds: Seconds that it may run; None for no limit.

    Returns:
        The value of its last expression or its final answer, and whether it is a final answer.

    Raises:
        InterpreterError: It failed; the message is the traceback and a hint.
        TypeError: An argument is of another type.
    """
    imports = checked_texts("authorized_imports", authorized_imports)
    extra = [name for name in imports if name not in BASE_BUILTIN_MODULES]
    tools = checked_tools("static_tools", static_tools or {}) | checked_tools("custom_tools", custom_tools or {})
    variables = checked_dict("state", {} if state is None else state, "variables")
    executor = LocalPythonExecutor(extra, max_print_outputs_length, timeout_seconds=timeout_seconds)
    with executor:
        executor.send_tools(tools)
        executor.send_variables({name: value for name, value in variables.items() if not name.startswith("_")})
        try:
            result = executor(code)
        finally:
            if state is not None:
                state.update(executor.state)
    return result.output, result.is_final_answer
