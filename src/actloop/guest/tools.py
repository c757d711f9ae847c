"""Tools of the host as the user's code sees them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .session import Guest


class ToolError(Exception):
    """A tool failed on the host; the class is shown under the name that the error has there."""

    __module__ = "builtins"


def error_from_host(kind: str, message: str) -> Exception:
    """The exception to raise at a call: the builtin of that name, or one that is shown under that name."""
    import ast
    import builtins

    known = getattr(builtins, kind, None)
    if isinstance(known, type) and issubclass(known, Exception):
        argument: Any = message
        if issubclass(known, KeyError):
            try:
                argument = ast.literal_eval(message)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                argument = message
        try:
            return known(argument)
        except Exception:
            return ToolError(f"{kind}: {message}")
    if kind == "ToolError" or not kind.isidentifier():
        return ToolError(message)
    return type(kind, (ToolError,), {"__module__": "builtins"})(message)


class Tool:
    """A tool of the host, callable like a function."""

    def __init__(self, guest: Guest, name: str, is_async: bool, signature: str) -> None:
        self._guest = guest
        self.is_async = is_async
        self.__name__ = self.__qualname__ = name
        self.__doc__ = signature or None

    def __repr__(self) -> str:
        return f"<tool {self.__name__}>"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if self.__name__ not in self._guest.tools:  # it came with a snapshot
            raise NameError(f"there is no tool {self.__name__!r} in this session")
        asyncio = sys.modules.get("asyncio")
        loop: Any = asyncio._get_running_loop() if asyncio is not None else None  # type: ignore[attr-defined]
        if loop is not None and self.is_async:
            return self._guest.call_async(loop, self.__name__, args, kwargs)
        return self._guest.call(self.__name__, args, kwargs, concurrent=loop is not None)


Tool.__name__ = "tool"
