"""What executors over cloud services share: a service's sandbox, a program in it, and that program's streams."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import secrets
import shlex
import threading
import time
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from actloop.errors import SandboxUnavailableError
from actloop.executors import bundle
from actloop.executors.packages import packages_of as packages_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_log = logging.getLogger(__name__)

GUEST_USER = 61_337
"""User and group id that programs get where the service lets the keeper be root: nobody else has it."""

RLIMITS = ("memory", "files", "processes")
"""Limits that the keeper sets on the guest; the others mean more than what one process may do."""

_PIECE = 1 << 20
_MOST_HELD = 4 << 20
_MOST_BEFORE = 1 << 20
_MOST_SAID = 4000
_LAST_WORD = 3.0

# ---- the program


@cache
def _boot_text() -> str:
    return Path(__file__).with_name("boot.py").read_text("utf-8")


def program(options: Mapping[str, Any]) -> bytes:
    """What goes to a sandbox's Python first, for `command` to read: `boot.boot` and the guest."""
    text = f"{_boot_text()}\nimport json\nboot(json.loads({json.dumps(options)!r}), {bundle.source()!r})\n"
    return base64.b64encode(zlib.compress(text.encode(), 9))


def command(length: int, python: str = "python3") -> str:
    """The shell command that starts a Python which reads a `program` of so many bytes and runs it."""
    loader = (
        "import base64,os,sys,zlib\n"
        "d=b''\n"
        f"while len(d)<{length}:\n"
        f" p=os.read(0,{length}-len(d))\n"
        " if not p:sys.exit(79)\n"
        " d+=p\n"
        "exec(compile(zlib.decompress(base64.b64decode(d)),'boot.py','exec'))\n"
    )
    packed = base64.b64encode(loader.encode()).decode()
    return f'exec {shlex.quote(python)} -I -c \'exec(__import__("base64").b64decode("{packed}"))\''


# ---- its streams


