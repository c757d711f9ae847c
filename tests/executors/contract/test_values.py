"""Values: every type of the codec, into the sandbox and out again, as variables, arguments and results."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import math
import pathlib
import uuid
import zoneinfo
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.codec.kit import VALUES

from actloop.guest import Opaque, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.executors.driving import Driver


class Handed:
    """A tool that hands a value over and takes one back."""

    def __init__(self) -> None:
        self.value: Any = None
        self.taken: list[Any] = []

    def give(self) -> Any:
        return self.value

    def take(self, value: Any, *, named: Any = None) -> None:
        self.taken = [value, named]


def same(one: Any, other: Any) -> bool:
    """Equal, of one type, and not-a-number equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, dt.datetime | dt.time):
        return one == other and str(one.tzinfo) == str(other.tzinfo)
    return one == other


def test_every_value_comes_back_as_it_went(open_driver: Callable[..., Driver]) -> None:
    handed = Handed()
    driver = open_driver(None, give=handed.give, take=handed.take)
    wrong: list[Any] = []
    for value in VALUES:
        handed.value = value
        ended = driver.run("x = give()\ntake(x, named=[x])\nx")
        assert ended.failure is None, (value, ended.failure)
        for what, back in (("value", ended.output), ("argument", handed.taken[0]), ("inside", handed.taken[1][0])):
            if not same(back, value):
                wrong.append((what, str(value)[:60], str(back)[:60]))
        driver.define(given=value)
        if not same(driver.value("given"), value):
            wrong.append(("variable", str(value)[:60]))
    assert wrong == []


@pytest.mark.needs("modules")
def test_values_are_what_programs_take_them_for(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.define(
        when=dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
        price=decimal.Decimal("1.10"),
        third=fractions.Fraction(1, 3),
        some=uuid.UUID(int=5),
        where=pathlib.PurePosixPath("a/b"),
        raw=b"abc",
        many={1, 2},
    )
    code = "import datetime\nlater = when + datetime.timedelta(days=1)\n"
    code += "[later, price * 3, third * 3, some.int, where.name, raw[0], len(many)]"
    assert driver.value(code) == [dt.datetime(2024, 1, 3, tzinfo=dt.UTC), decimal.Decimal("3.30"), 1, 5, "b", 97, 2]


def test_a_time_zone_that_is_not_known_in_the_sandbox(open_driver: Callable[..., Driver]) -> None:
    rules = next(iter(zoneinfo.TZPATH)) + "/Europe/Berlin"
    with open(rules, "rb") as file:
        zone = zoneinfo.ZoneInfo.from_file(file, key="Private/Berlin")
    driver = open_driver(None, where=lambda: zone)
    values = {"zone": zone, "some": [zone, 1], "noon": dt.time(12, tzinfo=zone)}
    driver.define(day=dt.datetime(2024, 7, 1, tzinfo=zone), **values)
    assert "Private/Berlin" in driver.value("str([where(), zone, some, noon])")
    back = driver.value("[zone, 7]")
    assert (type(back[0]), back[1]) == (Opaque, 7)
    assert driver.value("day") == dt.datetime(2024, 6, 30, 22, tzinfo=dt.UTC)


@pytest.mark.needs("modules")
def test_a_time_zone_that_only_the_sandbox_knows(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"imports": ["*"]})
    code = """
import io, struct, zoneinfo
part = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 3600, 0, 0) + b"CET" + bytes(1)
rules = io.BytesIO(part + part + b"\\nCET-1CEST,M3.5.0,M10.5.0/3\\n")
zone = zoneinfo.ZoneInfo.from_file(rules, key="Private/Zone")
"""
    assert driver.run(code).failure is None
    back = driver.run("import datetime\n[zone, datetime.time(12, tzinfo=zone), 7]")
    assert back.failure is None
    assert [type(value) for value in back.output] == [Opaque, Opaque, int]
    assert "Private/Zone" in back.output[0].text
    assert driver.value("1 + 1") == 2


@pytest.mark.needs("classes")
def test_objects_of_a_program_arrive_as_plain_data(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    code = "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: list\nP(1, [2])"
    assert driver.value(code) == Record("P", {"x": 1, "y": [2]})


def test_what_cannot_be_sent_is_shown(open_driver: Callable[..., Driver]) -> None:
    back = open_driver().value("def f():\n    pass\n[1, f]")
    assert back[0] == 1
    assert isinstance(back[1], Opaque)
    assert "f" in back[1].text


def test_an_object_of_the_host_comes_back_as_itself(open_driver: Callable[..., Driver]) -> None:
    handed = Handed()
    handed.value = thing = object()
    driver = open_driver(None, give=handed.give, take=handed.take)
    assert driver.run("t = give()").failure is None
    assert driver.run("take(t, named={'it': t})").failure is None
    assert handed.taken[0] is thing
    assert handed.taken[1]["it"] is thing


@pytest.mark.needs("images")
def test_images_in_both_directions(open_driver: Callable[..., Driver]) -> None:
    from PIL import Image

    driver = open_driver({"imports": ["PIL"]})
    driver.define(image=Image.new("RGB", (5, 4), (10, 200, 30)))
    back = driver.value("image.rotate(90, expand=True)")
    assert back.size == (4, 5)
    assert back.getpixel((0, 0)) == (10, 200, 30)


@pytest.mark.needs("arrays")
def test_arrays_in_both_directions(open_driver: Callable[..., Driver]) -> None:
    import numpy as np

    driver = open_driver({"imports": ["numpy"]})
    driver.define(a=np.arange(6).reshape(2, 3))
    back = driver.value("import numpy as np\n(a * 2.5).astype('f4')")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, np.arange(6).reshape(2, 3) * 2.5)


@pytest.mark.needs("tables")
def test_tables_in_both_directions(open_driver: Callable[..., Driver]) -> None:
    pd: Any = pytest.importorskip("pandas")

    driver = open_driver({"imports": ["pandas"]})
    driver.define(t=pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]}))
    back: Any = driver.value("t['c'] = t['a'] * 2\nt[t['a'] > 1]")
    assert list(back["c"]) == [4, 6]
    assert list(back.index) == [1, 2]


def test_large_values(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    big = {"text": "ä" * 2_000_000, "bytes": bytes(range(256)) * 20_000, "list": list(range(200_000))}
    driver.define(big=big)
    assert driver.value("len(big['text']), len(big['bytes']), big['list'][-1]") == (2_000_000, 5_120_000, 199_999)
    assert driver.value("big") == big
