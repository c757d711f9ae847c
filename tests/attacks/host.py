"""The host that is attacked: secrets, listeners and a process to lose, and a look at whether they are whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.executors.kernel import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

SECRET_NAME = "ACTLOOP_TEST_SECRET"

Metadata = tuple[int, int, int, int, int]


def _metadata(path: str) -> Metadata:
    found = os.stat(path)
    return found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns


def descendants(pid: int) -> list[int]:
    """Process ids of all living children of a process, and theirs."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found + [further for child in found for further in descendants(child)]


def peak_memory() -> int:
    """The most bytes of memory that this process has held since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> None:
    """Begin to measure `peak_memory` anew."""
    Path("/proc/self/clear_refs").write_text("5")


class Host:
    """Everything that an attack may want to get at. Enter it before a sandbox starts."""

    def __enter__(self) -> Host:
        self.secret = secrets.token_hex(16)
        self.environment_secret = secrets.token_hex(16)
        os.environ[SECRET_NAME] = self.environment_secret
        # Open to everybody, so that nothing but the sandbox is in the way.
        self.folder = tempfile.mkdtemp(prefix="actloop-canary-")
        os.chmod(self.folder, 0o777)
        self.canary = os.path.join(self.folder, "canary")
        Path(self.canary).write_text(self.secret)
        os.chmod(self.canary, 0o666)
        self.library = os.__file__
        self._metadata = {path: _metadata(path) for path in (self.canary, self.library, self.folder)}
        self._listen()
        self._victim = subprocess.Popen(["/bin/sleep", "1000"])
        self._victim_state = self._state_of_victim()
        return self

    def _listen(self) -> None:
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self.abstract = f"actloop-{secrets.token_hex(8)}"
        self._abstract = socket.socket(socket.AF_UNIX)
        self._abstract.bind("\0" + self.abstract)
        self._abstract.listen()
        self._sockets = [self._tcp, self._udp, self._abstract]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._victim.kill()
        self._victim.wait()
        for item in self._sockets:
            item.close()
        shutil.rmtree(self.folder)
        os.environ.pop(SECRET_NAME, None)

    def variables(self, zygote: int | None) -> dict[str, Any]:
        """What an attacker is told, so that it need not search."""
        return {
            "canary": self.canary,
            "folder": self.folder,
            "library": self.library,
            "secret_name": SECRET_NAME,
            "victim": self._victim.pid,
            "host": os.getpid(),
            "zygote": zygote or 1,
            "tcp": self._tcp.getsockname()[1],
            "udp": self._udp.getsockname()[1],
            "abstract": self.abstract,
            "NR": syscalls.NUMBERS[syscalls.machine()],
        }

    def _state_of_victim(self) -> tuple[Any, ...]:
        pid = self._victim.pid
        status = Path(f"/proc/{pid}/status").read_text()
        traced = next(line for line in status.splitlines() if line.startswith("TracerPid"))
        limits = Path(f"/proc/{pid}/limits").read_text()
        return os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid), traced, limits

    def harm(self, texts: Iterable[str]) -> list[str]:
        """What an attack has done, in words; empty when nothing.

        Args:
            texts: Everything that came out of the sandbox.
        """
        secrets = (self.secret, self.environment_secret)
        found = ["a secret came out" for text in texts if any(secret in text for secret in secrets)]
        if Path(self.canary).read_text() != self.secret:
            found.append("the canary was changed")
            Path(self.canary).write_text(self.secret)
        for path, before in self._metadata.items():
            if _metadata(path) != before:
                found.append(f"{path} was touched: {before} became {_metadata(path)}")
                os.chmod(path, before[0])
                self._metadata[path] = _metadata(path)
        if os.listdir(self.folder) != ["canary"]:
            found.append("a file was made")
            for name in os.listdir(self.folder):
                if name != "canary":
                    os.unlink(os.path.join(self.folder, name))
            self._metadata[self.folder] = _metadata(self.folder)
        found += self._reached()
        if self._victim.poll() is not None:
            found.append("a process was ended")
            self._victim = subprocess.Popen(["/bin/sleep", "1000"])
        elif self._state_of_victim() != self._victim_state:
            found.append("a process was changed")
            self._victim_state = self._state_of_victim()
        return found

    def _reached(self) -> list[str]:
        """Listeners that somebody reached; what came in is taken away."""
        found: list[str] = []
        readable, _, _ = select.select(self._sockets, [], [], 0)
        for item in readable:
            found.append(f"{item.getsockname()} was reached")
            if item is self._udp:
                item.recv(100)
            else:
                item.accept()[0].close()
        return found


def left_over(pid: int, before: set[int], allowed: int = 0, seconds: float = 30.0) -> list[int]:
    """Processes that a zygote has more than before; empty as soon as there are no more than allowed."""
    until = time.monotonic() + seconds
    while True:
        left = [child for child in descendants(pid) if child not in before]
        if len(left) <= allowed:
            return []
        if time.monotonic() > until:
            return left
        time.sleep(0.002)
