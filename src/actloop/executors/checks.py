"""Checks of what is given to executors: which options a class takes, and of what types and sizes.

They are made before a constructor begins, against the types that it declares, so that no class has to repeat them.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, cast

from actloop.values.plain import is_secret_name

_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "str": ("a text", (str,)),
    "bool": ("True or False", (bool,)),
    "float": ("a number", (int, float)),
    "int": ("a whole number", (int,)),
    "Mapping": ("a dict", (Mapping,)),
    "Iterable": ("a list", (Iterable,)),
    "None": ("None", (type(None),)),
}
"""The types that are checked: what each is called, and which values have it."""

_SAME = {"dict": "Mapping", "list": "Iterable", "Sequence": "Iterable"}

_OTHERS = frozenset(
    {"cpus", "gpus", "user", "warm", "timeout", "timeout_seconds", "max_print_outputs_length", "allow_hosts"}
    | {"network_budget"}
)
"""Options that are checked where they are used."""

_NEEDED = frozenset({"image", "base_image", "image_name", "python", "deno_path", "app_name", "dockerfile_content"})
"""Options that an empty text cannot be."""

_BOUNDS = {"start_timeout": (0.01, 1e6, "seconds"), "memory": (1, 1 << 24, "MiB"), "port": (0, 65535, "")}


def check_arguments(made: type, given: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Refuse what a constructor of this package cannot take.

    Args:
        made: The class that the user asked for. The arguments of a constructor of the user's own are left to it.
        given: Arguments by their places.
        named: Arguments by their names.

    Raises:
        TypeError: There is no such option, or it is of another type.
        ValueError: It is a value that the option cannot have.
    """
    if not getattr(made.__init__, "__module__", "").startswith("actloop."):
        return
    declared = declared_options(made)
    refuse_unknown(made, named, declared)
    values = [*zip(declared, given, strict=False), *named.items()]
    declared = {**declared, **getattr(made, "hands_on", {})}
    for name, value in values:
        if name in declared and name not in _OTHERS:
            _check(name, value, str(declared[name]))


@lru_cache(maxsize=64)
def declared_options(made: type) -> dict[str, Any]:
    """The parameters of a class, those by place first; where it hands on what it does not know, its bases', too.

    Returns:
        The type of each, as it is written where it is declared.
    """
    found: dict[str, Any] = {}
    for cls in made.__mro__:
        if "__init__" in vars(cls):
            parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
            named = [item for item in parameters if item.kind in (item.KEYWORD_ONLY, item.POSITIONAL_OR_KEYWORD)]
            if "additional_imports" in found:  # which becomes the other
                named = [item for item in named if item.name != "additional_authorized_imports"]
            found |= {item.name: item.annotation for item in named if item.name not in found}
            if all(item.kind is not item.VAR_KEYWORD for item in parameters):
                break
    return found


def refuse_unknown(made: type, names: Iterable[Any], known: Iterable[str]) -> None:
    """Refuse options that no constructor of a class takes, by the name of the class that the user asked for.

    Args:
        made: The class. Its `instead` says of options that belong elsewhere where that is.
        names: The options that were given.
        known: Those that there are.

    Raises:
        TypeError: It does not take one of them.
    """
    if getattr(made, "takes_more", False):
        return
    instead: Mapping[str, str] = getattr(made, "instead", {})
    for name in names:
        if name not in known:
            hint = f": {instead[name]}" if name in instead else did_you_mean(name, known)
            raise TypeError(f"{made.__name__} takes no argument {name!r:.80}{hint}")


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """What is to be said of a name that is not known: the one that is most like it."""
    close = get_close_matches(str(name), known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _check(name: str, value: Any, declared: str) -> None:
    words = re.findall(r"\w+", re.sub(r"\[.*?\]", "", declared))
    kinds = {_SAME.get(word, word) for word in words if word not in ("Callable", "Any")}
    if not kinds or not kinds <= _KINDS.keys() or "Any" in words:
        return
    if "Iterable" in kinds and "[str]" in declared and value is not None:
        if not isinstance(value, Iterator):  # which can be read once only
            checked_texts(name, value)
        return
    fits = isinstance(value, tuple(kind for one in kinds for kind in _KINDS[str(one)][1]))
    if not fits or (isinstance(value, bool) and "bool" not in kinds):
        wanted = " or ".join(kind for one, (kind, _) in _KINDS.items() if one in kinds)
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")
    if isinstance(value, str):
        _check_text(name, value)
    elif isinstance(value, Mapping):
        _check_names(name, cast("Mapping[Any, Any]", value), callables="Callable" in declared)
    elif isinstance(value, int | float):
        _check_size(name, value)


def _check_text(name: str, value: str) -> None:
    shown = "" if is_secret_name(name) else f", not {value!r:.80}"
    if "\0" in value:
        raise ValueError(f"{name} must be a text without null characters{shown}")
    if name in _NEEDED and not value.strip():
        raise ValueError(f"{name} must be a text that is not empty{shown}")


def _check_size(name: str, value: float) -> None:
    least, most, unit = _BOUNDS.get(name, (-math.inf, math.inf, ""))
    if math.isnan(value) or not least <= value <= most:
        shown = f"{value:,}" if abs(value) < 1e18 or isinstance(value, float) else "so large a number"
        raise ValueError(f"{name} must be {least:,} to {most:,.0f} {unit}".rstrip() + f", not {shown}")


def _check_names(name: str, value: Mapping[Any, Any], *, callables: bool) -> None:
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"{name} must be a dict whose keys are texts (str), not {key!r:.80}")
        if callables and not callable(item):
            raise TypeError(f"{name}[{key!r:.80}] must be a function, not {type(item).__name__}")


