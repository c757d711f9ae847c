"""What crosses between programs in Monty and the host."""

from __future__ import annotations

import ast
import contextlib
import decimal
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.executors.driving import WAITER, Driver
from tests.executors.monty.helpers import echo, failed

from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import SandboxLimits
from actloop.executors.waiting import run_now
from actloop.guest import Opaque, Record

if TYPE_CHECKING:
    from collections.abc import Callable


pytest.importorskip("pydantic_monty")
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
