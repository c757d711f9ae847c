"""The executor that runs programs in WebAssembly."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentError
from actloop.executors.base import GuestExecutor
from actloop.executors.wasm import assets, image, packages

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from actloop.executors.base import CodeOutput
    from actloop.executors.guest_session import GuestProcess
    from actloop.executors.wasm.process import DenoProcess, Plan

_TIMEOUT = 60
"""Seconds that a program may run unless told otherwise."""

_LINUX = frozenset({"cpu"} if sys.platform == "linux" else ())


class WasmExecutor(GuestExecutor):
    """Runs programs in Pyodide, which is CPython for WebAssembly, in a Deno that has no permission at all.

    It works wherever Deno does, without root and without a daemon. A session starts in a third of a second and takes
    200 MB; programs run two to four times slower than in CPython, and have neither threads nor other processes. Pyodide
    is fetched from the npm registry on first use, into the user's cache.

    Args:
        additional_imports: Modules that programs may import besides the standard library's. Those of packages are
            fetched by pip on this machine, for Pyodide, when the first session starts: a module's name, a requirement
            such as "attrs>=25", or the path of a wheel. Packages in C need a wheel that was built for Pyodide.
        logger: Prints what happens.
        deno_path: Deno's program; by default the one that the extra `wasm` installs, else the one in `PATH`.
        deno_permissions: Must be empty: what programs need of the world, they get by tools.
        timeout: Seconds that a program may run; None for no limit.
        spare: Keep one more process ready, so that the next session starts at once.
        **options: Those of `GuestExecutor`.

    Raises:
        ValueError: Permissions are asked for, or a limit that it cannot enforce.
    """

    enforced = frozenset({"wall", "memory", "output", "files", "processes", "disk", "value"}) | _LINUX

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
        if "timeout_seconds" not in options and (timeout != _TIMEOUT or "limits" not in options):
            options["timeout_seconds"] = timeout
        self.logger = logger
        self.deno_path = deno_path
        self.deno_permissions: list[str] = []
        self._wanted = packages.requirements(list(additional_imports))
        self._keep_spare = spare
        self._spare: tuple[dict[str, Any], DenoProcess] | None = None
        self._spare_lock = threading.Lock()
        self._maker: threading.Thread | None = None
        super().__init__([name for name in additional_imports if not _is_requirement(name)], **options)

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
        if not assets.has_pyodide():
            return (
                f"Pyodide {assets.PYODIDE} is not here yet: the first session fetches it, or "
                "`python -m actloop.executors.wasm` does"
            )
        return ""

    def instructions(self) -> str:
        """As in `GuestExecutor`."""
        platform = (
            "The code runs in WebAssembly: there are no threads and no processes, so do not use threading, "
            "concurrent.futures or multiprocessing, nor asyncio.to_thread; asyncio itself works, and so does `await` "
            "outside of functions."
        )
        return f"{platform} {super().instructions()}".strip()

    def _check_installed(self) -> None:
        """What is installed here does not matter there."""

    # ---- processes

    def spawn(self, config: dict[str, Any]) -> GuestProcess:
        """As in `GuestExecutor`."""
        process = self._take_spare(config) or self._start(config)
        if self._keep_spare:
            with self._spare_lock:
                self._maker = threading.Thread(target=self._make_spare, args=(config,), name="actloop-spare")
                self._maker.start()
        return process

    def _start(self, config: dict[str, Any]) -> DenoProcess:
        from actloop.executors.wasm.process import DenoProcess

        plan = self._plan()
        config = {**config, "imports": [*config["imports"], *self._modules(plan.packages[1:])]}
        return DenoProcess(plan, config, self.limits)

    def _plan(self) -> Plan:
        """What Deno is to run; what is missing is fetched."""
        from actloop.executors.wasm.process import Plan

        deno = assets.find_deno(self.deno_path)
        pyodide = assets.ensure_pyodide(deno, self._say)
        memory = image.ensure_image(deno, pyodide, self._say)
        wheels = packages.ensure_packages(self._wanted, self._say)
        return Plan(
            deno, pyodide, memory, image.guest_file() if memory is None else None, (image.zones_file(), *wheels)
        )

    def _modules(self, wheels: Iterable[Path]) -> list[str]:
        """Modules of packages that were named as requirements or wheels, not as modules."""
        return packages.modules_of(wheels) if any(_is_requirement(name) for name in self._wanted) else []

    def _make_spare(self, config: dict[str, Any]) -> None:
        with contextlib.suppress(AgentError):  # then the next session says so
            process = self._start(config)
            with self._spare_lock:
                if self._spare is None:
                    self._spare = config, process
                    return
            process.channel.close()
            process.close()

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

    def _say(self, text: str) -> None:
        if self.logger is not None:
            self.logger.log(text)

    # ---- as in the reference

    def install_packages(self, additional_imports: list[str]) -> list[str]:
        """Have packages in sessions that start from now on.

        Returns:
            What was asked for.

        Raises:
            InterpreterError: One cannot be had for Pyodide.
        """
        wanted = packages.requirements(additional_imports)
        packages.ensure_packages(wanted, self._say)
        self._wanted.extend(name for name in wanted if name not in self._wanted)
        modules = [name for name in additional_imports if not _is_requirement(name)]
        self.authorized_imports = sorted({*self.authorized_imports, *modules})
        return additional_imports

    def run_code_raise_errors(self, code: str) -> CodeOutput:
        """Run a program in this executor's own session."""
        return self(code)

    def cleanup(self) -> None:
        """As in `GuestExecutor`."""
        super().cleanup()
        maker = self._maker
        if maker is not None:
            maker.join()
        self._take_spare({})

    def delete(self) -> None:
        """As `cleanup`."""
        self.cleanup()


def _is_requirement(name: str) -> bool:
    """Whether a name is more than that of a module: a requirement, or the path of a wheel."""
    return not name.replace("*", "x").replace(".", "x").isidentifier() or name.endswith(".whl")
