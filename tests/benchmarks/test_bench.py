"""The benchmarks run and give every figure. What the figures are is not tested: a busy machine would break that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.rows import Line, below, exactly, markdown, rows
from benchmarks.run import CASES

ROOT = Path(__file__).resolve().parents[2]


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.run", *options]
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What `--quick --no-peer --json` prints."""
    ended = bench("--quick", "--no-peer", "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("case", CASES)
def test_every_benchmark_yields_rows(report: dict[str, Any], case: str) -> None:
    found = [row for row in report["rows"] if row["benchmark"] == case]
    assert found
    assert all(row["ours"] is not None and row["theirs"] is None for row in found)
    assert len({row["what"] for row in found}) == len(found)


def test_a_busy_machine_does_not_change_answers(report: dict[str, Any]) -> None:
    wrong = [row["ours"] for row in report["rows"] if row["unit"] == "answers"]
    assert wrong == [0, 0]


def test_the_machine_is_described(report: dict[str, Any]) -> None:
    assert {"cores", "kernel", "python", "load"} <= report["machine"].keys()
    assert report["quick"] is True


def test_one_benchmark_alone_prints_a_table() -> None:
    ended = bench("--quick", "--no-peer", "--only", "building")
    assert ended.returncode == 0, ended.stderr
    assert "building an agent with three tools" in ended.stdout
    assert "round trip" not in ended.stdout


def test_an_unknown_benchmark_is_refused() -> None:
    ended = bench("--only", "weather")
    assert ended.returncode == 2
    assert "building" in ended.stderr


def test_a_peer_that_is_not_there_leaves_its_column_empty() -> None:
    ended = bench("--quick", "--only", "building", "--peer-python", sys.executable, "--json")
    assert ended.returncode == 0
    assert "No module named 'smolagents'" in ended.stderr
    assert all(row["theirs"] is None for row in json.loads(ended.stdout)["rows"])


def test_rows_pair_figures_and_judge_goals() -> None:
    lines = [Line("time", "a time", "ms", below(2)), Line("errors", "errors", "errors", exactly(0)), Line("x", "x", "")]
    made = rows("case", lines, {"time": 1.5, "errors": 3}, {"time": "> 100", "errors": 6})
    assert [(row.what, row.reached) for row in made] == [("a time", True), ("errors", False)]
    table = markdown(made, "ours", "theirs").splitlines()
    assert len({len(line) for line in table}) == 1
    assert "> 100" in table[2]
    assert "NO" in table[3]


def test_a_reason_is_one_short_line_without_colours() -> None:
    from benchmarks.cases.executors import _short  # pyright: ignore[reportPrivateUsage]

    assert _short("fails:\n\x1b[0m\x1b[31merror\x1b[0m: no network") == "fails: error: no network"
    assert len(_short("x" * 99)) == 40
