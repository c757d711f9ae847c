"""Settings of tools, models and agents as JSON, and back.

What JSON has no form for is written as an object with the key `$`, which names its kind. What has no form at all (a
live object, a function) and what must not be written down (a key, a token) is left out, and told.
"""

from __future__ import annotations

import base64
import dataclasses
import re
import sys
import types
import typing
from enum import Enum
from functools import partial
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from actloop.values.cuts import cut
from actloop.values.masking import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

KIND = "$"
_RECORDS = {
    "ContextLimit": "actloop.memory.compaction",
    "RetryPolicy": "actloop.models.retry",
    "SandboxLimits": "actloop.executors.limits",
}
"""Dataclasses of ours that settings may hold, and where they live."""

_SECRET_NAME = re.compile(
    r"(.*_)?(api_?key|access_?key(_id)?|secret(_key)?|password|passwd|token|credentials?|authorization|cookie)"
)
_LEFT_OUT: Any = object()
_DEPTH = 32


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name holds a key, a token or a password."""
    return _SECRET_NAME.fullmatch(name.lower().replace("-", "_")) is not None


def is_secret(value: Any) -> bool:
    """Whether a text holds a key: by its form, or because the environment calls it one."""
    return isinstance(value, str) and masked(value) != value


class Writer:
    """Turns settings into JSON values.

    Args:
        other: Gives the JSON value of an object that is not known here, or None. It is given this writer, the object
            and its place.

    Attributes:
        left_out: What could not be written down, in words.
    """

    def __init__(self, other: Callable[[Writer, Any, str], Any] | None = None) -> None:
        self.left_out: list[str] = []
        self._other = other

    def settings(self, values: dict[str, Any], where: str = "") -> dict[str, Any]:
        """Settings by name, without those that cannot be written down."""
        written: dict[str, Any] = {}
        for name, value in values.items():
            place = f"{where}.{name}" if where else name
            if value is not None and is_secret_name(name):
                self.left_out.append(f"{place} (a secret)")
                continue
            found = self._write(value, place, 0)
            if found is not _LEFT_OUT:
                written[name] = found
        return written

    def _lose(self, place: str, why: str) -> Any:
        self.left_out.append(f"{place} ({why})")
        return _LEFT_OUT

    def _write(self, value: Any, place: str, depth: int) -> Any:
        if depth > _DEPTH:
            return self._lose(place, "nested too deeply")
        if is_secret(value):
            return self._lose(place, "a secret")
        if isinstance(value, Enum):
            value = value.value
        if value is None or type(value) in (str, bool, int):
            return value
        if isinstance(value, str):
            return str(value)
        if isinstance(value, float):
            return float(value) if value - value == 0 else {KIND: "float", "value": str(float(value))}
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, bytes):
            return {KIND: "bytes", "value": base64.b64encode(value).decode()}
        if isinstance(value, list | tuple | set | frozenset):
            return self._write_items(cast("list[Any]", value), place, depth)
        if isinstance(value, dict):
            return self._write_mapping(cast("dict[Any, Any]", value), place, depth)
        return self._write_object(value, place, depth)

    def _write_items(self, value: Any, place: str, depth: int) -> Any:
        before = len(self.left_out)
        items = [self._write(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
        if any(item is _LEFT_OUT for item in items):
            del self.left_out[before + 1 :]
            return _LEFT_OUT
        if isinstance(value, list):
            return items
        kind = "tuple" if isinstance(value, tuple) else "set"
        return {KIND: kind, "items": items if kind == "tuple" else sorted(items, key=repr)}

    def _write_mapping(self, value: dict[Any, Any], place: str, depth: int) -> Any:
        written: dict[Any, Any] = {}
        for key, item in value.items():
            if isinstance(key, str) and item is not None and is_secret_name(key):
                self._lose(f"{place}.{key}", "a secret")
                continue
            found = self._write(item, f"{place}.{key}", depth + 1)
            if found is not _LEFT_OUT:
                written[key] = found
        if KIND not in written and all(type(key) is str for key in written):
            return written
        pairs = [[self._write(key, f"{place} key", depth + 1), item] for key, item in written.items()]
        return {KIND: "dict", "items": [pair for pair in pairs if pair[0] is not _LEFT_OUT]}

    def _write_object(self, value: Any, place: str, depth: int) -> Any:
        name = type(value).__name__
        if _RECORDS.get(name) == type(value).__module__:
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return {KIND: name, **{key: self._write(item, f"{place}.{key}", depth + 1) for key, item in fields.items()}}
        if self._other is not None and (found := self._other(self, value, place)) is not None:
            return found
        if (found := self._write_type(value, depth)) is not None:
            return found
        if isinstance(value, type):
            return self._lose(place, f"the class {name_of(value)}, which no module holds under that name")
        return self._lose(place, name_of(value) if callable(value) else f"a live {name}")

    def _write_type(self, value: Any, depth: int) -> Any:
        """A type as one can be written in a hint: a class of a module, or one with arguments."""
        if depth > _DEPTH:
            return None
        origin = typing.get_origin(value)
        if origin is typing.Literal:
            return {KIND: "literal", "items": list(typing.get_args(value))}
        if origin is not None:
            union = origin in (typing.Union, types.UnionType)
            parts = [self._write_type(part, depth + 1) for part in typing.get_args(value)]
            base = "union" if union else self._write_type(origin, depth + 1)
            return None if base is None or None in parts else {KIND: "hint", "of": base, "items": parts}
        if value is ...:
            return {KIND: "ellipsis"}
        home, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if value is typing.Any:
            home, name = "typing", "Any"
        if value is type(None):
            home, name = "types", "NoneType"
        if not (isinstance(value, type) or value is typing.Any) or home == "__main__" or not isinstance(name, str):
            return None
        module = sys.modules.get(str(home))
        return {KIND: "class", "module": home, "name": name} if getattr(module, name, None) is value else None


def name_of(value: Any) -> str:
    """An object in a few words: what a function or class is called, else what it is."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return str(name) if name else f"a live {type(value).__name__}"


