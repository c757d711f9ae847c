"""The program that runs model-written code in a sandbox, and the protocol it speaks.

One file and nothing but the standard library, so that it can be copied into any sandbox. It holds, from the bottom
up: the value codec, the framing of messages (both without I/O, shared with the host), and the guest itself. Importing
it has no side effects; `serve` runs it on an open channel, `python guest.py` on standard input and output.

Everything that a guest sends is untrusted: decoding raises nothing but `WireError`, and allocates no more than a fixed
multiple of the limit it was given.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
import sys
from datetime import UTC
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import CodeType, FrameType, TracebackType

PROTOCOL = 1
"""Version of the protocol; a guest says it when it is ready."""

MAX_VALUE = 32 * 1024 * 1024
"""Bytes that one message may take on the wire unless told otherwise."""

MAX_DEPTH = 100
"""Containers within containers that a value may hold."""

MAX_OPEN_CALLS = 256
"""Tool calls that may wait for an answer at once."""

_JSON_DEPTH = 3 * MAX_DEPTH + 20
_MAX_BLOBS = 65_536
_SHORT = 512  # characters; a longer string travels as a blob
_MAX_DIGITS = 600  # a longer integer travels as a blob; below the least limit that sys.set_int_max_str_digits takes
_MAX_RATIO = 4096  # bytes of a fraction's numerator or denominator: reducing a fraction takes quadratic time
_MAX_COLLISIONS = 64
_PIXELS = 2  # of all images of a message, for each byte that it may take
_MAX_REPR = 2000
_TAG = "$"

BASE_BUILTIN_MODULES = """
    __future__ abc array ast asyncio base64 binascii bisect builtins bz2 calendar cmath codecs collections colorsys
    concurrent contextlib contextvars copy csv dataclasses datetime decimal difflib dis email enum errno fnmatch
    fractions functools gc getpass graphlib gzip hashlib heapq hmac html inspect io ipaddress itertools json keyword
    linecache locale logging lzma math mimetypes numbers operator pathlib pickle posixpath pprint queue quopri random re
    reprlib sched secrets shlex stat statistics string stringprep struct sys tempfile textwrap threading time timeit
    token tokenize traceback types typing unicodedata unittest urllib.parse uuid warnings weakref xml zipfile zlib
    zoneinfo
    """.split()  # noqa: SIM905 - a list of names, not of strings
"""Modules that model-written code may import: those of the standard library that only compute."""


# ---------------------------------------------------------------------------------------------------------- values


class WireError(ValueError):
    """Bytes that are not what this file would have written."""


class EncodeError(ValueError):
    """A value cannot be sent: it contains itself, is nested too deeply, or is too large."""


class Opaque:
    """Stands for a value that cannot leave its process.

    Attributes:
        text: The value's `repr`, cut to 2,000 characters.
        type_name: Name of its class.
    """

    __slots__ = ("text", "type_name")

    def __init__(self, text: str, type_name: str = "object") -> None:
        self.text = text
        self.type_name = type_name

    def __repr__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and (self.text, self.type_name) == (other.text, other.type_name)

    def __hash__(self) -> int:
        return hash((self.text, self.type_name))


class Record:
    """An object as plain data: the name of its class and its fields, readable as attributes, by name or by position.

    Dataclasses, named tuples, enum members, exceptions and pydantic models arrive as records, since a class cannot be
    sent. Records cannot be changed.

    Attributes:
        record_type: Name of the class.
        record_fields: The fields, in order.
    """

    __slots__ = ("record_fields", "record_type")

    record_type: str
    record_fields: dict[str, Any]

    def __init__(self, record_type: str, record_fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "record_type", record_type)
        object.__setattr__(self, "record_fields", dict(record_fields))

    def __getattr__(self, name: str) -> Any:
        if name not in Record.__slots__ and name in self.record_fields:
            return self.record_fields[name]
        raise AttributeError(f"{self.record_type!r} record has no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self.record_type!r} record cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self.record_type!r} record cannot be changed")

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.record_fields[key]
        return tuple(self.record_fields.values())[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.record_fields.values())

    def __len__(self) -> int:
        return len(self.record_fields)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self.record_type == other.record_type and self.record_fields == other.record_fields

    def __hash__(self) -> int:
        return hash((self.record_type, *self.record_fields.items()))

    def __repr__(self) -> str:
        return f"{self.record_type}({', '.join(f'{name}={value!r}' for name, value in self.record_fields.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Record, (self.record_type, self.record_fields))

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self.record_fields]


# ----------------------------------------------------------------------------------------------------- codec: encode


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _safe_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= _MAX_REPR else text[:_MAX_REPR] + "..."


_type_of: Callable[[Any], Any] = type


class Encoder:
    """Turns a value into JSON data and a list of blobs.

    Args:
        limit: Bytes that both together may take.
        inline: Write blobs into the JSON data, in base64.
    """

    def __init__(self, limit: int = MAX_VALUE, *, inline: bool = False) -> None:
        self.blobs: list[bytes] = []
        self._limit = limit
        self._left = limit
        self.pixels = _PIXELS * limit
        self._inline = inline
        self._open: set[int] = set()

    def text(self, value: Any) -> str:
        """The JSON text of a value.

        Raises:
            EncodeError: It contains itself, is nested too deeply or takes too many bytes.
        """
        try:
            text = _dumps(self.value(value))
        except RecursionError:
            raise EncodeError("the value is nested too deeply to be sent") from None
        if len(text) > self._limit:
            raise self._too_large()
        return text

    def value(self, value: Any) -> Any:
        """The JSON data of a value."""
        kind = _type_of(value)
        if kind is str:
            return self._str(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return self._int(value)
        if kind is float:
            return value if math.isfinite(value) else {_TAG: "float", "v": repr(value)}
        self._spend(8)
        if kind in _CONTAINERS:
            return self._container(value, _CONTAINERS[kind])
        encode = _encoder_of(kind)
        if encode is None:
            return self.opaque(value)
        if encode in _LEAVES:
            return encode(self, value)
        return self._container(value, encode)

    def blob(self, data: bytes | bytearray | memoryview) -> int | str:
        """Put bytes aside; what is returned stands for them in the JSON data."""
        raw = bytes(data)
        self._spend(len(raw))
        if self._inline:
            import base64

            return base64.b64encode(raw).decode("ascii")
        if len(self.blobs) >= _MAX_BLOBS:
            raise EncodeError("the value has too many parts to be sent")
        self.blobs.append(raw)
        return len(self.blobs) - 1

    def items(self, values: Iterable[Any], length: int) -> list[Any]:
        """The JSON data of several values."""
        self._spend(4 * length)
        return [self.value(value) for value in values]

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise self._too_large()

    def _too_large(self) -> EncodeError:
        return EncodeError(f"the value is too large to be sent: at most {self._limit:,} bytes may cross at once")

    def _str(self, value: str) -> Any:
        if len(value) <= _SHORT:
            self._spend(len(value))
            return value
        if self._inline:
            self._spend(len(value))
            return value
        return {_TAG: "str", "b": self.blob(value.encode("utf-8", "surrogatepass"))}

    def _int(self, value: int) -> Any:
        self._spend(2)
        if -(1 << 64) < value < (1 << 64):
            return value
        size = value.bit_length() // 8 + 1
        if size < _MAX_DIGITS // 3:
            return value
        return {_TAG: "int", "b": self.blob(value.to_bytes(size, "big", signed=True))}

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
                    or (kind is str and max(map(len, value)) <= _SHORT)
                ):
                    self._spend(4 * len(value) if kind is not str else sum(map(len, value)))
                    return list(value)
        return self.items(value, len(value))

    def dict(self, value: Mapping[Any, Any]) -> Any:
        """A dict: a JSON object when its keys are short strings, else a list of pairs."""
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if type(key) is not str or key == _TAG or len(key) > _SHORT:
                pairs = list(value.items())
                self._spend(4 * len(pairs))
                return {_TAG: "dict", "v": [[self.value(key), self.value(item)] for key, item in pairs]}
            self._spend(4 + len(key))
            plain[key] = self.value(item)
        return plain

    def record(self, name: str, fields: Mapping[str, Any]) -> Any:
        """An object as its class's name and its fields."""
        return {_TAG: "record", "n": name[:_SHORT], "f": self.dict({str(key): fields[key] for key in fields})}

    def opaque(self, value: Any) -> Any:
        """What stands for a value that cannot be sent."""
        return {_TAG: "opaque", "v": self._str(_safe_repr(value)), "n": type(value).__name__[:_SHORT]}


def _make_dumps() -> Callable[[Any], str]:
    """`json.dumps` with the encoder made once instead of at each call, where it is written in C."""
    encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    chunks = make(None, encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, False)
    return lambda data: "".join(chunks(data, 0))


_dumps = _make_dumps()


def _sequence(tag: str) -> Callable[[Encoder, Any], Any]:
    def encode(encoder: Encoder, value: Any) -> Any:
        return {_TAG: tag, "v": encoder.items(value, len(value))}

    return encode


def _as_list(encoder: Encoder, value: Any) -> Any:
    return encoder.list(list(value))


def _as_dict(encoder: Encoder, value: Any) -> Any:
    return encoder.dict(dict(value))


_encode_tuple = _sequence("tuple")
_encode_set = _sequence("set")
_encode_frozenset = _sequence("frozenset")

_EMPTY: dict[str, Any] = {}
_CONTAINERS: dict[type, Callable[[Encoder, Any], Any]] = {
    list: Encoder.list,
    dict: Encoder.dict,
    tuple: _encode_tuple,
    set: _encode_set,
    frozenset: _encode_frozenset,
    type(_EMPTY.keys()): _as_list,
    type(_EMPTY.values()): _as_list,
    type(_EMPTY.items()): _as_list,
}


