"""How the files of a workspace come to a guest that has a copy of one, and back: between two snippets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from actloop.errors import InterpreterError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.executors.exchange import Exchange
    from actloop.executors.session import Waiter
    from actloop.executors.workspace import FileChanges


class Guest(Protocol):
    """What is needed of a session with a guest."""

    async def ask(self, what: str, waiter: Waiter, **details: Any) -> Any:
        """Have the guest do something."""
        ...

    def close(self) -> None:
        """End it."""
        ...


async def give(guest: Guest, exchange: Exchange, waiter: Waiter, *, first: bool) -> None:
    """Give the guest what is new in the workspace. Only the first time, what cannot be given is an error.

    Raises:
        InterpreterError: The guest has died.
        UnsupportedError: The files cannot be given.
        ProtocolError: The guest answered something that makes no sense.
    """
    try:
        await exchange.give(waiter, partial(_ask, guest, waiter), first=first)
    except (InterpreterError, ProtocolError) as error:
        if first:
            raise
        if isinstance(error, ProtocolError):
            guest.close()
        exchange.note(error.message)


async def take(guest: Guest, exchange: Exchange, waiter: Waiter, masked: Callable[[str], str] | None) -> FileChanges:
    """Take over what programs made and changed, as in `Session.take_files`."""
    exchange.masked = masked or str
    try:
        return await exchange.take(waiter, partial(_ask, guest, waiter))
    except ProtocolError as error:
        guest.close()
        exchange.note(f"{error.message}, so it was ended")
    except InterpreterError as error:
        exchange.note(error.message)
    return exchange.notes()


async def _ask(guest: Guest, waiter: Waiter, what: str, **details: Any) -> Any:
    return await guest.ask(what, waiter, **details)
