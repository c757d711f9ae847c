"""Arguments of a tool call: bound to the tool's inputs, checked, and converted where nothing is lost."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import AgentToolCallError
from actloop.tools.coerce import MismatchError, coerce, expectation
from actloop.tools.schema import AUTHORIZED_TYPES, Schema, type_names
from actloop.tools.signature import MISSING, ToolParameter, tool_parameters, tool_signature
from actloop.values.cuts import Shown, cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AUTHORIZED_TYPES", "bind_arguments", "validate_tool_arguments"]

_PREVIEW = 80


def bind_arguments(tool: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name with which `tool` is to be called, from a call in code or in a message.

    Arguments are converted where nothing is lost ("3" to 3, a dict to the dataclass that the type hint names). One dict
    that holds exactly all the arguments is taken for them, unless it fits as the first argument. An argument that may
    not be None but may be left out is left out where None is given.

    Args:
        tool: A tool, or anything else with `name` and `inputs`.
        args: Positional arguments, in the order of `inputs`.
        kwargs: Named arguments, by name or by the name's Python alias.

    Raises:
        AgentToolCallError: Names the tool, the argument, what was expected, what came, and the tool's signature.
    """
    parameters = tool_parameters(tool)
    if len(args) == 1 and not kwargs and _holds_all(args[0], parameters):
        try:
            return _bind(tool, parameters, args, kwargs)
        except AgentToolCallError:
            return _bind(tool, parameters, (), args[0])
    return _bind(tool, parameters, args, kwargs)


def _holds_all(value: Any, parameters: list[ToolParameter]) -> bool:
    if not isinstance(value, dict):
        return False
    given = set(cast("dict[Any, Any]", value))
    if bool(given) != bool(parameters):
        return False
    known = {name for parameter in parameters for name in (parameter.name, parameter.alias)}
    return given <= known and all({p.name, p.alias} & given for p in parameters if p.required)


