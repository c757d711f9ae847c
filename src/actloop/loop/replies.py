"""Reads the tool calls in a model's reply: its own tool calls, or calls that it wrote as text in whatever form."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from actloop.loop.effects import ToolRequest
from actloop.loop.parsing import Misread, parse_reply
from actloop.loop.source import parsed
from actloop.values.cuts import cut
from actloop.values.syntax import syntax_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actloop.loop.calls import NamedCall
    from actloop.values.messages import ChatMessage, ChatMessageToolCall

FINAL_ANSWER = "final_answer"

_MOST_CALLS = 64
_ANSWER_WORDS = frozenset({"answer", "final_answer", "output", "response", "result", "text", "value"})
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_KNOWN_ESCAPES = frozenset("\n\\'\"abfnrtv01234567xNuU")

RIGHT_REPLY = (
    'Thought: one short sentence\n{"name": "name of a tool", "arguments": {"name of an argument": "its value"}}'
)
"""A reply with a call, as models without tool calls of their own are asked to write it."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of a reply.

    Attributes:
        requests: The calls in order, each with an id of its own.
        thought: What was said besides, where the calls stood in the text; None where they came apart from it.
    """

    requests: tuple[ToolRequest, ...]
    thought: str | None = None


class CallReader:
    """Reads one run's replies: no two of its calls get the same id.

    Args:
        native: Whether the model has tool calls of its own, for the wording of what it is told.
    """

    def __init__(self, *, native: bool) -> None:
        self._native = native
        self._ids: set[str] = set()

    def read(self, reply: ChatMessage, number: int) -> Calls | Misread:
        """The calls of a reply.

        Args:
            reply: The model's reply.
            number: The step's, for ids.
        """
        if reply.tool_calls:
            requests = [self._own_call(call, number) for call in reply.tool_calls[:_MOST_CALLS]]
            return Calls(_judged(requests))
        found = parse_reply(reply.text)
        if isinstance(found, Misread):
            return Misread(self._explanation(reply.text))
        written = [_split(call) for call in found.calls] or list(_plain_calls(found.code))
        if not written:
            return Misread(self._explanation(reply.text))
        requests = [
            ToolRequest(self._new_id("", number), name, args, kwargs) for name, args, kwargs in written[:_MOST_CALLS]
        ]
        return Calls(_judged(requests), found.thought)

    def _own_call(self, call: ChatMessageToolCall, number: int) -> ToolRequest:
        given, refusal = _decoded(call.function.arguments)
        args, kwargs = _arguments(call.function.name, given)
        return ToolRequest(self._new_id(call.id, number), call.function.name, args, kwargs, refusal)

    def _new_id(self, wanted: Any, number: int) -> str:
        """The service's own id, unless it gave none or one that another call has."""
        name, count = wanted if isinstance(wanted, str) else "", len(self._ids)
        while not name or name in self._ids:
            count += 1
            name = f"call_{number}_{count}"
        self._ids.add(name)
        return name

    def _explanation(self, text: str) -> str:
        what = "There is no tool call in your reply" if text.strip() else "Your reply is empty"
        answer = "If you know the answer, give it by calling final_answer."
        if self._native:
            return f"{what}. Call one of the tools. {answer}"
        return f"{what}. {answer} A right reply looks like this:\n{RIGHT_REPLY}"


def _judged(requests: list[ToolRequest]) -> tuple[ToolRequest, ...]:
    """The calls, those of `final_answer` refused where they cannot be right.

    An answer beside other calls was given before their results were known.
    """
    answers = [request for request in requests if request.name == FINAL_ANSWER]
    if not answers or len(requests) == 1:
        return tuple(requests)
    if len(answers) < len(requests):
        word = "The answer was not taken: it came together with other calls. Look at their results, then give it alone."
    elif all(request.same_call(answers[0]) for request in answers):
        return (answers[0],)
    else:
        word = "final_answer was called several times. Call it once, with everything that is asked for."
    return tuple(replace(request, refusal=word) if request.name == FINAL_ANSWER else request for request in requests)


def _decoded(arguments: Any) -> tuple[Any, str | None]:
    """The arguments of a call; or why they cannot be read."""
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}, None
    if not isinstance(arguments, str):
        return arguments, None
    try:
        return json.loads(arguments, strict=False), None
    except (ValueError, RecursionError) as error:
        fault = str(error)
    if not arguments.lstrip().startswith(("{", "[")):
        return arguments, None  # the only argument of a tool, as it is
    tree = _tree(arguments.strip())
    if tree is not None and len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
        value = _literal(tree.body[0].value)
        if isinstance(value, dict):
            return cast("dict[str, Any]", value), None
    return (
        arguments,
        f"The arguments are no valid JSON ({cut(fault, 100)}). Write the whole call again, shorter if it is long.",
    )


def _split(call: NamedCall) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    return call.name, *_arguments(call.name, call.arguments)


def _arguments(name: str, given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a call: by name where they are a mapping, else the only one."""
    if not isinstance(given, dict):
        return (given,), {}
    named = {str(key): value for key, value in cast("dict[Any, Any]", given).items()}
    if name == FINAL_ANSWER and len(named) == 1 and "answer" not in named:
        key, value = next(iter(named.items()))
        if key in _ANSWER_WORDS:
            return (value,), {}
    return (), named


# ------------------------------------------------------------------------------------------------ calls in Python


def _plain_calls(code: str) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """The calls with which a program begins, as long as every argument is a plain value.

    What follows them needs their results, so it can wait until the model has seen these.
    """
    tree = _tree(code)
    for node in tree.body if tree is not None else ():
        call = _call_in(node)
        if call is None:
            return
        yield call


def _call_in(node: ast.stmt) -> tuple[str, tuple[Any, ...], dict[str, Any]] | None:
    value = node.value if isinstance(node, ast.Expr | ast.Assign) else None
    if isinstance(value, ast.Await):
        value = value.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "print":
        value = value.args[0] if len(value.args) == 1 and not value.keywords else None
    if not isinstance(value, ast.Call):
        return None
    name = ast.unparse(value.func).removeprefix("functions.") if _is_dotted(value.func) else ""
    try:
        args = tuple(ast.literal_eval(arg) for arg in value.args)
        kwargs = {keyword.arg: ast.literal_eval(keyword.value) for keyword in value.keywords}
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    if not name or name == "print" or None in kwargs:
        return None
    named = {key: value for key, value in kwargs.items() if key is not None}
    if len(args) == 1 and not named and isinstance(args[0], dict):
        return name, *_arguments(name, args[0])
    return name, args, named


def _is_dotted(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_dotted(node.value))


def _tree(code: str) -> ast.Module | None:
    """The syntax tree, with the values of its strings; escapes that Python does not know stand for themselves."""
    if not isinstance(parsed(code), ast.Module):
        return None
    if "\\" in code:
        code = _ESCAPE.sub(lambda match: match[0] if match[1] in _KNOWN_ESCAPES else f"\\{match[0]}", code)
    try:
        return syntax_tree(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