def read(value: Any, other: Callable[[dict[str, Any]], Any] | None = None, *, trust: bool = False) -> Any:
    """The value that `Writer` wrote down.

    Args:
        value: JSON, as it was loaded.
        other: Makes the object of a kind that is not known here.
        trust: Import modules whose classes it names, Python's own types excepted, for which it need not be given.

    Raises:
        ValueError: It names a kind or a class that there is not, or a class whose module must not be imported.
    """
    if isinstance(value, list):
        return [read(item, other, trust=trust) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    data = cast("dict[str, Any]", value)
    if KIND not in data:
        return {key: read(item, other, trust=trust) for key, item in data.items()}
    try:
        return _read_kind(data, partial(read, other=other, trust=trust), other, trust=trust)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{cut(str(data), 200)} is no saved value: {type(error).__name__}: {error}") from None


def _read_kind(
    data: dict[str, Any],
    part: Callable[[Any], Any],
    other: Callable[[dict[str, Any]], Any] | None,
    *,
    trust: bool,
) -> Any:
    kind = data[KIND]
    if kind == "class":
        return _class(data, trust=trust)
    if kind == "literal":
        return typing.Literal[tuple(data["items"])]  # pyright: ignore[reportInvalidTypeForm]
    if kind == "ellipsis":
        return ...
    if kind == "hint":
        parts = tuple(part(item) for item in data["items"])
        return typing.Union[parts] if data["of"] == "union" else part(data["of"])[parts]  # noqa: UP007
    if kind in _RECORDS:
        record: Any = getattr(import_module(_RECORDS[kind]), kind)
        return record(**{key: part(item) for key, item in data.items() if key != KIND})
    if kind == "dict":
        return {_hashable(part(key)): part(item) for key, item in data["items"]}
    if kind in ("tuple", "set"):
        items = [part(item) for item in data["items"]]
        return tuple(items) if kind == "tuple" else set(items)
    if kind == "float":
        return float(data["value"])
    if kind == "bytes":
        return base64.b64decode(data["value"])
    if other is not None:
        return other(data)
    raise ValueError(f"no value of the kind {kind!r} can be loaded; a newer version may have saved it")


def _hashable(key: Any) -> Any:
    hash(key)
    return key


def _is_builtin_class(data: dict[str, Any]) -> bool:
    home, name = data.get("module"), data.get("name")
    if (home, name) in (("typing", "Any"), ("types", "NoneType")):
        return True
    return home == "builtins" and isinstance(vars(sys.modules["builtins"]).get(str(name)), type)


def _class(data: dict[str, Any], *, trust: bool) -> Any:
    if not trust and not _is_builtin_class(data):
        where = f"{data.get('module')}.{data.get('name')}"
        raise ValueError(f"loading the class {where} imports a module; pass trust_remote_code=True if you trust it")
    found = getattr(import_module(data["module"]), data["name"])
    if not isinstance(found, type) and found is not typing.Any:
        raise ValueError(f"{data['module']}.{data['name']} is not a class")
    return found


def kinds_in(value: Any, kind: str) -> Generator[dict[str, Any]]:
    """The objects of a kind in a saved value, those inside of others included."""
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from kinds_in(item, kind)
    elif isinstance(value, dict):
        data = cast("dict[str, Any]", value)
        if data.get(KIND) == kind:
            yield data
        for item in data.values():
            yield from kinds_in(item, kind)


def foreign_classes(value: Any) -> list[str]:
    """Names of the classes in a saved value for which modules other than Python's own types would be imported."""
    found = [data for data in kinds_in(value, "class") if not _is_builtin_class(data)]
    return [f"{data.get('module')}.{data.get('name')}" for data in found]
