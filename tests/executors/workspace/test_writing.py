"""What comes back of what programs make, change and delete."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER

from actloop.errors import InterpreterError
from actloop.executors.files.state import CHANGING
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import Finished, SandboxLimits
from actloop.executors.unsafe import UnsafeInProcessExecutor
from actloop.executors.waiting import run_now
from actloop.executors.workspace import FileChanges, Workspace, WorkspaceFile

from .kit import READS, contents, kinds, writable

if TYPE_CHECKING:
    from pathlib import Path


@kinds
def test_what_programs_make_change_and_delete_comes_back(kind: type[Any], folder: Path) -> None:
    with writable(folder, kind) as executor:
        executor(
            "import os\nopen('report.csv', 'w').write('a,b\\n')\nos.makedirs('out/plots')\n"
            "open('out/plots/one.bin', 'wb').write(bytes(range(256)))\nopen('sales.csv', 'a').write('Bern,5\\n')\n"
            "os.remove('sub/notes.txt'); os.rmdir('sub/deeper'); os.mkdir('empty')"
        )
        assert contents(folder) == {
            "empty": None,
            "out": None,
            "out/plots": None,
            "out/plots/one.bin": bytes(range(256)),
            "report.csv": b"a,b\n",
            "sales.csv": b"city,amount\nRome,3\nOslo,4\nBern,5\n",
            "sub": None,
        }
        assert executor.files == [
            WorkspaceFile("out/plots/one.bin", "application/octet-stream", 256, folder / "out/plots/one.bin"),
            WorkspaceFile("report.csv", "text/csv", 4, folder / "report.csv"),
            WorkspaceFile("sales.csv", "text/csv", 33, folder / "sales.csv"),
        ]
        executor("os.remove('report.csv')")
        assert [file.name for file in executor.files] == ["out/plots/one.bin", "sales.csv"]


def test_nothing_is_changed_by_programs_that_only_read(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with writable(folder) as executor:
        executor(READS)
        executor("text = open('sales.csv').read(); open('sales.csv', 'w').write(text)")
        assert executor.files == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_change_of_the_same_size_right_at_the_start_is_noticed(folder: Path) -> None:
    for number in range(20):
        with writable(folder) as executor:
            executor(f"open('sub/notes.txt', 'w').write('{number:06}')")
        assert (folder / "sub/notes.txt").read_text() == f"{number:06}"


def test_a_renamed_file_or_folder_is_renamed(folder: Path) -> None:
    with writable(folder) as executor:
        executor("import os\nos.rename('sub', 'other'); os.rename('sales.csv', 'Sales.csv')")
    assert sorted(contents(folder)) == ["Sales.csv", "other", "other/deeper", "other/notes.txt"]


def test_a_file_in_place_of_a_folder_and_a_folder_in_place_of_a_file(folder: Path) -> None:
    with writable(folder) as executor:
        executor(
            "import os, pathlib\nos.remove('sales.csv'); os.mkdir('sales.csv'); open('sales.csv/new', 'w').write('n')\n"
            "os.remove('sub/notes.txt'); os.rmdir('sub/deeper'); os.rmdir('sub'); open('sub', 'w').write('file')"
        )
    assert contents(folder) == {"sales.csv": None, "sales.csv/new": b"n", "sub": b"file"}


def test_files_larger_than_a_message_travel_in_parts(folder: Path) -> None:
    data = os.urandom(300_000)
    (folder / "in.bin").write_bytes(data)
    with writable(folder, limits=SandboxLimits(value=1 << 16)) as executor:
        executor("data = open('in.bin', 'rb').read(); open('out.bin', 'wb').write(data[::-1])")
    assert (folder / "out.bin").read_bytes() == data[::-1]


def test_many_small_files(folder: Path) -> None:
    with writable(folder, quota=16 << 20) as executor:
        executor("for n in range(1500): open(f'{n}.txt', 'w').write(str(n))")
        assert len(executor.files) == 1500
        executor("import os\nfor n in range(1500): os.remove(f'{n}.txt')")
        assert executor.files == []
    assert sorted(contents(folder)) == ["sales.csv", "sub", "sub/deeper", "sub/notes.txt"]


def test_names_of_every_language(folder: Path) -> None:
    names = ["Bücher.txt", "文件.csv", "a b c.txt", "2024-01-01T10:00.log", "emoji 🎉.txt", "quote'\".txt", "-rf"]
    with writable(folder) as executor:
        executor(f"for name in {names!r}: open(name, 'w').write('x')")
        assert [file.name for file in executor.files] == sorted(names)
        assert executor("sorted(__import__('pathlib').Path().iterdir())[-1].name").output
    assert set(names) < set(os.listdir(folder))


def test_names_that_this_machine_cannot_write_are_refused_and_the_rest_is_taken(folder: Path) -> None:
    code = """
        import os, sys
        from actloop import LocalPythonExecutor, Workspace
        program = "import os; os.mkdir('\\xe4'); [open(name, 'w').write('x') for name in ('\\xe9.txt', 'ok.txt')]"
        with LocalPythonExecutor(["os"], workspace=Workspace(sys.argv[1], writable=True)) as executor:
            print(ascii(executor(program).logs), [file.name for file in executor.files])
            print(executor("open('ok.txt').read()").output)
        """
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    why = "its name cannot be written in the encoding of this machine's file names (ascii)"
    logs = f"Not kept of the folder: \xe4: {why}; \xe9.txt: {why}\n"
    assert done.stdout == f"{logs!a} ['ok.txt']\nx\n"
    assert sorted(os.listdir(folder)) == ["ok.txt", "sales.csv", "sub"]


def test_rights_of_a_changed_file_stay_and_a_new_one_is_no_program(folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    (folder / "sales.csv").chmod(0o600)
    with writable(folder) as executor:
        executor("for name in ('run.sh', 'sales.csv', 'new.sh'): open(name, 'a').write('# more\\n')")
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("run.sh", "sales.csv", "new.sh")}
    assert (modes["run.sh"], modes["sales.csv"]) == (0o750, 0o600)
    assert modes["new.sh"] & 0o111 == 0


@kinds
def test_a_program_that_fails_or_ends_with_an_answer_gives_its_files(kind: type[Any], folder: Path) -> None:
    with writable(folder, kind) as executor:
        with pytest.raises(InterpreterError, match="ZeroDivisionError"):
            executor("open('failed.txt', 'w').write('f'); 1 / 0")
        executor.send_tools({"final_answer": str})
        assert executor("open('answered.txt', 'w').write('a'); final_answer('x')").is_final_answer
        assert [file.name for file in executor.files] == ["answered.txt", "failed.txt"]


@pytest.mark.usefixtures("ample_grace")
def test_a_program_that_takes_too_long_gives_its_files_when_it_obeys(folder: Path) -> None:
    with writable(folder, timeout_seconds=2) as executor:
        with pytest.raises(InterpreterError, match="TimeoutError"):
            executor("open('early.txt', 'w').write('e')\nimport time\ntime.sleep(60)")
        assert (folder / "early.txt").read_text() == "e"


def test_of_a_lost_sandbox_what_was_taken_stays(folder: Path) -> None:
    with writable(folder) as executor:
        executor("import os\nopen('kept.txt', 'w').write('kept')")
        with pytest.raises(InterpreterError, match="The sandbox process ended"):
            executor("open('gone.txt', 'w').write('gone'); os.remove('sales.csv'); os._exit(1)")
        assert executor("import os\nsorted(os.listdir('.'))").output == ["kept.txt", "sales.csv", "sub"]
    assert (folder / "sales.csv").exists()
    assert not (folder / "gone.txt").exists()


def test_an_open_file_that_was_not_closed_is_taken_when_it_is(folder: Path) -> None:
    with writable(folder) as executor:
        executor("file = open('log.txt', 'w'); file.write('one'); file.flush()")
        assert (folder / "log.txt").read_text() == "one"
        executor("file.write('two'); file.close()")
        assert (folder / "log.txt").read_text() == "onetwo"


@kinds
def test_nothing_is_left_of_a_copy(
    kind: type[Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with writable(folder, kind) as executor:
        executor("open('x.txt', 'w').write('x')")
        assert bool(os.listdir(temporary)) is (kind is UnsafeInProcessExecutor)  # the other's is in its sandbox
    with kind(["os"], workspace=folder) as executor:
        executor("open('x.txt').read()")
    assert os.listdir(temporary) == []
    assert ".part" not in "".join(contents(folder))


@pytest.mark.parametrize(
    ("code", "may_write", "told"),
    [
        ("open('sale.csv')", True, "It holds 'sales.csv', 'sub'."),
        ("open('/data/sales.csv')", False, "The current folder is the user's. It holds 'sales.csv', 'sub'."),
        ("open('sales.csv', 'w')", False, "can only be read: keep what you make in variables"),
        ("open('big', 'wb').write(bytes(4 << 20))", True, "takes at most 1,048,576 bytes in all"),
        ("import shutil", True, "use open(), pathlib, csv or zipfile for the files of the current folder"),
    ],
)
def test_a_program_that_fails_at_a_file_is_told_what_to_do(code: str, may_write: bool, told: str, folder: Path) -> None:
    given = Workspace(folder, writable=may_write, quota=1 << 20)
    with LocalPythonExecutor([], workspace=given) as executor, pytest.raises(InterpreterError) as caught:
        executor(code)
    assert told in str(caught.value)


def test_on_an_event_loop_nothing_blocks(folder: Path) -> None:
    """A file is about to be put into its place, and waits for another session that changes the folder."""
    from actloop.runtime.ports import Asyncio, Interrupt

    size = 8 << 20
    held, went_on = threading.Event(), threading.Event()

    def change() -> bool:
        with CHANGING:
            held.set()
            return went_on.wait(20)

    def waits() -> bool:
        """Whether all of the file is there, and not yet under its name."""
        return any(part.stat().st_size == size for part in folder.glob(".*.part"))

    async def tick() -> None:
        ticks = 0
        while ticks < 5:
            await asyncio.sleep(0.01)
            ticks += waits()
        went_on.set()

    async def main() -> FileChanges | None:
        port = Asyncio(Interrupt())
        session = await writable(folder, quota=32 << 20).open_session(port)
        ticking = asyncio.create_task(tick())
        try:
            await session.start(f"open('big.bin', 'wb').write(bytes({size}))", port)
            while not isinstance(await session.receive(port), Finished):
                pass
            return await session.take_files(port)
        finally:
            ticking.cancel()
            session.close()
            port.close()

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        assert held.wait(60)
        changes = asyncio.run(main())
        assert changing.result(), "the loop stood still meanwhile"
    assert changes is not None
    assert [file.size for file in changes.created] == [size]


def test_a_session_without_a_workspace_has_nothing_to_take(folder: Path) -> None:
    session = run_now(LocalPythonExecutor([]).open_session(WAITER))
    try:
        assert run_now(session.take_files(WAITER)) is None
    finally:
        session.close()
