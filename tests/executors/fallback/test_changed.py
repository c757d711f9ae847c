"""What is not as it was when a program moves: names bound anew, and objects in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.executors.driving import WAITER, Driver

from actloop.executors.session import Call
from actloop.executors.waiting import run_now

from .kit import echo, place

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("pydantic_monty")


@pytest.mark.parametrize(
    "code",
    [
        "price = lambda x: x * 2",
        "price, other = (lambda x: 1), 2",
        "for price in [lambda x: 3]:\n    pass",
        "(price := lambda x: 4)",
        "[(price := f) for f in [lambda x: 5]]",
        "def g():\n    global price\n    price = lambda x: 6\ng()",
        "def same(f):\n    return lambda x: 7\n@same\ndef price(x):\n    return x",
        "if True:\n    def price(x):\n        return 8",
        "def price(x):\n    return 9\nprice = (lambda f: lambda x: f(x))(price)",
        "match [lambda x: 10]:\n    case [price]:\n        pass",
        "def price(x, y=[11]):\n    return y[0]",
        "price = lambda x: 12\n1 / 0",
        "class price:\n    pass",
    ],
)
def test_a_function_that_was_bound_anew_is_not_defined_from_its_old_source(
    code: str, open_driver: Callable[..., Driver]
) -> None:
    driver = open_driver()
    driver.value("def price(x):\n    return x\ndef kept(x):\n    price = x\n    return [price for price in [price]][0]")
    driver.run(code)
    assert place(driver) == "MontySession"
    ended = driver.run("import statistics\nkept(1)")
    assert ended.output == 1
    assert "price" in ended.logs
    assert "kept" not in ended.logs
    failure = driver.run("price(10)").failure
    assert failure is not None
    assert failure.kind == "NameError"


@pytest.mark.parametrize("code", ["price = 5", "import math as price\nprice = 5", "def price():\n    pass\nprice = 5"])
def test_a_value_takes_the_place_of_a_function(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("def price(x):\n    return x")
    driver.run(code)
    assert driver.value("import statistics\nprice") == 5


def test_what_the_host_defines_takes_the_place_of_a_function(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(echo=echo)
    driver.value("import math\ndef f():\n    return 1")
    driver.define(f=2, math=3)
    assert driver.value("import statistics\n[f, math]") == [2, 3]


def test_what_came_after_the_answer_is_not_taken_for_done(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(done=None)
    driver.value("price = lambda x: 2 * x")
    run_now(driver.session.start("done()\ndef price(x):\n    return x", WAITER))
    call = run_now(driver.session.receive(WAITER))
    assert isinstance(call, Call)
    run_now(driver.session.stop(call.id, WAITER))
    driver.finish()
    assert "price" in driver.run("import statistics").logs


def test_each_name_of_an_import_goes_along_by_itself(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("import math, posixpath\nfrom math import pi, floor as down")
    driver.run("math = lambda: 1")
    ended = driver.run("import statistics\n[down(pi), posixpath.sep]")
    assert ended.output == [3, "/"]
    assert "math" in ended.logs
    assert driver.run("math").failure is not None


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("a = [1]\nb = a", "a, b had an object in common"),
        ("a = [[1]]\nb = {'k': (a[0],)}\nc = a[0]", "a, b, c had an object in common"),
        ("a = [[0] * 3] * 3", "Parts of a were one object"),
        ("from collections import deque\na = deque([1])\nb = [2, a]", "a, b had"),
        ("class P:\n    def __init__(self):\n        self.x = [1]\np = P()\nq = [p.x]", "p, q had"),
        ("a = []\na.append(a)\nb = 1\nc = d = [b]", "c, d had"),
    ],
)
def test_the_model_is_told_which_variables_were_one_object(
    code: str, told: str, open_driver: Callable[..., Driver]
) -> None:
    driver = open_driver()
    driver.value(code)
    assert told in driver.run("import statistics").logs


def test_equal_values_are_not_taken_for_one_object(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value(
        "import datetime\na = [1, 'x', (2, 'y')]\nb = [1, 'x', a[2]]\nc = b[2]\nd = e = 1 << 80\nf = g = range(3)"
    )
    driver.value("h = i = datetime.timedelta(1)\nj = k = frozenset([1])\nl = m = 2.5\nn = o = b'n'\np = q = None")
    assert driver.run("import statistics").logs == ""


def test_objects_in_common_among_very_many_are_spoken_of(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("a = [[n] for n in range(120000)]\nb = c = [1]")
    assert "may have had objects in common" in driver.run("import statistics").logs
