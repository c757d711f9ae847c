"""The process that sessions are forked from: it holds the interpreter, the guest and its modules ready.

Started by `host` with an empty environment and one thread. It lives in namespaces of its own, so its memory and what it
can open hold nothing of the host but the interpreter. It ends when the host does.

Messages on its control socket are JSON, one a packet; descriptors travel beside them:

    host                                        zygote
    {guest, paths, preload, without,
     workspace, network} + pidfd
                                                {ready, failed, workspace} or {error}
    {config} + channel, report                  {} + pidfd of the session, or {error}

A session that has a way out sends the host a listening socket on its channel, before everything else. It writes its
levels, or why it could not be confined, to its report; when it has ended, the zygote adds its status.
"""

from __future__ import annotations

import _socket
import _thread
import array
import contextlib
import fcntl
import gc
import json
import os
import resource
import select
import signal
import sys
import time
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from . import harden, limits, namespaces, network, seccomp, syscalls

if TYPE_CHECKING:
    from collections.abc import Callable

_CHANNEL, _REPORT, _PROC = 3, 4, 5
"""Descriptors of a session; the last two are closed before the guest runs."""

_THREAD_STACK = 4 * 1024 * 1024
"""Bytes of a thread's stack: it counts as data in full, and C code recurses to about 3 MB before Python stops it."""

_MAX_START, _MAX_MESSAGE = 1 << 18, 1 << 16
"""Bytes of the first message and of any later one; for larger ones, memory would be mapped at each."""

_FAILED = 70
"""Exit status of a session that could not be confined, or whose guest returned."""


