"""The workspace: what programs read of the user's folder, and what they make there comes back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER
from tests.executors.workspace.kit import contents

from actloop.errors import InterpreterError, UnsupportedError
from actloop.executors.waiting import run_now
from actloop.executors.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.executors.driving import Driver

pytestmark = [pytest.mark.needs("workspace")]


ATTEMPTS = {
    "open('report.md', 'w').write('1')": "report.md",
    "open('numbers.csv', 'w').write('forged')": "numbers.csv",
    "open('numbers.csv', 'a').write('3')": "numbers.csv",
    "open('numbers.csv', 'r+b')": "numbers.csv",
    "pathlib.Path('sub/new.txt').write_text('new')": "sub/new.txt",
    "os.mkdir('made')": "made",
    "os.remove('numbers.csv')": "numbers.csv",
    "os.rename('numbers.csv', 'x.csv')": "x.csv",
    "os.truncate('numbers.csv', 0)": "numbers.csv",
}
"""What is tried on a folder that can only be read, with a name that is there before and after, or not."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    (made / "sub").mkdir(parents=True)
    (made / "numbers.csv").write_text("1\n2\n")
    (made / "sub" / "note.txt").write_text("a note")
    (made / "way-out").symlink_to(tmp_path)
    for path in (made, made / "sub"):
        path.chmod(0o755)
    return made


def test_a_folder_is_read_and_stays_as_it_is(make: Callable[..., Any], folder: Path) -> None:
    executor = make(workspace=folder)
    code = "import pathlib\nsum(map(int, open('numbers.csv'))), pathlib.Path('sub/note.txt').read_text()"
    assert executor(code).output == (3, "a note")
    assert executor.files == []


@pytest.mark.parametrize("open_to_all", [True, False], ids=["open", "closed"])
def test_what_is_done_to_a_folder_to_be_read_is_an_error_or_noted(
    make: Callable[..., Any], folder: Path, open_to_all: bool
) -> None:
    if not open_to_all:  # then it is copied in, if programs are another user
        (folder / "own.txt").write_text("mine")
        (folder / "own.txt").chmod(0o600)
    before = contents(folder)
    executor = make(["os", "pathlib"], workspace=folder)
    for attempt, name in ATTEMPTS.items():
        with pytest.raises(InterpreterError, match=r"Read-only|PermissionError") as told:
            executor(f"import os, pathlib\n{attempt}")
        assert "can only be read" in str(told.value), attempt
        assert executor(f"os.path.exists({name!r})").output is (name in before)
    assert executor("len(open('numbers.csv').read())").output == 4
    assert executor.files == []
    assert contents(folder) == before


def test_what_python_does_not_see_is_not_kept_and_noted(make: Callable[..., Any], folder: Path) -> None:
    (folder / "own.txt").write_text("mine")
    (folder / "own.txt").chmod(0o600)
    before = contents(folder)
    executor = make(["sqlite3"], workspace=folder)
    code = "import sqlite3\nbase = sqlite3.connect('new.db')\nbase.execute('create table t (x)'); base.close()"
    try:
        told = executor(code).logs
    except InterpreterError as error:
        told = str(error)
    assert "Not kept of the folder: new.db: the folder can only be read" in told or "unable to open database" in told
    assert executor("1").logs == ""
    assert executor.files == []
    assert contents(folder) == before


def test_what_a_program_makes_changes_and_deletes_comes_back(make: Callable[..., Any], folder: Path) -> None:
    executor = make(workspace=Workspace(folder, writable=True, quota=4 << 20))
    executor(
        "import pathlib\npathlib.Path('out/deep').mkdir(parents=True)\n"
        "pathlib.Path('out/deep/table.csv').write_text('a,b\\n')\n"
        "pathlib.Path('data.bin').write_bytes(bytes(range(256)) * 4000)\n"
        "open('numbers.csv', 'a').write('3\\n'); pathlib.Path('sub/note.txt').unlink()"
    )
    assert [(file.name, file.type, file.size) for file in executor.files] == [
        ("data.bin", "application/octet-stream", 1_024_000),
        ("numbers.csv", "text/csv", 6),
        ("out/deep/table.csv", "text/csv", 4),
    ]
    assert (folder / "data.bin").read_bytes() == bytes(range(256)) * 4000
    assert (folder / "numbers.csv").read_text() == "1\n2\n3\n"
    assert os.listdir(folder / "sub") == []
    with pytest.raises(InterpreterError, match="ZeroDivisionError"):
        executor("open('before-the-error.txt', 'w').write('x'); 1 / 0")
    assert (folder / "before-the-error.txt").read_text() == "x"


