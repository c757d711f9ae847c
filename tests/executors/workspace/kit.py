"""What the tests of workspaces share."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from actloop.executors.local import LocalPythonExecutor
from actloop.executors.unsafe import UnsafeInProcessExecutor
from actloop.executors.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

AS_ROOT = os.geteuid() == 0
KINDS = [LocalPythonExecutor, UnsafeInProcessExecutor]
kinds = pytest.mark.parametrize("kind", KINDS)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file by its name, None for a folder; links are not followed."""
    return {
        str(path.relative_to(folder)): None
        if path.is_dir() and not path.is_symlink()
        else os.readlink(path).encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def writable(folder: Path, kind: type[Any] = LocalPythonExecutor, quota: int = 1 << 20, **options: Any) -> Any:
    return kind(["os"], workspace=Workspace(folder, writable=True, quota=quota), **options)


READS = """
import csv, pathlib
with open("sales.csv", newline="") as file:
    rows = list(csv.DictReader(file))
names = sorted(path.name for path in pathlib.Path().iterdir())
sum(int(row["amount"]) for row in rows), pathlib.Path("sub/notes.txt").read_text(), names
"""


@contextlib.contextmanager
def own_disk(place: Path, size: str) -> Generator[None]:
    """A small disk of its own on a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
