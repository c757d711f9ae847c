"""Snapshots of sessions: what is taken, what is named instead, what a restored session can do, and hostile ones."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tests.executors.driving import WAITER, Driver

from actloop.errors import InterpreterError
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.remote import RemotePythonExecutor
from actloop.executors.session import SandboxLimits, Snapshot
from actloop.executors.unsafe import UnsafeInProcessExecutor, cpu_time_of
from actloop.executors.waiting import run_now
from actloop.guest import bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actloop.executors.base import GuestExecutor


class BundleProcess:
    """The guest as one file, under an interpreter without any installed package."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.channel, other = socket.socketpair()
        with other:
            command = [BundleExecutor.python, "-I", "-S", path, json.dumps(config)]
            self._child = subprocess.Popen(command, stdin=other.fileno(), stdout=other.fileno())

    def signal(self, number: int) -> None:
        self._child.send_signal(number)

    def kill(self) -> None:
        self._child.kill()

    def pause(self) -> None:
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def cpu_time(self) -> float | None:
        return cpu_time_of(self._child.pid)

    def close(self) -> None:
        self._child.kill()
        self._child.wait()


class BundleExecutor(UnsafeInProcessExecutor):
    """Runs the guest as one file."""

    path: Path
    python = sys.executable

    def spawn(self, config: dict[str, Any]) -> BundleProcess:
        return BundleProcess(self.path, config)


@pytest.fixture(scope="module", params=["kernel", "bundle"])
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> type[GuestExecutor]:
    """A class of executors."""
    if request.param == "kernel":
        return LocalPythonExecutor
    BundleExecutor.path = tmp_path_factory.mktemp("guest") / "guest.py"
    BundleExecutor.path.write_text(bundle.source(), "utf-8")
    return BundleExecutor


@pytest.fixture
def made() -> Iterator[list[GuestExecutor]]:
    executors: list[GuestExecutor] = []
    yield executors
    for executor in executors:
        executor.cleanup()


@pytest.fixture
def make(kind: type[GuestExecutor], made: list[GuestExecutor]) -> Callable[..., Any]:
    """Makes an executor, and runs a program in it."""

    def make(code: str = "", **options: Any) -> GuestExecutor:
        executor = kind(**options)
        made.append(executor)
        if code:
            executor(textwrap.dedent(code))
        return executor

    return make


