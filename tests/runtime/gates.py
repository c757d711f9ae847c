"""What holds a thread up until a test lets it go on."""

from __future__ import annotations

import threading


class Gate:
    """Holds a thread up until it is let through."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def pass_through(self) -> None:
        self.reached.set()
        assert self.opened.wait(90)


class Held(Gate):
    """Its `repr`, which encoding and masking need, is there once it is let through."""

    def __repr__(self) -> str:
        self.pass_through()
        return "<held>"
