"""Options of executors' classes on the command line: `--image`, `--gpus`, and NAME=VALUE for all others."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn, cast

from actloop.cli.settings import UsageError
from actloop.values.plain import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actloop.cli.settings import ProgramOptions

OPTION = "--executor-option"
_SAID_BY = {
    "allow_hosts": ("allow_host", "--allow-host"),
    "gpus": ("gpus", "--gpus"),
    "image": ("image", "--image"),
    "limits.memory": ("memory", "--memory"),
    "limits.wall": ("timeout", "--timeout"),
    "timeout_seconds": ("timeout", "--timeout"),
    "workspace": ("workspace", "--workspace"),
}
"""Options of executors for which the command line has one of its own, and where that is kept."""

_INSTEAD = {
    ("image", "e2b"): f"; a template of E2B's goes to {OPTION} template=NAME",
    ("gpus", "modal"): f"; a GPU of Modal's goes to {OPTION} create_kwargs.gpu=NAME",
}
_NO_TEXT = ("additional_functions",)
"""Options whose values cannot be written."""

_KINDS: dict[type, tuple[str, set[str]]] = {
    bool: ("true or false", {"bool"}),
    int: ("a whole number", {"int", "float"}),
    float: ("a number", {"float"}),
    str: ("text", {"str"}),
    list: ("a list", {"list", "Iterable", "Sequence"}),
    dict: ("an object", {"dict", "Mapping"}),
    type(None): ("null", {"None"}),
}
"""What values in JSON are called, and the types of options that take them."""


def read_executor_options(options: ProgramOptions, names: Sequence[str], limits: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of executors' classes; those of one of several in a dict under its name.

    Args:
        options: What was given.
        names: The executors that were chosen.
        limits: Those that have options of the command line's own; they hold where the others say nothing.

    Raises:
        UsageError: None of the executors knows an option, or its value cannot be one.
    """
    given: dict[str, Any] = {}
    for text in options.executor_option or ():
        path, equals, value = text.partition("=")
        parts = path.strip().split(".")
        if not equals or not all(parts):  # it may be a key: it is not repeated
            raise UsageError(f"{OPTION} takes NAME=VALUE, such as cpus=2")
        flag, said_by = _SAID_BY.get(path.strip(), ("", ""))
        if flag and getattr(options, flag) is not None:
            raise UsageError(f"{OPTION} {path} and {said_by} say the same: leave one of them out")
        _put(given, parts, value, names)
    if options.image is not None:
        _kinds_of("image", names, "--image")
        if not options.image.strip():
            raise UsageError("--image takes the name of an image, such as python:3.12-slim")
        given["image"] = options.image
    if options.gpus is not None:
        _kinds_of("gpus", names, "--gpus")
        given["gpus"] = _gpus(options.gpus)
    for name, one in [("", given), *((f"{name}.", given[name]) for name in names if name in given)]:
        if "limits" in one or (limits and not name):
            one["limits"] = _limits(one.get("limits", {}), limits, f"{name}limits")
    return given


def _put(given: dict[str, Any], parts: list[str], text: str, names: Sequence[str]) -> None:
    """Put a value where its name, with dots in it, leads."""
    shown = f"{OPTION} {'.'.join(parts)}"
    own = len(parts) > 1 and parts[0] in names
    if len(parts) == 1 and parts[0] in names:
        raise UsageError(f"{shown}: write {parts[0]}.NAME=VALUE for an option of {parts[0]}'s own")
    kinds = _kinds_of(parts[own], parts[:1] if own else names, f"{OPTION} {'.'.join(parts[: own + 1])}")
    within = len(parts) > own + 1
    value = _json(text)
    if not within and is_secret_name(parts[own]):
        value = text
    elif not within and parts[own] != "limits":
        value = _fitting(text, kinds, shown)
    if within and parts[own] != "limits" and not all(_types(kind) & _KINDS[dict][1] for kind in kinds):
        raise UsageError(f"{shown}: there is nothing within {parts[own]}")
    place = given
    for part in parts[:-1]:
        inner: Any = place.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{shown}: {part} has a value already")
        place = cast("dict[str, Any]", inner)
    if parts[-1] in place:
        raise UsageError(f"{shown} is given twice")
    place[parts[-1]] = value


