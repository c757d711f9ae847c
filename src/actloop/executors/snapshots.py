"""Snapshots of sessions: how they are taken and given back, and their form as bytes.

What a snapshot holds is for guests alone. The host carries it, in parts as large as a message may be, and checks what
can be checked from outside; it never loads it.
"""

from __future__ import annotations

import io
import json
import struct
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, cast

from actloop.errors import InterpreterError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Self

    from actloop.executors.guest_session import GuestSession
    from actloop.executors.session import Waiter

MOST = 1 << 30
"""Bytes that a snapshot may take where a session's memory has no limit; elsewhere it is that limit."""

SLOWEST = 4_000_000
"""Bytes a second: a sandbox that sends or takes a snapshot more slowly is given up."""

START = 30.0
"""Seconds that taking or giving back may last besides, where a snippet's time has no limit."""

_FIRST, _PART = 256 * 1024, 4 * 1024 * 1024
_MAGIC = b"actloop snapshot 1\n"
_LENGTH = struct.Struct(">I")
_DIGEST = 32
_MOST_TEXT = 1_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The variables, functions and imports of a session at one moment; `Session.restore` gives them to another.

    Attributes:
        kind: What kind of sandbox it was taken in; it can be restored in this kind only.
        python: Version of Python there, as "3.11.7"; it can be restored by the same minor version only.
        data: For the guest alone. The host never looks into it: it may do anything when it is loaded.
        names: The variables that it holds.
        left_out: Why a variable could not be taken, by its name.
    """

    kind: str
    python: str
    data: bytes = field(repr=False)
    names: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])

    def to_bytes(self) -> bytes:
        """All of it, to be kept or sent. Everything that programs computed is in it, readable to whoever has it."""
        about = {"kind": self.kind, "python": self.python, "names": self.names, "left_out": dict(self.left_out)}
        text = json.dumps(about).encode()
        rest = (_LENGTH.pack(len(text)), text, self.data)
        return b"".join((_MAGIC, _digest(rest), *rest))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """A snapshot from its bytes. They are checked for damage, not for who made them: hostile ones do no more in a
        sandbox than a hostile program.

        Raises:
            ValueError: They are no snapshot, or damaged.
            TypeError: They are no bytes.
        """
        if not isinstance(data, bytes | bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Snapshot.from_bytes takes bytes, as to_bytes gives them; got {type(data).__name__}")
        view = memoryview(data)
        start = len(_MAGIC) + _DIGEST
        if bytes(view[: len(_MAGIC)]) != _MAGIC:
            raise ValueError("these bytes are no snapshot of a session, or that of another version of actloop")
        if len(view) < start + _LENGTH.size or _digest((view[start:],)) != bytes(view[len(_MAGIC) : start]):
            raise ValueError("the snapshot is damaged or cut off")
        begin = start + _LENGTH.size
        end = begin + _LENGTH.unpack(view[start:begin])[0]
        try:
            about = json.loads(bytes(view[begin:end]))
        except (ValueError, RecursionError):
            about = None
        if end > len(view) or type(about) is not dict or set(cast("Any", about)) != {"kind", "python", *_LISTED}:
            raise ValueError("the snapshot is damaged: what it says about itself cannot be read")
        fields = cast("dict[str, Any]", about)
        if not (_is_text(fields["kind"]) and _is_text(fields["python"]) and _is_listing(fields)):
            raise ValueError("the snapshot is damaged: what it says about itself cannot be true")
        listed = (tuple(cast("list[str]", fields["names"])), cast("dict[str, str]", fields["left_out"]))
        return cls(fields["kind"], fields["python"], bytes(view[end:]), *listed)


_LISTED = ("names", "left_out")


def check_snapshot(snapshot: Any) -> None:
    """Refuse what is no snapshot.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(snapshot, Snapshot):
        raise TypeError(
            f"restore takes a Snapshot; got {type(snapshot).__name__}. Snapshot.from_bytes makes one of its bytes"
        )


def _digest(parts: tuple[bytes | memoryview, ...]) -> bytes:
    import hashlib

    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= _MOST_TEXT and value.isprintable()


