"""How the values of a session become bytes, and are built again: cloudpickle's way, but for what knows its session."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .failures import STEP
from .imports import allows_import
from .interrupts import SnippetStopped, TimeUp
from .tools import Tool, ToolError
from .values import Audio, Opaque, Record

if TYPE_CHECKING:
    from types import CodeType, ModuleType

    from .session import Guest
    from .steps import Steps

_ATTRIBUTES = ("__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__", "__type_params__")
"""Of a function, besides what it is built from, its annotations and what the user added."""


class LeftOutError(TypeError):
    """A value cannot be taken; the message says why, in words that follow a variable's name."""


class Pickling:
    """Makes the picklers of a session.

    Functions of programs have the session's own variables for globals, here and wherever they are built again.

    Args:
        guest: Its `names`, `tools`, `builtins` and `importable` are there.
        steps: Where the lines of its programs are.
        library: The module `cloudpickle`.
    """

    def __init__(self, guest: Guest, steps: Steps, library: Any) -> None:
        import functools
        import io
        import types

        self._guest = guest
        self._steps = steps
        self._imports = guest.builtins["__import__"]
        self._function, self._tool, self._module = self._build_function, self._find_tool, self._import
        self._known: tuple[Any, ...] = (
            *(guest.names, guest.builtins, sys.modules["__main__"], self._imports, guest.builtins["input"]),
            *(Audio, Opaque, Record, Tool, ToolError, TimeUp, SnippetStopped),
            *(self._function, _set_function, _new_cell, _set_cell, self._tool, self._module, _cached),
        )
        """Known on both sides by their places: the order is part of the format, and what is new comes last."""
        self._cache_type: type = functools._lru_cache_wrapper  # pyright: ignore[reportPrivateUsage] - it has no other name
        self._own = (
            *(types.FunctionType, types.CellType, types.ModuleType, Tool, Opaque, io.TextIOWrapper, memoryview),
            *(self._cache_type, functools.cached_property),
        )
        self._taker, self._giver = self._classes(library)

    def _classes(self, library: Any) -> tuple[Any, Any]:
        import pickle

        base, reduced, own = library.Pickler, self._reduced, self._own

        class Taker(base):
            """Attributes: `files` of the functions that were taken; `doubtful` if a class of the user's was met."""

            def __init__(self, file: Any, known: dict[int, tuple[int, Any]]) -> None:
                base.__init__(self, file, protocol=5)
                self.memo = known
                self.files: set[str] = set()
                self.doubtful = False

            def reducer_override(self, value: Any) -> Any:
                if isinstance(value, own):
                    own_way = reduced(value)
                    if own_way is not None:
                        if isinstance(value, own[0]) and value.__code__.co_filename.startswith(STEP):
                            self.files.add(value.__code__.co_filename)
                        return own_way
                if isinstance(value, BaseException) or getattr(value, "__module__", "") == "__main__":
                    self.doubtful = True
                return _untracked(base.reducer_override(self, value), value)

        known = self._known

        class Giver(pickle.Unpickler):
            def persistent_load(self, pid: Any) -> Any:
                return known[pid]

            def find_class(self, module: str, name: str) -> Any:
                if module == "__main__":
                    raise LeftOutError(f"{name} is not defined by then")
                return super().find_class(module, name)

        return Taker, Giver

    def taker(self, file: Any) -> Any:
        """A pickler that writes to a file; its `dump` may be called again and again."""
        file.write(_pickled_places(len(self._known)))
        return self._taker(file, {id(value): (place, value) for place, value in enumerate(self._known)})

    def giver(self, file: Any) -> Any:
        """An unpickler that reads from a file what a taker wrote, one `load` for each `dump`."""
        giver = self._giver(file)
        giver.load()
        return giver

    # ---- what is taken in a way of its own

    def _reduced(self, value: Any) -> tuple[Any, ...] | None:
        """What a value is built from; None to leave that to cloudpickle.

        Raises:
            LeftOutError: It cannot be taken.
        """
        function, cell, module, tool, opaque, _, _, cache, _ = self._own
        if isinstance(value, function):
            return self._reduced_function(value)
        if isinstance(value, cell):
            return _reduced_cell(value)
        if isinstance(value, module):
            return self._reduced_module(value)
        if isinstance(value, tool):
            return self._tool, (value.__name__, value.is_async, value.__doc__)
        if isinstance(value, opaque):
            if value.handle is not None:
                raise LeftOutError("it lives on the host")
            return None
        if isinstance(value, cache):
            if value.__module__ != "__main__":
                return None
            return _cached, (value.__wrapped__, *value.cache_parameters().values())
        if hasattr(value, "attrname"):  # a cached property: in Python 3.11 it holds a lock
            return self._own[-1], (value.func,), {"attrname": value.attrname, "__doc__": value.__doc__}
        raise LeftOutError(f"a {type(value).__name__} cannot be taken")

    def _reduced_function(self, function: Any) -> tuple[Any, ...] | None:
        if function.__globals__ is not self._guest.names:
            return None
        annotations = "__annotate__" if hasattr(function, "__annotate__") else "__annotations__"
        attributes = {name: getattr(function, name) for name in (*_ATTRIBUTES, annotations) if hasattr(function, name)}
        built_from = (function.__code__, function.__name__, function.__closure__)
        return self._function, built_from, (attributes, function.__dict__), None, None, _set_function

    def _build_function(self, code: CodeType, name: str, closure: tuple[Any, ...] | None) -> Any:
        return self._own[0](self._steps.placed(code), self._guest.names, name, None, closure)

    def _reduced_module(self, module: ModuleType) -> tuple[Any, ...] | None:
        name = module.__name__
        if not self._is_importable(module):
            return None
        return self._module, (name, *(other for other in sorted(self._imports.known) if other.startswith(f"{name}.")))

    def _is_importable(self, module: ModuleType) -> bool:
        """Whether programs may import it. Functions that a library made for them may need others besides."""
        name = module.__name__
        return sys.modules.get(name) is module and allows_import(name, (*self._guest.importable, "__main__"))

    def check(self, value: Any) -> None:
        """See whether a variable may be taken at all.

        Raises:
            LeftOutError: It is a module that programs may not import.
        """
        module = self._own[2]
        if isinstance(value, module) and sys.modules.get(value.__name__) is value and not self._is_importable(value):
            raise LeftOutError(f"programs may not import {value.__name__}")

    def _import(self, name: str, *within: str) -> ModuleType:
        """A module, and those within it that programs had imported."""
        for each in (name, *within):
            self._imports(each)
        return sys.modules[name]

    def _find_tool(self, name: str, is_async: bool, signature: str | None) -> Tool:
        """The session's tool of that name, or one that works as soon as there is such a tool."""
        return self._guest.tools.get(name) or Tool(self._guest, name, is_async, signature or "")


