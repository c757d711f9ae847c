"""A logger for tests."""

from __future__ import annotations

from typing import Any


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, *texts: Any, **_: Any) -> None:
        self.lines += map(str, texts)

    def log_error(self, text: str) -> None:
        self.lines.append(text)
