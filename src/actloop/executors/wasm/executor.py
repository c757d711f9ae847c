"""The executor that runs programs in WebAssembly."""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentError, InterpreterError, SandboxUnavailableError
from actloop.executors.base import Unsaid
from actloop.executors.locks import ForkSafeLock
from actloop.executors.remote import RemotePythonExecutor
from actloop.executors.wasm import assets, image, packages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actloop.executors.guest_process import GuestProcess
    from actloop.executors.wasm.process import DenoProcess

_TIMEOUT = Unsaid(60)
"""Seconds that a program may run unless told otherwise."""

_LINUX = frozenset({"cpu"} if sys.platform == "linux" else ())


class WasmExecutor(RemotePythonExecutor):
    """Runs programs in Pyodide, which is CPython for WebAssembly, in a Deno that has no permission at all.

    It works wherever Deno does, without root and without a daemon. A session starts in about half a second and takes
    200 MB; programs run one to three times slower than in CPython, and have neither threads nor other processes.
    Pyodide is fetched from the npm registry on first use, into the user's cache.

    Args:
        additional_imports: Modules that programs may import besides the standard library's. Those of packages are
            fetched by pip on this machine, for Pyodide, when the first session starts: a module's name, a requirement
            such as "attrs>=25", or the path of a wheel. Packages in C need a wheel that was built for Pyodide.
        logger: Prints what happens.
        deno_path: Deno's program; by default the one that the extra `wasm` installs, else the one in `PATH`.
        deno_permissions: Must be empty: what programs need of the world, they get by tools.
        timeout: Seconds that a program may run; None for no limit.
        spare: Keep one more process ready, so that the next session starts at once.
        **options: Those of `RemotePythonExecutor`.

    Raises:
        ValueError: Permissions are asked for, or a limit that it cannot enforce; or there is no such wheel. Packages
            that Pyodide cannot have are found when the first session starts, with `SandboxUnavailableError`.
    """

    kind = "wasm"
    enforced = frozenset({"wall", "memory", "output", "files", "processes", "disk", "value"}) | _LINUX
    files_in_memory = True

    def __init__(
        self,
        additional_imports: Iterable[str] = (),
        logger: Any = None,
        deno_path: str = "deno",
        deno_permissions: list[str] | None = None,
        timeout: float | None = _TIMEOUT,
        *,
        spare: bool = False,
        **options: Any,
    ) -> None:
        if deno_permissions:
            raise ValueError(
                f"deno_permissions={deno_permissions!r}: programs get no permission of Deno's, since each would hold "
                "for all that a model writes. Give them a tool for what they need, or files with workspace="
            )
        options.setdefault("timeout_seconds", timeout)
        self.deno_path = deno_path
        self.deno_permissions: list[str] = []
        self._keep_spare = spare
        self._without_spare()
        super().__init__(additional_imports, logger, **options)
        packages.check_wheels(self.installed_packages)

    @property
    def timeout(self) -> float | None:
        """Seconds that a program may run."""
        return self.limits.wall

    @classmethod
    def why_unavailable(cls) -> str:
        """As in `GuestExecutor`."""
        try:
            assets.find_deno()
        except AgentError as error:
            return str(error)
        return ""

    @classmethod
    def to_fetch(cls) -> str:
        """What the first session does by itself, once; empty when that is done."""
        return (
            ""
            if assets.has_pyodide()
            else f"fetches Pyodide {assets.PYODIDE}, or `python -m actloop.executors.wasm` does"
        )

    def instructions(self) -> str:
        """As in `GuestExecutor`."""
        platform = (
            "The code runs in WebAssembly: there are no threads and no processes, so do not use threading, "
            "concurrent.futures or multiprocessing, nor asyncio.to_thread; asyncio itself works, and so does `await` "
            "outside of functions."
        )
        return f"{platform} {super().instructions()}".strip()

    # ---- processes

    def spawn(self, config: dict[str, Any]) -> GuestProcess:
        """As in `GuestExecutor`."""
        process = self._take_spare(config) or self._start(config)
        if self._keep_spare:
            with self._spare_lock:
                # The end of the interpreter waits for no such thread; what it starts then ends with its host.
                work = threading.Thread(
                    target=self._make_spare, args=(config, self._epoch), name="actloop-spare", daemon=True
                )
                work.start()
        return process

    def _start(self, config: dict[str, Any]) -> DenoProcess:
        """Start a process; what is missing is fetched."""
        from actloop.executors.wasm.process import DenoProcess, Plan

        deno = assets.find_deno(self.deno_path)
        pyodide = assets.ensure_pyodide(deno, self._say)
        memory = image.ensure_image(deno, pyodide, self._say)
        try:
            wheels = packages.ensure_packages(self.installed_packages, self._say)
        except InterpreterError as error:  # no program can run then, whatever a model writes
            raise SandboxUnavailableError(str(error)) from None
        own = packages.modules_of(Path(name) for name in self.installed_packages if name.endswith(".whl"))
        guest = image.guest_file() if memory is None else None
        plan = Plan(deno, pyodide, memory, guest, (image.zones_file(), *wheels))
        return DenoProcess(plan, {**config, "imports": [*config["imports"], *own]}, self.limits)

    def _make_spare(self, config: dict[str, Any], epoch: int) -> None:
        with contextlib.suppress(AgentError):  # then the next session says so
            process = self._start(config)
            with self._spare_lock:
                if self._spare is None and epoch == self._epoch:
                    self._spare = config, process
                    return
            process.channel.close()
            process.close()

    def _without_spare(self) -> None:
        self._spare: tuple[dict[str, Any], DenoProcess] | None = None
        self._spare_lock = ForkSafeLock()
        self._epoch = 0  # how often there was a `cleanup`

    def _set_apart(self) -> None:
        """As in `SessionExecutor`."""
        super()._set_apart()
        self._without_spare()

    def _take_spare(self, config: dict[str, Any]) -> DenoProcess | None:
        """The spare process if it was made for this configuration; else it is ended."""
        with self._spare_lock:
            spare, self._spare = self._spare, None
        if spare is None:
            return None
        if spare[0] == config and spare[1].alive:
            return spare[1]
        spare[1].channel.close()
        spare[1].close()
        return None

    def cleanup(self) -> None:
        """As in `GuestExecutor`."""
        super().cleanup()
        with self._spare_lock:
            self._epoch += 1  # what is just being started ends when it has
        self._take_spare({})
