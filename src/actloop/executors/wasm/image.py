"""The memory image that sessions start from, made on first use: a cold start of Python takes ten times as long."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from actloop.executors import bundle
from actloop.executors.wasm import assets
from actloop.executors.wasm.process import HERE, Plan, make_image
from actloop.executors.wasm.zones import zones

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_MAGIC = (1886286592).to_bytes(4, "little")
"""How Pyodide's images begin."""


@functools.cache
def version() -> str:
    """What an image depends on: Pyodide, the guest, and what loads them."""
    told = hashlib.sha256(assets.PYODIDE.encode())
    for name in ("worker.mjs", "boot.py"):
        told.update((HERE / name).read_bytes())
    told.update(bundle.source().encode())
    return told.hexdigest()[:20]


def guest_file() -> Path:
    """The guest's source as a file."""
    path = assets.cache_folder() / f"guest-{version()}.py"
    if not path.is_file():
        _write(path, bundle.source().encode())
    return path


def zones_file() -> Path:
    """The time zones that programs find."""
    path = assets.cache_folder() / f"zones-{version()}.zip"
    if not path.is_file():
        _write(path, zones())
    return path


def ensure_image(deno: str, pyodide: Path, say: Callable[[str], None] = lambda _: None) -> Path | None:
    """The image's file, which is made first if there is none that is whole; None where none can be had.

    Args:
        deno: Deno's program.
        pyodide: Folder of Pyodide's files.
        say: Called with what happens, if that takes a while.
    """
    path = assets.cache_folder() / f"image-{version()}.bin"
    if _checked(path):
        return path
    try:
        with assets.locked("image"):
            if not _checked(path):
                say("Preparing Pyodide for quick starts (once) ...")
                _store(path, make_image(Plan(deno, pyodide, None, guest_file())))
                _drop_others(path)
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("There is no memory image of Pyodide, so that it starts slowly: %s", error)
        return None
    return path if _checked(path) else None


_known: dict[Path, tuple[int, int, int]] = {}
"""Images that this process has checked, with the file's inode, size and time."""


def _checked(path: Path) -> bool:
    """Whether the image is whole: its hash lies beside it. Read once in a process, as long as the file is the same."""
    try:
        found = path.stat()
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        if _known.get(path) == state:
            return True
        whole = path.with_suffix(".sha256").read_text() == assets.sha256(path)
    except OSError:
        return False
    if whole:
        _known[path] = state
    return whole


def _store(path: Path, image: bytes) -> None:
    if not image.startswith(_MAGIC) or len(image) < 1 << 20:
        raise OSError("what Pyodide gave is no image")
    _write(path, image)
    _write(path.with_suffix(".sha256"), hashlib.sha256(image).hexdigest().encode())


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _drop_others(path: Path) -> None:
    """Delete images of other versions that have not been used for a month."""
    import time

    for other in path.parent.glob("image-*.bin"):
        if other != path and other.stat().st_atime < time.time() - 30 * 86_400:
            other.with_suffix(".sha256").unlink(missing_ok=True)
            other.unlink(missing_ok=True)
