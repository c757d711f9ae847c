"""A file of this machine while a sandbox's content is written: it takes its place whole, or leaves nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from actloop.executors.files.parts import make_part

Identity = tuple[int, int, int, int, int]
"""Device, number, size and times of the last change of a file's content and of the last change at all, which no program
sets, in nanoseconds: another one is another content."""

NO_IDENTITY: Identity = (0, 0, 0, 0, 0)


class ConflictError(OSError):
    """What is in the folder is not what was there before, or no file."""


class Incoming:
    """A file that is being written beside its target: `commit` puts it there, `close` takes it away.

    Args:
        folder: The folder that it is in, opened; closed with this.
        name: Its name there.
        replaces: As in `HostFolder.begin`.
    """

    def __init__(self, folder: int, name: str, replaces: Identity | None) -> None:
        self._folder = folder
        self._name = name
        self._replaces = replaces
        try:
            self._own, descriptor = make_part(folder, 0o666 if replaces is None else 0o600)
            self._file = open(descriptor, "wb", buffering=0)  # noqa: SIM115 - closed by `close`
        except BaseException:
            os.close(folder)
            raise

    def write(self, data: bytes) -> None:
        """Add to the file.

        Raises:
            OSError: It cannot be written, as when the disk is full.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def commit(self) -> Identity:
        """Put the file in its place.

        Raises:
            ConflictError: Something else is there by now.
            OSError: It cannot be put there.
        """
        descriptor = self._file.fileno()
        before = status(self._folder, self._name)
        if self._replaces is None:
            self._link(before)
        else:
            check_unchanged(before, self._replaces)
            assert before is not None
            _take_over(descriptor, before)
            os.fsync(descriptor)  # else a loss of power could leave neither the old content nor the new
            os.replace(self._own, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._own = ""
        if self._own:  # a new file's second name
            with contextlib.suppress(OSError):
                os.unlink(self._own, dir_fd=self._folder)
                self._own = ""
        identity = identity_of(os.fstat(descriptor))
        self.close()
        return identity

    def _link(self, before: os.stat_result | None) -> None:
        """Put a new file in its place, which must be free: a second name does not replace what is there."""
        try:
            os.link(self._own, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False)
        except FileExistsError:
            raise ConflictError(errno.EEXIST, "a file of this name was made here meanwhile") from None
        except OSError:  # a file system without second names
            if before is not None:
                raise ConflictError(errno.EEXIST, in_the_way(before)) from None
            os.replace(self._own, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._own = ""

    def close(self) -> None:
        """Take away what was not put in its place; idempotent."""
        if self._file.closed:
            return
        self._file.close()
        if self._own:
            with contextlib.suppress(OSError):
                os.unlink(self._own, dir_fd=self._folder)
        os.close(self._folder)


def status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def identity_of(about: os.stat_result) -> Identity:
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def check_unchanged(about: os.stat_result | None, identity: Identity) -> None:
    if about is None:
        raise ConflictError(errno.ESTALE, "it was deleted here meanwhile")
    if not stat.S_ISREG(about.st_mode) or identity_of(about) != identity:
        raise ConflictError(errno.ESTALE, "it was changed here meanwhile")


def in_the_way(about: os.stat_result) -> str:
    kind = "link" if stat.S_ISLNK(about.st_mode) else "folder" if stat.S_ISDIR(about.st_mode) else "file"
    return f"a {kind} of this name is here, which the sandbox was not given"


def _take_over(descriptor: int, before: os.stat_result) -> None:
    """Give a new file the rights and the owner of the one that it replaces; never those of another user's program."""
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, before.st_mode & 0o777)
