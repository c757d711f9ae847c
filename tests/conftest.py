"""Settings of every test: a data folder of its own, so that no test writes into the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`ACTLOOP_HOME` in a fresh folder."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ACTLOOP_HOME", str(home))
    return home