@pytest.fixture
def moved(make: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a program, moves its variables to another session as bytes; gives the value of a second program there."""

    def moved(code: str, then: str, **options: Any) -> Any:
        snapshot = Snapshot.from_bytes(make(code, **options).snapshot().to_bytes())
        assert snapshot.left_out == {}
        other = make(**options)
        other.restore(snapshot)
        return other(textwrap.dedent(then)).output

    return moved


# ---- what comes back


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


CLASSES = """
import abc, collections, dataclasses, enum, typing
class Shape(abc.ABC):
    made = []
    def __init__(self, name): self.name = name; Shape.made.append(name)
    @abc.abstractmethod
    def area(self): ...
    @property
    def title(self): return self.name.title()
    @classmethod
    def count(cls): return len(cls.made)
class Square(Shape):
    def __init__(self, side):
        super().__init__("square")
        self.side = side
    def area(self): return self.side ** 2
    def __eq__(self, other): return type(other) is Square and self.side == other.side
    def __hash__(self): return hash(self.side)
@dataclasses.dataclass(order=True)
class Point:
    x: int
    y: int = 0
    near: list = dataclasses.field(default_factory=list)
@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int
class Colour(enum.Enum):
    RED = 1
    BLUE = 2
Pair = collections.namedtuple("Pair", "a b")
class Named(typing.NamedTuple):
    a: int
    b: str = "b"
class TooMuch(ValueError):
    pass
class Registered(type):
    def __call__(cls, *args): return ("made by the metaclass", super().__call__(*args))
class Odd(metaclass=Registered): pass
T = typing.TypeVar("T")
class Box(typing.Generic[T]):
    def __init__(self, value: T): self.value = value
square, points = Square(3), [Point(1), Point(0, 5)]
points[0].near.append(points[1])
frozen, red, pair, named, box = Frozen(1), Colour.RED, Pair(1, 2), Named(3), Box(4)
squares = {Square(1): "one", square: "three"}
try: raise TooMuch("by far")
except TooMuch as e: error = e
"""


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


# ---- tools


def first_search(text: str) -> str:
    return f"first {text}"


def second_search(text: str) -> str:
    return f"second {text}"


def double(n: int) -> int:
    return 2 * n


def test_tools_stay_with_their_session(make: Callable[..., Any]) -> None:
    first = make()
    first.send_tools({"search": first_search, "only_here": lambda: 1})
    first(
        "find = search\ndef ask(text): return search(text)\ntools = {'s': search}\nlost = only_here\nsearch_count = 1"
    )
    snapshot = first.snapshot()
    assert set(snapshot.names) == {"find", "ask", "tools", "lost", "search_count"}
    second = make()
    second.send_tools({"search": second_search})
    second.restore(snapshot)
    assert second("ask('a'), find('b'), tools['s']('c')").output == ("second a", "second b", "second c")
    with pytest.raises(InterpreterError, match="no tool 'only_here'"):
        second("lost()")
    second.send_tools({"only_here": lambda: 2})
    assert second("lost()").output == 2


def test_a_variable_does_not_take_the_place_of_a_tool(make: Callable[..., Any]) -> None:
    other = make()
    other.send_tools({"search": lambda: "found"})
    other.restore(make("search, x = 5, 1").snapshot())
    assert other("search(), x").output == ("found", 1)


# ---- what cannot be taken

UNTAKABLE = {
    "generator": "(n for n in [1])",
    "coroutine": "later()",
    "frame": "sys._getframe()",
    "lock": "threading.Lock()",
    "rlock": "[threading.RLock()]",
    "thread": "threading.Thread(target=print)",
    "context": "contextvars.ContextVar('v')",
    "reader": "open('/dev/null')",
    "writer": "open('/dev/null', 'w')",
    "binary": "open('/dev/null', 'rb')",
    "view": "memoryview(b'abc')",
    "reference": "weakref.ref(A)",
    "trace": "trace",
    "match": "re.match('a', 'a')",
    "looped": "loop",
    "closed_over": "(lambda held: lambda: held)(threading.Lock())",
    "in_object": "A(threading.Lock())",
    "unreadable": "Reduced()",
    "talkative": 'Refusing("cannot pickle \'" * 100_000)',
    "unspeakable": "Refusing(Unspeakable())",
    "leaving": "Leaving()",
    "unbuildable": "Unbuildable(1, 2)",
    "unbuildable_class": "Kind",
    "deep": "deep",
}


def test_what_cannot_be_taken_is_named_and_the_rest_is_kept(make: Callable[..., Any]) -> None:
    prelude = """
    import sys, threading, contextvars, weakref, re, asyncio
    async def later(): pass
    class A:
        def __init__(self, held=None): self.held = held
    class Reduced:
        def __reduce__(self): raise OSError("I refuse")
    class Refusing(A):
        def __reduce__(self): raise TypeError(self.held)
    class Unspeakable:
        def __str__(self): raise ValueError
    class Leaving:
        def __reduce__(self): sys.exit(3)
    class Unbuildable(Exception):
        def __init__(self, a, b): super().__init__(a)
    class Base:
        def __init_subclass__(cls, *, kind): cls.kind = kind
    class Kind(Base, kind=1): pass
    try: 1 / 0
    except ZeroDivisionError as e: trace = e.__traceback__
    loop = asyncio.new_event_loop()
    deep = []
    for _ in range(100_000): deep = [deep]
    before = shared = [1]
    """
    executor = make(prelude)
    for name, expression in UNTAKABLE.items():
        executor(f"{name} = {expression}")
    executor("after = [shared, A(5)]\ndel loop")
    snapshot = executor.snapshot()
    assert set(snapshot.left_out) == {*UNTAKABLE, "Kind"} - {"trace"} | {"trace"}
    assert snapshot.left_out["generator"] == "a generator cannot be taken"
    assert snapshot.left_out["rlock"] == "it holds a _thread.RLock, which cannot be taken"
    assert snapshot.left_out["thread"].startswith("it holds a _thread.")
    assert snapshot.left_out["reader"] == "a TextIOWrapper cannot be taken"
    assert snapshot.left_out["unreadable"] == "it cannot be taken: OSError: I refuse"
    assert snapshot.left_out["unbuildable"].startswith("it could not be built again: TypeError")
    assert max(map(len, snapshot.left_out.values())) < 400
    other = make()
    other.restore(snapshot)
    assert other("before is shared is after[0], after[1].held, Unbuildable.__name__").output == (True, 5, "Unbuildable")
    assert executor("next(generator)").output == 1
    executor("trace = None\nimport gc\ncoroutine.close()")


@pytest.mark.parametrize("kind", ["kernel"], indirect=True)
def test_sockets_and_databases_are_named(make: Callable[..., Any]) -> None:
    code = """
    import socket, sqlite3
    a, b = socket.socketpair()
    db = sqlite3.connect(":memory:")
    rows, x = db.execute("select 1"), 1
    """
    snapshot = make(code, additional_authorized_imports=["socket", "sqlite3"]).snapshot()
    assert snapshot.left_out == {
        "a": "a socket cannot be taken",
        "b": "a socket cannot be taken",
        "db": "a sqlite3.Connection cannot be taken",
        "rows": "a sqlite3.Cursor cannot be taken",
    }
    assert set(snapshot.names) == {"socket", "sqlite3", "x"}


def test_live_handles_of_tools_are_named(make: Callable[..., Any]) -> None:
    executor = make()
    executor.send_tools({"connect": lambda: socket})
    executor("connection, both = connect(), [connect()]\nx = 1")
    snapshot = executor.snapshot()
    assert snapshot.left_out == dict.fromkeys(["connection", "both"], "it lives on the host")


def test_modules_that_programs_may_not_import_are_not_taken_for_them(make: Callable[..., Any]) -> None:
    snapshot = make("from random import _os\nx = 1").snapshot()
    assert snapshot.left_out == {"_os": "programs may not import os"}
    executor = make("import os", additional_authorized_imports=["os"])
    other = make("x = 1")
    with pytest.raises(InterpreterError, match="the variable 'os' cannot be built: ImportError: Import of os"):
        other.restore(executor.snapshot())
    assert other("x").output == 1


# ---- other sessions


def test_the_snapshots_variables_come_to_those_that_are_there_and_replace_their_namesakes(
    make: Callable[..., Any],
) -> None:
    snapshot = make("a, b = 1, [2]\ndef f(): return a, c").snapshot()
    other = make("b, c = 'old', 3")
    other.restore(snapshot)
    assert other("a, b, c, f()").output == (1, [2], 3, (1, 3))


def test_going_back_to_an_earlier_moment(make: Callable[..., Any]) -> None:
    executor = make("class A:\n    n = 1\nitems, a = [1], A()")
    snapshot = executor.snapshot()
    executor("old, A.n = a, 2\nitems.append(2)\na.extra = 1")
    executor.restore(snapshot)
    assert executor("items, A.n, hasattr(a, 'extra'), isinstance(a, A), old.n, isinstance(old, A)").output == (
        *([1], 1, False, True),
        *(2, False),
    )


def test_a_snapshot_changes_nothing(make: Callable[..., Any]) -> None:
    executor = make(CLASSES + "\ngenerator = (n for n in range(3))\nprint('x')")
    ids = "[id(value) for value in (Shape, Shape.made, Square.area, square, points)]"
    before = executor(ids).output
    assert executor.snapshot().names == executor.snapshot().names
    assert executor(ids).output == before


def test_what_is_printed_meanwhile_is_dropped(make: Callable[..., Any]) -> None:
    executor = make("class A:\n    def __getstate__(self):\n        print('taken')\n        return {}\na = A()")
    executor.snapshot()
    assert executor("print('mine')").logs == "mine\n"


def test_many_snapshots_in_a_row_leave_nothing_behind(make: Callable[..., Any]) -> None:
    executor = make(CLASSES + "\nimport gc\nbig = bytearray(3_000_000)\ngenerator = (n for n in [1])")
    seen: list[tuple[int, int]] = []
    for _ in range(20):
        snapshot = executor.snapshot()
        executor.restore(snapshot)
        count = executor("gc.collect()\nlen(gc.get_objects())").output
        seen.append((len(snapshot.data), count))
    assert {size for size, _ in seen[1:]} == {seen[1][0]}
    assert seen[-1][1] - seen[2][1] < 200, seen


def test_snapshots_are_as_large_as_their_parts_need(make: Callable[..., Any]) -> None:
    code = "import random\nrandom.seed(1)\nblob = random.randbytes(5_000_000)\ntotal = sum(blob)"
    executor = make(code, limits=SandboxLimits(value=1 << 20) if make("").enforced > {"memory"} else None)
    snapshot = executor.snapshot()
    assert len(snapshot.data) > 5_000_000
    executor("blob = None")
    executor.restore(snapshot)
    assert executor("sum(blob) == total").output is True


@pytest.mark.parametrize("kind", ["kernel"], indirect=True)
def test_a_snapshot_is_restored_in_another_process(make: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "snapshot"
    file.write_bytes(make(CLASSES + "\nrate = 2\ndef price(n): return n * rate").snapshot().to_bytes())
    program = (
        "import sys\nfrom pathlib import Path\nfrom actloop.executors.local import LocalPythonExecutor\n"
        "from actloop.executors.session import Snapshot\nwith LocalPythonExecutor([]) as executor:\n"
        "    executor.restore(Snapshot.from_bytes(Path(sys.argv[1]).read_bytes()))\n"
        "    print(executor('price(4), square.area(), red.name').output)"
    )
    done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True, check=True)
    assert done.stdout == "(8, 9, 'RED')\n"


def test_a_fork_goes_its_own_way(make: Callable[..., Any], made: list[GuestExecutor]) -> None:
    executor = make("x = [1]\ngenerator = (n for n in [1])")
    executor.send_tools({"double": double})
    other = executor.fork()
    made.append(other)
    third = other.fork()
    made.append(third)
    assert other("x.append(double(4))\nx").output == [1, 8]
    other.send_tools({"triple": double})
    assert executor("x").output == third("x").output == [1]
    with pytest.raises(InterpreterError, match="triple"):
        executor("triple(1)")
    executor.cleanup()
    assert other("x").output == [1, 8]
    assert type(other) is type(executor)


def test_a_fork_of_an_executor_that_was_never_called(make: Callable[..., Any], made: list[GuestExecutor]) -> None:
    executor = make()
    executor.send_variables({"x": 1})
    other = executor.fork()
    made.append(other)
    executor.send_variables({"x": 2})
    assert (executor("x").output, other("x").output) == (2, 1)


def test_a_session_opens_with_a_snapshot(make: Callable[..., Any]) -> None:
    executor = make("x = 5")
    session = run_now(executor.open_session(WAITER, executor.snapshot()))
    assert Driver(session).value("x") == 5
    session.close()


# ---- what is refused


def test_a_snapshot_is_bytes_and_back(make: Callable[..., Any]) -> None:
    snapshot = make("x = 'ä'\ngenerator = (n for n in [1])").snapshot()
    assert Snapshot.from_bytes(snapshot.to_bytes()) == snapshot
    assert snapshot.python == ".".join(map(str, sys.version_info[:3]))
    assert "data" not in repr(snapshot)


def test_no_snapshot_while_a_program_runs(make: Callable[..., Any]) -> None:
    executor = make()
    driver = Driver(run_now(executor.open_session(WAITER)))
    run_now(driver.session.start("1", WAITER))
    with pytest.raises(InterpreterError, match="running"):
        run_now(driver.session.snapshot(WAITER))
    driver.finish()
    driver.session.close()
    with pytest.raises(InterpreterError, match="closed"):
        run_now(driver.session.snapshot(WAITER))


def test_other_kinds_and_versions_are_refused(make: Callable[..., Any]) -> None:
    executor = make("x = 1")
    taken = executor.snapshot()
    for changed, said in (
        (Snapshot("WasmExecutor", taken.python, taken.data), "of the kind 'WasmExecutor'"),
        (Snapshot(taken.kind, "3.9.1", taken.data), "Python 3.9.1"),
        (Snapshot(taken.kind, taken.python, b""), "damaged"),
        (Snapshot(taken.kind, taken.python, b"x" * 100), "version 120"),
        (Snapshot(taken.kind, taken.python, taken.data[:-5]), "could not be restored"),
        (Snapshot(taken.kind, taken.python, taken.data[3:]), "could not be restored"),
        (Snapshot(taken.kind, taken.python, b"\x00" + taken.data), "could not be restored"),
    ):
        with pytest.raises(InterpreterError, match=said):
            executor.restore(changed)
    assert executor("x").output == 1


def test_a_snapshot_that_fails_half_way_changes_nothing(make: Callable[..., Any]) -> None:
    code = """
    class A:
        def __init__(self): self.x = 1
        def __setstate__(self, state):
            if "here" not in globals(): raise ValueError("not here")
    a, here, b = 5, 1, A()
    """
    snapshot = make(code).snapshot()
    assert snapshot.left_out == {}
    other = make("a = 1")
    with pytest.raises(InterpreterError, match="the variable 'b' cannot be built: ValueError: not here"):
        other.restore(snapshot)
    assert other("a, 'here' in globals()").output == (1, False)


# ---- time and size


def test_a_variable_that_takes_too_long_is_named(make: Callable[..., Any]) -> None:
    code = """
    class Slow:
        def __reduce__(self):
            while True: pass
    before, slow, after = [1], Slow(), 2
    """
    executor = make(code, timeout_seconds=1.0)
    snapshot = executor.snapshot()
    assert snapshot.left_out == {"slow": "it took too long"}
    assert set(snapshot.names) == {"Slow", "before", "after"}
    assert executor("before, after").output == ([1], 2)


def test_a_session_that_takes_too_long_survives_with_a_clear_error(make: Callable[..., Any]) -> None:
    code = """
    class Slow:
        def __reduce__(self):
            while True: pass
    a, b, c = Slow(), Slow(), 1
    """
    executor = make(code, timeout_seconds=0.6)
    with pytest.raises(InterpreterError, match="took too long, the variable 'b'"):
        executor.snapshot()
    assert executor("c").output == 1


def test_a_session_that_does_not_obey_is_lost(make: Callable[..., Any]) -> None:
    code = """
    class Stubborn:
        def __reduce__(self):
            n = 0
            while True:
                try:
                    n += 1
                    while True: n += 1
                except BaseException: n += 1
    a = Stubborn()
    """
    executor = make(code, timeout_seconds=0.6)
    with pytest.raises(InterpreterError, match="took too long when it was asked to snapshot"):
        executor.snapshot()
    assert executor("1").output == 1  # a fresh one
    with pytest.raises(InterpreterError, match="NameError"):
        executor("a")


def test_restoring_that_takes_too_long_is_ended(make: Callable[..., Any]) -> None:
    code = """
    class Slow:
        def __init__(self): self.x = 1
        def __setstate__(self, state):
            while 'here' not in globals(): pass
    here, x, slow = 1, 2, Slow()
    """
    snapshot = make(code).snapshot()
    other = make("x = 1", timeout_seconds=0.4)
    with pytest.raises(InterpreterError, match="took too long, the variable 'slow'"):
        other.restore(snapshot)
    assert other("x").output == 1


@pytest.mark.parametrize("kind", ["kernel"], indirect=True)
def test_what_does_not_fit_is_named(make: Callable[..., Any]) -> None:
    code = "small, large, more = [1], bytearray(60_000_000), 2"
    snapshot = make(code, limits=SandboxLimits(memory=96 << 20)).snapshot()
    assert snapshot.left_out == {"large": "it does not fit into the snapshot or the memory"}
    assert set(snapshot.names) == {"small", "more"}


@pytest.mark.parametrize("given", [5, None, "text", [1]])
def test_what_is_no_bytes_is_no_snapshot(given: Any) -> None:
    with pytest.raises(TypeError, match=r"Snapshot\.from_bytes takes bytes"):
        Snapshot.from_bytes(given)


@pytest.mark.parametrize("given", [b"abc", None, 5])
def test_only_a_snapshot_is_restored(given: Any) -> None:
    with LocalPythonExecutor() as executor, pytest.raises(TypeError, match=r"takes a Snapshot; .*Snapshot\.from_bytes"):
        executor.restore(given)


def test_names_of_pythons_own_are_left_out() -> None:
    with LocalPythonExecutor(["warnings"]) as executor:
        executor("import warnings\nwarnings.warn('seen')\n__note__ = 1\nx = 1")
        assert set(executor.snapshot().names) == {"warnings", "x"}


def test_a_subclass_is_of_its_base_class_kind_unless_that_has_none() -> None:
    class Mine(LocalPythonExecutor):
        pass

    class Remote(RemotePythonExecutor):
        pass

    class Another(RemotePythonExecutor):
        pass

    assert (Mine.kind, Remote.kind, Another.kind) == ("local", "Remote", "Another")
