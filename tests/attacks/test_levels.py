"""The key attacks with levels of isolation left out, as the user who runs the tests and as one without privileges."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.attacks import levels
from tests.attacks.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3"
NOBODY = 65534


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host() as host:
        yield host


@pytest.mark.parametrize("without", list(filter(None, levels.HELD)), ids="+".join)
def test_other_levels_hold(without: tuple[str, ...], host: Host) -> None:
    assert levels.attack_without(host, without) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="dropping privileges needs root; unprivileged, the test above is enough")
def test_an_unprivileged_user_is_as_safe() -> None:
    new_enough = [PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not Path(PYTHON).exists() or subprocess.run(new_enough).returncode:
        pytest.skip("needs a Python 3.11 that every user may run")
    folder = Path("/var/tmp") / f"actloop-attacks-{os.getpid()}"
    try:
        for part in ("src/actloop", "tests/attacks"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
        ended = subprocess.run(
            [PYTHON, "-m", "tests.attacks.levels"],
            cwd=folder,
            env={"PYTHONPATH": f"{folder}/src", "PYTHONDONTWRITEBYTECODE": "1"},
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=100,
        )
    finally:
        shutil.rmtree(folder)
    assert ended.returncode == 0, ended.stderr
    judged = json.loads(ended.stdout)
    assert set(judged) == {"+".join(without) for without in levels.HELD}
    assert {without: wrong for without, wrong in judged.items() if wrong} == {}
