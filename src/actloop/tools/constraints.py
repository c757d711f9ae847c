"""Bounds that a JSON Schema sets on a value of the right type."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.tools.schema import Schema

_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (lambda value, bound: value >= bound, "at least"),
    "maximum": (lambda value, bound: value <= bound, "at most"),
    "exclusiveMinimum": (lambda value, bound: value > bound, "more than"),
    "exclusiveMaximum": (lambda value, bound: value < bound, "less than"),
}
_LENGTHS: dict[str, tuple[type[Any], str]] = {
    "minLength": (str, "characters"),
    "maxLength": (str, "characters"),
    "minItems": (list, "items"),
    "maxItems": (list, "items"),
    "minProperties": (dict, "keys"),
    "maxProperties": (dict, "keys"),
}


_KEYS = {*_BOUNDS, *_LENGTHS, "multipleOf"}


def violation(value: Any, schema: Schema) -> str:
    """What a value breaks of a schema's bounds, in words; empty where it breaks none.

    Numbers, lengths and `multipleOf` are looked at. Patterns are not: one from a stranger could take forever to match.

    Args:
        value: A value of one of the schema's types.
        schema: JSON Schema; bounds that make no sense are passed over.
    """
    if _KEYS.isdisjoint(schema):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        for key, (holds, words) in _BOUNDS.items():
            bound = _number(schema.get(key))
            if bound is not None and not holds(value, bound):
                return f"it must be {words} {bound}"
        step = _number(schema.get("multipleOf"))
        if step is not None and step > 0 and not _is_multiple(value, step):
            return f"it must be a multiple of {step}"
    elif isinstance(value, str | list | tuple | dict):
        size = len(cast("Any", value))
        for key, (kind, unit) in _LENGTHS.items():
            bound = _number(schema.get(key))
            if bound is None or not isinstance(value, (list, tuple) if kind is list else kind):
                continue
            if size < bound if key.startswith("min") else size > bound:
                words = "at least" if key.startswith("min") else "at most"
                return f"it must have {words} {bound} {unit}, it has {size}"
    return ""


def _number(bound: Any) -> float | None:
    return bound if isinstance(bound, int | float) and not isinstance(bound, bool) else None


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    try:
        quotient = value / step
    except OverflowError:
        return True
    return not math.isfinite(quotient) or math.isclose(quotient, round(quotient), rel_tol=1e-9, abs_tol=1e-9)
