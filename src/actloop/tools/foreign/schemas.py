"""What others say of their tools, as the inputs of ours. All of it was written by strangers."""

from __future__ import annotations

import json
from typing import Any, cast

from actloop.tools.names import python_name
from actloop.tools.schema import AUTHORIZED_TYPES, COMPOSITE, Schema

LONGEST_NAME = 64
LONGEST_DESCRIPTION = 8_000
"""Characters; more would fill the context of a model."""

_LARGEST_SCHEMA = 64_000
"""Characters of a schema as JSON; of a larger one only the types of the arguments are kept."""

_MOST_INPUTS = 200
_DEEPEST = 40
_NESTED = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "patternProperties")


def tool_name(given: str) -> str:
    """A name that Python and every model's service accepts, whatever the given one is."""
    name = python_name("".join(char if char.isascii() and char.isprintable() else "_" for char in given[:200]))
    return name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME].rstrip("_") or "tool"


def description_of(text: Any) -> str:
    """A description, cut where it is far too long."""
    told = text if isinstance(text, str) else ""
    if len(told) <= LONGEST_DESCRIPTION:
        return told
    return f"{told[:LONGEST_DESCRIPTION]} [cut: the description has {len(told)} characters]"


def tool_inputs(schema: Any) -> dict[str, Schema]:
    """The `inputs` of a tool from its JSON Schema.

    Each argument keeps its own schema, with the definitions that it refers to; where that has no usable type it gets
    `"type": "any"`. What is not required is `nullable`.
    """
    whole = _mapping(schema)
    properties = _mapping(whole.get("properties"))
    required = whole.get("required")
    needed = {str(name) for name in cast("list[Any]", required)} if isinstance(required, list) else set[str]()
    definitions = {**_mapping(whole.get("definitions")), **_mapping(whole.get("$defs"))}
    small = _size(whole) <= _LARGEST_SCHEMA
    inputs: dict[str, Schema] = {}
    for name, value in list(properties.items())[:_MOST_INPUTS]:
        if not name or not name.isprintable() or len(name) > 200:
            continue
        entry = _mapping(value)
        told = description_of(entry.get("description"))
        kept = _clean(entry, 0) if small else {key: _types(entry[key]) for key in ("type",) if key in entry}
        kept["description"] = told if small else told[:500]
        if "type" not in kept and not any(keyword in kept for keyword in COMPOSITE):
            kept["type"] = "any"
        used = _used(kept, definitions) if small else {}
        if used:
            kept["$defs"] = used
        if name not in needed:
            kept["nullable"] = True
        inputs[name] = kept
    return inputs


def takes_null(schema: Schema) -> bool:
    """Whether None is a value of an argument on the other side, and not only its absence."""
    kinds = schema.get("type")
    if kinds in ("any", "null") or (isinstance(kinds, list) and "null" in kinds):
        return True
    if kinds is not None:
        return False
    choices = schema.get("enum")
    if isinstance(choices, list):
        return None in cast("list[Any]", choices)
    options = [_mapping(option) for key in ("anyOf", "oneOf") for option in _list(schema.get(key))]
    return any(takes_null(option) for option in options) if options else "$ref" in schema or "allOf" in schema


def output_schema(schema: Any) -> Schema | None:
    """The schema of a tool's result; None where there is none, or one far too large."""
    whole = _mapping(schema)
    if not whole or _size(whole) > _LARGEST_SCHEMA:
        return None
    definitions = {**_mapping(whole.get("definitions")), **_mapping(whole.get("$defs"))}
    kept = _clean(whole, 0)
    used = _used(kept, definitions)
    return {**kept, "$defs": used} if used else kept


def _mapping(value: Any) -> dict[str, Any]:
    return {str(key): item for key, item in cast("dict[Any, Any]", value).items()} if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _size(value: Any) -> int:
    try:
        return len(json.dumps(value))
    except (ValueError, RecursionError, TypeError):
        return _LARGEST_SCHEMA + 1


def _types(value: Any) -> Any:
    names = [name for name in (_list(value) or [value]) if isinstance(name, str) and name in AUTHORIZED_TYPES]
    if not names:
        return "any"
    return names if isinstance(value, list) and len(names) > 1 else names[0]


def _clean(value: Any, depth: int) -> Schema:
    """A schema with known types and definitions in one place; what is nested too deep may be anything."""
    if not isinstance(value, dict) or depth > _DEEPEST:
        return {"type": "any"}
    out: Schema = {}
    for key, item in _mapping(cast("object", value)).items():
        if key in ("$defs", "definitions", "$schema", "$id", "title"):
            continue
        if key == "type":
            out[key] = _types(item)
        elif key == "$ref":
            out[key] = str(item).replace("#/definitions/", "#/$defs/")
        elif key == "nullable":
            if item is True:
                out[key] = True
        elif key in _MAPS:
            out[key] = {name: _clean(part, depth + 1) for name, part in _mapping(item).items()}
        elif key in _LISTS:
            out[key] = [_clean(part, depth + 1) for part in _list(item)]
        elif key in _NESTED and isinstance(item, dict):
            out[key] = _clean(cast("object", item), depth + 1)
        else:
            out[key] = item
    return out


def _used(schema: Schema, definitions: dict[str, Any]) -> Schema:
    """The definitions that a schema refers to, over however many others."""
    found: Schema = {}
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += cast("list[Any]", node)
        elif isinstance(node, dict):
            entry = cast("Schema", node)
            waiting += entry.values()
            reference = entry.get("$ref")
            name = reference.removeprefix("#/$defs/") if isinstance(reference, str) else ""
            if name in definitions and name not in found:
                found[name] = _clean(definitions[name], 0)
                waiting.append(found[name])
    return found
