"""The filter of system calls that programs in a container run under, besides the engine's own.

Engines let programs make sockets of any kind and, podman, user namespaces, too. Neither is needed to compute, and a
socket of this machine that lies in a folder which is mounted would be a way out, however the folder is mounted.
"""

from __future__ import annotations

import errno
import struct

from actloop.executors.kernel import syscalls
from actloop.executors.kernel.seccomp import ALLOW, ARCHITECTURES, ERRNO, Instruction

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
"""Offsets in `seccomp_data`."""

_UNIX, _IPV4, _IPV6, _NETLINK = 1, 2, 10, 16
_STREAM = 1
_NEW_NAMESPACES = 0x7E020000
_X32 = 0x40000000

_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}


def architecture(name: str) -> str | None:
    """An architecture as an engine names it, by its usual name; None where there is no filter for it."""
    usual = _NAMES.get(name, name)
    return usual if usual in ARCHITECTURES else None


def program(architecture: str, *, unix: bool) -> list[Instruction]:
    """The filter: what it does not name is allowed, as far as the engine's own allows it.

    Args:
        architecture: `"x86_64"` or `"aarch64"`.
        unix: Whether programs may make UNIX sockets; without, only pairs of streams, which lead nowhere else.
    """
    numbers = syscalls.NUMBERS[architecture]
    allowed, denied = (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, ERRNO | errno.EPERM)
    unknown = (_RETURN, 0, 0, ERRNO | errno.ENOSYS)
    families = [_IPV4, _IPV6, _NETLINK, *([_UNIX] if unix else [])]
    calls: dict[str, list[Instruction]] = {
        "socket": [
            (_LOAD, 0, 0, _FIRST),
            *((_EQUAL, len(families) - place, 0, family) for place, family in enumerate(families)),
            denied,
            allowed,
        ],
        "clone": [(_LOAD, 0, 0, _FIRST), (_ANY_BIT, 0, 1, _NEW_NAMESPACES), denied, allowed],
        "unshare": [(_LOAD, 0, 0, _FIRST), (_ANY_BIT, 0, 1, _NEW_NAMESPACES | 0x80), denied, allowed],
        "clone3": [unknown],  # its flags lie in memory; the C library falls back to clone
        "setns": [denied],
        "io_uring_setup": [unknown],  # which can make and connect sockets
    }
    if not unix:  # one for datagrams could send to any address
        calls["socketpair"] = [
            (_LOAD, 0, 0, _SECOND),
            (_AND, 0, 0, 0xF),
            (_EQUAL, 0, 1, _STREAM),
            allowed,
            denied,
        ]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, ARCHITECTURES[architecture]),
        denied,  # the calls of another architecture, as those of 32 bits
        (_LOAD, 0, 0, _NUMBER),
        *([(_AT_LEAST, 0, 1, _X32), unknown] if architecture == "x86_64" else []),
    ]
    for name, body in calls.items():
        code += [(_EQUAL, 0, len(body), numbers[name]), *body]
    return [*code, allowed]


def compiled(architecture: str, *, unix: bool) -> bytes:
    """The filter as an array of `struct sock_filter`; arguments are those of `program`."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program(architecture, unix=unix))
