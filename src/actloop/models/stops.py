"""Stop sequences, enforced on our side in a stream of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class StopFilter:
    """Passes text on until a stop sequence appears, and holds back what may be the beginning of one.

    Attributes:
        stopped: A stop sequence was met; nothing comes after it.
    """

    def __init__(self, stop_sequences: Sequence[str] | None) -> None:
        self._stops = [stop for stop in stop_sequences or () if stop]
        self._held: str = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Take the next piece; return what may be handed out by now."""
        if self.stopped:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        ends = [end for stop in self._stops if (end := text.find(stop)) >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)]
        held = max(self._beginning(text, stop) for stop in self._stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """At the end of the reply: what was held back and turned out to be plain text."""
        text, self._held = self._held, ""
        return text

    def feed_all(self, text: str) -> str:
        """A whole reply at once."""
        return self.feed(text) + self.flush()

    @staticmethod
    def _beginning(text: str, stop: str) -> int:
        """Length of the longest end of `text` with which `stop` begins."""
        return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
