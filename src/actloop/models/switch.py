"""The switch that forbids requests to real models, for test runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from actloop.errors import AgentGenerationError

if TYPE_CHECKING:
    from types import TracebackType

VARIABLE = "ACTLOOP_FORBID_REAL_REQUESTS"

_forbidden: bool | None = None  # None: the environment variable decides


class _Switch:
    """What the two functions return: leaving it as a context manager restores what was before."""

    def __init__(self, forbidden: bool) -> None:
        global _forbidden
        self._before = _forbidden
        _forbidden = forbidden

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _forbidden
        _forbidden = self._before


def forbid_real_requests() -> _Switch:
    """Make every model that would start a process or send a request raise instead, in the whole process.

    It takes effect at once and lasts; as a context manager it lasts for its block. The environment variable
    `ACTLOOP_FORBID_REAL_REQUESTS=1` does the same from outside.
    """
    return _Switch(True)


def allow_real_requests() -> _Switch:
    """Allow what `forbid_real_requests` or the environment variable forbids, for good or for a block."""
    return _Switch(False)


def check_real_requests(model: str) -> None:
    """Called by every real model before it sends anything.

    Args:
        model: The model's name, for the message.

    Raises:
        AgentGenerationError: Real requests are forbidden.
    """
    forbidden = _forbidden
    if forbidden is None:
        forbidden = os.environ.get(VARIABLE, "").lower() not in ("", "0", "false", "no")
    if forbidden:
        raise AgentGenerationError(
            f"A request to {model} was refused: real requests are forbidden in this process, by forbid_real_requests() "
            f"or {VARIABLE}. Use ScriptedModel in tests, or allow_real_requests() where a request is meant."
        )
