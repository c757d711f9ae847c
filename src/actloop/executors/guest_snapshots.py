"""How snapshots are taken from guests and given to them: over the stream, in parts as large as a message may be."""

from __future__ import annotations

import io
import time
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

from actloop.errors import InterpreterError, ProtocolError
from actloop.executors.snapshots import Snapshot, is_listing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from actloop.executors.session import SandboxLimits, Waiter

MOST = 1 << 30
"""Bytes that a snapshot may take where a session's memory has no limit; elsewhere it is that limit."""

SLOWEST = 4_000_000
"""Bytes a second: a sandbox that sends or takes a snapshot more slowly is given up."""

START = 30.0
"""Seconds that taking or giving back may last besides, where a snippet's time has no limit."""

_FIRST, _PART = 256 * 1024, 4 * 1024 * 1024


class Guest(Protocol):
    """What is needed of a session with a guest.

    Attributes:
        limits: What it is held to.
        kind: What kind of sandbox it is.
        python: Version of Python there.
    """

    limits: SandboxLimits
    kind: str
    python: str

    async def ask_within(self, alarms: Sequence[float], what: str, waiter: Waiter, details: Mapping[str, Any]) -> Any:
        """Have the guest do something; interrupted each time so many seconds have passed, ended after the last."""
        ...

    def close(self) -> None:
        """End it."""
        ...


@cache
def _library() -> str:
    """The source of cloudpickle, for guests that have none; it is pure Python."""
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("cloudpickle")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("cloudpickle.py").read_text("utf-8")


async def take(session: Guest, waiter: Waiter, without: Collection[str] = ()) -> Snapshot:
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
        if type(size) is not int or not 0 < size <= most + _PART or not is_listing(said):
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


async def give(session: Guest, snapshot: Snapshot, waiter: Waiter) -> None:
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
    session: Guest, waiter: Waiter, what: str, alarms: tuple[float, ...], **details: Any
) -> Mapping[Any, Any]:
    """Ask a guest for something; one that says that it needs cloudpickle is asked again, with it."""
    said = await session.ask_within(alarms, what, waiter, {**details, "library": None})
    if said == {"needs": "cloudpickle"}:
        said = await session.ask_within(alarms, what, waiter, {**details, "library": _library()})
    if type(said) is not dict:
        _broken(session)
    return cast("dict[Any, Any]", said)


def _broken(session: Guest) -> NoReturn:
    session.close()
    raise ProtocolError("The sandbox sent a snapshot that is none, so it was ended.")


def _cleaned(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
