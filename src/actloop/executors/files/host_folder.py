"""A folder of this machine, used so that no name leads out of it: links are never followed, files are replaced whole.

Every part of a name is opened by itself, beneath the folder before it, and refused if it is a link. What is written
goes into a new file beside its target, which takes its place at the end, or is taken away again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from actloop.executors.files.incoming import (
    ConflictError,
    Identity,
    Incoming,
    check_unchanged,
    identity_of,
    in_the_way,
    status,
)
from actloop.executors.files.names import unfit
from actloop.executors.files.parts import OWN, remove_left_part
from actloop.guest.files import MAX_FILES

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Found:
    """A file or folder.

    Attributes:
        identity: Of a file; a folder's means nothing.
        size: In bytes; 0 for a folder.
        folder: Whether it is one.
    """

    identity: Identity
    size: int
    folder: bool = False


@dataclass(slots=True)
class Scan:
    """What is in a folder.

    Attributes:
        entries: Files and folders by their names.
        left_out: What is none, or cannot be used, with the reason.
        closed: Names of what only the owner may read; an empty one is the folder itself.
        most: Files and folders after which it was not looked further; None for no such limit.
        tidy: Whether what killed processes left of their own is removed meanwhile.
    """

    entries: dict[str, Found] = field(default_factory=dict[str, Found])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    closed: set[str] = field(default_factory=set[str])
    most: int | None = MAX_FILES
    tidy: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(about.size for about in self.entries.values())

    @property
    def full(self) -> bool:
        """Whether there is more than it holds."""
        return self.most is not None and len(self.entries) > self.most

    @property
    def seen(self) -> int:
        """Entries that were looked at, of whatever kind."""
        return len(self.entries) + len(self.left_out)

    def too_large(self, quota: int) -> str:
        """Why it cannot be copied into a sandbox; empty when it can."""
        if len(self.entries) > MAX_FILES:
            return f"it holds more than {MAX_FILES:,} files; choose a smaller folder"
        if self.size > quota:
            size = f"its files take {self.size:,} bytes, and its quota is {quota:,}"
            return f"{size}; raise its quota, or choose a smaller folder"
        return ""


class HostFolder:
    """The folder; a new one in its place is refused.

    Args:
        path: Where it is.

    Raises:
        OSError: It is gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = os.stat(path)
        self._place = found.st_dev, found.st_ino

    def _open(self) -> int:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, f"the folder {self.path} is gone: make it again") from None
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != self._place:
            os.close(descriptor)
            raise ConflictError(errno.ESTALE, f"the folder {self.path} is another one than at the start")
        return descriptor

    @contextlib.contextmanager
    def _parent(self, name: str, *, make: bool = False) -> Generator[tuple[int, str]]:
        """The folder that a name is in, opened, and the name within it."""
        why = unfit(name)
        if why:
            raise ConflictError(errno.EINVAL, why)
        *folders, last = name.split("/")
        descriptor = self._open()
        try:
            for part in folders:
                inner = _enter(descriptor, part, make=make)
                os.close(descriptor)
                descriptor = inner
            yield descriptor, last
        finally:
            os.close(descriptor)

    # ---- reading

    def scan(self, most: int | None = MAX_FILES, *, tidy: bool = False) -> Scan:
        """What is there.

        Args:
            most: Files and folders to look at; None for all.
            tidy: Whether to remove what processes that were killed had begun to write.

        Raises:
            OSError: The folder is gone, or cannot be read.
        """
        result = Scan(most=most, tidy=tidy)
        descriptor = self._open()
        try:
            if not _open_to_all(os.fstat(descriptor)):
                result.closed.add("")
            self._scan(descriptor, "", result)
        finally:
            os.close(descriptor)
        return result

    def doors(self, most: int = 3) -> list[str]:
        """Names of some sockets, pipes and devices in it, and of folders that cannot be looked into; at most `most`.

        Unlike `scan` it looks into every folder, also into those of version control.
        """
        found: list[str] = []
        folders = [str(self.path)]
        while folders and len(found) < most:
            path = folders.pop()
            try:
                with os.scandir(path) as items:
                    for item in items:
                        if item.is_dir(follow_symlinks=False):
                            folders.append(item.path)
                        elif not item.is_symlink() and not item.is_file(follow_symlinks=False):
                            found.append(os.path.relpath(item.path, self.path))
            except FileNotFoundError:
                continue  # it has just been taken away
            except OSError:
                found.append(os.path.relpath(path, self.path))
        return found[:most]

    def glance(self, most: int) -> Scan:
        """Some of what is there, the uppermost folders first, without looking at more entries than `most`.

        Raises:
            OSError: The folder is gone, or cannot be read.
        """
        result = Scan(most=most)
        folders = [""]
        for prefix in folders:  # which grows meanwhile
            with contextlib.suppress(*([OSError] if prefix else [])), self._inside(prefix) as folder:
                with os.scandir(folder) as items:
                    found = sorted(islice(items, most + 1 - result.seen), key=lambda item: item.name)
                for item in found:
                    if item.name.casefold().startswith(OWN):
                        continue
                    name = prefix + item.name
                    about = status(folder, item.name)
                    if about is None or not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
                        result.left_out[name] = "it is no file"
                    elif why := unfit(name):
                        result.left_out[name] = why
                    elif stat.S_ISDIR(about.st_mode):
                        result.entries[name] = Found(identity_of(about), 0, folder=True)
                        folders.append(name + "/")
                    else:
                        result.entries[name] = Found(identity_of(about), about.st_size)
            if result.seen > most:
                break
        return result

    @contextlib.contextmanager
    def _inside(self, prefix: str) -> Generator[int]:
        """A folder within this one, opened: its name with a slash at the end; an empty one is this folder itself."""
        if prefix:
            with self._parent(prefix + "x") as (folder, _):
                yield folder
            return
        folder = self._open()
        try:
            yield folder
        finally:
            os.close(folder)

    def _scan(self, folder: int, prefix: str, result: Scan) -> None:
        with os.scandir(folder) as items:
            found = sorted(items, key=lambda item: item.name)
        for item in found:
            if result.full:
                return
            name = prefix + item.name
            if item.name.casefold().startswith(OWN):
                if result.tidy:
                    remove_left_part(folder, item.name)
                continue
            try:
                about = item.stat(follow_symlinks=False)
            except OSError:
                continue  # it has just been taken away
            mode = about.st_mode
            why = unfit(name)
            if not why and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                why = "it is a link" if stat.S_ISLNK(mode) else "it is no file"
            if why:
                result.left_out[name] = why
                continue
            if not _open_to_all(about):
                result.closed.add(name)
            if stat.S_ISREG(mode):
                result.entries[name] = Found(identity_of(about), about.st_size)
                continue
            result.entries[name] = Found(identity_of(about), 0, folder=True)
            try:
                inner = _enter(folder, item.name)
            except OSError as error:
                result.left_out[name] = error.strerror or str(error)
                continue
            try:
                self._scan(inner, name + "/", result)
            except OSError as error:
                result.left_out[name] = error.strerror or str(error)
            finally:
                os.close(inner)

    def read(self, name: str, about: Found, at_once: int = 1 << 20) -> Generator[bytes]:
        """The content of a file, in pieces of `at_once` bytes.

        Raises:
            ConflictError: It is not the file that was found, or it changed meanwhile.
            OSError: It cannot be read.
        """
        with self._parent(name) as (folder, last):
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(descriptor, "rb", buffering=0) as file:
            check_unchanged(os.fstat(descriptor), about.identity)
            left = about.size
            while left:
                data = file.read(min(left, at_once))
                if not data:
                    break
                left -= len(data)
                yield data
            check_unchanged(os.fstat(descriptor), about.identity)

    # ---- writing

    def begin(self, name: str, replaces: Identity | None) -> Incoming:
        """Begin to write a file; the folders that it lies in are made.

        Args:
            name: Its name.
            replaces: The file that is there now; None when there must be none.

        Raises:
            ConflictError: A link or a file is in the way, or the file is another one by now.
            OSError: It cannot be written.
        """
        with self._parent(name, make=True) as (folder, last):
            before = status(folder, last)
            if replaces is None and before is not None:
                raise ConflictError(errno.EEXIST, in_the_way(before))
            if replaces is not None:
                check_unchanged(before, replaces)
            return Incoming(os.dup(folder), last, replaces)

    def make_folder(self, name: str) -> None:
        """Make a folder, if there is none.

        Raises:
            ConflictError: A link or a file is in the way.
            OSError: It cannot be made.
        """
        with self._parent(name + "/x", make=True):
            pass

    def remove(self, name: str, identity: Identity) -> None:
        """Delete a file; one that is gone already is as good.

        Raises:
            ConflictError: It is another one by now.
            OSError: It cannot be deleted.
        """
        with contextlib.suppress(FileNotFoundError), self._parent(name) as (folder, last):
            before = status(folder, last)
            if before is not None:
                check_unchanged(before, identity)
                os.unlink(last, dir_fd=folder)

    def remove_folder(self, name: str) -> bool:
        """Delete a folder that is empty; False when it is not."""
        try:
            with self._parent(name) as (folder, last):
                os.rmdir(last, dir_fd=folder)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def _enter(folder: int, part: str, *, make: bool = False) -> int:
    """The folder `part` of an open one."""
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o777, dir_fd=folder)
    try:
        return os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise ConflictError(error.errno, f"{part!r} is a link or a file here, not a folder") from None


def _open_to_all(about: os.stat_result) -> bool:
    needed = 0o005 if stat.S_ISDIR(about.st_mode) else 0o004
    return about.st_mode & needed == needed
