"""Programs as code: in two parts where that can be, and always the same code as from the tree of the whole program."""

from __future__ import annotations

import random
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actloop.guest import steps

if TYPE_CHECKING:
    from types import CodeType

NAME = "<step 1>"


def by_tree(source: str) -> list[CodeType]:
    return steps._by_tree(source, NAME)  # pyright: ignore[reportPrivateUsage]


def in_parts(source: str) -> list[CodeType] | None:
    try:
        return steps._in_parts(source, NAME)  # pyright: ignore[reportPrivateUsage]
    except Exception:
        return None


IN_PARTS = [
    "1",
    "x = 1\nx",
    "\n\nx = 1\n\nx  # the last one\n\n",
    "x = 1\n(\n  x,\n)\n",
    "if True:\n    x = 1\nprint(\n    x\n)",
    "import asyncio\nawait asyncio.sleep(0)",
    "x = [\n1,\n2]\nx[0]",
    "# a comment\u2028x\n1",
]
BY_TREE = [
    "x = '''\ny = 1\n'''\n'''z\n'''",
    "",
    "# nothing",
    "x = 1",
    "x = 1; x",
    "x = 3\rx",
    "x = 1, \\\r\n2\n",
    "x = 5 \\\r\n-3\r\n",
    "raise \\\r\nValueError('real')\r\n",
    'exec("x=1")\r# c\nf()\n',
    "for x in (1, 2):\n    x",
    "x = '''\n1\n'''",
    "x = '''\n1 # '''",
    'x = ("""\n1 #""")',
    "x = (1 +\n2)",
    "x = 1 + \\\n2",
    "x = 1\n# \\\n2",
    "if True:\n    x = 1\nelse:\n    x = 2",
    "@staticmethod\ndef f(): pass",
    "from __future__ import annotations\n1",
    "*[1], 2",
    "def f():\n  return 1\n\\\nf()",
]


@pytest.mark.parametrize("source", IN_PARTS)
def test_programs_in_parts(source: str) -> None:
    parts, expected = in_parts(source), by_tree(source)
    assert parts is not None
    assert parts == expected[-len(parts) :]
    assert parts == steps.compiled(source, NAME)


@pytest.mark.parametrize("source", BY_TREE)
def test_programs_by_their_tree(source: str) -> None:
    assert in_parts(source) is None
    try:
        expected = by_tree(source)
    except SyntaxError:  # since Python 3.12, for a backslash before a carriage return
        with pytest.raises(SyntaxError):
            steps.compiled(source, NAME)
    else:
        assert steps.compiled(source, NAME) == expected


@pytest.mark.parametrize("module", [random, statistics], ids=lambda module: module.__name__)
def test_every_beginning_of_a_long_program_is_the_same_code_in_either_way(module: object) -> None:
    source = Path(str(getattr(module, "__file__", ""))).read_text("utf-8")
    lines = source.splitlines(keepends=True)
    compared = 0
    for end in range(1, len(lines), 23):
        for last in ("", "1\n", "print(1)"):
            part = "".join(lines[:end]) + last
            parts = in_parts(part)
            if parts is not None:
                assert parts == by_tree(part)[-len(parts) :], part[-200:]
                compared += 1
    assert compared > 10


@pytest.mark.parametrize("source", ["x = 1\ny = (\nx", "x =\n1", "x = 1\n1 +", "if x:\n1", "'\0'", "(" * 300])
def test_what_is_no_program_fails_as_the_whole_of_it(source: str) -> None:
    with pytest.raises((SyntaxError, ValueError, MemoryError)) as whole:
        compile(source, NAME, "exec")
    with pytest.raises(whole.type) as told:
        steps.compiled(source, NAME)
    assert str(told.value) == str(whole.value)
    assert told.value.__context__ is None
