"""Values that stand for what cannot cross as it is, and the two errors of the codec."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


_MAX_REPR = 2000


class WireError(ValueError):
    """Bytes that are not what this codec would have written."""


class EncodeError(ValueError):
    """A value cannot be sent: it contains itself, is nested too deeply, or is too large."""


class Opaque:
    """Stands for a value that cannot leave its process.

    Attributes:
        text: The value's `repr`, cut to 2,000 characters.
        type_name: Name of its class.
        handle: In a guest, what the host knows the value by: sent back, it is the value itself. Else None.
    """

    __slots__ = ("handle", "text", "type_name")

    def __init__(self, text: str, type_name: str = "object", handle: int | None = None) -> None:
        self.text = text
        self.type_name = type_name
        self.handle = handle

    def __repr__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Opaque):
            return False
        return (self.text, self.type_name, self.handle) == (other.text, other.type_name, other.handle)

    def __hash__(self) -> int:
        return hash((self.text, self.type_name, self.handle))


class Record:
    """An object as plain data: the name of its class and its fields, readable as attributes, by name or by position.

    Dataclasses, named tuples, enum members, exceptions and pydantic models arrive as records, since a class cannot be
    sent. Records cannot be changed.

    Attributes:
        record_type: Name of the class.
        record_fields: The fields, in order.
    """

    __slots__ = ("record_fields", "record_type")

    record_type: str
    record_fields: dict[str, Any]

    def __init__(self, record_type: str, record_fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "record_type", record_type)
        object.__setattr__(self, "record_fields", dict(record_fields))

    def __getattr__(self, name: str) -> Any:
        if name not in Record.__slots__ and name in self.record_fields:
            return self.record_fields[name]
        raise AttributeError(f"{self.record_type!r} record has no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self.record_type!r} record cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self.record_type!r} record cannot be changed")

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.record_fields[key]
        return tuple(self.record_fields.values())[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.record_fields.values())

    def __len__(self) -> int:
        return len(self.record_fields)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self.record_type == other.record_type and self.record_fields == other.record_fields

    def __hash__(self) -> int:
        return hash((self.record_type, *self.record_fields.items()))

    def __repr__(self) -> str:
        return f"{self.record_type}({', '.join(f'{name}={value!r}' for name, value in self.record_fields.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Record, (self.record_type, self.record_fields))

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self.record_fields]


class Audio:
    """A sound: an audio file's bytes. Nothing of it is decoded before `samples` is called.

    Attributes:
        data: The bytes of a file: WAV, MP3, FLAC, OGG...
        samplerate: Samples a second, where it is known without decoding.
    """

    __slots__ = ("data", "samplerate")

    def __init__(self, data: bytes, samplerate: int | None = None) -> None:
        self.data = bytes(data)
        self.samplerate = samplerate

    def __repr__(self) -> str:
        rate = f", {self.samplerate:,} samples a second" if self.samplerate else ""
        return f"<audio: {len(self.data):,} bytes{rate}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Audio) and (self.data, self.samplerate) == (other.data, other.samplerate)

    def __hash__(self) -> int:
        return hash((self.data, self.samplerate))

    def save(self, path: str) -> None:
        """Write the file."""
        with open(path, "wb") as file:
            file.write(self.data)

    def samples(self) -> list[float] | list[list[float]]:
        """The samples of a WAV file of 16 bits, between -1 and 1; one list for each channel if there are several.

        Raises:
            ValueError: It is no such file, or it is cut off.
        """
        import array
        import io
        import wave

        try:
            with wave.open(io.BytesIO(self.data)) as file:
                channels, width, count = file.getnchannels(), file.getsampwidth(), file.getnframes()
                frames = file.readframes(count)
        except (wave.Error, EOFError) as error:
            raise ValueError(f"only WAV files can be read here, and this is none: {error}") from None
        if width != 2:
            raise ValueError(f"only WAV files of 16 bits can be read here; this one has {8 * width}")
        if len(frames) != count * width * channels:
            raise ValueError("the WAV file is cut off")
        values = array.array("h", frames)
        if sys.byteorder == "big":
            values.byteswap()
        sounds = [[value / 32768 for value in values[place::channels]] for place in range(channels)]
        return sounds[0] if channels == 1 else sounds


def safe_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= _MAX_REPR else text[:_MAX_REPR] + "..."


def shortened(text: str, length: int) -> str:
    """The beginning of a longer text; what is left of a secret is only masked beside an ellipsis."""
    return text if len(text) <= length else text[: length - 3] + "..."


type_of: Callable[[Any], Any] = type