def _encode_bytes(encoder: Encoder, value: Any) -> Any:
    return {_TAG: "bytes", "b": encoder.blob(value)}


def _encode_bytearray(encoder: Encoder, value: Any) -> Any:
    return {_TAG: "bytearray", "b": encoder.blob(value)}


def _encode_complex(encoder: Encoder, value: Any) -> Any:
    return {_TAG: "complex", "v": [encoder.value(value.real), encoder.value(value.imag)]}


def _encode_range(encoder: Encoder, value: Any) -> Any:
    return {_TAG: "range", "v": [encoder.value(part) for part in (value.start, value.stop, value.step)]}


def _encode_record(encoder: Encoder, value: Record) -> Any:
    return encoder.record(value.record_type, value.record_fields)


def _encode_opaque(encoder: Encoder, value: Opaque) -> Any:
    return {_TAG: "opaque", "v": encoder.value(value.text), "n": value.type_name[:_SHORT]}


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


def _encode_datetime(_encoder: Encoder, value: Any) -> Any:
    zone = _encode_zone(value.tzinfo, value)
    return {_TAG: "datetime", "v": value.replace(tzinfo=None).isoformat(), "fold": value.fold, "zone": zone}


def _encode_time(_encoder: Encoder, value: Any) -> Any:
    zone = _encode_zone(value.tzinfo, None)
    return {_TAG: "time", "v": value.replace(tzinfo=None).isoformat(), "fold": value.fold, "zone": zone}


def _encode_date(_encoder: Encoder, value: Any) -> Any:
    return {_TAG: "date", "v": value.isoformat()}


def _encode_timedelta(_encoder: Encoder, value: Any) -> Any:
    return {_TAG: "timedelta", "v": [value.days, value.seconds, value.microseconds]}


def _encode_timezone(_encoder: Encoder, value: Any) -> Any:
    return {_TAG: "timezone", "v": _encode_zone(value, None)}


def _encode_decimal(encoder: Encoder, value: Any) -> Any:
    return {_TAG: "decimal", "v": encoder.value(str(value))}


def _encode_fraction(encoder: Encoder, value: Any) -> Any:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 8 * _MAX_RATIO:
        raise EncodeError("the fraction is too large to be sent")
    return {_TAG: "fraction", "v": [encoder.value(value.numerator), encoder.value(value.denominator)]}


def _encode_uuid(_encoder: Encoder, value: Any) -> Any:
    return {_TAG: "uuid", "v": value.hex}


def _encode_path(encoder: Encoder, value: Any) -> Any:
    pathlib = sys.modules["pathlib"]
    flavour = "windows" if isinstance(value, pathlib.PureWindowsPath) else "posix"
    concrete = isinstance(value, pathlib.Path)
    return {_TAG: "path", "v": encoder.value(str(value)), "flavour": flavour, "concrete": concrete}


def _encode_enum(encoder: Encoder, value: Any) -> Any:
    return encoder.record(type(value).__name__, {"name": value.name, "value": value.value})


def _encode_namedtuple(encoder: Encoder, value: Any) -> Any:
    kind = cast("Any", type(value))
    return encoder.record(kind.__name__, dict(zip(kind._fields, value, strict=False)))


def _encode_dataclass(encoder: Encoder, value: Any) -> Any:
    kind = cast("Any", type(value))
    names = [name for name in kind.__dataclass_fields__ if hasattr(value, name)]
    return encoder.record(kind.__name__, {name: getattr(value, name) for name in names})


def _encode_attrs(encoder: Encoder, value: Any) -> Any:
    kind = cast("Any", type(value))
    names = [part.name for part in kind.__attrs_attrs__]
    return encoder.record(kind.__name__, {name: getattr(value, name) for name in names})


def _encode_pydantic(encoder: Encoder, value: Any) -> Any:
    kind = cast("Any", type(value))
    fields = {name: getattr(value, name) for name in kind.model_fields}
    fields.update(getattr(value, "__pydantic_extra__", None) or {})
    return encoder.record(kind.__name__, fields)


def _encode_exception(encoder: Encoder, value: BaseException) -> Any:
    try:
        message = str(value)
    except Exception:
        message = ""
    return encoder.record(type(value).__name__, {"message": message, "args": value.args})


def _encode_memoryview(encoder: Encoder, value: Any) -> Any:
    return {_TAG: "bytes", "b": encoder.blob(value.tobytes())}


def _encode_image(encoder: Encoder, value: Any) -> Any:
    import io

    width, height = value.size
    encoder.pixels -= width * height
    if encoder.pixels < 0:
        raise EncodeError("the images have too many pixels to be sent at once")
    if value.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
        value = value.convert("RGBA" if "A" in value.getbands() or "a" in value.getbands() else "RGB")
    file = io.BytesIO()
    value.save(file, "PNG", compress_level=1)
    return {_TAG: "image", "b": encoder.blob(file.getbuffer())}


def _encode_array(encoder: Encoder, value: Any) -> Any:
    if not _DTYPE.fullmatch(value.dtype.str) or type(value).__name__ != "ndarray":
        return encoder.opaque(value)
    return {_TAG: "array", "d": value.dtype.str, "s": list(value.shape), "b": encoder.blob(value.tobytes())}


def _encode_scalar(encoder: Encoder, value: Any) -> Any:
    if value.dtype.kind in "biufcSU":
        plain = value.item()
        if type(plain) is not type(value):
            return encoder.value(plain)
    if not _DTYPE.fullmatch(value.dtype.str):
        return encoder.opaque(value)
    return {_TAG: "scalar", "d": value.dtype.str, "s": [], "b": encoder.blob(value.tobytes())}


def _encode_column(encoder: Encoder, values: Any) -> Any:
    """The values of a Series or an Index: {kind, data, ...}."""
    pandas = sys.modules["pandas"]
    dtype = values.dtype
    name = str(dtype)
    if isinstance(dtype, pandas.CategoricalDtype):
        codes = values.cat.codes if hasattr(values, "cat") else pandas.Series(values.codes)
        return {
            "kind": "category",
            "data": _encode_array(encoder, codes.to_numpy()),
            "categories": _encode_column(encoder, dtype.categories),
            "ordered": bool(dtype.ordered),
        }
    if isinstance(dtype, pandas.DatetimeTZDtype):
        zone = str(dtype.tz)
        plain = values.dt.tz_convert("UTC").dt.tz_localize(None) if hasattr(values, "dt") else None
        if plain is None:
            plain = values.tz_convert("UTC").tz_localize(None)
        return {"kind": "moments", "data": _encode_array(encoder, plain.to_numpy()), "zone": zone[:_SHORT]}
    if type(dtype).__module__.startswith("numpy") and _DTYPE.fullmatch(dtype.str):
        return {"kind": "array", "data": _encode_array(encoder, values.to_numpy())}
    items = values.tolist()
    if name != "object":
        items = [None if lost else item for item, lost in zip(items, values.isna().tolist(), strict=True)]
    return {"kind": "values", "data": encoder.list(items), "dtype": name if name in _PANDAS_DTYPES else "object"}


def _encode_index(encoder: Encoder, value: Any) -> Any:
    pandas = sys.modules["pandas"]
    names = encoder.items(list(value.names), len(value.names))
    if isinstance(value, pandas.RangeIndex):
        return {"kind": "range", "data": [value.start, value.stop, value.step], "names": names}
    if isinstance(value, pandas.MultiIndex):
        return {"kind": "multi", "data": encoder.items(value.tolist(), len(value)), "names": names}
    return {**_encode_column(encoder, value), "names": names}


def _encode_frame(encoder: Encoder, value: Any) -> Any:
    columns = [_encode_column(encoder, value.iloc[:, place]) for place in range(value.shape[1])]
    index, labels = _encode_index(encoder, value.index), _encode_index(encoder, value.columns)
    return {_TAG: "frame", "columns": columns, "labels": labels, "index": index}


def _encode_series(encoder: Encoder, value: Any) -> Any:
    index = _encode_index(encoder, value.index)
    return {_TAG: "series", "v": _encode_column(encoder, value), "index": index, "name": encoder.value(value.name)}


def _encode_pandas_index(encoder: Encoder, value: Any) -> Any:
    return {_TAG: "index", "v": _encode_index(encoder, value)}


def _encode_moment(encoder: Encoder, value: Any) -> Any:
    return _encode_datetime(encoder, value.to_pydatetime(warn=False))


def _encode_span(encoder: Encoder, value: Any) -> Any:
    return _encode_timedelta(encoder, value.to_pytimedelta())


def _encode_nothing(_encoder: Encoder, _value: Any) -> Any:
    return None


def _plain(base: type) -> Callable[[Encoder, Any], Any]:
    """Encode a value of a subclass of a plain type as that type."""

    def encode(encoder: Encoder, value: Any) -> Any:
        return encoder.value(base.__new__(base, base.__str__(value) if base is str else value))

    def encode_number(encoder: Encoder, value: Any) -> Any:
        convert: Any = base.__int__ if base is int else base.__float__  # type: ignore[attr-defined]
        return encoder.value(convert(value))

    return encode_number if base in (int, float) else encode


