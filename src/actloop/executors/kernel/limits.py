"""Resource limits of a session, set on itself before it runs anything foreign."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    import resource

_THREAD_SPACE = 136 * 1024 * 1024
"""Address space that one thread reserves at most: its stack and the C library's heap for it."""

_THREAD_DATA = 1 << 20
"""Bytes of data that a thread is taken to use, to know how many memory has room for."""

_PAGE = 4096


def data_bytes(status: str) -> int:
    """VmData of a `/proc/PID/status`: bytes of private writable memory, which RLIMIT_DATA counts."""
    for line in status.splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def space_bytes(status: str) -> int:
    """VmSize of a `/proc/PID/status`: bytes of address space, which RLIMIT_AS counts."""
    for line in status.splitlines():
        if line.startswith("VmSize:"):
            return int(line.split()[1]) * 1024
    return 0


def stack_bound(maps: str) -> int:
    """An address well below the main thread's stack and above all other mappings; 0 when `/proc/PID/maps` tells none.

    Args:
        maps: Text of `/proc/PID/maps`. The kernel leaves at least 128 MiB between the stack's top and what lies below.
    """
    for line in maps.splitlines():
        if line.endswith("[stack]"):
            return int(line.split("-")[1].split()[0], 16) - 64 * 1024 * 1024
    return 0


def lower(kind: int, value: int) -> None:
    """Set a soft and hard limit, or keep the present hard limit where that is lower."""
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def apply(
    *, memory: int | None, files: int | None, disk: int, processes: int | None, data_now: int, space_now: int
) -> None:
    """Set every limit but the number of threads, which counts right only inside the session's own user namespace.

    Args:
        memory: Bytes of data beyond what the process holds now; None for no limit.
        files: Open descriptors; None for no limit.
        disk: Bytes that all files take together. One alone may be longer by a page, so that it is the full folder that
            says so, for one file as for many.
        processes: Threads, for the address space that they reserve; None for no limit.
        data_now: Bytes of data that the process holds now.
        space_now: Bytes of address space that it holds now.

    Raises:
        OSError, ValueError: The kernel refused a limit.
    """
    if memory is not None:
        lower(resource.RLIMIT_DATA, data_now + memory)
        # Far above what data needs: bounds the page tables that huge read-only maps would cost.
        threads = memory // _THREAD_DATA if processes is None else processes
        lower(resource.RLIMIT_AS, space_now + 2 * memory + threads * _THREAD_SPACE)
    lower(resource.RLIMIT_STACK, 8 * 1024 * 1024)
    lower(resource.RLIMIT_FSIZE, disk + 2 * _PAGE)
    if files is not None:
        lower(resource.RLIMIT_NOFILE, files)
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_MEMLOCK, 0)
    lower(resource.RLIMIT_SIGPENDING, 64)
    lower(resource.RLIMIT_MSGQUEUE, 0)


def apply_threads(processes: int | None) -> None:
    """Limit how many threads may exist at once; None for no limit."""
    if processes is not None:
        lower(resource.RLIMIT_NPROC, processes)
