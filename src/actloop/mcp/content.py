"""What servers answer, as Python values."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import math
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from actloop.errors import AgentToolCallError
from actloop.tools.schema import is_class_loaded
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from mcp_types import BlobResourceContents, CallToolResult, TextResourceContents

    from actloop.values.messages import ChatMessage

_LONGEST_ERROR = 10_000
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a server is with a call.

    Attributes:
        progress: Grows with each message.
        total: Where it ends, if that is known.
        message: What is being done, or "".
    """

    progress: float
    total: float | None = None
    message: str = ""

    def __str__(self) -> str:
        """One line."""
        amount = f"{self.progress:g}" if self.total is None else f"{self.progress:g}/{self.total:g}"
        return f"{amount} {self.message}".rstrip()


def result_value(result: CallToolResult, *, structured: bool) -> Any:
    """The value of a tool's result: one part as it is, several as a list, None for none.

    Text is a `str`, an image an `AgentImage`, audio an `AgentAudio`, a resource its text or bytes, a link to one a dict
    with its address.

    Args:
        result: A result that is no error.
        structured: Prefer the structured content, or text that is JSON, as an object.
    """
    if structured and result.structured_content is not None:
        return result.structured_content
    parts = [part_value(part) for part in result.content]
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    if structured and len(parts) == 1 and isinstance(parts[0], str):
        return _parsed(parts[0])
    return _together(parts)


def error_text(result: CallToolResult) -> str:
    """The message of a result that is an error."""
    texts = [str(getattr(part, "text", "") or "") for part in result.content]
    text = "\n".join(text for text in texts if text).strip()
    return cut(text, _LONGEST_ERROR) or "the server gave no reason"


def part_value(part: Any) -> Any:
    """One content block as a value."""
    match part.type:
        case "text":
            return part.text
        case "image" | "audio":
            return _media(part.data, part.mime_type)
        case "resource":
            return resource_value(part.resource)
        case "resource_link":
            link = {"uri": part.uri, "name": part.name, "mime_type": part.mime_type, "description": part.description}
            return {key: value for key, value in link.items() if value is not None}
        case _:
            return part.model_dump(mode="json", by_alias=True, exclude_none=True)


def resource_value(contents: TextResourceContents | BlobResourceContents) -> Any:
    """The text of a resource, or its bytes; an image or audio as such."""
    text = getattr(contents, "text", None)
    if text is not None:
        return text
    return _media(getattr(contents, "blob", ""), contents.mime_type or "")


def resource_values(contents: list[Any]) -> Any:
    """The value of a resource that was read; a list where it has several parts."""
    return _together([resource_value(part) for part in contents])


def prompt_message(message: Any) -> ChatMessage:
    """A message of a prompt as models take it."""
    from actloop.values.messages import ChatMessage, MessageRole

    role = MessageRole.ASSISTANT if message.role == "assistant" else MessageRole.USER
    value = part_value(message.content)
    if is_class_loaded("PIL.Image", "Image", value):
        return ChatMessage(role=role, content=[{"type": "image", "image": value}])
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return ChatMessage(role=role, content=[{"type": "text", "text": text}])


def _together(parts: list[Any]) -> Any:
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else parts


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def argument_value(tool: str, name: str, value: Any) -> Any:
    """An argument as JSON knows it: bytes and images in base64, dates as ISO text, sets and tuples as lists.

    Raises:
        AgentToolCallError: JSON has no form for it; names the tool and the argument.
    """
    try:
        return _plain(value, 0)
    except (TypeError, ValueError) as error:
        raise AgentToolCallError(f"{tool}: argument '{name}' cannot be sent to an MCP server: {error}") from None


def _plain(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    match value:
        case bool() | int() | None:
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} is no JSON number")
            return value
        case str():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(cast("bytes", value))).decode()
        case dict():
            entries = cast("dict[Any, Any]", value).items()
            return {str(key): _plain(item, depth + 1) for key, item in entries}
        case list() | tuple() | set() | frozenset():
            return [_plain(item, depth + 1) for item in cast("list[Any]", value)]
        case dt.date() | dt.time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case Enum():
            return _plain(value.value, depth + 1)
        case _:
            return _plain(_opened(value), depth + 1)


def _opened(value: Any) -> Any:
    """An object as data: an image's bytes, a dataclass's or a model's fields, an array's items."""
    if is_class_loaded("PIL.Image", "Image", value):
        stream = BytesIO()
        value.save(stream, format="PNG")
        return stream.getvalue()
    kind = cast("type[Any]", type(value))
    for method in ("model_dump", "_asdict", "tolist"):
        if callable(getattr(kind, method, None)):
            return getattr(value, method)()
    if is_dataclass(kind):
        return {item.name: getattr(value, item.name) for item in fields(kind)}
    raise TypeError(f"{kind.__name__} is no JSON value")


def _media(data: str, kind: str) -> Any:
    """An image, audio or bytes; what is not what it claims to be stays bytes."""
    try:
        content = base64.b64decode(data, validate=False)
    except (binascii.Error, ValueError):
        return data
    if kind.startswith("image/"):
        return _image(content)
    if kind.startswith("audio/"):
        return _audio(content)
    return content


def _image(content: bytes) -> Any:
    try:
        from actloop.tools.image import AgentImage

        return AgentImage(content)
    except Exception:  # no Pillow; no image, or one that would unfold to far too many pixels
        return content


def _audio(content: bytes) -> Any:
    from actloop.tools.types import AgentAudio

    samples = _wave(content)
    if samples is None:
        try:
            soundfile: Any = import_module("soundfile")
            data, rate = soundfile.read(BytesIO(content), dtype="float32")
            samples = (int(rate), data)
        except Exception:  # no such package, or no audio
            return content
    return AgentAudio(samples)


def _wave(content: bytes) -> Any:
    """Sample rate and samples of a 16-bit WAV, which needs no library but NumPy."""
    import wave

    try:
        import numpy as np

        with wave.open(BytesIO(content), "rb") as file:
            if file.getsampwidth() != 2:
                return None
            rate, channels = file.getframerate(), file.getnchannels()
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32) / 32768.0
        return rate, samples.reshape(-1, channels) if channels > 1 else samples
    except (ImportError, wave.Error, EOFError, ValueError):
        return None
