"""Deno as a child process that runs a guest in Pyodide, with no permission at all."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.errors import SandboxUnavailableError
from actloop.executors.cpu_time import cpu_time_of
from actloop.executors.wasm import assets
from actloop.values.cuts import cut, cut_before

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actloop.executors.session import SandboxLimits

HERE = Path(__file__).parent

_OWN = 48 << 20
"""Bytes of WebAssembly memory that Python takes before it holds anything of a program's."""

_BESIDE = 256 << 20
"""Bytes that V8 may take besides, as a program runs: for its code, and for files, which lie outside of Python."""

_PAGE = 1 << 16
_SAID = 1 << 16
_READY = b"ready\n"

START = 60.0
"""Seconds that it may take until it serves."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What Deno is to run.

    Attributes:
        deno: Deno's program.
        pyodide: Folder of Pyodide's files.
        image: A memory image to start from, or None to start anew.
        guest: File of the guest's source; not needed with an image.
        packages: Wheels that programs may import from.
    """

    deno: str
    pyodide: Path
    image: Path | None
    guest: Path | None
    packages: Sequence[Path] = ()

    def files(self) -> dict[str, Path]:
        """The files that Deno reads, by the names that its threads know them by."""
        files = {
            "worker": HERE / "worker.mjs",
            "loader": self.pyodide / "pyodide.mjs",
            "runtime": self.pyodide / "pyodide.asm.mjs",
            "python": self.pyodide / "pyodide.asm.wasm",
            "library": self.pyodide / "python_stdlib.zip",
        }
        if self.image is not None:
            files["image"] = self.image
        else:
            assert self.guest is not None
            files |= {"boot": HERE / "boot.py", "guest": self.guest}
        return files

    def command(self, memory: int | None, **task: Any) -> list[str]:
        """The command that runs Deno.

        Args:
            memory: Bytes that Python may take; None for as much as WebAssembly has.
            task: What main.mjs has to know besides.
        """
        files = self.files()
        told = {
            "files": {name: str(path) for name, path in files.items()},
            "packages": [str(path) for path in self.packages],
            "names": [path.name for path in self.packages],
            "info": assets.INFO,
            **task,
        }
        v8 = ["--disallow-code-generation-from-strings", "--expose-gc"]
        if memory is not None:
            v8.append(f"--wasm-max-mem-pages={min((memory + _OWN) // _PAGE, 1 << 16)}")
        readable = ",".join(str(path).replace(",", ",,") for path in (*files.values(), *self.packages))
        return [
            *(self.deno, "run", "--quiet", "--no-prompt", "--no-config", "--no-lock", "--no-code-cache"),
            *("--no-remote", "--no-npm", "--cached-only", "--deny-import", "--unstable-worker-options"),
            *(f"--allow-read={readable}", f"--v8-flags={','.join(v8)}"),
            *(str(HERE / "main.mjs"), json.dumps(told)),
        ]

    def confined(self, command: list[str]) -> list[str]:
        """The command behind a second wall, where the system has one: `launch.py`."""
        if sys.platform != "linux" or not sys.executable:
            return command
        read = [*self.files().values(), *self.packages, HERE / "main.mjs"]
        known = {"read": [str(path) for path in read], "write": [str(assets.cache_folder() / "deno")]}
        return [sys.executable, "-I", "-S", str(HERE / "launch.py"), json.dumps(known), *command]


def environment() -> dict[str, str]:
    """All of Deno's environment. Memory that is no longer used goes back at once: a start needs three times as much."""
    return {
        "DENO_DIR": str(assets.cache_folder() / "deno"),
        "DENO_NO_UPDATE_CHECK": "1",
        "NO_COLOR": "1",
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "MALLOC_TRIM_THRESHOLD_": "131072",
    }


