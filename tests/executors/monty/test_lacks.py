"""What Monty lacks: the lists are those of the installed version."""

from __future__ import annotations

import ast
import builtins
import sys
from typing import TYPE_CHECKING

import pytest
from tests.executors.monty.helpers import failed, works

from actloop import CodeAgent, ScriptedModel
from actloop.executors.monty import MontyExecutor, lacks

if TYPE_CHECKING:
    from tests.executors.driving import Driver

pytest.importorskip("pydantic_monty")


def test_modules_are_those_that_can_be_imported(driver: Driver) -> None:
    found = {name for name in {*sys.stdlib_module_names, "os.path"} if works(driver, f"import {name}")}
    assert {name for name in found if not name.startswith("_") or name == "__future__"} | {
        "__future__"
    } == lacks.MODULES
    assert works(driver, "from __future__ import annotations")


def test_absent_names_are_absent(driver: Driver) -> None:
    wrong = [
        f"{module}.{name}"
        for module, names in lacks.ABSENT.items()
        for name in names.split()
        if works(driver, f"import {module}\n{module}.{name}")
    ]
    assert wrong == []


def test_builtins_that_are_lacking(driver: Driver) -> None:
    names = [name for name in dir(builtins) if not name.startswith("_") and name not in ("copyright", "credits")]
    missing = {name for name in names if not works(driver, name)} - {"license", "EncodingWarning", "BytesWarning"}
    assert missing - {"PythonFinalizationError"} == lacks.BUILTINS


def test_methods_that_are_lacking(driver: Driver) -> None:
    def has(value: str, method: str) -> bool:
        failure = driver.run(f"value = {value}\nvalue.{method}()").failure
        return failure is None or "has no attribute" not in failure.message

    samples = ("'a'", "b'a'", "[1]", "{1}", "{1: 2}", "(1,)", "5", "5.5")
    for method in lacks.METHODS:
        owners = [sample for sample in samples if hasattr(ast.literal_eval(sample), method)]
        assert owners
        assert not any(has(sample, method) for sample in owners), method


UNSUPPORTED = {
    "inheritance": "class A:\n    pass\nclass B(A):\n    pass",
    "an exception of one's own": "class E(Exception):\n    pass",
    "yield": "def f():\n    yield 1",
    "del": "x = 1\ndel x",
    "property": "class A:\n    @property\n    def f(self):\n        return 1",
    "a class inside of a class": "class A:\n    class B:\n        pass",
    "except*": "try:\n    pass\nexcept* ValueError:\n    pass",
    "async with": "async def f():\n    async with x:\n        pass",
    "import *": "from math import *",
    "key=str.lower": "sorted(['b'], key=str.lower)",
    "a module": "import statistics",
    "a name of a module": "from functools import wraps",
    "an attribute of a module": "import asyncio\nasyncio.create_task",
    "a builtin": "vars()",
    "a file": "open('x', 'w').write('y')",
    "__len__": "class A:\n    def __len__(self):\n        return 1\nlen(A())",
    "a method": "(5).bit_length()",
}


@pytest.mark.parametrize("code", UNSUPPORTED.values(), ids=list(UNSUPPORTED))
def test_what_cannot_be_done_is_seen_before_a_program_runs(code: str, driver: Driver) -> None:
    assert not works(driver, code)
    assert MontyExecutor().lacks(code)


SUPPORTED = """
import asyncio, json, re
from dataclasses import dataclass
from functools import lru_cache, reduce

@dataclass
class Point:
    x: int
    y: int = 2
    def moved(self, by):
        return Point(self.x + by, self.y)
    def __add__(self, other):
        return Point(self.x + other.x, self.y + other.y)

def twice(function):
    def wrapper(*args, **kwargs):
        return 2 * function(*args, **kwargs)
    return wrapper

@twice
def f(n, *, more=1):
    return n + more

class Manager:
    def __enter__(self):
        return self
    def __exit__(self, *error):
        return True

with Manager():
    1 / 0
match {"a": [1, 2]}:
    case {"a": [first, *rest]}:
        pass
counts = {word: len(word) for word in sorted("b a".split(), key=lambda w: w.lower())}
while (n := len(counts)) < 2:
    break
async def g():
    await asyncio.sleep(0)
    return 7
found = await asyncio.gather(g(), g())
try:
    int("x")
except ValueError as error:
    caught = str(error)
total = sum(n * n for n in range(4))
[(Point(1) + Point(2).moved(1)).x, f(1, more=2), first, rest, counts, found, caught[:7], total]
"""


def test_what_works(driver: Driver) -> None:
    assert MontyExecutor().lacks(SUPPORTED) == ""
    assert driver.value(SUPPORTED) == [4, 6, 1, [2], {"a": 1, "b": 1}, [7, 7], "invalid", 14]


@pytest.mark.parametrize("name", sorted(lacks.UNCALLED))
def test_what_monty_would_silently_do_wrong_is_refused(name: str, driver: Driver) -> None:
    code = f"print('ran')\nclass A:\n    def {name}(self, *args):\n        return False"
    failure = failed(driver, code)
    assert (failure.kind, failure.line) == ("NotImplementedError", 3)
    assert name in failure.message
    assert driver.printed == []
    assert driver.value("1") == 1


def test_it_is_still_silent_about_them(driver: Driver) -> None:
    """If this fails, Monty has learnt something: take it off the list."""
    cls = "type('A', (), {})"
    assert works(driver, cls)
    from pydantic_monty import Monty

    with Monty() as pool, pool.checkout() as session:
        assert session.feed_run("class A:\n    def __bool__(self): return False\nbool(A())") is True
        assert session.feed_run("class A:\n    def __format__(self, f): return 'F'\nf'{A()}'") != "F"


def test_the_model_is_told() -> None:
    with CodeAgent([], ScriptedModel(["<code>final_answer(1)</code>"]), executor=MontyExecutor()) as agent:
        assert "no inheritance" in agent.system_prompt
        assert "tomllib" in agent.system_prompt
