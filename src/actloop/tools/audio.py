"""Sound files: read, written, and refused where they are not what they claim to be. WAV needs no further package."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

from actloop.errors import MissingExtraError

MOST_BYTES = 64 * 1024 * 1024
"""Bytes of a sound file that is read."""

MOST_SAMPLES = 100_000_000
"""Samples, of all channels together, that are decoded: about 20 minutes of stereo at 44,100 a second."""

_ENDINGS = ((b"RIFF", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"), (b"\xff\xfb", ".mp3"))


def read_file(path: str) -> bytes:
    """The bytes of a sound file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger than 64 MiB.
    """
    if "://" in path:
        raise ValueError(f"a sound is a path or data; download {path} first")
    with Path(path).open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    return checked(data)


def checked(data: bytes) -> bytes:
    """The bytes of a sound file, if they are not too many.

    Raises:
        ValueError: They are.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"the sound file is too large: at most {MOST_BYTES:,} bytes are read")
    return data


def decode(data: bytes) -> tuple[Any, int]:
    """The samples of a sound file, and how many there are a second.

    Returns:
        A NumPy array of floats between -1 and 1, time by channels if there are several; and the rate.

    Raises:
        MissingExtraError: It is no PCM WAV, and the package `soundfile` is not installed.
        ValueError: It is damaged, too long, or no sound file.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            rate, channels, width, count = (
                file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes()
            )  # fmt: skip
            if width in (2, 4):
                return _samples(file.readframes(min(count, MOST_SAMPLES)), count, channels, width), rate
    except (wave.Error, EOFError):
        pass
    return _decode_with_soundfile(data)


def _samples(frames: bytes, count: int, channels: int, width: int) -> Any:
    import numpy as np

    _check_length(count * channels)
    if len(frames) != count * channels * width:
        raise ValueError("the WAV file is cut off: it holds fewer samples than it says")
    samples = np.frombuffer(frames, dtype=f"<i{width}").astype(np.float32) / float(2 ** (8 * width - 1))
    return samples.reshape(-1, channels) if channels > 1 else samples


def _decode_with_soundfile(data: bytes) -> tuple[Any, int]:
    try:
        import soundfile  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise MissingExtraError("soundfile", "audio", "Reading a sound that is no PCM WAV") from error
    library: Any = soundfile
    try:
        about = library.info(io.BytesIO(data))
        _check_length(about.frames * about.channels)
        return library.read(io.BytesIO(data), dtype="float32")
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"this is no sound file that can be read: {error}") from error


def _check_length(samples: int) -> None:
    if samples > MOST_SAMPLES:
        raise ValueError(f"the sound is too long: {samples:,} samples, at most {MOST_SAMPLES:,} are decoded")


def encode(samples: Any, rate: int) -> bytes:
    """A WAV file of 16 bits.

    Args:
        samples: An array or tensor, or a list of numbers: time, or time by channels; floats between -1 and 1, or
            16-bit integers.
        rate: Samples a second.
    """
    import numpy as np

    array = np.asarray(samples.detach().cpu() if hasattr(samples, "detach") else samples)
    if array.dtype != np.int16:
        array = (np.clip(array.astype(np.float64), -1.0, 1.0) * 32767).round().astype("<i2")
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1 if array.ndim == 1 else array.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(array.tobytes())
    return made.getvalue()


def ending(data: bytes) -> str:
    """The usual ending of such a file's name, such as `.wav`."""
    return next((name for start, name in _ENDINGS if data.startswith(start)), ".audio")
