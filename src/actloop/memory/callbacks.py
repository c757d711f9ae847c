"""Functions of the user's that are called with each finished step."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.memory.steps import MemoryStep


class CallbackRegistry:
    """Callbacks by step class; a callback of a base class is called for its subclasses too."""

    def __init__(self) -> None:
        self._callbacks: dict[type[MemoryStep], list[Callable[..., Any]]] = {}

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def register(self, step_cls: type[MemoryStep], callback: Callable[..., Any]) -> None:
        """Call `callback` with every finished step of `step_cls`."""
        if not callable(callback):
            raise TypeError(f"a step callback must be callable, got {type(callback).__name__}")
        self._callbacks.setdefault(step_cls, []).append(callback)

    def callback(self, memory_step: MemoryStep, **kwargs: Any) -> None:
        """Call everything registered for the step: with the step alone, or with `kwargs` (such as `agent`) besides.

        A callback whose signature has one parameter gets the step alone.
        """
        for cls in type(memory_step).__mro__:
            for callback in self._callbacks.get(cls, ()):
                if len(inspect.signature(callback).parameters) == 1:
                    callback(memory_step)
                else:
                    callback(memory_step, **kwargs)
