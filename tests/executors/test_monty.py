"""Programs in Monty: what it lacks, what crosses, how programs end, and what a hostile one can do."""

from __future__ import annotations

import ast
import builtins
import contextlib
import decimal
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.attacks.host import descendants
from tests.executors.driving import WAITER, Driver

from actloop import CodeAgent, LogLevel, MissingExtraError, ScriptedModel, tool
from actloop.errors import InterpreterError, SandboxUnavailableError
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.monty import MontyExecutor, lacks
from actloop.executors.monty.running import Speech
from actloop.executors.monty.source import read_program
from actloop.executors.session import Call, Finished, GuestFailure, Printed, SandboxLimits, Snapshot
from actloop.executors.waiting import run_now
from actloop.guest import Opaque, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest.importorskip("pydantic_monty")
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def open_driver() -> Iterator[Callable[..., Driver]]:
    opened: list[Any] = []

    def open_driver(limits: SandboxLimits | None = None, /, **tools: Any) -> Driver:
        session = run_now(MontyExecutor(limits=limits).open_session(WAITER))
        opened.append(session)
        return Driver(session, **tools)

    yield open_driver
    for session in opened:
        session.close()


@pytest.fixture
def driver(open_driver: Callable[..., Driver]) -> Driver:
    return open_driver()


def failed(driver: Driver, code: str) -> GuestFailure:
    failure = driver.run(code).failure
    assert failure is not None
    return failure


def echo(value: Any) -> Any:
    return value


def twice(number: Any) -> Any:
    return 2 * number


def works(driver: Driver, code: str) -> bool:
    return driver.run(code).failure is None


# ---- what Monty lacks: the lists are those of the installed version


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


# ---- values: what a program makes is what a guest would give


MADE = {
    "numbers": "[2**3000, -(2**3000), -1, 1.5, float('nan'), float('-inf'), -0.0, True, 1 - 2j]",
    "many": "[list(range(1000)), [0.5] * 50, ['é'] * 50, [1, 'a', None], {n: str(n) for n in range(50)}]",
    "views": "d = {'a': 1}\n[d.keys(), d.values(), d.items()]",
    "ranges": "[range(3), range(1, 9, 3), range(3, -1, -1)]",
    "collections": "from collections import Counter, defaultdict, deque\n"
    "d = defaultdict(list)\nd[1].append(2)\n[Counter('aab'), d, deque([1, 2])]",
    "sets": "[{1, 2}, frozenset({(1, 'a')}), {(x, y) for x in range(9) for y in range(9)}, set()]",
    "keys": "{1: 'a', (2, 3): 'b', None: 'c', '$': 'd', b'x': 'e'}",
    "bytes": "[b'', b'\\x00\\xff', 'ü\\x00'.encode()]",
    "dates": "import datetime as dt\n[dt.date(2024, 2, 29), dt.datetime(2024, 1, 2, 3, 4, 5, 6), dt.timedelta(-1, 5),"
    " dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc), dt.time(1, 2), dt.timezone.utc,"
    " dt.timezone(dt.timedelta(hours=-5, minutes=-30)), dt.timezone(dt.timedelta(hours=1), 'Here')]",
    "decimals": "from decimal import Decimal\n[Decimal('1.10'), Decimal('-Infinity')]",
    "paths": "from pathlib import Path\nPath('/a') / 'b'",
    "namedtuples": "from collections import namedtuple\nnamedtuple('P', 'x y')(1, [2])",
    "dataclasses": "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: list\n"
    "[P(1, [2]), {'p': P(3, [])}]",
    "exceptions": "[ValueError('so'), KeyError('k')]",
    "tuples": "(1, ('a', [2]), ())",
}


def is_same(one: Any, other: Any) -> bool:
    if type(one) is list and type(other) is list:
        pairs = list(zip(cast("list[Any]", one), cast("list[Any]", other), strict=True))
        return all(is_same(*pair) for pair in pairs)
    return type(cast("object", one)) is type(cast("object", other)) and (one == other or one != one)


@pytest.mark.parametrize("code", MADE.values(), ids=list(MADE))
def test_a_program_gives_what_a_guest_gives(code: str, open_driver: Callable[..., Driver]) -> None:
    taken: list[Any] = []
    driver = open_driver(take=taken.append)
    with LocalPythonExecutor() as local:
        expected = local(code).output
    assert is_same(driver.value(code), expected)
    lines = code.split("\n")
    last = next(at for at in range(len(lines)) if works_as_program("\n".join(lines[at:])))
    driver.value("\n".join([*lines[:last], f"value = ({chr(10).join(lines[last:])})", "take(value)"]))
    assert is_same(taken[0], expected)


