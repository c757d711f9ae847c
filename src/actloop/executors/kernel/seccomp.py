"""The filter of system calls that a session runs under, compiled to classic BPF for a given architecture.

An allow-list: a call that is not named here is refused with EPERM, one that is newer than this table with ENOSYS (so
that the C library takes its older way). `decide` interprets a compiled filter as the kernel would, so that the table of
an architecture other than the machine's own can be proven too.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import TYPE_CHECKING

from . import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterable

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH values, as `seccomp_data.arch` holds them."""

_LOAD, _AND, _JUMP, _EQUAL, _ABOVE, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
"""Offsets in `seccomp_data`."""

Instruction = tuple[int, int, int, int]
"""Operation, jump if true, jump if false, operand: a `struct sock_filter`."""

_FREE = """
read write close lseek munmap mprotect brk madvise msync rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending
rt_sigtimedwait rt_sigsuspend sigaltstack pause alarm getitimer setitimer restart_syscall nanosleep clock_nanosleep
pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 sendfile copy_file_range fadvise64 fallocate
fstat fstatfs ftruncate fsync fdatasync fchdir getcwd getdents64 umask dup dup2 dup3 close_range
pipe pipe2 poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime
recvfrom shutdown getsockname getpeername
getpid gettid getppid getuid geteuid getgid getegid getgroups getresuid getresgid getpgrp
uname sysinfo times time gettimeofday clock_gettime clock_getres getrusage getrlimit getrandom getcpu
sched_yield sched_getaffinity futex set_tid_address set_robust_list membarrier rseq exit exit_group
"""
"""Calls that touch only the process itself and what it has open. Not flock, which locks what may only be read too."""

_PATHS = """
open openat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat chdir statfs truncate
mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat
"""
"""Calls that take a path: allowed only where a root of its own or landlock confines them.

chmod, chown, utime and their kin are absent on purpose: landlock does not cover them.
"""

_XATTR = "listxattr llistxattr flistxattr getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr"
"""Refused with ENOTSUP: `shutil` then copies without extended attributes."""

