"""Shows a reply while it is being written: the end of it, redrawn in place, gone when the whole reply is printed."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from rich.live import Live
from rich.text import Text

from actloop.ui.safe import safe_text

if TYPE_CHECKING:
    from rich.console import Console

REDRAW_SECONDS = 0.05
_owners: WeakKeyDictionary[Console, threading.Lock] = WeakKeyDictionary()
_owners_lock = threading.Lock()


class LiveReply:
    """A reply being written. Only one is shown on a console at a time; others stay hidden.

    Args:
        console: Where to show it; nothing is shown where it is not a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._tail = ""
        self._drawn_at = 0.0
        with _owners_lock:
            self._owner = _owners.setdefault(console, threading.Lock())

    def begin(self, waiting: str = "thinking ...") -> None:
        """Show that a reply is awaited."""
        if self._live is not None or not self._console.is_terminal or self._console.is_dumb_terminal:
            return
        if self._console.is_jupyter or not self._owner.acquire(blocking=False):
            return
        self._tail = ""
        self._live = Live(
            Text(f"  {waiting}", "dim"),
            console=self._console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def add(self, text: str) -> None:
        """Show more of it."""
        if self._live is None:
            self.begin()
        if self._live is None:
            return
        width, height = self._console.size
        room = max(3, height - 2)
        # Enough to fill the room, so that drawing costs the same however long the reply gets.
        self._tail = (self._tail + text)[-width * room :]
        now = time.monotonic()
        if now - self._drawn_at >= REDRAW_SECONDS:
            self._drawn_at = now
            shown = Text(safe_text(self._tail, self._console.encoding), "dim")
            lines = shown.wrap(self._console, max(1, width - 2))[-room:]
            self._live.update(Text("\n").join(Text("  ") + line for line in lines), refresh=True)

    def end(self) -> None:
        """Take it off the screen."""
        live, self._live = self._live, None
        if live is not None:
            with suppress(OSError):
                live.update(Text(""))
                live.stop()
            self._owner.release()
