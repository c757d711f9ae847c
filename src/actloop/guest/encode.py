"""Values to JSON data and blobs."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, cast

from .dispatch import LEAVES, encoder_of
from .encoders import as_list, encode_frozenset, encode_set, encode_tuple
from .values import EncodeError, safe_repr, type_of
from .wire import MAX_BLOBS, MAX_DEPTH, MAX_DIGITS, MAX_VALUE, PIXELS, SHORT, TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


_LONG = 1 << 64
"""A number that is longer may be too long for JSON data."""

_TURN = 1 << 16
"""Bytes of JSON data after which other threads get a turn."""


class Encoder:
    """Turns a value into JSON data and a list of blobs.

    Args:
        limit: Bytes that both together may take.
        inline: Write blobs into the JSON data, in base64.
    """

    def __init__(
        self,
        limit: int = MAX_VALUE,
        *,
        inline: bool = False,
        keep: Callable[[Any], int | None] | None = None,
    ) -> None:
        self.keep = keep
        self.blobs: list[bytes] = []
        self._limit = limit
        self._left = limit
        self._next_turn = limit - _TURN
        self.pixels = PIXELS * limit
        self._inline = inline
        self._open: set[int] = set()

    def text(self, value: Any) -> str:
        """The JSON text of a value.

        Raises:
            EncodeError: It contains itself, is nested too deeply or takes too many bytes.
        """
        try:
            text = dumps(self.value(value))
        except RecursionError:
            raise EncodeError("the value is nested too deeply to be sent") from None
        if len(text) > self._limit:
            raise self._too_large()
        return text

    def value(self, value: Any) -> Any:
        """The JSON data of a value."""
        kind = type_of(value)
        if kind is str:
            return self._str(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return self._int(value)
        if kind is float:
            return value if math.isfinite(value) else {TAG: "float", "v": repr(value)}
        self._spend(8)
        if kind in _CONTAINERS:
            return self._container(value, _CONTAINERS[kind])
        encode = encoder_of(kind)
        if encode is None:
            return self.opaque(value)
        if encode in LEAVES:
            return encode(self, value)
        return self._container(value, encode)

    def blob(self, data: bytes | bytearray | memoryview) -> int | str:
        """Put bytes aside; what is returned stands for them in the JSON data."""
        raw = bytes(data)
        self._spend(len(raw))
        if self._inline:
            import base64

            return base64.b64encode(raw).decode("ascii")
        if len(self.blobs) >= MAX_BLOBS:
            raise EncodeError("the value has too many parts to be sent")
        self.blobs.append(raw)
        return len(self.blobs) - 1

    def items(self, values: Iterable[Any], length: int) -> list[Any]:
        """The JSON data of several values."""
        self._spend(4 * length)
        return self._with_turns([self.value(value) for value in values])

    def _with_turns(self, data: list[Any]) -> list[Any]:
        """Have other threads get a turn now and then while a long list, or the last of many, is written."""
        if self._left < self._next_turn and data:
            self._next_turn = self._left - _TURN
            for place in range(0, len(data), _TURN // 4):
                data[place] = _Turn(data[place])
        return data

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise self._too_large()

    def _too_large(self) -> EncodeError:
        return EncodeError(f"the value is too large to be sent: at most {self._limit:,} bytes may cross at once")

    def _str(self, value: str) -> Any:
        if len(value) <= SHORT:
            self._spend(len(value))
            return value
        if self._inline:
            self._spend(len(value))
            return value
        return {TAG: "str", "b": self.blob(value.encode("utf-8", "surrogatepass"))}

    def _int(self, value: int) -> Any:
        self._spend(2)
        if -_LONG < value < _LONG:
            return value
        size = value.bit_length() // 8 + 1
        if size < MAX_DIGITS // 3:
            return value
        return {TAG: "int", "b": self.blob(value.to_bytes(size, "big", signed=True))}

    def _container(self, value: Any, encode: Callable[[Encoder, Any], Any]) -> Any:
        identity = id(value)
        if identity in self._open:
            raise EncodeError(f"the {type(value).__name__} contains itself, so it cannot be sent")
        if len(self._open) >= MAX_DEPTH:
            raise EncodeError(f"the value is nested too deeply to be sent: at most {MAX_DEPTH} levels")
        self._open.add(identity)
        try:
            return encode(self, value)
        finally:
            self._open.discard(identity)

    def list(self, value: list[Any]) -> Any:
        """A list, quickly if all its items are plain numbers or short strings."""
        if len(value) > 16:
            kinds = set(map(type, value))
            if len(kinds) == 1:
                kind = kinds.pop()
                if (
                    (kind is int and min(value) > -(1 << 64) and max(value) < 1 << 64)
                    or (kind is float and all(map(math.isfinite, value)))
                    or (kind is str and max(map(len, value)) <= SHORT)
                ):
                    self._spend(4 * len(value) if kind is not str else sum(map(len, value)))
                    return self._with_turns(list(value))
        return self.items(value, len(value))

    def dict(self, value: Mapping[Any, Any]) -> Any:
        """A dict: a JSON object when its keys are short strings, else a list of pairs."""
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if type(key) is not str or key == TAG or len(key) > SHORT:
                pairs = list(value.items())
                self._spend(4 * len(pairs))
                return {TAG: "dict", "v": [[self.value(key), self.value(item)] for key, item in pairs]}
            self._spend(4 + len(key))
            plain[key] = self.value(item)
            if self._left < self._next_turn:
                self._next_turn = self._left - _TURN
                plain[key] = _Turn(plain[key])
        return plain

    def record(self, name: str, fields: Mapping[str, Any]) -> Any:
        """An object as its class's name and its fields."""
        return {TAG: "record", "n": name[:SHORT], "f": self.dict({str(key): fields[key] for key in fields})}

    def opaque(self, value: Any) -> Any:
        """What stands for a value that cannot be sent."""
        data = {TAG: "opaque", "v": self._str(safe_repr(value)), "n": type(value).__name__[:SHORT]}
        handle = self.keep(value) if self.keep is not None else None
        return data if handle is None else {**data, "h": handle}


