"""Landlock: the files that this thread may open, from now on and for good.

Rights are masked by the kernel's ABI: 2 brought REFER, 3 TRUNCATE, 4 TCP, 5 device ioctls, 6 scopes. What is already
open is not covered, nor are chmod, chown, utime, stat and chdir, which the filter of system calls refuses or a root of
its own makes harmless.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from typing import TYPE_CHECKING

from . import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXECUTE, _WRITE, _READ, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 10, 1 << 11
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL_DEV
_READING = _READ | _READ_DIR  # without EXECUTE: a shared library can still be mapped, a program not started
_TCP, _CONNECT_TCP, _SCOPES = 3, 2, 3


def abi() -> int:
    """The kernel's landlock version; 0 where there is none."""
    try:
        return syscalls.call("landlock_create_ruleset", 0, 0, 1)
    except (OSError, NotImplementedError):
        return 0


def _file_rights(version: int) -> int:
    rights = (1 << 13) - 1
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        if version >= since:
            rights |= right
    return rights


def restrict(readable: Iterable[str], writable: Iterable[str], connect: int = 0, executable: Iterable[str] = ()) -> int:
    """Allow this thread, and those that it starts, only what lies under the given paths; missing ones are left out.

    Args:
        readable: Files and folders that may be read.
        writable: Files and folders that may be read and written; in folders, files, folders and links may be made.
        connect: The TCP port that may be connected to; 0 for none.
        executable: Programs that may be read and started, and what loads them.

    Returns:
        The landlock version that was used.

    Raises:
        OSError: The kernel has no landlock or refused.
    """
    version = syscalls.call("landlock_create_ruleset", 0, 0, 1)
    rights = _file_rights(version)
    attributes = struct.pack("=QQQ", rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = syscalls.call("landlock_create_ruleset", attributes[:size], size, 0)
    writing = rights & ~(_EXECUTE | _MAKE_CHAR | _MAKE_SOCK | _MAKE_FIFO | _MAKE_BLOCK | _IOCTL_DEV)
    try:
        for path in readable:
            _add(ruleset, path, rights & _READING)
        for path in writable:
            _add(ruleset, path, writing)
        for path in executable:
            _add(ruleset, path, _EXECUTE | _READ)
        if connect and version >= 4:
            net_port = 2
            rule = ctypes.create_string_buffer(struct.pack("=QQ", _CONNECT_TCP, connect), 16)
            syscalls.call("landlock_add_rule", ruleset, net_port, ctypes.addressof(rule), 0)
        syscalls.call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _add(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _FILE_RIGHTS
        path_beneath = 1
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor), 12)
        syscalls.call("landlock_add_rule", ruleset, path_beneath, ctypes.addressof(rule), 0)
    finally:
        os.close(descriptor)
