"""How images, arrays and tables are read back, or what stands for them where their library is not installed."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, cast

from .decoders import field_of, numbers_of, spread, zone_of
from .values import Opaque, WireError
from .wire import AS_SENT, DTYPE, PANDAS_DTYPES, TAG

if TYPE_CHECKING:
    from .decode import Decoder


_END_OF_PNG = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def _library(name: str) -> Any:
    """A library that a value needs, or None where it is not installed."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def decode_image(decoder: Decoder, fields: dict[str, Any]) -> Any:
    import io

    data = decoder.blob(fields)
    module = _library("PIL.Image")
    if module is None:
        return Opaque("<an image; install pillow to see it>", "Image")
    if not data.endswith(_END_OF_PNG):
        raise WireError("an image is cut off, or something follows it")
    image = module.open(io.BytesIO(data), formats=["PNG"])
    decoder.pixels -= image.size[0] * image.size[1]
    if decoder.pixels < 0:
        raise WireError("the images are too large")
    image.verify()  # the checksums of all parts; afterwards the file must be opened again
    # The pixels are decoded when someone looks at them: most images are only passed on, as the bytes that they are.
    image = module.open(io.BytesIO(data), formats=["PNG"])
    setattr(image, AS_SENT, data)
    return image


def _array(data: bytes, kind: str, shape: Any) -> Any:
    numpy = _library("numpy")
    if numpy is None:
        return Opaque(f"<an array of {kind}; install numpy to see it>", "ndarray")
    if not DTYPE.fullmatch(kind):
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


def decode_array(decoder: Decoder, fields: dict[str, Any]) -> Any:
    array = _array(decoder.blob(fields), field_of(fields, "d", str), fields.get("s"))
    return array[()] if fields[TAG] == "scalar" and not isinstance(array, Opaque) else array


def _zone_of_column(name: str) -> Any:
    """A time zone by its name, never given to pandas, which would open a file of the name `dateutil//etc/passwd`."""
    fixed = re.fullmatch(r"UTC(?:([+-])(\d\d):(\d\d))?", name)
    if fixed is None:
        return zone_of({"key": name})
    sign, hours, minutes = fixed.groups(default="0")
    offset = (int(hours) * 60 + int(minutes)) * 60_000_000
    return zone_of({"offset": -offset if sign == "-" else offset})


def _column(pandas: Any, data: Any) -> Any:
    """The values of a Series or an Index as something that pandas takes."""
    if type(data) is not dict:
        raise WireError("not a column")
    fields = cast("dict[str, Any]", data)
    kind, values = fields.get("kind"), fields.get("data")
    if kind == "values":
        dtype = fields.get("dtype")
        if type(values) is not list or dtype not in PANDAS_DTYPES:
            raise WireError("not a column")
        return pandas.Series(cast("list[Any]", values), dtype=dtype).array
    if type(values).__name__ != "ndarray" or getattr(values, "ndim", 0) != 1:
        raise WireError("not a column")
    if kind == "array":
        return values
    if kind == "moments":
        zone = _zone_of_column(field_of(fields, "zone", str))
        return pandas.DatetimeIndex(values).tz_localize("UTC").tz_convert(zone)
    if kind == "category":
        categories = pandas.Index(_column(pandas, fields.get("categories")))
        spread(categories.tolist())
        return pandas.Categorical.from_codes(values, categories, ordered=field_of(fields, "ordered", bool))
    raise WireError("an unknown kind of column")


def _index(pandas: Any, data: Any) -> Any:
    if type(data) is not dict:
        raise WireError("not an index")
    fields = cast("dict[str, Any]", data)
    kind, names = fields.get("kind"), field_of(fields, "names", list)
    if kind == "range":
        parts = numbers_of(fields.get("data"), 3)
        if any(abs(part) > 1 << 40 for part in parts):
            raise WireError("not an index")
        return pandas.RangeIndex(*parts, name=names[0])
    if kind == "multi":
        rows = field_of(fields, "data", list)
        if any(type(row) is not tuple or len(cast("tuple[Any, ...]", row)) != len(names) for row in rows):
            raise WireError("not an index")
        for column in zip(*rows, strict=True):
            spread(list(column))
        if not rows:
            return pandas.MultiIndex.from_arrays([[] for _ in names], names=names)
        return pandas.MultiIndex.from_tuples(rows, names=names)
    if len(names) != 1:
        raise WireError("not an index")
    dtype = "object" if fields.get("dtype") == "object" else None  # without it, pandas would guess
    return pandas.Index(_column(pandas, fields), name=names[0], dtype=dtype)


def decode_pandas(_decoder: Decoder, fields: dict[str, Any]) -> Any:
    pandas = _library("pandas")
    tag = fields[TAG]
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
    columns = [_column(pandas, column) for column in field_of(fields, "columns", list)]
    labels = _index(pandas, fields.get("labels"))
    if len(labels) != len(columns) or any(len(column) != len(index) for column in columns):
        raise WireError("the parts of a table do not fit")
    frame = pandas.DataFrame(dict(enumerate(columns)), index=index)
    frame.columns = labels
    return frame
