"""The time zones of this machine for Python in WebAssembly, which has none: as the package `tzdata`, in a zip file."""

from __future__ import annotations

import io
import zipfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def zones() -> bytes:
    """The zip file: from the system's database, or from `tzdata` where that is installed instead."""
    import zoneinfo

    packed = io.BytesIO()
    folders = {"tzdata"}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in sorted(zoneinfo.available_timezones()):
            data = next(_found(key, zoneinfo.TZPATH), None)
            if data is not None:
                path = f"tzdata/zoneinfo/{key}"
                archive.writestr(_entry(path), data)
                folders.update(str(folder) for folder in list(Path(path).parents)[:-1])
        for folder in sorted(folders):
            archive.writestr(_entry(f"{folder}/__init__.py"), b"")
    return packed.getvalue()


def _found(key: str, folders: tuple[str, ...]) -> Iterator[bytes]:
    for folder in folders:
        path = Path(folder, key)
        if path.is_file():
            yield path.read_bytes()
    try:
        yield resources.files("tzdata").joinpath("zoneinfo", key).read_bytes()
    except (ImportError, OSError):
        return


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry without the time at which it was made."""
    return zipfile.ZipInfo(name)
