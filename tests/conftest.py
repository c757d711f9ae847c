"""Settings of every test: a data folder of its own, so that no test writes into the user's."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pathlib import Path

settings.register_profile("actloop", deadline=None)  # the machine that runs the tests may be busy
settings.load_profile("actloop")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`ACTLOOP_HOME` in a fresh folder."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ACTLOOP_HOME", str(home))
    return home


SKIPS = re.compile(
    r"LiteLLM has an environment of its own|Python 3\.\d+ is not installed"
    r"|the SDK bounds only the wait|empty parameter set"
    r"|^(Skipped: )?\w+ has no [a-z]+: "  # what an executor's platform lacks, with its reason: tests/executors/contract
)
"""Why a test may be skipped where everything is there that the tests need, as it is in CI."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A test that is skipped in CI for want of a package, a browser or a model is a failure."""
    if not os.environ.get("CI"):
        return
    skipped: list[pytest.TestReport] = terminalreporter.stats.get("skipped", [])
    reasons = {str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)}
    unexpected = sorted(reason for reason in reasons if not SKIPS.search(reason))
    if unexpected:
        raise pytest.UsageError(f"tests were skipped that run in CI: {'; '.join(unexpected)}")
