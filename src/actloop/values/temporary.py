"""Folders for temporary files that go even if their process is killed: the next one that makes any sees to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path


class TemporaryFolder:
    """A new folder for this user alone, until `close`.

    A lock tells whether its process still lives, which the kernel lets go of whatever ends that process. Folders of the
    same kind that nobody holds are removed when the first one is made here.

    Args:
        kind: What it is for; part of its name.

    Attributes:
        path: Where it is.
    """

    def __init__(self, kind: str) -> None:
        prefix = f"actloop-{kind}."
        _remove_leftovers(prefix, tempfile.gettempdir())
        made: tuple[Path, int | None] = _made(prefix)
        self.path, self._lock = made
        self._owner = os.getpid()

    def close(self) -> None:
        """Remove the folder and all that is in it; idempotent. A fork of the process that made it removes nothing."""
        if self._lock is None or self._owner != os.getpid():
            return
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = None


def _made(prefix: str) -> tuple[Path, int]:
    """A folder, and a descriptor that locks it; -1 where folders cannot be locked."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix))
        try:
            lock = _locked(path)
        except BlockingIOError:
            continue  # taken for a leftover just now
        except (OSError, ImportError):
            return path, -1
        if path.exists():
            return path, lock
        os.close(lock)


def _locked(path: Path) -> int:
    """A descriptor of a folder that nobody else has locked.

    Raises:
        BlockingIOError: Somebody has.
        OSError, ImportError: It is no folder, or folders cannot be locked here.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@cache
def _remove_leftovers(prefix: str, place: str) -> None:
    """Remove this user's folders of a kind whose processes have ended; links are neither followed nor removed."""
    if not hasattr(os, "geteuid") or not shutil.rmtree.avoids_symlink_attacks:
        return
    with contextlib.suppress(OSError):
        for item in list(os.scandir(place)):
            if not item.name.startswith(prefix):
                continue
            with contextlib.suppress(OSError, ImportError):
                lock = _locked(Path(item.path))
                try:
                    about, named = os.fstat(lock), os.lstat(item.path)
                    if about.st_uid == os.geteuid() and (about.st_dev, about.st_ino) == (named.st_dev, named.st_ino):
                        shutil.rmtree(item.path, ignore_errors=True)
                finally:
                    os.close(lock)