def _bind(tool: Any, parameters: list[ToolParameter], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if len(args) > len(parameters):
        _fail(tool, f"takes {_count(len(parameters))}, got {len(args)} positional ones")
    given: dict[str, Any] = {parameter.name: value for parameter, value in zip(parameters, args, strict=False)}
    names = {parameter.alias: parameter.name for parameter in parameters}
    names |= {parameter.name: parameter.name for parameter in parameters}
    more: dict[str, Any] = {}
    for key, value in kwargs.items():
        name = names.get(key)
        if name is None and _takes_more(tool):
            more[key] = value
        elif name is None:
            _fail(tool, f"has no argument {_preview(key)}{_suggestion(key, parameters)}")
        elif name in given:
            _fail(tool, f"got the argument '{name}' twice")
        else:
            given[name] = value
    bound: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.name in given:
            value = given[parameter.name]
            if value is None and not parameter.takes_none and parameter.default is not MISSING:
                continue
            bound[parameter.name] = _value(tool, parameter, value)
        elif parameter.required:
            _fail(tool, f"is missing the argument '{parameter.name}' ({_expected(parameter)})")
        elif parameter.parameter is not None and parameter.default is MISSING:
            bound[parameter.name] = None  # `inputs` lets it be left out, `forward` does not
    return {**bound, **more}


def _value(tool: Any, parameter: ToolParameter, value: Any) -> Any:
    """One argument as `forward` wants it."""
    if value is None and parameter.takes_none:
        return None
    adapter = parameter.parameter.adapter if parameter.parameter is not None else None
    try:
        if adapter is not None:
            return _converted(adapter, parameter.schema, value)
        return coerce(value, {**parameter.schema, "nullable": parameter.takes_none})
    except MismatchError as error:
        where = f"{parameter.alias}{error.path}" if error.path else f"'{parameter.name}'"
        fault = f": {error.fault}" if error.fault else ""
        expected = error.expected if error.path else _expected(parameter)
        _fail(tool, f"argument {where} must be {expected}, got {came(error.value)}{fault}")


def _converted(adapter: Any, schema: Schema, value: Any) -> Any:
    """The value as pydantic makes it, and where it cannot, after what it was made from is converted to JSON values."""
    try:
        return adapter.validate_python(value, strict=True)
    except Exception:  # also what validators of the user's classes raise
        prepared = coerce(value, schema)
    try:
        return adapter.validate_python(prepared)
    except Exception as error:
        raise MismatchError(expectation(schema), value, fault=cut(_why(error), 300)) from None


def _why(error: Exception) -> str:
    """What pydantic, or a validator, found wrong."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {error}"
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    texts = ["".join(f"[{step!r}]" for step in fault["loc"]) + f" {fault['msg']}" for fault in faults[:3]]
    return "; ".join(text.strip() for text in texts)


def _takes_more(tool: Any) -> bool:
    """Whether `forward` takes named arguments beyond those that `inputs` lists."""
    signature = tool_signature(tool)
    return signature is not None and signature.takes_more and bool(signature.parameters.keys() == tool.inputs.keys())


def _fail(tool: Any, fault: str) -> Any:
    from actloop.tools.render import signature

    raise AgentToolCallError(f"{tool.name} {fault}. Signature: {cut(signature(tool), 400)}")


def _count(number: int) -> str:
    return "no arguments" if number == 0 else "1 argument" if number == 1 else f"{number} arguments"


def _suggestion(key: str, parameters: list[ToolParameter]) -> str:
    close = difflib.get_close_matches(str(key)[:_PREVIEW], [parameter.alias for parameter in parameters], n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _expected(parameter: ToolParameter) -> str:
    from actloop.tools.render import parameter_type, shape

    if shape(parameter.schema) or isinstance(parameter.schema.get("format"), str):
        return expectation({**parameter.schema, "nullable": parameter.takes_none})
    return parameter_type(parameter)


def came(value: Any) -> str:
    """A value as messages show it: its class and the start of its `repr`, on one line."""
    if value is None:
        return "None"
    return f"{type(value).__name__} {_preview(value)}"


def _preview(value: Any) -> str:
    """The start of a value's `repr`, on one line; never long to make."""
    try:
        return cut(" ".join(Shown(_PREVIEW).repr(value).split()), _PREVIEW)
    except Exception:
        return "(it cannot be shown)"


def validate_tool_arguments(tool: Any, arguments: Any) -> None:
    """Check arguments against a tool's `inputs`, without converting any.

    Args:
        tool: A tool.
        arguments: A mapping of arguments, or the only argument of a tool that has one.

    Raises:
        ValueError: An argument is unknown or missing.
        TypeError: An argument has the wrong type.
    """
    inputs: dict[str, Schema] = tool.inputs
    if not isinstance(arguments, dict):
        if not inputs:
            raise ValueError(f"tool '{tool.name}' takes no arguments, got {came(arguments)}")
        _check_type("Argument", arguments, next(iter(inputs.values())))
        return
    given = cast("dict[Any, Any]", arguments)
    for name, value in given.items():
        if name not in inputs:
            raise ValueError(
                f"Argument {name} is not in the tool's input schema: tool '{tool.name}' takes {list(inputs)}"
            )
        _check_type(f"Argument {name}", value, inputs[name])
    for name, schema in inputs.items():
        if name not in given and not schema.get("nullable"):
            raise ValueError(f"Argument {name} is required by tool '{tool.name}'")


def _check_type(what: str, value: Any, schema: Schema) -> None:
    names = type_names(schema)
    kind = _type_name(value)
    fits = kind in names or "any" in names or (kind == "null" and bool(schema.get("nullable")))
    fits = fits or (kind == "integer" and "number" in names)
    fits = fits or (kind in ("object", "string") and bool({"image", "audio"} & set(names)))
    if not fits:
        raise TypeError(f"{what} has type '{kind}' but should be '{schema.get('type', names)}'")


def _type_name(value: Any) -> str:
    """The type of a value in the names of `AUTHORIZED_TYPES`; "object" for any class that JSON does not know."""
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "object")
