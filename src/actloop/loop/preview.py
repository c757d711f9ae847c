"""Short texts about values: bounded in size and time, and never raising."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from actloop.guest import Opaque
from actloop.values.media import described, is_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_DEEPEST = 6
_LONGEST_INTEGER = 4_000  # bits; longer ones take long to write in decimal
_SAMPLED = 20
_LONGEST_TYPE = 60

_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


def preview(value: Any, limit: int = 80) -> str:
    """A short `repr` of at most about `limit` characters; what is left out is counted.

    Only plain values, arrays and frames are looked into; of any other object the `repr` is cut.
    """
    try:
        return _preview(value, max(limit, 20), 0)
    except Exception:
        return f"<{type(value).__name__}>"


def type_name(value: Any) -> str:
    """The value's type, with the types of its items where they are all alike: `list[dict]`, `dict[str, int]`."""
    kind = cast("type[Any]", type(value))
    if is_image(value):
        return "Image"
    if isinstance(value, Opaque):
        return value.type_name[:_LONGEST_TYPE]
    name = kind.__name__[:_LONGEST_TYPE]
    if kind in (list, set, frozenset, tuple):
        inside = _common(islice(cast("Iterable[Any]", value), _SAMPLED))
        if inside:
            return f"{name}[{inside}, ...]" if kind is tuple else f"{name}[{inside}]"
    if kind is dict:
        entries = cast("Mapping[Any, Any]", value)
        keys, values = _common(islice(entries, _SAMPLED)), _common(islice(entries.values(), _SAMPLED))
        if keys and values:
            return f"dict[{keys}, {values}]"
    return name


def _common(values: Iterable[Any]) -> str:
    names = {type(value).__name__ for value in values}
    return names.pop()[:_LONGEST_TYPE] if len(names) == 1 else ""


def _preview(value: Any, limit: int, depth: int) -> str:
    kind = cast("type[Any]", type(value))
    if kind is str:
        return _of_text(value, limit)
    if kind is bytes or kind is bytearray:
        shown = repr(bytes(value[:limit]))
        return shown if len(value) <= limit else f"{shown} ... ({len(value):,} bytes)"
    if kind is int and value.bit_length() > _LONGEST_INTEGER:
        return f"<int of {value.bit_length():,} bits>"
    if kind in _BRACKETS:
        return _of_items(value, limit, depth)
    if kind is dict:
        return _of_dict(value, limit, depth)
    medium = described(value)
    if medium is not None:
        return medium
    shape: Any = getattr(value, "shape", None) if kind.__module__.partition(".")[0] in ("numpy", "pandas") else None
    if shape:
        return _of_array(value, shape, limit)
    text = value.text if isinstance(value, Opaque) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]} ..."


def _of_text(value: str, limit: int) -> str:
    if len(value) <= limit:
        return repr(value)
    return f"{value[:limit]!r} ... ({len(value):,} characters)"


def _of_items(value: Any, limit: int, depth: int) -> str:
    opening, closing = _BRACKETS[type(value)]
    if not value:
        return repr(value)
    if depth >= _DEEPEST:
        return f"{opening}...{closing}"
    texts, left = _fitting((_preview(item, limit, depth + 1) for item in value), limit), len(value)
    left -= len(texts)
    if left:
        return f"{opening}{', '.join(texts)}, ... {left:,} more{closing}"
    comma = "," if type(value) is tuple and len(texts) == 1 else ""
    return f"{opening}{', '.join(texts)}{comma}{closing}"


def _of_dict(value: Mapping[Any, Any], limit: int, depth: int) -> str:
    if depth >= _DEEPEST and value:
        return "{...}"
    # Keys tell more than values: each value gets a part of the room.
    room = max(20, limit // max(1, min(len(value), 4)))
    entries = (f"{_preview(key, 60, depth + 1)}: {_preview(item, room, depth + 1)}" for key, item in value.items())
    texts = _fitting(entries, limit)
    left = len(value) - len(texts)
    return f"{{{', '.join(texts)}{f', ... {left:,} more' if left else ''}}}"


def _fitting(texts: Iterator[str], limit: int) -> list[str]:
    """The first texts that fit into `limit` characters; one at least."""
    kept: list[str] = []
    for text in texts:
        limit -= len(text) + 2
        if kept and limit < 0:
            break
        kept.append(text)
    return kept


def _of_array(value: Any, shape: Any, limit: int) -> str:
    text = repr(value) if getattr(value, "size", 0) <= 1_000 else ""
    columns = getattr(value, "columns", None)
    about = f"{' x '.join(str(size) for size in shape)} {type(value).__name__}"
    if columns is not None:
        return f"<{about} with columns {_preview([str(name) for name in columns[:50]], limit, 0)}>"
    if text and len(text) <= limit:
        return text
    return f"<{about} of {getattr(value, 'dtype', 'objects')}>"
