"""Images and sounds among other values, told apart without loading a library, and in words."""

from __future__ import annotations

import sys
from typing import Any, cast

from actloop.guest import Audio


def is_image(value: Any) -> bool:
    """Whether it is an image of Pillow's."""
    cls: Any = getattr(sys.modules.get("PIL.Image"), "Image", None)
    return isinstance(cls, type) and isinstance(value, cls)


def images_in(value: Any, most: int = 8) -> list[Any]:
    """The value itself if it is an image, or the images in a list, tuple or mapping; at most `most` of them."""
    if is_image(value):
        return [value]
    items: Any = ()
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).values()
    elif isinstance(value, list | tuple):
        items = cast("list[Any]", value)
    found: list[Any] = []
    for item in items:
        if is_image(item):
            found.append(item)
            if len(found) == most:
                break
    return found


def described(value: Any) -> str | None:
    """An image or a sound in words, always the same for the same one; None for any other value."""
    if isinstance(value, Audio):
        return repr(value)
    if not is_image(value):
        return None
    try:
        width, height = value.size
    except Exception:  # the file of an image that is read only now
        return "<an image that cannot be read>"
    return f"<image of {width} x {height} pixels, {value.mode}>"
