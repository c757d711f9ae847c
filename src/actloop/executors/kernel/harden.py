"""Confines the calling process for good, level after level, and tells truthfully what was reached.

The order matters: what an earlier level gives up, a later one must not need.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any, NamedTuple

from . import landlock, limits, namespaces, network, seccomp, syscalls


class Level(NamedTuple):
    """One level of isolation of a session.

    Attributes:
        name: One of `LEVELS`.
        applied: Whether it stands.
        reason: Why it does not, or what it stands without.
    """

    name: str
    applied: bool
    reason: str = ""


LEVELS = (
    "process", "uid", "privileges", "limits", "namespaces", "root", "scratch", "threads", "landlock", "seccomp",
)  # fmt: skip
"""Names of the levels, in the order in which they are applied."""


class Plan(NamedTuple):
    """What the zygote prepared for its sessions.

    Attributes:
        without: Levels to leave out, for tests of the others.
        proc: An open `/proc`, or -1.
        root: Why there is no root of its own; empty when there is one.
        left_out: What that root is missing.
        pid: Why sessions have no pid namespace; empty when they have one.
        namespaces: Why there are no further namespaces; empty when there are.
        user: Whether those include a user namespace.
        readable: What landlock leaves readable.
        data: Bytes of private memory that the zygote holds.
        space: Bytes of its address space.
        stack: An address below the main thread's stack and above all else, or 0.
        filter: A compiled filter for process id 1, which every session has in its pid namespace; made before the fork.
        zygote: Process id of the zygote as its children see it.
        network: Whether its sessions have a way out, to the host's proxy.
    """

    without: frozenset[str]
    proc: int
    root: str
    left_out: str
    pid: str
    namespaces: str
    user: bool
    readable: tuple[str, ...]
    data: int
    space: int
    stack: int
    filter: bytes
    zygote: int
    network: bool = False


class NotConfinedError(Exception):
    """Too little could be applied for foreign code to be let in."""


def _attempt(levels: list[Level], name: str, without: frozenset[str], step: Any) -> bool:
    """Apply one level by calling `step`, which returns a remark; record how it went."""
    if name in without:
        levels.append(Level(name, applied=False, reason="left out on request"))
        return False
    try:
        levels.append(Level(name, applied=True, reason=step() or ""))
    except (OSError, ValueError, NotImplementedError) as error:
        levels.append(Level(name, applied=False, reason=str(error)))
        return False
    return True


def drop_user(uid: int) -> None:
    """Become a user that nobody else is; the process must be root."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _own_user(uid: int, plan: Plan) -> str:
    if os.geteuid() != 0:
        raise OSError("only root can give a session a user id of its own; it runs as the caller")
    if not uid:
        raise OSError("this container maps no further user id")
    drop_user(uid)
    closed = [path for path in plan.readable if path in sys.path and not os.access(path, os.R_OK | os.X_OK)]
    if closed:
        return f"closed to other users, so that only modules imported beforehand can be used: {', '.join(closed)}"
    return ""


def _no_privileges() -> None:
    """Give up every capability and let nobody attach; the change of user has cleared the parent-death signal."""
    header = ctypes.create_string_buffer(b"\x22\x05\x08\x20" + bytes(4), 8)  # version 3, this thread
    syscalls.call("capset", ctypes.addressof(header), bytes(24))
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def _namespaces(plan: Plan) -> str:
    if plan.namespaces:
        raise OSError(plan.namespaces)
    namespaces.enter_for_session(plan.proc, user=plan.user, mount=not plan.root, uid=os.geteuid(), gid=os.getegid())
    missing = [] if plan.user else ["no user namespace"]
    if plan.pid:
        missing.append(f"no pid namespace: {plan.pid}")
    return "; ".join(missing)


def _threads(processes: int | None, *, counted: bool) -> None:
    if processes is not None and not counted:
        raise OSError("threads of the same user cannot be told apart without a user namespace or a user id of its own")
    limits.apply_threads(processes)


def _landlock(plan: Plan, folders: list[str], port: int) -> None:
    readable = plan.readable if plan.root else ("/",)
    landlock.restrict(readable, ("/dev/null", *folders), port)


