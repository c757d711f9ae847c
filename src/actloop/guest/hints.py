"""One sentence about what to do next, for errors that a model can act on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from .interrupts import TimeUp
from .limits import TOO_SLOW, limit_hint, limit_hit
from .streams import NO_INPUT
from .tools import Tool
from .values import Record, safe_repr, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .session import Guest


class Hints:
    """One sentence about what to do next, for errors that a model can act on. Never runs code of the program."""

    def __init__(self, guest: Guest, name: str, source: str) -> None:
        self._guest = guest
        self._name = name
        self._source = source

    def of(self, error: BaseException) -> str:
        """The sentence, or nothing."""
        guest = self._guest
        finders: list[tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[[Any], str]]] = [
            (TimeUp, lambda _: TOO_SLOW),
            (NameError, self._on_name),
            (KeyError, self._on_key),
            (IndexError, self._on_index),
            (AttributeError, self._on_attribute),
            (TypeError, self._on_type),
            (ModuleNotFoundError, lambda _: "It is not installed here: use the standard library or the tools."),
            (EOFError, self._on_input),
            (ValueError, self._on_value),
            (RecursionError, lambda _: "Use a loop, or check the condition that ends the recursion."),
            (MemoryError, lambda _: limit_hint("memory", guest.limits)),
            (OverflowError, lambda error: limit_hint("memory", guest.limits) if "index-sized" in str(error) else ""),
            (SystemExit, lambda _: "A program ends by itself: leave exit() out."),
            (RuntimeError, self._on_runtime),
            (OSError, self._on_system),
        ]
        return next((find(error) for kind, find in finders if isinstance(error, kind)), "")

    def _on_name(self, error: NameError) -> str:
        import difflib

        quoted = re.search(r"'(\w+)'", str(error))
        missing = getattr(error, "name", None) or (quoted[1] if quoted else "")
        known = [name for name in self._guest.names if not name.startswith("__")]
        if isinstance(error, UnboundLocalError) and missing in known:
            return (
                f"{missing} is assigned in the function: pass it as an argument, or declare `global {missing}` there."
            )
        close = difflib.get_close_matches(missing, [*known, *self._guest.builtins], 3, 0.7)
        if close:
            return f"Close names that are defined: {', '.join(close)}."
        if missing in self._guest.importable:
            return f"Write `import {missing}` first."
        if not known:
            return f"Nothing is defined yet: define {missing} first."
        return f"Define {missing} first; what is defined: {', '.join(known[-20:])}."

    def _on_key(self, error: KeyError) -> str:
        found, subject = self._subject(error)
        if found and isinstance(subject, Record):
            subject = subject.record_fields
        if not found or not isinstance(subject, dict):
            return ""
        keys: list[Any] = list(_keys_of(cast("Any", subject)))
        if not keys:
            return "The dict is empty."
        shown = ", ".join(_preview(key, 40) for key in keys[:15])
        return f"The keys there are: {shown}{', ...' if len(keys) > 15 else ''}."

    def _on_index(self, error: IndexError) -> str:
        found, subject = self._subject(error)
        if not found or type(subject) not in (list, tuple, str):
            return ""
        length = len(cast("Sequence[Any]", subject))
        kind = type_of(subject).__name__
        return f"The {kind} has {length} items: its last index is {length - 1}." if length else f"The {kind} is empty."

    def _on_attribute(self, error: AttributeError) -> str:
        import difflib

        subject, name = getattr(error, "obj", None), getattr(error, "name", None) or ""
        if not name or (subject is None and "'NoneType'" not in str(error)):
            return ""
        if subject is None:
            return "The value is None: look at what gave it."
        names = list(subject.record_fields) if isinstance(subject, Record) else dir(type_of(subject))
        close = difflib.get_close_matches(name, [known for known in names if not known.startswith("_")], 3)
        if type(subject) is dict and name in subject:
            close = [f"[{name!r}]"]
        more = f" Close to it: {', '.join(close)}." if close else ""
        if isinstance(subject, Record) and not close:
            more = f" Its fields: {', '.join(names[:20])}."
        return f"The value is {_describe_value(subject)}.{more}"

    def _on_type(self, error: TypeError) -> str:
        import ast
        import inspect

        node, frame = self._node(error)
        if "coroutine was expected" in str(error):
            return "Tools give their value at once here: leave asyncio.run() out, or use await."
        if isinstance(node, ast.BinOp):
            sides = [self._resolve(side, frame) for side in (node.left, node.right)]
            shown = [_describe_value(value) for found, value in sides if found]
            # One side alone would be taken for the whole story.
            return f"The values are {' and '.join(shown)}." if len(shown) == len(sides) else ""
        if isinstance(node, ast.Call):
            found, subject = self._resolve(node.func, frame)
            if found and isinstance(subject, Tool) and subject.__doc__:
                return f"Its signature: {subject.__doc__}"
            if found and inspect.isfunction(subject):
                return f"Its signature: {subject.__name__}{inspect.signature(subject)}."
            if found and not callable(subject):
                return f"{ast.unparse(node.func)} is {_describe_value(subject)}."
            values = [self._resolve(part, frame) for part in node.args]
            shown = [_describe_value(value) for found, value in values if found]
            return f"It was called with {', '.join(shown)}." if shown else ""
        found, subject = self._subject(error)
        return f"The value is {_describe_value(subject)}." if found else ""

    def _on_input(self, error: EOFError) -> str:
        if NO_INPUT in str(error):
            return "Take values from the task, from variables or from a tool."
        return ""

    def _on_value(self, error: ValueError) -> str:
        text = str(error)
        if text.startswith(("could not convert string to float", "invalid literal for int()")):
            # The message quotes the text after a colon; "base 10" stands before it.
            if not any(char.isdigit() for char in text.partition(": ")[2]):
                return "The text holds no number: leave it out, as a header or a missing value."
            return r"Take the number out of the text first, for example with re.findall(r'-?\d+(?:\.\d+)?', text)."
        return ""

    def _on_runtime(self, error: RuntimeError) -> str:
        if "running event loop" in str(error):
            return "An event loop runs already: use `await` instead."
        return limit_hint("processes", self._guest.limits) if "can't start new thread" in str(error) else ""

    def _on_system(self, error: OSError) -> str:
        if self._guest.files is not None and (hint := self._guest.files.hint(error)):
            return hint
        if hit := limit_hit(error):
            return limit_hint(hit, self._guest.limits)
        if isinstance(error, TimeoutError) or getattr(error, "code", 403) != 403:  # a server's own answer
            return ""
        files = (
            "of the host's files only the current folder is here, which is the user's"
            if self._guest.files is not None
            else "no files of the host are here (only an empty scratch folder)"
        )
        if self._guest.hosts:
            return (
                f"By HTTP and HTTPS, through the proxy that urllib.request finds by itself, programs reach "
                f"{self._guest.hosts} and nothing else; {files}."
            )
        return f"{files[0].upper()}{files[1:]}, and there is no network: use the tools."

    # ---- the expression that failed

    def _node(self, error: BaseException) -> tuple[Any, Any]:
        """The syntax node that raised, and its frame; (None, None) if it is not in this program."""
        import ast

        entry = error.__traceback__
        if entry is None:
            return None, None
        while entry.tb_next is not None:
            entry = entry.tb_next
        code = entry.tb_frame.f_code
        if code.co_filename != self._name:
            return None, None
        place = next((place for at, place in enumerate(code.co_positions()) if at == entry.tb_lasti // 2), None)
        for node in ast.walk(ast.parse(self._source)):
            if isinstance(node, ast.expr) and place == (
                node.lineno,
                node.end_lineno,
                node.col_offset,
                node.end_col_offset,
            ):
                return node, entry.tb_frame
        return None, None

    def _subject(self, error: BaseException) -> tuple[bool, Any]:
        """What was subscripted or read where an error was raised, if that can be told without running anything."""
        node, frame = self._node(error)
        value = getattr(node, "value", None)
        return self._resolve(value, frame) if value is not None else (False, None)

    def _resolve(self, node: Any, frame: Any) -> tuple[bool, Any]:
        import ast

        if isinstance(node, ast.Constant):
            return True, node.value
        if isinstance(node, ast.Name):
            for names in (frame.f_locals, frame.f_globals, self._guest.builtins):
                if node.id in names:
                    return True, names[node.id]
        if isinstance(node, ast.Subscript):
            found, container = self._resolve(node.value, frame)
            known, key = self._resolve(node.slice, frame)
            if found and known and type(container) in (dict, list, tuple) and type(key) in (str, int):
                try:
                    return True, container[key]
                except (KeyError, IndexError, TypeError):
                    return False, None
        return False, None


_keys_of = dict[Any, Any].keys  # of a subclass, too, without running its code


def _preview(value: Any, limit: int = 80) -> str:
    """A short `repr` of a plain value; of others the class only, whose `repr` would run code of the program."""
    kind = cast("type[Any]", type(value))
    if kind.__module__ not in ("builtins", "decimal", "datetime", "fractions") and kind is not Record:
        return f"<{kind.__name__}>"
    if isinstance(value, (list, tuple, set, frozenset, dict)) and len(cast("Sequence[Any]", value)) > 1000:
        return f"<{kind.__name__} of {len(cast('Sequence[Any]', value))} items>"
    text = safe_repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _describe_value(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, Tool):
        return f"the tool {value.__name__}, which has to be called"
    return f"{cast('type[Any]', type(value)).__name__} {_preview(value)}"
