"""The user's folder in real sandboxes: what programs see of it, what comes back, and that no file there is lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER

from actloop.errors import InterpreterError
from actloop.executors.files.host_folder import HostFolder, folded, unfit
from actloop.executors.files.media_types import file_type
from actloop.executors.kernel import host as kernel
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import Finished, SandboxLimits
from actloop.executors.unsafe import UnsafeInProcessExecutor
from actloop.executors.waiting import run_now
from actloop.executors.workspace import FileChanges, Workspace, WorkspaceFile, as_workspace
from actloop.guest.files import MAX_FILES

if TYPE_CHECKING:
    from collections.abc import Generator

AS_ROOT = os.geteuid() == 0
KINDS = [LocalPythonExecutor, UnsafeInProcessExecutor]
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a few files that everybody may read."""
    made = tmp_path / "data"
    (made / "sub" / "deeper").mkdir(parents=True)
    (made / "sales.csv").write_text("city,amount\nRome,3\nOslo,4\n")
    (made / "sub" / "notes.txt").write_text("a note")
    for path in (tmp_path, made, *made.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return made


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


# ---- what is given


def test_a_plain_path_is_a_folder_that_can_only_be_read(folder: Path) -> None:
    assert as_workspace(str(folder)) == as_workspace(folder) == Workspace(folder, writable=False)
    assert as_workspace(None) is None
    given = Workspace(folder, writable=True)
    assert as_workspace(given) is given
    assert given.path == folder
    assert given.quota == 64 * 1024 * 1024


def test_the_home_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert Workspace("~/sub").path == folder / "sub"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"path": "nothing-of-this-name"}, "make the folder first"),
        ({"path": "{folder}/sales.csv"}, "is not a folder"),
        ({"path": ""}, "no path of a folder"),
        ({"path": "a\0b"}, "no path of a folder"),
        ({"path": "{folder}", "quota": 0}, "positive"),
        ({"path": "{folder}", "quota": -5}, "positive"),
        ({"path": "{folder}", "quota": 10**30}, "at most 1 TiB"),
        ({"path": "/", "writable": True}, "the whole disk"),
        ({"path": "~", "writable": True}, "home folder"),
        ({"path": "{home}/..", "writable": True}, "home folder"),
    ],
)
def test_folders_that_cannot_be_used_are_refused(arguments: dict[str, Any], told: str, folder: Path) -> None:
    path = arguments["path"].replace("{folder}", str(folder)).replace("{home}", os.path.expanduser("~"))
    with pytest.raises(ValueError, match=told):
        Workspace(**{**arguments, "path": path})
    with pytest.raises(ValueError, match=told):
        LocalPythonExecutor([], workspace=Workspace(**{**arguments, "path": path}))


_NO_FLAGS = [{"path": ".", "writable": value} for value in ("no", "", 0, 1, None)]


@pytest.mark.parametrize(
    "arguments", [{"path": 5}, {"path": b"x"}, {"path": ".", "quota": 1.5}, {"path": None}, *_NO_FLAGS]
)
def test_arguments_of_other_types_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Workspace(**arguments)