def _json(text: str) -> Any:
    """What a text says as JSON, or itself."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _fitting(text: str, kinds: Iterable[Any], shown: str) -> Any:
    """A value of the types that an option takes: JSON, or the text as it is."""
    value = _json(text)
    for kind in kinds:
        taken = _types(kind)
        called, fits = _KINDS[type(value)]
        if not taken & fits and "str" in taken:
            return text
        if not taken & fits:
            wanted = [word for word, types in _KINDS.values() if taken & types]
            wanted = [word for word in wanted if word != "a whole number" or "a number" not in wanted]
            raise UsageError(f"{shown} takes {' or '.join(wanted)}, not {called}")
    return value


def _types(annotation: Any) -> set[str]:
    """The names of the types that an annotation allows."""
    return set(re.findall(r"\w+", re.sub(r"\[.*?\]", "", str(annotation))))


def _gpus(given: str) -> str | int | list[str]:
    """All, how many, or which."""
    if given == "all":
        return given
    if re.fullmatch(r"[1-9]\d{0,3}", given):
        return int(given)
    names = [name.strip() for name in given.removeprefix("device=").split(",")]
    if given.isdecimal() or not all(names):
        raise UsageError(f"--gpus {given!r}: give all, a number from 1 on, or ids with commas between")
    return names


def _limits(given: Any, asked: Mapping[str, Any], place: str) -> Any:
    from actloop.executors.limits import SandboxLimits

    known = [field.name for field in fields(SandboxLimits)]
    if not isinstance(given, dict):
        raise UsageError(f"{OPTION} {place}: write {place}.NAME=VALUE; there are {', '.join(known)}")
    wanted: dict[str, Any] = {**asked, **cast("dict[str, Any]", given)}
    for name in wanted:
        if name not in known:
            raise UsageError(f"{OPTION} {place}.{name}: there is no such limit; there are {', '.join(known)}")
    try:
        return SandboxLimits(**wanted)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{OPTION} {place}: {error}") from error


def _kinds_of(name: str, chosen: Sequence[str], shown: str) -> list[Any]:
    """The types of an option, as those of the chosen executors that know it declare it.

    Raises:
        UsageError: None knows it.
    """
    from actloop.executors.registry import executor_class, options_of

    known = {one: options_of(executor_class(one)) for one in chosen}
    kinds = [options[name] for options in known.values() if name in options]
    if name in _NO_TEXT and kinds:
        raise UsageError(f"{shown}: functions cannot be given on the command line; --tools gives tools")
    if not kinds and shown.startswith(OPTION) and any(executor_class(one).takes_more for one in chosen):
        from actloop.executors.registry import NAMES

        if name not in NAMES:
            return []
    return kinds or _refuse_unknown(name, known, shown)


def _refuse_unknown(name: str, known: Mapping[str, Mapping[str, Any]], shown: str) -> NoReturn:
    from actloop.executors.registry import NAMES, did_you_mean, executor_class, options_of

    chosen = list(known)
    who = " and ".join(chosen)
    if not shown.startswith(OPTION):
        others = [one for one in NAMES if name in options_of(executor_class(one))]
        hint = "".join(_INSTEAD.get((name, one), "") for one in chosen)
        raise UsageError(f"{shown} is for --executor {' or '.join(others)}; programs run in {who} here{hint}")
    if name in NAMES:
        raise UsageError(f"{shown}: {name} is not among the executors that were chosen: {', '.join(chosen)}")
    listed = sorted({option for options in known.values() for option in options if option not in _NO_TEXT})
    hint = did_you_mean(name, listed) or f"; there are {', '.join(listed)}"
    raise UsageError(f"{shown}: {who} {'takes' if len(chosen) == 1 else 'take'} no such option{hint}")
