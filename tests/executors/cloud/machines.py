"""The sandboxes behind the stand-ins for cloud services: real processes, with namespaces of their own if possible."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

MARK = "ACTLOOP_STAND_IN"
_OWN_USERS = """
import ctypes, os, sys
me, (heard, tell) = os.getpid(), os.pipe()
if not os.fork():
    os.read(heard, 1)
    for kind in ("uid", "gid"):
        with open(f"/proc/{me}/{kind}_map", "w") as file:
            file.write("0 0 65536")
    os._exit(0)
if ctypes.CDLL(None).unshare(0x10000000):
    sys.exit("no namespace of users")
os.write(tell, b"1")
os.wait()
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A machine has a kernel of its own, which counts the processes of its users only: so does a namespace of users."""
_WRAP = (
    *(sys.executable, "-ISc", _OWN_USERS),
    *("/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
)


def processes_of(mark: str) -> list[int]:
    """The live processes of a machine."""
    wanted = f"{MARK}={mark}".encode()
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


@cache
def _can_isolate() -> bool:
    return os.geteuid() == 0 and subprocess.run([*_WRAP, "true"], capture_output=True, check=False).returncode == 0


@cache
def _opening() -> str:
    """Shell commands that make this interpreter's folder reachable for every user, as in an image."""
    home = next((part for part in reversed(Path(sys.base_prefix).parents) if not part.stat().st_mode & 1), None)
    if home is None:
        return ""
    inside = Path(sys.base_prefix)
    return (
        "p=$PATH; PATH=/usr/sbin:/usr/bin:/sbin:/bin; "
        f"d=$(mktemp -d) && mount --bind {inside} $d && mount -t tmpfs -o mode=755 none {home} && "
        f"mkdir -p {inside} && mount --bind $d {inside} && umount $d && rmdir $d && PATH=$p && "
    )


class Program:
    """A process in a machine, with its standard streams."""

    def __init__(self, arguments: list[str], *, folder: Path, environment: dict[str, str], has_input: bool) -> None:
        if _can_isolate():
            arguments = [*_WRAP, "/bin/sh", "-c", _opening() + 'exec "$@"', "sh", *arguments]
        self.process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.output: list[tuple[str, bytes]] = []
        self.changed = threading.Condition()
        self.open = 2
        self._writing = threading.Lock()
        for name, pipe in (("stdout", self.process.stdout), ("stderr", self.process.stderr)):
            assert pipe is not None
            threading.Thread(target=self._follow, args=(name, pipe.fileno()), daemon=True).start()

    def _follow(self, name: str, fd: int) -> None:
        while data := os.read(fd, 1 << 16):
            with self.changed:
                self.output.append((name, data))
                self.changed.notify_all()
        with self.changed:
            self.open -= 1
            self.changed.notify_all()
            if self.open:
                return
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        with self.changed:
            self.changed.notify_all()

    @property
    def ended(self) -> bool:
        return not self.open and self.process.returncode is not None

    def more(self, start: int, timeout: float) -> list[tuple[str, bytes]] | None:
        """What it wrote from there on: empty when it has ended, None when nothing came in time."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.output) > start or self.ended, timeout)
            parts = self.output[start:]
            return parts if parts or self.ended else None

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with self._writing:
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def close_input(self) -> None:
        assert self.process.stdin is not None
        with self._writing, suppress(OSError):
            self.process.stdin.close()

    def kill(self) -> None:
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)


class Machine:
    """A sandbox of a service.

    Args:
        mark: Its name; all its processes have it in their environment.
        python: The interpreter that programs find as `python3`; None for none.
        environment: More variables.
    """

    def __init__(
        self, mark: str, python: str | None = sys.executable, environment: dict[str, str] | None = None
    ) -> None:
        self.mark = mark
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.folder.chmod(0o755)
        self.programs: dict[int, Program] = {}
        self.removed = False
        binaries = self.folder / "bin"
        binaries.mkdir()
        if python is not None:
            (binaries / "python3").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
            (binaries / "python3").chmod(0o755)
        path = f"{binaries}:/usr/local/bin:/usr/bin:/bin" if python is not None else str(binaries)
        (self.folder / ".bash_profile").write_text(f"echo 'Welcome to this machine'\nexport PATH={path}\n")
        scratch = self.folder / "tmp"
        scratch.mkdir()
        scratch.chmod(0o1777)
        places = {"HOME": str(self.folder), "PATH": path, "TMPDIR": str(scratch)}
        self.environment = {**places, MARK: mark, **(environment or {})}

    def start(self, arguments: list[str], *, has_input: bool, variables: dict[str, str] | None = None) -> Program:
        environment = {**self.environment, **(variables or {})}
        program = Program(arguments, folder=self.folder, environment=environment, has_input=has_input)
        self.programs[program.pid] = program
        return program

    def remove(self) -> None:
        """End all that runs in it."""
        self.removed = True
        until = time.monotonic() + 10
        while (left := processes_of(self.mark)) and time.monotonic() < until:
            for pid in left:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        shutil.rmtree(self.folder, ignore_errors=True)
