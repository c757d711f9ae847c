from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session, disable_progress_bars
from tests.hub.server import TOKEN, Hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub on this machine, and a client's settings that lead to it and leave the user's own cache and token alone."""
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    disable_progress_bars()
    try:
        yield server
    finally:
        close_session()
        server.close()
