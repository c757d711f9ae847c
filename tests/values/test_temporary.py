"""Folders for temporary files: gone with their process, even if it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actloop.values.temporary import TemporaryFolder

MAKE = "from actloop.values.temporary import TemporaryFolder\nfolder = TemporaryFolder('kind')\npath = folder.path\n"
SAY = "import sys\nprint(path, flush=True)\nsys.stdin.read()\n"
SESSION = (
    "import os\nfrom pathlib import Path\nfrom actloop.executors.unsafe import UnsafeInProcessExecutor\n"
    "executor = UnsafeInProcessExecutor(['os'], workspace=os.environ['FOLDER'])\n"
    "path = Path(executor('import os\\nos.getcwd()').output)\nassert (path / 'mine.txt').read_text() == 'mine'\n"
)


def begun(code: str, place: Path, **environment: str) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a folder, and which."""
    child = subprocess.Popen(
        [sys.executable, "-c", code + SAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place), **environment},
    )
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def ended(child: subprocess.Popen[str], *, killed: bool) -> None:
    if killed:
        child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == (-signal.SIGKILL if killed else 0)


@pytest.mark.parametrize("code", [MAKE, SESSION], ids=["folder", "executor"])
def test_what_a_killed_process_left_goes_with_the_next_start(code: str, tmp_path: Path) -> None:
    place, outside = tmp_path / "tmp", tmp_path / "outside"
    place.mkdir()
    outside.mkdir(mode=0o755)
    (outside / "mine.txt").write_text("mine")
    killed, left = begun(code, place, FOLDER=str(outside))
    living, held = begun(code, place, FOLDER=str(outside))
    (left / "link").symlink_to(outside)
    (place / f"{left.name[:-2]}xx").symlink_to(outside)  # none of ours: a link is not followed
    ended(killed, killed=True)
    assert left.exists()
    third, _ = begun(code, place, FOLDER=str(outside))
    assert not left.exists()
    assert held.exists()
    assert (outside / "mine.txt").read_text() == "mine"
    ended(living, killed=False)
    ended(third, killed=False)


def test_a_folder_goes_when_it_is_closed() -> None:
    folder = TemporaryFolder("test")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (folder.path / "a").write_text("a")
    folder.close()
    folder.close()
    assert not folder.path.exists()
