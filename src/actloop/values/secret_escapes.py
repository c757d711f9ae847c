"""Undoes the escapes of JSON, Python, HTML and URLs in bytes, and tells where what they stand for was before."""

from __future__ import annotations

import html
import re
from bisect import bisect_right

LEVELS = 5
"""Escaping within escaping that is undone: JSON as a text in JSON is two levels."""

_LONG_ESCAPE = re.compile(rb"\\U(?=00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4})")
_LONG = b"\\\xff"
"""Stands for a backslash and a capital U, which in lower case would begin a shorter escape."""

_ESCAPED = re.compile(
    rb"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|%([0-9a-f]{2})"
    rb"|\\n\{([a-z][a-z0-9 -]{1,100})\}|\\([\"'\\/nrtbf])|&(#0*[0-9]{1,7}|#x0*[0-9a-f]{1,6}|[a-z]{2,8});"
    rb"|\\\xff(00(?:0[0-9a-f]|10)[0-9a-f]{4})"
)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def lowered(data: bytes) -> bytes:
    """In lower case; as long as it was."""
    return (_LONG_ESCAPE.sub(lambda _: _LONG, data) if b"\\U" in data else data).lower()


def _unescape(found: re.Match[bytes]) -> bytes:
    """What an escape stands for; in lower case, as everything that is looked at here."""
    high, low, unit, byte, percent, name, letter, entity, long = found.groups()
    if high:
        return bytes.fromhex((high + low).decode()).decode("utf-16-be").encode().lower()
    if unit or long:
        return chr(int(unit or long, 16)).encode("utf-8", "surrogatepass").lower()
    if byte or percent:
        return bytes([int(byte or percent, 16)]).lower()
    if letter:
        return _LETTERS.get(letter, letter)
    if name:
        return _named(name)
    if entity.startswith(b"#"):
        base = b"x" if entity.startswith(b"#x") else b""
        entity = b"#" + base + (entity[1 + len(base) :].lstrip(b"0") or b"0")  # Python reads no endless numbers
    return html.unescape(f"&{entity.decode()};").encode("utf-8", "surrogatepass").lower()


def _named(name: bytes) -> bytes:
    """The character of a name; a line break and the name in braces where there is none."""
    import unicodedata

    try:
        return unicodedata.lookup(name.decode()).encode().lower()
    except KeyError:
        return b"\n{" + name + b"}"


def undone(low: bytes) -> list[bytes]:
    """What is left when escapes are undone, once, twice...; nothing where there are none."""
    views: list[bytes] = []
    for _ in range(LEVELS):
        if not (b"\\" in low or b"%" in low or b"&" in low):
            break
        after = _ESCAPED.sub(_unescape, low)
        if after == low:
            break
        views.append(after)
        low = after
    return views


class Undone:
    """Some bytes with one level of escapes undone, and where each part was before."""

    def __init__(self, low: bytes) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self._was: list[tuple[int, int]] = []
        parts: list[bytes] = []
        size = done = 0
        for found in _ESCAPED.finditer(low):
            letters = _unescape(found)
            if letters == found[0]:
                continue
            parts += [low[done : found.start()], letters]
            size += found.start() - done
            self.starts.append(size)
            size += len(letters)
            self.ends.append(size)
            self._was.append(found.span())
            done = found.end()
        self.data = b"".join([*parts, low[done:]]) if parts else low

    def before(self, place: int, *, end: bool) -> int:
        """Where a place was; the end of a span is that of the escape that its last byte comes from."""
        index = bisect_right(self.starts, place - 1 if end else place) - 1
        if index < 0:
            return place
        if (place <= self.ends[index]) if end else (place < self.ends[index]):
            return self._was[index][1] if end else self._was[index][0]
        return self._was[index][1] + place - self.ends[index]
