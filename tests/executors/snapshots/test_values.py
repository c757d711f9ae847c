"""What comes back of a session's values, functions, classes and modules."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from actloop.errors import InterpreterError

from .kit import CLASSES, BundleExecutor

if TYPE_CHECKING:
    from collections.abc import Callable


def test_values_keep_what_they_share(moved: Callable[..., Any]) -> None:
    code = "a = [1]\nb = {'same': a, 'text': 'x' * 5}\nc = (a, b)\nloop = []\nloop.append(loop)"
    assert moved(code, "a.append(2)\nb['same'] is a, c[0] is a, c[1] is b, loop[0] is loop, b['same'][1]") == (
        *(True, True, True, True),
        2,
    )


def test_functions_see_the_globals_of_the_session(moved: Callable[..., Any]) -> None:
    code = """
    rate = 2
    def price(n): return n * rate
    def change(new):
        global rate
        rate = new
    """
    assert moved(
        code, "before = price(10)\nrate = 3\nmiddle = price(10)\nchange(4)\nbefore, middle, price(10), rate"
    ) == (
        *(20, 30, 40),
        4,
    )


def test_functions_call_each_other_and_themselves(moved: Callable[..., Any]) -> None:
    code = """
    def even(n): return n == 0 or odd(n - 1)
    def odd(n): return n > 0 and even(n - 1)
    def outer():
        def fact(n): return 1 if n < 2 else n * fact(n - 1)
        return fact
    fact = outer()
    """
    assert moved(code, "even(10), odd(10), fact(5)\n") == (True, False, 120)
    assert moved(code, "def odd(n): return 'new'\neven(3)") == "new"


def test_closures_share_their_cells(moved: Callable[..., Any]) -> None:
    code = """
    def counter():
        n = 0
        def up():
            nonlocal n
            n += 1
        def get(): return n
        return up, get
    up, get = counter()
    up()
    def unfinished():
        def inner(): return late
        if False: late = 1
        return inner
    empty = unfinished()
    """
    then = """
    up()
    try: empty()
    except NameError as error: said = type(error).__name__
    get(), said
    """
    assert moved(code, then) == (2, "NameError")


def test_functions_keep_everything_about_them(moved: Callable[..., Any]) -> None:
    code = """
    import functools
    def deco(f):
        @functools.wraps(f)
        def wrapped(*args, **kwargs): return ("wrapped", f(*args, **kwargs))
        wrapped.mark = 5
        return wrapped
    @deco
    def f(a: int, b=2, *, c: str = "c") -> tuple:
        "What it does."
        return a, b, c
    half = functools.partial(f, 1)
    twice = lambda x: 2 * x
    def numbers():
        yield from range(3)
    async def later(x): return x
    """
    then = """
    import asyncio, inspect
    f(0), f.mark, f.__doc__, str(inspect.signature(f)), half(), twice(4), list(numbers()), await later(6), f.__module__
    """
    assert moved(code, then) == (
        *(("wrapped", (0, 2, "c")), 5, "What it does.", "(a: int, b=2, *, c: str = 'c') -> tuple"),
        *(("wrapped", (1, 2, "c")), 8, [0, 1, 2], 6, "__main__"),
    )


def test_functions_with_a_cache_begin_with_an_empty_one(moved: Callable[..., Any]) -> None:
    code = """
    import functools
    @functools.lru_cache(maxsize=50)
    def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
    fib(30)
    class Circle:
        def __init__(self, r): self.r = r
        @functools.cached_property
        def area(self): return 3 * self.r ** 2
        @functools.lru_cache
        def grown(self, by): return self.r + by
    circle = Circle(2)
    """
    then = "first = fib.cache_info().currsize\nfirst, fib(20), fib.cache_info().maxsize, circle.area, circle.grown(3)"
    assert moved(code, then) == (0, 6765, 50, 12, 5)


def test_classes_and_their_objects(moved: Callable[..., Any]) -> None:
    then = """
    class Later(Square): pass
    checks = [
        square.area() == 9, square.title == "Square", Shape.count() == 2, isinstance(square, Shape),
        Square(4).area() == 16, Later(5).area() == 25, squares[Square(3)] == "three",
        min(points) is points[1], points[0].near[0] is points[1], Point(7).y == 0,
        Frozen(1) == frozen, red is Colour.RED, Colour(2) is Colour.BLUE,
        pair == Pair(1, 2), pair.b == 2, named == Named(3), named._asdict() == {"a": 3, "b": "b"}, box.value == 4,
        isinstance(error, TooMuch), str(error) == "by far", Odd()[0] == "made by the metaclass",
    ]
    try: frozen.a = 2
    except Exception as e: checks.append(type(e).__name__ == "FrozenInstanceError")
    try: Shape("x")
    except TypeError: checks.append(True)
    [number for number, check in enumerate(checks) if not check], len(checks)
    """
    assert moved(CLASSES, then) == ([], 23)


def test_modules_come_back_with_what_programs_had_imported_of_them(moved: Callable[..., Any]) -> None:
    code = "import xml.etree.ElementTree\nimport math as m, collections.abc\nfrom json import dumps, JSONDecodeError"
    assert moved(
        code, "xml.etree.ElementTree.fromstring('<a/>').tag, m.sqrt(4), dumps([1]), JSONDecodeError.__name__"
    ) == (
        *("a", 2.0, "[1]"),
        "JSONDecodeError",
    )


def test_the_names_of_a_session_are_not_copied(moved: Callable[..., Any]) -> None:
    then = "x = 7\n(g is globals(), g['x'], __import__('sys').modules['__main__'].x, m.x, ask is input)"
    assert moved("import __main__ as m\ng, x, ask = globals(), 1, input", then) == (True, 7, 7, 7, True)


def test_lines_of_programs_come_along_for_tracebacks(make: Callable[..., Any]) -> None:
    executor = make("def f(x):\n    return 1 / x")
    executor("def g(x):\n    return [f(n) for n in x]")
    snapshot = executor.snapshot()
    fresh, used = make(), make("def other():\n    return undefined")
    for other in (fresh, used, used):
        other.restore(snapshot)
        with pytest.raises(InterpreterError) as caught:
            other("g([0])")
        assert "    return [f(n) for n in x]\n" in str(caught.value)
        assert "    return 1 / x\n" in str(caught.value)
    with pytest.raises(InterpreterError, match="return undefined"):
        used("other()")


@pytest.mark.parametrize("kind", ["kernel"], indirect=True)
def test_arrays_and_tables(moved: Callable[..., Any]) -> None:
    code = """
    import numpy as np, pandas as pd
    a = np.arange(12.0).reshape(3, 4)
    rows = a[1:]
    t = pd.DataFrame({"n": [1, 2], "s": ["a", None], "d": pd.to_datetime(["2020-01-01", "2021-01-01"])})
    draw = np.random.default_rng(3)
    large = np.arange(3_000_000.0).reshape(3, -1)
    turned, other = large.T, np.asfortranarray(large[:, :100_000])
    table = pd.DataFrame(large)
    def total(): return float(np.sum(a)) + int(t["n"].sum())
    """
    then = """
    same = draw.integers(10) == np.random.default_rng(3).integers(10)
    assert table.shape == (3, 1_000_000) and table.iat[2, -1] == turned[-1, 2] == 2_999_999
    assert (other == large[:, :100_000]).all()
    a[2, 3], rows.shape, list(t["s"])[0], str(t["d"].dtype)[:10], total(), bool(same)
    """
    imports = ["numpy", "pandas"]
    assert moved(code, then, additional_authorized_imports=imports) == (
        *(11.0, (2, 4), "a", "datetime64", 69.0),
        True,
    )


class Pair(NamedTuple):
    a: int
    b: int


def test_values_of_the_hosts_come_back_as_such(make: Callable[..., Any]) -> None:
    executor = make()
    executor.send_variables({"pair": Pair(1, 2), "sizes": {"x": b"1"}})
    executor("kind = type(pair)")
    other = make()
    other.restore(executor.snapshot())
    result = other("pair").output
    assert (result.record_type, result.a, other("pair.b, kind is type(pair)").output) == ("Pair", 1, (2, True))


@pytest.mark.parametrize("kind", ["bundle"], indirect=True)
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_other_versions_of_python(version: str, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Path(sys.base_prefix).parent.glob(f"{version}*/bin/python{version}")
    python = next(map(str, beside), None) or shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    here = make("x = 1").snapshot()
    monkeypatch.setattr(BundleExecutor, "python", python)
    snapshot = make(CLASSES + "rate = 2\ndef price(n: int) -> float: return n * rate").snapshot()
    assert (snapshot.left_out, snapshot.python[:4]) == ({}, version)
    other = make()
    other.restore(snapshot)
    assert other("price(4), square.area(), Point(1) < Point(2), Colour(1) is red").output == (8, 9, True, True)
    with pytest.raises(InterpreterError, match=f"with Python 3.*with {version}"):
        other.restore(here)
