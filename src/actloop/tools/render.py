"""Tools as a model is shown them: exact, and as short as that allows.

Names, descriptions and schemas may come from strangers. They are shown as text inside a docstring that they cannot end,
on lines that stay indented below their tool.
"""

from __future__ import annotations

import json
import textwrap
import types
import typing
from enum import Enum
from typing import Any, cast

from actloop.tools.names import python_name
from actloop.tools.schema import (
    Schema,
    choices_in,
    plain_schema,
    required_in,
    schema_in,
    schemas_in,
    to_json_schema,
    type_names,
    type_schema,
)
from actloop.tools.signature import MISSING, Signature, ToolParameter, describe_output, tool_parameters, tool_signature

_PYTHON = {
    "string": "str", "boolean": "bool", "integer": "int", "number": "float", "image": "Image", "audio": "Audio",
    "array": "list", "object": "dict", "any": "Any", "null": "None",
}  # fmt: skip
_DEEPEST = 6
_LONGEST_DEFAULT = 60
_MOST_FIELDS = 300
_MOST_CHOICES = 100
_MOST_OPTIONS = 30
_LONGEST_TEXT = 16_000
"""Characters of one description, or of the inputs as JSON, that a model is shown."""
_DEEPEST_SCHEMA = 60


def python_type(schema: Schema, depth: int = 0) -> str:
    """A schema as a Python type, such as `list[dict[str, int]]` or `Literal['a', 'b'] | None`."""
    text = _python_type(schema, depth)
    if schema.get("nullable") and text not in ("Any", "None") and not text.endswith("| None"):
        return f"{text} | None"
    return text


def _python_type(schema: Schema, depth: int) -> str:
    if depth > _DEEPEST:
        return "Any"
    options = schemas_in(schema, "anyOf") or schemas_in(schema, "oneOf")
    if options:
        return _union_type([python_type(option, depth + 1) for option in options[:_MOST_OPTIONS]])
    choices = choices_in(schema)
    if choices and all(isinstance(choice, str | int | bool | None) for choice in choices):
        shown = [
            _printable(repr(choice))[:200] if len(str(choice)) < 190 else "..." for choice in choices[:_MOST_CHOICES]
        ]
        return f"Literal[{', '.join(dict.fromkeys([*shown, *['...'][: len(choices) - len(shown)]]))}]"
    return _union_type([_named_type(name, schema, depth) for name in type_names(schema)])


def _union_type(texts: list[str]) -> str:
    texts = list(dict.fromkeys(texts))
    if "Any" in texts or not texts:
        return "Any"
    return " | ".join(sorted(texts, key=lambda text: text == "None"))


def _named_type(name: str, schema: Schema, depth: int) -> str:
    if name == "any" and schema_in(schema, "properties"):
        name = "object"
    if name == "array":
        items = schemas_in(schema, "prefixItems")
        if items:
            return f"tuple[{', '.join(python_type(item, depth + 1) for item in items)}]"
        element = _element(schema.get("items"), depth)
        return f"list[{element}]" if element else "list"
    if name == "object" and not schema_in(schema, "properties"):
        element = _element(schema.get("additionalProperties"), depth)
        return f"dict[str, {element}]" if element else "dict"
    return _PYTHON.get(name, "Any")


def _element(schema: Any, depth: int) -> str:
    text = python_type(cast("Schema", schema), depth + 1) if isinstance(schema, dict) else "Any"
    return "" if text == "Any" else text


def shape(schema: Any, root: Schema | None = None, above: tuple[str, ...] = (), fuel: list[int] | None = None) -> str:
    """The fields of a schema on one line: `{"name": str, "tags"?: list[str]}`; empty where there are none.

    A question mark follows the key of a field that may be missing; a field's description follows its type in brackets.
    A type that holds itself is shown once.

    Args:
        schema: The schema.
        root: Holds the definitions that it refers to; by default itself.
        above: Definitions that are being shown.
        fuel: How many more schemas are looked at.
    """
    fuel = [_MOST_FIELDS] if fuel is None else fuel
    fuel[0] -= 1
    if not isinstance(schema, dict) or len(above) > _DEEPEST or fuel[0] < 0:
        return ""
    entry = cast("Schema", schema)
    root = entry if root is None else root
    reference = str(entry.get("$ref", ""))
    if reference and reference in above:
        return ""
    above = (*above, reference)
    entry = _resolved(entry, root)
    properties = schema_in(entry, "properties")
    if properties:
        required = required_in(entry) or list(properties)
        fields = [
            _field(name, part, root, above, fuel, optional=name not in required)
            for name, part in list(properties.items())[:_MOST_CHOICES]
        ]
        if len(properties) > len(fields):
            fields.append(f"... and {len(properties) - len(fields)} more")
        return f"{{{', '.join(fields)}}}"
    for key, form in (("items", "list[{}]"), ("additionalProperties", "dict[str, {}]")):
        inside = shape(entry.get(key), root, above, fuel)
        if inside:
            return form.format(inside)
    options = schemas_in(entry, "anyOf", "oneOf")
    texts = [
        shape(option, root, above, fuel) or python_type(_resolved(option, root)) for option in options[:_MOST_OPTIONS]
    ]
    return " | ".join(dict.fromkeys(texts)) if any("{" in text for text in texts) else ""


