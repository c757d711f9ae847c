"""JSON Schema from Python types, in the dialect of a tool's `inputs`.

That dialect is JSON Schema with three additions: the types "any", "image" and "audio", and `nullable` where None may be
given. `tool_json_schema` turns it into plain JSON Schema for models.
"""

from __future__ import annotations

import sys
import types
import typing
import warnings
from collections import abc
from typing import Any, Literal, Union, cast

Schema = dict[str, Any]

AUTHORIZED_TYPES = [
    "string",
    "boolean",
    "integer",
    "number",
    "image",
    "audio",
    "array",
    "object",
    "any",
    "null",
]

COMPOSITE = ("anyOf", "oneOf", "allOf", "enum", "const", "$ref")
"""Keywords that say what a value may be where `type` is missing."""

_PRIMITIVES: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
    None: "null",
    Any: "any",
    object: "any",
    typing.List: "array",  # noqa: UP006
    typing.Dict: "object",  # noqa: UP006
}
_ARRAYS = (list, abc.Sequence, abc.Iterable, abc.Collection, abc.MutableSequence)
_OBJECTS = (dict, abc.Mapping, abc.MutableMapping)


class TypeHintParsingException(Exception):  # noqa: N818  (the name that programs catch)
    """A type hint cannot be turned into a schema; the message names the argument."""


def type_schema(hint: Any) -> Schema:
    """The schema of a type.

    Types that JSON does not know are described by pydantic (dataclasses, models, enums, dates, ...); a class that
    pydantic does not know either is an "object".

    Args:
        hint: Any type hint, already evaluated.

    Returns:
        A schema of its own, with the definitions of recursive types under `$defs`.

    Raises:
        TypeHintParsingException: It is not a type hint.
    """
    plain = plain_schema(hint)
    if plain is not None:
        return plain
    options = _options(hint)
    if options is not None:
        return _union([type_schema(option) for option in options])
    media = _media_type(hint)
    if media is not None:
        return {"type": media}
    origin: Any = typing.get_origin(hint)
    if not (isinstance(hint, type) or origin or type(hint).__module__ in ("typing", "typing_extensions")):
        raise TypeHintParsingException(f"{hint!r} is not a type")
    described = _pydantic_schema(hint)
    if described is not None:
        return described
    if origin is typing.Annotated:
        return type_schema(typing.get_args(hint)[0])
    if origin is not None and origin is not hint:
        return type_schema(origin)
    return {"type": "object" if isinstance(hint, type) else "any"}


def plain_schema(hint: Any, _above: tuple[Any, ...] = ()) -> Schema | None:
    """The schema of a type whose values are JSON values as they stand; None for every other type."""
    name = _primitive(hint)
    if name is not None:
        return {"type": name}
    if typing.is_typeddict(hint):
        return _typed_dict(hint, _above)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated and all(isinstance(note, str) for note in args[1:]):
        return plain_schema(args[0], _above)
    if origin is Literal:
        return _literal(args)
    options = _options(hint)
    if options is not None:
        schemas = [plain_schema(option, _above) for option in options]
        return None if None in schemas else _union(cast("list[Schema]", schemas))
    if origin in _ARRAYS or hint in _ARRAYS:
        return _with("array", "items", args, _above)
    if origin in _OBJECTS and (not args or args[0] in (str, Any)):
        return _with("object", "additionalProperties", args[1:], _above)
    return {"type": "object"} if hint in _OBJECTS else None


def _primitive(hint: Any) -> str | None:
    try:
        return _PRIMITIVES.get(hint)
    except TypeError:  # not hashable
        return None


def _with(name: str, key: str, args: tuple[Any, ...], above: tuple[Any, ...]) -> Schema | None:
    """An array or an object whose elements are described under `key`."""
    if not args or isinstance(args[0], typing.TypeVar):
        return {"type": name}
    element = plain_schema(args[0], above)
    return None if element is None else {"type": name, key: element}


def _options(hint: Any) -> tuple[Any, ...] | None:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else None


def _union(schemas: list[Schema]) -> Schema:
    nullable = any(schema == {"type": "null"} or schema.get("nullable") for schema in schemas)
    rest: list[Schema] = []
    for schema in schemas:
        bare = {key: value for key, value in schema.items() if key != "nullable"}
        if bare != {"type": "null"} and bare not in rest:
            rest.append(bare)
    merged: Schema
    if not rest:
        return {"type": "null"}
    if len(rest) == 1:
        merged = rest[0]
    elif any(schema == {"type": "any"} for schema in rest):
        merged = {"type": "any"}
    else:
        names = {name for schema in rest for name in type_names(schema)}
        merged = {"type": sorted(names) if len(names) > 1 else names.pop()}
        if "any" in names:
            merged["type"] = "any"
        if any(set(schema) != {"type"} for schema in rest):
            merged["anyOf"] = rest
    return {**merged, "nullable": True} if nullable else merged


