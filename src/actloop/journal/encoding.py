"""Events as lines of JSON, and back. Values of tools and programs go through the same codec as in the sandbox.

What is large (images, sounds, bytes, long texts, long values) is put apart by its hash where the journal keeps such
blobs: an answer that occurs in four events of a run, or a screenshot shown in twenty steps, is then kept once.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, cast

from actloop.guest import MAX_VALUE, Decoder, EncodeError, Encoder, Opaque, WireError, to_json
from actloop.guest.encode import dumps, escaped
from actloop.guest.wire import TAG
from actloop.values.events import from_dict, to_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.values.events import Event

VALUES = ("variables", "images", "args", "kwargs", "result", "output", "answer")
"""Fields that may hold any Python object."""

_OF_SEVERAL = frozenset({"variables", "images", "args", "kwargs"})

APART = 4096
"""Bytes or characters from which on a part of an event is put apart."""

_SCHEME = "sha256:"  # the colon is no character of base64
_STORED = "stored"
_TIME = re.compile(r'"time":[^,}]*')
_DEEPEST = 2  # a field with several values, and one of these
_ENCODED_LIMIT, _DECODED_LIMIT = 4 * MAX_VALUE, 8 * MAX_VALUE


def reference(data: bytes) -> str:
    """The name of a blob: that of its hash."""
    return _SCHEME + hashlib.sha256(data).hexdigest()


def encode(event: Event) -> str:
    """An event as one line, whole. A value that cannot be encoded is replaced by a notice."""
    return _encode(event, None)


def encode_apart(event: Event) -> tuple[str, dict[str, bytes]]:
    """As `encode`, with what is large put apart: the line, and the blobs that it names, by their references."""
    blobs: dict[str, bytes] = {}
    return _encode(event, blobs), blobs


def restamped(line: str, time: float) -> str:
    """A line that `encode` or `encode_apart` wrote, with another time."""
    return _TIME.sub(lambda _: f'"time":{dumps(time)}', line, count=1)  # the first there is: only the kind is before it


def _encode(event: Event, blobs: dict[str, bytes] | None) -> str:
    data = to_dict(event)
    message = data.get("message")
    if message is not None:
        message["role"] = str(message["role"])
    try:
        return _line(data, blobs)
    except EncodeError:
        for name in VALUES:
            if name in data:
                data[name] = _encodable(data[name])
        return _line(data, blobs)


def _line(data: dict[str, Any], blobs: dict[str, bytes] | None) -> str:
    encoder = _Encoder(blobs)
    try:
        fields = {name: encoder.value(value) for name, value in data.items()}
        text = dumps(fields)
        if blobs is not None and len(text) > APART:
            for name in VALUES:
                if name in fields:
                    fields[name] = encoder.stored(fields[name], parts=name in _OF_SEVERAL)
            text = dumps(fields)
    except RecursionError:
        raise EncodeError("the value is nested too deeply to be stored") from None
    return escaped(text)


class _Encoder(Encoder):
    """Puts what is large apart, where there is a place for it."""

    def __init__(self, apart: dict[str, bytes] | None) -> None:
        super().__init__(_ENCODED_LIMIT, inline=True)
        self._apart = apart

    def blob(self, data: bytes | bytearray | memoryview) -> int | str:
        if self._apart is None or len(data) <= APART:
            return super().blob(data)
        raw = bytes(data)
        self._spend(len(raw))
        name = reference(raw)
        self._apart[name] = raw
        return name

    def stored(self, data: Any, *, parts: bool) -> Any:
        """JSON data of a value, put apart if it is large; of a field with several values, each of them first."""
        whole: Any = data
        if parts and isinstance(data, list):
            whole = [self.stored(item, parts=False) for item in cast("list[Any]", data)]
        elif parts and isinstance(data, dict) and TAG not in data:
            items = cast("dict[str, Any]", data).items()
            whole = {name: self.stored(item, parts=False) for name, item in items}
        text = dumps(whole)
        return {TAG: _STORED, "b": self.blob(escaped(text).encode())} if len(text) > APART else whole

    def _str(self, value: str) -> Any:
        if self._apart is None or len(value) <= APART:
            return super()._str(value)
        return {TAG: "str", "b": self.blob(value.encode("utf-8", "surrogatepass"))}


def _encodable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _encodable_part(part) for key, part in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_encodable_part(part) for part in cast("list[Any]", value)]
    return _encodable_part(value)


def _encodable_part(value: Any) -> Any:
    try:
        to_json(value)
    except EncodeError as error:
        return Opaque(f"<a value of {type(value).__name__} that was not recorded: {error}>", type(value).__name__)
    return value


def decode(text: str, fetch: Callable[[str], bytes | None] | None = None, *, texts_only: bool = False) -> Event | None:
    """The event that `encode` wrote; None for a kind that this version does not know, or a line that makes no sense.

    Args:
        text: The line.
        fetch: Gives a blob by its reference, None for one that is not there; a notice then stands for the value.
        texts_only: Fetch only texts; a notice stands for all other blobs.
    """
    try:
        return from_dict(_Decoder(fetch, texts_only).decode(text.strip()))
    except (WireError, ValueError, TypeError, KeyError, AttributeError):
        return None


class _Decoder(Decoder):
    def __init__(self, fetch: Callable[[str], bytes | None] | None, texts_only: bool, depth: int = 0) -> None:
        super().__init__(inline=True, limit=_DECODED_LIMIT)
        self._fetch = fetch
        self._texts_only = texts_only
        self._depth = depth

    def _object(self, pairs: list[tuple[str, Any]]) -> Any:
        fields = dict(pairs)
        name, tag = fields.get("b"), fields.get(TAG)
        if tag is None or not isinstance(name, str) or not name.startswith(_SCHEME):
            return super()._object(pairs)
        if self._texts_only and tag != "str":
            return Opaque("<left out>", str(tag))
        data = self._fetch(name) if self._fetch is not None else None
        if data is None or reference(data) != name:
            if tag == "str":
                return "<this text is missing from the journal>"
            return Opaque(f"<a value that is missing from the journal: {name}>", str(tag))
        if tag == _STORED and self._depth < _DEEPEST:
            return _Decoder(self._fetch, self._texts_only, self._depth + 1).decode(data.decode())
        self._fetched = data
        return super()._object(pairs)

    def blob(self, fields: dict[str, Any]) -> bytes:
        name = fields.get("b")
        if isinstance(name, str) and name.startswith(_SCHEME):
            return self._fetched
        return super().blob(fields)
