"""When programs go on in the next executor, and what goes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.executors.driving import WAITER, Driver

from actloop import Record
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.monty import MontyExecutor
from actloop.executors.session import Call, Finished
from actloop.executors.waiting import run_now

from .kit import Absent, Refusing, echo, fail, place, twice

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("pydantic_monty")


def test_a_program_that_needs_more_runs_in_the_next_one(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("x = [1, {'a': (2,)}]")
    assert place(driver) == "MontySession"
    assert driver.value("import statistics\nstatistics.mean([*x[:1], 3])") == 2
    assert place(driver) == "GuestSession"
    assert driver.value("x") == [1, {"a": (2,)}]
    assert place(driver) == "GuestSession"
    assert driver.printed == []


@pytest.mark.parametrize(
    "code",
    [
        "class A:\n    pass\nclass B(A):\n    n = 5\nB().n",
        "def g():\n    yield 5\nnext(g())",
        "import math, heapq\nheapq.nlargest(1, [5, 3])[0]",
        "from functools import wraps\n5",
        "import functools as f\nf.cmp_to_key and 5",
        "sorted(['5'], key=str.lower) and 5",
        "n = 1\ndel n\n5",
        "callable(len) and 5",
        "with open('f', 'w') as file:\n    file.write('x')\n5",
        "class A:\n    def __len__(self):\n        return 5\nlen(A())",
        "class A:\n    def __bool__(self):\n        return False\n5 if not A() else 6",
        "(5).bit_length() + 2",
    ],
)
def test_what_is_seen_beforehand(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    assert driver.value("print('shown')\n" + code) == 5
    assert driver.printed == ["shown\n"]
    assert place(driver) == "GuestSession"


def test_a_program_that_fails_by_its_own_fault_stays(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(fail=fail)
    for code in ("1 / 0", "undefined", "{}['k']", "import nonsense_of_mine", "x = (", "None.x", "[].nothing", "fail()"):
        failure = driver.run(code).failure
        assert failure is not None
        assert "another one" not in failure.hint
        assert place(driver) == "MontySession", code


def test_what_is_found_while_it_runs_is_run_again_from_the_beginning(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("n = [0]")
    assert driver.value("n.append(len(n))\nn[0] += 1\nm = n\ntype(m.__class__).__name__") == "type"
    assert place(driver) == "GuestSession"
    assert driver.value("n") == [1, 1]


@pytest.mark.parametrize("first", ["echo(1)", "print('shown')", "x = 1\necho(x)\nprint(x)"])
def test_no_program_is_half_run_twice(first: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(echo=echo)
    ended = driver.run(f"kept = 1\n{first}\n[].__class__\nkept = 2")
    assert ended.failure is not None
    assert "next program runs in another one" in ended.failure.hint
    assert len(driver.calls) == first.count("echo")
    assert driver.printed == (["shown\n"] if "shown" in first else ["1\n"] if "print" in first else [])
    assert driver.value("[kept, [].__class__.__name__]") == [1, "list"]
    assert place(driver) == "GuestSession"
    assert len(driver.calls) == first.count("echo")


def test_functions_and_imports_go_along_by_their_source(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("import math\nfrom collections import Counter\nlimit = 3")
    driver.value("def f(n, more=1):\n    return math.floor(n) + more + limit\nasync def g():\n    return 7")
    driver.value("math = 'no more a module'\nimport math")
    assert driver.value("import statistics\n[f(2.5), Counter('aa')['a'], await g()]") == [6, 2, 7]
    assert driver.printed == []


def test_the_model_is_told_what_was_left(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(echo=echo)
    driver.value("class P:\n    def __init__(self):\n        self.x = 1\np = P()\nq = [P]\nkept = 1")
    driver.value("def made(n=echo(5)):\n    return n\nadd = lambda n: n + 1")
    ended = driver.run("import statistics\nprint('go')\n[kept, p.x]")
    assert ended.output == [1, 1]
    told, _, rest = ended.logs.partition("\n")
    assert rest == "go\n"
    assert all(name in told for name in ("P", "q", "made", "add"))
    assert "kept" not in told
    assert "".join(driver.printed) == ended.logs
    assert len(driver.calls) == 1
    assert driver.value("p") == Record("P", {"x": 1})
    assert driver.run("2").logs == ""


@pytest.mark.parametrize(
    "value",
    [
        "deque([1, 2], maxlen=3)",
        "Counter('aab')",
        "defaultdict(list, {'a': [1]})",
        "defaultdict(None, {(1, 2): 3})",
        "[{'deep': (deque([Counter('a')]),)}, {1, 2}, frozenset('a')]",
    ],
)
def test_collections_arrive_as_they_were(value: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    shown = driver.value(f"from collections import Counter, defaultdict, deque\nx = {value}\nrepr(x)")
    assert driver.value("import statistics\nrepr(x)") == shown
    assert place(driver) == "GuestSession"
    assert driver.printed == []


def test_what_arrives_as_something_else_is_named(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(give=lambda: Record("Given", {"n": 1}))
    code = """
