"""`AgentImage`: an image that agents return."""

from __future__ import annotations

import os
import tempfile
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from actloop.tools.types import AgentType

try:
    import PIL.Image
except ImportError as error:
    raise ImportError("images need the package 'pillow', which is not installed: pip install pillow") from error


MOST_BYTES = 64 * 1024 * 1024
"""Bytes of an encoded image that is looked at."""

MOST_PIXELS = 64 * 1024 * 1024
"""Pixels of an image that is decoded."""

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "ICO", "AVIF")
"""What is read: formats that only hold pixels. Others, such as EPS, start programs."""


def open_image(source: bytes | str | Path) -> PIL.Image.Image:
    """An image from its bytes, or from a file; only its header is read, the pixels are decoded when they are needed.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no image of a known format, or larger than 64 MiB or 64 million pixels.
    """
    if isinstance(source, bytes):
        if len(source) > MOST_BYTES:
            raise ValueError(f"the image is too large: {len(source):,} bytes, at most {MOST_BYTES:,} are read")
        file: Any = BytesIO(source)
    else:
        file = Path(source)
    formats = [name for name in _FORMATS if name in PIL.Image.OPEN or PIL.Image.init()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # there is a limit of our own
            image = PIL.Image.open(file, formats=formats)
    except PIL.UnidentifiedImageError as error:
        raise ValueError(f"this is no image of a format that is read ({', '.join(_FORMATS)})") from error
    except PIL.Image.DecompressionBombError as error:
        raise ValueError(f"the image is too large: {error}") from error
    width, height = image.size
    if width * height > MOST_PIXELS:
        image.close()
        raise ValueError(f"the image is too large: {width:,} x {height:,} pixels, at most {MOST_PIXELS:,} are decoded")
    return image


class AgentImage(AgentType, PIL.Image.Image):
    """An image; a `PIL.Image.Image` in every way. A file is read when the image is first looked at.

    Args:
        value: An image, its encoded bytes, the path of a file, or an array or tensor: height by width, with channels
            last or first; floats are between 0 and 1, integers between 0 and 255.

    Raises:
        TypeError: It is none of these.
        ValueError: The bytes are no image, or one that is too large.
    """

    def __init__(self, value: Any) -> None:
        # Pillow's own constructor is left out: its attributes come with the image, see `__getattr__`.
        AgentType.__init__(self, value)
        self._path: str | None = None
        self._raw: PIL.Image.Image | None = None
        if isinstance(value, AgentImage):
            self._path, self._raw = value._path, value._raw
        elif isinstance(value, PIL.Image.Image):
            self._raw = value
        elif isinstance(value, bytes):
            self._raw = open_image(value)
        elif isinstance(value, str | Path):
            self._path = str(value)
        elif hasattr(value, "__array__"):
            self._raw = _from_array(value)
        else:
            raise TypeError(f"an image is an image, bytes, a path or an array, not {type(value).__name__}")

    def __getattr__(self, name: str) -> Any:
        """Take over the state of the wrapped image when a first attribute of it is asked for."""
        own = self.__dict__
        if "_raw" not in own or "_size" in own or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raw = self.to_raw()
        if name in ("_size", "_mode"):
            return getattr(raw, name)  # what the header says needs no pixels
        self.__dict__ = {**raw.copy().__dict__, "format": raw.format, **own}
        return getattr(self, name)

    def to_raw(self) -> PIL.Image.Image:
        """The image as Pillow's own class.

        Raises:
            OSError: The file cannot be read as an image.
            ValueError: It is no image, or one that is too large.
        """
        if self._raw is None:
            with open_image(cast("str", self._path)) as file:
                file.load()
                self._raw = file
        return self._raw

    def to_string(self) -> str:
        """Path of a file that holds the image; written to a temporary PNG first where there is none."""
        if self._path is None:
            handle, path = tempfile.mkstemp(suffix=".png")
            os.close(handle)
            self.to_raw().save(path, format="PNG")
            self._path = path
        return self._path

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:  # noqa: A002  (Pillow's own name)
        """Save the image, as Pillow does.

        Args:
            fp: A path or a binary file.
            format: Name of the format; by default from the path's ending.
            params: Options of the format.
        """
        self.to_raw().save(fp, format=format, **params)

    def _ipython_display_(self, include: Any = None, exclude: Any = None) -> None:  # noqa: ARG002
        from IPython.display import display  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

        display(self.to_raw())


def _from_array(value: Any) -> PIL.Image.Image:
    import numpy as np

    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype.kind in "fb":
        array = (np.clip(array.astype(np.float64), 0.0, 1.0) * 255).round()
    return PIL.Image.fromarray(np.ascontiguousarray(np.clip(array, 0, 255).astype(np.uint8)))
