"""How values of the standard library are written down, class by class.

Each function takes the encoder and a value and returns JSON data.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from .values import Audio, EncodeError, Opaque, Record
from .wire import MAX_RATIO, SHORT, TAG

if TYPE_CHECKING:
    from collections.abc import Callable

    from .encode import Encoder


def _sequence(tag: str) -> Callable[[Encoder, Any], Any]:
    def encode(encoder: Encoder, value: Any) -> Any:
        return {TAG: tag, "v": encoder.items(value, len(value))}

    return encode


def as_list(encoder: Encoder, value: Any) -> Any:
    return encoder.list(list(value))


def as_dict(encoder: Encoder, value: Any) -> Any:
    return encoder.dict(dict(value))


encode_tuple = _sequence("tuple")
encode_set = _sequence("set")
encode_frozenset = _sequence("frozenset")


def encode_bytes(encoder: Encoder, value: Any) -> Any:
    return {TAG: "bytes", "b": encoder.blob(value)}


def encode_bytearray(encoder: Encoder, value: Any) -> Any:
    return {TAG: "bytearray", "b": encoder.blob(value)}


def encode_complex(encoder: Encoder, value: Any) -> Any:
    return {TAG: "complex", "v": [encoder.value(value.real), encoder.value(value.imag)]}


def encode_range(encoder: Encoder, value: Any) -> Any:
    return {TAG: "range", "v": [encoder.value(part) for part in (value.start, value.stop, value.step)]}


def encode_record(encoder: Encoder, value: Record) -> Any:
    return encoder.record(value.record_type, value.record_fields)


def encode_opaque(encoder: Encoder, value: Opaque) -> Any:
    data = {TAG: "opaque", "v": encoder.value(value.text), "n": value.type_name[:SHORT]}
    return data if value.handle is None else {**data, "h": value.handle}


def encode_audio(encoder: Encoder, value: Audio) -> Any:
    return {TAG: "audio", "b": encoder.blob(value.data), "r": value.samplerate}


def encode_agent_audio(encoder: Encoder, value: Any) -> Any:
    """The host's own class of sounds."""
    try:
        return encode_audio(encoder, value.to_audio())
    except EncodeError:
        raise
    except (OSError, ValueError) as error:
        raise EncodeError(f"the sound cannot be read: {error}") from None


def _encode_zone(value: Any, moment: Any) -> Any:
    """A time zone: None, a key of the zone database, or a fixed offset in microseconds."""
    if value is None:
        return None
    datetime = sys.modules["datetime"]
    key = getattr(value, "key", None)
    offset = value.utcoffset(moment)
    micros = None if offset is None else offset // datetime.timedelta(microseconds=1)
    if type(value).__name__ == "ZoneInfo" and isinstance(key, str):
        return {"key": key, "offset": micros}
    if micros is None:
        raise EncodeError(f"the time zone {value!r} has no offset without a date")
    plain = type(value) is datetime.timezone and value == datetime.timezone(offset) and repr(value).count(",") == 0
    name = None if plain or value is datetime.timezone.utc else value.tzname(moment)
    if name is not None and name == datetime.timezone(offset).tzname(None):
        name = None
    return {"key": None, "offset": micros, "name": name}


def encode_datetime(_encoder: Encoder, value: Any) -> Any:
    zone = _encode_zone(value.tzinfo, value)
    return {TAG: "datetime", "v": value.replace(tzinfo=None).isoformat(), "fold": value.fold, "zone": zone}


def encode_time(_encoder: Encoder, value: Any) -> Any:
    zone = _encode_zone(value.tzinfo, None)
    return {TAG: "time", "v": value.replace(tzinfo=None).isoformat(), "fold": value.fold, "zone": zone}


def encode_date(_encoder: Encoder, value: Any) -> Any:
    return {TAG: "date", "v": value.isoformat()}


def encode_timedelta(_encoder: Encoder, value: Any) -> Any:
    return {TAG: "timedelta", "v": [value.days, value.seconds, value.microseconds]}


def encode_timezone(_encoder: Encoder, value: Any) -> Any:
    return {TAG: "timezone", "v": _encode_zone(value, None)}


def encode_decimal(encoder: Encoder, value: Any) -> Any:
    return {TAG: "decimal", "v": encoder.value(str(value))}


def encode_fraction(encoder: Encoder, value: Any) -> Any:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 8 * MAX_RATIO:
        raise EncodeError("the fraction is too large to be sent")
    return {TAG: "fraction", "v": [encoder.value(value.numerator), encoder.value(value.denominator)]}


def encode_uuid(_encoder: Encoder, value: Any) -> Any:
    return {TAG: "uuid", "v": value.hex}


def encode_path(encoder: Encoder, value: Any) -> Any:
    pathlib = sys.modules["pathlib"]
    flavour = "windows" if isinstance(value, pathlib.PureWindowsPath) else "posix"
    concrete = isinstance(value, pathlib.Path)
    return {TAG: "path", "v": encoder.value(str(value)), "flavour": flavour, "concrete": concrete}


def encode_enum(encoder: Encoder, value: Any) -> Any:
    return encoder.record(type(value).__name__, {"name": value.name, "value": value.value})


def encode_namedtuple(encoder: Encoder, value: Any) -> Any:
    kind = cast("Any", type(value))
    return encoder.record(kind.__name__, dict(zip(kind._fields, value, strict=False)))


def encode_dataclass(encoder: Encoder, value: Any) -> Any:
    kind = cast("Any", type(value))
    names = [name for name in kind.__dataclass_fields__ if hasattr(value, name)]
    return encoder.record(kind.__name__, {name: getattr(value, name) for name in names})


def encode_attrs(encoder: Encoder, value: Any) -> Any:
    kind = cast("Any", type(value))
    names = [part.name for part in kind.__attrs_attrs__]
    return encoder.record(kind.__name__, {name: getattr(value, name) for name in names})


def encode_pydantic(encoder: Encoder, value: Any) -> Any:
    kind = cast("Any", type(value))
    fields = {name: getattr(value, name) for name in kind.model_fields}
    fields.update(getattr(value, "__pydantic_extra__", None) or {})
    return encoder.record(kind.__name__, fields)


def encode_exception(encoder: Encoder, value: BaseException) -> Any:
    try:
        message = str(value)
    except Exception:
        message = ""
    return encoder.record(type(value).__name__, {"message": message, "args": value.args})


def encode_memoryview(encoder: Encoder, value: Any) -> Any:
    return {TAG: "bytes", "b": encoder.blob(value.tobytes())}


def encode_nothing(_encoder: Encoder, _value: Any) -> Any:
    return None


def as_plain(base: type) -> Callable[[Encoder, Any], Any]:
    """Encode a value of a subclass of a plain type as that type."""

    def encode(encoder: Encoder, value: Any) -> Any:
        return encoder.value(base.__new__(base, base.__str__(value) if base is str else value))

    def encode_number(encoder: Encoder, value: Any) -> Any:
        convert: Any = base.__int__ if base is int else base.__float__  # type: ignore[attr-defined]
        return encoder.value(convert(value))

    return encode_number if base in (int, float) else encode
