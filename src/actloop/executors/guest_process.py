"""What a session needs of the process that runs its guest, of whatever kind and wherever that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket


class GuestProcess(Protocol):
    """A process that runs the guest.

    Attributes:
        channel: The host's end of the stream; the session owns it.

    One with a way out has a `proxy` besides, a `network.SessionProxy`, and closes it when it is closed. One that is far
    away has `delay`, the seconds that a signal and what comes of it may take, and `mark()`, after which `cpu_time`
    counts from there on: its figures come late. One that knows how it ended has `ending`, in words.
    """

    channel: socket.socket

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if the process has ended."""
        ...

    def kill(self) -> None:
        """Kill the process; nothing happens if it has ended."""
        ...

    def pause(self) -> None:
        """Give the process no more time until `resume`; may do nothing."""
        ...

    def resume(self) -> None:
        """End a pause."""
        ...

    def cpu_time(self) -> float | None:
        """Seconds of CPU time that it has used, or None if that cannot be told."""
        ...

    def close(self) -> None:
        """Kill the process and free what is held for it; in a fork of this process, only free the fork's part."""
        ...
