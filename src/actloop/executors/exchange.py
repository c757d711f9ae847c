"""Moves files between a workspace and the sandbox that has a copy of it, between two programs.

Before a program, what is new in the folder is given to the sandbox; afterwards, what the program made or changed is
taken back. All that the sandbox says of its files is untrusted: names, kinds, sizes and contents. Where both sides
changed a file, that of this machine stays, and it is said so.
"""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from actloop.errors import InterpreterError, ProtocolError
from actloop.executors.file_types import HEAD, file_type
from actloop.executors.host_folder import ConflictError, HostFolder, folded, unfit
from actloop.executors.workspace import FileChanges, WorkspaceFile
from actloop.guest.files import MAX_FILES
from actloop.values.sizes import in_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence

    from actloop.executors.host_folder import Identity, Incoming, Scan
    from actloop.executors.session import Waiter
    from actloop.executors.workspace import Workspace

T = TypeVar("T")

_MOST_AT_ONCE = 4 * 1024 * 1024
_FILES_AT_ONCE = 64
_LISTING = 60.0
"""Seconds that a sandbox may take to say which files it has."""

_KINDS = {
    "file": "",
    "folder": "",
    "link": "it is a link",
    "hard link": "it is a second name of another file",
    "device": "it is no file",
    "deep": "it lies too deep",
    "unreadable": "it cannot be read",
    "name": "its name is not text",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Ask: TypeAlias = "Callable[..., Awaitable[Any]]"
"""Asks the guest for one of its duties, by name and with details."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A file or folder that both sides have.

    Attributes:
        digest: Of the content; empty for a folder.
        size: In bytes.
        identity: Of the file on this machine.
        folder: Whether it is one.
    """

    digest: str
    size: int
    identity: Identity
    folder: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the sandbox says of one of its files."""

    kind: str
    size: int
    digest: str


@dataclass(slots=True)
class _Batch:
    """Parts of files for one message; `done` are those that it makes whole, `failed` those that could not be read."""

    parts: list[list[Any]] = field(default_factory=list[list[Any]])
    done: dict[str, _Known] = field(default_factory=dict[str, _Known])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    size: int = 0

    def add(self, name: str, data: bytes | None, *, first: bool = True, last: bool = True) -> None:
        self.parts.append([name, data, first, last])
        self.size += len(data or b"") + _weight(name)


@dataclass(slots=True)
class _Arriving:
    """A file that is being taken."""

    entry: _Entry
    file: Incoming
    state: Any
    head: bytes = b""
    size: int = 0


@dataclass(slots=True)
class _Taken:
    """What came of looking once."""

    created: dict[str, WorkspaceFile] = field(default_factory=dict[str, WorkspaceFile])
    changed: dict[str, WorkspaceFile] = field(default_factory=dict[str, WorkspaceFile])
    deleted: list[str] = field(default_factory=list[str])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    passing: bool = False
    """Whether something was refused that may go well another time."""
    looked: bool = False
    """Whether there was anything new to look at."""


class Exchange:
    """The files of one session.

    Args:
        workspace: The folder.
        limit: Bytes of a message.

    Raises:
        OSError: The folder is gone.
    """

    def __init__(self, workspace: Workspace, limit: int) -> None:
        self.workspace = workspace
        self._folder = HostFolder(workspace.path)
        self._most = min(_MOST_AT_ONCE, max(limit, 1 << 16) // 4)
        self._known: dict[str, _Known] = {}
        self._mark = ""
        self._refused: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._kept: set[str] = set()

    def note(self, problem: str) -> None:
        """Have the next `take` or `notes` tell of a problem."""
        self._refused[""] = problem

    def notes(self) -> FileChanges:
        """What there is to tell, without looking."""
        refused, self._refused = self._refused, {}
        return FileChanges(self.workspace.path, refused={_shown(name): why for name, why in refused.items()})

    # ---- to the sandbox

    async def give(self, waiter: Waiter, ask: Ask, *, first: bool = False) -> None:
        """Give the sandbox what is new on this machine; what cannot be given is told by the next `take`.

        Args:
            waiter: How to wait.
            ask: Asks the guest for one of its duties.
            first: It was given nothing yet: then whatever cannot be given is an error.

        Raises:
            InterpreterError: The guest has died; or, the first time, the files cannot be given.
        """
        try:
            found = await _call(waiter, self._folder.scan)
        except OSError as error:
            return self._no_gift("", error.strerror or str(error), first=first)
        why = found.too_large(self.workspace.quota)
        if why:
            return self._no_gift("", why, first=first)
        gone = [
            name
            for name, known in self._known.items()
            if name not in found.entries or found.entries[name].folder != known.folder
        ]
        for names in _chunked(sorted(gone, reverse=True), self._most):
            await ask("remove_files", names=names)
        for name in gone:
            del self._known[name]
        bad: dict[str, str] = {}
        pieces = self._pieces(found)
        try:
            while (batch := await _call(waiter, partial(next, pieces, None))) is not None:
                bad |= batch.failed
                if batch.parts:
                    bad |= _failures(await ask("put_files", parts=batch.parts), batch)
                self._known |= {name: known for name, known in batch.done.items() if name not in bad}
        finally:
            pieces.close()
        if bad:
            await ask("remove_files", names=sorted(bad))
        for name, reason in bad.items():
            self._known.pop(name, None)
            self._no_gift(name, reason, first=first)
        return None

    def _no_gift(self, name: str, why: str, *, first: bool) -> None:
        if first:
            what = f"The file {name!r} of the workspace" if name else "The workspace"
            raise InterpreterError(f"{what} {self.workspace.path} cannot be given to the sandbox: {why}")
        self._refused[name] = f"it could not be given to the sandbox anew: {why}"

    def _pieces(self, found: Scan) -> Generator[_Batch]:
        """What the sandbox does not have as it is now, in messages."""
        batch = _Batch()
        for name, about in found.entries.items():
            known = self._known.get(name)
            if known is not None and (about.folder or known.identity == about.identity):
                continue
            if about.folder:
                batch.add(name, None)
                batch.done[name] = _Known("", 0, about.identity, folder=True)
            else:
                try:
                    state, first, left = _hash(), True, about.size
                    for data in self._folder.read(name, about, self._most // 2):
                        if batch.size >= self._most:
                            yield batch
                            batch = _Batch()
                        state.update(data)
                        left -= len(data)
                        batch.add(name, data, first=first, last=left == 0)
                        first = False
                    if left:
                        raise ConflictError(errno.ESTALE, "it changes while it is read")
                    if first:
                        batch.add(name, b"")
                    batch.done[name] = _Known(state.hexdigest(), about.size, about.identity)
                except OSError as error:
                    batch.failed[name] = error.strerror or str(error)
            if batch.size >= self._most:
                yield batch
                batch = _Batch()
        yield batch

    # ---- from the sandbox

    async def take(self, waiter: Waiter, ask: Ask) -> FileChanges:
        """Take over what programs made, changed and deleted.

        Raises:
            InterpreterError: The guest has died.
            ProtocolError: It said something that makes no sense; its session must be closed.
        """
        if not self.workspace.writable:
            return self.notes()
        first = await self._look(waiter, ask)
        second = await self._look(waiter, ask) if first.deleted and first.passing else _Taken()  # names became free
        refused = second.refused if first.deleted and first.passing else first.refused
        refused, self._refused = {**self._refused, **refused}, {}
        news = {name: why for name, why in refused.items() if self._told.get(name) != why}
        self._told = refused if first.looked else self._told | news
        created = {**first.created, **second.created}
        changed = {name: file for name, file in (first.changed | second.changed).items() if name not in created}
        return FileChanges(
            self.workspace.path,
            tuple(created.values()),
            tuple(changed.values()),
            tuple(name for name in (*first.deleted, *second.deleted) if name not in created),
            {_shown(name): why for name, why in news.items()},
        )

    async def _look(self, waiter: Waiter, ask: Ask) -> _Taken:
        mark, entries = await self._listing(ask)
        if mark == self._mark:
            return _Taken()
        taken = _Taken(looked=True)
        whole = entries.pop("", None) is None
        wanted = self._wanted(entries, taken)
        if not whole:
            taken.refused[""] = f"the folder holds more than {MAX_FILES:,} files: only some were looked at"
        await _call(waiter, partial(self._make_folders, entries, taken))
        await self._fetch(wanted, waiter, ask, taken)
        if whole:
            gone = await self._gone(entries, ask)
            await _call(waiter, partial(self._delete, gone, entries, taken))
        self._mark = "" if taken.passing else mark
        return taken

    async def _listing(self, ask: Ask) -> tuple[str, dict[str, _Entry]]:
        """Its mark, and what there is by name, unless the mark is the one before; an empty name says that more is."""
        entries: dict[str, _Entry] = {}
        count, start, until = 0, True, time.monotonic() + _LISTING
        while True:
            mark, page, more = _page(await ask("list_files", start=start, known=self._mark))
            start = False
            count += len(page)
            if count > 2 * MAX_FILES or (more and mark and not page) or time.monotonic() > until:
                raise ProtocolError("The sandbox does not come to an end with the list of its files")
            entries |= page
            if not more:
                return mark, entries

    def _wanted(self, entries: dict[str, _Entry], taken: _Taken) -> dict[str, _Entry]:
        """Files to take; what is not taken leaves `entries`' files, and is refused."""
        # What is not in the list is about to be deleted, unless it was kept the last time.
        kept = [known for name, known in self._known.items() if name in entries or name in self._kept]
        total, count = sum(known.size for known in kept), len(kept)
        names = {folded(name): name for name in self._known if name in entries}
        refused: set[str] = set()
        wanted: dict[str, _Entry] = {}
        for name in sorted(entries):
            entry = entries[name]
            if name.rpartition("/")[0] in refused:
                refused.add(name)  # its folder is told of
                continue
            if self._is_known(name, entry) or self._may_be_known(name, entry):
                continue
            why = _KINDS[entry.kind] or unfit(name)
            if not why and name not in self._known and names.setdefault(folded(name), name) != name:
                why = f"its name differs from {names[folded(name)]!r} only in the case of its letters"
            known = self._known.get(name)
            more = entry.size - (known.size if known is not None else 0)
            if not why and entry.kind == "file" and (not entry.digest or total + more > self.workspace.quota):
                why = f"it does not fit: the folder takes {in_bytes(self.workspace.quota)} in all"
            if not why and known is None and count >= MAX_FILES:
                why = f"it does not fit: the folder takes {MAX_FILES:,} files in all"
            if why:
                refused.add(name)
                taken.refused[name] = why
                continue
            count += known is None
            if entry.kind == "file":
                total += more
                wanted[name] = entry
        for name in refused & entries.keys():
            entries[name] = _Entry("refused", entries[name].size, entries[name].digest)
        return wanted

    def _is_known(self, name: str, entry: _Entry) -> bool:
        known = self._known.get(name)
        return known is not None and (
            (entry.kind == "folder" and known.folder)
            or (entry.kind == "file" and not known.folder and entry.digest == known.digest)
        )

    def _may_be_known(self, name: str, entry: _Entry) -> bool:
        """Whether a file looks as it was, in a sandbox so full that its content was not looked at."""
        known = self._known.get(name)
        return known is not None and entry.kind == "file" and not entry.digest and entry.size == known.size

    def _make_folders(self, entries: dict[str, _Entry], taken: _Taken) -> None:
        for name in sorted(entries):
            if entries[name].kind == "folder" and name not in self._known:
                try:
                    self._folder.make_folder(name)
                    self._known[name] = _Known("", 0, (0, 0, 0, 0), folder=True)
                except OSError as error:
                    _refuse(taken, name, error)

    # ---- contents

    async def _fetch(self, wanted: dict[str, _Entry], waiter: Waiter, ask: Ask, taken: _Taken) -> None:
        arriving: dict[str, _Arriving] = {}
        try:
            for batch in self._parts(wanted):
                await _call(waiter, partial(self._begin, batch, wanted, arriving, taken))
                parts = [part for part in batch if part[0] in arriving]
                if parts:
                    answers = _contents(await ask("get_files", parts=[list(part) for part in parts]), parts)
                    await _call(waiter, partial(self._store, parts, answers, arriving, taken))
        finally:
            for item in arriving.values():
                item.file.close()

    def _parts(self, wanted: dict[str, _Entry]) -> Generator[list[tuple[str, int, int]]]:
        """What to ask for at once: names, offsets and sizes."""
        batch: list[tuple[str, int, int]] = []
        room = self._most
        for name, entry in wanted.items():
            at = 0
            while at < entry.size or at == 0:
                size = min(entry.size - at, self._most)
                if batch and (size + _weight(name) > room or len(batch) == _FILES_AT_ONCE):
                    yield batch
                    batch, room = [], self._most
                batch.append((name, at, size))
                room -= size + _weight(name)
                at += size or 1
        if batch:
            yield batch

    def _begin(
        self,
        batch: list[tuple[str, int, int]],
        wanted: dict[str, _Entry],
        arriving: dict[str, _Arriving],
        taken: _Taken,
    ) -> None:
        for name, at, _ in batch:
            if at:
                continue
            known = self._known.get(name)
            try:
                if known is not None and known.folder:
                    raise ConflictError(errno.EISDIR, "a folder of this name is here")
                file = self._folder.begin(name, None if known is None else known.identity)
            except OSError as error:
                _refuse(taken, name, error)
            else:
                arriving[name] = _Arriving(wanted[name], file, _hash())

    def _store(
        self,
        parts: list[tuple[str, int, int]],
        answers: Sequence[bytes | None],
        arriving: dict[str, _Arriving],
        taken: _Taken,
    ) -> None:
        for (name, _, size), data in zip(parts, answers, strict=True):
            item = arriving.get(name)
            if item is None:
                continue
            try:
                if data is None or len(data) != size:
                    raise ConflictError(errno.ESTALE, "it changed while it was taken")
                item.file.write(data)
                item.state.update(data)
                item.head += data[: HEAD - len(item.head)]
                item.size += size
                if item.size < item.entry.size:
                    continue
                self._commit(name, item, taken)
            except OSError as error:
                _refuse(taken, name, error)
            arriving.pop(name).file.close()

    def _commit(self, name: str, item: _Arriving, taken: _Taken) -> None:
        if item.state.hexdigest() != item.entry.digest:
            raise ConflictError(errno.ESTALE, "it changed while it was taken")
        with _changing:  # sessions of other threads may have the same folder
            identity = item.file.commit()
        file = WorkspaceFile(name, file_type(name, item.head), item.size, self.workspace.path / name)
        (taken.created if name not in self._known else taken.changed)[name] = file
        self._known[name] = _Known(item.entry.digest, item.size, identity)

    # ---- deletions

    async def _gone(self, entries: dict[str, _Entry], ask: Ask) -> list[str]:
        """What programs deleted: it is not in the list, and asked for it once more, the sandbox does not find it."""
        unlisted = [name for name in self._known if name not in entries]
        gone = [
            name
            for name, known in self._known.items()
            if name in entries and entries[name].kind == ("file" if known.folder else "folder")
        ]
        for names in _chunked(unlisted, self._most):
            missing = await ask("missing_files", names=names)
            if type(missing) is not list:
                raise ProtocolError("The sandbox did not say which files are missing")
            said = {name for name in cast("list[Any]", missing) if type(name) is str}
            gone += [name for name in names if name in said]
        return gone

    def _delete(self, gone: Iterable[str], entries: dict[str, _Entry], taken: _Taken) -> None:
        # A file that was given another name is not deleted before it is taken under that name.
        refused = [entries[name] for name in taken.refused if name in entries]
        held = {entry.digest or entry.size for entry in refused if entry.digest or entry.size}
        self._kept.clear()
        for name in sorted(gone, reverse=True):  # what is in a folder before the folder
            known = self._known[name]
            if not known.folder and not held.isdisjoint((known.digest, known.size)):
                taken.refused[name] = "it was kept here, since a file that may be the same one was not taken"
                taken.passing = True
                self._kept.add(name)
                continue
            try:
                with _changing:
                    if known.folder:
                        self._folder.remove_folder(name)
                    else:
                        self._folder.remove(name, known.identity)
                        taken.deleted.append(name)
            except OSError as error:
                _refuse(taken, name, error)
            del self._known[name]


_changing = threading.Lock()


async def _call(waiter: Waiter, function: Callable[[], T]) -> T:
    """Do something that blocks for a moment; not in the event loop, where the waiter has one."""
    call = getattr(waiter, "call", None)
    return function() if call is None else await call(function)


def _refuse(taken: _Taken, name: str, error: OSError) -> None:
    taken.passing = True
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        reason = "there is no room left on this machine's disk"
    taken.refused[name] = reason


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)