def _pickled_places(count: int) -> bytes:
    """A pickle that gives the first places of an unpickler's memo to what is known on both sides."""
    import pickle

    each = (pickle.BININT1 + bytes([place]) + pickle.BINPERSID + pickle.MEMOIZE + pickle.POP for place in range(count))
    return pickle.PROTO + b"\x05" + b"".join(each) + pickle.NONE + pickle.STOP


def _untracked(parts: Any, value: Any) -> Any:
    """What a value is built from; for a class of the user's without what would find that class itself, and change it.

    That is the last but one of what cloudpickle builds a class from.
    """
    if not isinstance(value, type) or parts is NotImplemented or len(parts) < 6:
        return parts
    build, built_from, *state = parts
    return (build, (*built_from[:-2], None, built_from[-1]), *state)


def _set_function(function: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    attributes, own = state
    function.__dict__.update(own)
    for name, value in attributes.items():
        setattr(function, name, value)


def _reduced_cell(cell: Any) -> tuple[Any, ...]:
    try:
        return _new_cell, (), (cell.cell_contents,), None, None, _set_cell
    except ValueError:  # it is empty
        return _new_cell, ()


def _new_cell() -> Any:
    from types import CellType

    return CellType()


def _set_cell(cell: Any, state: tuple[Any]) -> None:
    cell.cell_contents = state[0]


def _cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    """A function with a cache, which begins empty."""
    from functools import lru_cache

    return lru_cache(maxsize, typed)(function)
