"""Folders of saved tools and agents: written so that a crash leaves the old state or the new one, read without trust.

A save first writes everything into a hidden folder inside the target. One rename commits it; then the files are moved
into place, one by one. A reader looks into the committed folder first, so that a save that was interrupted half-way
through those moves still reads as a whole. A save that was interrupted before the commit has changed nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import warnings
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

MAX_BYTES = 8 * 1024 * 1024
"""Bytes of one saved file that are read at most."""

_STAGED = ".actloop-saving-"
_COMMITTED = ".actloop-saved"


class SavedFileError(ValueError):
    """A saved folder holds what cannot be read, or must not be."""


def write_files(folder: str | os.PathLike[str], files: Mapping[str, str]) -> None:
    """Write files into a folder, all or none of them; other files that are there stay.

    Args:
        folder: The folder; made where there is none.
        files: Texts by their paths in the folder, with `/` between the parts.

    Raises:
        SavedFileError: A path leaves the folder, or leads through a symbolic link.
        OSError: It cannot be written (no room, no right); what was there before is unchanged.
    """
    target = Path(folder)
    for name in files:
        _check_name(name)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with _locked(target, fcntl.LOCK_EX):
            _clear_up(target)
            _make_folders(target, files)
            _commit(target, files)
            _move_into_place(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"Saving failed ({reason}); what was in the folder before is unchanged", str(target)
        ) from error


def _check_name(name: str) -> None:
    parts = PurePosixPath(name).parts
    inside = name and not name.startswith("/") and all(part not in ("..", ".") for part in parts)
    if not inside or "\\" in name or "\0" in name or name.startswith(".actloop-"):
        raise SavedFileError(f"{name!r} is no path inside a saved folder")


@contextlib.contextmanager
def _locked(folder: Path, kind: int) -> Generator[None]:
    """Hold the folder's lock, so that nobody reads or writes in the middle of a save; released if the process dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some network file systems know no locks
            fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


def _clear_up(target: Path) -> None:
    """Finish, or throw away, what saves that were interrupted have left."""
    if _is_folder(target / _COMMITTED):
        _move_into_place(target)
    for left in target.glob(f"{_STAGED}*"):
        shutil.rmtree(left, ignore_errors=True)


def _make_folders(target: Path, files: Mapping[str, str]) -> None:
    """Folders that the files need: made beforehand, so that after the commit nothing but renames is left to do."""
    for name in sorted(files):
        folder = target
        for part in PurePosixPath(name).parts[:-1]:
            folder = folder / part
            if folder.is_symlink():
                raise SavedFileError(f"{folder} is a symbolic link; nothing is written through it")
            folder.mkdir(exist_ok=True)
        if _is_folder(target / name):
            raise IsADirectoryError(21, "a folder stands where a file is to be written", str(target / name))


def _commit(target: Path, files: Mapping[str, str]) -> None:
    staged = Path(tempfile.mkdtemp(prefix=_STAGED, dir=target))
    try:
        for name, text in files.items():
            path = staged / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        _sync(staged)
        staged.rename(target / _COMMITTED)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    _sync(target)


def _move_into_place(target: Path) -> None:
    """Move the committed files to where they belong; what cannot be moved is read from where it is."""
    committed = target / _COMMITTED
    left = False
    for path in sorted(committed.rglob("*")):
        if _is_folder(path):
            continue
        try:
            path.replace(target / path.relative_to(committed))
        except OSError:
            left = True
    if not left:
        shutil.rmtree(committed, ignore_errors=True)
    _sync(target)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


class SavedFolder:
    """A saved folder, to be read. Nothing in it is trusted: links out of it, devices and huge files are refused.

    Args:
        folder: The folder.
        root: Where links in it may lead; the folder itself by default.

    Raises:
        FileNotFoundError: There is no such folder.
    """

    def __init__(self, folder: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(folder)
        if not self.path.is_dir():
            raise FileNotFoundError(2, "there is no such folder of a saved agent", str(folder))
        self._root = Path(root if root is not None else folder).resolve(strict=True)

    @contextlib.contextmanager
    def reading(self) -> Generator[SavedFolder]:
        """Read several files of one state: a save of another process is waited for."""
        with _locked(self.path, fcntl.LOCK_SH):
            if _is_folder(self.path / _COMMITTED):
                warnings.warn(
                    f"A save into {self.path} was interrupted. Its files are read from {_COMMITTED} there; the next "
                    "save puts them in place.",
                    stacklevel=4,
                )
            yield self

    def find(self, name: str) -> Path | None:
        """Path of a file, where there is one."""
        _check_name(name)
        for path in (self.path / _COMMITTED / name, self.path / name):
            if path.exists() or path.is_symlink():
                return path
        return None

    def text(self, name: str, limit: int = MAX_BYTES) -> str:
        """A file's text.

        Args:
            name: Path in the folder, with `/` between the parts.
            limit: Bytes that it may have.

        Raises:
            SavedFileError: It is missing, not a regular file, outside the folder, too large, or not UTF-8.
        """
        path = self.find(name)
        if path is None:
            raise SavedFileError(f"{self.path / name} is missing")
        try:
            actual = path.resolve(strict=True)
            if not actual.is_relative_to(self._root):
                raise SavedFileError(f"{path} leads out of the saved folder, to {actual}; it is not read")
            data = _read(actual, limit)
        except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
            raise SavedFileError(f"{path} cannot be read: {error}") from None
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SavedFileError(f"{path} is not UTF-8 text: {error}") from None


def _read(path: Path, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SavedFileError(f"{path} is not a regular file; it is not read")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise SavedFileError(f"{path} is larger than {limit:,} bytes; it is not read")
    return data