def works_as_program(text: str) -> bool:
    with contextlib.suppress(SyntaxError):
        return isinstance(ast.parse(text).body[-1], ast.Expr) and len(ast.parse(text).body) == 1
    return False


def test_objects_of_classes_arrive_as_records(driver: Driver) -> None:
    driver.value("class A:\n    def __init__(self):\n        self.b = [1]\n        self.late = None")
    assert driver.value("a = A()\na.late = {'x'}\n[a]") == [Record("A", {"b": [1], "late": {"x"}})]


def test_what_has_no_form_is_shown(driver: Driver) -> None:
    back = driver.value("def f():\n    pass\nimport re\n[f, re.compile('a'), len, int, ...]")
    assert all(isinstance(item, Opaque) for item in back)
    assert "f" in back[0].text
    assert back[1].type_name == "Pattern"


def test_values_of_the_host_can_be_used(driver: Driver) -> None:
    record = Record("Point", {"x": 1, "name": "n", "record_type": 3})
    driver.define(r=record, d=decimal.Decimal("1.10"), raw=b"abc", many={1, 2}, spaced={"$": [1]}, span=range(2, 9, 3))
    assert driver.value("[r.x, r['name'], list(r), r[0], r == r, str(r)]") == [
        1,
        "n",
        [1, "n", 3],
        1,
        True,
        "Point(x=1, name='n', record_type=3)",
    ]
    assert driver.value("[d * 2, raw[0], len(many), spaced['$'], list(span)]") == [
        decimal.Decimal("2.20"),
        97,
        2,
        [1],
        [2, 5, 8],
    ]
    assert failed(driver, "r['z']").kind == "KeyError"


def test_images_arrays_and_tables_stay_on_the_host(open_driver: Callable[..., Driver]) -> None:
    import numpy as np
    from PIL import Image

    held = {"image": Image.new("RGB", (5, 4)), "array": np.arange(3), "number": np.float64(1.5)}
    taken: list[Any] = []

    def keep(**values: Any) -> None:
        taken.append(values)

    driver = open_driver(give=held.__getitem__, take=keep)
    driver.value(
        "image, array, number = give('image'), give('array'), give('number')\ntake(i=image, a=[array], n=number)"
    )
    assert taken[0]["i"] is held["image"]
    assert taken[0]["a"][0] is held["array"]
    assert driver.value("[str(array), number + 1]") == ["array([0, 1, 2])", 2.5]


def test_handles_of_another_session_mean_nothing(open_driver: Callable[..., Driver]) -> None:
    one, other = open_driver(give=object), open_driver(give=lambda: "a secret of the other", take=echo)
    one.value("thing = give()")
    other.value("theirs = give()")
    run_now(other.session.restore(run_now(one.session.snapshot(WAITER)), WAITER))
    back = other.value("take(thing)")
    assert isinstance(other.calls[-1].args[0], Opaque)
    assert isinstance(back, Opaque)


