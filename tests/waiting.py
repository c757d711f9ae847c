"""Waits for what another process or thread does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def eventually(what: Callable[[], object], within: float = 60.0) -> bool:
    """Whether something is so before `within` seconds are over."""
    until = time.monotonic() + within
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
