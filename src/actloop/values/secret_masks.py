"""Puts masks in place of secrets in values of any kind."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from actloop.guest import MAX_DEPTH, MAX_VALUE, Decoder, Encoder, Opaque, Record
from actloop.guest.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actloop.values.secret_forms import Finder

_LIMIT = 4 * MAX_VALUE
"""Bytes of a value that are looked through: a larger one is neither sent nor stored."""

_MANY = 16
"""Items from which on they are looked at together first."""

_BIG = 1 << 20
_HOLDS = "<{} that holds a secret>"
_WIDEST = 4
"""Bytes of a number that may be a character's."""

_NUMBERS = frozenset({int, float, bool, complex, type(None)})


def masked(value: Any, finder: Finder, *, piece: bool = False) -> Any:
    """The value with a mask in place of every secret in it; itself where there is none. Never raises."""
    return _Walk(finder, piece=piece).masked(value, 0) if finder else value


class _Walk:
    """One look through a value."""

    def __init__(self, finder: Finder, *, piece: bool) -> None:
        self._finder = finder
        self._piece = piece
        self._together = not piece
        self._seen: dict[int, tuple[Any, Any]] = {}
        """The objects that were looked at, each with what stands for it; so that none is looked at twice."""

    def masked(self, value: Any, depth: int) -> Any:
        kind = cast("type[Any]", type(value))
        if kind is str:
            return self._text(value)
        if kind in _NUMBERS:
            return self._number(value)
        if kind is bytes or kind is bytearray:
            found = self._finder.raw(bytes(value))
            return value if found == value else kind(found)
        known = self._seen.get(id(value))
        if known is not None:
            return known[1]
        if depth > MAX_DEPTH:
            return self._opaque(value, "...")
        self._seen[id(value)] = (value, Opaque("...", kind.__name__))  # until it is known: a value may contain itself
        try:
            found = self._parts(value, depth + 1)
        except Exception:  # an object of the user's may raise anything from anything that is asked of it
            found = self._opaque(value, self._shown(value))
        self._seen[id(value)] = (value, found)
        return found

    def _text(self, text: str) -> str:
        return self._finder.text(text, piece=self._piece)

    def _number(self, value: Any) -> Any:
        if not self._finder.numbers or value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and value.bit_length() > 4000:
            return value
        shown = repr(value)
        found = self._finder.text(shown)
        return value if found is shown else found

    def _shown(self, value: Any) -> str:
        """An object's `repr`, masked."""
        try:
            return self._text(repr(value))
        except Exception:  # also when it is nested too deeply, or too large
            return f"<{type(value).__name__}>"

    def _opaque(self, value: Any, text: str) -> Opaque:
        name = value.type_name if type(value) is Opaque else type(value).__name__
        return Opaque(self._text(text), self._text(str(name)))

    def _own(self, value: Any, depth: int) -> Any:
        """An event, a message...: an object of the same class."""
        changed: dict[str, Any] = {}
        for item in dataclasses.fields(value):
            held = getattr(value, item.name, None)
            found = self.masked(held, depth)
            if found is not held and item.init:
                changed[item.name] = found
        return dataclasses.replace(value, **changed) if changed else value

    def _parts(self, value: Any, depth: int) -> Any:
        """A value of several parts; the very same object where no part holds a secret."""
        if type(value).__module__.startswith("actloop.") and dataclasses.is_dataclass(value):
            return self._own(value, depth)
        if isinstance(value, str):
            text = str.__str__(value)
            found = self._text(text)
            return value if found is text else found
        if isinstance(value, dict):
            pairs = dict(cast("dict[Any, Any]", value))
            keys, items = list(pairs), list(pairs.values())
            new_keys, new_items = self._items(keys, depth), self._items(items, depth)
            if new_keys is keys and new_items is items:
                return cast("Any", value)
            return dict(zip(new_keys, new_items, strict=True))
        if isinstance(value, list | tuple | set | frozenset):
            items = list(cast("Iterable[Any]", value))
            found = self._items(items, depth)
            return cast("Any", value) if found is items else _remade(cast("Any", value), found)
        if type(value) is Record:
            fields = self.masked(value.record_fields, depth)
            name = self._text(value.record_type)
            same = fields is value.record_fields and name is value.record_type
            return value if same else Record(name, fields)
        if type(value) is Opaque:
            text, name = self._text(value.text), self._text(value.type_name)
            return value if text is value.text and name is value.type_name else Opaque(text, name)
        return self._object(value, depth)

    def _items(self, items: list[Any], depth: int) -> list[Any]:
        """Items of a container; the very same list where none holds a secret."""
        if len(items) > _MANY:
            kinds = set(map(type, items))
            if kinds <= _NUMBERS and (not self._finder.numbers or self._is_clean(repr(items))):
                return items
            if kinds == {str} and not self._piece and self._is_clean("\0".join(items)):
                return items
            if self._together:
                if self._is_clean_as_sent(items):
                    return items
                self._together = False  # where one is known to be, each part is looked at
        found = [self.masked(item, depth) for item in items]
        return items if all(a is b for a, b in zip(found, items, strict=True)) else found

    def _is_clean_as_sent(self, value: Any) -> bool:
        """Whether a large value holds no secret: looking at it as one text is much faster than at each part."""
        encoder = _Encoder(_LIMIT)
        try:
            return self._is_sent_clean(dumps(encoder.value(value)), encoder)
        except Exception:  # it cannot be sent: each part is looked at
            return False

    def _is_sent_clean(self, text: str, encoder: Encoder) -> bool:
        return self._is_clean(text) and not any(self._in_blob(blob) for blob in encoder.blobs)

    def _is_clean(self, text: str) -> bool:
        return self._finder.text(text) is text

    def _object(self, value: Any, depth: int) -> Any:
        """Some object: what the sandbox and the journal get of it is what the codec makes of it, and people its `repr`.

        Where that holds a secret, it is replaced by the same as plain data, or by its masked `repr`.
        """
        numbers = self._finder.numbers and _is_array(value) and value.dtype.kind in "iuf" and value.size <= _BIG
        if numbers and not self._is_clean(repr(value.ravel().tolist())):
            return self._opaque(value, _HOLDS.format(type(value).__name__))
        if _is_passed_over(value):
            return value
        shown = _repr(value)
        found = self._text(shown)
        if _is_array(value) and value.dtype.kind in "iu":
            if found is shown and not self._finder.in_numbers(value.tobytes(), value.dtype.itemsize):
                return value
            return self._opaque(value, found if found is not shown else _HOLDS.format(type(value).__name__))
        encoder = _Encoder(_LIMIT)
        try:
            text = dumps(encoder.value(value))
        except Exception:  # it cannot be sent or stored, and is seen as its `repr` alone
            return value if found is shown else self._opaque(value, found)
        if found is shown and self._is_sent_clean(text, encoder):
            return value
        return self._replaced(value, encoder, text, found, depth)

    def _in_blob(self, blob: bytes) -> bool:
        """Whether a text, bytes or an array, as it would be sent, holds a secret."""
        if len(blob) < _BIG or (blob.isascii() and b"\0" not in blob):
            return self._finder.raw(blob) is not blob
        return self._finder.in_numbers(blob)

    def _replaced(self, value: Any, encoder: Encoder, text: str, shown: str, depth: int) -> Any:
        plain = Decoder(encoder.blobs, limit=2 * _LIMIT).decode(text)
        if type(plain) in (Record, dict, list, tuple, set, frozenset, str, bytes, bytearray):
            found = self.masked(plain, depth)
            if found is not plain:
                return found
        if shown == _repr(value):  # which shows it in a form that is not known, such as the numbers of its characters
            shown = _HOLDS.format(type(value).__name__)
        return self._opaque(value, shown)


