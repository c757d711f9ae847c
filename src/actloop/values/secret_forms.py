"""Finds texts that are secret in other text and in bytes: as they are, escaped, and encoded as is usual for sending."""

from __future__ import annotations

import base64
import html
import json
import re
from bisect import bisect_right
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SHORTEST = 6
"""Characters of a secret at least: a shorter one would be masked in the middle of ordinary words."""

_LONG_LINE = 16
"""Characters from which on a line of a longer secret, such as a key in PEM, is masked by itself."""

_LEVELS = 5
"""Escaping within escaping that is undone: JSON as a text in JSON is two levels."""

_CUT = re.compile(rb"\s?\.\.\.")
"""What follows text that was cut."""

_ESCAPED = re.compile(
    rb"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|%([0-9a-f]{2})"
    rb"|\\([\"'\\/nrtbf])|&(#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});"
)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_SEPARATORS = b" \t\r\n\v\f:-"
_BETWEEN = b"[" + re.escape(_SEPARATORS) + b"]*"

Span = tuple[int, int, bytes]


class Finder:
    """Finds some secrets.

    Everything is looked for without regard to case, in UTF-8.

    Args:
        secrets: The name and the value of each; several may have the same name.
    """

    __slots__ = ("_compact", "_forms", "_masks", "_plain", "_raw", "numbers")

    def __init__(self, secrets: Iterable[tuple[str, str]]) -> None:
        known = list(dict.fromkeys(secrets))
        forms: dict[bytes, bytes] = {}
        compact: dict[bytes, bytes] = {}
        plain: dict[bytes, bytes] = {}
        raw: list[tuple[int, bytes]] = []
        for name, value in known:
            mask = mask_of(name).encode()
            stripped = value.strip()
            for text in (
                stripped,
                *(line for line in map(str.strip, stripped.splitlines()) if len(line) >= _LONG_LINE),
            ):
                plain.setdefault(text.encode("utf-8", "surrogatepass").lower(), mask)
            for form in (*_written(stripped), *plain):
                forms.setdefault(form, plain.get(form, mask))
            for form in _encoded(stripped):
                forms.setdefault(form, mask)
                compact.setdefault(form.translate(None, _SEPARATORS), mask)
            wide = _wide(stripped)
            forms |= {form.lower(): mask for form in wide if form.lower() not in forms}
            raw += zip((1, 2, 2, 4, 4), [stripped.encode("utf-8", "surrogatepass"), *wide], strict=True)
        self._forms = sorted(forms.items(), key=lambda item: -len(item[0]))
        self._compact = list(compact.items())
        self._plain = list(plain.items())
        self._raw = raw
        names = b"|".join(re.escape(mask_of(name).encode()) for name, _ in known)
        self._masks = re.compile(names, re.IGNORECASE)
        self.numbers = any(re.fullmatch(r"[+-]?\d+(\.\d+)?", value.strip()) for _, value in known)
        """Whether a number may be a secret."""

    def __bool__(self) -> bool:
        return bool(self._forms)

    def text(self, text: str, *, piece: bool = False) -> str:
        """The text with a mask for each secret; the very same where there is none.

        Args:
            text: Where to look.
            piece: Text goes on before and after this: what may be half a secret at its ends is masked as well.
        """
        if not self._forms or len(text) < SHORTEST:
            return text
        data = text.encode("utf-8", "surrogatepass")
        found = self._masked(data, piece=piece)
        if found is data:
            return text
        try:
            return found.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # half a character beside a secret in UTF-16
            return found.decode("utf-8", "replace")

    def raw(self, data: bytes) -> bytes:
        """As `text`, of bytes."""
        return self._masked(data) if self._forms else data

    def in_numbers(self, data: bytes, width: int = 0) -> bool:
        """Whether the bytes of an array of numbers are a secret's characters: much faster than `raw`.

        Args:
            data: The bytes.
            width: Bytes of each number; 0 where that is not known.
        """
        return any(form in data for size, form in self._raw if width in (0, size))

    def _masked(self, data: bytes, *, piece: bool = False) -> bytes:
        low = data.lower()
        if spans := self._merged(data, [*_spans(low, self._forms), *self._cut(low, piece=piece)]):
            data = _replaced(data, spans)
            low = data.lower()
        views = _undone(low)
        within = any(_any(view, self._forms) for view in views)
        if within and (spans := self._merged(data, self._escaped(low))):
            data = _replaced(data, spans)
            views = _undone(data.lower())
        deepest = views[-1] if views else data.lower()
        compact = deepest.translate(None, _SEPARATORS)
        if len(compact) == len(deepest):
            return data
        apart = [(form, mask) for form, mask in self._compact if form in compact]
        if apart and (spans := self._merged(data, _spans_apart(data.lower(), apart, len(views)))):
            data = _replaced(data, spans)
        return data

    def _escaped(self, low: bytes) -> list[Span]:
        """Where secrets are in what is left when escapes are undone."""
        spans: list[Span] = []
        back: list[_Undone] = []
        for _ in range(_LEVELS):
            level = _Undone(low)
            if not level.starts:
                break
            low = level.data
            back.append(level)
            spans += [_before(span, back) for span in _spans(low, self._forms)]
        return spans

    def _cut(self, low: bytes, *, piece: bool) -> list[Span]:
        """Where the text ends in the middle of a secret: before an ellipsis, or at the ends of a piece."""
        spans: list[Span] = []
        for form, mask in self._plain:
            least = max(SHORTEST, min(len(form) // 4, 12))
            half = max(SHORTEST, (len(form) + 1) // 2)
            place = low.find(form[:least])
            while place >= 0:
                end = place + least
                while end < len(low) and end - place < len(form) and low[end] == form[end - place]:
                    end += 1
                at_end = piece and end == len(low) and end - place >= half
                if end - place < len(form) and (at_end or _CUT.match(low, end)):
                    spans.append((place, end, mask))
                place = low.find(form[:least], place + 1)
            if piece and form[-half:] in low[: len(form)]:
                ends = low.find(form[-half:]) + half
                if form.endswith(low[:ends]):
                    spans.append((0, ends, mask))
        return spans

    def _merged(self, data: bytes, spans: list[Span]) -> list[Span]:
        """Spans in order, without overlaps, and without those in masks that stand there already."""
        if not spans:
            return []
        masks = [found.span() for found in self._masks.finditer(data)]
        merged: list[Span] = []
        for start, end, mask in sorted(spans, key=lambda span: (span[0], -span[1])):
            if any(first <= start and end <= last for first, last in masks):
                continue
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]), merged[-1][2])
            else:
                merged.append((start, end, mask))
        return merged


