"""A second session with the variables of a first one, to try an alternative in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actloop.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable
    from typing import Any, TypeAlias
    from weakref import WeakMethod

    from actloop.executors.session import RemoteTool, Session, Waiter

    Opener: TypeAlias = WeakMethod[Callable[[Waiter], Coroutine[Any, Any, Session]]]
    """The `open_session` of an executor, which may hold the session: neither is to keep the other alive."""


async def forked(
    session: Session, opener: Opener | None, tools: Iterable[RemoteTool], waiter: Waiter, without: Collection[str]
) -> Session:
    """As in `Session.fork`, by a snapshot.

    Args:
        session: The first one.
        opener: Opens a fresh session of the same executor; None where there is none.
        tools: Those of the first one.
        waiter: How to wait.
        without: Names of variables that are not wanted.
    """
    open_session = None if opener is None else opener()
    if open_session is None:
        raise UnsupportedError(
            f"This {type(session).__name__} cannot be forked, since there is no executor that could open another one: "
            "keep the executor that opened it"
        )
    snapshot = await session.snapshot(waiter, without=without)
    other = await open_session(waiter)
    try:
        await other.define(waiter, tools=list(tools))
        await other.restore(snapshot, waiter)
    except BaseException:
        other.close()
        raise
    return other
