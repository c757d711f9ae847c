"""Which limits a session can have: everything else is refused, in words that name it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import SandboxLimits
from actloop.executors.unsafe import UnsafeInProcessExecutor
from actloop.executors.wasm import WasmExecutor

FIELDS = [item.name for item in dataclasses.fields(SandboxLimits)]
SECONDS = ("wall", "cpu")
ALWAYS = ("output", "value")


def limited(name: str, value: Any) -> SandboxLimits:
    given: dict[str, Any] = {name: value}
    return SandboxLimits(**given)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [True, False, "10", b"10", [10], 10j, object()])
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{name}\b.* must be a .*not {type(value).__name__}"):
        limited(name, value)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in SECONDS])
def test_counts_are_whole(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{name}\b.*whole number of .*not float"):
        limited(name, 5e8)


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 0, 0.0, 1e-9, 1e10])
def test_seconds_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name}\b.* must be 0.01 to 1,000,000 seconds, or None for no limit"):
        limited(name, value)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in SECONDS])
@pytest.mark.parametrize("value", [-1, -(10**400), 10**30, 10**5000], ids=["-1", "far-below", "above", "far-above"])
def test_counts_that_make_no_sense_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^{name}\b.* must be [\d,]+ to [\d,]+ "):
        limited(name, value)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in (*SECONDS, "output")])
def test_zero_is_no_limit_that_can_be_kept(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        limited(name, 0)


@pytest.mark.parametrize(("name", "value"), [("memory", 512), ("disk", 16), ("files", 3), ("value", 1000)])
def test_values_in_another_unit_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*, not {value:,}"):
        limited(name, value)


@pytest.mark.parametrize("name", FIELDS)
def test_none_stands_for_no_limit_where_there_may_be_none(name: str) -> None:
    if name not in ALWAYS:
        assert getattr(limited(name, None), name) is None
        return
    with pytest.raises(TypeError, match=rf"^{name}\b.*not NoneType"):
        limited(name, None)


def test_shorter_names_of_limits_are_named() -> None:
    with pytest.raises(ValueError, match=r"wall \(timeout_seconds\)"):
        LocalPythonExecutor(timeout_seconds=0)
    with pytest.raises(ValueError, match=r"output \(max_print_outputs_length\)"):
        LocalPythonExecutor(max_print_outputs_length=-1)


@pytest.mark.parametrize("extreme", ["least", "most"])
def test_a_session_works_with_the_least_and_the_most(extreme: str) -> None:
    least: dict[str, Any] = {
        "memory": 1 << 20,
        "files": 16,
        "processes": 1,
        "disk": 4096,
        "value": 1 << 16,
        "output": 0,
    }
    most: dict[str, Any] = {
        "wall": 1e6,
        "cpu": 1e6,
        "memory": 1 << 44,
        "files": 1 << 20,
        "processes": 1 << 22,
        "disk": 1 << 44,
    }
    most |= {"value": 1 << 30, "output": 1 << 30}
    limits = SandboxLimits(**(least if extreme == "least" else most))
    code = (
        "import asyncio\nasync def one():\n    await asyncio.sleep(0)\n    return 1\n"
        "open('file', 'w').write('x')\nasyncio.run(one())"
    )
    with LocalPythonExecutor(limits=limits) as executor:
        assert executor(code).output == 1


def test_files_in_memory_have_a_limit() -> None:
    with pytest.raises(ValueError, match="LocalPythonExecutor keeps files in memory: give a limit of disk"):
        LocalPythonExecutor(limits=SandboxLimits(disk=None))
    assert UnsafeInProcessExecutor(limits=SandboxLimits(disk=None)).limits.disk is None


@pytest.mark.parametrize("seconds", [30, 30.0, 7, None])
def test_seconds_that_are_given_replace_those_of_the_limits(seconds: float | None) -> None:
    limits = SandboxLimits(wall=5)
    assert LocalPythonExecutor(timeout_seconds=seconds, limits=limits).limits.wall == seconds
    assert LocalPythonExecutor(timeout_seconds=seconds).limits.wall == seconds
    assert LocalPythonExecutor(limits=limits).limits.wall == 5
    assert LocalPythonExecutor().limits.wall == 30
    unsaid = LocalPythonExecutor().timeout_seconds
    assert LocalPythonExecutor(timeout_seconds=unsaid, limits=limits).limits.wall == 30


@pytest.mark.parametrize("option", ["timeout", "timeout_seconds"])
@pytest.mark.parametrize("seconds", [60, 30, None])
def test_seconds_of_webassembly_replace_those_of_the_limits(option: str, seconds: float | None) -> None:
    given: dict[str, Any] = {option: seconds}
    limits = SandboxLimits(wall=5)
    assert WasmExecutor(**given, limits=limits).limits.wall == seconds
    assert WasmExecutor(**given).limits.wall == seconds
    assert (WasmExecutor(limits=limits).timeout, WasmExecutor().timeout) == (5, 60)
