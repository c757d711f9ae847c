"""Events as lines of JSON, and back. Values of tools and programs go through the same codec as in the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actloop.guest import EncodeError, Opaque, WireError, from_json, to_json
from actloop.values.events import from_dict, to_dict

if TYPE_CHECKING:
    from actloop.values.events import Event

VALUES = ("variables", "images", "args", "kwargs", "result", "output", "answer")
"""Fields that may hold any Python object."""


def encode(event: Event) -> str:
    """An event as one line. A value that cannot be encoded is replaced by its `repr`, cut to 2,000 characters."""
    data = to_dict(event)
    message = data.get("message")
    if message is not None:
        message["role"] = message["role"].value
    try:
        return to_json(data)
    except EncodeError:
        for name in VALUES:
            if name in data:
                data[name] = _encodable(data[name])
        return to_json(data)


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


def decode(text: str) -> Event | None:
    """The event that `encode` wrote; None for a kind that this version does not know, or a line that makes no sense."""
    try:
        return from_dict(from_json(text))
    except (WireError, ValueError, TypeError, KeyError, AttributeError):
        return None
