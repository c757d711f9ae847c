"""What programs see of a folder that they may read."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from actloop.errors import InterpreterError, UnsupportedError
from actloop.executors.kernel import host as kernel
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.unsafe import UnsafeInProcessExecutor
from actloop.executors.workspace import Workspace

from .kit import AS_ROOT, READS, contents, kinds, own_disk


@kinds
@pytest.mark.parametrize("may_write", [False, True])
def test_programs_read_with_open_pathlib_and_csv(kind: type[Any], may_write: bool, folder: Path) -> None:
    with kind([], workspace=Workspace(folder, writable=may_write)) as executor:
        assert executor(READS).output == (7, "a note", ["sales.csv", "sub"])


def test_a_folder_to_be_read_is_mounted_and_cannot_be_written(folder: Path) -> None:
    before = contents(folder)
    with LocalPythonExecutor(["os"], workspace=folder) as executor:
        assert executor("import os\nos.getcwd()").output == "/workspace"
        for attempt in (
            "open('sales.csv', 'a')",
            "open('new.txt', 'w')",
            "os.remove('sales.csv')",
            "os.rename('sales.csv', 'x.csv')",
            "os.mkdir('made')",
            "os.symlink('/', 'link')",
            "os.truncate('sales.csv', 0)",
            "os.open('sales.csv', os.O_WRONLY)",
            "open('/workspace/../workspace/sub/notes.txt', 'w')",
        ):
            with pytest.raises(InterpreterError, match=r"PermissionError|OSError"):
                executor(attempt)
        (folder / "late.txt").write_text("late")
        (folder / "late.txt").chmod(0o644)
        assert executor("open('late.txt').read()").output == "late"
        assert executor("import tempfile\nopen(tempfile.gettempdir() + '/x', 'w').write('own')").output == 3
        assert executor.files == []
    (folder / "late.txt").unlink()
    assert contents(folder) == before


def test_a_pipe_in_a_mounted_folder_cannot_be_written(folder: Path) -> None:
    with LocalPythonExecutor(["os"], workspace=folder) as executor:
        assert executor("1").output == 1
        os.mkfifo(folder / "pipe")
        (folder / "pipe").chmod(0o666)
        reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        try:
            with pytest.raises(InterpreterError, match="PermissionError"):
                executor("import os\nos.open('pipe', os.O_WRONLY | os.O_NONBLOCK)")
        finally:
            os.close(reader)


def test_a_mounted_folder_shows_nothing_that_is_beside_it(folder: Path) -> None:
    (folder.parent / "secret.txt").write_text("secret")
    (folder.parent / "secret.txt").chmod(0o644)
    (folder / "out").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to("../secret.txt")
    with LocalPythonExecutor(["os"], workspace=folder) as executor:
        for path in ("out", "up", "../secret.txt", "/workspace/../data/sales.csv", str(folder / "sales.csv")):
            with pytest.raises(InterpreterError, match=r"FileNotFoundError|PermissionError"):
                executor(f"open({path!r})")


@pytest.mark.skipif(not AS_ROOT, reason="only root may mount")
def test_what_is_mounted_within_a_folder_is_not_mounted_along(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir(mode=0o755)
    with own_disk(inner, "64k"):
        (inner / "there.txt").write_text("x")
        with LocalPythonExecutor(["os"], workspace=folder) as executor:
            assert executor("import os\nos.listdir('inner')").output == []


@pytest.mark.skipif(not AS_ROOT, reason="programs are another user only where the host is root")
def test_what_only_the_owner_may_read_is_copied_in_when_it_is_small(folder: Path) -> None:
    (folder / "sales.csv").chmod(0o600)
    with LocalPythonExecutor(["os"], workspace=folder) as executor:
        assert executor(READS).output[0] == 7
        with pytest.raises(InterpreterError, match="Read-only"):
            executor("open('sales.csv', 'a')")
    folder.chmod(0o700)
    with LocalPythonExecutor(["os"], workspace=folder) as executor:
        assert executor(READS).output[0] == 7
        with pytest.raises(InterpreterError, match="Read-only"):
            executor("open('made.txt', 'w').write('x')")
        assert executor.files == []
    assert sorted(contents(folder)) == ["sales.csv", "sub", "sub/deeper", "sub/notes.txt"]


@pytest.mark.skipif(not AS_ROOT, reason="programs are another user only where the host is root")
@pytest.mark.parametrize(("home", "told"), [("/nowhere", r"chmod -R o\+rX"), ("me", "give a folder of its own")])
def test_what_only_the_owner_may_read_is_named_when_it_is_large(
    home: str, told: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder / home))
    (folder / "private.bin").write_bytes(bytes(2000))
    (folder / "private.bin").chmod(0o600)
    with (
        LocalPythonExecutor([], workspace=Workspace(folder, quota=1000)) as executor,
        pytest.raises(UnsupportedError, match=rf"may not read 'private\.bin'.*{told}"),
    ):
        executor("1")


def test_a_large_folder_is_mounted_whatever_its_quota(folder: Path) -> None:
    (folder / "large.bin").write_bytes(bytes(3 << 20))
    (folder / "large.bin").chmod(0o644)
    with LocalPythonExecutor([], workspace=Workspace(folder, quota=1000)) as executor:
        assert executor("len(open('large.bin', 'rb').read())").output == 3 << 20


def test_a_process_that_mounts_a_folder_ends_with_its_executor(folder: Path) -> None:
    executor = LocalPythonExecutor([], workspace=folder)
    assert executor("1").output == 1
    zygotes = [one for one in kernel._with_workspace.values() if one.workspace == str(folder)]  # pyright: ignore[reportPrivateUsage]
    assert len(zygotes) == 1
    pid = zygotes[0].pid
    other = LocalPythonExecutor([], workspace=folder)
    assert other("1").output == 1
    executor.cleanup()
    del executor, zygotes
    gc.collect()
    assert other("2").output == 2
    other.cleanup()
    del other
    gc.collect()
    assert not Path(f"/proc/{pid}").exists()


def test_a_folder_that_was_made_anew_is_mounted_anew(folder: Path) -> None:
    executor = LocalPythonExecutor([], workspace=folder)
    with executor:
        assert executor(READS).output[0] == 7
        shutil.rmtree(folder)
        folder.mkdir(mode=0o755)
        (folder / "new.txt").write_text("new")
        (folder / "new.txt").chmod(0o644)
        executor.cleanup()
        assert executor("open('new.txt').read()").output == "new"


SHELL = "import subprocess\nsubprocess.run(['sh', '-c', {!r}], check=True)"


def test_what_gets_past_the_error_is_not_kept_and_said_once(folder: Path) -> None:
    before = contents(folder)
    with UnsafeInProcessExecutor(["subprocess", "os"], workspace=folder) as executor:
        told = executor(
            SHELL.format("echo 1 > report.md; mkdir out; echo 2 > out/a; chmod u+w sales.csv; echo 3 > sales.csv")
        )
        for name in ("report.md", "out", "sales.csv"):
            assert f"{name}: the folder can only be read" in told.logs
        assert "out/a" not in told.logs
        assert executor("open('sales.csv').read()").output == (folder / "sales.csv").read_text()
        assert executor("import os\nsorted(os.listdir('.'))").logs == ""
        assert "report.md" in executor(SHELL.format("echo more > report.md")).logs
        assert "sub: the folder can only be read" in executor(SHELL.format("rm -r -f sub; echo > sub")).logs
        assert executor(READS).output[0] == 7
        assert executor.files == []
    assert contents(folder) == before