class _Turn:
    """JSON data at which other threads get a turn: what writes JSON in C would else keep them waiting to its end."""

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data


def _taken(turn: Any) -> Any:
    """What a turn stands for. That this is Python is all: between two calls of it, the interpreter's lock is free."""
    if type(turn) is not _Turn:
        raise TypeError(f"{type(turn).__name__} is no JSON data")
    return turn.data


def _make_dumps() -> Callable[[Any], str]:
    """`json.dumps` with the encoder made once instead of at each call, where it is written in C."""
    encoder = json.JSONEncoder(
        ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=_taken
    )
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    chunks = make(None, encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, False)
    return lambda data: "".join(chunks(data, 0))


dumps = _make_dumps()

_EMPTY: dict[str, Any] = {}
_CONTAINERS: dict[type, Callable[[Encoder, Any], Any]] = {
    list: Encoder.list,
    dict: Encoder.dict,
    tuple: encode_tuple,
    set: encode_set,
    frozenset: encode_frozenset,
    type(_EMPTY.keys()): as_list,
    type(_EMPTY.values()): as_list,
    type(_EMPTY.items()): as_list,
}


_MOST_PLAIN = 8
"""Items of a list or dict in a message that `is_plain` looks at: for more, an `Encoder` takes hardly longer."""


def is_plain(values: Iterable[object], *, nested: bool = True) -> bool:
    """Whether these values of a message are JSON data as they are, as those of most messages: short texts and numbers.

    Args:
        values: What may be sent as it is.
        nested: Also if some are lists and dicts of such values.
    """
    for value in values:
        if type(value) is str:
            if len(value) > SHORT:
                return False
        elif type(value) is int:
            if not -_LONG < value < _LONG:
                return False
        elif type(value) is list:
            items = cast("list[object]", value)
            if items and not (nested and len(items) <= _MOST_PLAIN and is_plain(items, nested=False)):
                return False
        elif type(value) is dict:
            if value and not (nested and _is_plain_dict(cast("dict[object, object]", value))):
                return False
        elif value is not None and type(value) is not bool:
            return False
    return True


def _is_plain_dict(value: Mapping[object, object]) -> bool:
    return (
        len(value) <= _MOST_PLAIN
        and TAG not in value
        and all(type(name) is str and len(name) <= SHORT for name in value)
        and is_plain(value.values(), nested=False)
    )


def to_json(value: Any, limit: int = 4 * MAX_VALUE) -> str:
    """A value as one JSON text, for files and databases.

    Raises:
        EncodeError: It contains itself, is nested too deeply or is larger than `limit` bytes.
    """
    return escaped(Encoder(limit, inline=True).text(value))


def escaped(text: str) -> str:
    """JSON text with halves of pairs of UTF-16 escaped: they are no text that a file or a database takes."""
    return text if text.isascii() else _SURROGATES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_SURROGATES = re.compile("[\ud800-\udfff]")