def _weight(name: str) -> int:
    """Bytes that a name takes in a message at most, with what belongs to it."""
    return 12 * len(name) + 100


def _chunked(names: Sequence[str], most: int) -> Generator[list[str]]:
    chunk: list[str] = []
    room = most
    for name in names:
        if _weight(name) > room and chunk:
            yield chunk
            chunk, room = [], most
        chunk.append(name)
        room -= _weight(name)
    if chunk:
        yield chunk


def _shown(name: str) -> str:
    """A name that is safe to show."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return shown if len(shown) <= 120 else f"{shown[:100]}... ({len(name)} characters)"


# ---- what a guest says


def _page(answer: Any) -> tuple[str, dict[str, _Entry], bool]:
    if type(answer) is not list or len(cast("list[Any]", answer)) != 3:
        raise ProtocolError("The sandbox sent a list of files that is none")
    mark, page, more = cast("list[Any]", answer)
    if type(mark) is not str or len(mark) > 64 or type(page) is not list or type(more) is not bool:
        raise ProtocolError("The sandbox sent a list of files that is none")
    return mark, dict(map(_entry, cast("list[Any]", page))), more


def _entry(item: Any) -> tuple[str, _Entry]:
    fields = cast("list[Any]", item) if type(item) is list else []
    if [type(part) for part in fields] != [str, str, int, str]:
        raise ProtocolError("The sandbox sent a file that is none")
    name, kind, size, digest = fields
    if kind == "more":
        return "", _Entry("file", 0, "")
    if not name or len(name) > 10_000 or kind not in _KINDS or not 0 <= size < 1 << 62 or len(digest) > 64:
        raise ProtocolError("The sandbox sent a file that is none")
    return name, _Entry(kind, size, digest)


def _contents(answer: Any, parts: list[tuple[str, int, int]]) -> list[bytes | None]:
    answers = cast("list[Any]", answer) if type(answer) is list else []
    if len(answers) != len(parts) or any(type(data) not in (bytes, type(None)) for data in answers):
        raise ProtocolError("The sandbox sent other contents than were asked for")
    return answers


def _failures(answer: Any, batch: _Batch) -> dict[str, str]:
    if type(answer) is not dict:
        raise ProtocolError("The sandbox did not say how it took the files")
    said = cast("dict[Any, Any]", answer)
    names = {part[0] for part in batch.parts}
    return {name: _shown(why)[:200] for name, why in said.items() if name in names and type(why) is str}
