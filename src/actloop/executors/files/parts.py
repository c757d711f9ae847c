"""Files that are being written beside their targets, in the user's folder: those of killed processes are removed."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat

OWN = ".actloop"
"""Names that begin so are this package's own: files that are being written, and its data folder."""

_PART = re.compile(rf"{re.escape(OWN)}-[0-9a-f]{{16}}\.part")


def make_part(folder: int, mode: int) -> tuple[str, int]:
    """A new file in an open folder, and a descriptor to write it, which also locks it where files can be locked.

    The kernel lets go of the lock whatever ends this process: so `remove_left_part` can tell.

    Raises:
        OSError: It cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        name = f"{OWN}-{secrets.token_hex(8)}.part"
        descriptor = os.open(name, flags, mode, dir_fd=folder)
        try:
            with contextlib.suppress(ImportError, OSError):
                _lock(descriptor)
            if os.fstat(descriptor).st_nlink:
                return name, descriptor
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
        os.close(descriptor)  # another process took it for a left one before it was locked


def remove_left_part(folder: int, name: str) -> None:
    """Remove a file of an open folder if `make_part` made it for this user in a process that has ended."""
    if not _PART.fullmatch(name) or not hasattr(os, "geteuid"):
        return
    with contextlib.suppress(OSError, ImportError):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            about = os.fstat(descriptor)
            if stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid():
                _lock(descriptor)
                named = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if (about.st_dev, about.st_ino) == (named.st_dev, named.st_ino):
                    os.unlink(name, dir_fd=folder)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock a file that nobody has locked.

    Raises:
        BlockingIOError: Somebody has.
        OSError, ImportError: Files cannot be locked here.
    """
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
