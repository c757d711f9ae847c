"""Programs written as JSON, and tool calls written in other frameworks' forms, as Python programs."""

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
_OBJECT = re.compile(r"[{\[]\s{0,100}[\"{\]}]")
_ACTION = re.compile(
    r"^[ \t]*Action:[ \t]*`?([A-Za-z_]\w*)`?[ \t]*\n[ \t]*Action Input:[ \t]*", re.MULTILINE | re.IGNORECASE
)
_FOLLOWING = re.compile(r"^[ \t]*(?:Observation|Thought|Action):", re.MULTILINE | re.IGNORECASE)
_DECODER = json.JSONDecoder(strict=False)


class Found(NamedTuple):
    """A program, and the thought that came with it."""

    code: str
    thought: str = ""


def program_from_json(text: str) -> Found | None:
    """The program that a JSON text stands for: `{"thought", "code"}`, a call, or a list of calls.

    Text that is no JSON, or JSON that means neither, gives None.
    """
    text = text.strip()
    if not text.startswith(("{", "[")):
        return None
    decoded = _decoded(text, 0)
    # Small models put further calls on lines of their own.
    values: list[Any] = []
    while decoded is not None and len(values) < _MOST_OBJECTS:
        value, end = decoded
        values.append(value)
        text = text[end:].lstrip(" \n\t,;")
        if not text:
            return _program(values[0] if len(values) == 1 else values)
        decoded = _decoded(text, 0)
    return None


def program_from_prose(text: str) -> Found | None:
    """The program that a JSON object within prose, or `Action:` with `Action Input:`, stands for."""
    action = _ACTION.search(text)
    if action is not None:
        following = _FOLLOWING.search(text, action.end())
        given = text[action.end() : following.start() if following else len(text)].strip()
        decoded = _decoded(given, 0)
        arguments: Any = decoded[0] if decoded and not given[decoded[1] :].strip() else given.strip("\"'` ")
        code = _call(action[1], arguments)
        return Found(code, text[: action.start()].strip()) if code else None
    for count, match in enumerate(_OBJECT.finditer(text)):
        if count >= _MOST_OBJECTS:
            return None
        decoded = _decoded(text, match.start())
        found = _program(decoded[0]) if decoded else None
        if found is not None:
            return Found(found.code, found.thought or text[: match.start()].strip())
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
        return Found("\n".join(shown if len(shown) > 1 else codes))
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
    call = _call_of(data)
    return Found(call, thought) if call else None


def _is_shown(code: str) -> bool:
    return "\n" not in code and not code.startswith("final_answer(")


def _call_of(data: dict[str, Any]) -> str | None:
    name = next((data[key] for key in _NAME_KEYS if isinstance(data.get(key), str)), None)
    arguments = next((data[key] for key in _ARGUMENT_KEYS if key in data), None)
    if name is not None and arguments is not None:
        return _call(name, arguments)
    answers = [key for key in _ANSWER_KEYS if key in data]
    if answers and set(data) <= {*_ANSWER_KEYS, "thought", "thoughts"}:
        return _call("final_answer", data[answers[0]])
    return None


def _call(name: str, arguments: Any) -> str | None:
    """A call as Python source; None when the name cannot be one or an argument has no source."""
    if not name.isidentifier() or keyword.iskeyword(name):
        return None
    if isinstance(arguments, str) and arguments.lstrip().startswith("{"):
        decoded = _decoded(arguments.strip(), 0)
        arguments = decoded[0] if decoded else arguments
    named = cast("dict[str, Any]", arguments) if isinstance(arguments, dict) else None
    if name in _INTERPRETERS:
        code = cast("Any", arguments) if named is None else named.get("code", named.get("script"))
        return code if isinstance(code, str) else None
    if name == "final_answer" and named is not None and len(named) == 1:
        arguments, named = next(iter(named.values())), None
    if named is None:
        text = _source(arguments)
        return f"{name}({text})" if text is not None else None
    parts: list[str] = []
    for key, value in named.items():
        text = _source(value)
        if text is None or not key.isidentifier() or keyword.iskeyword(key):
            return None
        parts.append(f"{key}={text}")
    return f"{name}({', '.join(parts)})"


def _source(value: Any) -> str | None:
    """A JSON value as Python source."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        return None
    return None if isinstance(value, list | dict) and re.search(r"\b(?:nan|inf)\b", text) else text
