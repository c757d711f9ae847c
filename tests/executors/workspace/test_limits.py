"""Quotas, the number of files, and full disks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from actloop.errors import InterpreterError, UnsupportedError
from actloop.executors.unsafe import UnsafeInProcessExecutor
from actloop.guest.files import MAX_FILES

from .kit import AS_ROOT, contents, own_disk, writable

if TYPE_CHECKING:
    from pathlib import Path


def test_the_kernel_holds_a_program_to_a_multiple_of_the_quota(folder: Path) -> None:
    with writable(folder, quota=1 << 20) as executor:
        with pytest.raises(InterpreterError, match="No space left") as told:
            executor("for name in 'abcdef': open(name, 'wb').write(bytes(600_000))")
        assert "a: it may be cut" in str(told.value)
        assert sorted(contents(folder)) == ["sales.csv", "sub", "sub/deeper", "sub/notes.txt"]
        executor("import os\nfor name in 'abcde': os.remove(name)")
        assert not (folder / "f").exists()
        with pytest.raises(InterpreterError, match=r"too large|No space left"):
            executor("file = open('sparse', 'wb')\nfile.truncate(64 << 20)")
        assert executor("open('/sandbox/own', 'wb').write(bytes(8 << 20))").output == 8 << 20


def test_without_the_kernel_the_host_takes_no_more_than_the_quota(folder: Path) -> None:
    with writable(folder, UnsafeInProcessExecutor, quota=1 << 20) as executor:
        told = executor("for name in 'abc': open(name, 'wb').write(bytes(400_000))").logs
        assert told.count("it does not fit: the folder takes 1,048,576 bytes in all") == 1
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
        pytest.raises(UnsupportedError, match=r"its files take .* bytes, and its quota is 1,048,576"),
    ):
        executor("1")


def test_a_folder_with_too_many_files_is_an_error(folder: Path) -> None:
    for number in range(MAX_FILES - len(contents(folder)) + 1):
        os.close(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY))
    with writable(folder) as executor, pytest.raises(UnsupportedError, match="more than 10,000 files"):
        executor("1")


def test_more_files_than_are_looked_at_delete_none(folder: Path) -> None:
    with writable(folder, UnsafeInProcessExecutor, quota=64 << 20) as executor:
        told = executor(f"for n in range({MAX_FILES + 10}): open(f'0{{n}}', 'w').close()").logs
        assert "more than 10,000 files" in told
        assert (folder / "sales.csv").exists()
        assert (folder / "sub/notes.txt").exists()


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
