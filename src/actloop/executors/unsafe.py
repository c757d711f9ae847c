"""An executor without a sandbox, for trusted code on platforms that have none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from actloop import guest
from actloop.executors.base import GuestExecutor
from actloop.executors.cpu_time import cpu_time_of
from actloop.executors.tether import Tether
from actloop.values.temporary import TemporaryFolder

if TYPE_CHECKING:
    from actloop.executors.guest_process import GuestProcess


_BOOT = (
    "import sys; from importlib.util import module_from_spec, spec_from_file_location; "
    "spec = spec_from_file_location('actloop_guest', sys.argv.pop(1)); guest = module_from_spec(spec); "
    "sys.modules[spec.name] = guest; spec.loader.exec_module(guest); guest.main()"
)
"""Runs the guest's package by its path: in isolated mode nothing of actloop is found by name."""


class PlainProcess:
    """A guest in an ordinary child process, with all rights of the caller.

    It ends with the caller, however that ends; where not on Linux, only when it next waits for the caller.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._owner = os.getpid()
        self.channel, other = socket.socketpair()
        self._folder: TemporaryFolder | None = None
        if "workspace" in config:  # its copy: there is no other place that is the guest's own
            self._folder = TemporaryFolder("workspace")
            config["workspace"]["folder"] = str(self._folder.path)
        try:
            self._child = subprocess.Popen(
                self._command(config),
                stdin=other.fileno(),
                stdout=other.fileno(),
                start_new_session=True,
            )
            try:
                self._tether = Tether(self._child.pid)
            except BaseException:
                self._child.kill()
                self._child.wait()
                raise
        except BaseException:
            self.channel.close()
            self._remove_folder()
            raise
        finally:
            other.close()

    def _command(self, config: dict[str, Any]) -> list[str]:
        return [sys.executable, "-I", "-c", _BOOT, guest.__file__, json.dumps(config)]

    def _remove_folder(self) -> None:
        if self._folder is not None:
            self._folder.close()

    def signal(self, number: int) -> None:
        """As in `GuestProcess`."""
        self._child.send_signal(number)

    def kill(self) -> None:
        """As in `GuestProcess`."""
        self._child.kill()

    def pause(self) -> None:
        """Nothing: a stopped child would outlive a caller that is killed."""

    def resume(self) -> None:
        """As in `GuestProcess`."""

    def cpu_time(self) -> float | None:
        """As in `GuestProcess`."""
        return cpu_time_of(self._child.pid)

    def close(self) -> None:
        """As in `GuestProcess`."""
        if self._owner != os.getpid():
            return
        self._tether.untie()
        self._child.kill()
        self._child.wait()
        self._remove_folder()


class UnsafeInProcessExecutor(GuestExecutor):
    """Runs programs WITHOUT a sandbox, with all the rights of the caller. For code that you trust.

    It exists for platforms that cannot isolate. A program can read and change the caller's files, use the network,
    start programs and take all memory. What still holds: it runs in an interpreter of its own, so it cannot touch the
    caller's objects; the list of imports, which is no security; the limits of time and printed output. Limits of
    memory, files, processes and disk are not enforced.

    Arguments are those of `GuestExecutor`.
    """

    kind = "unsafe"
    enforced = frozenset({"wall", "cpu", "output", "value"} if sys.platform == "linux" else {"wall", "output", "value"})

    def spawn(self, config: dict[str, Any]) -> GuestProcess:
        """As in `GuestExecutor`."""
        return PlainProcess(config)