@pytest.mark.parametrize(
    ("mode", "may_write", "told"), [(0o555, True, "may not be written"), (0o000, False, "may not be read")]
)
def test_a_folder_that_may_not_be_read_or_written_is_refused(mode: int, may_write: bool, told: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, mode)
        if not AS_ROOT:
            with pytest.raises(ValueError, match=told):
                Workspace(place, writable=may_write)
            os.chmod(place, 0o755)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads, which the child does not need
            pid = os.fork()
        if pid == 0:  # root may read and write everything
            try:
                os.setresuid(65534, 65534, 65534)
                Workspace(place, writable=may_write)
                os._exit(1)
            except ValueError as error:
                os._exit(0 if told in str(error) else 2)
            finally:
                os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(
    "name", ["/etc", "/etc/ssl", "/root", "/usr", "/usr/lib", "/var", "/boot", "/tmp", "/dev", "/proc"]
)
def test_folders_of_the_system_cannot_be_written_wherever_the_home_folder_is(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not os.access(name, os.R_OK | os.X_OK):
        pytest.skip("this user may not even read it")
    monkeypatch.setenv("HOME", str(folder))
    with pytest.raises(ValueError, match="programs may not change"):
        Workspace(name, writable=True)


def test_little_of_a_large_folder_is_looked_at_for_the_model(folder: Path) -> None:
    before = Workspace(folder).instructions()
    assert "'sub/notes.txt'" in before
    for number in range(300):
        (folder / f"more{number}").mkdir()
        (folder / f"more{number}" / "x").write_text("x")
    found = HostFolder(folder).glance(100)
    assert 0 < found.seen <= 101
    assert "many" in Workspace(folder).instructions()


def test_the_model_is_told_of_the_folder(folder: Path) -> None:
    for number in range(30):
        (folder / f"{number:02}.txt").write_text("x")
    told = Workspace(folder).instructions()
    assert "'00.txt' (1 byte)" in told
    assert "and 12 more" in told
    assert "can only be read" in told
    assert "\n" not in told
    told = Workspace(folder, writable=True, quota=5 << 20).instructions()
    assert "You may change them" in told
    assert "5 MB" in told
    shutil.rmtree(folder)
    assert "cannot be read now" in Workspace.instructions(given_of(folder))


def given_of(folder: Path) -> Workspace:
    folder.mkdir()
    given = Workspace(folder)
    folder.rmdir()
    return given


# ---- reading

READS = """
import csv, pathlib
with open("sales.csv", newline="") as file:
    rows = list(csv.DictReader(file))
names = sorted(path.name for path in pathlib.Path().iterdir())
sum(int(row["amount"]) for row in rows), pathlib.Path("sub/notes.txt").read_text(), names
"""


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
        with pytest.raises(InterpreterError, match="PermissionError"):
            executor("open('sales.csv', 'a')")
    folder.chmod(0o700)
    with LocalPythonExecutor(["os"], workspace=folder) as executor:
        assert executor(READS).output[0] == 7
        executor("open('made.txt', 'w').write('x')")
        assert executor.files == []
    assert sorted(contents(folder)) == ["sales.csv", "sub", "sub/deeper", "sub/notes.txt"]


@pytest.mark.skipif(not AS_ROOT, reason="programs are another user only where the host is root")
def test_what_only_the_owner_may_read_is_named_when_it_is_large(folder: Path) -> None:
    (folder / "private.bin").write_bytes(bytes(2000))
    (folder / "private.bin").chmod(0o600)
    with (
        LocalPythonExecutor([], workspace=Workspace(folder, quota=1000)) as executor,
        pytest.raises(ValueError, match=r"may not read 'private\.bin'.*chmod -R o\+rX"),
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


# ---- writing


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


def test_a_program_that_takes_too_long_gives_its_files_when_it_obeys(folder: Path) -> None:
    with writable(folder, timeout_seconds=0.5) as executor:
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
def test_nothing_is_left_of_a_copy(kind: type[Any], folder: Path) -> None:
    before = set(os.listdir("/tmp")), len(os.listdir("/proc/self/fd"))
    with writable(folder, kind) as executor:
        executor("open('x.txt', 'w').write('x')")
    with kind(["os"], workspace=folder) as executor:
        executor("open('x.txt').read()")
    assert {name for name in set(os.listdir("/tmp")) - before[0] if name.startswith("actloop-workspace")} == set()
    assert ".part" not in "".join(contents(folder))


@pytest.mark.parametrize(
    ("code", "may_write", "told"),
    [
        ("open('sale.csv')", True, "It holds 'sales.csv', 'sub'."),
        ("open('/data/sales.csv')", False, "The current folder is the user's. It holds 'sales.csv', 'sub'."),
        ("open('sales.csv', 'w')", False, "can only be read: keep what you make in variables"),
        ("open('big', 'wb').write(bytes(2 << 20))", True, "takes at most 1,048,576 bytes in all"),
        ("import shutil", True, "use open(), pathlib, csv or zipfile for the files of the current folder"),
    ],
)
def test_a_program_that_fails_at_a_file_is_told_what_to_do(code: str, may_write: bool, told: str, folder: Path) -> None:
    given = Workspace(folder, writable=may_write, quota=1 << 20)
    with LocalPythonExecutor([], workspace=given) as executor, pytest.raises(InterpreterError) as caught:
        executor(code)
    assert told in str(caught.value)


# ---- both sides


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


# ---- limits


def test_the_kernel_holds_a_program_to_the_quota(folder: Path) -> None:
    with writable(folder, quota=1 << 20) as executor:
        with pytest.raises(InterpreterError, match="No space left"):
            executor("open('big.bin', 'wb', buffering=0).write(bytes(600_000)); open('b', 'wb').write(bytes(600_000))")
        executor("import os\nos.remove('b')")
        with pytest.raises(InterpreterError, match=r"too large|No space left"):
            executor("file = open('sparse', 'wb')\nfile.truncate(64 << 20)")
        assert executor("open('/sandbox/own', 'wb').write(bytes(8 << 20))").output == 8 << 20


def test_without_the_kernel_the_host_takes_no_more_than_the_quota(folder: Path) -> None:
    with writable(folder, UnsafeInProcessExecutor, quota=1 << 20) as executor:
        told = executor("for name in 'abc': open(name, 'wb').write(bytes(400_000))").logs
        assert told.count("it does not fit: the folder takes 1 MB in all") == 1
        assert sorted(set(os.listdir(folder)) & set("abc")) == ["a", "b"]
        assert executor("1").logs == ""
        assert executor("import os\nos.remove('a')").logs == ""
        assert sorted(set(os.listdir(folder)) & set("abc")) == ["b", "c"]
        told = executor("open('huge', 'wb').truncate(1 << 40); open('small', 'w').write('s')").logs
        assert "huge: it does not fit" in told
        assert (folder / "small").read_text() == "s"


def test_a_file_that_grew_beyond_the_quota_stays_as_it_was_here(folder: Path) -> None:
    with writable(folder, UnsafeInProcessExecutor, quota=100_000) as executor:
        told = executor("open('sales.csv', 'wb').write(bytes(200_000))").logs
        assert "sales.csv: it does not fit" in told
    assert (folder / "sales.csv").read_text().startswith("city")


def test_a_renamed_file_that_is_not_taken_is_not_deleted(folder: Path) -> None:
    with writable(folder) as executor:
        told = executor("import os\nos.rename('sales.csv', 'sales\\x01.csv')").logs
        assert "sales.csv: it was kept here" in told
        assert (folder / "sales.csv").exists()
        executor("os.rename('sales\\x01.csv', 'good.csv')")
    assert sorted(contents(folder)) == ["good.csv", "sub", "sub/deeper", "sub/notes.txt"]


def test_a_folder_that_is_too_large_at_the_start_is_an_error(folder: Path) -> None:
    (folder / "large.bin").write_bytes(bytes(2 << 20))
    with (
        writable(folder) as executor,
        pytest.raises(InterpreterError, match=r"its files take .* bytes, and its quota is 1,048,576"),
    ):
        executor("1")


def test_a_folder_with_too_many_files_is_an_error(folder: Path) -> None:
    for number in range(MAX_FILES - len(contents(folder)) + 1):
        os.close(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY))
    with writable(folder) as executor, pytest.raises(InterpreterError, match="more than 10,000 files"):
        executor("1")


def test_more_files_than_are_looked_at_delete_none(folder: Path) -> None:
    with writable(folder, UnsafeInProcessExecutor, quota=64 << 20) as executor:
        told = executor(f"for n in range({MAX_FILES + 10}): open(f'0{{n}}', 'w').close()").logs
        assert "more than 10,000 files" in told
        assert (folder / "sales.csv").exists()
        assert (folder / "sub/notes.txt").exists()


@contextlib.contextmanager
def own_disk(place: Path, size: str) -> Generator[None]:
    """A small disk of its own on a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(not AS_ROOT, reason="only root may make a small disk")
def test_a_full_disk_is_named_and_leaves_the_old_files_whole(folder: Path) -> None:
    place = folder / "disk"
    place.mkdir()
    with own_disk(place, "512k"):
        (place / "old.txt").write_text("old")
        with writable(place, quota=4 << 20) as executor:
            told = executor(
                "open('old.txt', 'wb').write(bytes(2 << 20)); open('b.bin', 'wb').write(bytes(600_000))\n"
                "open('small.txt', 'w').write('s')"
            ).logs
            assert "b.bin: there is no room left on this machine's disk" in told
            assert "old.txt: there is no room left on this machine's disk" in told
            assert contents(place) == {"old.txt": b"old", "small.txt": b"s"}
            executor("import os\nos.remove('b.bin'); open('old.txt', 'w').write('new')")
            assert contents(place) == {"old.txt": b"new", "small.txt": b"s"}


# ---- links and names


def test_links_of_the_folder_are_neither_given_nor_written_through(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(outside / "secret.txt")
    (folder / "way").symlink_to(outside)
    (folder / "sub" / "way").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    before = contents(outside)
    with writable(folder) as executor:
        assert executor("import os\nsorted(os.listdir('.')), sorted(os.listdir('sub'))").output == (
            ["sales.csv", "sub"],
            ["deeper", "notes.txt"],
        )
        told = executor(
            "open('link.txt', 'w').write('forged'); os.mkdir('way'); open('way/secret.txt', 'w').write('forged')\n"
            "os.mkdir('sub/way'); open('sub/way/new.txt', 'w').write('n'); open('pipe', 'w').write('p')"
        ).logs
        assert "link.txt: a link of this name is here" in told
        assert "'way' is a link or a file here" in told
        assert "pipe: a file of this name is here" in told
    assert contents(outside) == before
    assert (folder / "link.txt").is_symlink()
    assert (folder / "way").is_symlink()


def test_a_file_that_became_a_link_meanwhile_is_not_written_through(folder: Path) -> None:
    outside = folder.parent / "secret.txt"
    outside.write_text("secret")

    def swap() -> None:
        (folder / "sales.csv").unlink()
        (folder / "sales.csv").symlink_to(outside)
        shutil.rmtree(folder / "sub")
        (folder / "sub").symlink_to(folder.parent)

    with writable(folder, additional_functions={"swap": swap}) as executor:
        executor("open('sales.csv', 'w').write('forged'); open('sub/secret.txt', 'w').write('forged'); swap()")
    assert outside.read_text() == "secret"
    assert (folder / "sales.csv").is_symlink()


def test_links_and_devices_of_programs_are_not_taken(folder: Path) -> None:
    with writable(folder, UnsafeInProcessExecutor) as executor:
        told = executor(
            "import os\nos.symlink('/etc/passwd', 'link'); os.symlink('sub', 'way'); os.link('sales.csv', 'twin')\n"
            "os.mkfifo('pipe'); open('good.txt', 'w').write('g')"
        ).logs
        for part in ("link: it is a link", "way: it is a link", "pipe: it is no file"):
            assert part in told
        assert "twin: it is a second name of another file" in told
        assert executor("1").logs == ""
        executor("os.remove('twin')")
    assert sorted(contents(folder)) == ["good.txt", "sales.csv", "sub", "sub/deeper", "sub/notes.txt"]


def test_version_control_is_not_for_programs(folder: Path) -> None:
    (folder / ".git" / "hooks").mkdir(parents=True)
    (folder / ".git" / "config").write_text("[core]\n")
    with writable(folder) as executor:
        assert executor("import os\nos.listdir('.').count('.git')").output == 0
        told = executor(
            "os.makedirs('.git/hooks'); open('.git/config', 'w').write('[core]\\nfsmonitor = evil\\n')\n"
            "os.makedirs('sub/.GIT/hooks'); open('sub/.GIT/config', 'w').write('evil')"
        ).logs
        assert told.count("it belongs to version control") == 2
    assert (folder / ".git" / "config").read_text() == "[core]\n"
    assert not (folder / "sub" / ".GIT").exists()


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", "/", "a\0b", "a\nb", "a\x1b[2J",
        "a\\b",
        "..\\x", "\ud800", "x" * 256, "x/" * 40 + "x", "é" * 200, "a\u202egpj.exe", ".git", ".GIT/config", "a/.git/x",
        ".g\u200cit/config", "git~1/config", ".git /config", ".actloop-00.part", ".ACTLOOP/x", "a\x7f", "\u2028",
        None, 5,
        "/".join(["y" * 200] * 10), "a\U000e0041",
    ],
)  # fmt: skip
def test_names_that_no_sandbox_may_use(name: Any) -> None:
    assert unfit(name)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a/b.txt",
        ".env",
        ".gitignore",
        ".github/x.yml",
        "...",
        "..a",
        "a..",
        "ü",
        "🎉",
        "x" * 255,
        "-",
        "~",
        "$HOME",
    ],
)
def test_names_that_a_sandbox_may_use(name: str) -> None:
    assert not unfit(name)


def test_names_that_differ_only_in_case_are_not_taken_together(folder: Path) -> None:
    assert folded("Straße.TXT") == folded("STRASSE.txt")
    with writable(folder) as executor:
        told = executor("open('SALES.csv', 'w').write('x'); open('a', 'w').write('1'); open('A', 'w').write('2')").logs
        assert "SALES.csv: its name differs from 'sales.csv' only in the case" in told
        assert "a: its name differs from 'A' only in the case" in told
    assert (folder / "sales.csv").read_text().startswith("city")
    (folder / "sub" / "NOTES.txt").write_text("there were both before")
    with writable(folder) as executor:
        executor("open('sub/NOTES.txt', 'w').write('1'); open('sub/notes.txt', 'w').write('2')")
    assert ((folder / "sub/NOTES.txt").read_text(), (folder / "sub/notes.txt").read_text()) == ("1", "2")


# ---- types

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.csv", b"x,y\n", "text/csv"),
        ("a.csv", "Müller;3\n".encode("latin-1"), "text/csv"),
        ("a.csv", b"\xff\xfea\0,\0", "text/csv"),
        ("a.csv", PNG, "image/png"),
        ("a.csv", b"\0\0\0\0", "application/octet-stream"),
        ("a.png", PNG, "image/png"),
        ("a.png", b"<script>alert(1)</script>", "application/octet-stream"),
        ("a.png", b"", "image/png"),
        ("a.jpg", PNG, "image/png"),
        ("a.pdf", b"%PDF-1.7", "application/pdf"),
        ("a.pdf", b"MZ\x90", "application/octet-stream"),
        ("a.xlsx", b"PK\x03\x04", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.tar.gz", b"\x1f\x8b\x08", "application/gzip"),
        ("a.wav", b"RIFF\0\0\0\0WAVE", "audio/x-wav"),
        ("a.parquet", b"PAR1", "application/vnd.apache.parquet"),
        ("README", b"# Hello", "text/plain"),
        ("a.unknown-ending", b"\x80\x81", "application/octet-stream"),
        ("plot", PNG, "image/png"),
        ("a.md", b"# x", "text/markdown"),
        ("a.json", b"{}", "application/json"),
        ("a.txt", b"\x7fELF\x02", "application/x-executable"),
        ("a.txt", b"x" * 511 + "é".encode(), "text/plain"),
        ("cut", b"x" * 511 + "é".encode()[:1], "text/plain"),
        ("data:text/html,x.csv", b"x", "text/csv"),
    ],
)
def test_types_are_guessed_from_the_name_and_held_against_the_content(name: str, head: bytes, expected: str) -> None:
    assert file_type(name, head) == expected


def test_a_notice_names_some_and_counts_the_rest() -> None:
    assert FileChanges(Path("/x")).notice() == ""
    assert not FileChanges(Path("/x"))
    told = FileChanges(Path("/x"), refused={f"{n:03}": "why" for n in range(100)}).notice()
    assert told.endswith("80 more")


# ---- without threads, and on an event loop


def test_on_an_event_loop_nothing_blocks(folder: Path) -> None:
    from actloop.runtime.ports import Asyncio, Interrupt

    async def main() -> FileChanges | None:
        port = Asyncio(Interrupt())
        executor = writable(folder, quota=32 << 20)
        session = await executor.open_session(port)
        try:
            await session.start("open('big.bin', 'wb').write(bytes(20 << 20))", port)
            while not isinstance(await session.receive(port), Finished):
                pass
            longest, ticking = 0.0, True

            async def tick() -> None:
                nonlocal longest
                while ticking:
                    before = time.monotonic()
                    await asyncio.sleep(0)
                    longest = max(longest, time.monotonic() - before)

            ticks = asyncio.create_task(tick())
            changes = await session.take_files(port)
            ticking = False
            await ticks
            assert longest > 0
            return changes
        finally:
            session.close()
            port.close()

    changes = asyncio.run(main())
    assert changes is not None
    assert [file.size for file in changes.created] == [20 << 20]


def test_a_session_without_a_workspace_has_nothing_to_take(folder: Path) -> None:
    session = run_now(LocalPythonExecutor([]).open_session(WAITER))
    try:
        assert run_now(session.take_files(WAITER)) is None
    finally:
        session.close()
