"""What crosses to the next sandbox as a record: collections, which are made again there, and objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actloop.guest import Record

if TYPE_CHECKING:
    from collections.abc import Callable

_COLLECTION = "collections."
_OBJECT = "object "

_MAKE = """
def __actloop_made(value):
    import collections

    kind = type(value)
    if kind in (list, tuple):
        return kind([__actloop_made(item) for item in value])
    if kind is dict:
        return {key: __actloop_made(item) for key, item in value.items()}
    if kind.__name__ != "Record":
        return value
    name, fields = value.record_type, {key: __actloop_made(item) for key, item in value.record_fields.items()}
    if name == "collections.deque":
        return collections.deque(fields["items"], fields["maxlen"])
    if name == "collections.Counter":
        return collections.Counter(fields["items"])
    if name == "collections.defaultdict":
        made = {made.__name__: made for made in (int, float, str, bool, list, dict, set, tuple)}
        return collections.defaultdict(made.get(fields["factory"]), fields["items"])
    return kind(name, fields)


try:
    NAME = __actloop_made(NAME)
except BaseException:
    del NAME
    raise
finally:
    del __actloop_made
"""


def making(name: str) -> str:
    """A program that makes collections again of a variable's records."""
    return _MAKE.replace("NAME", name)


def has_collections(value: Any) -> bool:
    """Whether a value is, or holds, a collection as a record."""
    return _some(value, lambda record: record.record_type.startswith(_COLLECTION))


def has_objects(value: Any) -> bool:
    """Whether a value is, or holds, an object of a program's own class as a record."""
    return _some(value, lambda record: record.record_type.startswith(_OBJECT))


def plain(value: Any) -> Any:
    """A value with the names that classes of objects have."""
    if isinstance(value, Record):
        fields = {name: plain(item) for name, item in value.record_fields.items()}
        return Record(value.record_type.removeprefix(_OBJECT), fields)
    if type(value) is dict:
        return {plain(key): plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)([plain(item) for item in value])
    return value


def _some(value: Any, holds: Callable[[Record], bool]) -> bool:
    if isinstance(value, Record):
        return holds(value) or _some(list(value.record_fields.values()), holds)
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value)
        return _some(list(pairs), holds) or _some(list(pairs.values()), holds)
    if isinstance(value, list | tuple | set | frozenset):
        return any(_some(item, holds) for item in cast("list[Any]", value))
    return False
