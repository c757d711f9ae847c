"""Takes the contents of files from a sandbox into the folder, each whole or not at all."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from actloop.executors.files.answers import read_contents
from actloop.executors.files.incoming import ConflictError
from actloop.executors.files.media_types import HEAD, file_type
from actloop.executors.files.state import CHANGING, Entry, Known, Shared, Taken, new_hash, off_loop, refuse, weight
from actloop.executors.workspace import WorkspaceFile

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from actloop.executors.files.incoming import Incoming
    from actloop.executors.files.state import Ask
    from actloop.executors.session import Waiter

_FILES_AT_ONCE = 64

Part = tuple[str, int, int]
"""Name, offset and size of what is asked for."""


@dataclass(slots=True)
class Arriving:
    """A file that is being taken."""

    entry: Entry
    file: Incoming
    state: Any
    head: bytes = b""
    size: int = 0


class Arrivals:
    """The files that one look takes.

    Args:
        shared: The files of the session.
        wanted: Those to take, by name.
        taken: Where it is noted what came of it.
    """

    def __init__(self, shared: Shared, wanted: dict[str, Entry], taken: Taken) -> None:
        self._shared = shared
        self._wanted = wanted
        self._taken = taken
        self._arriving: dict[str, Arriving] = {}

    async def fetch(self, waiter: Waiter, ask: Ask) -> None:
        """Take them.

        Raises:
            InterpreterError: The guest has died.
            ProtocolError: It answered something that makes no sense.
        """
        try:
            for batch in self._parts():
                await off_loop(waiter, partial(self._begin, batch))
                parts = [part for part in batch if part[0] in self._arriving]
                if parts:
                    answers = read_contents(await ask("get_files", parts=[list(part) for part in parts]), parts)
                    await off_loop(waiter, partial(self._store, parts, answers))
        finally:
            for item in self._arriving.values():
                item.file.close()

    def _parts(self) -> Generator[list[Part]]:
        """What to ask for at once: names, offsets and sizes."""
        batch: list[Part] = []
        room = self._shared.most
        for name, entry in self._wanted.items():
            at = 0
            while at < entry.size or at == 0:
                size = min(entry.size - at, self._shared.most)
                if batch and (size + weight(name) > room or len(batch) == _FILES_AT_ONCE):
                    yield batch
                    batch, room = [], self._shared.most
                batch.append((name, at, size))
                room -= size + weight(name)
                at += size or 1
        if batch:
            yield batch

    def _begin(self, batch: list[Part]) -> None:
        for name, at, _ in batch:
            if at:
                continue
            known = self._shared.known.get(name)
            try:
                if known is not None and known.folder:
                    raise ConflictError(errno.EISDIR, "a folder of this name is here")
                file = self._shared.folder.begin(name, None if known is None else known.identity)
            except OSError as error:
                refuse(self._taken, name, error)
            else:
                self._arriving[name] = Arriving(self._wanted[name], file, new_hash())

    def _store(self, parts: list[Part], answers: Sequence[bytes | None]) -> None:
        for (name, _, size), data in zip(parts, answers, strict=True):
            item = self._arriving.get(name)
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
                self._commit(name, item)
            except OSError as error:
                refuse(self._taken, name, error)
            self._arriving.pop(name).file.close()

    def _commit(self, name: str, item: Arriving) -> None:
        if item.state.hexdigest() != item.entry.digest:
            raise ConflictError(errno.ESTALE, "it changed while it was taken")
        with CHANGING:
            identity = item.file.commit()
        file = WorkspaceFile(name, file_type(name, item.head), item.size, self._shared.workspace.path / name)
        (self._taken.created if name not in self._shared.known else self._taken.changed)[name] = file
        self._shared.known[name] = Known(item.entry.digest, item.size, identity)
