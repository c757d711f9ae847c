"""The public names of the package, and what importing it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import actloop

SOURCE = Path(actloop.__file__)


@pytest.mark.parametrize("name", actloop.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(actloop, name) is not None


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(SOURCE.read_text())
    seen = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("actloop.")
        for alias in node.names
    }
    assert seen == set(actloop.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = actloop.Nothing


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    code = "import sys, actloop; print(sorted(m for m in sys.modules if m.startswith('actloop')))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SOURCE.parents[1]
    )
    assert ast.literal_eval(done.stdout) == ["actloop"]
