"""A folder that the host changes while programs use it: no file there is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from actloop.errors import InterpreterError
from actloop.executors.files.host_folder import HostFolder
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.workspace import Workspace

from .kit import contents, writable

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_new_on_this_machine_is_given_before_each_program(folder: Path) -> None:
    with writable(folder) as executor:
        executor("open('own.txt', 'w').write('own')")
        (folder / "sales.csv").write_text("changed")
        (folder / "sub" / "notes.txt").unlink()
        (folder / "fresh").mkdir()
        (folder / "fresh" / "new.txt").write_text("new")
        look = (
            "import os\nopen('sales.csv').read(), os.listdir('sub'), open('fresh/new.txt').read(), "
            "open('own.txt').read()"
        )
        assert executor(look).output == ("changed", ["deeper"], "new", "own")
        shutil.rmtree(folder / "fresh")
        assert executor("os.path.exists('fresh')").output is False


def test_a_tool_can_put_files_into_the_folder(folder: Path) -> None:
    def download() -> str:
        (folder / "page.html").write_text("<p>")
        return "page.html"

    with writable(folder, additional_functions={"download": download}) as executor:
        assert executor("name = download()").output is None
        assert executor("open(name).read()").output == "<p>"


def test_a_file_that_both_sides_changed_stays_as_it_is_here(folder: Path) -> None:
    def edit() -> None:
        (folder / "sales.csv").write_text("of the user")
        (folder / "new.txt").write_text("of the user, too")
        (folder / "sub" / "notes.txt").write_text("edited")

    with writable(folder, additional_functions={"edit": edit}) as executor:
        told = executor(
            "import os\nopen('sales.csv', 'w').write('of the agent'); open('new.txt', 'w').write('of the agent')\n"
            "os.remove('sub/notes.txt'); edit()"
        ).logs
        assert "sales.csv: it was changed here meanwhile" in told
        assert "new.txt: a file of this name is here" in told
        assert "sub/notes.txt: it was changed here meanwhile" in told
        look = "open('sales.csv').read(), open('new.txt').read(), open('sub/notes.txt').read()"
        assert executor(look).output == ("of the user", "of the user, too", "edited")
    assert (folder / "sales.csv").read_text() == "of the user"


def test_a_file_that_was_deleted_here_meanwhile_is_said_to_be(folder: Path) -> None:
    def delete() -> None:
        (folder / "sales.csv").unlink()

    with writable(folder, additional_functions={"delete": delete}) as executor:
        told = executor("open('sales.csv', 'w').write('of the agent'); delete()").logs
    assert "sales.csv: it was deleted here meanwhile" in told


def test_a_folder_that_is_gone_is_told_of_and_nothing_is_made_in_its_place(folder: Path) -> None:
    with writable(folder) as executor:
        executor("1")
        held = folder.rename(folder.parent / "held")
        told = executor("open('x.txt', 'w').write('x')").logs
        assert "is gone: make it again" in told
        assert not folder.exists()
        held.rename(folder.parent / "elsewhere")  # a folder made now could have the same number
        folder.mkdir()
        told = executor("open('y.txt', 'w').write('y')").logs
        assert "is another one than at the start" in told
        assert contents(folder) == {}


def test_a_folder_that_is_gone_at_the_start_is_an_error(folder: Path) -> None:
    for may_write in (True, False):
        folder.mkdir(exist_ok=True)
        with LocalPythonExecutor([], workspace=Workspace(folder, writable=may_write)) as executor:
            shutil.rmtree(folder)
            with pytest.raises((InterpreterError, ValueError, OSError), match=r"gone|No such file"):
                executor("1")


def test_a_change_of_the_same_size_that_keeps_its_time_is_not_overwritten(folder: Path) -> None:
    file = folder / "sales.csv"

    def change() -> None:
        before = file.stat()
        file.write_bytes(b"!" * before.st_size)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    with writable(folder, additional_functions={"change": change}) as executor:
        told = executor("change()\nopen('sales.csv', 'w').write('of the program')").logs
        assert "sales.csv: it was changed here meanwhile" in told
        assert set(file.read_bytes()) == {ord("!")}
        assert executor("set(open('sales.csv').read())").output == {"!"}


_KILLED = """
import os, signal, sys
from pathlib import Path
from actloop.executors.files.host_folder import HostFolder
folder = HostFolder(Path(sys.argv[1]))
files = [folder.begin(name, None) for name in ("new.txt", "sub/new.txt")]
files[0].write(b"half")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_began_to_write_is_removed_by_the_next_session(folder: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert sum(name.endswith(".part") for name in contents(folder)) == 2
    like = [".actloop-notes.part", ".actloop-0123456789abcdef.part.bak", ".actloop-0123456789abcdef.part"]
    for name in like[:2]:
        (folder / name).write_text("the user's")
    (folder / like[2]).symlink_to(folder / "sales.csv")
    living = HostFolder(folder).begin("slow.txt", None)
    try:
        with LocalPythonExecutor(workspace=folder) as executor:  # it may only read
            executor("1")
        assert sum(name.endswith(".part") for name in contents(folder)) == 5
        with writable(folder) as executor:
            executor("1")
        living.write(b"slow")
        living.commit()
    finally:
        living.close()
    assert sorted(contents(folder)) == sorted([*like, "sales.csv", "slow.txt", "sub", "sub/deeper", "sub/notes.txt"])


def test_a_file_that_changes_while_it_is_read_is_not_given_torn(folder: Path) -> None:
    (folder / "busy.log").write_bytes(bytes(1 << 20))
    stop = threading.Event()

    def write() -> None:
        with (folder / "busy.log").open("ab") as file:
            while not stop.is_set():
                file.write(b"more")
                file.flush()

    with writable(folder, quota=64 << 20) as executor:
        executor("1")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            told = [executor("import os\nos.path.exists('busy.log') and os.path.getsize('busy.log')") for _ in range(5)]
        finally:
            stop.set()
            writer.join()
        assert all(one.output is False or one.output >= 1 << 20 for one in told)
        size = (folder / "busy.log").stat().st_size
        assert executor("os.path.getsize('busy.log')").output == size


def test_many_sessions_share_one_folder(folder: Path) -> None:
    def work(number: int) -> str:
        with writable(folder) as executor:
            return executor(f"open('by-{number}.txt', 'w').write('x' * {number}); open('sub/notes.txt').read()").output

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(16))) == ["a note"] * 16
    assert [(folder / f"by-{number}.txt").stat().st_size for number in range(16)] == list(range(16))
