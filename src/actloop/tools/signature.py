"""What a function's signature, type hints and docstring say of it as a tool."""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections import abc
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from actloop.tools.docstring import Docstring, parse_docstring
from actloop.tools.names import python_names
from actloop.tools.schema import (
    Schema,
    TypeHintParsingException,
    annotated_text,
    holds_json,
    type_adapter,
    type_names,
    type_schema,
)
from actloop.tools.streaming import gathered_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MISSING: Any = inspect.Parameter.empty
"""Stands for a default or a type hint that is not there."""

_ABSTRACT = (
    "AsyncGenerator", "AsyncIterable", "AsyncIterator", "Callable", "Collection", "Generator", "Iterable", "Iterator",
    "Mapping", "MutableMapping", "MutableSequence", "Sequence", "Set",
)  # fmt: skip
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)
_DOCUMENTED: dict[str, str] = {
    "str": "string", "string": "string", "int": "integer", "integer": "integer", "float": "number", "number": "number",
    "bool": "boolean", "boolean": "boolean", "list": "array", "dict": "object",
}  # fmt: skip


class Parameter:
    """A parameter of a function: its name, its evaluated type hint and its default.

    Attributes:
        name: As in the signature.
        hint: Evaluated type hint, or `MISSING`.
        default: Its default, or `MISSING`.
        positional_only: It cannot be given by name.
    """

    def __init__(self, name: str, hint: Any, default: Any, *, positional_only: bool = False) -> None:
        self.name = name
        self.hint = hint
        self.default = default
        self.positional_only = positional_only

    @cached_property
    def schema(self) -> Schema:
        """Schema of its type; "any" where there is no hint.

        Raises:
            TypeHintParsingException: Its hint is not a type.
        """
        if self.hint is MISSING:
            return {"type": "any"}
        try:
            return type_schema(self.hint)
        except TypeHintParsingException as error:
            raise TypeHintParsingException(f"argument '{self.name}': {error}") from None

    @cached_property
    def adapter(self) -> Any | None:
        """Converts JSON values to its type, where that is not a JSON type itself; otherwise None."""
        if self.hint is MISSING or isinstance(self.hint, str) or holds_json(self.hint):
            return None
        if self.schema.get("type") in ("image", "audio"):
            return None
        return type_adapter(self.hint)


@dataclass(frozen=True)
class Signature:
    """A function's parameters that can be given by name, and its result's type hint.

    Attributes:
        parameters: By name, in order.
        returns: Evaluated type hint of the result, or `MISSING`.
        takes_more: It takes further named arguments (`**kwargs`).
        takes_rest: It takes any number of positional arguments (`*args`).
    """

    parameters: dict[str, Parameter]
    returns: Any = MISSING
    takes_more: bool = False
    takes_rest: str = ""

    @cached_property
    def return_schema(self) -> Schema:
        """Schema of the result; "any" where it has no type hint that could be read."""
        try:
            return {"type": "any"} if self.returns is MISSING else type_schema(self.returns)
        except TypeHintParsingException:
            return {"type": "any"}


_known: WeakKeyDictionary[Any, dict[bool, Signature]] = WeakKeyDictionary()


def signature_of(function: Callable[..., Any]) -> Signature:
    """The signature of a function or bound method; looked at once for each function."""
    bound = inspect.ismethod(function)
    key: Any = cast("Any", function).__func__ if bound else function
    try:
        known = _known.setdefault(key, {})
    except TypeError:  # it takes no weak references
        return _signature_of(function)
    if bound not in known:
        known[bound] = _signature_of(function)
    return known[bound]


def _signature_of(function: Callable[..., Any]) -> Signature:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C do not tell
        return Signature({}, takes_more=True, takes_rest="args")
    hints = type_hints(function, signature)
    parameters: dict[str, Parameter] = {}
    takes_more, takes_rest = False, ""
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_more = True
        elif parameter.kind is parameter.VAR_POSITIONAL:
            takes_rest = name
        else:
            parameters[name] = Parameter(
                name,
                hints.get(name, MISSING),
                parameter.default,
                positional_only=parameter.kind is parameter.POSITIONAL_ONLY,
            )
    return Signature(parameters, gathered_hint(function, hints.get("return", MISSING)), takes_more, takes_rest)


