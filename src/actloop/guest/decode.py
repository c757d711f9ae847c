"""JSON data and blobs to values.

All of it is untrusted: decoding raises nothing but `WireError`, and allocates no more than a fixed multiple of the
limit it was given.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NoReturn

from .decoders import (
    UnknownZoneError,
    decode_audio,
    decode_bytes,
    decode_complex,
    decode_date,
    decode_datetime,
    decode_decimal,
    decode_dict,
    decode_float,
    decode_fraction,
    decode_int,
    decode_opaque,
    decode_path,
    decode_range,
    decode_record,
    decode_set,
    decode_str,
    decode_timedelta,
    decode_timezone,
    decode_tuple,
    decode_uuid,
)
from .library_decoders import decode_array, decode_image, decode_pandas
from .values import Opaque, WireError
from .wire import JSON_DEPTH, MAX_DIGITS, MAX_VALUE, PIXELS, TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


_STRINGS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


def check_json(text: str, limit: int) -> None:
    """Refuse JSON text that nests too deeply or that would take far more memory than its own length, in linear time."""
    bare = text
    if _weight(text) > 8 * limit:
        bare = _STRINGS.sub("", text)
        if _weight(bare) > 8 * limit:
            raise WireError("too many parts")
    if bare.count("[") + bare.count("{") > JSON_DEPTH:
        if bare is text and '"' in text:
            bare = _STRINGS.sub("", text)
        if _nesting(bare) > JSON_DEPTH:
            raise WireError("nested too deeply")


_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


def _nesting(text: str) -> int:
    """How deeply the brackets of a text nest. Where they do not match, a parser ends before it gets any deeper."""
    steps = text.encode("utf-8", "surrogatepass").translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0)


def _weight(text: str) -> int:
    """About how many bytes the objects of some JSON text take in memory, strings aside."""
    return 256 * text.count("{") + 72 * text.count("[") + 48 * text.count(",") + 64 * text.count(":")


def _parse_int(text: str) -> int:
    if len(text) > MAX_DIGITS + 1:
        raise WireError("a number is too long")
    return int(text)


def _parse_float(text: str) -> float:
    """As the parser does it in C; but between two calls of Python, other threads get a turn."""
    return float(text)


def _no_constant(text: str) -> NoReturn:
    raise WireError(f"{text[:20]} is not JSON")


def _plain_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise WireError("a field occurs twice")
    return fields


def _json_decoder(hook: Callable[[list[tuple[str, Any]]], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=hook, parse_int=_parse_int, parse_float=_parse_float, parse_constant=_no_constant
    )


def _scan(decoder: Any, text: str) -> Any:
    value, end = decoder.scan_once(text, 0)
    if end != len(text):
        raise WireError("something follows the value")
    return value


_plain_decoder = _json_decoder(_plain_object)
_short_decoder = json.JSONDecoder(object_pairs_hook=_plain_object, parse_constant=_no_constant)
_TAGGED = f'"{TAG}"'


def is_short(text: str) -> bool:
    """Whether some JSON text is for `decode_short`: it holds no more than JSON data and can grow into nothing large."""
    return len(text) <= JSON_DEPTH and _TAGGED not in text and "\\u0024" not in text


def decode_short(text: str) -> Any:
    """The JSON data that a short text stands for.

    Raises:
        WireError: It is none.
    """
    try:
        return _scan(_short_decoder, text)
    except WireError:
        raise
    except (Exception, RecursionError) as error:
        raise WireError(f"not a value: {type(error).__name__}: {str(error)[:200]}") from None


class Decoder:
    """Turns JSON text and blobs back into a value; raises `WireError` only.

    Args:
        blobs: The blobs, each to be used once.
        inline: Blobs are in the JSON text, in base64.
        limit: Bytes that JSON text and blobs may take; memory is bounded by a multiple of it.
        held: Values that were sent as handles, by these; None where the handles are kept.
    """

    def __init__(
        self,
        blobs: Sequence[bytes] = (),
        *,
        inline: bool = False,
        limit: int = MAX_VALUE,
        held: Mapping[int, Any] | None = None,
    ) -> None:
        self.held = held
        self._blobs: list[bytes | None] = list(blobs)
        self.pixels = PIXELS * limit
        self._inline = inline
        self._limit = limit

    def decode(self, text: str) -> Any:
        """The value that some JSON text stands for."""
        try:
            if len(text) > self._limit:
                raise WireError("too long")
            if len(text) > JSON_DEPTH:  # a shorter one can neither nest too deeply nor grow
                check_json(text, self._limit)
            if _TAGGED not in text and "\\u0024" not in text:
                return _scan(_plain_decoder, text)
            return _scan(_json_decoder(self._object), text)
        except WireError:
            raise
        except (Exception, RecursionError, MemoryError) as error:
            raise WireError(f"not a value: {type(error).__name__}: {str(error)[:200]}") from None

    def _object(self, pairs: list[tuple[str, Any]]) -> Any:
        fields = _plain_object(pairs)
        if TAG not in fields:
            return fields
        tag = fields[TAG]
        decode = _DECODERS.get(tag) if type(tag) is str else None
        if decode is None:
            raise WireError("an unknown kind of value")
        try:
            return decode(self, fields)
        except UnknownZoneError as error:
            return Opaque(f"<{tag} of the time zone {str(error)!r}, which is not known here>", tag)

    def blob(self, fields: dict[str, Any]) -> bytes:
        """The bytes that the field `b` stands for."""
        place = fields.get("b")
        if self._inline:
            import base64

            if type(place) is not str:
                raise WireError("bytes are missing")
            return base64.b64decode(place, validate=True)
        if type(place) is not int or not 0 <= place < len(self._blobs):
            raise WireError("no such blob")
        data = self._blobs[place]
        if data is None:
            raise WireError("a blob is used twice")
        self._blobs[place] = None
        return data


_DECODERS: dict[str, Callable[[Decoder, dict[str, Any]], Any]] = {
    "float": decode_float,
    "str": decode_str,
    "int": decode_int,
    "dict": decode_dict,
    "tuple": decode_tuple,
    "set": decode_set,
    "frozenset": decode_set,
    "bytes": decode_bytes,
    "bytearray": decode_bytes,
    "complex": decode_complex,
    "range": decode_range,
    "record": decode_record,
    "opaque": decode_opaque,
    "datetime": decode_datetime,
    "time": decode_datetime,
    "date": decode_date,
    "timedelta": decode_timedelta,
    "timezone": decode_timezone,
    "decimal": decode_decimal,
    "fraction": decode_fraction,
    "uuid": decode_uuid,
    "path": decode_path,
    "image": decode_image,
    "audio": decode_audio,
    "array": decode_array,
    "scalar": decode_array,
    "frame": decode_pandas,
    "series": decode_pandas,
    "index": decode_pandas,
}


def from_json(text: str, limit: int = 8 * MAX_VALUE) -> Any:
    """The value that `to_json` wrote.

    Raises:
        WireError: The text is malformed.
    """
    return Decoder(inline=True, limit=limit).decode(text.strip())
