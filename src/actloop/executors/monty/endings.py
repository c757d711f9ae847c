"""How a program ended that did not simply come to its end."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from actloop.executors.monty import failures
from actloop.executors.session import LOST, GuestFailure
from actloop.guest import TOO_SLOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actloop.executors.monty.running import Running

_OUT_OF_TIME = "feed time limit exceeded"


def lost(kind: str, message: str, advice: str = "") -> GuestFailure:
    """A failure that the session does not outlive."""
    return GuestFailure(kind, message, f"{kind}: {message}\n", hint=f"{advice} {LOST}".strip(), lost=True)


def too_slow(wall: float | None) -> GuestFailure:
    """A program that took more than its time, in seconds."""
    allowed = "its time" if wall is None else f"{wall:g} seconds"
    return lost("TimeoutError", f"The code ran longer than {allowed} and was killed.", TOO_SLOW)


def failure(
    error: BaseException,
    running: Running,
    wall: float | None,
    *,
    killed: bool,
    feeds: Mapping[str, tuple[str, str]],
    name: str,
    known: Iterable[str],
) -> GuestFailure | None:
    """What a program is said to have failed by; None if it had given its answer before.

    Args:
        error: What ended it.
        running: The program.
        wall: Seconds that it had.
        killed: Whether the host killed it when they were over.
        feeds: Names and sources of the user's programs, by the names that Monty gives them.
        name: The name of this one.
        known: Names that the session has.
    """
    from pydantic_monty import MontyCrashedError, MontyError

    text = str(error)
    slow = killed or (isinstance(error, MontyError) and _OUT_OF_TIME in text)
    dead = slow or running.lost or isinstance(error, MontyCrashedError)
    dead = dead or not isinstance(error, (MontyError, ValueError))
    if running.stopped:
        return lost("SandboxCrash", "The sandbox ended after the answer was given.") if dead else None
    if slow:
        return too_slow(wall)
    if running.interrupted and dead:
        return lost("KeyboardInterrupt", "The code was interrupted by the user and did not end, so it was killed.")
    if isinstance(error, MontyError) and not isinstance(error, MontyCrashedError):
        told = failures.of_monty(error, feeds, name, known)
        if running.interrupted and told.kind == "KeyboardInterrupt":
            told = dataclasses.replace(told, message="The code was interrupted by the user.")
        full = running.lost or "exceeded its memory limit" in text
        return lost(told.kind, told.message, told.hint) if full else told
    if isinstance(error, ValueError):
        return GuestFailure("ValueError", text, f"ValueError: {text}\n")
    return lost("SandboxCrash", f"The sandbox ended: {text}")
