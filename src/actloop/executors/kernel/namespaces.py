"""Namespaces and a root of its own: once for the zygote, and once more for every session.

The zygote gets a mount namespace, whose root is a small read-only tmpfs holding nothing but the interpreter's folders
and shared libraries, and a pid namespace, so that the kernel ends every session when the zygote dies. A session gets
user, pid, network, ipc, uts and mount namespaces of its own, and a private scratch folder.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

from . import syscalls
from .syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SCRATCH = "/sandbox"
"""The private folder of a session: its home, its folder for temporary files, and where it works without a workspace."""

WORKSPACE = "/workspace"
"""Where the user's folder is, if a session was given one."""

GUEST_ID = 1000
"""User and group id that a session sees itself under in its user namespace."""

SYSTEM_PATHS = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/usr/share/zoneinfo",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/urandom")  # not /dev/zero: mapped shared, it is memory that no limit counts

_STAGING = ("/tmp", "/var", "/usr")  # noqa: S108 - only mounted over, in a mount namespace of its own
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC = 1, 2, 4, 8


def enter_for_zygote() -> bool:
    """Move into new mount and pid namespaces (the latter for processes forked from now on).

    Returns:
        Whether a user namespace was needed for it, because the caller may not do it otherwise.

    Raises:
        OSError: Neither way is open; nothing has changed.
    """
    try:
        syscalls.unshare(CLONE_NEWNS | CLONE_NEWPID)
    except OSError:
        try_in_child(_enter_with_user)  # half-way in, there would be no way back
        _enter_with_user()
        return True
    return False


def _enter_with_user() -> None:
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)
    write_maps("/proc/self/", f"{uid} {uid} 1", f"{gid} {gid} 1")


def try_in_child(step: Callable[[], None]) -> None:
    """Run `step` in a child process, whose state nobody misses.

    Raises:
        OSError: It failed there.
    """
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            step()
        except OSError as error:
            os.write(told, str(error).encode())
        except BaseException as error:
            os.write(told, repr(error).encode())
        finally:
            os._exit(0)
    os.close(told)
    os.waitpid(pid, 0)
    failure = os.read(heard, 4096).decode()
    os.close(heard)
    if failure:
        raise OSError(failure)


