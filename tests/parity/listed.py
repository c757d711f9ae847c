"""Looks up tests that a table names."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"(tests/[\w/]+\.py)::(\w+)")


def missing(table: str) -> list[str]:
    """The tests that a table names and that do not exist."""
    return [
        f"{path}::{name}"
        for path, name in ROW.findall(table)
        if not (ROOT / path).is_file() or not re.search(rf"def {name}\(", (ROOT / path).read_text())
    ]
