"""Tool calls and programs written as JSON or in other frameworks' forms: as calls, and as Python programs."""

from __future__ import annotations

import json
import keyword
import math
import re
from typing import Any, NamedTuple, cast

_INTERPRETERS = frozenset(
    {"python", "python_interpreter", "code_interpreter", "execute_python", "run_python", "execute_code", "run_code"}
)
_NAME_KEYS = ("name", "tool_name", "tool", "function", "action")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "kwargs", "tool_arguments", "tool_input", "action_input", "input")
_ANSWER_KEYS = ("final_answer", "answer")
_MOST_OBJECTS = 20
_SEPARATORS = re.compile(r"(?:[ \n\t,;}]|</?\w{1,30}>)*")
_OBJECT = re.compile(r"[{\[](?=\s{0,100}[\"{\]}])")
_ACTION = re.compile(
    r"^[ \t]*Action:[ \t]*`?([A-Za-z_][\w.-]*)`?[ \t]*\n[ \t]*Action Input:[ \t]*", re.MULTILINE | re.IGNORECASE
)
_FOLLOWING = re.compile(r"^[ \t]*(?:Observation|Thought|Action):", re.MULTILINE | re.IGNORECASE)
_NAME = re.compile(r"(?:functions\.)?([A-Za-z_][\w.-]*)")
_PARAMETER = re.compile(r"<parameter=([\w.-]{1,100})>(.*?)(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL)
_DECODER = json.JSONDecoder(strict=False)


class NamedCall(NamedTuple):
    """A call as it was written: its arguments by name, or the only one as it is."""

    name: str
    arguments: Any


class Found(NamedTuple):
    """A program, the thought that came with it, and the calls as which it was written, where it was nothing else."""

    code: str
    thought: str = ""
    calls: tuple[NamedCall, ...] = ()


def program_from_json(text: str) -> Found | None:
    """The program that a JSON text stands for: `{"thought", "code"}`, a call, or a list of calls.

    Text that is no JSON, or JSON that means neither, gives None.
    """
    text = text.strip()
    if not text.startswith(("{", "[")):
        return None
    values, end = _values(text, 0)
    return _program(values[0] if len(values) == 1 else values) if values and end == len(text) else None


def call_in_tag(name: str, inside: str) -> Found | None:
    """A call whose name stood in a tag: its arguments are JSON, or each has a tag of its own (`<parameter=city>`)."""
    inside = inside.strip()
    parameters = {match[1]: _plain_value(match[2].strip()) for match in _PARAMETER.finditer(inside)}
    if parameters or not inside:
        return _call(name, parameters)
    decoded = _decoded(inside, 0)
    return _call(name, decoded[0]) if decoded is not None and isinstance(decoded[0], dict) else None


def _plain_value(text: str) -> Any:
    """A value that stood in a tag: JSON where it is that, else the text."""
    decoded = _decoded(text, 0)
    return decoded[0] if decoded is not None and decoded[1] == len(text) else text


def _values(text: str, start: int) -> tuple[list[Any], int]:
    """The JSON values that follow each other from a place on, and where they end; small models write one a line."""
    values: list[Any] = []
    end = start
    while len(values) < _MOST_OBJECTS and text[start : start + 1] in ("{", "["):
        decoded = _decoded(text, start)
        if decoded is None:
            break
        value, end = decoded
        values.append(value)
        start = _SEPARATORS.match(text, end).end()  # pyright: ignore[reportOptionalMemberAccess]  (it matches always)
        if start == len(text):
            end = start
    return values, end


def program_from_prose(text: str) -> Found | None:
    """The program that a JSON object within prose, or `Action:` with `Action Input:`, stands for."""
    action = _ACTION.search(text)
    if action is not None:
        following = _FOLLOWING.search(text, action.end())
        given = text[action.end() : following.start() if following else len(text)].strip()
        decoded = _decoded(given, 0)
        arguments: Any = decoded[0] if decoded and not given[decoded[1] :].strip() else given.strip("\"'` ")
        found = _call(action[1], arguments)
        return found._replace(thought=text[: action.start()].strip()) if found else None
    for count, match in enumerate(_OBJECT.finditer(text)):
        if count >= _MOST_OBJECTS:
            return None
        values, _ = _values(text, match.start())
        found = _program(values) if len(values) > 1 else None
        found = found or (_program(values[0]) if values else None)
        if found is not None:
            return found._replace(thought=found.thought or text[: match.start()].strip())
    return None


def _decoded(text: str, start: int) -> tuple[Any, int] | None:
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


def _program(value: Any) -> Found | None:
    if isinstance(value, list):
        items = cast("list[Any]", value)
        found = [_program(item) for item in items]
        codes = [item.code for item in found if item is not None]
        if not codes or len(codes) < len(items):
            return None
        # Only the last expression's value is shown by itself.
        shown = [f"print({code})" if _is_shown(code) else code for code in codes]
        calls = [call for item in found if item is not None for call in item.calls]
        return Found(
            "\n".join(shown if len(shown) > 1 else codes), "", tuple(calls) if len(calls) >= len(codes) else ()
        )
    if not isinstance(value, dict):
        return None
    data = cast("dict[str, Any]", value)
    thought = data.get("thought", data.get("thoughts", ""))
    thought = thought if isinstance(thought, str) else ""
    code = data.get("code")
    if isinstance(code, str) and code.strip():
        return Found(code, thought)
    calls: Any = data.get("tool_calls")
    if isinstance(calls, list):
        return _program(cast("list[Any]", calls))
    if isinstance(data.get("function"), dict):
        return _program(data["function"])
    found = _call_of(data)
    return found._replace(thought=thought) if found else None


def _is_shown(code: str) -> bool:
    return "\n" not in code and not code.startswith("final_answer(")


def _call_of(data: dict[str, Any]) -> Found | None:
    name = next((data[key] for key in _NAME_KEYS if isinstance(data.get(key), str)), None)
    arguments = next((data[key] for key in _ARGUMENT_KEYS if key in data), None)
    if name is not None and arguments is not None:
        return _call(name, arguments)
    answers = [key for key in _ANSWER_KEYS if key in data]
    if answers and set(data) <= {*_ANSWER_KEYS, "thought", "thoughts"}:
        return _call("final_answer", data[answers[0]])
    return None


def _call(name: str, arguments: Any) -> Found | None:
    """A call; None when the name cannot be one of a tool, or an argument has no Python source."""
    matched = _NAME.fullmatch(name)
    if matched is None or keyword.iskeyword(name):
        return None
    name = matched[1]
    if isinstance(arguments, str) and arguments.lstrip().startswith("{"):
        decoded = _decoded(arguments.strip(), 0)
        arguments = decoded[0] if decoded else arguments
    code = _code_of(name, arguments)
    return Found(code, calls=(NamedCall(name, arguments),)) if code is not None else None


def _code_of(name: str, arguments: Any) -> str | None:
    """A call as Python source: of an interpreter, the program that it is given."""
    named = cast("dict[str, Any]", arguments) if isinstance(arguments, dict) else None
    if name in _INTERPRETERS:
        code = cast("Any", arguments) if named is None else named.get("code", named.get("script"))
        return code if isinstance(code, str) else None
    alias = re.sub(r"\W", "_", name)
    if name == "final_answer" and named is not None and len(named) == 1:
        arguments, named = next(iter(named.values())), None
    if named is None:
        text = _source(arguments)
        return f"{alias}({text})" if text is not None else None
    parts: list[str] = []
    for key, value in named.items():
        text = _source(value)
        if text is None or not key.isidentifier() or keyword.iskeyword(key):
            return None
        parts.append(f"{key}={text}")
    return f"{alias}({', '.join(parts)})"


def _source(value: Any) -> str | None:
    """A JSON value as Python source."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        return None
    return None if isinstance(value, list | dict) and re.search(r"\b(?:nan|inf)\b", text) else text