def _is_listing(fields: Mapping[Any, Any]) -> bool:
    """Whether the names and the reasons have the types and sizes that they ought to have."""
    names, left_out = fields.get("names"), fields.get("left_out")
    if type(names) is not list or type(left_out) is not dict:
        return False
    texts: list[Any] = [*cast("list[Any]", names), *cast("dict[Any, Any]", left_out)]
    texts += cast("dict[Any, Any]", left_out).values()
    return all(type(text) is str and len(text) <= _MOST_TEXT for text in texts)


# ---- over the stream to a guest


@cache
def _library() -> str:
    """The source of cloudpickle, for guests that have none; it is pure Python."""
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("cloudpickle")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("cloudpickle.py").read_text("utf-8")


async def take(session: GuestSession, waiter: Waiter, without: Collection[str] = ()) -> Snapshot:
    """As in `Session.snapshot`.

    At half of a snippet's time what is just being taken is interrupted and left out; at the end of it, all is.

    Raises:
        ProtocolError: The guest broke the protocol; the session is lost.
    """
    most = session.limits.memory or MOST
    part = min(_PART, session.limits.value // 4)
    seconds = session.limits.wall or START
    try:
        wanted = min(_FIRST, part)
        details = {"bound": most, "part": wanted, "without": list(without)}
        said = await _with_library(session, waiter, "snapshot", (seconds / 2, seconds), **details)
        size, data = said.get("size"), said.get("data")
        if type(size) is not int or not 0 < size <= most + _PART or not _is_listing(said):
            _broken(session)
        file = io.BytesIO()
        until = time.monotonic() + seconds + size / SLOWEST
        while True:
            if type(data) is not bytes or len(data) != min(wanted, size - file.tell()):
                _broken(session)
            file.write(data)
            if file.tell() == size:
                break
            wanted = part
            details = {"start": file.tell(), "size": part}
            data = await session.ask_within(_time_for(part, seconds, until), "snapshot part", waiter, details)
    except InterpreterError as error:
        raise InterpreterError(f"No snapshot could be taken: {error}") from None
    names, left_out = map(_cleaned, said["names"]), said["left_out"].items()
    reasons = {_cleaned(name): _cleaned(reason) for name, reason in left_out}
    return Snapshot(session.kind, session.python, file.getvalue(), tuple(names), reasons)


async def give(session: GuestSession, snapshot: Snapshot, waiter: Waiter) -> None:
    """As in `Session.restore`.

    Raises:
        InterpreterError: Also when the snapshot's code takes longer than a snippet may.
    """
    if snapshot.kind != session.kind:
        raise InterpreterError(
            f"The snapshot was taken in a sandbox of the kind {snapshot.kind!r} and cannot be restored in one of the "
            f"kind {session.kind!r}"
        )
    if snapshot.python.split(".")[:2] != session.python.split(".")[:2]:
        raise InterpreterError(
            f"The snapshot was taken with Python {snapshot.python} and cannot be restored with {session.python}"
        )
    data = memoryview(snapshot.data)
    part = min(_PART, session.limits.value // 4)
    seconds = session.limits.wall or START
    until = time.monotonic() + 2 * seconds + len(data) / SLOWEST
    try:
        for start in range(0, max(len(data), 1), part):
            details = {"start": start, "data": bytes(data[start : start + part]), "last": start + part >= len(data)}
            await _with_library(session, waiter, "restore", _time_for(part, seconds, until), **details)
    except InterpreterError as error:
        raise InterpreterError(f"The snapshot could not be restored: {error}") from None


def _time_for(part: int, seconds: float, until: float) -> tuple[float]:
    """Seconds for one part: bounded for each, and for all of them together."""
    return (max(0.0, min(seconds + part / SLOWEST, until - time.monotonic())),)


async def _with_library(
    session: GuestSession, waiter: Waiter, what: str, alarms: tuple[float, ...], **details: Any
) -> Mapping[Any, Any]:
    """Ask a guest for something; one that says that it needs cloudpickle is asked again, with it."""
    said = await session.ask_within(alarms, what, waiter, {**details, "library": None})
    if said == {"needs": "cloudpickle"}:
        said = await session.ask_within(alarms, what, waiter, {**details, "library": _library()})
    if type(said) is not dict:
        _broken(session)
    return cast("dict[Any, Any]", said)


def _broken(session: GuestSession) -> NoReturn:
    session.close()
    raise ProtocolError("The sandbox sent a snapshot that is none, so it was ended.")


def _cleaned(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