def type_hints(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """Evaluated type hints by parameter. A name that cannot be found leaves its hint out, not the others."""
    target: Any = inspect.unwrap(function)
    if not hasattr(target, "__annotations__"):
        target = getattr(target, "func", None) or getattr(cast("Any", type(target)), "__call__", target)  # noqa: B004
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:
        return _hints_one_by_one(target, signature)


def _hints_one_by_one(target: Any, signature: inspect.Signature) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    code: Any = inspect.unwrap(target)
    # Names that a module imports for type checkers only are mostly these.
    names: dict[str, Any] = {name: getattr(abc, name) for name in _ABSTRACT}
    names |= {name: getattr(typing, name) for name in ("Any", "Literal", "Annotated", "Optional", "Union")}
    names |= getattr(code, "__globals__", {})
    closure = getattr(code, "__closure__", None) or ()
    for name, cell in zip(getattr(getattr(code, "__code__", None), "co_freevars", ()), closure, strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not yet bound
            continue
    written = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    for name, hint in {**written, "return": signature.return_annotation}.items():
        if hint is MISSING:
            continue
        try:
            holder = type("holder", (), {"__annotations__": {"hint": hint}})
            hints[name] = typing.get_type_hints(holder, names, names, include_extras=True)["hint"]
        except Exception:
            if not isinstance(hint, str):
                hints[name] = hint
    return hints


@dataclass(frozen=True, slots=True)
class FunctionDescription:
    """A function as a tool: what `Tool` has as class attributes.

    Attributes:
        name: The function's name.
        description: From its docstring; may be empty.
        inputs: Each argument's schema, with `description` and, where it may be left out or None, `nullable`.
        output_type: One of `AUTHORIZED_TYPES`.
        output_schema: Schema of a structured result, or None.
        output_description: What the docstring says of the result.
    """

    name: str
    description: str
    inputs: dict[str, Schema]
    output_type: str
    output_schema: Schema | None
    output_description: str


def describe_function(function: Callable[..., Any]) -> FunctionDescription:
    """What a function is as a tool, from its signature, type hints and docstring.

    An argument without a type hint takes the type that the docstring states, else any; descriptions may be missing.

    Raises:
        TypeHintParsingException: A hint is not a type, or an argument could never be given by name.
    """
    name = getattr(function, "__name__", None)
    if name is None:  # a partial, or an object that can be called
        name = getattr(getattr(function, "func", type(function)), "__name__", "tool")
    signature = signature_of(function)
    if signature.takes_rest:
        raise TypeHintParsingException(
            f"tool '{name}': argument '*{signature.takes_rest}' has no name to be given by; use a list argument instead"
        )
    first = next(iter(signature.parameters.values()), None)
    if first is not None and first.name in ("self", "cls") and first.hint is MISSING:
        raise TypeHintParsingException(
            f"tool '{name}': argument '{first.name}' shows a method of a class; make a tool of the bound "
            f"method instead: tool(instance.{name})"
        )
    doc = parse_docstring(inspect.getdoc(function))
    inputs: dict[str, Schema] = {}
    for parameter in signature.parameters.values():
        try:
            inputs[parameter.name] = _input(parameter, doc)
        except TypeHintParsingException as error:
            raise TypeHintParsingException(f"tool '{name}': {error}") from None
    output_type, output_schema = describe_output(signature)
    return FunctionDescription(name, doc.description, inputs, output_type, output_schema, doc.returns)


def _input(parameter: Parameter, doc: Docstring) -> Schema:
    schema: Schema = {**parameter.schema}
    if parameter.hint is MISSING:
        stated = doc.types.get(parameter.name, "").removesuffix("optional").rstrip(", ").strip("`")
        if stated in _DOCUMENTED:
            schema = {"type": _DOCUMENTED[stated]}
    text = doc.parameters.get(parameter.name) or annotated_text(parameter.hint) or schema.get("description", "")
    choices = _CHOICES.search(text)
    if choices is not None and "enum" not in schema:
        try:
            schema["enum"] = json.loads(choices[1])
            text = text[: choices.start()].rstrip()
        except ValueError:  # not JSON: it stays part of the text
            pass
    schema["description"] = text
    if parameter.default is not MISSING:
        schema["nullable"] = True
    return schema


def describe_output(signature: Signature) -> tuple[str, Schema | None]:
    """The `output_type` of a function, and the schema of its result where that has fields."""
    schema = signature.return_schema
    names = type_names(schema)
    return names[0] if len(names) == 1 else "any", schema if _has_fields(schema) else None


def _has_fields(node: Any) -> bool:
    if isinstance(node, list):
        return any(_has_fields(item) for item in cast("list[Any]", node))
    if not isinstance(node, dict):
        return False
    return "properties" in node or any(_has_fields(value) for value in cast("Schema", node).values())


@dataclass(frozen=True, slots=True)
class ToolParameter:
    """An argument of a tool: what its `inputs` say, and what the signature of its `forward` adds.

    Attributes:
        name: As in `inputs`.
        alias: Its name in Python.
        schema: What is known of its type.
        description: May be empty.
        default: Its default, or `MISSING`.
        required: It has to be given.
        takes_none: None is one of its values.
        parameter: The parameter of `forward`, where there is one.
    """

    name: str
    alias: str
    schema: Schema
    description: str
    default: Any
    required: bool
    takes_none: bool
    parameter: Parameter | None


def tool_parameters(tool: Any) -> list[ToolParameter]:
    """The arguments of a tool, or of anything else with `inputs`, in order."""
    inputs: Mapping[str, Schema] = getattr(tool, "inputs", None) or {}
    signature = tool_signature(tool)
    aliases = python_names(list(inputs))
    return [
        _tool_parameter(name, aliases[name], schema, signature.parameters.get(name) if signature else None)
        for name, schema in inputs.items()
    ]


def tool_signature(tool: Any) -> Signature | None:
    """The signature of a tool's `forward`; None where it has none, or says that it is not to be looked at."""
    if getattr(tool, "skip_forward_signature_validation", False):
        return None
    forward = getattr(tool, "forward", None)
    return signature_of(forward) if callable(forward) else None


def _tool_parameter(name: str, alias: str, schema: Schema, parameter: Parameter | None) -> ToolParameter:
    default = parameter.default if parameter is not None else schema.get("default", MISSING)
    nullable = bool(schema.get("nullable")) or "null" in type_names(schema)
    if parameter is not None and parameter.hint is not MISSING:
        hinted = parameter.schema
        if set(schema) <= {"type", "description", "nullable", "default"} and type_names(hinted) == type_names(schema):
            schema = {**hinted, **schema}
        takes_none = default is None or "null" in type_names(hinted) or bool(hinted.get("nullable"))
        takes_none = takes_none or type_names(hinted) == ["any"] or (nullable and default is MISSING)
    else:
        takes_none = default is None or nullable
    return ToolParameter(
        name=name,
        alias=alias,
        schema=schema,
        description=str(schema.get("description") or ""),
        default=default,
        required=default is MISSING and not nullable,
        takes_none=takes_none,
        parameter=parameter,
    )
