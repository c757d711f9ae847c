"""What processes of this machine have used of its processors."""

from __future__ import annotations

import sys
import time


def cpu_time_of(pid: int) -> float | None:
    """Seconds of CPU time that a live process has used, or None if that cannot be told."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return time.clock_gettime(((~pid) << 3) | 2)
    except OSError:
        return None
