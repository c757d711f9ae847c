"""What executors outside this machine's kernel have in common: they run the same guest in a sandbox elsewhere.

Tools, sub-agents and everything else that a program may call stay with the caller, as they do in the kernel sandbox.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from actloop.errors import SandboxUnavailableError
from actloop.executors.base import GuestExecutor
from actloop.executors.checks import checked_texts
from actloop.executors.packages import module_of, packages_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actloop.executors.base import CodeOutput
    from actloop.executors.guest_process import GuestProcess


class RemotePythonExecutor(GuestExecutor, common=True):
    """Base class of executors that run programs in a sandbox elsewhere.

    Args:
        additional_imports: Modules that programs may import besides the standard library's, or requirements as pip
            understands them, such as "numpy==2.4.0"; `"*"` allows all that the sandbox has.
        logger: Prints what happens, with `log(text)`; None prints nothing.
        allow_pickle: Accepted as False: values travel in a safe codec here, never as pickles.
        **options: Those of `GuestExecutor`: `limits`, `timeout_seconds`, `workspace`, `allow_hosts`, ...

    Attributes:
        installed_packages: What pip is asked for in a sandbox.

    Raises:
        ValueError: Something is asked for that this executor cannot do.
    """

    def __init__(
        self, additional_imports: Iterable[str], logger: Any, allow_pickle: bool = False, **options: Any
    ) -> None:
        if allow_pickle:
            raise ValueError("allow_pickle: values travel in a safe codec here and never as pickles; leave it out")
        self.additional_imports = checked_texts("additional_imports", additional_imports)
        self.logger = logger
        self.installed_packages: list[str] = _packages(self.additional_imports)
        super().__init__(map(module_of, self.additional_imports), **options)

    def _check_installed(self) -> None:
        """Nothing: packages are those of the sandbox, not of this machine."""

    def _say(self, line: str) -> None:
        if self.logger is not None:
            self.logger.log(line)

    def spawn(self, config: dict[str, Any]) -> GuestProcess:  # noqa: ARG002 - subclasses need it
        """As in `GuestExecutor`."""
        raise SandboxUnavailableError(f"{type(self).__name__} does not say how its sandbox is started: define spawn()")

    def run_code_raise_errors(self, code: str) -> CodeOutput:
        """Run a program in this executor's own session.

        Raises:
            InterpreterError: It failed.
        """
        return super().__call__(code)

    def __call__(self, code_action: str) -> CodeOutput:
        """Run a program in this executor's own session; variables live on from call to call.

        Raises:
            InterpreterError: It failed; the message is the traceback and a hint.
            SandboxUnavailableError: There is no sandbox.
        """
        return self.run_code_raise_errors(code_action)

    def install_packages(self, additional_imports: list[str]) -> list[str]:
        """Have packages in every sandbox from now on, and allow their import; the packages of all, as pip is asked.

        The executor's own session, if there is one, ends: its next program begins in a sandbox that has them.
        """
        with self._lock:
            wanted = checked_texts("additional_imports", additional_imports)
            added = [name for name in wanted if name not in self.additional_imports]
            if added:
                self.additional_imports += added
                self.installed_packages = _packages(self.additional_imports)
                self.authorized_imports = sorted({*self.authorized_imports, *map(module_of, added)})
                self.cleanup()
            return list(self.installed_packages)

    def delete(self) -> None:
        """End what runs there, and remove it."""
        self.cleanup()


def _packages(imports: Iterable[str]) -> list[str]:
    listed = packages_of((name for name in imports if name != "*"), sys.stdlib_module_names)
    return list(dict.fromkeys(package for _module, package in listed))