def mask_of(name: str) -> str:
    """What stands for a secret."""
    return f"[secret {name}]"


def _written(value: str) -> set[bytes]:
    """How a secret is written as text: itself, and escaped in one of the usual ways."""
    forms = {value, value.lower(), value.upper(), value.replace(" ", "+"), html.escape(value)}
    forms |= {repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    raw = value.encode("utf-8", "surrogatepass")
    forms |= {quote(raw), quote(raw, safe=""), quote_plus(raw), repr(raw)[2:-1]}
    if re.fullmatch(r"[0-9a-fA-F-]{32,}", value):
        forms.add(value.replace("-", ""))  # an identifier such as a UUID
    low = {form.encode("utf-8", "surrogatepass").lower() for form in forms}
    low |= set(_undone(raw.lower())[-1:])
    return {form for form in low if len(form) >= SHORTEST}


def _encoded(value: str) -> set[bytes]:
    """A secret in hexadecimal, base64 (once and twice, of UTF-8 and UTF-16) and base32."""
    raw = value.encode("utf-8", "surrogatepass")
    once = _in_base64(raw)
    twice = {form for text in _aligned(raw, base64.b64encode, 6) for form in _aligned(text, base64.b64encode, 6)}
    wide = _in_base64(value.encode("utf-16-le", "surrogatepass"))
    forms = {raw.hex().encode(), *once, *twice, *wide, *_aligned(raw, base64.b32encode, 5)}
    return {form.lower() for form in forms if len(form) > SHORTEST}


def _in_base64(raw: bytes) -> set[bytes]:
    return _aligned(raw, base64.b64encode, 6) | _aligned(raw, base64.urlsafe_b64encode, 6)


def _aligned(raw: bytes, encode: Callable[[bytes], bytes], bits: int) -> set[bytes]:
    """What of an encoded text stands for these bytes alone, wherever they begin in what was encoded.

    Args:
        raw: The bytes.
        encode: The encoding.
        bits: How many of them one character stands for.
    """
    forms: set[bytes] = set()
    for shift in range(3 if bits == 6 else 5):
        first = (shift * 8 + bits - 1) // bits
        last = (shift + len(raw)) * 8 // bits
        forms.add(encode(b"\0" * shift + raw)[first:last])
    return forms


def _wide(value: str) -> list[bytes]:
    """A secret in UTF-16 and UTF-32, as arrays of characters hold it."""
    codecs = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    return [value.encode(codec, "surrogatepass").strip(b"\0") for codec in codecs]


def _any(data: bytes, forms: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(form in data for form, _ in forms)


def _spans(data: bytes, forms: Iterable[tuple[bytes, bytes]]) -> list[Span]:
    spans: list[Span] = []
    for form, mask in forms:
        place = data.find(form)
        while place >= 0:
            spans.append((place, place + len(form), mask))
            place = data.find(form, place + len(form))
    return spans


def _replaced(data: bytes, spans: list[Span]) -> bytes:
    parts: list[bytes] = []
    done = 0
    for start, end, mask in spans:
        parts += [data[done:start], mask]
        done = end
    return b"".join([*parts, data[done:]])


def _unescape(found: re.Match[bytes]) -> bytes:
    """What an escape stands for; in lower case, as everything that is looked at here."""
    high, low, unit, byte, percent, letter, entity = found.groups()
    if high:
        return bytes.fromhex((high + low).decode()).decode("utf-16-be").encode().lower()
    if unit:
        return chr(int(unit, 16)).encode("utf-8", "surrogatepass").lower()
    if byte or percent:
        return bytes([int(byte or percent, 16)]).lower()
    if letter:
        return _LETTERS.get(letter, letter)
    return html.unescape(f"&{entity.decode()};").encode("utf-8", "surrogatepass").lower()


def _undone(low: bytes) -> list[bytes]:
    """What is left when escapes are undone, once, twice...; nothing where there are none."""
    views: list[bytes] = []
    for _ in range(_LEVELS):
        if not (b"\\" in low or b"%" in low or b"&" in low):
            break
        after = _ESCAPED.sub(_unescape, low)
        if after == low:
            break
        views.append(after)
        low = after
    return views


class _Undone:
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


def _before(span: Span, levels: list[_Undone]) -> Span:
    start, end, mask = span
    for level in reversed(levels):
        start, end = level.before(start, end=False), level.before(end, end=True)
    return start, end, mask


def _spans_apart(low: bytes, forms: list[tuple[bytes, bytes]], levels: int) -> list[Span]:
    """Where encoded secrets are whose characters are set apart, by line breaks or colons."""
    back: list[_Undone] = []
    for _ in range(levels):
        back.append(_Undone(low))
        low = back[-1].data
    spans: list[Span] = []
    for form, mask in forms:
        pattern = re.compile(_BETWEEN.join(re.escape(form[place : place + 1]) for place in range(len(form))))
        spans += [_before((*found.span(), mask), back) for found in pattern.finditer(low)]
    return spans