def write_maps(folder: str, uids: str, gids: str, directory: int | None = None) -> None:
    """Say which ids a new user namespace has; `folder` is the process's folder below an open `/proc`."""
    for name, text in (("setgroups", "deny"), ("uid_map", uids), ("gid_map", gids)):
        descriptor = os.open(folder + name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _covered(path: str, bound: Iterable[str]) -> bool:
    return any(path == other or path.startswith(other.rstrip("/") + "/") for other in bound)


def _layout(paths: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """What to bind, and which links lead there: a path through links is reached by one link in the new root."""
    wanted = sorted(
        {os.path.normpath(path) for path in paths if os.path.exists(path)}, key=lambda path: (len(path), path)
    )
    bound: list[str] = []
    for real in sorted({os.path.realpath(path) for path in wanted}, key=len):
        if not _covered(real, bound):
            bound.append(real)
    links: list[tuple[str, str]] = []
    for path in wanted:
        real = os.path.realpath(path)
        if real != path and not _covered(path, [*bound, *(link for link, _ in links)]):
            links.append((path, real))
    return bound, links


def build_root(paths: Iterable[str], workspace: str | None = None) -> tuple[list[str], str]:
    """Replace the root of this mount namespace by a read-only one that holds `paths` and a few devices.

    Args:
        paths: Files and folders to bring along.
        workspace: A folder to be seen as `WORKSPACE`, without what is mounted within it.

    Returns:
        What could not be brought along, with the reason; and why there is no workspace, if there is none.

    Raises:
        OSError: The kernel refused; files must be confined in another way.
    """
    bound, links = _layout(paths)
    devices = [path for path in DEVICES if os.path.exists(path)]
    syscalls.mount(None, "/", None, MS_REC | MS_PRIVATE)
    staging = next(path for path in _STAGING if os.path.isdir(path))
    syscalls.mount("tmpfs", staging, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=4096,mode=0755")
    os.chdir(staging)
    os.mkdir("old")
    try:
        syscalls.call("pivot_root", b".", b"old")
    except OSError:  # in a chroot, or on an initial RAM disk
        os.chdir("/")
        syscalls.call("umount2", os.fsencode(staging), MNT_DETACH)
        raise
    os.chdir("/")
    left_out: list[str] = []
    for path in bound + devices:
        try:
            _bind("/old" + path, path, device=path in devices)
        except OSError as error:
            left_out.append(f"{path}: {error}")
    for path, real in links:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(real, path)
    for folder in (SCRATCH, WORKSPACE):
        os.makedirs(folder, exist_ok=True)
    no_workspace = "" if workspace is None else _bind_workspace("/old" + workspace)
    if not os.path.lexists("/tmp"):  # noqa: S108 - the new root's
        os.symlink(SCRATCH, "/tmp")  # noqa: S108
    syscalls.call("umount2", b"/old", MNT_DETACH)
    os.rmdir("/old")
    _seal("/", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, 0)
    return left_out, no_workspace


def _bind_workspace(source: str) -> str:
    """Why the folder could not be mounted; empty when it was.

    What is mounted within it stays out: under a folder such as `/` that would be the host's processes and devices.
    """
    try:
        syscalls.mount(source, WORKSPACE, None, MS_BIND)
    except OSError as error:
        return str(error)
    try:
        _seal(WORKSPACE, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV | _ATTR_NOEXEC, 0)
    except OSError as error:
        syscalls.call("umount2", os.fsencode(WORKSPACE), MNT_DETACH)
        return str(error)
    return ""


def _bind(source: str, target: str, *, device: bool) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    syscalls.mount(source, target, None, MS_BIND | MS_REC)
    try:
        _seal(target, _ATTR_RDONLY | _ATTR_NOSUID | (0 if device else _ATTR_NODEV), _AT_RECURSIVE)
    except OSError:
        syscalls.call("umount2", os.fsencode(target), MNT_DETACH)
        raise


def _seal(target: str, attributes: int, flags: int) -> None:
    """Make a mount, and those below it when `flags` says so, read-only."""
    try:
        argument = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, 0), 32)
        syscalls.call("mount_setattr", _AT_FDCWD, os.fsencode(target), flags, ctypes.addressof(argument), len(argument))
    except OSError:  # before Linux 5.12; flags that the mount has already must be repeated
        present = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
        added = MS_RDONLY | MS_NOSUID | (MS_NODEV if attributes & _ATTR_NODEV else 0)
        added |= MS_NOEXEC if attributes & _ATTR_NOEXEC else 0
        syscalls.mount(None, target, None, MS_BIND | MS_REMOUNT | present | added)


def enter_for_session(proc: int, *, user: bool, mount: bool, uid: int, gid: int) -> None:
    """Move into namespaces of this session's own.

    Args:
        proc: An open `/proc`.
        user: With a user namespace; without one, the caller must still hold the privilege to do it.
        mount: With a mount namespace.
        uid: The effective user id.
        gid: The effective group id.

    Raises:
        OSError: The kernel refused; nothing has changed.
    """
    flags = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | (CLONE_NEWNS if mount else 0)
    syscalls.unshare(flags | (CLONE_NEWUSER if user else 0))
    if user:
        write_maps("self/", f"{GUEST_ID} {uid} 1", f"{GUEST_ID} {gid} 1", directory=proc)
    syscalls.call("sethostname", b"sandbox", 7)


def mount_own(folder: str, size: int, uid: int | None = None, *, files: int = 4096) -> None:
    """Mount a writable folder of this session's own.

    Args:
        folder: `SCRATCH` or `WORKSPACE`.
        size: Bytes that its files may take together.
        uid: Owner; None for the caller.
        files: Files and folders that it may hold.
    """
    owner = "" if uid is None else f",uid={uid},gid={uid}"
    options = f"size={max(size, 4096)},nr_inodes={files},mode=0700{owner}"
    syscalls.mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
