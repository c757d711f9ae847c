"""Whether a value is small: what is done with all of its parts takes a few milliseconds at most."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from actloop.guest import Opaque, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SMALL = 1 << 16
"""Bytes of bytes or text that are small."""

_PARTS = 2048
"""Parts of a value that are small."""

_TEXTS: frozenset[type] = frozenset({str, bytes, bytearray})
_NUMBERS: frozenset[type] = frozenset({int, float, bool, complex, type(None)})
_LISTS: frozenset[type] = frozenset({list, tuple, set, frozenset})
_LIBRARIES = frozenset({"datetime", "decimal", "fractions", "uuid", "pathlib", "zoneinfo"})
"""Modules whose objects are one part each."""


def is_small(value: Any) -> bool:
    """Whether a value is small, found out in the time that a small one takes.

    What cannot be looked into without running code of its own counts as large.
    """
    try:
        return _left(value, _PARTS) >= 0
    except Exception:  # it is nested without end, or changes while it is looked at
        return False


def _left(value: Any, parts: int) -> int:
    """How many parts of so many are left after those of a value; fewer than none when it has more."""
    kind = cast("type[Any]", type(value))
    if kind in _NUMBERS:
        return parts - 1 if kind is not int or value.bit_length() < SMALL else -1
    if kind in _TEXTS:
        return parts - 1 - len(value) * _PARTS // SMALL
    if kind in _LISTS:
        return _left_of(cast("Iterable[Any]", value), parts - 1, len(value))
    if kind is dict:
        pairs = cast("Mapping[Any, Any]", value)
        return _left_of(chain(pairs, pairs.values()), parts - 1, 2 * len(pairs))
    if kind is Record:
        return _left(value.record_fields, parts)
    if kind is Opaque:
        return _left(value.text, parts)
    fields: Any = getattr(kind, "__dataclass_fields__", None)
    if type(fields) is dict:
        names = cast("dict[str, Any]", fields)
        return _left_of((getattr(value, name, None) for name in names), parts - 1, len(names))
    return parts - 1 if kind.__module__ in _LIBRARIES else -1


def _left_of(items: Iterable[Any], parts: int, length: int) -> int:
    if length > parts:
        return -1
    for item in items:
        parts = _left(item, parts)
        if parts < 0:
            return parts
    return parts
