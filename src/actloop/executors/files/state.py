"""What is known of the files of one session, and what came of looking at them."""

from __future__ import annotations

import errno
import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from actloop.executors.locks import ForkSafeLock
from actloop.executors.workspace import WorkspaceFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence

    from actloop.executors.files.host_folder import HostFolder
    from actloop.executors.files.incoming import Identity
    from actloop.executors.session import Waiter
    from actloop.executors.workspace import Workspace

T = TypeVar("T")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MOST_AT_ONCE = 4 * 1024 * 1024
"""Bytes of contents in one message."""

Ask: TypeAlias = "Callable[..., Awaitable[Any]]"
"""Asks the guest for one of its duties, by name and with details."""


CHANGING = ForkSafeLock()
"""Held while the folder is changed: sessions of other threads may have the same one."""


@dataclass(frozen=True, slots=True)
class Known:
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
class Entry:
    """What the sandbox says of one of its files."""

    kind: str
    size: int
    digest: str


@dataclass(slots=True)
class Shared:
    """The files of one session.

    Attributes:
        workspace: The folder, as the user gave it.
        folder: The folder itself.
        most: Bytes of contents in one message.
        known: What both sides have.
        kept: Names of what the sandbox deleted and this machine kept.
    """

    workspace: Workspace
    folder: HostFolder
    most: int
    known: dict[str, Known] = field(default_factory=dict[str, Known])
    kept: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class Taken:
    """What came of looking once.

    Attributes:
        created: New files by name.
        changed: Files with another content, by name.
        deleted: Names of files that are gone.
        refused: Why a change was not taken over, by name.
        passing: Whether something was refused that may go well another time.
        looked: Whether there was anything new to look at.
    """

    created: dict[str, WorkspaceFile] = field(default_factory=dict[str, WorkspaceFile])
    changed: dict[str, WorkspaceFile] = field(default_factory=dict[str, WorkspaceFile])
    deleted: list[str] = field(default_factory=list[str])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    passing: bool = False
    looked: bool = False


async def off_loop(waiter: Waiter, function: Callable[[], T]) -> T:
    """Do something that blocks for a moment; not in the event loop, where the waiter has one.

    When the wait is given up, it has ended, or never begins: nothing goes on behind the caller's back.
    """
    call = getattr(waiter, "call", None)
    if call is None:
        return function()
    lock, given_up = threading.Lock(), False

    def work() -> T:
        with lock:
            if given_up:
                raise RuntimeError("nobody waits for this any more")
            return function()

    try:
        return await call(work)
    except BaseException:
        with lock:
            given_up = True
        raise


def refuse(taken: Taken, name: str, error: OSError) -> None:
    """Note that a change cannot be taken over just now."""
    taken.passing = True
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        reason = "there is no room left on this machine's disk"
    taken.refused[name] = reason


def new_hash() -> Any:
    """A fresh hash, of the kind that guests tell."""
    return hashlib.blake2b(digest_size=16)


def weight(name: str) -> int:
    """Bytes that a name takes in a message at most, with what belongs to it."""
    return 12 * len(name) + 100


def chunked(names: Sequence[str], most: int) -> Generator[list[str]]:
    """Names for one message after another."""
    chunk: list[str] = []
    room = most
    for name in names:
        if weight(name) > room and chunk:
            yield chunk
            chunk, room = [], most
        chunk.append(name)
        room -= weight(name)
    if chunk:
        yield chunk


def shown(name: str) -> str:
    """A name that is safe to show."""
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= 120 else f"{text[:100]}... ({len(name)} characters)"
