"""From actloop's messages to the plain mappings that services take.

The agent sends the same growing conversation at every step, so the work for one message must be small: nothing is
copied deeply, and an image is encoded once in its life.
"""

from __future__ import annotations

import base64
import io
import weakref
from typing import TYPE_CHECKING, Any

from actloop.models.pairing import paired
from actloop.values.calls import arguments_as_text, in_words
from actloop.values.messages import ChatMessage, MessageRole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

tool_role_conversions: dict[str, str] = {
    MessageRole.TOOL_CALL: MessageRole.ASSISTANT,
    MessageRole.TOOL_RESPONSE: MessageRole.USER,
}
"""Roles of tool messages for services that only know user, assistant and system."""

_ROLES = frozenset(MessageRole.roles())
_IMAGE_URLS: dict[int, tuple[weakref.ref[Any], str]] = {}


def get_clean_message_list(
    message_list: Sequence[ChatMessage | dict[str, Any]],
    role_conversions: Mapping[str, str] | None = None,
    convert_images_to_image_urls: bool = False,
    flatten_messages_as_text: bool = False,
    native_tool_calls: bool = False,
) -> list[dict[str, Any]]:
    """Messages as mappings with `role` and `content`, those of the same role in a row merged into one.

    A message with tool calls, and one that answers a call by its id, keep these where the service knows them; elsewhere
    the calls become a text that the model reads as its own words, and the answer an observation that the user tells.

    Args:
        message_list: The conversation; it is not changed.
        role_conversions: Roles to send instead of others.
        convert_images_to_image_urls: Send images as data URLs, not as bare base64.
        flatten_messages_as_text: Send content as plain text instead of a list of parts.
        native_tool_calls: Send calls as `tool_calls` in OpenAI's form, their answers as messages of the role `tool`.

    Raises:
        ValueError: A role is unknown, or an image stands in a message that must be plain text.
    """
    conversions = role_conversions or {}
    cleaned: list[dict[str, Any]] = []
    last_role: str | None = None
    parts: list[dict[str, Any]] = []
    messages = as_messages(message_list)
    for message in paired(messages) if native_tool_calls else in_words(messages):
        native = native_tool_calls and bool(message.tool_calls or message.tool_call_id is not None)
        role = (
            "tool" if native and message.tool_call_id is not None else str(conversions.get(message.role, message.role))
        )
        if native or role != last_role:
            parts = []
            cleaned.append({"role": role, "content": parts})
            last_role = None if native else role  # nothing is merged into a call or its answer
        _add_content(parts, message.content, convert_images_to_image_urls, flatten_messages_as_text)
        if native:
            _add_native(cleaned[-1], message)
    if flatten_messages_as_text:
        for item in cleaned:
            item["content"] = "\n".join(part["text"] for part in item["content"] or ())
    return cleaned


def as_messages(given: Sequence[ChatMessage | dict[str, Any]]) -> list[ChatMessage]:
    """Messages, where some may be plain mappings.

    Raises:
        ValueError: A role is unknown.
    """
    return [message if isinstance(message, ChatMessage) else _from_mapping(message) for message in given]


def _from_mapping(given: dict[str, Any]) -> ChatMessage:
    role = given.get("role")
    if role not in _ROLES:
        raise ValueError(f"unknown role of a message: {role!r}; the roles are {', '.join(MessageRole.roles())}")
    return ChatMessage.from_dict(given)


def _add_content(
    parts: list[dict[str, Any]], content: str | list[dict[str, Any]] | None, urls: bool, flat: bool
) -> None:
    if isinstance(content, str):
        _add_text(parts, content)
        return
    for part in content or []:
        if part["type"] == "text":
            _add_text(parts, part["text"])
        elif part["type"] == "image":
            if flat:
                raise ValueError("a message holds an image, but flatten_messages_as_text sends text only")
            parts.append(_image_part(part["image"], as_url=urls))
        else:
            parts.append(part)


def _add_native(item: dict[str, Any], message: ChatMessage) -> None:
    if message.tool_call_id is not None:
        item["content"] = item["content"] or ""
        item["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        item["content"] = item["content"] or None  # services refuse an empty list, and want none at all
        item["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": arguments_as_text(call.function.arguments)},
            }
            for call in message.tool_calls
        ]


def _add_text(parts: list[dict[str, Any]], text: str) -> None:
    if parts and parts[-1]["type"] == "text":
        parts[-1]["text"] += "\n" + text
    else:
        parts.append({"type": "text", "text": text})


def _image_part(image: Any, *, as_url: bool) -> dict[str, Any]:
    url = image_url(image)
    if as_url:
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "image", "image": url.partition(",")[2]}


def image_url(image: Any) -> str:
    """An image as a URL that a service can read.

    Args:
        image: A PIL image (sent as PNG and encoded once: later changes to it are not seen), the bytes of an image
            file, or a URL, which stays as it is.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(image, str):
        return image
    if isinstance(image, bytes):
        return f"data:{_media_type(image)};base64,{base64.b64encode(image).decode()}"
    key = id(image)
    known = _IMAGE_URLS.get(key)
    if known is not None and known[0]() is image:
        return known[1]
    if not hasattr(image, "save"):
        raise TypeError(f"cannot send {type(image).__name__} as an image: give a PIL image, bytes or a URL")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    _IMAGE_URLS[key] = (weakref.ref(image, lambda _: _IMAGE_URLS.pop(key, None)), url)
    return url


def _media_type(data: bytes) -> str:
    for start, name in ((b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp")):
        if data.startswith(start):
            return f"image/{name}"
    return "image/png"
