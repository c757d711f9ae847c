"""MIME types of files: guessed from the name, held against the first bytes of the content."""

from __future__ import annotations

import mimetypes
from functools import cache
from pathlib import PurePosixPath

UNKNOWN = "application/octet-stream"
HEAD = 512
"""Bytes of the content that are looked at."""

_MORE = {
    ".md": "text/markdown", ".parquet": "application/vnd.apache.parquet", ".ipynb": "application/x-ipynb+json",
    ".yaml": "application/yaml", ".yml": "application/yaml", ".toml": "application/toml", ".jsonl": "application/jsonl",
    ".webp": "image/webp", ".log": "text/plain", ".sqlite": "application/vnd.sqlite3", ".db": "application/vnd.sqlite3",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}  # fmt: skip

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"), (b"%PDF-", "application/pdf"), (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"), (b"\x1f\x8b", "application/gzip"), (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"), (b"PAR1", "application/vnd.apache.parquet"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"), (b"\x7fELF", "application/x-executable"),
    (b"OggS", "audio/ogg"), (b"fLaC", "audio/flac"),
)  # fmt: skip
_IN_ZIP = ("application/vnd.openxmlformats", "application/vnd.oasis", "application/java-archive", "application/epub")
_SURE = frozenset(kind for _, kind in _BEGINNINGS) - {"application/x-executable"}
"""Types whose files always begin in a known way: without that, the name lies."""
_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16, the text with zeros in it


@cache
def _known() -> mimetypes.MimeTypes:
    known = mimetypes.MimeTypes()  # the same on every machine: no file of the system's is read
    for ending, kind in _MORE.items():
        known.add_type(kind, ending)
    return known


def file_type(name: str, head: bytes) -> str:
    """The MIME type of a file; `application/octet-stream` where the content is not what the name says.

    Args:
        name: Its name.
        head: At least the first `HEAD` bytes of its content, or all of it.
    """
    guessed, packed = _known().guess_type("file" + "".join(PurePosixPath(name).suffixes[-2:]), strict=False)
    if packed is not None:
        guessed = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(packed)
    begins = _beginning(head)
    if guessed is None:
        return begins or ("text/plain" if _is_text(head) else UNKNOWN)
    if not head or begins == guessed or (begins == "application/zip" and guessed.startswith(_IN_ZIP)):
        return guessed
    if begins is not None:
        return begins
    lies = guessed in _SURE or (_is_textual(guessed) and b"\0" in head and head[:2] not in _MARKS)
    return UNKNOWN if lies else guessed


def _beginning(head: bytes) -> str | None:
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/x-wav", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    return next((kind for begin, kind in _BEGINNINGS if head.startswith(begin)), None)


def _is_textual(kind: str) -> bool:
    return kind.startswith("text/") or kind.endswith(("json", "xml", "yaml", "toml", "jsonl"))


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return head[:2] in _MARKS
    try:
        head[:HEAD].decode("utf-8")
    except UnicodeDecodeError as error:
        return len(head) >= HEAD and error.start > HEAD - 4  # cut within a character
    return True