def type_names(schema: Schema) -> list[str]:
    """Types that a schema allows, as names; "any" where it does not say."""
    names = schema.get("type")
    if isinstance(names, str):
        return [names]
    if isinstance(names, list) and names:
        return [str(name) for name in cast("list[Any]", names)]
    return sorted({_primitive(cast("Any", type(value))) or "any" for value in choices_in(schema)}) or ["any"]


def choices_in(schema: Schema) -> list[Any]:
    """The values that `enum` or `const` allow; empty where the schema has neither."""
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return cast("list[Any]", choices) if isinstance(choices, list) else []


def schemas_in(schema: Schema, *keywords: str) -> list[Schema]:
    """The schemas listed under keywords such as `anyOf`; what is none is left out."""
    found: list[Schema] = []
    for keyword in keywords:
        listed = schema.get(keyword)
        if isinstance(listed, list):
            found += [cast("Schema", item) for item in cast("list[Any]", listed) if isinstance(item, dict)]
    return found


def schema_in(schema: Schema, keyword: str) -> Schema:
    """The mapping under a keyword such as `properties`; empty where there is none."""
    found = schema.get(keyword)
    return cast("Schema", found) if isinstance(found, dict) else {}


def required_in(schema: Schema) -> list[Any]:
    """Keys that an object must have."""
    required = schema.get("required")
    return cast("list[Any]", required) if isinstance(required, list) else []


def _literal(values: tuple[Any, ...]) -> Schema | None:
    if any(type(value) not in (str, int, bool, type(None)) for value in values):
        return None
    chosen = [value for value in values if value is not None]
    names = sorted({_PRIMITIVES[type(value)] for value in chosen})
    schema: Schema = {"type": names[0] if len(names) == 1 else names or "null"}
    if chosen:
        schema["enum"] = chosen
    return {**schema, "nullable": True} if None in values and chosen else schema


def _typed_dict(hint: Any, above: tuple[Any, ...]) -> Schema:
    """Fields that are not plain are described apart; a type that holds itself is not followed further."""
    if hint in above:
        return {"type": "object"}
    try:
        hints = typing.get_type_hints(hint, include_extras=True)
    except NameError:
        return {"type": "object"}
    properties: Schema = {}
    required: list[str] = []
    for name, field in hints.items():
        needed = name in hint.__required_keys__
        while typing.get_origin(field) in (typing.Required, typing.NotRequired):
            # `__required_keys__` misses these where annotations are strings.
            needed = typing.get_origin(field) is typing.Required
            field = typing.get_args(field)[0]
        properties[name] = plain_schema(field, (*above, hint)) or type_schema(field)
        text = annotated_text(field)
        if text:
            properties[name]["description"] = text
        if needed:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def annotated_text(hint: Any) -> str:
    """The description in `Annotated[T, "description"]`, or in pydantic's `Annotated[T, Field(description=...)]`."""
    if typing.get_origin(hint) is not typing.Annotated:
        return ""
    for note in typing.get_args(hint)[1:]:
        text = note if isinstance(note, str) else getattr(note, "description", None)
        if isinstance(text, str) and text:
            return text
    return ""


def _media_type(hint: Any) -> str | None:
    if not isinstance(hint, type):
        return None
    for cls in hint.__mro__:
        if (cls.__module__, cls.__name__) == ("PIL.Image", "Image"):
            return "image"
        if (cls.__module__, cls.__name__) == ("actloop.tools.types", "AgentAudio"):
            return "audio"
    return None


