"""Lets programs hear at once that the workspace can only be read, where it is a copy that the system lets them write.

It guards nothing: the host takes nothing back, and finds by itself what gets past this.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_MAKES = {"os.mkdir": ((0, 2),), "os.link": ((1, 3),), "os.symlink": ((1, 2),)}
_CHANGES = {
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
}
"""Events of audit hooks, with the positions of a path and of the folder's descriptor that it is relative to."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ReadOnly:
    """Refuses what Python would do to the files of a folder, with the error of a file system that can only be read.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder)
        self._host = 0
        sys.addaudithook(self._hear)

    def __enter__(self) -> None:
        """Let this thread write, for the host."""
        import threading

        self._host = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        """End that."""
        self._host = 0

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if event == "open":
            if len(details) == 3 and type(details[2]) is int and details[2] & _WRITES:
                self._check_open(details[0], details[2])
        elif event in _MAKES or event in _CHANGES:
            for position, relative in _MAKES.get(event) or _CHANGES[event]:
                self._check(details, position, relative, makes=event in _MAKES or position > 0)

    def _check_open(self, given: Any, flags: int) -> None:
        path = self._within(given, None)
        if path is not None and os.path.isdir(os.path.dirname(path)):
            there = os.path.exists(path)
            if flags & os.O_CREAT if not there else flags & (os.O_CREAT | os.O_EXCL) != os.O_CREAT | os.O_EXCL:
                self._refuse(given)

    def _check(self, details: tuple[Any, ...], position: int, relative: int | None, *, makes: bool) -> None:
        path = self._within(details[position], None if relative is None else details[relative])
        if path is not None and os.path.lexists(path) != makes:  # else the system's own error says more
            self._refuse(details[position])

    def _within(self, given: Any, relative: Any) -> str | None:
        """The path, if it is in the folder; links on the way to it are followed, it itself is not if it is one."""
        import threading

        if isinstance(given, int) or self._host == threading.get_ident():
            return None
        try:
            path = os.fsdecode(given)
            if isinstance(relative, int) and relative >= 0:
                path = os.path.join(os.readlink(f"/proc/self/fd/{relative}"), path)
            parent, name = os.path.split(os.path.abspath(path))
            path = os.path.join(os.path.realpath(parent), name)
        except (OSError, TypeError, ValueError):
            return None  # the system will say what is wrong
        return path if path == self._folder or path.startswith(self._folder + os.sep) else None

    def _refuse(self, given: Any) -> None:
        import errno

        raise OSError(errno.EROFS, os.strerror(errno.EROFS), given)
