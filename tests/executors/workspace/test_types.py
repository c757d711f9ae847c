"""The types of files, and the notice of what was not kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from actloop.executors.files.media_types import file_type
from actloop.executors.workspace import FileChanges

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
