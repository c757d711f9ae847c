"""The keeper of a guest: for sandboxes that the host reaches through one byte stream only.

It is the first program in such a sandbox (`python guest.py --keep OPTIONS`). It starts the guest as its child, carries
the guest's protocol and the connections of its programs over its own standard input and output (`multiplex`), sends
signals for the host, and ends everything when the host has gone: when its input ends, or nothing came for too long.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, NoReturn

from .multiplex import BEAT, MAX_STREAMS, STATUS, Frame, FrameReader, Stream, armored, frame
from .values import WireError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping

SILENCE = 60.0
"""Seconds without a word of the host after which a keeper ends everything; a host is heard more often than that."""

_MOST_OUT = 1 << 18
_FLUSH = 5.0
_PARENT_DEATH, _DUMPABLE, _SUBREAPER = 1, 4, 36  # operations of prctl


class Keeper:
    """Keeps one guest.

    Args:
        options: `config` is the guest's own, of which the keeper uses `limits` (fields of `SandboxLimits`), `uid` (the
            user and group id that the guest gets where the keeper is root), `folder` (where programs begin) and
            `network` (true, or a port: programs find a proxy at that port of 127.0.0.1, whose connections are carried
            to the host). Besides: `armor` (speak in lines of base64), `silence` (seconds), and `rlimits`, the limits
            that it sets on the guest's process itself: `memory`, `files`, `processes` and `disk` by default. And
            `filter`: a filter of system calls for the guest, compiled as `code` (in base64) for a `machine` (as
            `uname -m` names it); where it is `needed`, no guest starts without it.
        serve: Runs a guest on a socket.
    """

    def __init__(self, options: Mapping[str, Any], serve: Callable[..., NoReturn]) -> None:
        import select
        import time

        self._config: dict[str, Any] = options.get("config") or {}
        self._armor = bool(options.get("armor"))
        self._silence = float(options.get("silence") or SILENCE)
        self._filter: dict[str, Any] = options.get("filter") or {}
        self._rlimits = options.get("rlimits", ("memory", "files", "processes", "disk"))
        self._serve = serve
        self._now = time.monotonic
        self._frames = FrameReader(self._armor)
        self._out = bytearray()
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._listener: socket.socket | None = None
        self._child = 0
        self._status: int | None = None
        self._farewell = b""
        self._paused: set[int] = set()
        self._used_then: float | None = None
        self._poll = select.poll()
        self._watched: set[int] = set()
        self._in, self._write = select.POLLIN, select.POLLOUT

    # ---- beginning

    def run(self) -> NoReturn:
        """Keep the guest until it or the host has gone."""
        try:
            self._prepare()
            self._start()
            self._loop()
        except WireError:
            pass  # a host of another version, or none
        finally:
            self._end_all()
            os._exit(0)

    def _prepare(self) -> None:
        import signal

        for operation, value in ((_DUMPABLE, 0), (_SUBREAPER, 1)):
            _prctl(operation, value)
        self._woken, wake = os.pipe()
        for fd in (0, 1, self._woken, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._on_child)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_end)

    def _on_child(self, *_: Any) -> None:
        """Nothing: the loop has been woken."""

    def _on_end(self, *_: Any) -> None:
        raise WireError("told to end")

    def _start(self) -> None:
        import socket

        network = self._config.get("network")
        if network:
            self._listener = socket.create_server(("127.0.0.1", 0 if network is True else int(network)))
            self._listener.setblocking(False)
        ours, theirs = socket.socketpair()
        self._child = os.fork()
        if not self._child:
            _become_guest(theirs, self._config, self._rlimits, self._filter, self._listener, self._serve)
        theirs.close()
        self._streams[0] = Stream(0, ours)

    # ---- carrying

    def _loop(self) -> None:
        heard = self._now()
        while self._status is None or not self._streams[0].ended:
            for fd in self._ready(min(self._silence / 4, 5.0)):
                if fd == 0:
                    if not self._take_in():
                        return
                    heard = self._now()
                elif fd == self._woken:
                    os.read(fd, 4096)
                elif self._listener is not None and fd == self._listener.fileno():
                    self._accept()
                elif fd in self._by_fd:
                    self._by_fd[fd].flush()
            self._reap()
            self._collect()
            self._flush()
            if self._now() - heard > self._silence:
                return
        self._out += self._packed(frame(Frame.EXIT, 0, STATUS.pack(self._status)) + self._farewell)
        until = self._now() + _FLUSH
        while self._out and self._now() < until:
            self._ready(0.1, last=True)
            self._flush()

    def _ready(self, timeout: float, *, last: bool = False) -> list[int]:
        """What can be read or written by now."""
        self._by_fd = {stream.socket.fileno(): stream for stream in self._streams.values()}
        wanted = {0: self._in, self._woken: self._in} if not last else {}
        if self._out:
            wanted[1] = self._write
        full = len(self._out) >= _MOST_OUT
        if not last:
            for fd, stream in self._by_fd.items():
                mask = (self._in if stream.readable and not full else 0) | (self._write if stream.unsent else 0)
                if mask:
                    wanted[fd] = mask
            if self._listener is not None and len(self._streams) <= MAX_STREAMS:
                wanted[self._listener.fileno()] = self._in
        for fd in self._watched - wanted.keys():
            self._poll.unregister(fd)
        for fd, mask in wanted.items():
            self._poll.register(fd, mask)
        self._watched = set(wanted)
        return [fd for fd, _ in self._poll.poll(timeout * 1000)]

    def _take_in(self) -> bool:
        """Read what the host says and obey; False when it has gone."""
        try:
            data = os.read(0, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for kind, number, payload in self._frames.feed(data):
            self._obey(kind, number, payload)
        return bool(data)

    def _obey(self, kind: int, number: int, payload: bytes) -> None:
        import signal

        match kind:
            case Frame.SIGNAL:
                self._signal(payload[0], [self._child])
            case Frame.PAUSE:
                self._pause()
            case Frame.RESUME:
                self._signal(signal.SIGCONT, list(self._paused))
                self._paused.clear()
            case Frame.KILL:
                self._kill_all()
            case Frame.PING:
                self._out += self._packed(frame(Frame.PONG, 0, BEAT.pack(int.from_bytes(payload, "big"), self._used())))
            case _:
                stream = self._streams.get(number)
                if stream is None:
                    raise WireError("the host spoke of a stream that there is not")
                stream.take(kind, payload)

    def _collect(self) -> None:
        """Put into the output what is due, and what streams hold as far as it may travel."""
        for number, stream in list(self._streams.items()):
            frames = stream.due()
            if len(self._out) < _MOST_OUT:
                frames += self._read(stream)
            if frames:
                self._out += self._packed(frames)
            if stream.done and number:
                self._forget(stream)

    def _read(self, stream: Stream) -> bytes:
        frames = stream.read()
        if stream.ended and not stream.number and frames:
            self._farewell = frames  # once the host has it, it hears nothing more
            self._kill_all()
            return b""
        return frames

    def _forget(self, stream: Stream) -> None:
        fd = stream.socket.fileno()
        if fd in self._watched:
            self._watched.discard(fd)
            self._poll.unregister(fd)
        del self._streams[stream.number]
        stream.close()

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        self._last += 1
        self._streams[self._last] = Stream(self._last, connection)
        self._out += self._packed(frame(Frame.OPEN, self._last))

    def _packed(self, frames: bytes) -> bytes:
        return armored(frames) if self._armor else frames

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: os.write(1, self._out)]
        except BlockingIOError:
            pass
        except OSError:
            raise WireError("the host is gone") from None

    # ---- the guest and all that it started

    def _signal(self, number: int, pids: list[int]) -> None:
        for pid in pids:
            if self._status is not None and pid == self._child:
                continue
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    def _pause(self) -> None:
        import signal

        for _ in range(3):  # what was just being forked shows the next time
            found = set(family(os.getpid())) or {self._child}
            new = found - self._paused
            self._signal(signal.SIGSTOP, list(new))
            self._paused |= found
            if not new or len(found) == 1:
                break
        self._used_then = None

    def _kill_all(self) -> None:
        import signal

        if os.getpid() == 1:  # of the sandbox: all that is not itself
            with contextlib.suppress(OSError):
                os.kill(-1, signal.SIGKILL)
        for _ in range(100):
            found = family(os.getpid()) or ([] if self._status is not None else [self._child])
            if not found:
                return
            self._signal(signal.SIGSTOP, found)
            self._signal(signal.SIGKILL, found)
            self._reap()

    def _reap(self) -> None:
        """Take the status of what has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self._child:
                self._status = os.waitstatus_to_exitcode(status)
                self._kill_all()  # else they could hold its stream open

    def _used(self) -> float:
        """Seconds of processor time that the guest and all that it started have used."""
        if not self._paused:
            return _time_of(family(os.getpid()))
        if self._used_then is None:
            self._used_then = _time_of(self._paused)
        return self._used_then

    def _end_all(self) -> None:
        if self._child:
            self._kill_all()