def checked_texts(name: str, value: Any) -> list[str]:
    """A list of texts: one text alone would be taken for its letters.

    Raises:
        TypeError: It is none.
        ValueError: One of them is empty, or has a null character in it.
    """
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        given: Any = type(value).__name__  # pyright: ignore[reportUnknownArgumentType]
        hint = f": write [{value!r:.80}]" if isinstance(value, str) else ""
        raise TypeError(f"{name} must be a list of texts, such as ['numpy'], not {given}{hint}")
    texts: list[Any] = list(cast("Iterable[Any]", value))
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a list of texts, such as ['numpy']; it holds {text!r:.80}")
        if not text.strip() or "\0" in text:
            raise ValueError(f"{name}: {text!r:.80} is no name")
    return texts


def checked_dict(what: str, given: Any, items: str) -> dict[str, Any]:
    """Things by their names.

    Args:
        what: Where it was given, for messages.
        given: What was given.
        items: What it must hold, for messages.

    Raises:
        TypeError: It is no dict by names.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} takes a dict of {items} by their names; got {type(given).__name__}")
    for name in cast("Mapping[Any, Any]", given):
        if not isinstance(name, str):
            raise TypeError(f"{what} takes a dict of {items} by their names, which are texts (str); got {name!r:.80}")
    return dict(cast("Mapping[str, Any]", given))


def checked_tools(what: str, given: Any) -> dict[str, Any]:
    """Functions by their names.

    Raises:
        TypeError: It is no dict of them.
    """
    tools = checked_dict(what, given, "tools")
    for name, tool in tools.items():
        if not callable(tool):
            raise TypeError(f"{what}: {name!r:.80} must be a tool or a function, not {type(tool).__name__}")
    return tools


_METHODS = ("send_tools", "send_variables", "__call__")


def checked_executor(executor: Any) -> Any:
    """Something that runs programs: what opens sessions, or takes tools and variables and can be called.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(executor, type):
        raise TypeError(f"executor must be an object: make one of the class, {executor.__name__}(...)")
    if isinstance(executor, str):
        raise TypeError(f"executor must be an executor, not a text: write executor_type={executor!r:.80}")
    if callable(getattr(executor, "open_session", None)):
        return executor
    missing = [name for name in _METHODS if not callable(getattr(executor, name, None))]
    if missing:
        raise TypeError(
            f"executor must be an executor, such as LocalPythonExecutor(), or a PythonExecutor of yours; "
            f"{type(executor).__name__} has no {' and no '.join(missing)}"
        )
    return executor


def checked_output(output: Any, executor: Any) -> Any:
    """What an executor of the user's gave for a program.

    Raises:
        TypeError: It is no `CodeOutput`, nor like one.
    """
    if all(hasattr(output, name) for name in ("output", "logs", "is_final_answer")):
        return output
    raise TypeError(
        f"{type(executor).__name__}.__call__ must return a CodeOutput(output=..., logs=..., is_final_answer=...), "
        f"not {type(output).__name__}"
    )
