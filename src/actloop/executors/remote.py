"""The reference's executors outside this machine's kernel, under their names.

None of them is built yet: making one says so, and says what to use. They will be ways to start the same guest elsewhere
(`actloop.guest.bundle`), so that tools, sub-agents and limits are the same everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actloop.errors import SandboxUnavailableError
from actloop.executors.base import CodeOutput, PythonExecutor

if TYPE_CHECKING:
    from collections.abc import Mapping


class RemotePythonExecutor(PythonExecutor):
    """Base class of executors that run programs elsewhere.

    Args:
        additional_imports: Packages to install there.
        logger: Prints what happens.

    Raises:
        SandboxUnavailableError: Always, for now.
    """

    def __init__(self, additional_imports: list[str], logger: Any, **options: Any) -> None:  # noqa: ARG002
        raise SandboxUnavailableError(
            f"{type(self).__name__} is not part of this version of actloop. Use executor_type='local', the kernel "
            "sandbox of this machine, or pass a PythonExecutor of your own as executor="
        )

    def run_code_raise_errors(self, code: str) -> CodeOutput:
        """Run a program there."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to run a program: {code[:80]!r}")

    def install_packages(self, additional_imports: list[str]) -> list[str]:
        """Install packages there; returns those that are there now."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to install {additional_imports}")

    def send_tools(self, tools: Mapping[str, Any]) -> None:
        """As in `PythonExecutor`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to call {sorted(tools)}")

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """As in `PythonExecutor`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to set {sorted(variables)}")

    def __call__(self, code_action: str) -> CodeOutput:
        """Run a program there."""
        return self.run_code_raise_errors(code_action)

    def cleanup(self) -> None:
        """End what runs there."""

    def delete(self) -> None:
        """End what runs there, and remove it."""
        self.cleanup()


class DockerExecutor(RemotePythonExecutor):
    """Runs programs in a container."""


class WasmExecutor(RemotePythonExecutor):
    """Runs programs in WebAssembly."""


class E2BExecutor(RemotePythonExecutor):
    """Runs programs in a sandbox of E2B's."""


class ModalExecutor(RemotePythonExecutor):
    """Runs programs in a sandbox of Modal's."""


class BlaxelExecutor(RemotePythonExecutor):
    """Runs programs in a sandbox of Blaxel's."""


LocalDockerExecutor = DockerExecutor
