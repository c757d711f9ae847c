"""The workspace inside a sandbox: the folder that the host fills with files, and from which it takes them back.

The programs' current folder is the workspace. Names are relative and have `/` between their parts. Nothing here guards
anything: a hostile program can make the guest say what it likes, so the host believes none of it.
"""

from __future__ import annotations

import os
import stat
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from .read_only import ReadOnly
from .values import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

MAX_FILES = 10_000
"""Files and folders of a workspace."""

MAX_NESTING = 32
"""Parts that a name in the workspace may have."""

_PAGE = 4096
_HASHED_AT_ONCE = 1 << 20
_SLICE = 16 << 20  # bytes that are read before the host hears again
_RACY = 50_000_000  # nanoseconds by which a file's time may lag behind the clock

Entry = tuple[str, str, int, str]
"""Name, kind, size in bytes, digest. Kinds: `file`, `folder`, and those that the host does not take."""


class Files:
    """Does what the host asks for about the workspace.

    Args:
        config: `folder`, where the workspace is to be; `quota`, bytes beyond which no file is looked into; `mounted`,
            when it is there already and cannot be written; `writable`, whether programs may change its files (then an
            error of Python's says so where the system would let them).
        limit: Bytes of a message.
    """

    def __init__(self, config: Mapping[str, Any], limit: int) -> None:
        mounted = bool(config.get("mounted"))
        self.folder = _enter(str(config.get("folder") or "/workspace"), mounted=mounted)
        self._quota = int(config.get("quota", 0))
        self._writable = bool(config.get("writable", True))
        self._for_host: Any = nullcontext() if mounted or self._writable else ReadOnly(self.folder)
        self._filling: Any = None
        self._page = limit // 16
        self._seen: dict[str, tuple[tuple[int, ...], int, str]] = {}
        self._scan: Generator[Entry | None] | None = None
        self._entries: list[Entry] = []
        self._sent = 0
        self.duties: dict[str, Callable[[dict[str, Any]], Any]] = {}
        if not mounted:
            self.duties = {
                "put_files": self._put,
                "list_files": self._list,
                "get_files": self._get,
                "missing_files": self._missing,
                "is_full": self._is_full,
                "remove_files": self._remove,
            }

    def hint(self, error: OSError) -> str:
        """What to do about an error of a program's that the workspace may have caused; empty when it did not."""
        import errno

        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            return (
                f"The user's folder takes at most {self._quota:,} bytes in all: write less, or remove files of yours."
            )
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM) and not self._writable:
            return "The user's folder can only be read: keep what you make in variables, or in tempfile's folder."
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            try:
                names = sorted(os.listdir(self.folder))
            except OSError:
                return ""
            shown = ", ".join(shortened(ascii(name), 80) for name in names[:10]) or "nothing"
            return f"The current folder is the user's. It holds {shown}{', and more' if len(names) > 10 else ''}."
        return ""

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, *name.split("/"))

    # ---- from the host

    def _put(self, details: dict[str, Any]) -> dict[str, str]:
        """Write parts of files, in their order: name, bytes, whether these are its first and its last.

        None in place of bytes stands for a folder.

        Returns:
            Why one failed, by name.
        """
        failed: dict[str, str] = {}
        for name, data, first, last in details["parts"]:
            if name in failed:
                continue
            try:
                with self._for_host:
                    if data is None:
                        _make_folder(self._path(name))
                    else:
                        self._put_part(self._path(name), data, first=first, last=last)
            except OSError as error:
                self._close()
                failed[name] = error.strerror or str(error)
        return failed

    def _put_part(self, path: str, data: bytes, *, first: bool, last: bool) -> None:
        if first:
            self._close()
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _clear(path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            mode = 0o666 if self._writable else 0o444
            self._filling = open(os.open(path, flags, mode), "wb", buffering=0)  # noqa: SIM115
        if self._filling is None:
            raise OSError("it was not begun")
        rest = memoryview(data)
        while rest:
            rest = rest[self._filling.write(rest) :]
        if last:
            self._close()

    def _close(self) -> None:
        if self._filling is not None:
            self._filling.close()
        self._filling = None

    def _remove(self, details: dict[str, Any]) -> None:
        for name in details["names"]:
            try:
                with self._for_host:
                    _clear(self._path(name))
            except OSError:
                continue  # the host will see that it is still there

    # ---- to the host

    def _list(self, details: dict[str, Any]) -> list[Any]:
        """What is there, page by page: the whole's mark (empty until it is known), entries, and whether more follow.

        No entries follow when the mark is the `known` one.
        """
        if details["start"]:
            self._scan, self._entries, self._sent = self._walk(), [], 0
        if self._scan is not None:
            for entry in self._scan:
                if entry is None:
                    return ["", [], True]
                self._entries.append(entry)
            self._scan = None
        mark = _digest(repr(self._entries).encode("utf-8", "backslashreplace"))
        if mark == details["known"]:
            return [mark, [], False]
        page: list[list[Any]] = []
        room = self._page
        while self._sent < len(self._entries) and (room > 0 or not page):
            entry = self._entries[self._sent]
            page.append(list(entry))
            room -= 6 * len(entry[0].encode()) + 100  # as JSON at its longest
            self._sent += 1
        return [mark, page, self._sent < len(self._entries)]

    def _walk(self) -> Generator[Entry | None]:
        """Every entry; None now and then while files are read."""
        folders = [""]
        count = total = 0
        seen: dict[str, tuple[tuple[int, ...], int, str]] = {}
        while folders:
            prefix = folders.pop()
            try:
                found = sorted(os.scandir(self._path(prefix) if prefix else self.folder), key=lambda item: item.name)
            except FileNotFoundError:
                continue
            except OSError:
                yield prefix[:-1], "unreadable", 0, ""
                continue
            for item in found:
                count += 1
                if count > MAX_FILES:
                    yield "", "more", 0, ""
                    return
                name = prefix + item.name
                try:
                    name.encode()
                    about = item.stat(follow_symlinks=False)
                except UnicodeEncodeError:
                    yield shortened(ascii(name)[1:-1], 1000), "name", 0, ""
                    continue
                except FileNotFoundError:
                    continue
                except OSError:
                    yield name, "unreadable", 0, ""
                    continue
                kind = _kind(about)
                if kind == "folder" and name.count("/") + 1 >= MAX_NESTING:
                    kind = "deep"
                if kind == "folder":
                    folders.append(name + "/")
                if kind not in ("file", "hard link"):
                    yield name, kind, 0, ""
                    continue
                digest = ""
                if about.st_size <= self._quota and total <= self._quota:
                    total += about.st_size
                    mark = yield from self._marked(name, about)
                    if mark is None:
                        kind = "unreadable"
                    else:
                        seen[name] = mark
                        digest = mark[2]
                yield name, kind, about.st_size, digest
        self._seen = seen

    def _marked(
        self, name: str, about: os.stat_result
    ) -> Generator[None, None, tuple[tuple[int, ...], int, str] | None]:
        """What a file was when its content was last read, when that was, and its digest; None if it cannot be read."""
        import hashlib
        import time

        stamp = (about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)
        before = self._seen.get(name)
        if before is not None and before[0] == stamp and max(stamp[1:3]) < before[1] - _RACY:
            return before
        now = time.time_ns()
        state = hashlib.blake2b(digest_size=16)
        read = 0
        try:
            with open(self._path(name), "rb", buffering=0, opener=_no_follow) as file:
                while read < about.st_size:
                    data = file.read(min(_HASHED_AT_ONCE, about.st_size - read))
                    if not data:
                        break
                    state.update(data)
                    read += len(data)
                    if read % _SLICE == 0:
                        yield None
        except OSError:
            return None
        return stamp, now, state.hexdigest()

    def _get(self, details: dict[str, Any]) -> list[bytes | None]:
        """Parts of files, by name, offset and size; None for what cannot be read."""
        return [self._part(name, at, size) for name, at, size in details["parts"]]

    def _part(self, name: str, at: int, size: int) -> bytes | None:
        try:
            with open(self._path(name), "rb", opener=_no_follow) as file:
                file.seek(at)
                return file.read(size)
        except OSError:
            return None

    def _is_full(self, _details: dict[str, Any]) -> bool:
        """Whether the disk takes nothing more, so that files may have been cut."""
        import errno

        path = self._path(".actloop-probe")
        try:
            with open(path, "xb", buffering=0) as file:
                full = file.write(bytes(_PAGE)) < _PAGE
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        with suppress(OSError):
            os.unlink(path)
        return full

    def _missing(self, details: dict[str, Any]) -> list[str]:
        """Those of the given names that surely lead nowhere."""
        missing: list[str] = []
        for name in details["names"]:
            try:
                os.lstat(self._path(name))
            except (FileNotFoundError, NotADirectoryError):
                missing.append(name)
            except OSError:
                continue
        return missing


def _enter(folder: str, *, mounted: bool) -> str:
    """Change into the folder of the workspace; one that is empty and can be written, unless it is mounted."""
    import tempfile

    try:
        if not mounted:
            os.makedirs(folder, exist_ok=True)
        usable = mounted or (os.access(folder, os.W_OK) and not os.listdir(folder))
    except OSError:
        usable = False
    os.chdir(folder if usable else tempfile.mkdtemp(prefix="workspace-"))
    return os.getcwd()


def _kind(about: os.stat_result) -> str:
    mode = about.st_mode
    if stat.S_ISREG(mode):
        return "file" if about.st_nlink <= 1 else "hard link"
    return "folder" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "device"


def _clear(path: str) -> None:
    """Take away whatever is there."""
    import shutil

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _make_folder(path: str) -> None:
    """Make a folder, in place of whatever else is there."""
    if os.path.islink(path) or not os.path.isdir(path):
        _clear(path)
    os.makedirs(path, exist_ok=True)


def _no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _digest(data: bytes) -> str:
    import hashlib

    return hashlib.blake2b(data, digest_size=16).hexdigest()