def _field(name: str, field: Any, root: Schema, above: tuple[str, ...], fuel: list[int], *, optional: bool) -> str:
    kind = shape(field, root, above, fuel) or python_type(_resolved(field, root))
    about = _cut(_line(cast("Schema", field).get("description", "")), 500) if isinstance(field, dict) else ""
    key = _cut(_line(json.dumps(name, ensure_ascii=False)), 200)
    return f"{key}{'?' if optional else ''}: {kind}{f' ({about})' if about else ''}"


def _resolved(schema: Any, root: Schema) -> Schema:
    """A schema, or what it refers to."""
    entry: Schema = cast("Schema", schema) if isinstance(schema, dict) else {}
    definitions = schema_in(root, "$defs")
    for _ in range(_DEEPEST):
        found = definitions.get(str(entry.get("$ref", "")).removeprefix("#/$defs/"))
        if not isinstance(found, dict):
            break
        entry = cast("Schema", found)
    return entry


def signature(tool: Any) -> str:
    """A tool's signature in one line: `get_weather(city: str, days: int = 1) -> str`."""
    parts: list[str] = []
    for parameter in tool_parameters(tool):
        kind = parameter_type(parameter)
        if parameter.required:
            parts.append(f"{parameter.alias}: {kind}")
        else:
            parts.append(f"{parameter.alias}: {kind} = {_default(parameter)}")
    # A required argument after an optional one can be given by name only.
    optional = [number for number, part in enumerate(parts) if " = " in part.partition(": ")[2]]
    required = [number for number in range(len(parts)) if number not in optional]
    if optional and required and optional[0] < required[-1]:
        parts = [*parts[: optional[0]], "*", *parts[optional[0] :]]
    return f"{python_name(tool.name)}({', '.join(parts)}) -> {return_type(tool)}"


def parameter_type(parameter: ToolParameter) -> str:
    """The type of an argument as Python; the name of its class where JSON has no word for it."""
    hint = parameter.parameter.hint if parameter.parameter is not None else MISSING
    schema = parameter.schema
    if hint is not MISSING and type_names(schema) == ["object"] and not {"properties", "$ref"} & schema.keys():
        kind = hint_type(hint)
        return f"{kind} | None" if parameter.takes_none and not kind.endswith(("None", "Any")) else kind
    return python_type({**schema, "nullable": parameter.takes_none})


def _default(parameter: ToolParameter) -> str:
    if parameter.default is MISSING:
        return "None"
    default: Any = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    if isinstance(default, str | int | float | bool | None | list | tuple | dict):
        text = repr(cast("Any", default))
        if len(text) <= _LONGEST_DEFAULT and text.isprintable():
            return text
    return "..."


def output_schema(tool: Any) -> Schema:
    """What is known of a tool's result: its `output_schema`, else the type hint of `forward`, else `output_type`."""
    stated: Any = getattr(tool, "output_schema", None)
    if isinstance(stated, dict):
        return cast("Schema", stated)
    known = _hinted_result(tool)
    return known.return_schema if known is not None else {"type": str(getattr(tool, "output_type", "any"))}


def _hinted_result(tool: Any) -> Signature | None:
    """The signature of `forward`, where its result has a type hint that `output_type` does not deny."""
    known = tool_signature(tool)
    if known is None or known.returns is MISSING:
        return None
    return known if getattr(tool, "output_type", "any") in (describe_output(known)[0], "any") else None


def return_type(tool: Any) -> str:
    """A tool's result as a Python type."""
    known = _hinted_result(tool)
    if known is not None and getattr(tool, "output_schema", None) in (None, known.return_schema):
        return hint_type(known.returns)
    schema = output_schema(tool)
    return python_type(_resolved(schema, schema))


def hint_type(hint: Any) -> str:
    """A type hint as text: JSON types as `python_type`, classes with fields as `dict`, others by their names."""
    plain = plain_schema(hint)
    if plain is not None:
        return python_type(plain)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return hint_type(args[0])
    if origin in (typing.Union, types.UnionType):
        return _union_type([hint_type(arg) for arg in args])
    if isinstance(origin, type):
        inside = ", ".join("..." if arg is ... else hint_type(arg) for arg in args)
        return f"{_class_name(origin)}[{inside}]" if origin in (list, dict, tuple, set, frozenset) else origin.__name__
    return _class_name(hint) if isinstance(hint, type) else python_type(type_schema(hint))


def _class_name(cls: type[Any]) -> str:
    fields = ("__dataclass_fields__", "model_fields", "_fields")
    name = "dict" if any(hasattr(cls, field) for field in fields) else cls.__name__
    return name if name.isidentifier() else "Any"