def test_what_is_new_here_is_there_for_the_next_program(open_driver: Callable[..., Driver], folder: Path) -> None:
    driver = open_driver({"workspace": Workspace(folder, writable=True)})
    assert driver.value("len(open('numbers.csv').read())") == 4
    (folder / "numbers.csv").write_text("10\n20\n30\n")
    assert driver.value("sum(map(int, open('numbers.csv')))") == 60
    assert not run_now(driver.session.take_files(WAITER))


@pytest.mark.needs("quota")
def test_no_more_is_taken_than_the_quota(make: Callable[..., Any], folder: Path) -> None:
    executor = make(["os"], workspace=Workspace(folder, writable=True, quota=1 << 20))
    assert executor("open('a.bin', 'wb').write(bytes(700_000))").logs == ""
    told = executor("open('b.bin', 'wb').write(bytes(700_000))").logs
    assert told == "Not kept of the folder: b.bin: it does not fit: the folder takes 1,048,576 bytes in all\n"
    assert executor("import os\nos.remove('a.bin'); os.path.getsize('b.bin')").output == 700_000
    assert [(file.name, file.size) for file in executor.files] == [("b.bin", 700_000)]
    assert [path.name for path in folder.glob("*.bin")] == ["b.bin"]


@pytest.mark.parametrize("may_write", [False, True])
def test_a_folder_beyond_its_quota_is_one_error(make: Callable[..., Any], folder: Path, may_write: bool) -> None:
    (folder / "own.txt").write_text("mine")
    (folder / "own.txt").chmod(0o600)  # so that it is copied in, where programs are another user
    executor = make(workspace=Workspace(folder, writable=may_write, quota=5))
    if not may_write and os.geteuid() and executor.mounts_workspace():
        return
    for ask in (executor.check_workspace, lambda: executor("1")):
        with pytest.raises(UnsupportedError, match=r"its files take 14 bytes, and its quota is 5; raise its quota"):
            ask()


FILLS = """
import os
for name, size in (("z.bin", 2_500_000), ("b.bin", 900_000)):
    try:
        with open(name, "wb", buffering=0) as file:
            while size > 0:
                size -= file.write(bytes(min(size, 50_000)))
    except OSError as error:
        print(error)
"""


@pytest.mark.needs("quota")
def test_a_file_that_was_cut_is_not_taken_as_if_it_were_whole(make: Callable[..., Any], folder: Path) -> None:
    executor = make(["os"], workspace=Workspace(folder, writable=True, quota=1 << 20))
    told = executor(FILLS).logs
    assert "z.bin: it does not fit: the folder takes 1,048,576 bytes in all" in told
    whole = (folder / "b.bin").exists()
    assert ("No space left" in told) is ("b.bin: it may be cut" in told) is not whole
    executor("os.remove('z.bin')")  # which makes room, but the other file no longer
    assert (folder / "b.bin").exists() is whole
    executor("open('b.bin', 'wb').write(bytes(900_000))")
    assert (folder / "b.bin").stat().st_size == 900_000


def test_no_name_leads_out_of_the_folder(make: Callable[..., Any], folder: Path) -> None:
    before = sorted(os.listdir(folder.parent))
    executor = make(workspace=Workspace(folder, writable=True))
    executor(
        "import pathlib\npathlib.Path('way-out').mkdir(exist_ok=True)\n"
        "pathlib.Path('way-out/escaped.txt').write_text('x')\n"
        "try:\n    pathlib.Path('link').symlink_to('/etc/passwd')\nexcept OSError:\n    pass"
    )
    assert sorted(os.listdir(folder.parent)) == before
    assert not (folder / "link").is_symlink()
    assert (folder / "way-out").is_symlink()
    assert executor.files == []


def test_the_model_is_told_of_the_folder(make: Callable[..., Any], folder: Path) -> None:
    assert "numbers.csv" in make(workspace=folder).instructions()
    assert "numbers.csv" not in make().instructions()
