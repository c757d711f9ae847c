"""The programs that a session has run: their numbers, and their lines for tracebacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .failures import STEP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType


class Steps:
    """Counts programs and keeps their lines, those of functions from other sessions included.

    Attributes:
        count: Number of the latest one.
    """

    def __init__(self) -> None:
        import linecache

        self.count = 0
        self._cache: dict[str, Any] = linecache.cache
        self._coming: dict[str, tuple[str, str]] = {}

    def add(self, source: str) -> str:
        """Keep the lines of the next program; returns the name of its file."""
        self.count += 1
        name = f"{STEP}{self.count}>"
        self._keep(name, source)
        return name

    def _keep(self, name: str, source: str) -> None:
        self._cache[name] = (len(source), None, [line + "\n" for line in source.splitlines()], name)

    def text(self, name: str) -> str:
        """The lines of a program; empty when they are not known any more."""
        return "".join(self._cache[name][2]) if name in self._cache else ""

    def expect(self, files: Mapping[str, str]) -> None:
        """Code of these programs of another session comes: where a name is taken here, its program gets a new one."""
        self._coming = {}
        count = max(self.count, *map(_number, files), 0)
        for name, text in files.items():
            ours = name
            if self.text(name) not in ("", text):
                count += 1
                ours = f"{STEP}{count}>"
            self._coming[name] = (ours, text)

    def placed(self, code: CodeType) -> CodeType:
        """Code under the name that its program has here."""
        ours, _ = self._coming.get(code.co_filename, (code.co_filename, ""))
        if ours == code.co_filename:
            return code
        parts = tuple(self.placed(part) if isinstance(part, type(code)) else part for part in code.co_consts)
        return code.replace(co_filename=ours, co_consts=parts)

    def accept(self) -> None:
        """What came stays: its programs are among the session's own."""
        for name, text in self._coming.values():
            self._keep(name, text)
            self.count = max(self.count, _number(name))
        self._coming = {}


def _number(name: str) -> int:
    digits = name[len(STEP) : -1]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
