"""Settings of every test: a data folder of its own, so that no test writes into the user's."""

from __future__ import annotations

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
