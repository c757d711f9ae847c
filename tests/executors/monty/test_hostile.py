"""Hostile programs in Monty."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.monty.helpers import echo, works

from actloop.executors.monty.running import Speech
from actloop.executors.session import SandboxLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.executors.driving import Driver


pytest.importorskip("pydantic_monty")
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
