"""The host's side of the kernel sandbox: starts zygotes and asks them for sessions."""

from __future__ import annotations

import array
import atexit
import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.errors import SandboxUnavailableError
from actloop.executors.descriptors import if_few, none_left

from . import seccomp, syscalls
from .landlock import abi as landlock_abi
from .spawned import Report, confined

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from .spawned import Spawned

DEFAULT_PRELOAD = tuple(
    """
    abc ast bisect collections contextlib copy csv dataclasses datetime decimal enum fractions functools heapq io
    itertools json linecache math operator random re statistics string struct textwrap threading time traceback typing
    """.split()  # noqa: SIM905 - a list of names, not of strings
)
"""Modules of the standard library that most programs import; a session imports the others when it first needs them."""

NETWORK_PRELOAD = ("http.client", "select", "selectors", "socket", "ssl", "urllib.error", "urllib.request")
"""Those that programs need besides where they may send requests."""

_CERTIFICATES = (
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
)
"""Where systems keep the certificates of authorities, public all of them; never a folder with private keys."""

_FOLDER = Path(__file__).resolve().parent
_GUEST = _FOLDER.parent.parent / "guest" / "__init__.py"
_BOOT = (
    "import sys, types; package = types.ModuleType('_actloop_kernel'); package.__path__ = [sys.argv[1]]; "
    "sys.modules['_actloop_kernel'] = package; from _actloop_kernel import zygote; zygote.main(int(sys.argv[2]))"
)
"""Loads the zygote's few modules without their package, whose `__init__` files would cost time and pull in more."""

_ENVIRONMENT = {"LANG": "C.UTF-8", "TZ": "UTC"} | {
    f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "BLIS")
}
"""Of the zygote. A library that started threads there would break every session: only one thread survives a fork."""

_MAX_MESSAGE = 1 << 16


class _Certificates:
    """What programs check servers' certificates against: what this interpreter would use.

    Attributes:
        paths: Files and folders.
        environment: The variables that lead there, where the caller's own environment has them.
    """

    def __init__(self) -> None:
        import ssl

        found = ssl.get_default_verify_paths()
        named = (found.cafile, found.capath, found.openssl_cafile, found.openssl_capath)
        self.paths = [path for path in dict.fromkeys((*_CERTIFICATES, *named)) if path and os.path.exists(path)]
        names = (found.openssl_cafile_env, found.openssl_capath_env)
        self.environment = {name: os.environ[name] for name in names if name in os.environ}


@cache
def _keep_bytecode() -> None:
    """Compile what only a zygote loads and keep it on disk, as an import here would: a zygote itself writes nothing.

    Where it cannot be kept, each zygote compiles it again, which takes about 30 ms.
    """
    if sys.dont_write_bytecode:
        return
    for path in map(str, (_FOLDER / "zygote.py", *_GUEST.parent.glob("*.py"))):
        kept = cache_from_source(path)
        if not os.path.exists(kept) or os.path.getmtime(kept) < os.path.getmtime(path):
            SourceFileLoader("", path).get_code("")


def why_unavailable() -> str:
    """Why nothing can be isolated on this machine; empty where it can."""
    if sys.platform != "linux":
        return f"the kernel sandbox needs Linux, and this is {sys.platform}"
    if not syscalls.supported():
        return f"the kernel sandbox needs a 64-bit x86_64 or aarch64 machine, and this is {os.uname().machine}"
    if not hasattr(os, "pidfd_open"):
        return "the kernel sandbox needs a Python built with pidfd_open"
    if not (landlock_abi() or seccomp.available()):
        return "this kernel has neither landlock nor seccomp filters"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return str(none_left(error) or f"the kernel sandbox needs pidfd_open (Linux 5.3): {error}")
    return ""


def third_party_paths() -> tuple[str, ...]:
    """The folders of installed packages that this interpreter imports from."""
    return tuple(
        path for path in sys.path if Path(path).name in ("site-packages", "dist-packages") and Path(path).is_dir()
    )


