"""The limits of a session, and which values of them make sense."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple


class _Range(NamedTuple):
    """What a limit may be.

    Attributes:
        unit: What it counts.
        least: The smallest value with which a session is of any use; a smaller one is most likely in another unit.
        most: The largest that every system takes.
        name: Its name, with that of the option of executors that sets it.
    """

    unit: str
    least: float
    most: float
    name: str = ""


_RANGES = {
    "wall": _Range("seconds", 0.01, 1e6, "wall (timeout_seconds)"),
    "cpu": _Range("seconds", 0.01, 1e6),
    "memory": _Range("bytes", 1 << 20, 1 << 44),
    "output": _Range("characters", 0, 1 << 30, "output (max_print_outputs_length)"),
    "files": _Range("open files", 16, 1 << 20),
    "processes": _Range("threads and processes", 1, 1 << 22),
    "disk": _Range("bytes", 4096, 1 << 44),
    "value": _Range("bytes", 1 << 16, 1 << 30),
}
_FRACTIONS = ("wall", "cpu")
_ALWAYS = ("output", "value")


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Limits of a session, which mean the same in every executor. What one cannot enforce it refuses to promise.

    Attributes:
        wall: Seconds that one snippet may run; time in which the host performs a tool call is not counted.
        cpu: Seconds of processor time that one snippet may use, in all its threads together.
        memory: Bytes of data that the guest may hold at once, beyond what it holds when it starts; from 1 MiB on.
        output: Characters of printed output kept per snippet; the rest is cut.
        files: Open file descriptors, the few that the guest itself has among them; from 16 on.
        processes: Threads and processes that may exist at once, the one that runs the program among them.
        disk: Bytes that all files which the guest writes take together, a workspace's apart; from 4 KiB on.
        value: Bytes that a single value sent by the guest may take on the wire; from 64 KiB on.

    None stands for no limit, where the type has it. An executor that cannot enforce a limit has None there in its own
    `limits`, and refuses another value than the default. One whose files lie in this machine's memory refuses None for
    `disk`: without that limit, one of memory would hold nothing.

    Raises:
        TypeError: A value is not a number, or a count is no whole number.
        ValueError: A value is not a size that a limit can have.
    """

    wall: float | None = 30.0
    cpu: float | None = None
    memory: int | None = 512 * 1024 * 1024
    output: int = 50_000
    files: int | None = 64
    processes: int | None = 64
    disk: int | None = 16 * 1024 * 1024
    value: int = 32 * 1024 * 1024

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(item.name, getattr(self, item.name))


def _check(field: str, value: Any) -> None:
    unit, least, most, name = _RANGES[field]
    name = name or field
    none = "" if field in _ALWAYS else ", or None for no limit"
    if value is None and none:
        return
    kinds = (int, float) if field in _FRACTIONS else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds):
        what = "a number" if field in _FRACTIONS else "a whole number"
        raise TypeError(f"{name} must be {what} of {unit}{none}, not {type(value).__name__}")
    if not least <= value <= most:
        shown = f"{value:,}" if abs(value) < 1e18 or isinstance(value, float) else "so large a number"
        raise ValueError(f"{name} must be {least:,} to {most:,.0f} {unit}{none}, not {shown}")