def type_adapter(hint: Any) -> Any | None:
    """A pydantic `TypeAdapter` for a type, or None for one that pydantic does not know."""
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError

    hint = _readable(hint, ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parts of a type that are not checked
        try:
            return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":  # a model brings its own configuration
                return None
        except Exception:
            return None
        try:
            return TypeAdapter(hint)
        except Exception:
            return None


def _readable(hint: Any, above: tuple[Any, ...]) -> Any:
    """The type hint with every `typing.TypedDict` as pydantic reads it, which it does from Python 3.12 on only."""
    if typing.is_typeddict(hint) and sys.version_info < (3, 12) and type(hint).__module__ == "typing":
        from typing_extensions import TypedDict

        if hint in above:
            return dict[str, Any]
        try:
            hints = typing.get_type_hints(hint, include_extras=True)
        except NameError:
            return dict[str, Any]
        fields: dict[str, Any] = {}
        for name, field in hints.items():
            needed = name in hint.__required_keys__
            while typing.get_origin(field) in (typing.Required, typing.NotRequired):
                needed = typing.get_origin(field) is typing.Required
                field = typing.get_args(field)[0]
            made = _readable(field, (*above, hint))
            fields[name] = made if needed else typing.NotRequired[made]
        return TypedDict(hint.__name__, fields)  # pyright: ignore[reportArgumentType, reportCallIssue]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if not args or origin is Literal:
        return hint
    made = tuple(_readable(arg, above) for arg in args)
    if all(a is b for a, b in zip(args, made, strict=True)):
        return hint
    if origin is types.UnionType:
        return Union[made]  # noqa: UP007
    if origin is typing.Annotated:
        return typing.Annotated[(made[0], *args[1:])]  # pyright: ignore[reportInvalidTypeForm]
    return hint.copy_with(made) if hasattr(hint, "copy_with") else origin[made]


def holds_json(hint: Any, above: tuple[Any, ...] = ()) -> bool:
    """Whether values of a type are JSON values through and through, so that nothing is to be made of them."""
    if plain_schema(hint) is None:
        return False
    parts: list[Any] = [arg for arg in typing.get_args(hint) if typing.get_origin(hint) is not Literal]
    if typing.get_origin(hint) is typing.Annotated:
        parts = parts[:1]
    if typing.is_typeddict(hint):
        if hint in above:
            return True
        try:
            parts = list(typing.get_type_hints(hint, include_extras=True).values())
        except NameError:
            return True
    return all(
        holds_json(typing.get_args(part)[0] if typing.get_origin(part) in _FIELD_MARKS else part, (*above, hint))
        for part in parts
        if not isinstance(part, typing.TypeVar)
    )


_FIELD_MARKS = (typing.Required, typing.NotRequired)


def _pydantic_schema(hint: Any) -> Schema | None:
    adapter = type_adapter(hint)
    if adapter is None:
        return None
    try:
        schema: Schema = adapter.json_schema()
    except Exception:
        return None
    return _null_apart(inline_refs(schema))


def _null_apart(schema: Schema) -> Schema:
    """Say `nullable` for a union with null at the top, as `inputs` does, and give the top a type."""
    if "anyOf" in schema:
        top = {key: value for key, value in schema.items() if key != "anyOf"}
        return {**_union(list(schema["anyOf"])), **top}
    if "type" not in schema:
        names = type_names(schema.get("$defs", {}).get(_ref_name(schema), schema))
        return {"type": names[0] if len(names) == 1 else names, **schema}
    return schema


def inline_refs(schema: Schema) -> Schema:
    """Put definitions where they are referred to, and drop titles; definitions of recursive types stay in `$defs`."""
    definitions: Schema = schema.get("$defs", {})
    recursive = {name for name in definitions if _reaches(name, definitions)}

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        entry = cast("Schema", node)
        name = _ref_name(entry)
        if name is not None and name in definitions and name not in recursive:
            return {**inline(definitions[name]), **{k: v for k, v in entry.items() if k != "$ref"}}
        return {
            key: {name: inline(field) for name, field in value.items()} if key == "properties" else inline(value)
            for key, value in entry.items()
            if key != "$defs" and not (key == "title" and isinstance(value, str))
        }

    out: Schema = inline(schema)
    if recursive:
        out["$defs"] = {name: inline(definitions[name]) for name in sorted(recursive)}
    return out


def _ref_name(entry: Schema) -> str | None:
    reference = entry.get("$ref")
    return reference.removeprefix("#/$defs/") if isinstance(reference, str) else None


def _reaches(start: str, definitions: Schema) -> bool:
    """Whether a definition refers to itself, over however many others."""
    seen: set[str] = set()
    waiting: list[Any] = [definitions[start]]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += cast("list[Any]", node)
        elif isinstance(node, dict):
            entry = cast("Schema", node)
            waiting += entry.values()
            name = _ref_name(entry)
            if name == start:
                return True
            if name is not None and name in definitions and name not in seen:
                seen.add(name)
                waiting.append(definitions[name])
    return False


def to_json_schema(schema: Schema) -> Schema:
    """Plain JSON Schema of a schema in the dialect of `inputs`: no "any", "image", "audio", and null as a type."""
    names = [name for name in type_names(schema) if name != "any"] if "type" in schema else []
    out: Schema = {}
    for key, value in schema.items():
        if key in ("nullable", "type"):
            continue
        if key in ("properties", "$defs") and isinstance(value, dict):
            fields = cast("Schema", value)
            out[key] = {name: _to_json_schema(field) for name, field in fields.items()}
        elif key == "required" and not value:
            continue
        elif key in ("items", "additionalProperties", "anyOf", "oneOf", "allOf", "prefixItems"):
            out[key] = _to_json_schema(value)
        else:
            out[key] = value
    names = list(dict.fromkeys("string" if name in ("image", "audio") else name for name in names))
    nullable = bool(schema.get("nullable")) and (bool(names) or "anyOf" in out)
    if nullable and "enum" in out and None not in choices_in(out):
        out["enum"] = [*choices_in(out), None]
    if nullable and "anyOf" in out:
        out["anyOf"] = [*schemas_in(out, "anyOf"), {"type": "null"}]
    if nullable and names and "null" not in names:
        names.append("null")
    if names and "anyOf" not in out:
        out = {"type": names[0] if len(names) == 1 else names, **out}
    return out


def _to_json_schema(value: Any) -> Any:
    if isinstance(value, list):
        return [_to_json_schema(item) for item in cast("list[Any]", value)]
    return to_json_schema(cast("Schema", value)) if isinstance(value, dict) else value


def is_class_loaded(module: str, name: str, value: Any) -> bool:
    """Whether a value is of a class of a library, without importing that library."""
    loaded = sys.modules.get(module)
    cls: Any = getattr(loaded, name, None)
    return isinstance(cls, type) and isinstance(value, cls)