class Zygote:
    """Starts sessions by forking them from a prepared process, started on first use and again when it has died.

    Safe to share between threads. After `os.fork` the child gets a zygote of its own.

    Args:
        paths: Folders to import third-party packages from; None for those of this interpreter. A session can read them.
        preload: Modules to import before sessions are forked.
        without: Levels to leave out (`harden.LEVELS`), to test the others.
        guest: The program of a session: a file with a function `serve(fd, config)`, or the `__init__.py` of a package.
        workspace: A folder that all its sessions can read, as `namespaces.WORKSPACE`.
        network: Whether its sessions have a way out: to the port `config["network"]` of their own loopback interface.
    """

    def __init__(
        self,
        paths: Sequence[str] | None = None,
        preload: Iterable[str] = DEFAULT_PRELOAD,
        *,
        without: Collection[str] = (),
        guest: Path = _GUEST,
        workspace: str | None = None,
        network: bool = False,
    ) -> None:
        self.paths = tuple(paths) if paths is not None else third_party_paths()
        self.preload = tuple(preload)
        self.without = frozenset(without)
        self.guest = guest
        self.workspace = workspace
        self.network = network
        self._certificates = _Certificates() if network else None
        self.failed: dict[str, str] = {}
        """Modules that could not be imported beforehand, and why; known after the first `spawn`."""
        self._no_workspace = ""
        self._forget()
        _zygotes.add(self)

    def _forget(self) -> None:
        """Begin anew without touching the process, which may belong to the parent of a fork."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def after_fork_in_child(self) -> None:
        """Let go of the parent's zygote."""
        if self._process is not None:
            self._process.returncode = 0  # not this process's child: nothing to wait for, nothing to warn of
        if self._control is not None:
            self._control.close()
        self._forget()

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self._stop()

    def why_no_workspace(self) -> str:
        """Why its sessions cannot read the workspace; empty where they can. Starts the zygote.

        Raises:
            SandboxUnavailableError: It does not come up.
        """
        with self._lock:
            if self._control is None:
                self._start()
            return self._no_workspace

    @property
    def pid(self) -> int | None:
        """Process id of the running zygote; None while there is none."""
        return self._process.pid if self._process is not None else None

    def spawn(self, config: dict[str, Any], timeout: float = 10.0) -> Spawned:
        """Start a session.

        Args:
            config: Handed to the guest; `config["limits"]` holds the fields of `SandboxLimits`.
            timeout: Seconds that the session may take to come up; a zygote may take 60 more for its imports.

        Raises:
            SandboxUnavailableError: No session can be had, or not in time.
        """
        if self._certificates is not None:
            config = config | {"certificates": self._certificates.environment}
        request = json.dumps({"config": config}).encode()
        if len(request) > _MAX_MESSAGE:
            raise ValueError(f"a session's configuration takes {len(request)} bytes; at most {_MAX_MESSAGE} fit")
        try:
            return self._spawn(request, timeout)
        except OSError as error:
            if (full := none_left(error)) is not None:
                raise full from error
            raise

    def _spawn(self, request: bytes, timeout: float) -> Spawned:
        channel, guest_end = socket.socketpair()
        try:
            report_fd, report_end = os.pipe2(os.O_CLOEXEC)
        except OSError:
            channel.close()
            guest_end.close()
            raise
        report = Report(report_fd)
        pidfd = -1
        try:
            try:
                pidfd = self._request(request, [guest_end.fileno(), report_end], timeout)
            finally:
                guest_end.close()
                os.close(report_end)
            return confined(channel, pidfd, report, time.monotonic() + timeout, network=self.network)
        except BaseException:
            channel.close()
            report.close()
            if pidfd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.close(pidfd)
            raise

    def _request(self, request: bytes, descriptors: list[int], timeout: float) -> int:
        """Have the zygote fork a session; returns the descriptor of its process."""
        with self._lock:
            for _ in range(2):  # the second time with a fresh zygote, if the first one had died
                control = self._control or self._start()
                control.settimeout(timeout)
                try:
                    socket.send_fds(control, [request], descriptors)
                    reply, received = _receive(control)
                except TimeoutError:
                    self._stop()
                    raise SandboxUnavailableError(f"the sandbox did not answer within {timeout:g} s") from None
                except OSError:
                    reply, received = None, []
                if reply is not None and "error" in reply:
                    raise SandboxUnavailableError(f"the sandbox cannot start a session: {reply['error']}{if_few()}")
                if reply is not None and not received:  # the system leaves out what does not fit
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                if reply is not None:
                    return received[0]
                self._stop()
        raise SandboxUnavailableError(f"the sandbox died twice while it started a session{if_few()}")

    def _start(self) -> socket.socket:
        reason = why_unavailable()
        if reason:
            raise SandboxUnavailableError(reason)
        if not sys.executable:
            raise SandboxUnavailableError("the sandbox needs the interpreter's own path, and sys.executable is empty")
        control, zygote_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with zygote_end, contextlib.ExitStack() as undo:
            undo.callback(control.close)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", _BOOT, _FOLDER, str(zygote_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=[zygote_end.fileno()],
                start_new_session=True,
            )
            undo.pop_all()
        self._control = control
        start = {
            "guest": str(self.guest),
            "paths": self.paths,
            "libraries": [
                str(Path(sys.base_prefix, "lib")),
                *(self._certificates.paths if self._certificates is not None else ()),
            ],
            "preload": self.preload,
            "without": sorted(self.without),
            "workspace": self.workspace,
            "network": self.network,
        }
        control.settimeout(60)
        itself = -1
        try:
            itself = os.pidfd_open(os.getpid())
            socket.send_fds(control, [json.dumps(start).encode()], [itself])
            _keep_bytecode()
            reply, _ = _receive(control)
        except OSError as error:
            self._stop()
            raise none_left(error) or SandboxUnavailableError(f"the sandbox did not come up: {error}") from error
        finally:
            if itself >= 0:
                os.close(itself)
        if reply is None or "error" in reply:
            self._stop()
            raise SandboxUnavailableError(
                f"the sandbox did not come up: {reply['error'] if reply else 'it died'}{if_few()}"
            )
        self.failed, self._no_workspace = reply["failed"], reply["workspace"]
        return control

    def _stop(self) -> None:
        """End the zygote and with it every session; the lock is held."""
        control, process = self._control, self._process
        self._control = self._process = None
        if control is not None:
            control.close()
        if process is not None:
            try:
                process.wait(1.0)  # it ends by itself when its control socket is closed
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End every session and the zygote; a later `spawn` starts another. Idempotent."""
        with self._lock:
            self._stop()


_zygotes: weakref.WeakSet[Zygote] = weakref.WeakSet()
_shared: dict[tuple[Any, ...], Zygote] = {}
_with_workspace: weakref.WeakValueDictionary[tuple[Any, ...], Zygote] = weakref.WeakValueDictionary()
_shared_lock = threading.Lock()


def zygote_for(
    paths: Sequence[str] | None = None,
    preload: Iterable[str] = DEFAULT_PRELOAD,
    workspace: str | None = None,
    *,
    network: bool = False,
) -> Zygote:
    """The zygote of this process for one configuration.

    It lives until the interpreter ends; one with a workspace, as long as somebody holds it.
    """
    if network:
        preload = (*preload, *NETWORK_PRELOAD)
    key: tuple[Any, ...] = (None if paths is None else tuple(paths), tuple(preload), network)
    if workspace is None:
        with _shared_lock:
            if key not in _shared:
                _shared[key] = Zygote(paths, key[1], network=network)
            return _shared[key]
    found = os.stat(workspace)  # a folder that was made anew is another one
    key = (*key, workspace, found.st_dev, found.st_ino)
    with _shared_lock:
        zygote = _with_workspace.get(key)
        if zygote is None:
            zygote = _with_workspace[key] = Zygote(paths, key[1], workspace=workspace, network=network)
        return zygote


@atexit.register
def _close_all() -> None:
    for zygote in list(_zygotes):
        zygote.close()


def _after_fork_in_child() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for zygote in list(_zygotes):
        zygote.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _receive(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """A message of the zygote and its descriptors; None when it has died."""
    data, ancillary, _, _ = control.recvmsg(_MAX_MESSAGE, socket.CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload)
    return (json.loads(data) if data else None), list(descriptors)
