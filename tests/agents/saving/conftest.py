"""A saved agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actloop import CodeAgent

from .kit import area, plain_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved agent with a tool and a managed agent."""
    worker = CodeAgent([area], plain_model(), name="worker", description="Works.")
    CodeAgent([area], plain_model(), managed_agents=[worker]).save(tmp_path / "saved")
    return tmp_path / "saved"
