"""Images and sounds as files that a web page may show."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.screens.uploads import kind_of

if TYPE_CHECKING:
    from actloop.tools.types import AgentAudio


def image_file(image: Any, folder: Path | None = None) -> str:
    """Path of a PNG of an image, written anew: a page is never pointed to a path that came from elsewhere.

    Args:
        image: A `PIL.Image.Image`, or an `AgentImage`.
        folder: Where to put it; the temporary one by default.
    """
    raw = image.to_raw() if hasattr(image, "to_raw") else image
    if raw.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        raw = raw.convert("RGB")
    descriptor, path = _new_file(folder, ".png")
    with os.fdopen(descriptor, "wb") as file:
        raw.save(file, format="PNG")
    return path


def audio_file(sound: AgentAudio, folder: Path | None = None) -> str:
    """Path of a copy of a sound's file.

    Args:
        sound: The sound.
        folder: Where to put it; the temporary one by default.

    Raises:
        ValueError: Its file holds no sound.
    """
    source = Path(sound.to_string())
    data = source.read_bytes()
    kind = kind_of(data)
    if kind is None or not kind.startswith("audio/"):
        raise ValueError(f"{source.name} is no sound that a page can play")
    descriptor, path = _new_file(folder, source.suffix if source.suffix.lower() in _SOUNDS else ".wav")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return path


_SOUNDS = (".wav", ".mp3", ".ogg", ".flac", ".m4a")


def _new_file(folder: Path | None, suffix: str) -> tuple[int, str]:
    path = (folder or Path(tempfile.gettempdir())) / f"{secrets.token_hex(12)}{suffix}"
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), str(path)
