"""The engine that runs containers, through its API: starts them attached to a stream, and removes them surely."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import socket
import struct
import sys
import threading
import time
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import SandboxUnavailableError
from actloop.executors.containers import address
from actloop.executors.locks import ForkSafeLock
from actloop.executors.reaper import REAPER
from actloop.executors.stream import SocketStream
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)

OWNER = "actloop.owner"
"""Label of containers: the process that they belong to."""

_TIMEOUT = 120
_REMOVAL = 60
"""Seconds that the removal of a container may take that the engine has begun already."""

_CONFLICT = 409
_NO_DEVICES = ("could not select device driver", "unresolvable CDI devices")
"""In what engines say when they have none of the devices that are asked for; podman of old says nothing."""

_HEADER = struct.Struct(">BxxxI")
_STDERR = 2
_MOST_SAID = 4000


class Attached:
    """The standard streams of a container as a `ByteStream`; what comes as standard error is kept apart.

    Args:
        stream: What the engine sends and takes: its frames of output one way, plain bytes the other.

    Attributes:
        said: The end of what the container wrote to its standard error; untrusted.
    """

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._head = bytearray()
        self._left = self._kind = 0
        self._first = b""
        self.said = b""

    def first(self, timeout: float) -> bool:
        """Wait for the first bytes, which `read` gives once more; False when none come.

        Args:
            timeout: Seconds after which the stream is closed.
        """
        timer = threading.Timer(timeout, self.close)
        timer.daemon = True
        timer.start()
        try:
            self._first = self.read()
        except OSError:
            return False
        finally:
            timer.cancel()
        return bool(self._first)

    def read(self) -> bytes:
        """As in `ByteStream`."""
        if self._first:
            first, self._first = self._first, b""
            return first
        while data := self._stream.read():
            if out := self._output(data):
                return out
        return b""

    def _output(self, data: bytes) -> bytes:
        """What a piece of the engine's stream holds of standard output."""
        out: list[bytes] = []
        while data:
            if not self._left:
                missing = _HEADER.size - len(self._head)
                self._head += data[:missing]
                data = data[missing:]
                if len(self._head) == _HEADER.size:
                    self._kind, self._left = _HEADER.unpack(self._head)
                    self._head.clear()
                continue
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            if self._kind == _STDERR:
                self.said = (self.said + part)[-_MOST_SAID:]
            else:
                out.append(part)
        return b"".join(out)

    def write(self, data: bytes) -> None:
        """As in `ByteStream`."""
        self._stream.write(data)

    def close(self) -> None:
        """As in `ByteStream`."""
        self._stream.close()


