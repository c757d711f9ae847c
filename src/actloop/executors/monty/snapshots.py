"""What a session's snapshot holds: Monty's own dump, and what the host has to know beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from actloop.errors import InterpreterError
from actloop.executors.monty.workers import WORKERS
from actloop.executors.snapshots import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actloop.executors.monty.pool import Bounds, Checkout

KIND = "monty"
LONGEST_NAME = 1000


class Dump(NamedTuple):
    """A session's state between two programs.

    Attributes:
        data: As Monty gives it.
        feeds: Programs that it has run.
    """

    data: bytes
    feeds: int


class Saved(NamedTuple):
    """What a snapshot holds.

    Attributes:
        dump: The state.
        classes: Attributes of the user's classes, by the names of these.
        names: Variables.
    """

    dump: Dump
    classes: dict[str, list[str]]
    names: tuple[str, ...]


def dumped(checkout: Checkout, unwanted: Iterable[str]) -> Dump:
    """The state of a worker, without some of its variables."""
    dump = Dump(checkout.session.dump(), checkout.feeds)
    if code := "".join(f"{name} = None\n" for name in unwanted):  # Monty takes all or nothing: out of a copy
        copied = WORKERS.take_fresh(checkout.bounds)
        try:
            copied.load(*dump)
            copied.feed(f"{code}None")
            dump = Dump(copied.session.dump(), copied.feeds)
        finally:
            WORKERS.give_back(copied)
    return dump


def swap(
    checkout: Checkout,
    dump: Dump,
    replace: Callable[[Checkout], None],
    equip: Callable[[Checkout], None],
    *,
    used: bool,
) -> None:
    """Have a session go on from a dump.

    Args:
        checkout: The worker that it has.
        dump: The dump.
        replace: Has it go on with another worker.
        equip: Tells a worker what a session has beside its variables.
        used: Whether there is anything in it, which stays until another worker has the dump.

    Raises:
        Exception: The dump cannot be loaded; the session has what it had.
    """
    fresh = WORKERS.take_fresh(checkout.bounds) if used else checkout
    try:
        if not used:
            fresh.renew(fresh.bounds)
        fresh.load(*dump)
        equip(fresh)
    except BaseException:
        fresh.kill()
        if used:
            WORKERS.give_back(fresh)
        else:
            another = WORKERS.take(fresh.bounds)
            replace(another)
            equip(another)
        raise
    if used:
        replace(fresh)


def packed(saved: Saved, bounds: Bounds) -> Snapshot:
    """A snapshot of what was saved in a session with these bounds."""
    from pydantic_monty import __version__

    about = {"feeds": saved.dump.feeds, "memory": bounds.memory, "classes": saved.classes}
    return Snapshot(KIND, __version__, json.dumps(about).encode() + b"\n" + saved.dump.data, saved.names)


def unpacked(snapshot: Snapshot, bounds: Bounds) -> Saved:
    """What a snapshot holds, for a session with these bounds.

    Raises:
        InterpreterError: It is damaged, or of another kind or version, or may use more memory than this session.
    """
    from pydantic_monty import __version__

    if snapshot.kind != KIND:
        raise InterpreterError(f"A snapshot of {snapshot.kind!r} cannot be restored in {KIND!r}")
    if snapshot.python != __version__:
        raise InterpreterError(
            f"The snapshot was taken by Monty {snapshot.python} and cannot be restored by Monty {__version__}"
        )
    about, _, data = snapshot.data.partition(b"\n")
    try:
        fields: dict[str, Any] = json.loads(about)
        feeds, memory, classes = int(fields["feeds"]), fields["memory"], dict(fields["classes"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InterpreterError("The snapshot is damaged") from None
    if bounds.memory is not None and (memory is None or memory > bounds.memory):
        raise InterpreterError("The snapshot was taken in a session that may use more memory than this one")
    return Saved(Dump(data, feeds), classes, snapshot.names)


def names_told(told: str, unwanted: Iterable[str]) -> tuple[str, ...]:
    """Names of variables as a worker tells them, but for some; none if it tells them wrongly."""
    try:
        names: Any = json.loads(told)["value"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    skipped = set(unwanted)
    return tuple(name for name in names if type(name) is str and len(name) <= LONGEST_NAME and name not in skipped)
