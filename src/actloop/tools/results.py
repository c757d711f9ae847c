"""Results of tools, held against the schema that a tool promises for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actloop.errors import AgentToolExecutionError
from actloop.tools.constraints import violation
from actloop.tools.schema import choices_in, required_in, schema_in, schemas_in, type_names
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from actloop.tools.schema import Schema

_DEEPEST = 60
_MOST_LOOKS = 100_000
"""Parts of one result that are looked at; a larger one is passed on after that many."""


def check_result(tool: Any, value: Any) -> None:
    """Hold a result against the tool's `output_schema`, where it has one.

    Only what JSON knows is looked at (dicts, lists, tuples, text, numbers, booleans, None): whether a date or an image
    is right, the schema does not say. `pattern` and `format` are not looked at.

    Raises:
        AgentToolExecutionError: The result breaks the schema; names the tool, the place, what was promised, what came.
    """
    schema: Any = getattr(tool, "output_schema", None)
    if not isinstance(schema, dict):
        return
    checker = _Checker(cast("Schema", schema))
    fault = checker.fault(value, checker.root, "result", 0)
    if fault:
        raise AgentToolExecutionError(
            f"tool '{tool.name}' ran, but what it returned breaks its output_schema: {fault}. "
            "The tool has to be mended; its result is not passed on."
        )


class _Checker:
    def __init__(self, root: Schema) -> None:
        self.root = root
        self._definitions = {**schema_in(root, "definitions"), **schema_in(root, "$defs")}
        self._looks = 0

    def fault(self, value: Any, schema: Schema, path: str, depth: int) -> str:
        """What is wrong with a value at a place, in words; empty where nothing is."""
        self._looks += 1
        if depth > _DEEPEST or self._looks > _MOST_LOOKS:
            return ""
        schema = self._resolved(schema)
        if value is None and (schema.get("nullable") or "null" in type_names(schema)):
            return ""
        for part in schemas_in(schema, "allOf"):
            fault = self.fault(value, part, path, depth + 1)
            if fault:
                return fault
        options = schemas_in(schema, "anyOf") or schemas_in(schema, "oneOf")
        if options:
            faults = [self.fault(value, option, path, depth + 1) for option in options]
            if all(faults):
                deepest = max(faults, key=lambda fault: len(fault.partition(" must ")[0]))
                return (
                    deepest if len(options) == 1 or not deepest.startswith(f"{path} ") else _must(path, schema, value)
                )
            return ""
        if ("enum" in schema or "const" in schema) and _is_json(value) and not _is_chosen(value, choices_in(schema)):
            return _must(path, schema, value)
        if not _is_of(value, type_names(schema)):
            return _must(path, schema, value)
        wrong = violation(value, schema)
        if wrong:
            return f"{path} is {_came(value)}: {wrong}"
        return self._inside(value, schema, path, depth)

    def _inside(self, value: Any, schema: Schema, path: str, depth: int) -> str:
        if isinstance(value, dict):
            return self._fields(cast("dict[Any, Any]", value), schema, path, depth)
        if isinstance(value, list | tuple):
            first = schemas_in(schema, "prefixItems")
            rest: Any = schema.get("items")
            for number, item in enumerate(cast("list[Any]", value)):
                part: Any = first[number] if number < len(first) else rest
                if part is False:
                    return f"{path} has {len(cast('list[Any]', value))} items, only {len(first)} are known"
                if not isinstance(part, dict):
                    continue
                fault = self.fault(item, cast("Schema", part), f"{path}[{number}]", depth + 1)
                if fault:
                    return fault
        return ""

    def _fields(self, fields: dict[Any, Any], schema: Schema, path: str, depth: int) -> str:
        missing = [key for key in required_in(schema) if key not in fields]
        if missing:
            return f"{path} lacks the key {missing[0]!r}; it has {', '.join(map(repr, list(fields)[:10])) or 'none'}"
        known = schema_in(schema, "properties")
        more: Any = schema.get("additionalProperties")
        for key, item in fields.items():
            part: Any = known.get(key, more)
            place = f"{path}[{cut(str(key), 60)!r}]"
            if part is False and "patternProperties" not in schema:
                return f"{place} is not known; keys are {', '.join(map(repr, list(known)[:20]))}"
            if isinstance(part, dict):
                fault = self.fault(item, cast("Schema", part), place, depth + 1)
                if fault:
                    return fault
        return ""

    def _resolved(self, schema: Schema) -> Schema:
        for _ in range(_DEEPEST):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema
            if reference == "#":
                found: Any = self.root
            else:
                found = self._definitions.get(reference.removeprefix("#/$defs/").removeprefix("#/definitions/"))
            if not isinstance(found, dict):
                return {}
            schema = cast("Schema", found)
        return {}


def _must(path: str, schema: Schema, value: Any) -> str:
    from actloop.tools.render import python_type

    return f"{path} must be {cut(python_type(schema), 300)}, got {_came(value)}"


def _came(value: Any) -> str:
    from actloop.tools.validation import came

    return came(value)


def _is_json(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool, list, tuple, dict)


def _is_chosen(value: Any, choices: list[Any]) -> bool:
    return any(choice == value and isinstance(choice, bool) == isinstance(value, bool) for choice in choices)


def _is_of(value: Any, names: list[str]) -> bool:
    """Whether a value is of one of the types; values that JSON does not know are of any."""
    if not _is_json(value) or not {*names}.isdisjoint(("any", "image", "audio")):
        return True
    if isinstance(value, bool):
        return "boolean" in names
    if isinstance(value, int):
        return "integer" in names or "number" in names
    if isinstance(value, float):
        return "number" in names or ("integer" in names and value.is_integer())
    kinds: dict[type[Any], str] = {str: "string", list: "array", tuple: "array", dict: "object", type(None): "null"}
    return kinds[type(value)] in names