class Engine:
    """A container engine. Safe to share between threads.

    Args:
        base_url: Its address; found by itself by default.

    Attributes:
        address: Its address.
        api: The SDK's low-level client.
        info: What the engine says of itself.
        is_podman: It is podman, which speaks the same API but for details.

    Raises:
        MissingExtraError: The SDK is not installed.
        SandboxUnavailableError: There is none, or it cannot be used.
    """

    def __init__(self, base_url: str | None = None) -> None:
        found, reason = address.find(base_url)
        if reason:
            raise SandboxUnavailableError(f"No container can be started: {reason}")
        self.sdk: Any = import_module("docker")
        self.address = found
        options: dict[str, Any] = self.sdk.utils.kwargs_from_env() if not base_url else {}
        try:
            self.api: Any = self.sdk.APIClient(**{**options, "base_url": found}, version="auto", timeout=_TIMEOUT)
            if address.socket_of(found):  # the SDK would keep connections open for each path by itself
                self.api.headers["Connection"] = "close"
            self.info: dict[str, Any] = self.api.info()
            self.is_podman = "podman" in str(self.api.version().get("Components")).lower()
        except self.errors as error:
            raise self.unavailable(error) from error
        if self.info.get("OSType", "linux") != "linux":
            raise SandboxUnavailableError(f"The container engine at {found} runs no Linux containers")

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the SDK raises."""
        return (self.sdk.errors.DockerException, import_module("requests").exceptions.RequestException, OSError)

    @property
    def local(self) -> bool:
        """Whether it sees the files of this process under the same names, so that folders can be mounted."""
        if sys.platform != "linux" or not address.socket_of(self.address):
            return False
        here = self.info.get("Name") == platform.node()  # and not in a container that was handed the host's socket
        return here and "desktop" not in str(self.info.get("OperatingSystem")).lower()

    def unavailable(self, error: Exception) -> SandboxUnavailableError:
        """What an error of the SDK means."""
        explanation = getattr(error, "explanation", None)
        if not explanation:
            reason = address.why_closed(self.address) or f"the engine at {self.address} does not answer: {error}"
        else:
            reason = str(cast("object", explanation))
        return SandboxUnavailableError(f"No container can be started: {cut(reason, 1000)}")

    def answers(self) -> bool:
        """Whether it still answers."""
        try:
            return not address.why_closed(self.address) and bool(self.api.ping())
        except self.errors:
            return False

    def _reach(self) -> None:
        """Fail at once when it is gone: the SDK would leave a socket open."""
        if address.why_closed(self.address):
            raise self.sdk.errors.DockerException("it does not answer")

    # ---- containers

    def start(self, config: Mapping[str, Any]) -> tuple[str, Attached]:
        """Create and start a container that is attached to a stream; its id, and that.

        Args:
            config: Of the container, as the engine's API takes it.

        Raises:
            SandboxUnavailableError: It cannot be started.
        """
        name = ""
        try:
            self._reach()
            name = self.api.create_container_from_config(dict(config))["Id"]
            if not self._has_devices(name, config):
                raise self._without_devices()
            stream = self._attach(name)
            try:
                self.api.start(name)
            except BaseException:
                stream.close()
                raise
        except BaseException as error:
            if name:
                REAPER.put(lambda: self.remove(name))
            if isinstance(error, self.errors):
                said = str(getattr(error, "explanation", ""))
                lacking = any(part in said for part in _NO_DEVICES)
                raise (self._without_devices() if lacking else self.unavailable(error)) from error
            raise
        return name, Attached(stream)

    def _has_devices(self, name: str, config: Mapping[str, Any]) -> bool:
        """Whether a container got the devices that were asked for, if any: podman leaves them out without a word."""
        asked: dict[str, Any] = config.get("HostConfig") or {}
        if not asked.get("DeviceRequests"):
            return True
        host: dict[str, Any] = self.api.inspect_container(name).get("HostConfig") or {}
        return bool(host.get("DeviceRequests") or host.get("Devices"))

    def _without_devices(self) -> SandboxUnavailableError:
        return SandboxUnavailableError(
            f"The container engine at {self.address} gives containers none of the devices that gpus= asks for: leave "
            "gpus out, or set the engine up for GPUs"
        )

    def _attach(self, name: str) -> SocketStream:
        raw = self.api.attach_socket(name, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        plain = getattr(raw, "_sock", None)
        if type(plain) is not socket.socket:
            return SocketStream(raw)  # encrypted, or a pipe of Windows: the SDK's own object
        ours = socket.socket(fileno=os.dup(plain.fileno()))
        response = getattr(raw, "_response", None)
        if response is not None:
            response.close()
        raw.close()
        plain.close()
        return SocketStream(ours)

    def remove(self, name: str, *, wait: float = _REMOVAL) -> None:
        """Kill and remove a container; nothing happens if it is gone.

        Args:
            name: Its id.
            wait: Seconds to wait for one that the engine is removing already.

        Raises:
            Exception: What the SDK raises when the engine cannot do it.
        """
        tries, until, pause = 3, time.monotonic() + wait, 0.02
        while True:
            try:
                self._reach()
                self.api.remove_container(name, force=True, v=True)
                return
            except self.sdk.errors.NotFound:
                return
            except self.errors as error:
                removing = getattr(error, "status_code", None) == _CONFLICT  # by itself, since it has ended
                tries -= not removing
                if tries < 0 or time.monotonic() > until:
                    raise
            time.sleep(pause if removing else 0.3)
            pause = min(2 * pause, 1.0)

    def remove_leftovers(self) -> int:
        """Remove the containers of processes of this machine that are dead; how many there were."""
        found: list[dict[str, Any]] = self.api.containers(all=True, filters={"label": OWNER})
        dead: list[str] = [entry["Id"] for entry in found if is_dead(entry["Labels"][OWNER])]
        for name in dead:
            with contextlib.suppress(*self.errors):
                self.remove(name, wait=0)
        return len(dead)

    def close(self) -> None:
        """Close connections that are kept open."""
        self.api.close()


def owner(pid: int | None = None) -> str:
    """This process, or one whose id is the same in its namespace, so that nothing else is ever taken for it."""
    pid = pid or os.getpid()
    return f"{_here()}/{pid}/{_began(pid)}"


@cache
def _here() -> str:
    """What process ids of this process mean something in: a running kernel, and a namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _began(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_dead(label: str) -> bool:
    """Whether a label names a process that would be found here, and is not."""
    place, _, rest = label.rpartition("/")
    place, _, pid = place.rpartition("/")
    if place != _here() or not pid.isdecimal() or not Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it lives, and is another user's
    except (OverflowError, ValueError):
        return False  # no process has such a number
    began = _began(int(pid))  # empty where the kernel hides other users' processes
    return bool(began and rest) and began != rest


_engines: dict[tuple[Any, ...], Engine] = {}
_engines_lock = ForkSafeLock()


def engine_at(base_url: str | None = None) -> Engine:
    """The engine at an address, shared by all executors of this process.

    Raises:
        MissingExtraError, SandboxUnavailableError: As in `Engine`.
    """
    named = base_url or (*address.addresses(), *map(os.environ.get, ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")))
    key = (named, os.getpid())
    with _engines_lock:
        engine = _engines.get(key)
    if engine is not None and engine.answers():
        return engine
    engine = Engine(base_url)
    with _engines_lock:
        _engines[key] = engine
    REAPER.put(_quietly(engine.remove_leftovers))
    return engine


def _quietly(act: Callable[[], Any]) -> Callable[[], None]:
    def quiet() -> None:
        try:
            act()
        except Exception as error:
            _log.debug("leftover containers could not be removed: %s", error)

    return quiet
