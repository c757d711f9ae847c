"""What the tests of snapshots share: an executor of the guest as one file, and a program with classes of every kind."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from actloop.executors.unsafe import PlainProcess, UnsafeInProcessExecutor

if TYPE_CHECKING:
    from pathlib import Path


class BundleProcess(PlainProcess):
    """The guest as one file, under an interpreter without any installed package."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self._path = path
        super().__init__(config)

    def _command(self, config: dict[str, Any]) -> list[str]:
        return [BundleExecutor.python, "-I", "-S", str(self._path), json.dumps(config)]

    def pause(self) -> None:
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._child.send_signal(signal.SIGCONT)


class BundleExecutor(UnsafeInProcessExecutor):
    """Runs the guest as one file."""

    path: Path
    python = sys.executable

    def spawn(self, config: dict[str, Any]) -> BundleProcess:
        return BundleProcess(self.path, config)


CLASSES = """
import abc, collections, dataclasses, enum, typing
class Shape(abc.ABC):
    made = []
    def __init__(self, name): self.name = name; Shape.made.append(name)
    @abc.abstractmethod
    def area(self): ...
    @property
    def title(self): return self.name.title()
    @classmethod
    def count(cls): return len(cls.made)
class Square(Shape):
    def __init__(self, side):
        super().__init__("square")
        self.side = side
    def area(self): return self.side ** 2
    def __eq__(self, other): return type(other) is Square and self.side == other.side
    def __hash__(self): return hash(self.side)
@dataclasses.dataclass(order=True)
class Point:
    x: int
    y: int = 0
    near: list = dataclasses.field(default_factory=list)
@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int
class Colour(enum.Enum):
    RED = 1
    BLUE = 2
Pair = collections.namedtuple("Pair", "a b")
class Named(typing.NamedTuple):
    a: int
    b: str = "b"
class TooMuch(ValueError):
    pass
class Registered(type):
    def __call__(cls, *args): return ("made by the metaclass", super().__call__(*args))
class Odd(metaclass=Registered): pass
T = typing.TypeVar("T")
class Box(typing.Generic[T]):
    def __init__(self, value: T): self.value = value
square, points = Square(3), [Point(1), Point(0, 5)]
points[0].near.append(points[1])
frozen, red, pair, named, box = Frozen(1), Colour.RED, Pair(1, 2), Named(3), Box(4)
squares = {Square(1): "one", square: "three"}
try: raise TooMuch("by far")
except TooMuch as e: error = e
"""
