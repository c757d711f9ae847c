"""Attacks on the masking of secrets in texts that were cut: what is left of a secret is masked as well."""

from __future__ import annotations

import ast
import base64
import json
import reprlib
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

import pytest

import actloop
from actloop import CodeAgent, ScriptedModel, Secret, secret, tool
from actloop.values.cuts import Shown, cut, cut_before
from actloop.values.secrets import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "Zq7-NqVwTf3dLx9mRk2sHb6cYp8gJv4nWe1uAo5iKt0zQXyP/SlDM+5ytbxAk7jqevt0ML"
ODD = "kéy😀\"quoted\" & 'ticked' \\ back, mörE of it, and still more"
KEY = "\n".join(["-----BEGIN PRIVATE KEY-----", *(base64.b64encode(bytes([9 * n] * 48)).decode() for n in range(20))])


def pieces(text: str, longest: int) -> set[str]:
    """The ends of a text, and what is between, in pieces of some characters."""
    return {text[place : place + longest] for place in range(len(text) - longest + 1)}


CUTS: dict[str, Callable[[str], str]] = {
    "reprlib": reprlib.repr,
    "reprlib in a list": lambda s: reprlib.repr([s, {s: 1}]),
    "a beginning": lambda s: f"got {s[:40]}...",
    "a beginning in quotes": lambda s: f"got {s[:40]!r}... (100 characters)",
    "a beginning and one character": lambda s: f"got {s[:40]}\u2026",
    "a beginning in JSON": lambda s: json.dumps(f"got {s[:40]}\u2026"),
    "a beginning in brackets": lambda s: f"got ['{s[:40]}'] [...]",
    "an end": lambda s: f"...{s[-40:]}",
    "an end in quotes": lambda s: f"[...] '{s[-40:]}'",
    "an end after one character": lambda s: f"\u2026{s[-40:]} was it",
    "a log's end": lambda s: cut_before(f"a long log that says at its end {s}", len(s) * 2 // 3),
    "words": lambda s: textwrap.shorten("the key is " + " ".join([s] * 10), 50 + len(s)),
    "the middle left out": lambda s: f"key {s[:20]}\n[... 1,000 characters left out ...]\n{s[-20:]}",
    "bytes": lambda s: reprlib.repr(s.encode()),
    "hexadecimal": lambda s: reprlib.repr(s.encode().hex()),
    "base64": lambda s: f"{base64.b64encode(s.encode()).decode()[:40]}...",
}


@pytest.mark.parametrize("way", CUTS)
@pytest.mark.parametrize("value", [TOKEN, ODD])
def test_what_a_cut_leaves_of_a_secret_is_masked(way: str, value: str) -> None:
    shown = Vault({"TOKEN": value}).masked(f"before {CUTS[way](value)} after")
    assert "[secret TOKEN]" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    for piece in pieces(value, 8) | pieces(repr(value.encode()), 12) | pieces(value.encode().hex(), 16):
        assert piece not in shown


def test_a_line_of_a_long_secret_that_was_cut_is_masked() -> None:
    line = KEY.splitlines()[5]
    assert Vault({"KEY": KEY}).masked(f"bad line {line[:30]}...{line[-20:]}") == "bad line [secret KEY]...[secret KEY]"


@pytest.mark.parametrize(
    "text", ["...", "a... b...", "\u2026" * 50, "Zq7-...L0", "...M", "Zq7-NqVwTf3dLx9m", "...'\"[("]
)
def test_other_ellipses_stay(text: str) -> None:
    vault: Any = Vault({"TOKEN": TOKEN, "ODD": ODD, "KEY": KEY})
    assert vault.masked(text) is text


class Opt(TypedDict, total=False):
    """Options."""

    a: int


@tool
def num(n: int) -> int:
    """Takes a number.

    Args:
        n: The number.
    """
    return n


@tool
def opt(given: Opt) -> int:
    """Takes options.

    Args:
        given: The options.
    """
    return len(given)


@tool
def wrong() -> Opt:
    """Gives options, and a secret for a key."""
    return cast("Opt", {"a": 1, secret("KEY"): 2})


CALLS = [
    "num(TOKEN)",
    "num('x' * 10 + TOKEN)",
    "num('x' * 60 + TOKEN)",
    "num(TOKEN.encode())",
    "num(bytearray(b'x' * 30 + TOKEN.encode()))",
    "num([TOKEN, TOKEN])",
    "num([[TOKEN]])",
    "num({'a': TOKEN})",
    "num({TOKEN: 1})",
    "num((1, {'a': 'x' * 40 + TOKEN}))",
    "num(**{TOKEN: 1})",
    "num(ValueError(TOKEN))",
    "opt({'a': 1, TOKEN: 1})",
    "opt({'a': 1, 'x' * 40 + TOKEN: 1})",
    "opt({'a': TOKEN})",
    "opt(TOKEN)",
    "wrong()",
]


@pytest.mark.parametrize("call", CALLS)
def test_messages_about_a_call_show_nothing_of_a_secret(call: str) -> None:
    secrets = {"TOKEN": Secret(TOKEN, place="sandbox"), "KEY": TOKEN[::-1]}
    model = ScriptedModel([f"<code>\n{call}\n</code>", "<code>\nfinal_answer(1)\n</code>"])
    with CodeAgent([num, opt, wrong], model, secrets=secrets, verbosity_level=0) as agent:
        agent.run("go")
        said = repr(model.requests[1:]) + repr(agent.memory.get_full_steps())
    assert "[secret " in said
    for piece in pieces(TOKEN, 8) | pieces(TOKEN[::-1], 8):
        assert piece not in said


def test_what_is_shown_of_a_value_is_its_beginning() -> None:
    shown = Shown(20)
    assert shown.repr("short") == "'short'"
    assert shown.repr("x" * 15 + "yyyyyyyyyyyyyy") == "'xxxxxxxxxxxxxxxy..."
    assert shown.repr(b"x" * 100) == "b'xxxxxxxxxxxxxxx..."
    assert shown.repr(10**30) == "10000000000000000..."
    assert shown.repr([1, [2, [3]]]) == "[1, [2, [...]]]"
    assert shown.repr({"k" * 50: 1}) == "{'kkkkkkkkkkkkkkkk...: 1}"
    assert shown.repr(10**5000) == "<int>"
    assert shown.repr(ValueError("z" * 50)) == "ValueError('zzzzz..."
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abc..."


@pytest.mark.parametrize("room", [20, 40, 60])
def test_an_error_that_is_too_long_is_cut_where_it_shows(room: int) -> None:
    secrets = {"TOKEN": Secret(TOKEN, place="sandbox")}
    code = f"raise ValueError('x ' * {(10_000 - room) // 2} + TOKEN + 'x' * 10_000)"
    model = ScriptedModel([f"<code>\n{code}\n</code>", "<code>\nfinal_answer(1)\n</code>"])
    with CodeAgent([], model, secrets=secrets, verbosity_level=0) as agent:
        agent.run("go")
        said = repr(model.requests[1:]) + repr(agent.memory.get_full_steps())
    for piece in pieces(TOKEN, 8):
        assert piece not in said


_SOURCES = Path(actloop.__file__).parent


def _cuts(node: ast.AST) -> list[int]:
    """Lines of an expression in which a text is cut by an index."""
    found: list[int] = []
    for part in ast.walk(node):
        match part:
            case ast.Subscript(value=ast.Call(func=ast.Name(id="list"))):
                pass  # names, whole
            case ast.Subscript(
                slice=ast.Slice(lower=None, upper=ast.Constant(value=int(size)))
                | ast.Slice(lower=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(size))), upper=None)
            ) if size >= 80:
                found.append(part.lineno)
            case _:
                pass
    return found


@pytest.mark.parametrize(
    "path",
    [path for path in _SOURCES.rglob("*.py") if path.parent.name != "guest"],
    ids=lambda path: path.stem,
)
def test_no_error_cuts_a_text_without_a_mark(path: Path) -> None:
    raised = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Raise)]
    assert not [line for node in raised for line in _cuts(node)]


def test_the_end_of_a_text_is_cut_where_it_shows() -> None:
    assert cut_before("abcdef", 6) == "abcdef"
    assert cut_before("abcdefg", 6) == "...efg"
    assert cut_before("abcdefg", 3) == "..."
