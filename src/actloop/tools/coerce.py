"""Values for a schema: as they are, or converted where the conversion loses nothing.

"3" is an integer, 3.0 is one, "true" is a boolean, JSON text is a list; 3.5 is no integer, "yes" no boolean.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Set, ValuesView
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Any, cast

from actloop.guest import Audio
from actloop.tools.constraints import violation
from actloop.tools.schema import Schema, choices_in, is_class_loaded, required_in, schema_in, schemas_in, type_names
from actloop.values.cuts import cut

_DEEPEST = 100
_LONGEST_SHAPE = 300
_LONGEST_NUMBER = 400
_MOST_ITEMS = 10_000_000
"""Items that a range or an array, which may be far larger than what it takes to send it, is written out to."""

_INTEGER = re.compile(r"[+-]?[0-9]+(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


class MismatchError(Exception):
    """A value does not fit its schema.

    Args:
        expected: What was expected, in words.
        value: What came.
        path: Where inside the argument, such as `[2]["name"]`; empty for the argument itself.
        fault: What is wrong, where that is not that the value is none of `expected`.
    """

    def __init__(self, expected: str, value: Any, path: str = "", fault: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = value
        self.path = path
        self.fault = fault


class _Place:
    """Where in a value the conversion is; its path is written only where it is asked for.

    `fuel` is how many options of unions may still be tried; each part of a value adds some.
    """

    __slots__ = ("above", "depth", "fuel", "key", "root")

    def __init__(self, root: Schema, above: _Place | None = None, key: Any = None) -> None:
        self.root = root
        self.above = above
        self.key = key
        self.depth: int = above.depth + 1 if above is not None else 0
        self.fuel: list[int] = above.fuel if above is not None else [1_000]

    def at(self, key: Any) -> _Place:
        """The place of a part."""
        self.fuel[0] += 20
        return _Place(self.root, self, key)

    def deeper(self) -> _Place:
        """The same place, one level of schema further down."""
        return _Place(self.root, self, self)

    @property
    def path(self) -> str:
        """As in Python: `[2]['name']`."""
        steps: list[str] = []
        place = self
        while place.above is not None:
            if not isinstance(place.key, _Place):
                steps.append(f"[{place.key!r}]" if isinstance(place.key, int) or len(str(place.key)) < 60 else "[...]")
            place = place.above
        return "".join(reversed(steps))


def coerce(value: Any, schema: Schema, place: _Place | None = None) -> Any:
    """The value as the schema wants it.

    Args:
        value: Any value.
        schema: Schema in the dialect of `inputs`.
        place: For calls on parts of a value.

    Returns:
        The same value where it fits, else a converted copy.

    Raises:
        MismatchError: It does not fit, and cannot be made to without loss.
    """
    place = place or _Place(schema)
    if place.depth > _DEEPEST:
        raise MismatchError("less nesting", value, place.path, f"it is nested more than {_DEEPEST} levels deep")
    schema = _referred(schema, place)
    if value is None and (schema.get("nullable") or "null" in type_names(schema)):
        return None
    options = schemas_in(schema, "anyOf") or schemas_in(schema, "oneOf")
    if options:
        return _first(options, value, schema, place)
    if choices_in(schema):
        return _chosen(value, schema, place)
    names = type_names(schema)
    if len(names) == 1:
        return _typed(value, names[0], schema, place)
    return _first([{**schema, "type": name} for name in names], value, schema, place)


def _referred(schema: Schema, place: _Place) -> Schema:
    definitions = schema_in(place.root, "$defs")
    for _ in range(_DEEPEST):
        if "$ref" not in schema:
            return schema
        found = definitions.get(str(schema["$ref"]).removeprefix("#/$defs/"))
        if not isinstance(found, dict):
            return {"type": "any"}
        rest = {key: value for key, value in schema.items() if key == "nullable"}
        schema = {**cast("Schema", found), **rest}
    return {"type": "any"}


def _first(options: list[Schema], value: Any, schema: Schema, place: _Place) -> Any:
    """The value for the option that takes it as it is, else for the first that it can be converted to."""
    converted: list[Any] = []
    fault: MismatchError | None = None
    deeper = place.deeper()
    for option in options:
        place.fuel[0] -= 1
        if place.fuel[0] < 0:
            raise MismatchError("a simpler value", value, place.path, "there are too many ways to read it")
        try:
            made = coerce(value, option, deeper)
        except MismatchError as error:
            if fault is None or len(error.path) > len(fault.path):
                fault = error
            continue
        if made is value:
            return value
        converted.append(made)
    if converted:
        return converted[0]
    if fault is not None and len(fault.path) > len(place.path):
        raise fault
    raise MismatchError(expectation(schema), value, place.path)


def _chosen(value: Any, schema: Schema, place: _Place) -> Any:
    choices = choices_in(schema)
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return value
    for name in type_names({key: part for key, part in schema.items() if key == "type"} or {"enum": choices}):
        try:
            made = _typed(value, name, {"type": name}, place)
        except MismatchError:
            continue
        for choice in choices:
            if isinstance(choice, bool) == isinstance(made, bool) and choice == made:
                return choice
    raise MismatchError(expectation(schema), value, place.path)


def _typed(value: Any, name: str, schema: Schema, place: _Place) -> Any:
    convert = _CONVERSIONS.get(name)
    made = value if convert is None else convert(value, schema, place)
    wrong = violation(made, schema)
    if wrong:
        raise MismatchError(expectation(schema), value, place.path, wrong)
    return made


def _refuse(value: Any, schema: Schema, place: _Place) -> Any:
    raise MismatchError(expectation(schema), value, place.path)


def _string(value: Any, schema: Schema, place: _Place) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_LONGEST_NUMBER:
        return str(value)
    return _refuse(value, schema, place)


def _boolean(value: Any, schema: Schema, place: _Place) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if is_class_loaded("numpy", "bool_", value):
        return bool(value)
    return _refuse(value, schema, place)


def _integer(value: Any, schema: Schema, place: _Place) -> Any:
    if isinstance(value, bool):
        return _refuse(value, schema, place)
    if type(value) is int:
        return value
    if isinstance(value, str):
        text = value.strip()
        if len(text) <= _LONGEST_NUMBER and _INTEGER.fullmatch(text):
            return int(text.partition(".")[0])
        return _refuse(value, schema, place)
    if isinstance(value, float | Decimal | Fraction):
        if isinstance(value, Decimal):
            writable = value.is_finite() and value.adjusted() < _LONGEST_NUMBER
        else:
            writable = math.isfinite(value)
        if writable:
            whole = int(value)
            if whole == value:
                return whole
        return _refuse(value, schema, place)
    try:
        return operator.index(value)
    except TypeError:
        return _refuse(value, schema, place)


def _number(value: Any, schema: Schema, place: _Place) -> Any:
    if isinstance(value, bool):
        return _refuse(value, schema, place)
    if isinstance(value, int | float | Decimal | Fraction):
        return value
    if isinstance(value, str):
        text = value.strip()
        if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text):
            if _INTEGER.fullmatch(text) and "." not in text:
                return int(text)
            made = float(text)
            if math.isfinite(made) and Decimal(repr(made)) == Decimal(text):
                return made
        return _refuse(value, schema, place)
    if is_class_loaded("numpy", "number", value):
        return value.item()
    return _refuse(value, schema, place)


def _array(value: Any, schema: Schema, place: _Place) -> Any:
    if isinstance(value, str):
        value = _from_json(value, list, schema, place)
    elif is_class_loaded("numpy", "ndarray", value):
        if any(size > _MOST_ITEMS for size in accumulate(value.shape, operator.mul)):
            return _refuse(value, schema, place)
        value = value.tolist()
    elif isinstance(value, range) and value[_MOST_ITEMS:]:
        return _refuse(value, schema, place)
    elif isinstance(value, tuple | Set | range | deque | ValuesView):
        value = list(cast("Iterable[Any]", value))
    if not isinstance(value, list):
        return _refuse(value, schema, place)
    items = cast("list[Any]", value)
    known = schemas_in(schema, "prefixItems")
    if known and len(items) != len(known) and not isinstance(schema.get("items"), dict):
        raise MismatchError(expectation(schema), value, place.path, f"its length is {len(items)}, not {len(known)}")
    rest = schema_in(schema, "items")
    kind = rest.get("type")
    simple = isinstance(kind, str) and not known and rest.keys() <= {"type", "description"}
    exact = _EXACT.get(kind) if simple else None
    if exact is not None and all(type(item) in exact for item in items):
        return items
    schemas = [*known[: len(items)], *([rest] * (len(items) - len(known)))]
    made = [
        coerce(item, part, place.at(number)) if part else item
        for number, (item, part) in enumerate(zip(items, schemas, strict=True))
    ]
    return items if all(a is b for a, b in zip(items, made, strict=True)) else made


def _object(value: Any, schema: Schema, place: _Place) -> Any:
    if isinstance(value, str):
        value = _from_json(value, dict, schema, place)
    elif value is None or isinstance(value, int | float | list | tuple | Set):
        return _refuse(cast("Any", value), schema, place)
    elif is_class_loaded("actloop.guest", "Record", value):
        value = value.record_fields
    if not isinstance(value, Mapping):
        return value  # an object of some class: what it is, the schema cannot say
    fields = cast("Mapping[Any, Any]", value)
    known = schema_in(schema, "properties")
    more: Any = schema.get("additionalProperties")
    missing = [key for key in required_in(schema) if isinstance(key, str) and key not in fields]
    if missing:
        raise MismatchError(expectation(schema), value, place.path, f"it lacks the key {missing[0]!r}")
    made: dict[Any, Any] = {}
    for key, item in fields.items():
        part = known.get(key, more)
        if part is False and key not in known:
            fault = f"the key {cut(str(key), 60)!r} is unknown; keys are {', '.join(map(repr, known))}"
            raise MismatchError(expectation(schema), value, place.path, fault)
        made[key] = coerce(item, cast("Schema", part), place.at(key)) if isinstance(part, dict) else item
    return fields if all(made[key] is item for key, item in fields.items()) else made


def _media(value: Any, schema: Schema, place: _Place) -> Any:
    """An image or a sound: an object, bytes, or a path; one that came from a sandbox as the host's own class."""
    if isinstance(value, Audio):
        from actloop.tools.types import AgentAudio

        return AgentAudio(value)
    return _refuse(value, schema, place) if value is None or isinstance(value, int | float) else value


def _null(value: Any, schema: Schema, place: _Place) -> Any:
    return value if value is None else _refuse(value, schema, place)


def _from_json(text: str, kind: type[Any], schema: Schema, place: _Place) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _refuse(text, schema, place)
    return value if isinstance(value, kind) else _refuse(text, schema, place)


_EXACT: dict[Any, tuple[type[Any], ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}
"""Classes whose instances need no conversion, so that long lists are passed on quickly."""

_CONVERSIONS: dict[str, Callable[[Any, Schema, _Place], Any]] = {
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "array": _array,
    "object": _object,
    "image": _media,
    "audio": _media,
    "null": _null,
}


def expectation(schema: Schema) -> str:
    """What a schema expects: its fields, or a Python type with its format."""
    from actloop.tools.render import python_type, shape

    fields = shape(schema)
    if fields:
        return cut(fields, _LONGEST_SHAPE)
    form = schema.get("format")
    kind = python_type(schema)
    return f"{kind} ({' '.join(form[:60].split())})" if isinstance(form, str) and form.isprintable() else kind
