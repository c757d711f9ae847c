"""Which folders may be given, and what the model is told of them."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from actloop.executors.files.host_folder import HostFolder
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.workspace import Workspace, as_workspace

from .kit import AS_ROOT

if TYPE_CHECKING:
    from pathlib import Path


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
    assert "5,242,880 bytes in all" in told
    shutil.rmtree(folder)
    assert "cannot be read now" in Workspace.instructions(given_of(folder))


def given_of(folder: Path) -> Workspace:
    folder.mkdir()
    given = Workspace(folder)
    folder.rmdir()
    return given
