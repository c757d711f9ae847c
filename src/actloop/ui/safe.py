"""Makes text that came from a model, a tool or a file harmless for a screen."""

from __future__ import annotations

import re

from actloop.values.masking import masked

_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline: escape sequences begin with them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # reorder the text around them
    "\u2028\u2029\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"  # invisible tags
    "\ud800-\udfff"
    "]"
)


def safe_text(text: str, encoding: str = "utf-8", *, mask: bool = True) -> str:
    """The text with every control character made visible as an escape (`\\x1b`); newlines and tabs stay.

    Args:
        text: Anything.
        encoding: Of the stream it goes to; characters that it lacks are written as escapes, too.
        mask: Put `[secret]` in place of keys, tokens and the values of secret environment variables.
    """
    if mask:
        text = masked(text)
    text = _UNSAFE.sub(_visible, text.replace("\r\n", "\n"))
    if encoding.lower().replace("-", "") not in ("utf8", "utf16", "utf32"):
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return {0x0D: "\\r"}.get(code, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