def test_arguments_that_cannot_be_sent_fail_at_the_call(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(SandboxLimits(value=100_000), take=echo)
    for code in ("x = []\nx.append(x)\ntake(x)", "take('x' * 200_000)"):
        failure = failed(driver, code)
        assert failure.kind == "ValueError"
        assert "take() cannot be called with these arguments" in failure.message
    assert driver.calls == []
    assert isinstance(driver.value("x"), Opaque)
    assert isinstance(driver.value("'x' * 200_000"), Opaque)


def test_results_that_cannot_be_sent_raise_in_the_program(open_driver: Callable[..., Driver]) -> None:
    endless: list[Any] = []
    endless.append(endless)
    driver = open_driver(give=lambda: endless)
    code = "try:\n    give()\nexcept ValueError as error:\n    text = str(error)\ntext"
    assert "contains itself" in driver.value(code)


# ---- how programs end


def test_hints(driver: Driver) -> None:
    driver.value("total = 1")
    expected = {
        "totl": "total",
        "math.pi": "import math",
        "vars(total)": "Monty has no vars",
        "import statistics": "modules",
        "None.x": "None",
        "int('abc')": "no number",
        "open('/etc/passwd')": "No files",
        "del total": "another way",
        "next(n for n in [1])": "iter",
        "def f():\n    return f()\nf()": "loop",
    }
    for code, text in expected.items():
        assert text in failed(driver, code).hint, code


def test_a_traceback_has_the_programs_lines_only(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(fail=lambda: 1 / 0)
    driver.value("def inner():\n    fail()")
    failure = failed(driver, "x = 1\n(inner(),\n  2)")
    assert failure.traceback == (
        'Traceback (most recent call last):\n  File "<step 2>", line 2, in <module>\n    (inner(),\n'
        '  File "<step 1>", line 2, in inner\n    fail()\nZeroDivisionError: division by zero\n'
    )
    assert (failure.line, failure.source) == (2, "(inner(),")


def test_errors_of_tools_keep_their_class_where_there_is_one(open_driver: Callable[..., Driver]) -> None:
    class OddError(Exception):
        pass

    def fail(kind: str) -> None:
        raise {"key": KeyError("k"), "odd": OddError("so odd"), "net": ConnectionResetError("gone")}[kind]

    driver = open_driver(fail=fail)
    assert failed(driver, "fail('key')").kind == "KeyError"
    assert failed(driver, "fail('odd')").message == "OddError: so odd"
    code = "try:\n    fail('net')\nexcept OSError as error:\n    text = str(error)\ntext"
    assert driver.value(code) == "ConnectionResetError: gone"


def test_names_that_nothing_defines_are_not_called(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(real=lambda: 1)
    for code in ("unreal()", "__actloop_call()", "__actloop_use('unreal', (), {})"):
        assert failed(driver, code).kind in ("NameError", "RuntimeError")
    assert driver.calls == []


def test_sleep_takes_time_and_gathered_sleeps_overlap(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(SandboxLimits(wall=1.0))
    began = time.monotonic()
    assert (
        driver.value("import asyncio, time\ntime.sleep(0.1)\nawait asyncio.gather(*[asyncio.sleep(0.2)] * 1)\n5") == 5
    )
    assert time.monotonic() - began >= 0.3
    assert driver.value("await asyncio.gather(*[asyncio.sleep(0.4) for _ in range(5)])\n6") == 6
    failure = failed(driver, "time.sleep(60)")
    assert (failure.kind, failure.lost) == ("TimeoutError", True)


def test_asynchronous_tools_give_their_value_at_once_where_nothing_awaits(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(a_twice=twice)
    assert driver.value("a_twice(3) + 1") == 7
    assert driver.value("import asyncio\nasync def f():\n    return await a_twice(1)\nasyncio.run(f())") == 2
    assert driver.value("await a_twice(2)") == 4


@pytest.mark.parametrize(
    "code",
    [
        "print('x')\nimport time\ntime.sleep(30)",
        "print('x')\nwait()",
        "print('x')\nimport asyncio\nawait asyncio.gather(asyncio.sleep(30), a_wait())",
    ],
)
def test_an_interrupt_is_heard_where_a_program_sleeps_or_calls(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(wait=None, a_wait=None)
    driver.value("kept = 1")
    run_now(driver.session.start(code, WAITER))
    while not isinstance(run_now(driver.session.receive(WAITER)), Printed):
        pass
    timer = threading.Timer(0.1, driver.session.interrupt)
    timer.start()
    while not isinstance(event := run_now(driver.session.receive(WAITER)), Finished):
        assert isinstance(event, (Call, Printed))
    timer.join()
    assert event.failure is not None
    assert (event.failure.kind, event.failure.lost) == ("KeyboardInterrupt", False)
    assert driver.value("kept") == 1


def test_a_worker_that_is_killed_is_lost_and_replaced(open_driver: Callable[..., Driver]) -> None:
    before = set(workers())
    driver = open_driver(wait=lambda: None)
    mine = set(workers()) - before or set(workers())
    run_now(driver.session.start("print('x')\nwhile True:\n    pass", WAITER))
    assert isinstance(run_now(driver.session.receive(WAITER)), Printed)
    for pid in mine:
        os.kill(pid, signal.SIGKILL)
    event = run_now(driver.session.receive(WAITER))
    assert isinstance(event, Finished)
    assert event.failure is not None
    assert (event.failure.kind, event.failure.lost) == ("SandboxCrash", True)
    assert "gone" in event.failure.hint
    assert open_driver().value("1") == 1


def workers() -> list[int]:
    found: list[int] = []
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "monty":
                found.append(pid)
    return found


def test_full_memory_ends_the_program_and_only_the_session_at_worst(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(SandboxLimits(memory=64 << 20))
    driver.value("kept = 1")
    assert failed(driver, "'x' * 10**12").kind == "MemoryError"
    assert driver.value("kept") == 1
    failure = failed(driver, "x = []\nwhile True:\n    x.append('x' * 1000 + str(len(x)))")
    assert failure.kind == "MemoryError"
    assert failure.lost is not driver.session.alive


def test_recursion_is_limited(driver: Driver) -> None:
    assert failed(driver, "def f(n):\n    return f(n + 1)\nf(0)").kind == "RecursionError"
    assert len(failed(driver, "f(0)").traceback) < 10_100


def test_closing_wakes_whoever_waits_for_a_call(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(wait=None)
    run_now(driver.session.start("wait()", WAITER))
    assert isinstance(run_now(driver.session.receive(WAITER)), Call)
    timer = threading.Timer(0.1, driver.session.close)
    timer.start()
    event = run_now(driver.session.receive(WAITER))
    timer.join()
    assert isinstance(event, Finished)
    assert event.failure is not None
    assert event.failure.lost


# ---- snapshots


def test_a_snapshot_holds_functions_objects_and_tools_values(open_driver: Callable[..., Driver]) -> None:
    one, other = open_driver(), open_driver()
    one.define(r=Record("P", {"x": [1]}))
    one.value(
        "class A:\n    def __init__(self, n):\n        self.n = n\na = A(3)\nnext_one = iter([1, 2, 3])\nnext(next_one)"
    )
    other.value("own = 5\ndef gone():\n    pass")
    snapshot = Snapshot.from_bytes(run_now(one.session.snapshot(WAITER)).to_bytes())
    assert set(snapshot.names) == {"r", "A", "a", "next_one"}
    run_now(other.session.restore(snapshot, WAITER))
    assert other.value("[a.n, next(next_one), r.x, own]") == [3, 2, [1], 5]
    assert other.value("a") == Record("A", {"n": 3})
    assert failed(other, "x = 1\na.missing").line == 2


def test_secrets_are_left_out_of_a_snapshot(driver: Driver) -> None:
    driver.define(TOKEN="hush-hush-hush", x=1)
    snapshot = run_now(driver.session.snapshot(WAITER, without=["TOKEN"]))
    assert b"hush-hush" not in snapshot.data
    assert "TOKEN" not in snapshot.names
    assert driver.value("TOKEN") == "hush-hush-hush"


def test_a_snapshot_does_not_bring_more_memory_along(open_driver: Callable[..., Driver]) -> None:
    snapshot = run_now(open_driver().session.snapshot(WAITER))
    small = open_driver(SandboxLimits(memory=64 << 20))
    with pytest.raises(InterpreterError, match="memory"):
        run_now(small.session.restore(snapshot, WAITER))
    for data in (b"", b"{}\nx", snapshot.data[:-9], snapshot.data.partition(b"\n")[0] + b"\n"):
        with pytest.raises(InterpreterError):
            run_now(small.session.restore(Snapshot("monty", snapshot.python, data), WAITER))
    assert small.value("1") == 1


# ---- hostile programs


COLLIDING = "{n * (2**61 - 1): 0 for n in range(60_000)}"


@pytest.mark.parametrize(
    "code",
    [
        COLLIDING,
        f"take({COLLIDING})",
        f"__actloop_call({COLLIDING})",
        f"unknown({COLLIDING})",
        f"__actloop_last = 5\n__actloop_call = 6\n{COLLIDING}",
        f"import os\nos.getenv({COLLIDING})",
        f"import time\ntry:\n    time.sleep({COLLIDING})\nexcept TypeError:\n    pass",
    ],
)
def test_keys_that_collide_do_not_hold_up_the_host(code: str, open_driver: Callable[..., Driver]) -> None:
    """Python would need minutes to build that dict, and hold its lock for as long."""
    driver = open_driver(SandboxLimits(wall=5.0), take=echo)
    before = time.thread_time()
    cpu = time.process_time()
    driver.run(code)
    assert time.process_time() - cpu < 10
    assert time.thread_time() - before < 10
    assert driver.calls == []


@pytest.mark.parametrize(
    "said",
    [
        "{}",
        "[]",
        "null",
        '{"name": "take"}',
        '{"name": "take", "later": 1, "args": [], "kwargs": {}}',
        '{"name": "take", "later": False, "args": {"a": 1}, "kwargs": []}',
        '{"name": "nothing", "later": false, "args": [], "kwargs": {}}',
        '{"name": "take", "later": false, "args": [{"$": "image", "b": "AAAA"}], "kwargs": {}}',
        '{"name": "take", "later": false, "args": [' + "[" * 5000,
        '{"$": "opaque", "v": "x", "n": "y", "h": 1}',
        "x" * 1000,
    ],
)
def test_a_forged_call_is_refused(said: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(take=echo)
    code = f"import sys\nprint(__actloop_settings['mark'] + {said!r}, file=sys.stderr)\n__actloop_call()"
    assert driver.run(code).failure is not None
    assert driver.calls == []
    assert driver.value("take(1)") == 1


def test_a_forged_value_is_only_a_value(driver: Driver) -> None:
    code = "import sys\nprint(__actloop_settings['mark'] + '{{\"value\": {}}}', file=sys.stderr)\nNone;"
    assert driver.run(code.format("[1]")).output in (None, [1])
    for said in ('{"$": "set", "v": [[]]}', "[" * 400 + "]" * 400, '{"$": "nonsense"}'):
        ended = driver.run(
            "import sys\n__actloop_last = lambda value: None\nprint(__actloop_settings['mark'] + "
            + repr('{"value": ' + said + "}")
            + ", file=sys.stderr)"
        )
        assert ended.failure is None or ended.failure.kind == "ValueError"
    assert driver.value("x = 1") is None


def test_a_program_that_takes_its_prelude_apart_harms_itself_only(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(echo=echo)
    for name in ("print", "list", "dict", "str", "type", "isinstance", "json", "sys", "repr", "len"):
        driver.value(f"{name} = 5")
    assert driver.value("echo([1, {'a': (2,)}])") == [1, {"a": (2,)}]
    driver.run(
        "__actloop_settings['mark'] = 5\n__actloop_settings['limit'] = 'x'\n__actloop_waits = 7\n__actloop_take = None"
    )
    driver.run("echo(1)")
    driver.session.close()
    assert open_driver().value("1") == 1


def test_a_message_that_never_ends_is_dropped() -> None:
    shown: list[str] = []
    speech = Speech("\x1em ", 100, shown.append)
    speech("stderr", "text \x1e")
    speech("stderr", "m abc")
    for _ in range(50):
        speech("stderr", "x" * 8192)
    speech("stderr", "\nmore\x1e")
    speech("stdout", "out")
    assert (speech.taken(), "".join(shown)) == (None, "text moreout")
    speech("stderr", "m {}\n")
    assert (speech.taken(), speech.taken()) == ("{}", None)


def test_the_environment_and_files_are_out_of_reach(open_driver: Callable[..., Driver], tmp_path: Any) -> None:
    (tmp_path / "f").write_text("secret")
    driver = open_driver()
    driver.define(place=str(tmp_path / "f"))
    os.environ["MONTY_TEST_SECRET"] = "secret"
    try:
        for code in (
            "open(place).read()",
            "from pathlib import Path\nPath(place).read_text()",
            "import os\nos.listdir('/')",
            "import os\nos.environ['MONTY_TEST_SECRET']",
            "import os\nos.remove(place)",
            "open('/tmp/x', 'w').write('y')",
        ):
            assert not works(driver, code), code
        assert driver.run("import os\nos.getenv('MONTY_TEST_SECRET')").output != "secret"
        assert driver.run("import os\nos.path.exists(place)").output is not True
    finally:
        del os.environ["MONTY_TEST_SECRET"]
    assert (tmp_path / "f").exists()


# ---- processes


def test_a_fork_has_no_sessions_and_does_not_end_those_of_its_parent(driver: Driver) -> None:
    driver.value("x = 1")
    read_fd, write_fd = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks while there are threads
        child = os.fork()
    if child == 0:
        said = [str(driver.session.alive)]
        driver.session.close()
        try:
            run_now(MontyExecutor().open_session(WAITER))
        except SandboxUnavailableError as error:
            said.append(str(error))
        os.write(write_fd, "|".join(said).encode())
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd) as said:
        alive, _, reason = said.read().partition("|")
    os.waitpid(child, 0)
    assert alive == "False"
    assert "forked" in reason
    assert driver.value("x") == 1


HOST = """
import os, signal, sys
from actloop.executors.monty import MontyExecutor
from actloop.executors.session import SandboxLimits
from actloop.executors.waiting import BlockingWaiter, run_now

waiter = BlockingWaiter()
executor = MontyExecutor(limits=SandboxLimits(wall=1.0))
idle, busy = (run_now(executor.open_session(waiter)) for _ in range(2))
run_now(busy.start("print('begun')\\nwhile True:\\n    pass", waiter))
print(run_now(busy.receive(waiter)).text, flush=True)
sys.stdin.read(1) if sys.argv[1] == "exit" else os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_workers_end_with_their_host(how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOST, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"begun\n"
        if how == "exit":
            assert len(descendants(host.pid)) == 2
            host.communicate(b"x", timeout=20)
            assert host.returncode == 0
        host.wait(20)
        until = time.monotonic() + 20
        while left := of_group(host.pid):
            assert time.monotonic() < until, left
            time.sleep(0.05)


def of_group(group: int) -> list[int]:
    found: list[int] = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(Path(f"/proc/{int(name)}/stat").read_text().rpartition(")")[2].split()[2]) == group:
                found.append(int(name))
    return found


def test_many_sessions_at_once(open_driver: Callable[..., Driver]) -> None:
    drivers = [open_driver() for _ in range(12)]
    for number, one in enumerate(drivers):
        one.value(f"x = {number}")
    assert [one.value("x") for one in drivers] == list(range(12))


# ---- the executor


def test_what_cannot_be_kept_is_refused(tmp_path: Any) -> None:
    refused: list[dict[str, Any]] = [{"workspace": str(tmp_path)}, {"allow_hosts": ["a.org:443"]}]
    refused.append({"limits": SandboxLimits(cpu=1.0)})
    for options in refused:
        with pytest.raises(ValueError, match="MontyExecutor"):
            MontyExecutor(**options)
    with pytest.raises(InterpreterError, match=r"numpy.*executor_type"):
        MontyExecutor(["numpy", "json"])
    assert MontyExecutor(["*"]).why_unavailable() == ""


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(MissingExtraError, match=r"actloop\[monty\]"):
        MontyExecutor()


def test_direct_calls_keep_variables() -> None:
    with MontyExecutor(max_print_outputs_length=10) as executor:
        executor.send_tools({"twice": twice})
        executor.send_variables({"x": 4})
        assert executor("y = twice(x)\nprint('z' * 50)").logs.startswith("zzzzzzzzzz\n... output cut")
        assert executor("y").output == 8
        assert executor.state["y"] == 8
        with pytest.raises(InterpreterError, match="ZeroDivisionError"):
            executor("1 / 0")


@tool
def weigh(thing: str) -> int:
    """Weighs a thing.

    Args:
        thing: What to weigh.
    """
    return len(thing)


def test_an_agent_answers_in_monty() -> None:
    programs = ["w = {name: weigh(name) for name in ['pea', 'bean']}\nprint(w)", "final_answer(max(w.values()))"]
    model = ScriptedModel([f"<code>\n{program}\n</code>" for program in programs])
    with CodeAgent([weigh], model, executor_type="monty", verbosity_level=LogLevel.OFF, journal=None) as agent:
        assert agent.run("go") == 4


def test_what_stands_before_the_last_expression_changes_no_line() -> None:
    for code in ("x", "(x,\n y)", "a; 'é', x  # remark", "(\n  x\n)\n\n# end", "f'''\n{x}\n'''", "x if y else (z)"):
        fed = read_program(code).fed
        assert len(fed.split("\n")) == len(code.split("\n")) + 1
        assert isinstance(ast.parse(fed).body[-2], ast.Expr)
    assert read_program("x = 1\r\nif x:\r\n    x").fed == "x = 1\nif x:\n    x\nNone"


def test_line_ends_of_other_systems(driver: Driver) -> None:
    assert driver.value("x = '''a\r\nb'''\r\nx") == "a\nb"
    assert driver.value(textwrap.dedent("\f\nx = 1\nx")) == 1