class DenoProcess:
    """A guest in Pyodide in Deno; ready to serve when it has been made, which takes about half a second with an image.

    Args:
        plan: What to run.
        config: The guest's configuration.
        limits: What it is held to.

    Attributes:
        remarks: What the second wall is missing here, in words.

    Raises:
        SandboxUnavailableError: It did not start; the message says why.
    """

    def __init__(self, plan: Plan, config: Mapping[str, Any], limits: SandboxLimits) -> None:
        disk = (limits.disk or 0) + config.get("workspace", {}).get("room", 0)
        task = {"make": False, "config": dict(config), "limits": {"disk": disk, "files": limits.files}}
        self._owner = os.getpid()
        self.channel, other = socket.socketpair()
        try:
            self._child = subprocess.Popen(
                plan.confined(plan.command(limits.memory, **task)),
                stdin=other.fileno(),
                stdout=other.fileno(),
                stderr=subprocess.PIPE,
                env=environment(),
                cwd=os.sep,
                process_group=0,  # a group that stands still when its host dies is continued and ended by the kernel
            )
        except OSError as error:
            self.channel.close()
            raise SandboxUnavailableError(f"Deno cannot be started: {error}") from None
        finally:
            other.close()
        try:
            self.remarks = self._wait_ready()
            self._bound(limits.memory)
        except BaseException:
            self.channel.close()
            self.close()
            raise

    def _wait_ready(self) -> list[str]:
        """Wait until it serves; what it said before."""
        assert self._child.stderr is not None
        said = b""
        poll = select.poll()
        poll.register(self._child.stderr, select.POLLIN)
        until = time.monotonic() + START
        while not said.endswith(_READY):
            left = until - time.monotonic()
            data = os.read(self._child.stderr.fileno(), 4096) if left > 0 and poll.poll(1000 * left) else b""
            if not data or len(said) > _SAID:
                reason = cut(said.decode(errors="replace").strip(), 1000) or (
                    "it said nothing" if left > 0 else "too slow"
                )
                raise SandboxUnavailableError(f"Pyodide did not start in Deno: {reason}")
            said += data
        return said.removesuffix(_READY).decode(errors="replace").splitlines()

    def _bound(self, memory: int | None) -> None:
        """Limit the process as a whole, before any program runs; where the system can.

        Python's own memory is bounded by V8. This is for what lies beside it: files, and objects of JavaScript.
        """
        if sys.platform != "linux":
            return
        import resource

        from actloop.executors.kernel.limits import data_bytes

        pid = self._child.pid
        with contextlib.suppress(OSError, ValueError):
            for limit, value in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 256)):
                resource.prlimit(pid, limit, (value, value))
            now = data_bytes(Path(f"/proc/{pid}/status").read_text())
            if memory is not None and now:
                most = now + memory + _BESIDE
                resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet; a fork of the process that started it has none."""
        return self._owner == os.getpid() and self._child.poll() is None

    def signal(self, number: int) -> None:
        """As in `GuestProcess`."""
        self._child.send_signal(number)

    def kill(self) -> None:
        """As in `GuestProcess`."""
        self._child.kill()

    def pause(self) -> None:
        """As in `GuestProcess`."""
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """As in `GuestProcess`."""
        self._child.send_signal(signal.SIGCONT)

    def cpu_time(self) -> float | None:
        """As in `GuestProcess`."""
        return cpu_time_of(self._child.pid)

    def close(self) -> None:
        """As in `GuestProcess`."""
        if self._owner == os.getpid():
            self._child.kill()
            self._child.wait()
        if self._child.stderr is not None:
            self._child.stderr.close()


def make_image(plan: Plan) -> bytes:
    """The memory of a Pyodide that holds a guest, ready to serve.

    Raises:
        OSError, subprocess.SubprocessError: It did not come to that; the message says why.
    """
    done = subprocess.run(
        plan.command(None, make=True, config={}, limits={}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        cwd=os.sep,
        timeout=2 * START,
        check=False,
    )
    if done.returncode:
        raise subprocess.SubprocessError(cut_before(done.stderr.decode(errors="replace").strip(), 500) or "Deno failed")
    return done.stdout
