"""Cuts texts so that it shows: what is left of a secret is only masked beside an ellipsis."""

from __future__ import annotations

import reprlib
from typing import Any


def cut(text: str, length: int) -> str:
    """The beginning of a text that is longer than so many characters; `...` stands for the rest."""
    return text if len(text) <= length else f"{text[: max(length - 3, 0)]}..."


def cut_before(text: str, length: int) -> str:
    """The end of a text that is longer than so many characters; `...` stands for the rest."""
    return text if len(text) <= length else f"...{text[len(text) - max(length - 3, 0) :]}"


class Shown(reprlib.Repr):
    """Makes the beginning of a value's `repr`; never long to make. `reprlib` itself cuts in the middle.

    Args:
        length: Characters at most, of every text in it.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 4
        self.maxlevel = 2

    def repr1(self, x: Any, level: int) -> str:
        """One value."""
        if isinstance(x, str | bytes | bytearray):
            start = x[: self.length]
            return cut(repr(start) if len(start) == len(x) else f"{repr(start)[:-1]}...", self.length)
        if hasattr(self, f"repr_{type(x).__name__}") and not isinstance(x, int):
            return super().repr1(x, level)
        try:
            return cut(repr(x), self.length)
        except Exception:  # an object of the user's may raise anything
            return f"<{type(x).__name__}>"
