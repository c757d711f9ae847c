"""What a program is told that hit a limit: which one, and what to do. The words are the same in every sandbox."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TOO_SLOW = "Use a faster method, or do less in one program."
"""For a program that has used up its time."""

_WORDS = {
    "memory": (
        "Programs may hold {} of data here",
        "Work in smaller parts, and let go of large variables by del or None.",
    ),
    "processes": ("At most {} threads and processes may exist at once here", "Start fewer, and wait for them to end."),
    "files": ("At most {} files may be open at once here", "Open them by `with`, which closes them."),
    "disk": ("All files together may take {} here", "Remove files that are not needed any more, or write less."),
}
_SIZES = ("memory", "disk")

_NUMBERS = {
    "memory": (errno.ENOMEM,),
    "processes": (errno.EAGAIN,),  # what a fork fails with
    "files": (errno.EMFILE, errno.ENFILE),
    "disk": (errno.ENOSPC, errno.EFBIG, errno.EDQUOT),
}


def limit_hint(name: str, limits: Mapping[str, Any]) -> str:
    """What to do about a limit that was hit.

    Args:
        name: A field of `SandboxLimits`: memory, processes, files or disk.
        limits: The session's, by these names; without a limit, it was the machine's own.
    """
    if name == "processes" and sys.platform == "emscripten":
        return "There are no threads here: do one thing after another, or use asyncio."
    holds, advice = _WORDS[name]
    limit = limits.get(name)
    if limit is None:
        return advice
    return f"{holds.format(_size(limit) if name in _SIZES else limit)}. {advice}"


def limit_hit(error: OSError) -> str:
    """The limit that an error of the system tells of; empty if none."""
    return next((name for name, numbers in _NUMBERS.items() if error.errno in numbers), "")


def _size(count: int) -> str:
    """A number of bytes in words."""
    return f"{count >> 20:,} MiB" if count % (1 << 20) == 0 else f"{count:,} bytes"
