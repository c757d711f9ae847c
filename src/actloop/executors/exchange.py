"""Moves files between a workspace and the sandbox that has a copy of it, between two programs.

Before a program, what is new in the folder is given to the sandbox; afterwards, what the program made or changed is
taken back. All that the sandbox says of its files is untrusted: names, kinds, sizes and contents. Where both sides
changed a file, that of this machine stays, and it is said so.
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import ProtocolError, UnsupportedError
from actloop.executors.files.answers import KINDS, read_failures, read_page
from actloop.executors.files.arrivals import Arrivals
from actloop.executors.files.host_folder import HostFolder
from actloop.executors.files.incoming import NO_IDENTITY, ConflictError
from actloop.executors.files.names import folded, unfit
from actloop.executors.files.state import (
    CHANGING,
    MOST_AT_ONCE,
    Entry,
    Known,
    Shared,
    Taken,
    chunked,
    new_hash,
    off_loop,
    refuse,
    shown,
    weight,
)
from actloop.executors.workspace import FileChanges
from actloop.guest.files import MAX_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from actloop.executors.files.host_folder import Scan
    from actloop.executors.files.state import Ask
    from actloop.executors.session import Waiter
    from actloop.executors.workspace import Workspace

_CUT = "it may be cut, since the sandbox's disk was full: make room and write it again"

_LISTING = 60.0
"""Seconds that a sandbox may take to say which files it has."""


@dataclass(slots=True)
class _Batch:
    """Parts of files for one message; `done` are those that it makes whole, `failed` those that could not be read."""

    parts: list[list[Any]] = field(default_factory=list[list[Any]])
    done: dict[str, Known] = field(default_factory=dict[str, Known])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    size: int = 0

    def add(self, name: str, data: bytes | None, *, first: bool = True, last: bool = True) -> None:
        self.parts.append([name, data, first, last])
        self.size += len(data or b"") + weight(name)

    @property
    def names(self) -> set[str]:
        """Of which files there are parts."""
        return {part[0] for part in self.parts}


class Exchange:
    """The files of one session.

    Args:
        workspace: The folder.
        limit: Bytes of a message.

    Attributes:
        masked: Masks the secrets in a name.

    Raises:
        OSError: The folder is gone.
    """

    def __init__(self, workspace: Workspace, limit: int) -> None:
        self.workspace = workspace
        self.masked: Callable[[str], str] = str
        most = min(MOST_AT_ONCE, max(limit, 1 << 16) // 4)
        self._shared = Shared(workspace, HostFolder(workspace.path), most)
        self._mark = ""
        self._refused: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._cut: dict[str, Entry] = {}
        self._unkept: dict[str, Entry | None] = {}

    def note(self, problem: str) -> None:
        """Have the next `take` or `notes` tell of a problem."""
        self._refused[""] = problem

    def notes(self) -> FileChanges:
        """What there is to tell, without looking."""
        refused, self._refused = self._refused, {}
        return FileChanges(self.workspace.path, refused=self._shown(refused))

    def _shown(self, refused: Mapping[str, str]) -> dict[str, str]:
        """Reasons by names that are safe to show; a secret is masked before a long name is cut."""
        secret = self._with_secrets(refused)
        return {shown(secret.get(name, name)): why for name, why in refused.items()}

    def _with_secrets(self, names: Iterable[str]) -> dict[str, str]:
        """Names that hold a secret, with a mask in its place."""
        names = list(names)
        every = "\n".join(names)
        if self.masked(every) == every:  # at once, since there may be thousands
            return {}
        return {name: masked for name in names if (masked := self.masked(name)) != name}

    # ---- to the sandbox

    async def give(self, waiter: Waiter, ask: Ask, *, first: bool = False) -> None:
        """Give the sandbox what is new on this machine; what cannot be given is told by the next `take`.

        Args:
            waiter: How to wait.
            ask: Asks the guest for one of its duties.
            first: It was given nothing yet: then whatever cannot be given is an error.

        Raises:
            InterpreterError: The guest has died.
            UnsupportedError: The first time, the files cannot be given.
        """
        try:
            found = await off_loop(waiter, partial(self._shared.folder.scan, tidy=first and self.workspace.writable))
        except OSError as error:
            return self._no_gift("", error.strerror or str(error), first=first)
        why = found.too_large(self.workspace.quota)
        if why:
            return self._no_gift("", why, first=first)
        gone = [
            name
            for name, known in self._shared.known.items()
            if name not in found.entries or found.entries[name].folder != known.folder
        ]
        for names in chunked(sorted(gone, reverse=True), self._shared.most):
            await ask("remove_files", names=names)
        for name in gone:
            del self._shared.known[name]
        bad: dict[str, str] = {}
        pieces = self._pieces(found)
        try:
            while (batch := await off_loop(waiter, partial(next, pieces, None))) is not None:
                bad |= batch.failed
                if batch.parts:
                    bad |= read_failures(await ask("put_files", parts=batch.parts), batch.names)
                self._shared.known |= {name: known for name, known in batch.done.items() if name not in bad}
        finally:
            pieces.close()
        if bad:
            await ask("remove_files", names=sorted(bad))
        for name, reason in bad.items():
            self._shared.known.pop(name, None)
            self._no_gift(name, reason, first=first)
        return None

    def _no_gift(self, name: str, why: str, *, first: bool) -> None:
        if first:
            what = f"The file {name!r} of the workspace" if name else "The workspace"
            raise UnsupportedError(f"{what} {self.workspace.path} cannot be given to the sandbox: {why}")
        self._refused[name] = f"it could not be given to the sandbox anew: {why}"

    def _pieces(self, found: Scan) -> Generator[_Batch]:
        """What the sandbox does not have as it is now, in messages."""
        batch = _Batch()
        for name, about in found.entries.items():
            known = self._shared.known.get(name)
            if known is not None and (about.folder or known.identity == about.identity):
                continue
            if about.folder:
                batch.add(name, None)
                batch.done[name] = Known("", 0, about.identity, folder=True)
            else:
                try:
                    state, first, left = new_hash(), True, about.size
                    for data in self._shared.folder.read(name, about, self._shared.most // 2):
                        if batch.size >= self._shared.most:
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
                    batch.done[name] = Known(state.hexdigest(), about.size, about.identity)
                except OSError as error:
                    batch.failed[name] = error.strerror or str(error)
            if batch.size >= self._shared.most:
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
            await self._note_unkept(ask)
            return self.notes()
        first = await self._look(waiter, ask)
        second = await self._look(waiter, ask) if first.deleted and first.passing else Taken()  # names became free
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
            self._shown(news),
        )

    async def _look(self, waiter: Waiter, ask: Ask) -> Taken:
        mark, entries = await self._listing(ask)
        if mark == self._mark:
            return Taken()
        taken = Taken(looked=True)
        whole = entries.pop("", None) is None
        await self._note_cut(entries, ask)
        wanted = self._wanted(entries, taken)
        if not whole:
            taken.refused[""] = f"the folder holds more than {MAX_FILES:,} files: only some were looked at"
        await off_loop(waiter, partial(self._make_folders, entries, taken))
        await Arrivals(self._shared, wanted, taken).fetch(waiter, ask)
        if whole:
            gone = await self._gone(entries, ask)
            await off_loop(waiter, partial(self._delete, gone, entries, taken))
        self._mark = "" if taken.passing else mark
        return taken

    async def _note_cut(self, entries: dict[str, Entry], ask: Ask) -> None:
        """Note files that were written when the sandbox's disk got full: they are not taken until written anew."""
        self._cut = {name: cut for name, cut in self._cut.items() if name in entries}
        new = {
            name: entry
            for name, entry in entries.items()
            if entry.kind == "file" and not self._is_known(name, entry) and not self._is_cut(name, entry)
        }
        if new and await ask("is_full") is not False:
            self._cut |= new

    async def _note_unkept(self, ask: Ask) -> None:
        """Note what programs did to a copy that is only to be read; the user's own files are given anew."""
        mark, entries = await self._listing(ask)
        if mark == self._mark:
            return
        whole = entries.pop("", None) is None
        unkept: dict[str, Entry | None] = {}
        for name in sorted(entries):
            if not (self._is_known(name, entries[name]) or self._may_be_known(name, entries[name])):
                unkept[name] = entries[name]
        if whole:
            unkept |= dict.fromkeys(await self._gone(entries, ask))
        for name, entry in unkept.items():
            told = name.rpartition("/")[0] in unkept  # by its folder
            if not told and (name not in self._unkept or self._unkept[name] != entry):
                self._refused[name] = "the folder can only be read"
            self._shared.known.pop(name, None)
        self._mark, self._unkept = mark, unkept

    async def _listing(self, ask: Ask) -> tuple[str, dict[str, Entry]]:
        """Its mark, and what there is by name, unless the mark is the one before; an empty name says that more is."""
        entries: dict[str, Entry] = {}
        count, start, until = 0, True, time.monotonic() + _LISTING
        while True:
            mark, page, more = read_page(await ask("list_files", start=start, known=self._mark))
            start = False
            count += len(page)
            if count > 2 * MAX_FILES or (more and mark and not page) or time.monotonic() > until:
                raise ProtocolError("The sandbox does not come to an end with the list of its files")
            entries |= page
            if not more:
                return mark, entries

    def _wanted(self, entries: dict[str, Entry], taken: Taken) -> dict[str, Entry]:
        """Files to take; what is not taken leaves `entries`' files, and is refused."""
        # What is not in the list is about to be deleted, unless it was kept the last time.
        kept = [known for name, known in self._shared.known.items() if name in entries or name in self._shared.kept]
        total, count = sum(known.size for known in kept), len(kept)
        names = {folded(name): name for name in self._shared.known if name in entries}
        refused: set[str] = set()
        secret = self._with_secrets(entries)
        wanted: dict[str, Entry] = {}
        for name in sorted(entries):
            entry = entries[name]
            if name.rpartition("/")[0] in refused:
                refused.add(name)  # its folder is told of
                continue
            if self._is_known(name, entry) or self._may_be_known(name, entry):
                continue
            why = KINDS[entry.kind] or unfit(name)
            if not why and name in secret:
                why = "its name holds a secret"
            if not why and name not in self._shared.known and names.setdefault(folded(name), name) != name:
                why = f"its name differs from {names[folded(name)]!r} only in the case of its letters"
            known = self._shared.known.get(name)
            more = entry.size - (known.size if known is not None else 0)
            if not why and entry.kind == "file" and (not entry.digest or total + more > self.workspace.quota):
                why = f"it does not fit: the folder takes {self.workspace.quota:,} bytes in all"
            if not why and self._is_cut(name, entry):
                why = _CUT
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
            entries[name] = Entry("refused", entries[name].size, entries[name].digest)
        return wanted

    def _is_cut(self, name: str, entry: Entry) -> bool:
        cut = self._cut.get(name)
        return cut is not None and entry.size == cut.size and (entry.digest == cut.digest or not cut.digest)

    def _is_known(self, name: str, entry: Entry) -> bool:
        known = self._shared.known.get(name)
        return known is not None and (
            (entry.kind == "folder" and known.folder)
            or (entry.kind == "file" and not known.folder and entry.digest == known.digest)
        )

    def _may_be_known(self, name: str, entry: Entry) -> bool:
        """Whether a file looks as it was, in a sandbox so full that its content was not looked at."""
        known = self._shared.known.get(name)
        return known is not None and entry.kind == "file" and not entry.digest and entry.size == known.size

    def _make_folders(self, entries: dict[str, Entry], taken: Taken) -> None:
        for name in sorted(entries):
            if entries[name].kind == "folder" and name not in self._shared.known:
                try:
                    self._shared.folder.make_folder(name)
                    self._shared.known[name] = Known("", 0, NO_IDENTITY, folder=True)
                except OSError as error:
                    refuse(taken, name, error)

    # ---- deletions

    async def _gone(self, entries: dict[str, Entry], ask: Ask) -> list[str]:
        """What programs deleted: it is not in the list, and asked for it once more, the sandbox does not find it."""
        unlisted = [name for name in self._shared.known if name not in entries]
        gone = [
            name
            for name, known in self._shared.known.items()
            if name in entries and entries[name].kind == ("file" if known.folder else "folder")
        ]
        for names in chunked(unlisted, self._shared.most):
            missing = await ask("missing_files", names=names)
            if type(missing) is not list:
                raise ProtocolError("The sandbox did not say which files are missing")
            said = {name for name in cast("list[Any]", missing) if type(name) is str}
            gone += [name for name in names if name in said]
        return gone

    def _delete(self, gone: Iterable[str], entries: dict[str, Entry], taken: Taken) -> None:
        # A file that was given another name is not deleted before it is taken under that name.
        refused = [entries[name] for name in taken.refused if name in entries]
        held = {entry.digest or entry.size for entry in refused if entry.digest or entry.size}
        self._shared.kept.clear()
        for name in sorted(gone, reverse=True):  # what is in a folder before the folder
            known = self._shared.known[name]
            if not known.folder and not held.isdisjoint((known.digest, known.size)):
                taken.refused[name] = "it was kept here, since a file that may be the same one was not taken"
                taken.passing = True
                self._shared.kept.add(name)
                continue
            try:
                with CHANGING:
                    if known.folder:
                        self._shared.folder.remove_folder(name)
                    else:
                        self._shared.folder.remove(name, known.identity)
                        taken.deleted.append(name)
            except OSError as error:
                refuse(taken, name, error)
            del self._shared.known[name]
