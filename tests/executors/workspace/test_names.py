"""Links, devices, and names that a sandbox may not use."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from actloop.executors.files.names import folded, unfit
from actloop.executors.unsafe import UnsafeInProcessExecutor

from .kit import contents, writable

if TYPE_CHECKING:
    from pathlib import Path


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
        "f\u200b", "a\u00ad", "\u3164", "x/\u115f", "a\u2060b", "\u0301a", "x/\u0301a", "a\u200d", "\u200ca/x",
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
        "👩\u200d💻.txt",
        "❤\ufe0f",
        "می\u200cخواهم.txt",
        "e\u0301",
        "हिन्दी",
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