class _Zygote:
    """State between requests.

    Attributes:
        control: The socket to the host.
        guest: Runs the guest on a descriptor, with a configuration.
        plan: What sessions are confined by.
        pid_namespace: The zygote's own pid namespace, to come back to after a fork into another; -1 without.
        uids: First and last user id that sessions may be given; (0, 0) where there are none.
        live: By the descriptor of each live session's process: its process id, its user id and its report.
    """

    def __init__(
        self, control: _socket.socket, guest: Callable[..., Any], plan: harden.Plan, pid_namespace: int
    ) -> None:
        self.control = control
        self.guest = guest
        self.plan = plan
        self.pid_namespace = pid_namespace
        self.uids = _spare_uids(plan)
        self.live: dict[int, tuple[int, int, int]] = {}
        self.poller = select.epoll()

    def serve(self, host: int) -> NoReturn:
        """Answer requests until the host is gone."""
        for descriptor in (self.control.fileno(), host):
            self.poller.register(descriptor, select.EPOLLIN)
        while True:
            for descriptor, _ in self.poller.poll():
                if descriptor == host:
                    self._end()
                elif descriptor == self.control.fileno():
                    message, descriptors = _receive(self.control)
                    if message is None:
                        self._end()
                    self._spawn(message["config"], descriptors)
                else:
                    self._reap(descriptor)

    def _spawn(self, config: dict[str, Any], descriptors: list[int]) -> None:
        channel, report = descriptors
        config["uid"] = self.fresh_uid()
        try:
            pid = self._fork()
            if pid == 0:
                self._become_session(config, channel, report)
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            os.close(report)
            _send(self.control, {"error": f"cannot start a process: {error}"})
            return
        finally:
            os.close(channel)
        self.live[pidfd] = (pid, config["uid"], report)
        self.poller.register(pidfd, select.EPOLLIN)
        _send(self.control, {}, [pidfd])

    def _fork(self) -> int:
        if self.pid_namespace < 0:
            return os.fork()
        syscalls.unshare(syscalls.CLONE_NEWPID)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                syscalls.call("setns", self.pid_namespace, syscalls.CLONE_NEWPID)
        return pid

    def _become_session(self, config: dict[str, Any], channel: int, report: int) -> NoReturn:
        try:
            self.control.detach()
            self.poller.close()
            _keep_descriptors(channel, report, self.plan.proc)
            try:
                _confine(self.plan._replace(proc=_PROC if self.plan.proc >= 0 else -1), config)
            except Exception as error:
                _write(_REPORT, {"error": f"{type(error).__name__}: {error}"})
                raise
            self.guest(_CHANNEL, config)
        finally:
            os._exit(_FAILED)  # whatever happened, this process must not go on as a second zygote

    def fresh_uid(self) -> int:
        """A user id that no live session has; 0 where none can be given."""
        first, last = self.uids
        if not last:
            return 0
        taken = {uid for _, uid, _ in self.live.values()}
        while True:  # by chance, since other zygotes choose from the same range
            uid = first + int.from_bytes(os.urandom(8), "little") % (last - first + 1)
            if uid not in taken:
                return uid

    def _reap(self, pidfd: int) -> None:
        pid, _, report = self.live.pop(pidfd)
        self.poller.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        _write(report, {"status": os.waitstatus_to_exitcode(status)})
        os.close(report)

    def _end(self) -> NoReturn:
        for pid, _, _ in self.live.values():
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def _receive(control: _socket.socket, size: int = _MAX_MESSAGE) -> tuple[dict[str, Any] | None, list[int]]:
    """One message and its descriptors; None when the host is gone."""
    try:
        data, ancillary, _, _ = control.recvmsg(size, _socket.CMSG_LEN(4 * 8), _socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return None, []
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    return (json.loads(data) if data else None), list(descriptors)


def _send(control: _socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        control.sendmsg([json.dumps(message).encode()], rights)
    except OSError:
        os._exit(0)  # the host is gone


def _write(descriptor: int, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody may be listening any more
        os.write(descriptor, json.dumps(message).encode() + b"\n")


def _keep_descriptors(channel: int, report: int, proc: int) -> None:
    """Put what a session needs where it expects it, and close everything else."""
    wanted = [(channel, _CHANNEL), (report, _REPORT)] + ([(proc, _PROC)] if proc >= 0 else [])
    copies = [(fcntl.fcntl(source, fcntl.F_DUPFD, 16), target) for source, target in wanted]
    for copy, target in copies:
        os.dup2(copy, target, inheritable=False)
    syscalls.close_from(3 + len(wanted))


def _confine(plan: harden.Plan, config: dict[str, Any]) -> None:
    """Confine this session, and tell the host how far that went."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.modules["_signal"].signal(signal.SIGINT, signal.default_int_handler)  # in `signal`, enums take their time
    os.umask(0o077)
    os.environ.clear()
    _thread.stack_size(_THREAD_STACK)
    levels = harden.confine(plan, config, _CHANNEL)
    if plan.pid and os.getppid() != plan.zygote:
        raise harden.NotConfinedError("the zygote died before this process had asked to die with it")
    scratch = next(level.applied for level in levels if level.name == "scratch")
    home = namespaces.SCRATCH if scratch else "/"
    os.environ.update({"HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "TZ": "UTC"})
    if plan.network:
        os.environ.update(network.environment(config["network"]) | config["certificates"])
        network.adapt_libraries()
    _write(_REPORT, {"levels": levels})
    os.close(_REPORT)
    if plan.proc >= 0:
        os.close(plan.proc)
    if "numpy.random" in sys.modules:  # `random` seeds itself anew after a fork, numpy's global generator does not
        sys.modules["numpy.random"].seed()


def _read_proc(proc: int, name: str) -> str:
    """A file below an open `/proc`; empty when there is none."""
    if proc < 0:
        return ""
    with open(name, opener=lambda path, flags: os.open(path, flags, dir_fd=proc)) as file:
        return file.read()


def _spare_uids(plan: harden.Plan) -> tuple[int, int]:
    """User ids that nobody is likely to have: the upper half of the largest range that is mapped here."""
    if os.geteuid() != 0 or plan.proc < 0 or "uid" in plan.without:
        return 0, 0
    lines = _read_proc(plan.proc, "self/uid_map").splitlines()
    ranges = [(int(first), int(count)) for first, _, count in map(str.split, lines)]
    first, count = max(ranges, key=lambda item: item[1])
    count = min(count, 0x7FFF0000)
    return (first + count // 2, first + count - 1) if count >= 2 else (0, 0)


def _load_guest(path: str) -> Callable[..., Any]:
    """The function `serve` of a file, or of a package by its `__init__.py`; with it all that it needs is loaded."""
    spec = spec_from_file_location("actloop_guest", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.serve


def _preload(names: list[str]) -> dict[str, str]:
    """Import modules now, so that no session has to; what fails is reported, by name."""
    failed: dict[str, str] = {}
    for name in names:
        try:
            import_module(name)
        except BaseException as error:  # a module may raise anything, SystemExit included
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def _user_namespace(uid: int, proc: int) -> bool:
    """Whether a session will be able to make a user namespace, tried in a child."""

    def attempt() -> None:
        if uid:
            harden.drop_user(uid)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
        namespaces.enter_for_session(proc, user=True, mount=True, uid=os.geteuid(), gid=os.getegid())

    try:
        namespaces.try_in_child(attempt)
    except OSError:
        return False
    return True


class _Isolation(NamedTuple):
    """How far the zygote isolated itself: reasons are empty where it did."""

    no_namespaces: str
    no_root: str
    no_pid: str
    pid_namespace: int = -1
    left_out: str = ""
    no_workspace: str = ""


def _isolate(start: dict[str, Any], control: _socket.socket, host: int, proc: int, readable: list[str]) -> _Isolation:
    """Enter the zygote's namespaces and root."""
    if "namespaces" in start["without"]:
        reason = "left out on request"
        return _Isolation(reason, reason, reason)
    if proc < 0:
        reason = "no /proc is mounted"
        return _Isolation(reason, reason, reason)
    try:
        namespaces.enter_for_zygote()
    except OSError as error:
        return _Isolation(str(error), "needs a mount namespace", str(error))
    _go_on_in_child(host, control)
    pid_namespace, no_pid = -1, ""
    try:
        pid_namespace = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        syscalls.call("setns", pid_namespace, syscalls.CLONE_NEWPID)
    except OSError as error:
        pid_namespace, no_pid = -1, str(error)
    if "root" in start["without"]:
        return _Isolation("", "left out on request", no_pid, pid_namespace)
    try:
        left_out, no_workspace = namespaces.build_root(readable, start["workspace"])
    except OSError as error:
        return _Isolation("", str(error), no_pid, pid_namespace)
    return _Isolation("", "", no_pid, pid_namespace, "; ".join(left_out), no_workspace)


def _go_on_in_child(host: int, control: _socket.socket) -> None:
    """Fork, to be the first process of the new pid namespace; the parent ends with the child or with the host.

    The parent's end kills the child, even while that hangs in a foreign module's import.
    """
    pid = os.fork()
    if pid != 0:
        control.close()  # the host sees its other end close when the child, which serves it, has died
        poller = select.poll()
        for descriptor in (host, os.pidfd_open(pid)):
            poller.register(descriptor, select.POLLIN)
        poller.poll()
        os._exit(0)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _prepare(control: _socket.socket, host: int, start: dict[str, Any]) -> tuple[_Zygote, dict[str, Any]]:
    """The zygote, and what the host is told of it."""
    guest = _load_guest(start["guest"])
    sys.path.extend(path for path in start["paths"] if path not in sys.path)
    try:
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.stat("self/uid_map", dir_fd=proc)
    except OSError:
        proc = -1
    readable = [*namespaces.SYSTEM_PATHS, *sys.path, *start["libraries"]]
    isolation = _isolate(start, control, host, proc, readable)
    failed = _preload(start["preload"])
    status = _read_proc(proc, "self/status")
    stack = limits.stack_bound(_read_proc(proc, "self/maps"))
    plan = harden.Plan(
        without=frozenset(start["without"]),
        proc=proc,
        root=isolation.no_root,
        left_out=isolation.left_out,
        pid=isolation.no_pid,
        namespaces=isolation.no_namespaces,
        user=False,
        readable=(*(path for path in readable if os.path.exists(path)), *namespaces.DEVICES),
        data=limits.data_bytes(status),
        space=limits.space_bytes(status),
        stack=stack,
        filter=seccomp.compiled(syscalls.machine(), 1, stack=stack, network=start["network"]),
        zygote=os.getpid(),
        network=start["network"],
    )
    zygote = _Zygote(control, guest, plan, isolation.pid_namespace)
    if not isolation.no_namespaces:
        zygote.plan = plan._replace(user=_user_namespace(zygote.fresh_uid(), proc))
    return zygote, {"failed": failed, "workspace": isolation.no_workspace or isolation.no_root}


def main(descriptor: int) -> NoReturn:
    """Run the zygote on an inherited control socket."""
    started = time.perf_counter()
    sys.argv = [""]
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    control = _socket.socket(fileno=descriptor)
    start, descriptors = _receive(control, _MAX_START)
    if start is None:
        os._exit(0)
    os.set_inheritable(descriptor, False)
    try:
        zygote, told = _prepare(control, descriptors[0], start)
    except BaseException as error:
        _send(control, {"error": f"{type(error).__name__}: {error}"})
        os._exit(_FAILED)
    gc.collect()
    gc.freeze()
    _send(control, {"ready": time.perf_counter() - started, **told})
    zygote.serve(descriptors[0])