class CloudStream:
    """The standard streams of a program that a service runs; a `ByteStream` of what it writes after a marker.

    Args:
        output: What the service says: pairs of "stdout" or "stderr" and text or bytes. Iterated in a thread of its own,
            and closed there.
        send: Writes into its standard input; blocks until the service has taken it.
        hang_up: Makes `output` end soon; may do nothing where the removal of the sandbox does so.
        say: Gets each line of standard error until the marker comes.
    """

    def __init__(
        self,
        output: Iterable[tuple[str, str | bytes]],
        send: Callable[[bytes], object],
        hang_up: Callable[[], object] = lambda: None,
        say: Callable[[str], object] = lambda _line: None,
    ) -> None:
        self._output = output
        self._send = send
        self._hang_up = hang_up
        self._say: Callable[[str], object] = say
        self._lock = threading.Condition()
        self._data = bytearray()
        self._said = b""
        self._fault: Exception | None = None
        self._ended = self._closed = False
        threading.Thread(target=self._follow, name="actloop-cloud", daemon=True).start()

    def _follow(self) -> None:
        fault: Exception | None = None
        try:
            for source, text in self._output:
                data = text.encode("utf-8", "replace") if isinstance(text, str) else text
                if source == "stdout":
                    with self._lock:
                        self._data += data
                        self._lock.notify_all()
                        self._lock.wait_for(lambda: self._closed or len(self._data) < _MOST_HELD)
                        if self._closed:
                            break
                else:
                    self._take_said(data)
        except Exception as error:  # of the service's library
            fault = error
        finally:
            close = getattr(self._output, "close", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    close()
            with self._lock:
                self._fault, self._ended = fault, True
                self._lock.notify_all()

    def _take_said(self, data: bytes) -> None:
        *lines, _rest = (self._said.rpartition(b"\n")[2] + data).split(b"\n")
        with self._lock:
            self._said = (self._said + data)[-_MOST_SAID:]
        for line in lines:
            if line.strip():
                self._say(line.decode("utf-8", "replace").rstrip())

    def begin(self, marker: str, timeout: float) -> None:
        """Wait until the marker was written; what was written before is dropped.

        Raises:
            TimeoutError: It was not, in that many seconds.
            SandboxUnavailableError: The program ended first; the message says what it said.
            Exception: What the service's library raised.
        """
        sign = f"\n{marker}\n".encode()
        with self._lock:
            known = self._lock.wait_for(
                lambda: self._ended or self._closed or sign in self._data or len(self._data) > _MOST_BEFORE, timeout
            )
            before, found, after = self._data.partition(sign)
            if found:
                self._data, self._say = after, _to_log
                self._lock.notify_all()
                return
            if not known:
                raise TimeoutError(f"no sign of the program within {timeout:g} seconds")
            if self._fault is not None:
                raise self._fault
            said = self._said + bytes(before[-_MOST_SAID:])
        raise SandboxUnavailableError(_reason(said.decode("utf-8", "replace")))

    def read(self) -> bytes:
        """As in `ByteStream`."""
        with self._lock:
            self._lock.wait_for(lambda: self._data or self._ended or self._closed)
            if self._closed:
                return b""
            if not self._data and self._fault is not None:
                raise self._fault
            data = bytes(self._data)
            self._data.clear()
            self._lock.notify_all()
            return data

    def write(self, data: bytes) -> None:
        """As in `ByteStream`."""
        for start in range(0, len(data), _PIECE):
            if self._closed or self._ended:
                raise BrokenPipeError("the program in the sandbox has ended")
            self._send(data[start : start + _PIECE])

    def close(self) -> None:
        """As in `ByteStream`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            ended = self._ended
            self._lock.notify_all()
        if not ended:
            with contextlib.suppress(Exception):
                self._hang_up()


def _to_log(line: str) -> None:
    _log.debug("a sandbox says: %s", line)


def _reason(said: str) -> str:
    """Why a program did not begin, by what it said last."""
    for line in reversed(said.splitlines()):
        if line.startswith("actloop: "):
            rest = "\n".join(text for text in said.splitlines()[-12:] if text.strip() and text != line)
            return line.removeprefix("actloop: ") + (f":\n{rest}" if rest and "pip" in line else "")
    lines = [line for line in said.splitlines() if line.strip()]
    return "\n".join(lines[-8:]) or "its Python ended without a word"


# ---- the sandbox


class Machine(Protocol):
    """A sandbox of a service.

    Attributes:
        name: What the service calls it.
    """

    name: str

    def start(self, command: str, say: Callable[[str], object]) -> CloudStream:
        """Run a shell command in it as root, with a standard input."""
        ...

    def shut(self) -> None:
        """Close its network, if that was open for packages only."""
        ...

    def prolong(self) -> None:
        """Have the service keep it for another while."""
        ...

    def remove(self) -> None:
        """End it; nothing happens if it has ended.

        Raises:
            Exception: What the service's library raised.
        """
        ...


def begin(machine: Machine, options: dict[str, Any], say: Callable[[str], object], timeout: float) -> CloudStream:
    """Start the keeper in a fresh sandbox; the stream to it.

    Args:
        machine: The sandbox.
        options: As for `boot.boot`, without the marker.
        say: Gets what is said on standard error meanwhile.
        timeout: Seconds that it may take.

    Raises:
        SandboxUnavailableError: The sandbox cannot run programs.
        Exception: What the service's library raised.
    """
    marker = secrets.token_hex(16)
    text = program({**options, "marker": marker})
    stream = machine.start(command(len(text)), say)
    try:
        try:
            stream.write(text)
        except Exception:
            with contextlib.suppress(TimeoutError):
                stream.begin(marker, _LAST_WORD)  # says why the program ended, if it did
            raise
        stream.begin(marker, timeout)
        machine.shut()
    except BaseException:
        stream.close()
        raise
    return stream


class Lease:
    """Keeps a sandbox for as long as it is used, and surely ends it then.

    Args:
        machine: The sandbox.
        every: Seconds after which the service is asked to keep it; None if it need not be asked.
        left: What becomes of it when it cannot be removed, for a warning.
    """

    def __init__(self, machine: Machine, every: float | None, left: str) -> None:
        self._machine = machine
        self._left = left
        self._over = threading.Event()
        if every is not None:
            threading.Thread(target=self._keep, args=(every,), name="actloop-cloud-lease", daemon=True).start()

    def _keep(self, every: float) -> None:
        while not self._over.wait(every):
            try:
                self._machine.prolong()
            except Exception as error:
                _log.warning(
                    "The sandbox %s may end soon: its service could not be asked to keep it (%s)",
                    self._machine.name,
                    type(error).__name__,
                )

    def end(self) -> None:
        """Remove the sandbox; tries again when the service is not reached. Never raises."""
        self._over.set()
        for pause in (0.2, 1.0, None):
            try:
                self._machine.remove()
                return
            except Exception as error:
                if pause is None:
                    _log.warning(
                        "The sandbox %s could not be removed (%s). %s",
                        self._machine.name,
                        type(error).__name__,
                        self._left,
                    )
                    return
                time.sleep(pause)


def masked(text: str, hidden: Sequence[str | None]) -> str:
    """A text without the credentials that a service's library may have put there."""
    for secret in hidden:
        if secret and len(secret) > 3:
            text = text.replace(secret, "***")
    return text
