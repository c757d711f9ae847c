"""What the model is told of a program that failed in Monty."""

from __future__ import annotations

import ast
import difflib
import re
from typing import TYPE_CHECKING, Any

from actloop import guest
from actloop.executors.monty import lacks
from actloop.executors.session import GuestFailure
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_monty import Frame, MontyError

    from actloop.executors.monty.source import Program

_MOST_FRAMES = 30
_HIDDEN = "__actloop"


def step(number: int) -> str:
    """The name of a program in tracebacks."""
    return f"<step {number}>"


def of_syntax(error: SyntaxError, source: str, name: str) -> GuestFailure:
    """A program that is none, as Python tells it."""
    import traceback

    lines = source.splitlines()
    error.filename = name
    if error.text is None and error.lineno is not None and 0 < error.lineno <= len(lines):
        error.text = lines[error.lineno - 1] + "\n"
    shown = "".join(traceback.format_exception_only(error))
    text = lines[error.lineno - 1].strip() if error.lineno and 0 < error.lineno <= len(lines) else ""
    return GuestFailure(
        type(error).__name__, cut(str(error), 10_000), cut(shown, 10_000), error.lineno, cut(text, 1_000)
    )


def of_refusal(reason: str, line: int, program: Program, name: str) -> GuestFailure:
    """A program that would not do in Monty what it says."""
    text = program.source.split("\n")[line - 1]
    return _failure("NotImplementedError", reason, [_Entry(name, line, "<module>", text)], name, lacks.INSTRUCTIONS)


def of_monty(
    error: MontyError, feeds: Mapping[str, tuple[str, str]], current: str, known: Iterable[str]
) -> GuestFailure:
    """A program that raised.

    Args:
        error: What Monty says.
        feeds: Name and source of the user's programs, by the names that Monty gives them.
        current: The name of this one.
        known: Names that are defined.
    """
    from pydantic_monty import MontyRuntimeError, MontySyntaxError

    raised = error.exception()
    kind = type(raised).__name__
    message = _message(raised)
    frames = error.traceback() if isinstance(error, MontyRuntimeError | MontySyntaxError) else []
    entries = [entry for frame in frames if (entry := _entry(frame, feeds)) is not None]
    if len(entries) > _MOST_FRAMES:
        entries = entries[: _MOST_FRAMES // 2] + entries[-_MOST_FRAMES // 2 :]
    return _failure(kind, message, entries, current, _hint(kind, message, list(known)))


def _message(raised: BaseException) -> str:
    if isinstance(raised, KeyError) and raised.args:
        return repr(raised.args[0])
    return str(raised)


class _Entry:
    def __init__(self, name: str, line: int, function: str, text: str) -> None:
        self.name, self.line, self.function, self.text = name, line, function, text

    def __str__(self) -> str:
        source = f"    {self.text.strip()}\n" if self.text.strip() else ""
        return f'  File "{self.name}", line {self.line}, in {self.function}\n{source}'


def _entry(frame: Frame, feeds: Mapping[str, tuple[str, str]]) -> _Entry | None:
    """A frame of the user's own code."""
    text = frame.source_line or ""
    found = feeds.get(frame.filename)
    if found is None:
        return None
    name, source = found
    lines = source.split("\n")
    text = lines[frame.line - 1] if 0 < frame.line <= len(lines) else text
    return None if _HIDDEN in text else _Entry(name, frame.line, frame.function_name or "<module>", text)


def _failure(kind: str, message: str, entries: list[_Entry], current: str, hint: str) -> GuestFailure:
    message = cut(message, 10_000)
    last = f"{kind}: {message}\n" if message else f"{kind}\n"
    shown = "Traceback (most recent call last):\n" + "".join(map(str, entries)) + last if entries else last
    own = next((entry for entry in reversed(entries) if entry.name == current), None)
    line, text = (own.line, cut(own.text.strip(), 1_000)) if own is not None else (None, "")
    if len(shown) > 10_000:
        shown = f"{shown[:5_000]}\n...\n{shown[-5_000:]}"
    return GuestFailure(kind, message, shown, line, text, cut(hint, 2_000))


def _hint(kind: str, message: str, known: list[str]) -> str:
    match kind:
        case "NameError":
            return _on_name(message, known)
        case "ModuleNotFoundError":
            return "Use the modules that you were told of, or the tools."
        case "NotImplementedError" if "onty" in message:
            return "Write it in another way: " + lacks.INSTRUCTIONS
        case "AttributeError" if "'NoneType'" in message:
            return "The value is None: look at what gave it."
        case "AttributeError" if lacks.lacked(GuestFailure(kind, message), ()):
            return "Monty lacks this: write it in another way."
        case "ValueError" if message.startswith(("could not convert string to float", "invalid literal for int()")):
            if not any(char.isdigit() for char in message.partition(": ")[2]):
                return "The text holds no number: leave it out, as a header or a missing value."
            return r"Take the number out of the text first, for example with re.findall(r'-?\d+(?:\.\d+)?', text)."
        case "RecursionError":
            return "Use a loop, or check the condition that ends the recursion."
        case "MemoryError":
            limit = re.search(r"> (\d+) bytes", message)
            return guest.limit_hint("memory", {"memory": int(limit[1])} if limit else {})
        case "PermissionError" | "FileNotFoundError":
            return "No files and no network are here: use the tools."
        case "TypeError" if "'list' object is not an iterator" in message:
            return "A generator expression gives a list here: use iter(...) of it, or an index."
        case _:
            return ""


def _on_name(message: str, known: list[str]) -> str:
    found = re.search(r"name '(\w+)'", message)
    missing = found[1] if found else ""
    if missing in lacks.MODULES:
        return f"Write `import {missing}` first."
    if missing in lacks.BUILTINS:
        return f"Monty has no {missing}: write it in another way."
    close = difflib.get_close_matches(missing, known, 3, 0.7)
    if close:
        return f"Close names that are defined: {', '.join(close)}."
    if not known:
        return f"Nothing is defined yet: define {missing} first."
    return f"Define {missing} first; what is defined: {', '.join(known[-20:])}."


def raised(kind: str, message: str) -> Any:
    """What is answered to a call that failed: an exception that Monty has, of that name or of the nearest base."""
    import builtins

    found = getattr(builtins, kind, None)
    if isinstance(found, type) and issubclass(found, Exception):
        base = next(item.__name__ for item in found.__mro__ if item.__name__ in _RAISED)
        text = message
        if base == "KeyError":
            try:
                text = str(ast.literal_eval(message))
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                text = message
        return {"exc_type": base, "message": text if base == kind else f"{kind}: {message}"}
    return {"exc_type": "Exception", "message": f"{kind}: {message}" if kind.isidentifier() else message}


_RAISED = frozenset(
    """
    Exception ArithmeticError OverflowError ZeroDivisionError LookupError IndexError KeyError RuntimeError
    NotImplementedError RecursionError AttributeError NameError UnboundLocalError ValueError ImportError
    ModuleNotFoundError OSError FileNotFoundError FileExistsError IsADirectoryError NotADirectoryError PermissionError
    AssertionError MemoryError TimeoutError TypeError
    """.split()  # noqa: SIM905
)