from collections import defaultdict, namedtuple
class P:
    def __init__(self):
        self.x = 1
point = namedtuple('Point', 'x y')(1, 2)
some = {'p': [P()]}
given = give()
view = {1: 2}.items()
lazily = defaultdict(lambda: 3)
"""
    driver.value(code + "None")
    told = driver.run("import statistics").logs
    assert "define again: " in told
    named, _, records = told.partition(" Objects in ")
    assert all(name in named for name in ("view", "lazily"))
    assert records.startswith("point, some are records now")
    assert "given" not in told
    assert driver.value("[point, some, given]") == [
        Record("Point", {"x": 1, "y": 2}),
        {"p": [Record("P", {"x": 1})]},
        Record("Given", {"n": 1}),
    ]


def test_values_that_stayed_on_the_host_become_usable(open_driver: Callable[..., Driver]) -> None:
    import numpy as np

    driver = open_driver([MontyExecutor(), LocalPythonExecutor(["numpy"])], give=lambda: np.arange(4))
    driver.value("a = give()")
    assert driver.value("import numpy as np\nint(np.sum(a))") == 6


def test_tools_and_variables_of_the_host_are_there(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(echo=echo, a_twice=twice)
    driver.define(given={"n": 3})
    assert driver.value("import statistics\n[echo(given), await a_twice(2)]") == [{"n": 3}, 4]
    driver.define(more=5)
    assert driver.value("more") == 5


def test_asynchronous_calls_overlap_after_a_move(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(a_echo=echo)
    run_now(driver.session.start("import asyncio, statistics\nawait asyncio.gather(a_echo(1), a_echo(2))", WAITER))
    calls = [run_now(driver.session.receive(WAITER)) for _ in range(2)]
    for call in reversed(calls):
        assert isinstance(call, Call)
        driver.answer(call)
    assert driver.finish().output == [1, 2]


def test_three_in_a_row(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver([MontyExecutor(), Refusing(), LocalPythonExecutor()])
    driver.value("x = 1")
    assert driver.value("import statistics\nx") == 1
    assert place(driver) == "GuestSession"


def test_where_no_other_is_left_the_failure_is_told(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver([MontyExecutor(), Absent()])
    driver.value("x = 1")
    for code in ("import statistics", "[].__class__", "del x"):
        failure = driver.run(code).failure
        assert failure is not None
        assert "next program runs in another" not in failure.hint
        assert driver.value("x") == 1
    assert place(driver) == "MontySession"


def test_an_interrupt_and_a_close_reach_the_present_session(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(wait=None)
    for code in ("wait()", "import statistics\nwait()"):
        run_now(driver.session.start(code, WAITER))
        assert isinstance(run_now(driver.session.receive(WAITER)), Call)
        driver.session.interrupt()
        event = run_now(driver.session.receive(WAITER))
        assert isinstance(event, Finished)
        assert event.failure is not None
        assert event.failure.kind == "KeyboardInterrupt"
    driver.session.close()
    assert not driver.session.alive