_BY_NAME: dict[str, Callable[[Encoder, Any], Any]] = {
    "builtins.bytes": _encode_bytes,
    "builtins.bytearray": _encode_bytearray,
    "builtins.complex": _encode_complex,
    "builtins.range": _encode_range,
    "builtins.memoryview": _encode_memoryview,
    "builtins.mappingproxy": _as_dict,
    "collections.deque": _as_list,
    "datetime.datetime": _encode_datetime,
    "datetime.date": _encode_date,
    "datetime.time": _encode_time,
    "datetime.timedelta": _encode_timedelta,
    "datetime.timezone": _encode_timezone,
    "zoneinfo.ZoneInfo": _encode_timezone,
    "zoneinfo._zoneinfo.ZoneInfo": _encode_timezone,
    "decimal.Decimal": _encode_decimal,
    "fractions.Fraction": _encode_fraction,
    "uuid.UUID": _encode_uuid,
    "numpy.ndarray": _encode_array,
    "numpy.generic": _encode_scalar,
    "pandas.Timestamp": _encode_moment,
    "pandas.Timedelta": _encode_span,
    "pandas.NaT": _encode_nothing,
}
_PANDAS_DTYPES = {"object", "str", "string", "boolean", "Float32", "Float64"} | {
    f"{sign}nt{size}" for sign in ("I", "UI") for size in (8, 16, 32, 64)
}
_DTYPE = re.compile(
    r"[<>|=](?:b1|[iu][1248]|f[248]|c(?:8|16)|[SU][1-9]\d{0,4}|[mM]8\[(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])"
)


def _class_in(module: str, name: str) -> Any:
    """A class of a module that is already imported, or None."""
    return getattr(sys.modules.get(module), name, None)


def _is(kind: type, module: str, name: str) -> bool:
    found = _class_in(module, name)
    return isinstance(found, type) and issubclass(kind, found)


_FAMILIES: list[tuple[str, str, Callable[[Encoder, Any], Any]]] = [
    ("enum", "Enum", _encode_enum),
    ("datetime", "timedelta", _encode_timedelta),
    ("numpy", "generic", _encode_scalar),
    ("numpy", "ndarray", _encode_array),
    ("pandas", "DataFrame", _encode_frame),
    ("pandas", "Series", _encode_series),
    ("pandas", "Index", _encode_pandas_index),
    ("PIL.Image", "Image", _encode_image),
    ("pathlib", "PurePath", _encode_path),
    ("decimal", "Decimal", _encode_decimal),
    ("fractions", "Fraction", _encode_fraction),
    ("uuid", "UUID", _encode_uuid),
    ("datetime", "datetime", _encode_datetime),
    ("datetime", "date", _encode_date),
    ("datetime", "time", _encode_time),
]


def _find_encoder(kind: Any) -> Callable[[Encoder, Any], Any] | None:
    if kind.__module__.startswith("pandas."):
        for name, encode in (("Timedelta", _encode_span), ("Timestamp", _encode_moment)):
            if _is(kind, "pandas", name):
                return encode
        if kind.__name__ in ("NaTType", "NAType"):
            return _encode_nothing
    if (
        kind.__module__ in ("builtins", "collections", "datetime", "decimal", "fractions", "uuid")
        or "." in kind.__module__
    ):
        encode = _BY_NAME.get(_full_name(kind))
        if encode is not None and (kind.__module__ == "builtins" or _class_in(kind.__module__, kind.__name__) is kind):
            return encode
    if kind.__name__ == "ZoneInfo" and _is(kind, "zoneinfo", "ZoneInfo"):
        return _encode_timezone
    if kind is Record:
        return _encode_record
    if kind is Opaque:
        return _encode_opaque
    for module, name, encode in _FAMILIES:
        if _is(kind, module, name):
            return encode
    if isinstance(getattr(kind, "__dataclass_fields__", None), dict):
        return _encode_dataclass
    if issubclass(kind, tuple):
        return _encode_namedtuple if hasattr(cast("Any", kind), "_fields") else _encode_tuple
    if isinstance(getattr(kind, "model_fields", None), dict) and hasattr(kind, "model_dump"):
        return _encode_pydantic
    if hasattr(kind, "__attrs_attrs__"):
        return _encode_attrs
    bases: list[tuple[type, Callable[[Encoder, Any], Any]]] = [
        (BaseException, _encode_exception),
        (dict, _as_dict),
        (list, _as_list),
        (set, _encode_set),
        (frozenset, _encode_frozenset),
        (str, _plain(str)),
        (int, _plain(int)),
        (float, _plain(float)),
        (bytes, _encode_bytes),
        (bytearray, _encode_bytearray),
        (complex, _encode_complex),
    ]
    return next((encode for base, encode in bases if issubclass(kind, base)), None)


_found: dict[type, Callable[[Encoder, Any], Any] | None] = {}
_LEAVES: set[Callable[[Encoder, Any], Any]] = {
    _encode_bytes,
    _encode_bytearray,
    _encode_complex,
    _encode_range,
    _encode_opaque,
    _encode_datetime,
    _encode_date,
    _encode_time,
    _encode_timedelta,
    _encode_decimal,
    _encode_fraction,
    _encode_uuid,
    _encode_path,
}


def _encoder_of(kind: type) -> Callable[[Encoder, Any], Any] | None:
    try:
        return _found[kind]
    except KeyError:
        pass
    encode = _find_encoder(kind)
    if len(_found) < 1000:  # classes made in a loop must not fill the memory
        _found[kind] = encode
    return encode


# ----------------------------------------------------------------------------------------------------- codec: decode

_STRINGS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


def _check_json(text: str, limit: int) -> None:
    """Refuse JSON text that nests too deeply or that would take far more memory than its own length, in linear time."""
    bare = text
    if _weight(text) > 8 * limit:
        bare = _STRINGS.sub("", text)
        if _weight(bare) > 8 * limit:
            raise WireError("too many parts")
    if bare.count("[") + bare.count("{") > _JSON_DEPTH:
        if bare is text and '"' in text:
            bare = _STRINGS.sub("", text)
        if _nesting(bare) > _JSON_DEPTH:
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
    if len(text) > _MAX_DIGITS + 1:
        raise WireError("a number is too long")
    return int(text)


def _no_constant(text: str) -> NoReturn:
    raise WireError(f"{text[:20]} is not JSON")


def _plain_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise WireError("a field occurs twice")
    return fields


