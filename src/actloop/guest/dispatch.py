"""Which function writes a value down, by its class."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from .encoders import (
    as_dict,
    as_list,
    as_plain,
    encode_agent_audio,
    encode_attrs,
    encode_audio,
    encode_bytearray,
    encode_bytes,
    encode_complex,
    encode_dataclass,
    encode_date,
    encode_datetime,
    encode_decimal,
    encode_enum,
    encode_exception,
    encode_fraction,
    encode_frozenset,
    encode_memoryview,
    encode_namedtuple,
    encode_nothing,
    encode_opaque,
    encode_path,
    encode_pydantic,
    encode_range,
    encode_record,
    encode_set,
    encode_time,
    encode_timedelta,
    encode_timezone,
    encode_tuple,
    encode_uuid,
)
from .library_encoders import (
    encode_array,
    encode_frame,
    encode_image,
    encode_moment,
    encode_pandas_index,
    encode_scalar,
    encode_series,
    encode_span,
)
from .values import Audio, Opaque, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from .encode import Encoder


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


_BY_NAME: dict[str, Callable[[Encoder, Any], Any]] = {
    "builtins.bytes": encode_bytes,
    "builtins.bytearray": encode_bytearray,
    "builtins.complex": encode_complex,
    "builtins.range": encode_range,
    "builtins.memoryview": encode_memoryview,
    "builtins.mappingproxy": as_dict,
    "collections.deque": as_list,
    "datetime.datetime": encode_datetime,
    "datetime.date": encode_date,
    "datetime.time": encode_time,
    "datetime.timedelta": encode_timedelta,
    "datetime.timezone": encode_timezone,
    "zoneinfo.ZoneInfo": encode_timezone,
    "zoneinfo._zoneinfo.ZoneInfo": encode_timezone,
    "decimal.Decimal": encode_decimal,
    "fractions.Fraction": encode_fraction,
    "uuid.UUID": encode_uuid,
    "numpy.ndarray": encode_array,
    "numpy.generic": encode_scalar,
    "pandas.Timestamp": encode_moment,
    "pandas.Timedelta": encode_span,
    "pandas.NaT": encode_nothing,
}


def _class_in(module: str, name: str) -> Any:
    """A class of a module that is already imported, or None."""
    return getattr(sys.modules.get(module), name, None)


def _is(kind: type, module: str, name: str) -> bool:
    found = _class_in(module, name)
    return isinstance(found, type) and issubclass(kind, found)


_FAMILIES: list[tuple[str, str, Callable[[Encoder, Any], Any]]] = [
    ("enum", "Enum", encode_enum),
    ("datetime", "timedelta", encode_timedelta),
    ("numpy", "generic", encode_scalar),
    ("numpy", "ndarray", encode_array),
    ("pandas", "DataFrame", encode_frame),
    ("pandas", "Series", encode_series),
    ("pandas", "Index", encode_pandas_index),
    ("PIL.Image", "Image", encode_image),
    ("actloop.tools.types", "AgentAudio", encode_agent_audio),
    ("pathlib", "PurePath", encode_path),
    ("decimal", "Decimal", encode_decimal),
    ("fractions", "Fraction", encode_fraction),
    ("uuid", "UUID", encode_uuid),
    ("datetime", "datetime", encode_datetime),
    ("datetime", "date", encode_date),
    ("datetime", "time", encode_time),
]


def _find_encoder(kind: Any) -> Callable[[Encoder, Any], Any] | None:
    if kind.__module__.startswith("pandas."):
        for name, encode in (("Timedelta", encode_span), ("Timestamp", encode_moment)):
            if _is(kind, "pandas", name):
                return encode
        if kind.__name__ in ("NaTType", "NAType"):
            return encode_nothing
    if (
        kind.__module__ in ("builtins", "collections", "datetime", "decimal", "fractions", "uuid")
        or "." in kind.__module__
    ):
        encode = _BY_NAME.get(_full_name(kind))
        if encode is not None and (kind.__module__ == "builtins" or _class_in(kind.__module__, kind.__name__) is kind):
            return encode
    if kind.__name__ == "ZoneInfo" and _is(kind, "zoneinfo", "ZoneInfo"):
        return encode_timezone
    if kind is Record:
        return encode_record
    if kind is Opaque:
        return encode_opaque
    if kind is Audio:
        return encode_audio
    for module, name, encode in _FAMILIES:
        if _is(kind, module, name):
            return encode
    if isinstance(getattr(kind, "__dataclass_fields__", None), dict):
        return encode_dataclass
    if issubclass(kind, tuple):
        return encode_namedtuple if hasattr(cast("Any", kind), "_fields") else encode_tuple
    if isinstance(getattr(kind, "model_fields", None), dict) and hasattr(kind, "model_dump"):
        return encode_pydantic
    if hasattr(kind, "__attrs_attrs__"):
        return encode_attrs
    bases: list[tuple[type, Callable[[Encoder, Any], Any]]] = [
        (BaseException, encode_exception),
        (dict, as_dict),
        (list, as_list),
        (set, encode_set),
        (frozenset, encode_frozenset),
        (str, as_plain(str)),
        (int, as_plain(int)),
        (float, as_plain(float)),
        (bytes, encode_bytes),
        (bytearray, encode_bytearray),
        (complex, encode_complex),
    ]
    return next((encode for base, encode in bases if issubclass(kind, base)), None)


_found: dict[type, Callable[[Encoder, Any], Any] | None] = {}
LEAVES: set[Callable[[Encoder, Any], Any]] = {
    encode_bytes,
    encode_bytearray,
    encode_complex,
    encode_range,
    encode_opaque,
    encode_datetime,
    encode_date,
    encode_time,
    encode_timedelta,
    encode_decimal,
    encode_fraction,
    encode_uuid,
    encode_path,
}


def encoder_of(kind: type) -> Callable[[Encoder, Any], Any] | None:
    try:
        return _found[kind]
    except KeyError:
        pass
    encode = _find_encoder(kind)
    if len(_found) < 1000:  # classes made in a loop must not fill the memory
        _found[kind] = encode
    return encode
