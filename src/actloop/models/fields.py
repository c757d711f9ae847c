"""Reading answers of which nothing can be relied on: fields may be missing, null, misnamed or of another type."""

from __future__ import annotations

from typing import Any, cast


def get(value: object, name: str) -> Any:
    """A field of a mapping or of an object; None where there is none."""
    own: dict[str, Any] = getattr(value, "__dict__", {})
    if name not in own and isinstance(value, dict):  # some are both, and their attributes know more
        return cast("dict[str, Any]", value).get(name)
    return getattr(value, name, None)


def items(value: object) -> list[Any]:
    """The list, or an empty one where it is none."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text(value: object) -> str | None:
    """The text, or None where it is none."""
    return value if isinstance(value, str) else None


def count(value: object) -> int | None:
    """The number, or None where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