def confine(plan: Plan, config: dict[str, Any], channel: int) -> list[Level]:
    """Apply every level that can be had.

    Args:
        plan: What the zygote prepared.
        config: `limits` (memory, files, disk, processes; None for no limit, but of disk); `uid`, a user id for this
            session alone, or 0; `workspace`, if it has one: `mounted` when it is a folder of the root, else `room`
            (bytes) and `files` (how many) of one that is filled later; `network`, the port of a proxy, if the plan has
            one.
        channel: The stream to the host, which is handed the proxy's socket on it.

    Returns:
        Every level, in the order of `LEVELS`.

    Raises:
        NotConfinedError: Files or the network would lie open to the session; or there can be no workspace, or no proxy.
    """
    bounds: dict[str, Any] = config["limits"]
    workspace: dict[str, Any] = config.get("workspace") or {}
    room: int = 0 if workspace.get("mounted") else workspace.get("room", 0)
    port: int = config["network"] if plan.network else 0
    levels: list[Level] = [Level("process", applied=True)]
    without = plan.without

    def user_and_limits() -> None:
        _attempt(levels, "uid", without, lambda: _own_user(config["uid"], plan))
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # else its own /proc files belong to root and take no id maps
        _attempt(levels, "privileges", frozenset(), lambda: syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1))
        _attempt(
            levels,
            "limits",
            without,
            lambda: limits.apply(
                memory=bounds["memory"],
                files=bounds["files"],
                disk=max(bounds["disk"], room),
                processes=bounds["processes"],
                data_now=plan.data,
                space_now=plan.space,
            ),
        )

    def spaces(owner: int | None) -> tuple[bool, bool]:
        entered = _attempt(levels, "namespaces", without, lambda: _namespaces(plan))
        _attempt(levels, "root", without, lambda: _report_root(plan))
        scratch = _attempt(
            levels, "scratch", without, lambda: _scratch(bounds["disk"], owner, possible=entered and not plan.root)
        )
        if room:
            _workspace(room, owner, workspace["files"], possible=scratch)
        return entered, scratch

    if plan.user or plan.namespaces:
        user_and_limits()
        entered, scratch = spaces(None)
    else:  # only root's own privilege can make namespaces here, so it is given up afterwards
        entered, scratch = spaces(config["uid"] or None)
        user_and_limits()
    if port:
        _proxy(port, channel, possible=entered)
    own_uid = any(level.name == "uid" and level.applied for level in levels)
    _attempt(
        levels,
        "threads",
        without,
        lambda: _threads(bounds["processes"], counted=own_uid or (entered and plan.user)),
    )
    folders = [namespaces.SCRATCH] if scratch else []
    os.chdir(folders[0] if folders else "/")
    if room:
        folders.append(namespaces.WORKSPACE)
    _no_privileges()
    files_closed = _attempt(levels, "landlock", without, lambda: _landlock(plan, folders, port)) or not plan.root
    closed = _attempt(levels, "seccomp", without, lambda: _filter(plan, paths=files_closed))
    if not without and not (closed or (files_closed and entered)):
        raise NotConfinedError(
            "neither a filter of system calls nor landlock with namespaces can be had: "
            + "; ".join(f"{level.name}: {level.reason}" for level in levels if not level.applied)
        )
    return sorted(levels, key=lambda level: LEVELS.index(level.name))


def _report_root(plan: Plan) -> str:
    if plan.root:
        raise OSError(plan.root)
    return plan.left_out


def _scratch(size: int, owner: int | None, *, possible: bool) -> None:
    if not possible:
        raise OSError("a private folder needs a mount namespace; nothing can be written")
    namespaces.mount_own(namespaces.SCRATCH, size, owner)


def _workspace(size: int, owner: int | None, files: int, *, possible: bool) -> None:
    if not possible:
        raise NotConfinedError("a workspace needs a mount namespace and a root of its own, which cannot be had here")
    namespaces.mount_own(namespaces.WORKSPACE, size, owner, files=4 * files)  # it is told which of them do not fit


def _proxy(port: int, channel: int, *, possible: bool) -> None:
    if not possible:
        raise NotConfinedError("a way out to some hosts alone needs a network namespace, which cannot be had here")
    network.offer(port, channel)


def _filter(plan: Plan, *, paths: bool) -> str:
    if os.getpid() == 1 and paths:
        seccomp.install(plan.filter)
    else:
        seccomp.install(
            seccomp.compiled(syscalls.machine(), os.getpid(), stack=plan.stack, paths=paths, network=plan.network)
        )
    return "" if paths else "no file can be opened at all, since nothing else confines files: only loaded modules work"
