"""How values of the standard library are read back, tag by tag.

Each function takes the decoder and the fields of a tagged JSON object; whatever it raises becomes a `WireError`.
"""

from __future__ import annotations

import os
import re
from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

from .values import Audio, Opaque, Record, WireError
from .wire import MAX_RATIO, MAX_SAMPLE_RATE, TAG

if TYPE_CHECKING:
    from .decode import Decoder

_MAX_COLLISIONS = 64


class UnknownZoneError(WireError):
    """A value is of a time zone that the database here does not have, or there is no database."""


def field_of(fields: dict[str, Any], name: str, kind: type) -> Any:
    """A field of exactly that class."""
    value = fields.get(name)
    if type(value) is not kind:
        raise WireError(f"the field {name} is not of type {kind.__name__}")
    return value


def numbers_of(values: Any, count: int, kind: type = int) -> list[Any]:
    """A list of that many numbers of exactly that class."""
    if type(values) is not list or len(cast("list[Any]", values)) != count:
        raise WireError(f"{count} numbers were expected")
    numbers = cast("list[Any]", values)
    if any(type(number) is not kind for number in numbers):
        raise WireError(f"numbers of type {kind.__name__} were expected")
    return numbers


def _distinct(keys: list[Any]) -> None:
    """Refuse keys that cannot be hashed, that are equal, or that were made to collide."""
    if len(keys) > _MAX_COLLISIONS:
        from collections import Counter

        worst = Counter(map(hash, keys)).most_common(1)[0][1]
        if worst > _MAX_COLLISIONS:
            raise WireError("keys collide")


def spread(values: list[Any]) -> None:
    """Refuse values that were made to collide; the same one may occur often."""
    from collections import Counter

    crowded = {number for number, count in Counter(map(hash, values)).items() if count > _MAX_COLLISIONS}
    different: dict[int, list[Any]] = {}
    for value in values if crowded else ():
        if hash(value) in crowded:
            known = different.setdefault(hash(value), [])
            if value not in known:
                known.append(value)
                if len(known) > _MAX_COLLISIONS:
                    raise WireError("values collide")


def decode_float(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    text = field_of(fields, "v", str)
    if text not in ("nan", "inf", "-inf"):
        raise WireError("not a float")
    return float(text)


def decode_str(decoder: Decoder, fields: dict[str, Any]) -> Any:
    return decoder.blob(fields).decode("utf-8", "surrogatepass")


def decode_audio(decoder: Decoder, fields: dict[str, Any]) -> Any:
    rate = fields.get("r")
    if rate is not None and (type(rate) is not int or not 0 < rate <= MAX_SAMPLE_RATE):
        raise WireError("not a sample rate")
    return Audio(decoder.blob(fields), rate)


def decode_int(decoder: Decoder, fields: dict[str, Any]) -> Any:
    return int.from_bytes(decoder.blob(fields), "big", signed=True)


def decode_dict(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    pairs = field_of(fields, "v", list)
    for pair in pairs:
        if type(pair) is not list or len(cast("list[Any]", pair)) != 2:
            raise WireError("not a pair")
    _distinct([key for key, _ in pairs])
    value = dict(pairs)
    if len(value) != len(pairs):
        raise WireError("a key occurs twice")
    return value


def decode_tuple(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    return tuple(field_of(fields, "v", list))


def decode_set(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    items = field_of(fields, "v", list)
    _distinct(items)
    value = set(items)
    if len(value) != len(items):
        raise WireError("a member occurs twice")
    return value if fields[TAG] == "set" else frozenset(value)


def decode_bytes(decoder: Decoder, fields: dict[str, Any]) -> Any:
    data = decoder.blob(fields)
    return data if fields[TAG] == "bytes" else bytearray(data)


def decode_complex(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    return complex(*numbers_of(fields.get("v"), 2, float))


def decode_range(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    return range(*numbers_of(fields.get("v"), 3))


def decode_record(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    parts = field_of(fields, "f", dict)
    if any(type(name) is not str for name in parts):
        raise WireError("a field's name is not text")
    return Record(field_of(fields, "n", str), parts)


def decode_opaque(decoder: Decoder, fields: dict[str, Any]) -> Any:
    text, name, handle = field_of(fields, "v", str), field_of(fields, "n", str), fields.get("h")
    if handle is not None and type(handle) is not int:
        raise WireError("a handle is not a number")
    if decoder.held is None:
        return Opaque(text, name, handle)
    return Opaque(text, name) if handle is None else decoder.held.get(handle, Opaque(text, name))


def zone_of(data: Any) -> Any:
    """A time zone as `encoders` writes it down."""
    from datetime import timedelta, timezone

    if data is None:
        return None
    if type(data) is not dict:
        raise WireError("not a time zone")
    fields = cast("dict[str, Any]", data)
    key, offset, name = fields.get("key"), fields.get("offset"), fields.get("name")
    if offset is not None and (type(offset) is not int or abs(offset) >= 86_400_000_000):
        raise WireError("not an offset of a time zone")
    if key is not None:
        if type(key) is not str or len(key) > 64 or not re.fullmatch(r"[A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+)*", key):
            raise WireError("not the name of a time zone")
        from zoneinfo import ZoneInfo

        try:
            return ZoneInfo(key)
        except Exception as error:
            if offset is None:
                raise UnknownZoneError(key) from error
            name = key
    if offset is None:
        raise WireError("a time zone without an offset")
    if name is None:
        return timezone(timedelta(microseconds=offset)) if offset else UTC
    if type(name) is not str:
        raise WireError("not the name of a time zone")
    return timezone(timedelta(microseconds=offset), name)


def decode_datetime(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import datetime as dt

    fold = fields.get("fold")
    if type(fold) is not int or fold not in (0, 1):
        raise WireError("not a fold")
    text = field_of(fields, "v", str)
    kind = dt.datetime if fields[TAG] == "datetime" else dt.time
    value = kind.fromisoformat(text)
    if value.tzinfo is not None:
        raise WireError("not a date")
    return value.replace(tzinfo=zone_of(fields.get("zone")), fold=fold)


def decode_date(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import datetime as dt

    return dt.date.fromisoformat(field_of(fields, "v", str))


def decode_timedelta(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import datetime as dt

    return dt.timedelta(*numbers_of(fields.get("v"), 3))


def decode_timezone(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    return zone_of(field_of(fields, "v", dict))


def decode_decimal(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import decimal

    return decimal.Decimal(field_of(fields, "v", str))


def decode_fraction(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import fractions

    above, below = numbers_of(fields.get("v"), 2)
    if below <= 0 or max(above.bit_length(), below.bit_length()) > 8 * MAX_RATIO:
        raise WireError("not a fraction")
    return fractions.Fraction(above, below)


def decode_uuid(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import uuid

    return uuid.UUID(hex=field_of(fields, "v", str))


def decode_path(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import pathlib

    text = field_of(fields, "v", str)
    windows = field_of(fields, "flavour", str) == "windows"
    if field_of(fields, "concrete", bool) and windows == (os.name == "nt"):
        return pathlib.Path(text)
    return pathlib.PureWindowsPath(text) if windows else pathlib.PurePosixPath(text)