class _Encoder(Encoder):
    """Makes what is sent of a value, with the whole `repr` of what cannot be, and without pictures and numbers."""

    def value(self, value: Any) -> Any:
        """The JSON data of a value."""
        if type(value).__module__ != "builtins" and _is_passed_over(value):
            return None
        return super().value(value)

    def opaque(self, value: Any) -> Any:
        """What stands for a value that cannot be sent."""
        return {**super().opaque(value), "v": self._str(_repr(value))}


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)


def _remade(value: Any, items: Sequence[Any]) -> Any:
    """A list, tuple or set with other items."""
    if isinstance(value, list):
        return list(items)
    if isinstance(value, tuple):
        kind = cast("Any", type(cast("Any", value)))
        fields: tuple[str, ...] | None = getattr(kind, "_fields", None)
        if fields is None:
            return tuple(items)
        try:
            return kind(*items)
        except Exception:  # a class whose constructor does more than setting fields
            return Record(kind.__name__, dict(zip(fields, items, strict=False)))
    return frozenset(items) if isinstance(value, frozenset) else set(items)


def _is_passed_over(value: Any) -> bool:
    """Whether something is an image, of which only pixels are sent, or an array of numbers that are no characters."""
    if _is_array(value):
        return value.dtype.kind in "bfcmM" or (value.dtype.itemsize > _WIDEST and value.dtype.kind in "iu")
    kinds: tuple[type, ...] = type(value).__mro__
    return any(kind.__module__.startswith("PIL.") or kind.__name__ == "AgentImage" for kind in kinds)


def _is_array(value: Any) -> bool:
    kind = cast("type[Any]", type(value))
    return kind.__name__ == "ndarray" and kind.__module__ == "numpy"
