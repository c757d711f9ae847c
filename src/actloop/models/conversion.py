"""From actloop's messages to the plain mappings that services take.

The agent sends the same growing conversation at every step, so the work for one message must be small: nothing is
copied deeply, and an image is encoded once in its life.
"""

from __future__ import annotations

import base64
import io
import weakref
from typing import TYPE_CHECKING, Any, cast

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
) -> list[dict[str, Any]]:
    """Messages as mappings with `role` and `content`, those of the same role in a row merged into one.

    Args:
        message_list: The conversation; it is not changed.
        role_conversions: Roles to send instead of others.
        convert_images_to_image_urls: Send images as data URLs, not as bare base64.
        flatten_messages_as_text: Send content as plain text instead of a list of parts.

    Raises:
        ValueError: A role is unknown, or an image stands in a message that must be plain text.
    """
    conversions = role_conversions or {}
    cleaned: list[dict[str, Any]] = []
    last_role: str | None = None
    parts: list[dict[str, Any]] = []
    for message in message_list:
        if isinstance(message, dict):
            role, content = message.get("role"), message.get("content")
        else:
            role, content = message.role, message.content
        if role not in _ROLES:
            raise ValueError(f"unknown role of a message: {role!r}; the roles are {', '.join(MessageRole.roles())}")
        role = str(conversions.get(role, role))
        if role != last_role:
            parts = []
            cleaned.append({"role": role, "content": parts})
            last_role = role
        if isinstance(content, str):
            _add_text(parts, content)
            continue
        for part in cast("list[dict[str, Any]]", content or []):
            if part["type"] == "text":
                _add_text(parts, part["text"])
            elif part["type"] == "image":
                if flatten_messages_as_text:
                    raise ValueError("a message holds an image, but flatten_messages_as_text sends text only")
                parts.append(_image_part(part["image"], as_url=convert_images_to_image_urls))
            else:
                parts.append(part)
    if flatten_messages_as_text:
        for item in cleaned:
            item["content"] = "\n".join(part["text"] for part in item["content"])
    return cleaned


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
