"""The Makefile says what is missing on a machine, and what there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # A make above this one must not pass on its options.
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, env=env)


def test_help_is_the_default() -> None:
    done = make()
    assert done.returncode == 0, done.stderr
    for target in ("help", "demo", "test", "lint", "format", "bench", "eval", "docs", "clean"):
        assert f"make {target} " in done.stdout


def fake_python(folder: Path, version: str, modules: bool) -> str:
    """A program that answers the Makefile's questions as an interpreter of that kind would."""
    path = folder / "python"
    is_old = tuple(map(int, version.split("."))) < (3, 11)
    path.write_text(
        f"#!/bin/sh\ncase $2 in\n*print*) echo {version} ;;\n*sys.exit*) exit {int(is_old)} ;;\n"
        f"*ensurepip*) exit {int(not modules)} ;;\n*) exit 3 ;;\nesac\n"
    )
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("version", "modules", "told"),
    [("3.9.2", True, "3.11 or newer is needed"), ("3.11.2", False, "apt-get install python3.11-venv")],
)
def test_an_unfit_python_is_refused(tmp_path: Path, version: str, modules: bool, told: str) -> None:
    done = make("demo", f"PYTHON={fake_python(tmp_path, version, modules)}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert told in done.stderr
    assert not (tmp_path / "venv" / ".made").exists()


def test_a_failed_install_shows_pips_own_words() -> None:
    script = [
        "sh",
        "scripts/pip_install.sh",
        str(Path(sys.executable).parent),
        "nothing",
        "--no-index",
        "no-such-thing-1",
    ]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.endswith("failed\n")
    assert "no-such-thing-1" in done.stderr