_NEW_NAMESPACES = 0x7E020000
_CLONE_THREAD = 0x00010000
_MAP_SHARED_ANONYMOUS, _MAP_GROWSDOWN = 0x21, 0x100
_O_ASYNC = 0x2000
_IOCTLS = (0x5401, 0x541B, 0x5451, 0x5450, 0x5421, 0x5413)  # TCGETS FIONREAD FIOCLEX FIONCLEX FIONBIO TIOCGWINSZ
_FCNTLS = (0, 1, 2, 3, 5, 6, 7, 36, 37, 38, 1030, 1032)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, record locks, open-file locks, F_DUPFD_CLOEXEC, F_GETPIPE_SZ. Not F_SETOWN or
F_SETSIG, which send signals to any process of the user."""
_F_SETFL = 4
_SOL_SOCKET, _SOCKET_OPTIONS = 1, (3, 4, 30, 38, 39)  # SO_TYPE SO_ERROR SO_ACCEPTCONN SO_PROTOCOL SO_DOMAIN


def _argument(index: int, *, high: bool = False) -> Instruction:
    """Load one half of an argument; both architectures are little-endian."""
    return (_LOAD, 0, 0, 16 + 8 * index + (4 if high else 0))


def _one_of(values: Iterable[int], otherwise: int) -> list[Instruction]:
    """Allow when the loaded word is one of `values`."""
    listed = tuple(values)
    tests = [(_EQUAL, len(listed) - index, 0, value) for index, value in enumerate(listed)]
    return [*tests, (_RETURN, 0, 0, otherwise), (_RETURN, 0, 0, ALLOW)]


def _all_zero(words: Iterable[Instruction], otherwise: int) -> list[Instruction]:
    """Allow when every loaded word is zero."""
    loads = tuple(words)
    body: list[Instruction] = []
    for index, load in enumerate(loads):
        body += [load, (_EQUAL, 0, 2 * (len(loads) - index) - 1, 0)]
    return [*body, (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, otherwise)]


_NETWORK_OPTIONS = {6: (1, 4, 5, 6, 18), 1: (2, 9)}
"""Options of sockets that clients set, by level: TCP_NODELAY, those of keep-alive, TCP_USER_TIMEOUT; SO_REUSEADDR,
SO_KEEPALIVE. Not the sizes of buffers, which no limit of memory counts."""


def _network() -> dict[str, list[Instruction]]:
    """Calls of a session that has a way out: TCP over IPv4, as a client. Where to, its network namespace decides."""
    deny = ERRNO | errno.EPERM
    allowed, denied = (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, deny)
    options: list[Instruction] = [_argument(1)]
    for level, names in _NETWORK_OPTIONS.items():
        tests = [_argument(2), *_one_of(names, deny)]
        options += [(_EQUAL, 0, len(tests), level), *tests]
    return {
        "socket": [
            _argument(0),
            (_EQUAL, 0, 7, 2),
            _argument(1),
            (_AND, 0, 0, 0xF),
            (_EQUAL, 0, 4, 1),
            _argument(2),
            (_EQUAL, 1, 0, 0),
            (_EQUAL, 0, 1, 6),
            allowed,
            denied,
        ],
        "connect": [allowed],
        "setsockopt": [*options, denied],
    }


def _conditional(pid: int, stack: int) -> dict[str, list[Instruction]]:
    """Calls whose arguments decide; each body ends in a return on every way."""
    deny = ERRNO | errno.EPERM
    allowed, denied = (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, deny)
    itself = [_argument(0), *_one_of([pid], deny)]
    return {
        # Shared anonymous and downward-growing memory is not counted by RLIMIT_DATA.
        "mmap": [
            _argument(3),
            (_ANY_BIT, 3, 0, _MAP_GROWSDOWN),
            (_AND, 0, 0, _MAP_SHARED_ANONYMOUS),
            (_EQUAL, 1, 0, _MAP_SHARED_ANONYMOUS),
            allowed,
            denied,
        ],
        # Neither is the main thread's stack, which mremap would let grow without end wherever it is moved to.
        "mremap": [
            _argument(0, high=True),
            (_ABOVE, 4, 0, stack >> 32),
            (_EQUAL, 0, 2, stack >> 32),
            _argument(0),
            (_AT_LEAST, 1, 0, stack & 0xFFFFFFFF),
            allowed,
            denied,
        ],
        "clone": [
            _argument(0),
            (_ANY_BIT, 2, 0, _NEW_NAMESPACES),
            (_ANY_BIT, 0, 1, _CLONE_THREAD),
            allowed,
            denied,
        ],
        "clone3": [(_RETURN, 0, 0, ERRNO | errno.ENOSYS)],  # its flags lie in memory; the C library falls back to clone
        "kill": itself,
        "tgkill": itself,
        "prlimit64": _all_zero([_argument(0), _argument(2), _argument(2, high=True)], deny),
        "prctl": [_argument(0), *_one_of([syscalls.PR_SET_NAME, syscalls.PR_GET_NAME], deny)],
        "ioctl": [_argument(1), *_one_of(_IOCTLS, ERRNO | errno.ENOTTY)],
        "fcntl": [
            _argument(1),
            (_EQUAL, 0, 3, _F_SETFL),
            _argument(2),
            (_ANY_BIT, 0, 4 + len(_FCNTLS) - 2, _O_ASYNC),
            denied,
            *_one_of(_FCNTLS, deny),
        ],
        # Stream sockets only: a datagram socket could send to any address.
        "socketpair": [
            _argument(0),
            (_EQUAL, 0, 4, 1),
            _argument(1),
            (_AND, 0, 0, 0xF),
            (_EQUAL, 0, 1, 1),
            allowed,
            denied,
        ],
        "sendto": _all_zero([_argument(4), _argument(4, high=True)], deny),
        "getsockopt": [
            _argument(1),
            (_EQUAL, 1, 0, _SOL_SOCKET),
            denied,
            _argument(2),
            *_one_of(_SOCKET_OPTIONS, deny),
        ],
    }


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Consecutive numbers as (first, last)."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _returning(numbers: Iterable[int], verdict: int) -> list[Instruction]:
    body: list[Instruction] = []
    for first, last in _runs(numbers):
        if first == last:
            body += [(_EQUAL, 0, 1, first)]
        else:
            body += [(_AT_LEAST, 0, 2, first), (_ABOVE, 1, 0, last)]
        body += [(_RETURN, 0, 0, verdict)]
    return body


def program(architecture: str, pid: int, *, stack: int, paths: bool = True, network: bool = False) -> list[Instruction]:
    """The filter for one session.

    Args:
        architecture: `"x86_64"` or `"aarch64"`.
        pid: The session's process id as the session itself sees it: the only one that it may send signals to.
        stack: An address below the main thread's stack and above everything else; 0 when it is not known.
        paths: Whether calls that take a path are allowed; False where nothing else confines files.
        network: Whether it may be a client of TCP, in a network namespace that leads nowhere but to the proxy.
    """
    table = syscalls.NUMBERS[architecture]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, ARCHITECTURES[architecture]),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if architecture == "x86_64":
        code += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, KILL)]  # the x32 numbering of the same calls
    code += [(_AT_LEAST, 0, 1, syscalls.LAST_KNOWN + 1), (_RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    for name, body in (_conditional(pid, stack) | (_network() if network else {})).items():
        code += [(_EQUAL, 0, len(body), table[name]), *body]
    free = _FREE.split() + (_PATHS.split() if paths else [])
    code += _returning((table[name] for name in free if name in table), ALLOW)
    code += _returning((table[name] for name in _XATTR.split()), ERRNO | errno.ENOTSUP)
    if not paths:  # the import system must see a missing file, not a broken one
        code += _returning((table[name] for name in _PATHS.split() if name in table), ERRNO | errno.ENOENT)
    code.append((_RETURN, 0, 0, ERRNO | errno.EPERM))
    return code


def compiled(architecture: str, pid: int, *, stack: int, paths: bool = True, network: bool = False) -> bytes:
    """The filter as an array of `struct sock_filter`; arguments are those of `program`."""
    code = program(architecture, pid, stack=stack, paths=paths, network=network)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def available() -> bool:
    """Whether the kernel has filters of system calls; changes nothing."""
    get_action_available = 2
    action = ctypes.create_string_buffer(struct.pack("=I", ALLOW), 4)
    try:
        return syscalls.call("seccomp", get_action_available, 0, ctypes.addressof(action)) == 0
    except (OSError, NotImplementedError):
        return False


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(code: bytes) -> None:
    """Put every thread of this process under a compiled filter, for good.

    Raises:
        OSError: The kernel refused it.
    """
    buffer = ctypes.create_string_buffer(code, len(code))
    argument = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    set_mode_filter, tsync = 1, 1
    thread = syscalls.call("seccomp", set_mode_filter, tsync, ctypes.addressof(argument))
    if thread:
        raise OSError(errno.ESRCH, f"thread {thread} could not be put under the filter")


def decide(code: bytes, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What a compiled filter answers to a call: `ALLOW`, `KILL`, or `ERRNO` with the error number in its low bits.

    Args:
        code: A compiled filter.
        architecture: The `AUDIT_ARCH` value of the call.
        number: The call's number.
        arguments: Up to six unsigned 64-bit arguments; missing ones are zero.

    Raises:
        ValueError: The filter is not well formed: it jumps outside itself, or has no end.
    """
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments, *([0] * (6 - len(arguments))))
    instructions = list(struct.iter_unpack("=HBBI", code))
    accumulator, position = 0, 0
    while position < len(instructions):
        operation, if_true, if_false, operand = instructions[position]
        position += 1
        if operation == _RETURN:
            return operand
        if operation == _LOAD:
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif operation == _AND:
            accumulator &= operand
        elif operation == _JUMP:
            position += operand
        elif operation in (_EQUAL, _ABOVE, _AT_LEAST, _ANY_BIT):
            holds = {
                _EQUAL: accumulator == operand,
                _ABOVE: accumulator > operand,
                _AT_LEAST: accumulator >= operand,
                _ANY_BIT: bool(accumulator & operand),
            }[operation]
            position += if_true if holds else if_false
        else:
            raise ValueError(f"unknown operation {operation:#x} at {position - 1}")
    raise ValueError("the filter runs past its end")