def _json_decoder(hook: Callable[[list[tuple[str, Any]]], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=hook, parse_int=_parse_int, parse_constant=_no_constant)


def _scan(decoder: Any, text: str) -> Any:
    value, end = decoder.scan_once(text, 0)
    if end != len(text):
        raise WireError("something follows the value")
    return value


_plain_decoder = _json_decoder(_plain_object)


class Decoder:
    """Turns JSON text and blobs back into a value; raises `WireError` only.

    Args:
        blobs: The blobs, each to be used once.
        inline: Blobs are in the JSON text, in base64.
        limit: Bytes that JSON text and blobs may take; memory is bounded by a multiple of it.
    """

    def __init__(self, blobs: Sequence[bytes] = (), *, inline: bool = False, limit: int = MAX_VALUE) -> None:
        self._blobs: list[bytes | None] = list(blobs)
        self.pixels = _PIXELS * limit
        self._inline = inline
        self._limit = limit

    def decode(self, text: str) -> Any:
        """The value that some JSON text stands for."""
        try:
            if len(text) > self._limit:
                raise WireError("too long")
            if len(text) > _JSON_DEPTH:  # a shorter one can neither nest too deeply nor grow
                _check_json(text, self._limit)
            if f'"{_TAG}"' not in text and "\\u0024" not in text:
                return _scan(_plain_decoder, text)
            return _scan(_json_decoder(self._object), text)
        except WireError:
            raise
        except (Exception, RecursionError, MemoryError) as error:
            raise WireError(f"not a value: {type(error).__name__}: {str(error)[:200]}") from None

    def _object(self, pairs: list[tuple[str, Any]]) -> Any:
        fields = _plain_object(pairs)
        if _TAG not in fields:
            return fields
        tag = fields[_TAG]
        decode = _DECODERS.get(tag) if type(tag) is str else None
        if decode is None:
            raise WireError("an unknown kind of value")
        return decode(self, fields)

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


def _field(fields: dict[str, Any], name: str, kind: type) -> Any:
    value = fields.get(name)
    if type(value) is not kind:
        raise WireError(f"the field {name} is not of type {kind.__name__}")
    return value


def _numbers(values: Any, count: int, kind: type = int) -> list[Any]:
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


def _spread(values: list[Any]) -> None:
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


def _decode_float(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    text = _field(fields, "v", str)
    if text not in ("nan", "inf", "-inf"):
        raise WireError("not a float")
    return float(text)


def _decode_str(decoder: Decoder, fields: dict[str, Any]) -> Any:
    return decoder.blob(fields).decode("utf-8", "surrogatepass")


def _decode_int(decoder: Decoder, fields: dict[str, Any]) -> Any:
    return int.from_bytes(decoder.blob(fields), "big", signed=True)


def _decode_dict(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    pairs = _field(fields, "v", list)
    for pair in pairs:
        if type(pair) is not list or len(cast("list[Any]", pair)) != 2:
            raise WireError("not a pair")
    _distinct([key for key, _ in pairs])
    value = dict(pairs)
    if len(value) != len(pairs):
        raise WireError("a key occurs twice")
    return value


def _decode_tuple(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    return tuple(_field(fields, "v", list))


def _decode_set(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    items = _field(fields, "v", list)
    _distinct(items)
    value = set(items)
    if len(value) != len(items):
        raise WireError("a member occurs twice")
    return value if fields[_TAG] == "set" else frozenset(value)


def _decode_bytes(decoder: Decoder, fields: dict[str, Any]) -> Any:
    data = decoder.blob(fields)
    return data if fields[_TAG] == "bytes" else bytearray(data)


def _decode_complex(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    return complex(*_numbers(fields.get("v"), 2, float))


def _decode_range(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    return range(*_numbers(fields.get("v"), 3))


def _decode_record(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    parts = _field(fields, "f", dict)
    if any(type(name) is not str for name in parts):
        raise WireError("a field's name is not text")
    return Record(_field(fields, "n", str), parts)


def _decode_opaque(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    return Opaque(_field(fields, "v", str), _field(fields, "n", str))


def _zone(data: Any) -> Any:
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
                raise WireError("an unknown time zone") from error
            name = key
    if offset is None:
        raise WireError("a time zone without an offset")
    if name is None:
        return timezone(timedelta(microseconds=offset)) if offset else UTC
    if type(name) is not str:
        raise WireError("not the name of a time zone")
    return timezone(timedelta(microseconds=offset), name)


def _decode_datetime(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import datetime as dt

    fold = fields.get("fold")
    if type(fold) is not int or fold not in (0, 1):
        raise WireError("not a fold")
    text = _field(fields, "v", str)
    kind = dt.datetime if fields[_TAG] == "datetime" else dt.time
    value = kind.fromisoformat(text)
    if value.tzinfo is not None:
        raise WireError("not a date")
    return value.replace(tzinfo=_zone(fields.get("zone")), fold=fold)


def _decode_date(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import datetime as dt

    return dt.date.fromisoformat(_field(fields, "v", str))


def _decode_timedelta(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import datetime as dt

    return dt.timedelta(*_numbers(fields.get("v"), 3))


def _decode_timezone(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    return _zone(_field(fields, "v", dict))


def _decode_decimal(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import decimal

    return decimal.Decimal(_field(fields, "v", str))


def _decode_fraction(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import fractions

    above, below = _numbers(fields.get("v"), 2)
    if below <= 0 or max(above.bit_length(), below.bit_length()) > 8 * _MAX_RATIO:
        raise WireError("not a fraction")
    return fractions.Fraction(above, below)


def _decode_uuid(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import uuid

    return uuid.UUID(hex=_field(fields, "v", str))


def _decode_path(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    import pathlib

    text = _field(fields, "v", str)
    windows = _field(fields, "flavour", str) == "windows"
    if _field(fields, "concrete", bool) and windows == (os.name == "nt"):
        return pathlib.Path(text)
    return pathlib.PureWindowsPath(text) if windows else pathlib.PurePosixPath(text)


def _library(name: str) -> Any:
    """A library that a value needs, or None where it is not installed."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _decode_image(decoder: Decoder, fields: dict[str, Any]) -> Any:
    import io

    data = decoder.blob(fields)
    module = _library("PIL.Image")
    if module is None:
        return Opaque("<an image; install pillow to see it>", "Image")
    image = module.open(io.BytesIO(data), formats=["PNG"])
    decoder.pixels -= image.size[0] * image.size[1]
    if decoder.pixels < 0:
        raise WireError("the images are too large")
    image.load()
    return image.copy()  # a plain image, without the file it came from


def _array(data: bytes, kind: str, shape: Any) -> Any:
    numpy = _library("numpy")
    if numpy is None:
        return Opaque(f"<an array of {kind}; install numpy to see it>", "ndarray")
    if not _DTYPE.fullmatch(kind):
        raise WireError("not a kind of array")
    if type(shape) is not list or len(cast("list[Any]", shape)) > 32:
        raise WireError("not a shape")
    sizes = cast("list[Any]", shape)
    if any(type(size) is not int or not 0 <= size < 1 << 40 for size in sizes):
        raise WireError("not a shape")
    dtype = numpy.dtype(kind)
    if math.prod(sizes) * dtype.itemsize != len(data):
        raise WireError("an array's shape does not fit its bytes")
    flat = numpy.frombuffer(data, dtype=dtype) if data else numpy.empty(0, dtype)
    if dtype.kind == "U" and flat.size and flat.astype(dtype.newbyteorder("="), copy=False).view("u4").max() > 0x10FFFF:
        raise WireError("an array holds no text")
    if dtype.kind == "b" and flat.size and flat.view("u1").max() > 1:
        raise WireError("an array holds no truth values")
    return flat.reshape(sizes).copy()


def _decode_array(decoder: Decoder, fields: dict[str, Any]) -> Any:
    array = _array(decoder.blob(fields), _field(fields, "d", str), fields.get("s"))
    return array[()] if fields[_TAG] == "scalar" and not isinstance(array, Opaque) else array


def _zone_of_column(name: str) -> Any:
    """A time zone by its name, never given to pandas, which would open a file of the name `dateutil//etc/passwd`."""
    fixed = re.fullmatch(r"UTC(?:([+-])(\d\d):(\d\d))?", name)
    if fixed is None:
        return _zone({"key": name})
    sign, hours, minutes = fixed.groups(default="0")
    offset = (int(hours) * 60 + int(minutes)) * 60_000_000
    return _zone({"offset": -offset if sign == "-" else offset})


def _column(pandas: Any, data: Any) -> Any:
    """The values of a Series or an Index as something that pandas takes."""
    if type(data) is not dict:
        raise WireError("not a column")
    fields = cast("dict[str, Any]", data)
    kind, values = fields.get("kind"), fields.get("data")
    if kind == "values":
        dtype = fields.get("dtype")
        if type(values) is not list or dtype not in _PANDAS_DTYPES:
            raise WireError("not a column")
        return pandas.Series(cast("list[Any]", values), dtype=dtype).array
    if type(values).__name__ != "ndarray" or getattr(values, "ndim", 0) != 1:
        raise WireError("not a column")
    if kind == "array":
        return values
    if kind == "moments":
        zone = _zone_of_column(_field(fields, "zone", str))
        return pandas.DatetimeIndex(values).tz_localize("UTC").tz_convert(zone)
    if kind == "category":
        categories = pandas.Index(_column(pandas, fields.get("categories")))
        _spread(categories.tolist())
        return pandas.Categorical.from_codes(values, categories, ordered=_field(fields, "ordered", bool))
    raise WireError("an unknown kind of column")


def _index(pandas: Any, data: Any) -> Any:
    if type(data) is not dict:
        raise WireError("not an index")
    fields = cast("dict[str, Any]", data)
    kind, names = fields.get("kind"), _field(fields, "names", list)
    if kind == "range":
        parts = _numbers(fields.get("data"), 3)
        if any(abs(part) > 1 << 40 for part in parts):
            raise WireError("not an index")
        return pandas.RangeIndex(*parts, name=names[0])
    if kind == "multi":
        rows = _field(fields, "data", list)
        if any(type(row) is not tuple or len(cast("tuple[Any, ...]", row)) != len(names) for row in rows):
            raise WireError("not an index")
        for column in zip(*rows, strict=True):
            _spread(list(column))
        if not rows:
            return pandas.MultiIndex.from_arrays([[] for _ in names], names=names)
        return pandas.MultiIndex.from_tuples(rows, names=names)
    if len(names) != 1:
        raise WireError("not an index")
    dtype = "object" if fields.get("dtype") == "object" else None  # without it, pandas would guess
    return pandas.Index(_column(pandas, fields), name=names[0], dtype=dtype)


def _decode_pandas(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    pandas = _library("pandas")
    tag = fields[_TAG]
    if pandas is None:
        return Opaque(f"<a pandas {tag}; install pandas to see it>", tag)
    if tag == "index":
        return _index(pandas, fields.get("v"))
    index = _index(pandas, fields.get("index"))
    if tag == "series":
        values = _column(pandas, fields.get("v"))
        if len(values) != len(index):
            raise WireError("an index does not fit its column")
        return pandas.Series(values, index=index, name=fields.get("name"))
    columns = [_column(pandas, column) for column in _field(fields, "columns", list)]
    labels = _index(pandas, fields.get("labels"))
    if len(labels) != len(columns) or any(len(column) != len(index) for column in columns):
        raise WireError("the parts of a table do not fit")
    frame = pandas.DataFrame(dict(enumerate(columns)), index=index)
    frame.columns = labels
    return frame


_DECODERS: dict[str, Callable[[Decoder, dict[str, Any]], Any]] = {
    "float": _decode_float,
    "str": _decode_str,
    "int": _decode_int,
    "dict": _decode_dict,
    "tuple": _decode_tuple,
    "set": _decode_set,
    "frozenset": _decode_set,
    "bytes": _decode_bytes,
    "bytearray": _decode_bytes,
    "complex": _decode_complex,
    "range": _decode_range,
    "record": _decode_record,
    "opaque": _decode_opaque,
    "datetime": _decode_datetime,
    "time": _decode_datetime,
    "date": _decode_date,
    "timedelta": _decode_timedelta,
    "timezone": _decode_timezone,
    "decimal": _decode_decimal,
    "fraction": _decode_fraction,
    "uuid": _decode_uuid,
    "path": _decode_path,
    "image": _decode_image,
    "array": _decode_array,
    "scalar": _decode_array,
    "frame": _decode_pandas,
    "series": _decode_pandas,
    "index": _decode_pandas,
}


def to_json(value: Any, limit: int = 4 * MAX_VALUE) -> str:
    """A value as one JSON text, for files and databases.

    Raises:
        EncodeError: It contains itself, is nested too deeply or is larger than `limit` bytes.
    """
    return Encoder(limit, inline=True).text(value)


def from_json(text: str, limit: int = 8 * MAX_VALUE) -> Any:
    """The value that `to_json` wrote.

    Raises:
        WireError: The text is malformed.
    """
    return Decoder(inline=True, limit=limit).decode(text.strip())


# ----------------------------------------------------------------------------------------------------------- framing

_HEADER = struct.Struct(">III")  # bytes of JSON text, number of blobs, bytes of all blobs


def pack(message: Mapping[str, Any], limit: int = MAX_VALUE) -> bytes:
    """A message as one frame.

    Raises:
        EncodeError: It cannot be sent.
    """
    encoder = Encoder(limit)
    text = encoder.text(message)
    try:
        if 32 * len(text) > limit:
            _check_json(text, limit)
    except WireError:
        raise EncodeError(
            f"the value has too many parts to be sent: at most {limit:,} bytes may cross at once"
        ) from None
    raw = text.encode("utf-8", "surrogatepass")
    blobs = encoder.blobs
    total = sum(map(len, blobs))
    if len(raw) + total > limit:
        raise EncodeError(f"the value is too large to be sent: at most {limit:,} bytes may cross at once")
    sizes = struct.pack(f">{len(blobs)}I", *map(len, blobs)) if blobs else b""
    return b"".join((_HEADER.pack(len(raw), len(blobs), total), sizes, raw, *blobs))


class Unpacker:
    """Cuts a stream of bytes into messages. Call `next` until it gives None before feeding more bytes.

    Args:
        limit: Bytes that one message may take; what is announced to be larger is refused before it arrives.
    """

    def __init__(self, limit: int = MAX_VALUE) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._needed = _HEADER.size

    @property
    def waiting(self) -> int:
        """Bytes that belong to a message that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._buffer += data

    def next(self) -> dict[str, Any] | None:
        """The next whole message, or None.

        Raises:
            WireError: The bytes are malformed; the stream cannot go on.
        """
        if len(self._buffer) < self._needed:
            return None
        buffer = self._buffer
        length, count, total = _HEADER.unpack_from(buffer)
        if count > _MAX_BLOBS or length + total > self._limit:
            raise WireError("a message is too large")
        start = _HEADER.size + 4 * count
        end = start + length + total
        if len(buffer) < end:
            self._needed = end
            return None
        self._needed = _HEADER.size
        sizes = struct.unpack_from(f">{count}I", buffer, _HEADER.size) if count else ()
        if sum(sizes) != total:
            raise WireError("the sizes of a message do not agree")
        try:
            text = buffer[start : start + length].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise WireError("a message is not text") from None
        blobs: list[bytes] = []
        place = start + length
        for size in sizes:
            blobs.append(bytes(buffer[place : place + size]))
            place += size
        del buffer[:end]
        message = Decoder(blobs, limit=self._limit).decode(text)
        if type(message) is not dict:
            raise WireError("a message is not an object")
        return cast("dict[str, Any]", message)


# ------------------------------------------------------------------------------------------------- guest: interrupts


class ToolError(Exception):
    """A tool failed on the host; the class is shown under the name that the error has there."""


class TimeUp(KeyboardInterrupt):
    """The snippet ran out of time. A kind of KeyboardInterrupt, so that asyncio lets it through."""


TimeUp.__name__ = TimeUp.__qualname__ = "TimeoutError"
TimeUp.__module__ = "builtins"


class SnippetStopped(KeyboardInterrupt):
    """The host ended the snippet at a tool call: its answer was given."""


_IDLE, _CLOSED, _WAITING, _USER = range(4)


class _Gate:
    """Decides when a signal may raise in the main thread: in the user's code and while waiting, never in between.

    Within the guest's own code a signal is only noted, and raises when the user's code goes on. So no message is cut
    short and no lock is left held.
    """

    def __init__(self, wall: float | None) -> None:
        import threading

        self._ident = threading.get_ident
        self.main = self._ident()
        self._state = _IDLE
        self._pending: BaseException | None = None
        self._wall = wall
        self._limit = 0

    def install(self) -> None:
        """Take over the three signals that the host and the guest itself send."""
        import signal

        for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        import signal

        if self._state == _IDLE:
            return
        if number == signal.SIGUSR1:
            error: BaseException = TimeUp(f"the code ran longer than {self._wall:g} seconds" if self._wall else "")
        elif number == signal.SIGUSR2:
            error = SnippetStopped()
        else:
            error = KeyboardInterrupt("interrupted by the user")
        if self._state == _CLOSED:
            self._pending = self._pending or error
            return
        if self._state == _WAITING:
            self._state = _CLOSED
        raise error

    def on_main(self) -> bool:
        """True in the thread that runs the user's program."""
        return self._ident() == self.main

    def open(self) -> None:
        """The user's code begins."""
        self._pending = None
        self._state = _USER

    def close(self) -> None:
        """The user's code has ended; signals are noted until `idle`."""
        self._state = _CLOSED

    def idle(self) -> None:
        """Nothing runs; signals that come late mean nothing."""
        self._state = _IDLE
        self._pending = None

    def enter(self) -> bool:
        """The guest's own code begins, called by the user's; True if it has to be left again."""
        if self._ident() != self.main or self._state != _USER:
            return False
        self._state = _CLOSED
        self._limit = sys.getrecursionlimit()
        sys.setrecursionlimit(self._limit + 400)  # a call at the edge of the user's recursion must not break half-way
        return True

    def leave(self) -> None:
        """Back to the user's code; a signal noted meanwhile raises now."""
        sys.setrecursionlimit(self._limit)
        self._state = _USER
        if self._pending is not None:
            error, self._pending = self._pending, None
            raise error

    def waiting(self, wait: Callable[..., Any], *args: Any) -> None:
        """Wait in such a way that a signal may raise, if this is the main thread and the user's code waits."""
        if self._ident() != self.main or self._state != _CLOSED:
            wait(*args)
            return
        if self._pending is not None:
            error, self._pending = self._pending, None
            raise error
        self._state = _WAITING
        try:
            wait(*args)
        finally:
            self._state = _CLOSED


# ---------------------------------------------------------------------------------------------------- guest: channel


class _Ticket:
    """Something that a thread waits for: the answer to a call, or (for the main thread) the next command."""

    __slots__ = ("answer", "deliver", "done", "wake")

    def __init__(self, wake: Any) -> None:
        self.done = False
        self.answer: dict[str, Any] = {}
        self.deliver: Callable[[], None] | None = None
        self.wake = wake
        wake.acquire()


class _Channel:
    """The stream to the host, shared by all threads of the guest.

    Whoever waits reads: one waiting thread is the leader, polls the stream and hands the answers of others over; when
    it has its own, another waiting thread takes the lead. Event loops read as well, when the stream becomes readable.
    """

    def __init__(self, read_fd: int, write_fd: int, limit: int, gate: _Gate) -> None:
        import _thread
        import collections
        import select

        self.fd = read_fd
        self._write_fd = write_fd
        self.limit = limit
        self._gate = gate
        self._new_lock = _thread.allocate_lock
        self._lock = _thread.allocate_lock()
        self._write_lock = _thread.allocate_lock()
        self._unpacker = Unpacker(limit)
        self._leader: _Ticket | None = None
        self._reader: _Ticket | None = None
        self._woken = False
        self._waiting: list[_Ticket] = []
        self._commands: collections.deque[dict[str, Any]] = collections.deque()
        self._command_ticket: _Ticket | None = None
        self._calls: dict[int, _Ticket] = {}
        self._outbox: collections.deque[bytes] = collections.deque()
        self._sent = 0
        self._count = 0
        self.running = False
        self.stopped = False
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poll = select.poll()
        self._poll.register(read_fd, select.POLLIN)
        self._poll.register(self._wake_read, select.POLLIN)
        self._write_poll = select.poll()
        self._write_poll.register(write_fd, select.POLLOUT)

    def send(self, frame: bytes) -> None:
        """Write a whole frame."""
        with self._write_lock:
            rest: bytes | memoryview = frame
            while rest:
                try:
                    written = os.write(self._write_fd, rest)
                except BlockingIOError:
                    self._write_poll.poll()
                    continue
                except OSError:
                    os._exit(0)  # the host is gone
                if written == len(rest):
                    return
                rest = memoryview(rest)[written:]

    def next_command(self) -> dict[str, Any]:
        """Wait for the host's next command."""
        while not self._commands:
            with self._lock:
                ticket = self._command_ticket = _Ticket(self._new_lock())
                if self._commands:
                    break
            self.wait(ticket)
        return self._commands.popleft()

    def number(self) -> int:
        """A number for a call."""
        with self._lock:
            self._count += 1
            return self._count

    def post(self, number: int, frame: bytes, deliver: Callable[[], None] | None = None) -> _Ticket:
        """Send a call; if too many are open it is sent when another has been answered."""
        ticket = _Ticket(self._new_lock())
        ticket.deliver = deliver
        with self._lock:
            if not self.running:
                raise RuntimeError("tools can be called only while the program runs")
            self._calls[number] = ticket
            if self._sent >= MAX_OPEN_CALLS:
                self._outbox.append(frame)
                return ticket
            self._sent += 1
        self.send(frame)
        return ticket

    def forget(self, number: int) -> None:
        """Nobody waits for this call any more."""
        self._calls.pop(number, None)

    def wait(self, ticket: _Ticket) -> None:
        """Wait until a ticket is done."""
        while True:
            with self._lock:
                if ticket.done:
                    return
                lead = self._leader is None
                if lead:
                    self._leader = ticket
                else:
                    self._waiting.append(ticket)
            try:
                if lead:
                    self._gate.waiting(self._poll.poll)
                    self.pump(ticket)
                else:
                    self._gate.waiting(ticket.wake.acquire)
            finally:
                self._step_back(ticket)

    def _step_back(self, ticket: _Ticket) -> None:
        with self._lock:
            if self._leader is ticket:
                self._leader = None
                if self._waiting:
                    self._waiting.pop().wake.release()
            elif ticket in self._waiting:
                self._waiting.remove(ticket)

    def pump(self, leader: _Ticket | None = None) -> None:
        """Take in what has arrived, without waiting; the leader says that it is the one."""
        with self._lock:
            if leader is not None and self._woken:
                self._woken = False
                os.read(self._wake_read, 1)
            self._reader = leader
            try:
                data = os.read(self.fd, 65_536)
                if not data:
                    os._exit(0)  # the host is gone
                self._unpacker.feed(data)
                while (message := self._unpacker.next()) is not None:
                    self._dispatch(message)
            except BlockingIOError:
                pass
            except BaseException:
                os._exit(71)  # out of memory, or a host of another version: the stream cannot go on

    def _dispatch(self, message: dict[str, Any]) -> None:
        if message["t"] not in ("result", "error", "stop"):
            self._commands.append(message)
            if self._command_ticket is not None:
                self._complete(self._command_ticket)
            return
        if self._outbox and self.running:
            self.send(self._outbox.popleft())
        else:
            self._sent -= 1
        if message["t"] == "stop":
            self.stopped = True
        ticket = self._calls.pop(message["id"], None)
        if ticket is not None:
            ticket.answer = message
            self._complete(ticket)

    def _complete(self, ticket: _Ticket) -> None:
        ticket.done = True
        if ticket.deliver is not None:
            ticket.deliver()
        elif ticket in self._waiting:
            self._waiting.remove(ticket)
            ticket.wake.release()
        elif ticket is self._leader and ticket is not self._reader and not self._woken:
            self._woken = True
            os.write(self._wake_write, b"x")

    def begin(self) -> None:
        """A snippet begins."""
        with self._lock:
            self.running, self.stopped, self._sent = True, False, 0

    def end(self) -> None:
        """A snippet ends: calls that are still open (of other threads) end with it."""
        with self._lock:
            self.running = False
            self._outbox.clear()
            for ticket in self._calls.values():
                ticket.answer = {"t": "error", "kind": "RuntimeError", "message": "the program has ended"}
                self._complete(ticket)
            self._calls.clear()


# ------------------------------------------------------------------------------------------------------ guest: tools


def _error_from_host(kind: str, message: str) -> Exception:
    """The exception to raise at a call: the builtin of that name, or one that is shown under that name."""
    import ast
    import builtins

    known = getattr(builtins, kind, None)
    if isinstance(known, type) and issubclass(known, Exception):
        argument: Any = message
        if issubclass(known, KeyError):
            try:
                argument = ast.literal_eval(message)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                argument = message
        try:
            return known(argument)
        except Exception:
            return ToolError(f"{kind}: {message}")
    if kind == "ToolError" or not kind.isidentifier():
        return ToolError(message)
    return type(kind, (ToolError,), {"__module__": "builtins"})(message)


class _Tool:
    """A tool of the host, callable like a function."""

    def __init__(self, guest: Guest, name: str, is_async: bool, signature: str) -> None:
        self._guest = guest
        self._is_async = is_async
        self.__name__ = self.__qualname__ = name
        self.__doc__ = signature or None

    def __repr__(self) -> str:
        return f"<tool {self.__name__}>"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        asyncio = sys.modules.get("asyncio")
        loop: Any = asyncio._get_running_loop() if asyncio is not None else None  # type: ignore[attr-defined]
        if loop is not None and self._is_async:
            return self._guest.call_async(loop, self.__name__, args, kwargs)
        return self._guest.call(self.__name__, args, kwargs, concurrent=loop is not None)


_Tool.__name__ = "tool"


class _Writer:
    """What `sys.stdout` and `sys.stderr` are: text goes to the host in batches, up to a limit per snippet."""

    encoding = "utf-8"
    errors = "replace"
    newlines = None
    closed = False
    line_buffering = True
    mode = "w"

    def __init__(self, name: str, put: Callable[[str], None], flush: Callable[[], None]) -> None:
        self.name = name
        self._put = put
        self._flush = flush

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._put(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._flush()

    def isatty(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self._flush()

    def fileno(self) -> int:
        import io

        raise io.UnsupportedOperation("fileno")

    @property
    def buffer(self) -> _BytesWriter:
        return _BytesWriter(self)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._flush()


class _BytesWriter:
    def __init__(self, text: _Writer) -> None:
        self._text = text

    def write(self, data: bytes) -> int:
        self._text.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def flush(self) -> None:
        self._text.flush()


class _NoInput:
    """What `sys.stdin` is."""

    encoding = "utf-8"
    errors = "strict"
    closed = False

    def read(self, _size: int = -1) -> str:
        raise EOFError(_NO_INPUT)

    readline = readlines = __next__ = read

    def __iter__(self) -> _NoInput:
        return self

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        import io

        raise io.UnsupportedOperation("fileno")


_NO_INPUT = "input() is not available: nobody can type here"


class _Output:
    """Collects printed text and sends it to the host."""

    def __init__(self, channel: _Channel, gate: _Gate, limit: int) -> None:
        import _thread
        import time

        self._channel = channel
        self._gate = gate
        self._limit = limit
        self._lock = _thread.allocate_lock()
        self._clock = time.monotonic
        self._parts: list[str] = []
        self._size = 0
        self._left = limit
        self._last = 0.0

    @property
    def waiting(self) -> bool:
        """True if text is held back."""
        return bool(self._parts)

    def begin(self) -> None:
        self._left = self._limit
        self._last = self._clock()

    def put(self, text: str) -> None:
        if self._left < 0:
            return
        entered = self._gate.enter()
        try:
            with self._lock:
                size = len(text)
                if size > self._left:
                    if self._left < 0:
                        return
                    text = (
                        f"{text[: self._left]}\n... output cut: more than {self._limit:,} characters were printed;"
                        " print less, such as a count or a slice\n"
                    )
                    self._left = -1
                else:
                    self._left -= size
                self._parts.append(text)
                self._size += len(text)
                if self._channel.running and (
                    self._size > 8192 or (text[-1:] == "\n" and self._clock() - self._last > 0.05)
                ):
                    self._send()
        finally:
            if entered:
                self._gate.leave()

    def flush(self) -> None:
        """Send what is held back."""
        if not self._parts or not self._channel.running:
            return
        entered = self._gate.enter()
        try:
            with self._lock:
                self._send()
        finally:
            if entered:
                self._gate.leave()

    def flush_now(self) -> None:
        """Send what is held back; for the guest's own code."""
        with self._lock:
            self._send()

    def _send(self) -> None:
        if not self._parts:
            return
        text = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        self._last = self._clock()
        for start in range(0, len(text), 1 << 20):
            self._channel.send(pack({"t": "printed", "text": text[start : start + (1 << 20)]}, self._channel.limit))


# ----------------------------------------------------------------------------------------------------- guest: imports

_NO_NETWORK = "there is no network in this sandbox; use the tools that were given to you"
_NO_FILES = "there are no files, environment or other programs in this sandbox; use the tools that were given to you"
_INSTEAD = {
    **dict.fromkeys(
        ("requests", "httpx", "urllib", "http", "socket", "aiohttp", "ftplib", "smtplib", "ssl"), _NO_NETWORK
    ),
    **dict.fromkeys(("os", "subprocess", "shutil", "glob", "platform", "multiprocessing", "signal"), _NO_FILES),
    "numpy": "use math, statistics and lists",
    "pandas": "use csv, statistics and dicts",
    "scipy": "use math and statistics",
    "sympy": "use fractions and math",
    "bs4": "use re or html",
    "dateutil": "use datetime",
    "pytz": "use zoneinfo",
}


def allows_import(name: str, allowed: Iterable[str]) -> bool:
    """True if a list of authorised imports covers a module: by its name, a parent's, `pkg.*` or `*`."""
    for entry in allowed:
        stem = entry.removesuffix(".*")
        if entry == "*" or name == stem or name.startswith(stem + "."):
            return True
    return False


class _Imports:
    """The `__import__` that the user's code sees; imports made by libraries do not pass here."""

    def __init__(self, allowed: Sequence[str], tools: Mapping[str, Any]) -> None:
        import builtins

        self.allowed = list(allowed)
        self._known: set[str] = set()
        self._tools = tools
        self._import = builtins.__import__

    def __call__(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - the names that callers may use
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        # A module written in C that needs another (datetime: _strptime) passes a list where statements pass a tuple.
        if level == 0 and name not in self._known and type(fromlist) is not list:
            if allows_import(name, self.allowed):
                self._known.add(name)
            elif not self._permits(name, fromlist or ()):
                raise self._refusal(name)
        return self._import(name, globals, locals, cast("Sequence[str]", fromlist or ()), level)

    def _permits(self, name: str, fromlist: Sequence[str]) -> bool:
        if name == "__main__":
            return True
        return bool(fromlist) and all(allows_import(f"{name}.{part}", self.allowed) for part in fromlist)

    def _refusal(self, name: str) -> ImportError:
        top = name.partition(".")[0]
        if name in self._tools:
            return ImportError(
                f"{name} is a tool and already defined: call {name}(...) without importing it", name=name
            )
        instead = _INSTEAD.get(name) or _INSTEAD.get(top)
        return ImportError(
            f"Import of {name} is not allowed"
            + (f": {instead}" if instead else "")
            + f". The user can allow it with additional_authorized_imports=[{top!r}]",
            name=name,
        )


# ------------------------------------------------------------------------------------------------------ guest: errors

_STEP = "<step "
_MAX_FRAMES = 30


def _own_frames(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback with the frames of the user's program only; of a deep recursion the first and last ones."""
    from types import TracebackType

    own: list[TracebackType] = []
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.startswith(_STEP):
            own.append(traceback)
        traceback = traceback.tb_next
    if len(own) > _MAX_FRAMES and len({entry.tb_lineno for entry in own}) > _MAX_FRAMES // 3:
        own = own[: _MAX_FRAMES // 2] + own[-_MAX_FRAMES // 2 :]
    kept: TracebackType | None = None
    for entry in reversed(own):
        kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept


def _trim(error: BaseException, seen: set[int]) -> None:
    """Leave the user's frames only in an exception and in all that are linked to it."""
    while id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = _own_frames(error.__traceback__)
        group = getattr(error, "exceptions", ())
        if isinstance(error, BaseExceptionGroup):
            for part in cast("tuple[BaseException, ...]", group):
                _trim(part, seen)
        if error.__cause__ is not None:
            _trim(error.__cause__, seen)
        if error.__context__ is None:
            return
        error = error.__context__


def _describe(error: BaseException, name: str, source: str, guest: Guest) -> dict[str, Any]:
    """What the host is told of a snippet that failed."""
    import traceback

    try:
        message = str(error)
    except Exception:
        message = "<the exception has no readable message>"
    _trim(error, set())
    line = _line_of(error, name)
    lines = source.splitlines()
    if isinstance(error, SyntaxError) and error.text is None and line is not None and 0 < line <= len(lines):
        error.text = lines[line - 1] + "\n"
    text = lines[line - 1].strip() if line is not None and 0 < line <= len(lines) else ""
    try:
        shown = "".join(traceback.TracebackException.from_exception(error, compact=True).format())
    except Exception:
        shown = f"{type(error).__name__}: {message}\n"
    if len(shown) > 10_000:
        shown = f"{shown[:5_000]}\n...\n{shown[-5_000:]}"
    try:
        hint = _Hints(guest, name, source).of(error)
    except Exception:
        hint = ""
    return {
        "kind": type(error).__name__[:200],
        "message": message[:10_000],
        "traceback": shown,
        "line": line,
        "source": text[:1_000],
        "hint": hint[:1_000],
    }


def _line_of(error: BaseException, name: str) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == name:
        return error.lineno if type(error.lineno) is int and 0 < error.lineno < 1 << 31 else None
    line, entry = None, error.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename == name:
            line = entry.tb_lineno
        entry = entry.tb_next
    return line


class _Hints:
    """One sentence about what to do next, for errors that a model can act on. Never runs code of the program."""

    def __init__(self, guest: Guest, name: str, source: str) -> None:
        self._guest = guest
        self._name = name
        self._source = source

    def of(self, error: BaseException) -> str:
        """The sentence, or nothing."""
        finders: list[tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[[Any], str]]] = [
            (TimeUp, lambda _: "Use a faster method, or do less in one program."),
            (NameError, self._on_name),
            (KeyError, self._on_key),
            (IndexError, self._on_index),
            (AttributeError, self._on_attribute),
            (TypeError, self._on_type),
            (ModuleNotFoundError, lambda _: "It is not installed here: use the standard library or the tools."),
            (EOFError, self._on_input),
            (ValueError, self._on_value),
            (RecursionError, lambda _: "Use a loop, or check the condition that ends the recursion."),
            (MemoryError, lambda _: "Work in smaller parts, and delete large variables with del."),
            (SystemExit, lambda _: "A program ends by itself: leave exit() out."),
            (RuntimeError, self._on_runtime),
            (OSError, self._on_system),
        ]
        return next((find(error) for kind, find in finders if isinstance(error, kind)), "")

    def _on_name(self, error: NameError) -> str:
        import difflib

        quoted = re.search(r"'(\w+)'", str(error))
        missing = getattr(error, "name", None) or (quoted[1] if quoted else "")
        known = [name for name in self._guest.names if not name.startswith("__")]
        if isinstance(error, UnboundLocalError) and missing in known:
            return (
                f"{missing} is assigned in the function: pass it as an argument, or declare `global {missing}` there."
            )
        close = difflib.get_close_matches(missing, [*known, *self._guest.builtins], 3, 0.7)
        if close:
            return f"Close names that are defined: {', '.join(close)}."
        if missing in self._guest.importable:
            return f"Write `import {missing}` first."
        if not known:
            return f"Nothing is defined yet: define {missing} first."
        return f"Define {missing} first; what is defined: {', '.join(known[-20:])}."

    def _on_key(self, error: KeyError) -> str:
        found, subject = self._subject(error)
        if found and isinstance(subject, Record):
            subject = subject.record_fields
        if not found or not isinstance(subject, dict):
            return ""
        keys: list[Any] = list(_keys_of(cast("Any", subject)))
        if not keys:
            return "The dict is empty."
        shown = ", ".join(_preview(key, 40) for key in keys[:15])
        return f"The keys there are: {shown}{', ...' if len(keys) > 15 else ''}."

    def _on_index(self, error: IndexError) -> str:
        found, subject = self._subject(error)
        if not found or type(subject) not in (list, tuple, str):
            return ""
        length = len(cast("Sequence[Any]", subject))
        kind = _type_of(subject).__name__
        return f"The {kind} has {length} items: its last index is {length - 1}." if length else f"The {kind} is empty."

    def _on_attribute(self, error: AttributeError) -> str:
        import difflib

        subject, name = getattr(error, "obj", None), getattr(error, "name", None) or ""
        if not name or (subject is None and "'NoneType'" not in str(error)):
            return ""
        if subject is None:
            return "The value is None: look at what gave it."
        names = list(subject.record_fields) if isinstance(subject, Record) else dir(_type_of(subject))
        close = difflib.get_close_matches(name, [known for known in names if not known.startswith("_")], 3)
        if type(subject) is dict and name in subject:
            close = [f"[{name!r}]"]
        more = f" Close to it: {', '.join(close)}." if close else ""
        if isinstance(subject, Record) and not close:
            more = f" Its fields: {', '.join(names[:20])}."
        return f"The value is {_describe_value(subject)}.{more}"

    def _on_type(self, error: TypeError) -> str:
        import ast
        import inspect

        node, frame = self._node(error)
        if "coroutine was expected" in str(error):
            return "Tools give their value at once here: leave asyncio.run() out, or use await."
        if isinstance(node, ast.BinOp):
            sides = [self._resolve(side, frame) for side in (node.left, node.right)]
            shown = [_describe_value(value) for found, value in sides if found]
            return f"The values are {' and '.join(shown)}." if shown else ""
        if isinstance(node, ast.Call):
            found, subject = self._resolve(node.func, frame)
            if found and isinstance(subject, _Tool) and subject.__doc__:
                return f"Its signature: {subject.__doc__}"
            if found and inspect.isfunction(subject):
                return f"Its signature: {subject.__name__}{inspect.signature(subject)}."
            if found and not callable(subject):
                return f"{ast.unparse(node.func)} is {_describe_value(subject)}."
            values = [self._resolve(part, frame) for part in node.args]
            shown = [_describe_value(value) for found, value in values if found]
            return f"It was called with {', '.join(shown)}." if shown else ""
        found, subject = self._subject(error)
        return f"The value is {_describe_value(subject)}." if found else ""

    def _on_input(self, error: EOFError) -> str:
        if _NO_INPUT in str(error):
            return "Take values from the task, from variables or from a tool."
        return ""

    def _on_value(self, error: ValueError) -> str:
        text = str(error)
        if text.startswith(("could not convert string to float", "invalid literal for int()")):
            return r"Take the number out of the text first, for example with re.findall(r'-?\d+(?:\.\d+)?', text)."
        return ""

    def _on_runtime(self, error: RuntimeError) -> str:
        if "running event loop" in str(error):
            return "An event loop runs already: use `await` instead."
        return ""

    def _on_system(self, error: OSError) -> str:
        if isinstance(error, TimeoutError):
            return ""
        return "There are no files and there is no network in this sandbox: use the tools."

    # ---- the expression that failed

    def _node(self, error: BaseException) -> tuple[Any, Any]:
        """The syntax node that raised, and its frame; (None, None) if it is not in this program."""
        import ast

        entry = error.__traceback__
        if entry is None:
            return None, None
        while entry.tb_next is not None:
            entry = entry.tb_next
        code = entry.tb_frame.f_code
        if code.co_filename != self._name:
            return None, None
        place = next((place for at, place in enumerate(code.co_positions()) if at == entry.tb_lasti // 2), None)
        for node in ast.walk(ast.parse(self._source)):
            if isinstance(node, ast.expr) and place == (
                node.lineno,
                node.end_lineno,
                node.col_offset,
                node.end_col_offset,
            ):
                return node, entry.tb_frame
        return None, None

    def _subject(self, error: BaseException) -> tuple[bool, Any]:
        """What was subscripted or read where an error was raised, if that can be told without running anything."""
        node, frame = self._node(error)
        value = getattr(node, "value", None)
        return self._resolve(value, frame) if value is not None else (False, None)

    def _resolve(self, node: Any, frame: Any) -> tuple[bool, Any]:
        import ast

        if isinstance(node, ast.Constant):
            return True, node.value
        if isinstance(node, ast.Name):
            for names in (frame.f_locals, frame.f_globals, self._guest.builtins):
                if node.id in names:
                    return True, names[node.id]
        if isinstance(node, ast.Subscript):
            found, container = self._resolve(node.value, frame)
            known, key = self._resolve(node.slice, frame)
            if found and known and type(container) in (dict, list, tuple) and type(key) in (str, int):
                try:
                    return True, container[key]
                except (KeyError, IndexError, TypeError):
                    return False, None
        return False, None


_keys_of = dict[Any, Any].keys  # of a subclass, too, without running its code


def _preview(value: Any, limit: int = 80) -> str:
    """A short `repr` of a plain value; of others the class only, whose `repr` would run code of the program."""
    kind = cast("type[Any]", type(value))
    if kind.__module__ not in ("builtins", "decimal", "datetime", "fractions") and kind is not Record:
        return f"<{kind.__name__}>"
    if isinstance(value, (list, tuple, set, frozenset, dict)) and len(cast("Sequence[Any]", value)) > 1000:
        return f"<{kind.__name__} of {len(cast('Sequence[Any]', value))} items>"
    text = _safe_repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _describe_value(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, _Tool):
        return f"the tool {value.__name__}, which has to be called"
    return f"{cast('type[Any]', type(value)).__name__} {_preview(value)}"


# ------------------------------------------------------------------------------------------------------------- guest


class Guest:
    """Runs snippets in one lasting namespace, as the host commands.

    Args:
        read_fd: Where the host's messages come from.
        write_fd: Where messages to the host go.
        config: `value` (bytes of a message), `output` (characters printed per snippet), `wall` (seconds per snippet,
            for messages only), `imports` (authorised modules).
    """

    def __init__(self, read_fd: int, write_fd: int, config: Mapping[str, Any]) -> None:
        import builtins
        import linecache
        import types

        self._gate = _Gate(config.get("wall"))
        self._channel = _Channel(read_fd, write_fd, int(config.get("value", MAX_VALUE)), self._gate)
        self._output = _Output(self._channel, self._gate, int(config.get("output", 50_000)))
        self._lines = linecache
        self._steps = 0
        self._loop: Any = None
        self.tools: dict[str, _Tool] = {}
        module = types.ModuleType("__main__")
        self._former_main = sys.modules.get("__main__")  # kept alive: its globals may be this file's
        sys.modules["__main__"] = module
        self.names: dict[str, Any] = module.__dict__
        known = dict(builtins.__dict__)
        imports = _Imports(config.get("imports", BASE_BUILTIN_MODULES), self.tools)
        known["__import__"] = imports
        known["input"] = _no_input
        for name in ("exit", "quit"):
            known[name] = sys.exit
        self.names["__builtins__"] = self.builtins = known
        self.importable = imports.allowed

    def run_forever(self) -> NoReturn:
        """Obey the host until it closes the stream."""
        self._gate.install()
        flush = self._output.flush
        stdout: Any = _Writer("<stdout>", self._output.put, flush)
        stderr: Any = _Writer("<stderr>", self._output.put, flush)
        stdin: Any = _NoInput()
        sys.stdout = sys.__stdout__ = stdout
        sys.stderr = sys.__stderr__ = stderr
        sys.stdin = sys.__stdin__ = stdin
        sys.argv = [""]
        sys.set_int_max_str_digits(0)  # that limit protects servers; here there is a limit of time
        version = ".".join(map(str, sys.version_info[:3]))
        self._channel.send(pack({"t": "ready", "protocol": PROTOCOL, "python": version}))
        while True:
            command = self._channel.next_command()
            match command["t"]:
                case "define":
                    self._define(command["tools"], command["variables"])
                case "run":
                    self._run(command["code"])
                case "read":
                    self._channel.send(self._read())
                case _:
                    os._exit(72)  # a host of another version

    def _define(self, tools: list[list[Any]], variables: dict[str, Any]) -> None:
        for name, is_async, signature in tools:
            self.tools[name] = _Tool(self, name, is_async, signature)
        self.names.update(self.tools)
        self.names.update(variables)

    def _read(self) -> bytes:
        """The user's variables: all that is neither a tool nor a module."""
        from types import ModuleType

        values: dict[str, Any] = {}
        left = self._channel.limit // 2
        for name, value in list(self.names.items()):
            if name.startswith("__") or isinstance(value, (_Tool, ModuleType)):
                continue
            try:
                frame = pack({name: value}, left)
                left -= len(frame)
                values[name] = value
            except Exception:
                values[name] = Opaque(_safe_repr(value), type(value).__name__)
        return pack({"t": "values", "values": values}, self._channel.limit)

    # ---- a snippet

    def _run(self, source: str) -> None:
        self._steps += 1
        name = f"{_STEP}{self._steps}>"
        self._lines.cache[name] = (len(source), None, [line + "\n" for line in source.splitlines()], name)
        self._channel.begin()
        self._output.begin()
        frame: bytes | None = None
        failure: dict[str, Any] | None = None
        sys.setrecursionlimit(1000 + _depth() + 2)  # the guest's own frames come on top of the program's thousand
        try:
            try:
                self._gate.open()
                frame = self._finished(self._execute(source, name))
            finally:
                self._gate.close()
        except SnippetStopped:
            pass
        except BaseException as error:
            self._gate.close()
            if isinstance(error, TimeUp) and self._threads_remain():
                os._exit(73)  # they would go on using up the next snippets' time
            if not self._channel.stopped:
                failure = _describe(error, name, source, self)
            del error
        self._channel.end()
        self._channel.running = True  # what threads hold back still belongs to this snippet
        self._output.flush()
        self._channel.running = False
        if failure is not None:
            frame = pack({"t": "finished", "output": None, "failure": failure}, self._channel.limit)
        self._channel.send(frame or pack({"t": "finished", "output": None, "failure": None}))
        self._gate.idle()

    def _threads_remain(self) -> bool:
        import threading

        others = [thread for thread in threading.enumerate() if thread.ident != self._gate.main]
        for thread in others:
            thread.join(0.005 / len(others))
        return any(thread.is_alive() for thread in others)

    def _finished(self, value: Any) -> bytes:
        message = {"t": "finished", "output": value, "failure": None}
        try:
            return pack(message, self._channel.limit)
        except EncodeError:
            message["output"] = Opaque(_safe_repr(value), type(value).__name__)
            return pack(message, self._channel.limit)

    def _execute(self, source: str, name: str) -> Any:
        """Run a program; the value of its last statement, if that is an expression."""
        import ast

        tree = ast.parse(source, name)
        last: ast.Expression | None = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(cast("ast.Expr", tree.body.pop()).value)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        programs: list[CodeType] = [compile(tree, name, "exec", flags, dont_inherit=True)]
        if last is not None:
            flags |= programs[0].co_flags & _FUTURES
            programs.append(compile(last, name, "eval", flags, dont_inherit=True))
        value: Any = None
        for program in programs:
            value = eval(program, self.names)  # noqa: S307  # this is what a sandbox is for
            if program.co_flags & 0x80:  # a coroutine: the program awaits at top level
                value = self._await(value)
        return value

    def _await(self, coroutine: Any) -> Any:
        import asyncio

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        try:
            return self._loop.run_until_complete(coroutine)
        except BaseException:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()  # tasks of a program that failed do not go on in the next one
            raise

    # ---- calls

    def _call_frame(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], concurrent: bool
    ) -> tuple[int, bytes]:
        number = self._channel.number()
        message = {
            "t": "call",
            "id": number,
            "name": name,
            "args": list(args),
            "kwargs": kwargs,
            "concurrent": concurrent or not self._gate.on_main(),
        }
        try:
            return number, pack(message, self._channel.limit)
        except EncodeError as error:
            raise ValueError(f"{name}() cannot be called with these arguments: {error}") from None

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, concurrent: bool) -> Any:
        """Call a tool of the host and wait for its answer."""
        number, frame = self._call_frame(name, args, kwargs, concurrent)
        entered = self._gate.enter()
        try:
            if self._channel.stopped:
                raise SnippetStopped
            if self._output.waiting:
                self._output.flush_now()
            ticket = self._channel.post(number, frame)
            try:
                self._channel.wait(ticket)
            finally:
                self._channel.forget(number)
        finally:
            if entered:
                self._gate.leave()
        return self._outcome(ticket.answer)

    async def call_async(self, loop: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a tool of the host and await its answer."""
        number, frame = self._call_frame(name, args, kwargs, True)
        if self._channel.stopped:
            raise SnippetStopped
        answered = loop.create_future()
        watchers: dict[Any, int] = self.__dict__.setdefault("_watchers", {})
        watchers[loop] = watchers.get(loop, 0) + 1
        if watchers[loop] == 1:
            loop.add_reader(self._channel.fd, self._on_readable)
        try:
            ticket = self._post_async(number, frame, loop, answered)
            await answered
        finally:
            self._channel.forget(number)
            watchers[loop] -= 1
            if not watchers[loop]:
                del watchers[loop]
                if not loop.is_closed():
                    loop.remove_reader(self._channel.fd)
        return self._outcome(ticket.answer)

    def _post_async(self, number: int, frame: bytes, loop: Any, answered: Any) -> _Ticket:
        def resolve() -> None:
            if not answered.done():
                answered.set_result(None)

        def deliver() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(resolve)

        entered = self._gate.enter()
        try:
            if self._output.waiting:
                self._output.flush_now()
            return self._channel.post(number, frame, deliver)
        finally:
            if entered:
                self._gate.leave()

    def _on_readable(self) -> None:
        entered = self._gate.enter()
        try:
            self._channel.pump()
        finally:
            if entered:
                self._gate.leave()

    def _outcome(self, answer: dict[str, Any]) -> Any:
        kind = answer.get("t")
        if kind == "result":
            return answer["value"]
        if kind == "error":
            raise _error_from_host(answer["kind"], answer["message"]) from None
        if not self._gate.on_main():
            import signal

            signal.pthread_kill(self._gate.main, signal.SIGUSR2)
        raise SnippetStopped


def _depth() -> int:
    """How many frames the caller's stack has."""
    depth, frame = 0, sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - there is no public way
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth


_FUTURES = 0x1FF0000  # the flags that `from __future__` sets on a program


def _no_input(_prompt: object = "", /) -> str:
    raise EOFError(_NO_INPUT)


def serve(read_fd: int, config: Mapping[str, Any], write_fd: int | None = None) -> NoReturn:
    """Run a guest on an open stream; never returns.

    Args:
        read_fd: A stream socket, or a pipe to read from.
        config: As for `Guest`.
        write_fd: A pipe to write to, when the stream is no socket.
    """
    try:
        Guest(read_fd, read_fd if write_fd is None else write_fd, config).run_forever()
    finally:
        os._exit(70)


def main() -> NoReturn:
    """Serve on standard input and output; the first argument may hold the configuration as JSON."""
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    serve(read_fd, json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}, write_fd)


if __name__ == "__main__":
    main()
