"""Server processes of the embedded model: one for each file and settings, shared by all models that ask for it."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import secrets
import select
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from typing import IO

from actloop.errors import AgentGenerationError, MissingExtraError
from actloop.models.embedded import OnProgress, Progress
from actloop.models.server import ServerSettings, settings_to_json

_LOAD_SECONDS = 300.0
"""Seconds that loading may take: a cold disk reads slowly."""

_log = logging.getLogger("actloop.models")


@dataclass(slots=True)
class _Process:
    popen: subprocess.Popen[bytes]
    errors: IO[bytes]
    address: str
    key: str

    def end(self) -> None:
        """Ask it to end by ending its stdin, and wait until it has."""
        popen = self.popen
        with contextlib.suppress(OSError):
            if popen.stdin is not None:
                popen.stdin.close()
        try:
            popen.wait(3)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
        self.errors.close()


class SharedServer:
    """The server for some settings; started when first needed, again when it died, ended with its last user."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.users = 0
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self.owner = os.getpid()

    def endpoint(self, progress: OnProgress | None = None) -> tuple[str, str]:
        """Address (ending in `/v1`) and key of a server that runs.

        Raises:
            AgentGenerationError: It cannot be started; the message says what it said.
        """
        with self._lock:
            process = self._process
            if process is not None and process.popen.poll() is not None:
                _log.warning(
                    "The server of the model %s ended with status %s and is started again. It said: %s",
                    self.settings.name,
                    process.popen.returncode,
                    _tail(process.errors) or "nothing",
                )
                process.end()
                process = self._process = None
            if process is None:
                process = self._process = _start(self.settings, progress)
            return f"{process.address}/v1", process.key

    @property
    def pid(self) -> int | None:
        """The process's id; None while there is none."""
        return self._process.popen.pid if self._process else None

    def end(self) -> None:
        """End the process, if this one started it."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and self.owner == os.getpid():
            process.end()


_servers: dict[tuple[int, ServerSettings], SharedServer] = {}
_servers_lock = threading.Lock()


def _new_lock() -> None:
    global _servers_lock
    _servers_lock = threading.Lock()  # another thread may have held it while this process was forked


os.register_at_fork(after_in_child=_new_lock)


def acquire(settings: ServerSettings) -> SharedServer:
    """The server for these settings in this process, with one more user; `release` it when done."""
    with _servers_lock:
        server = _servers.get((os.getpid(), settings))
        if server is None:
            server = _servers[(os.getpid(), settings)] = SharedServer(settings)
        server.users += 1
        return server


def release(server: SharedServer) -> None:
    """One user less. With the last one the process ends; what is never released ends with this process."""
    with _servers_lock:
        server.users -= 1
        if server.users > 0:
            return
        _servers.pop((server.owner, server.settings), None)
    server.end()


@atexit.register
def _end_all() -> None:
    for (owner, _), server in list(_servers.items()):
        if owner == os.getpid():
            server.end()


def _start(settings: ServerSettings, progress: OnProgress | None) -> _Process:
    key = secrets.token_urlsafe(24)
    errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
    popen = subprocess.Popen(
        [sys.executable, "-P", "-m", "actloop.models.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    process = _Process(popen, errors, "", key)
    try:
        assert popen.stdin is not None
        assert popen.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            popen.stdin.write(settings_to_json(replace(settings, api_key=key)).encode() + b"\n")
            popen.stdin.flush()
        with popen.stdout:
            process.address = _await_address(process, popen.stdout, settings, progress)
    except BaseException:
        popen.kill()
        process.end()
        raise
    return process


def _await_address(process: _Process, out: IO[bytes], settings: ServerSettings, progress: OnProgress | None) -> str:
    size = os.stat(settings.path).st_size
    deadline = time.monotonic() + _LOAD_SECONDS
    last = -1
    while not select.select([out], [], [], 0.1)[0]:
        if time.monotonic() > deadline:
            raise AgentGenerationError(f"The model {settings.path} was not loaded within {_LOAD_SECONDS:.0f} s.")
        loaded = min(_resident(process.popen.pid), size - 1)  # after reading it the model still has to be prepared
        if progress is not None and loaded != last:
            progress(Progress("loading", loaded, size, settings.name))
            last = loaded
    try:
        told: dict[str, str] = json.loads(out.readline())
    except ValueError:
        raise AgentGenerationError(
            f"The process that loads the model {settings.path} ended with status {process.popen.wait(5)}. "
            f"It said: {_tail(process.errors) or 'nothing'}"
        ) from None
    if "missing" in told:
        raise MissingExtraError("xllamacpp", "local", "The embedded model")
    if "error" in told:
        raise AgentGenerationError(told["error"])
    if progress is not None:
        progress(Progress("loading", size, size, settings.name))
    return told["address"]


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds; while a model loads, about what it has read of it."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _tail(errors: IO[bytes]) -> str:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 2000))
    return errors.read().decode(errors="replace").strip()
