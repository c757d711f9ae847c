"""Text, images and audio as agents return them: they behave as what they hold, print as text or a path, and show
themselves in notebooks.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from actloop.tools.schema import is_class_loaded

if TYPE_CHECKING:
    from actloop.tools.image import AgentImage

__all__ = [
    "AgentAudio",
    "AgentImage",
    "AgentText",
    "AgentType",
    "handle_agent_input_types",
    "handle_agent_output_types",
]


class AgentType:
    """Something that an agent or a tool returns, in a form for people and notebooks.

    Args:
        value: What it wraps.
    """

    def __init__(self, value: Any) -> None:
        self._value = value

    def __str__(self) -> str:
        """As `to_string`."""
        return self.to_string()

    def to_raw(self) -> Any:
        """The wrapped value itself."""
        return self._value

    def to_string(self) -> str:
        """The value as text; for media the path of a file that holds it."""
        return str(self._value)


class AgentText(AgentType, str):
    """Text; a `str` in every way."""

    __slots__ = ()

    __hash__ = str.__hash__


class AgentAudio(AgentType, str):
    """A sound: as a string, the path of a file.

    Args:
        value: Path of a file, samples between -1 and 1 as an array or tensor (one channel, or time by channels), or a
            pair of sample rate and samples.
        samplerate: Samples a second.

    Raises:
        TypeError: It is none of these.
    """

    __slots__ = ()

    def __new__(cls, value: Any, samplerate: int = 16_000) -> AgentAudio:  # noqa: ARG004
        """A string that is the path, where there is one already."""
        return str.__new__(cls, value if isinstance(value, str | Path) else "")

    def __init__(self, value: Any, samplerate: int = 16_000) -> None:
        super().__init__(value)
        self.samplerate: int = samplerate
        self._path: str | None = None
        self._samples: Any = None
        if isinstance(value, AgentAudio):
            self._path, self._samples, self.samplerate = value._path, value._samples, value.samplerate
        elif isinstance(value, str | Path):
            self._path = str(value)
        elif isinstance(value, tuple):
            self.samplerate, self._samples = cast("tuple[int, Any]", value)
        elif hasattr(value, "__array__"):
            self._samples = value
        else:
            raise TypeError(f"audio is a path, an array or a pair (sample rate, array), not {type(value).__name__}")

    __hash__ = str.__hash__

    def to_raw(self) -> Any:
        """The samples, as they were given or as read from the file (a NumPy array, time by channels if several).

        Raises:
            ImportError: The file is no PCM WAV, and the package `soundfile` is not installed.
        """
        if self._samples is None and self._path is not None:
            self._samples, self.samplerate = _read_audio(self._path)
        return self._samples

    def to_string(self) -> str:
        """Path of a file that holds the sound; samples are written to a temporary WAV file first."""
        if self._path is None:
            import tempfile

            handle, path = tempfile.mkstemp(suffix=".wav")
            os.close(handle)
            _write_wave(path, self._samples, self.samplerate)
            self._path = path
        return self._path

    def _ipython_display_(self, include: Any = None, exclude: Any = None) -> None:  # noqa: ARG002
        from IPython.display import Audio, display  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

        display(Audio(self.to_string(), rate=self.samplerate))


def _read_audio(path: str) -> tuple[Any, int]:
    import wave

    import numpy as np

    try:
        with wave.open(path, "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
        if width in (2, 4):
            samples = np.frombuffer(data, dtype=f"<i{width}").astype(np.float32) / float(2 ** (8 * width - 1))
            return samples.reshape(-1, channels) if channels > 1 else samples, rate
    except wave.Error:
        pass
    try:
        import soundfile  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"reading {path} needs the package 'soundfile': pip install soundfile") from error
    return soundfile.read(path, dtype="float32")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


def _write_wave(path: str, samples: Any, rate: int) -> None:
    import wave

    import numpy as np

    array = np.asarray(samples.detach().cpu() if hasattr(samples, "detach") else samples)
    if array.dtype != np.int16:
        array = (np.clip(array.astype(np.float64), -1.0, 1.0) * 32767).round().astype("<i2")
    with wave.open(path, "wb") as file:
        file.setnchannels(1 if array.ndim == 1 else array.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(array.tobytes())


def __getattr__(name: str) -> Any:
    """`AgentImage` is an image of Pillow's, which is imported only when it is named."""
    if name == "AgentImage":
        from actloop.tools.image import AgentImage

        return AgentImage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def handle_agent_input_types(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with every `AgentType` replaced by what it wraps."""
    return (
        tuple(arg.to_raw() if isinstance(arg, AgentType) else arg for arg in args),
        {name: value.to_raw() if isinstance(value, AgentType) else value for name, value in kwargs.items()},
    )


def handle_agent_output_types(output: Any, output_type: str | None = None) -> Any:
    """A result wrapped in the `AgentType` of its declared type, or else of its own; None and others stay as they are.

    Args:
        output: What a tool or an agent returned.
        output_type: The tool's `output_type`; "string", "image" and "audio" are wrapped without a look at the value.
    """
    if output is None or isinstance(output, AgentType):
        return output
    if output_type == "string" or (isinstance(output, str) and output_type not in ("image", "audio")):
        return AgentText(output)
    if output_type == "image" or is_class_loaded("PIL.Image", "Image", output):
        from actloop.tools.image import AgentImage

        return AgentImage(output)
    if output_type == "audio" or is_class_loaded("torch", "Tensor", output):
        return AgentAudio(output)
    return output
