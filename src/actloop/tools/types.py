"""Text, images and audio as agents return them: they behave as what they hold, print as text or a path, and show
themselves in notebooks.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from actloop.guest import Audio
from actloop.tools import audio
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
    """A sound: as a string, the path of a file. Nothing is decoded before `to_raw`.

    Args:
        value: Path or bytes of a file, samples between -1 and 1 as an array or tensor (one channel, or time by
            channels), a pair of sample rate and samples, or a sound that came from a sandbox.
        samplerate: Samples a second.

    Raises:
        TypeError: It is none of these.
        ValueError: The bytes are more than 64 MiB.
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
        self._data: bytes | None = None
        if isinstance(value, AgentAudio):
            self._path, self._samples, self._data = value._path, value._samples, value._data
            self.samplerate = value.samplerate
        elif isinstance(value, str | Path):
            self._path = str(value)
        elif isinstance(value, bytes):
            self._data = audio.checked(value)
        elif isinstance(value, Audio):
            self._data, self.samplerate = audio.checked(value.data), value.samplerate or samplerate
        elif isinstance(value, tuple):
            self.samplerate, self._samples = cast("tuple[int, Any]", value)
        elif hasattr(value, "__array__"):
            self._samples = value
        else:
            raise TypeError(f"audio is a path, an array or a pair (sample rate, array), not {type(value).__name__}")

    __hash__ = str.__hash__

    def __repr__(self) -> str:
        """What it is, not the path of a file that may not be there."""
        return repr(self._path) if self._path is not None else f"<audio, {self.samplerate:,} samples a second>"

    def to_raw(self) -> Any:
        """The samples, as they were given or as read from the file (a NumPy array, time by channels if several).

        Raises:
            MissingExtraError: The file is no PCM WAV, and the package `soundfile` is not installed.
            OSError: The file cannot be read.
            ValueError: It is damaged, too large, or no sound file.
        """
        if self._samples is None:
            self._samples, self.samplerate = audio.decode(self.to_audio().data)
        return self._samples

    def to_string(self) -> str:
        """Path of a file that holds the sound; written to a temporary file first where there is none."""
        if self._path is None:
            import tempfile

            data = self.to_audio().data
            handle, path = tempfile.mkstemp(suffix=audio.ending(data))
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            self._path = path
        return self._path

    def to_audio(self) -> Audio:
        """The sound as the bytes of a file: as they are, or else as WAV of 16 bits.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is larger than 64 MiB.
        """
        if self._data is not None:
            return Audio(self._data, self.samplerate)
        if self._samples is not None:
            return Audio(audio.encode(self._samples, self.samplerate), self.samplerate)
        return Audio(audio.read_file(self._path or ""))

    def _ipython_display_(self, include: Any = None, exclude: Any = None) -> None:  # noqa: ARG002
        from IPython.display import Audio, display  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

        display(Audio(self.to_string(), rate=self.samplerate))


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
    if output_type == "audio" or isinstance(output, Audio) or is_class_loaded("torch", "Tensor", output):
        return AgentAudio(output)
    return output
