"""A folder of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a few files that everybody may read."""
    made = tmp_path / "data"
    (made / "sub" / "deeper").mkdir(parents=True)
    (made / "sales.csv").write_text("city,amount\nRome,3\nOslo,4\n")
    (made / "sub" / "notes.txt").write_text("a note")
    for path in (tmp_path, made, *made.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return made
