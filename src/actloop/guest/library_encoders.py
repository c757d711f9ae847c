"""How images, arrays and tables are written down; their libraries are used only where a value brought them along."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .encoders import encode_datetime, encode_timedelta
from .values import EncodeError
from .wire import AS_SENT, DTYPE, PANDAS_DTYPES, SHORT, TAG

if TYPE_CHECKING:
    from .encode import Encoder


def encode_image(encoder: Encoder, value: Any) -> Any:
    try:
        width, height = value.size
        encoder.pixels -= width * height
        if encoder.pixels < 0:
            raise EncodeError("the images have too many pixels to be sent at once")
        return {TAG: "image", "b": encoder.blob(_png(value))}
    except EncodeError:
        raise
    except Exception as error:  # it may be read and decoded only now
        raise EncodeError(f"the image cannot be read: {error}") from None


def _png(value: Any) -> Any:
    import io

    image: Any = value.to_raw() if hasattr(value, "to_raw") else value  # the host's own class wraps an image
    if hasattr(image, AS_SENT) and getattr(image, "_im", image) is None:  # Pillow sets it when the pixels are decoded
        return getattr(image, AS_SENT)

    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
        image = image.convert("RGBA" if "A" in image.getbands() or "a" in image.getbands() else "RGB")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getbuffer()


def encode_array(encoder: Encoder, value: Any) -> Any:
    if not DTYPE.fullmatch(value.dtype.str) or type(value).__name__ != "ndarray":
        return encoder.opaque(value)
    return {TAG: "array", "d": value.dtype.str, "s": list(value.shape), "b": encoder.blob(value.tobytes())}


def encode_scalar(encoder: Encoder, value: Any) -> Any:
    if value.dtype.kind in "biufcSU":
        plain = value.item()
        if type(plain) is not type(value):
            return encoder.value(plain)
    if not DTYPE.fullmatch(value.dtype.str):
        return encoder.opaque(value)
    return {TAG: "scalar", "d": value.dtype.str, "s": [], "b": encoder.blob(value.tobytes())}


def _encode_column(encoder: Encoder, values: Any) -> Any:
    """The values of a Series or an Index: {kind, data, ...}."""
    pandas = sys.modules["pandas"]
    dtype = values.dtype
    name = str(dtype)
    if isinstance(dtype, pandas.CategoricalDtype):
        codes = values.cat.codes if hasattr(values, "cat") else pandas.Series(values.codes)
        return {
            "kind": "category",
            "data": encode_array(encoder, codes.to_numpy()),
            "categories": _encode_column(encoder, dtype.categories),
            "ordered": bool(dtype.ordered),
        }
    if isinstance(dtype, pandas.DatetimeTZDtype):
        zone = str(dtype.tz)
        plain = values.dt.tz_convert("UTC").dt.tz_localize(None) if hasattr(values, "dt") else None
        if plain is None:
            plain = values.tz_convert("UTC").tz_localize(None)
        return {"kind": "moments", "data": encode_array(encoder, plain.to_numpy()), "zone": zone[:SHORT]}
    if type(dtype).__module__.startswith("numpy") and DTYPE.fullmatch(dtype.str):
        return {"kind": "array", "data": encode_array(encoder, values.to_numpy())}
    items = values.tolist()
    if name != "object":
        items = [None if lost else item for item, lost in zip(items, values.isna().tolist(), strict=True)]
    return {"kind": "values", "data": encoder.list(items), "dtype": name if name in PANDAS_DTYPES else "object"}


def _encode_index(encoder: Encoder, value: Any) -> Any:
    pandas = sys.modules["pandas"]
    names = encoder.items(list(value.names), len(value.names))
    if isinstance(value, pandas.RangeIndex):
        return {"kind": "range", "data": [value.start, value.stop, value.step], "names": names}
    if isinstance(value, pandas.MultiIndex):
        return {"kind": "multi", "data": encoder.items(value.tolist(), len(value)), "names": names}
    return {**_encode_column(encoder, value), "names": names}


def encode_frame(encoder: Encoder, value: Any) -> Any:
    columns = [_encode_column(encoder, value.iloc[:, place]) for place in range(value.shape[1])]
    index, labels = _encode_index(encoder, value.index), _encode_index(encoder, value.columns)
    return {TAG: "frame", "columns": columns, "labels": labels, "index": index}


def encode_series(encoder: Encoder, value: Any) -> Any:
    index = _encode_index(encoder, value.index)
    return {TAG: "series", "v": _encode_column(encoder, value), "index": index, "name": encoder.value(value.name)}


def encode_pandas_index(encoder: Encoder, value: Any) -> Any:
    return {TAG: "index", "v": _encode_index(encoder, value)}


def encode_moment(encoder: Encoder, value: Any) -> Any:
    return encode_datetime(encoder, value.to_pydatetime(warn=False))


def encode_span(encoder: Encoder, value: Any) -> Any:
    return encode_timedelta(encoder, value.to_pytimedelta())