def to_code_prompt(tool: Any) -> str:
    """A tool, or an agent that can be called, as a Python function with type hints and a docstring.

    Args:
        tool: Anything with `name`, `description`, `inputs` and `output_type`.

    Returns:
        Source that Python accepts, whatever the descriptions contain.
    """
    keyword = "async def" if getattr(tool, "is_async", False) is True else "def"
    head = f"{keyword} {signature(tool)}:"
    sections = [_text(getattr(tool, "description", ""))]
    entries = [entry for entry in map(_argument, tool_parameters(tool)) if entry]
    if entries:
        sections.append("Args:\n" + textwrap.indent("\n".join(entries), "    "))
    result = _result(tool)
    if result:
        sections.append("Returns:\n" + textwrap.indent(result, "    "))
    body = _escaped("\n\n".join(section for section in sections if section))
    if not body:
        return f"{head} ..."
    if "\n" not in body:
        return f'{head}\n    """{body}"""'
    return f'{head}\n    """{textwrap.indent(body, "    ").lstrip()}\n    """'


def _argument(parameter: ToolParameter) -> str:
    """The docstring's entry of an argument; empty where it would say no more than the signature."""
    text = _text(parameter.description)
    fields = shape(parameter.schema)
    form: Any = parameter.schema.get("format")
    if isinstance(form, str) and not fields:
        fields = f"(format: {_cut(_line(form), 60)})"
    parts = [part for part in (text, fields) if part]
    if not parts:
        return ""
    return f"{parameter.alias}: " + "\n    ".join("\n".join(parts).splitlines())


def _result(tool: Any) -> str:
    schema = output_schema(tool)
    fields = shape(schema)
    text = _text(str(getattr(tool, "output_description", "") or ""))
    return "\n".join(part for part in (text, fields) if part)


def _printable(text: str) -> str:
    """The text with spaces for what cannot be seen: controls, marks that turn or hide text, odd kinds of space."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def _text(text: Any) -> str:
    """A description, dedented, without what could not be seen, and cut where it is far too long."""
    text = _cut(str(text), _LONGEST_TEXT)
    lines = _printable(text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)).strip().splitlines()
    return "\n".join([line.rstrip() for line in [*lines[:1], *textwrap.dedent("\n".join(lines[1:])).splitlines()]])


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}... (cut, {len(text):,} characters in all)"


def _line(text: Any) -> str:
    return " ".join(_text(text).split())


def _escaped(text: str) -> str:
    """Text that can stand in a docstring and is read back as it was."""
    text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'{text[:-1]}\\"' if text.endswith('"') else text


def to_tool_calling_prompt(tool: Any) -> str:
    """A tool, or an agent that can be called, as text for a model that calls tools by name with JSON arguments."""
    properties = tool_json_schema(tool)["function"]["parameters"]["properties"]
    about = textwrap.indent(_text(getattr(tool, "description", "")), "    ").lstrip()
    return (
        f"{_line(tool.name)}: {about}\n"
        f"    Takes inputs: {_line(json.dumps(properties, ensure_ascii=False, default=str))}\n"
        f"    Returns an output of type: {return_type(tool)}"
    )


def tool_json_schema(tool: Any) -> dict[str, Any]:
    """A tool in the form in which models take tools: name, description and parameters in plain JSON Schema."""
    properties: Schema = {}
    required: list[str] = []
    definitions: Schema = {}
    for parameter in tool_parameters(tool):
        source = _shallow({**parameter.schema, "nullable": parameter.takes_none})
        schema = to_json_schema(_definitions_apart(parameter.name, source, definitions))
        if not parameter.description:
            schema.pop("description", None)
        if parameter.required:
            required.append(parameter.name)
        elif parameter.default is not MISSING and _is_json(parameter.default):
            schema["default"] = parameter.default
        properties[parameter.name] = schema
    parameters: Schema = {"type": "object", "properties": properties, "required": required}
    if definitions:
        parameters["$defs"] = definitions
    return {
        "type": "function",
        "function": {"name": tool.name, "description": _text(tool.description or ""), "parameters": parameters},
    }


def _definitions_apart(argument: str, schema: Schema, definitions: Schema) -> Schema:
    """The schema without its definitions, which go into `definitions` under names that no other argument has."""
    own = {n: cast("Schema", part) for n, part in schema_in(schema, "$defs").items() if isinstance(part, dict)}
    names = {name: name if name not in definitions else f"{argument}.{name}" for name in own}

    def renamed(node: Any) -> Any:
        if isinstance(node, list):
            return [renamed(item) for item in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        entry = {key: renamed(value) for key, value in cast("Schema", node).items() if key != "$defs"}
        name = str(entry.get("$ref", "")).removeprefix("#/$defs/")
        return {**entry, "$ref": f"#/$defs/{names[name]}"} if name in names else entry

    for name, definition in own.items():
        definitions[names[name]] = to_json_schema(renamed(definition))
    return renamed(schema)


def _shallow(node: Any, depth: int = 0) -> Any:
    """A schema without what is nested too deep to be read by anyone: that may be anything."""
    if isinstance(node, list):
        return [_shallow(item, depth + 1) for item in cast("list[Any]", node)] if depth < _DEEPEST_SCHEMA else []
    if not isinstance(node, dict):
        return node
    if depth > _DEEPEST_SCHEMA:
        return {}
    return {key: _shallow(value, depth + 1) for key, value in cast("Schema", node).items()}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