def family(root: int) -> list[int]:
    """The processes that descend from one; empty where `/proc` does not tell."""
    found: list[int] = []
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for task in tasks:
            try:
                with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                    children = list(map(int, file.read().split()))
            except OSError:
                if pid == root:
                    return _family_by_parents(root)  # a kernel without these files
                continue
            found += children
            todo += children
    return found


def _time_of(pids: Iterable[int]) -> float:
    """Seconds of processor time that some processes have used, and those that they and this one have waited for."""
    import resource
    import time

    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = ended.ru_utime + ended.ru_stime
    ticks = os.sysconf("SC_CLK_TCK")
    for pid in pids:
        try:
            used += time.clock_gettime((~pid << 3) | 2)
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            used += (int(fields[13]) + int(fields[14])) / ticks
        except (OSError, IndexError, ValueError):
            continue
    return used


def _family_by_parents(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{int(name)}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return list(found - {root})


def _prctl(operation: int, value: int) -> None:
    """Set something of this process, where the system has it."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(operation, value, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


def _become_guest(
    end: socket.socket,
    config: dict[str, Any],
    rlimits: Any,
    calls: dict[str, Any],
    listener: socket.socket | None,
    serve: Callable[..., NoReturn],
) -> NoReturn:
    """The child: give up what is the keeper's, take on the limits, and run the guest."""
    import signal

    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        if listener is not None:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            os.environ |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), address)
        _limit(config.get("limits") or {}, rlimits)
        folder, uid = config.get("folder"), int(config.get("uid") or 0)
        if folder:
            os.chdir(folder)
        if uid and os.geteuid() == 0:
            if folder:
                os.chown(folder, uid, uid)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        _prctl(_DUMPABLE, 1)  # else its own /proc files were not its own
        _prctl(_PARENT_DEATH, signal.SIGKILL)
        fd = os.dup2(end.fileno(), 3, inheritable=False)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.closerange(4, 4096)
        if calls:
            _filter(calls)
        serve(fd, config)
    except BaseException as error:
        os.write(2, f"the guest cannot be started: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(74)


def _filter(given: Mapping[str, Any]) -> None:
    """Put this process under a filter of system calls, for good.

    Raises:
        OSError: It cannot be, and is needed.
    """
    import binascii

    code = binascii.a2b_base64(given["code"])
    why = "it is for another machine"
    if os.uname().machine == given["machine"]:
        try:
            import ctypes

            class Program(ctypes.Structure):
                _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

            program = Program(len(code) // 8, code)
            libc = ctypes.CDLL(None, use_errno=True)
            if not libc.prctl(38, 1, 0, 0, 0) and not libc.prctl(22, 2, ctypes.byref(program), 0, 0):
                return
            why = os.strerror(ctypes.get_errno())
        except (ImportError, OSError, AttributeError) as error:
            why = str(error)
    if given.get("needed"):
        raise OSError(f"system calls cannot be filtered, which a mounted workspace needs ({why})")


def _limit(limits: Mapping[str, Any], names: Any) -> None:
    import resource

    kinds = {
        "memory": resource.RLIMIT_DATA,
        "files": resource.RLIMIT_NOFILE,
        "processes": resource.RLIMIT_NPROC,
        "disk": resource.RLIMIT_FSIZE,
    }
    for name, kind in kinds.items():
        value = limits.get(name)
        if value is None or name not in names:
            continue
        hard = resource.getrlimit(kind)[1]
        value += _data_now() if name == "memory" else 0
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _data_now() -> int:
    """Bytes of data that this process holds already."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("VmData:")), 0)
    except OSError:
        return 0


def keep(options: str, serve: Callable[..., NoReturn]) -> NoReturn:
    """Keep a guest over standard input and output.

    Args:
        options: As for `Keeper`, as JSON.
        serve: Runs a guest on a socket.
    """
    Keeper(json.loads(options), serve).run()
