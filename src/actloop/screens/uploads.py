"""Files that visitors of a page hand in: checked, renamed where need be, and kept where only their owner reads."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DOCUMENTS = (".pdf", ".docx", ".txt")
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
DEFAULT_FILE_TYPES = (*DOCUMENTS, ".md", ".csv", ".json", ".xlsx", *IMAGES, ".wav", ".mp3")
MEBIBYTE = 1 << 20
_LONGEST_NAME = 100

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"%PDF-", "application/pdf"),
    (rb"PK\x03\x04|PK\x05\x06", "application/zip"),
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"RIFF....WAVE", "audio/wav"),
    (rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", "audio/mpeg"),
    (rb"OggS", "audio/ogg"),
    (rb"fLaC", "audio/flac"),
    (rb"....ftypM4A", "audio/mp4"),
)
_EXPECTED = {
    ".pdf": "application/pdf",
    ".docx": "application/zip",
    ".xlsx": "application/zip",
    ".pptx": "application/zip",
    ".zip": "application/zip",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
}
TEXT = (".txt", ".md", ".csv", ".json", ".tsv", ".py", ".xml", ".yaml", ".yml", ".html")


class RefusedUploadError(ValueError):
    """A file is not taken; the message says why, for the person who sent it."""


def kind_of(data: bytes) -> str | None:
    """The media type that the first bytes of a file tell, or None."""
    for pattern, kind in _SIGNATURES:
        if re.match(pattern, data[:16], re.DOTALL):
            return kind
    return None


def safe_name(name: str) -> str:
    """A file's name without anything that leads elsewhere: no folders, no leading dots, letters, digits and `._-`."""
    name = unicodedata.normalize("NFKC", name).replace("\\", "/").rsplit("/", 1)[-1]
    name = re.sub(r"[^\w.-]", "_", name).lstrip(".-")
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    ending = f"{dot}{ending[:16]}"
    return (stem[: _LONGEST_NAME - len(ending)].rstrip(".") or "file") + ending


@dataclass(frozen=True, slots=True)
class UploadFolder:
    """Where uploads are kept.

    Args:
        path: The folder; made if need be, for its owner alone.
        file_types: Endings that are allowed, such as ".pdf".
        max_bytes: Size that a file may have.
    """

    path: Path
    file_types: Sequence[str] = DEFAULT_FILE_TYPES
    max_bytes: int = 20 * MEBIBYTE

    def make(self) -> None:
        """Make the folder."""
        if not self.path.exists():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def save(self, source: str | Path, file_types: Sequence[str] | None = None) -> Path:
        """Copy a file into the folder, under a name that no other file has.

        Args:
            source: The file, as the server received it.
            file_types: Endings that are allowed, instead of the folder's own.

        Raises:
            RefusedUploadError: Its type or its size is not allowed, or it is no plain file.
        """
        name = safe_name(Path(source).name)
        ending = os.path.splitext(name)[1].lower()
        allowed = [kind.lower() for kind in (self.file_types if file_types is None else file_types)]
        if ending not in allowed:
            raise RefusedUploadError(f"{name}: files of this type are not taken; allowed are {', '.join(allowed)}")
        try:
            descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise RefusedUploadError(f"{name}: {error.strerror}") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise RefusedUploadError(f"{name} is no plain file")
        with os.fdopen(descriptor, "rb") as file:
            if status.st_size > self.max_bytes:
                raise RefusedUploadError(f"{name} is larger than the {_size(self.max_bytes)} that are allowed")
            _check_content(name, ending, file)
            return self._store(name, file)

    def _store(self, name: str, source: IO[bytes]) -> Path:
        for candidate in _names(name):
            path = self.path / candidate
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                descriptor = os.open(path, flags, 0o600)
            except FileExistsError:
                continue
            with os.fdopen(descriptor, "wb") as file:
                left = self.max_bytes
                while left > 0 and (block := source.read(min(left, MEBIBYTE))):
                    file.write(block)
                    left -= len(block)
            return path
        raise AssertionError("there is always another name")


def _check_content(name: str, ending: str, file: IO[bytes]) -> None:
    """Refuse a file whose content is plainly not what its name says."""
    head = file.read(4096)
    file.seek(0)
    expected = _EXPECTED.get(ending)
    if expected is not None and kind_of(head) != expected:
        raise RefusedUploadError(f"{name}: its content is not that of a {ending} file")
    if ending in TEXT and b"\0" in head:
        raise RefusedUploadError(f"{name}: its content is not text")


def _names(name: str) -> Iterator[str]:
    """The name, then the name with a number in it."""
    yield name
    stem, ending = os.path.splitext(name)
    number = 2
    while True:
        yield f"{stem}-{number}{ending}"
        number += 1


def _size(count: int) -> str:
    return f"{count / MEBIBYTE:g} MiB" if count >= MEBIBYTE else f"{count:,} bytes"


def content_of(path: Path) -> str | bytes:
    """What a program is given of an uploaded file: text where it is text, otherwise its bytes."""
    data: Any = path.read_bytes()
    if path.suffix.lower() in TEXT:
        return data.decode("utf-8", "replace")
    return data
