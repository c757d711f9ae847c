"""The README's Python is run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SNIPPETS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
PARAMETERS = [pytest.param(code, marks=[pytest.mark.model] * ("LocalModel()" in code)) for code in SNIPPETS]


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 2


@pytest.mark.timeout(900)
@pytest.mark.parametrize("code", PARAMETERS)
def test_a_snippet_runs(code: str, tmp_path: Path) -> None:
    script = tmp_path / "snippet.py"  # tools are read from their source, so it must be a file
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr


def test_the_commands_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", text)) <= targets
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists() or link.startswith("benchmarks/"), link
