"""What this machine can isolate, each level proven by trying it in a real session."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.errors import SandboxUnavailableError

from . import harden, host, landlock, seccomp

if TYPE_CHECKING:
    from collections.abc import Collection

    from .spawned import Spawned

_TRIAL = Path(__file__).with_name("trial.py")
_LIMITS = {"memory": 64 << 20, "files": 32, "processes": 16, "disk": 4 << 20}
_HARMLESS = {"HOME", "TMPDIR", "LANG", "TZ", "LC_CTYPE"}

_LEVELS = {
    "process": "Sessions end with their host, inherit no descriptor and no environment variable",
    "uid": "A user id of its own for every session",
    "privileges": "No capabilities, no way to gain any, nobody may attach",
    "limits": "Memory, open files, file size and core dumps are limited",
    "namespaces": "User, process, network, IPC and host name spaces of its own",
    "root": "A root folder that holds nothing but the interpreter",
    "scratch": "A private folder that can be written, with a size limit",
    "threads": "The number of threads is limited",
    "landlock": "Landlock confines which files may be opened",
    "seccomp": "A filter allows only harmless system calls",
}

_USER_NAMESPACES = (
    "allow user namespaces (sysctl user.max_user_namespaces=10000; on Debian kernel.unprivileged_userns_clone=1; on "
    "Ubuntu kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that allows unshare "
    "and mount)"
)
REMEDIES = {
    "uid": "run as root; not needed where user namespaces stand",
    "privileges": "update the kernel",
    "limits": "raise the hard limits of the calling process (ulimit -H)",
    "namespaces": _USER_NAMESPACES,
    "root": _USER_NAMESPACES,
    "scratch": _USER_NAMESPACES,
    "threads": _USER_NAMESPACES,
    "landlock": "use Linux 5.13 or newer with landlock among the security modules (boot parameter lsm=landlock,...)",
    "seccomp": "use a kernel built with CONFIG_SECCOMP_FILTER",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried.

    Attributes:
        name: What it is about, in a few words.
        ok: Whether isolation holds there.
        detail: What was seen.
        remedy: How to get what is missing; empty when nothing is.
    """

    name: str
    ok: bool
    detail: str = ""
    remedy: str = ""


def isolation_available() -> bool:
    """Whether this platform can isolate at all; cheap, starts nothing. `probe` proves how well."""
    return not host.why_unavailable()


def probe(without: Collection[str] = ()) -> list[Finding]:
    """Try what this machine can isolate, by starting a session and attacking it. Takes about a fifth of a second.

    Args:
        without: Levels to leave out (`harden.LEVELS`), to see what the others hold.

    Returns:
        First the platform, then one finding for each level, then one for each attempted attack. The later ones are
        missing when no session can be started.
    """
    reason = host.why_unavailable()
    if reason:
        return [
            Finding("platform", ok=False, detail=reason, remedy="use 64-bit Linux, or a container or remote executor")
        ]
    kernel = (
        f"Linux {os.uname().release} on {os.uname().machine}, landlock {landlock.abi() or 'missing'}, "
        f"seccomp {'available' if seccomp.available() else 'missing'}, "
        f"{'root' if os.geteuid() == 0 else 'unprivileged'}, Python {sys.version.split()[0]}"
    )
    findings = [Finding("platform", ok=True, detail=kernel)]
    zygote = host.Zygote(paths=(), preload=(), without=without, guest=_TRIAL)
    try:
        findings += _try_session(zygote)
    except SandboxUnavailableError as error:
        findings.append(Finding("session", ok=False, detail=str(error), remedy=_USER_NAMESPACES))
    finally:
        zygote.close()
    return findings


def _try_session(zygote: host.Zygote) -> list[Finding]:
    with (
        tempfile.NamedTemporaryFile("w", prefix="actloop-", dir=tempfile.gettempdir()) as canary,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        canary.write("a file of the host")
        canary.flush()
        os.chmod(canary.name, 0o666)  # noqa: S103 - open to everybody, so that only the sandbox can refuse it
        config = {
            "limits": _LIMITS,
            "canary": os.path.realpath(canary.name),
            "port": server.getsockname()[1],
            "host": os.getpid(),
        }
        began = time.perf_counter()
        zygote.spawn(config).close()
        cold = time.perf_counter() - began
        began = time.perf_counter()
        session = zygote.spawn(config)
        warm = time.perf_counter() - began
        try:
            findings = [_level(level) for level in session.levels]
            findings.append(Finding("session", ok=True, detail=f"first {cold * 1e3:.0f} ms, next {warm * 1e3:.1f} ms"))
            report = _receive(session.channel, 20.0)
            findings += _attacks(session, report)
            findings.append(_kill(session))
        finally:
            session.close()
        findings.append(_orphan(zygote, config))
    return findings


def _level(level: harden.Level) -> Finding:
    detail = _LEVELS[level.name] if level.applied else level.reason
    if level.applied and level.reason:
        detail += f" ({level.reason})"
    return Finding(level.name, level.applied, detail, "" if level.applied else REMEDIES.get(level.name, ""))


def _receive(channel: socket.socket, timeout: float) -> dict[str, Any] | None:
    """What the trial reports; None when it died or hung."""
    channel.settimeout(timeout)
    data = b""
    try:
        while len(data) < 4 or len(data) < 4 + struct.unpack_from("!I", data)[0]:
            chunk = channel.recv(65_536)
            if not chunk:
                return None
            data += chunk
    except OSError:
        return None
    return json.loads(data[4:])


def _attacks(session: Spawned, report: dict[str, Any] | None) -> list[Finding]:
    if report is None:
        detail = f"the session died while it was tried (exit code {session.exit_code()})"
        return [Finding("attacks", ok=False, detail=detail, remedy="please report this")]
    findings: list[Finding] = []
    missing = ", ".join(level.name for level in session.levels if not level.applied) or "nothing, so please report this"
    for name, (refused, detail) in report["attempts"].items():
        remedy = "" if refused else f"see what is missing among the levels above: {missing}"
        findings.append(Finding(f"cannot {name}", refused, detail, remedy))
    foreign = sorted(set(report["environment"]) - _HARMLESS)
    findings.append(
        Finding(
            "sees no environment variable", not foreign, ", ".join(foreign), "please report this" if foreign else ""
        )
    )
    scratch: str = report["scratch"]
    findings.append(Finding("can use its scratch folder", not scratch, scratch, _USER_NAMESPACES if scratch else ""))
    return findings


def _kill(session: Spawned) -> Finding:
    """Kill the session while it spins."""
    began = time.perf_counter()
    session.kill()
    ended = bool(select.select([session.pidfd], [], [], 2.0)[0])
    took = time.perf_counter() - began
    detail = f"ended {took * 1e3:.1f} ms after the signal" if ended else "still running after 2 s"
    return Finding("is killed while it spins", ended, detail, "" if ended else "please report this")


def _orphan(zygote: host.Zygote, config: dict[str, Any]) -> Finding:
    """Kill the zygote under a running session."""
    session = zygote.spawn(config)
    try:
        pid = zygote.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        ended = bool(select.select([session.pidfd], [], [], 2.0)[0])
    finally:
        session.close()
    detail = "ended with its zygote" if ended else "outlived its zygote"
    return Finding("does not outlive the host", ended, detail, "" if ended else "please report this")
