"""Finds texts that are secret in other text and in bytes: as they are, escaped, and encoded as is usual for sending."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from actloop.values.secret_escapes import LEVELS, Undone, lowered, undone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SHORTEST = 6
"""Characters of a secret at least: a shorter one would be masked in the middle of ordinary words."""

_LONG_LINE = 16
"""Characters from which on a line of a longer secret, such as a key in PEM, is masked by itself."""

_ELLIPSIS = re.compile(rb"\.{3,}|\xe2\x80\xa6")
"""Stands where text was cut."""

_DOTS = (b"...", "\u2026".encode())
_GAPS = b" \t\r\n\"'`()[]{}<>"
_WIDEST_GAP = 4
"""Quotes, brackets and blanks that may stand between an ellipsis and what was cut."""

_LONGEST_CUT = 512
"""Bytes up to which forms other than a secret itself are known by their beginnings and ends."""

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_SEPARATORS = b" \t\r\n\v\f:-"
_BETWEEN = b"[" + re.escape(_SEPARATORS) + b"]*"

Span = tuple[int, int, bytes]


class Finder:
    """Finds some secrets.

    Everything is looked for without regard to case, in UTF-8.

    Args:
        secrets: The name and the value of each; several may have the same name.
    """

    __slots__ = ("_compact", "_cuttable", "_forms", "_grams", "_masks", "_plain", "_raw", "numbers")

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
                plain.setdefault(lowered(text.encode("utf-8", "surrogatepass")), mask)
            for form in (*_written(stripped), *plain):
                forms.setdefault(form, plain.get(form, mask))
            for form in _encoded(stripped):
                forms.setdefault(form, mask)
                compact.setdefault(form.translate(None, _SEPARATORS), mask)
        self._cuttable = [(form, mask) for form, mask in forms.items() if len(form) <= _LONGEST_CUT or form in plain]
        self._grams: frozenset[bytes] | None = None
        """All runs of the fewest bytes in forms that may be cut; made when they are asked for first."""
        for name, value in known:
            mask, stripped = mask_of(name).encode(), value.strip()
            wide = _wide(stripped)
            forms |= {form: mask for form in map(lowered, wide) if form not in forms}
            raw += zip((1, 2, 2, 4, 4), [stripped.encode("utf-8", "surrogatepass"), *wide], strict=True)
        self._forms = sorted(forms.items(), key=lambda item: -len(item[0]))
        self._compact = list(compact.items())
        self._plain = list(plain.items())
        self._raw = raw
        names = b"|".join(re.escape(mask_of(name).encode()) for name, _ in known)
        self._masks = re.compile(names, re.IGNORECASE)
        self.numbers = any(_NUMBER.fullmatch(value.strip()) for _, value in known)
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
        low = lowered(data)
        if spans := self._merged(
            data, [*_spans(low, self._forms), *self._cut(low), *(self._halves(low) if piece else ())]
        ):
            data = _replaced(data, spans)
            low = lowered(data)
        views = undone(low)
        within = any(_any(view, self._forms) or self._cut(view) for view in views)
        if within and (spans := self._merged(data, self._escaped(low))):
            data = _replaced(data, spans)
            views = undone(lowered(data))
        deepest = views[-1] if views else lowered(data)
        compact = deepest.translate(None, _SEPARATORS)
        if len(compact) == len(deepest):
            return data
        apart = [(form, mask) for form, mask in self._compact if form in compact]
        if apart and (spans := self._merged(data, _spans_apart(lowered(data), apart, len(views)))):
            data = _replaced(data, spans)
        return data

    def _escaped(self, low: bytes) -> list[Span]:
        """Where secrets are in what is left when escapes are undone."""
        spans: list[Span] = []
        back: list[Undone] = []
        for _ in range(LEVELS):
            level = Undone(low)
            if not level.starts:
                break
            low = level.data
            back.append(level)
            spans += [_before(span, back) for span in (*_spans(low, self._forms), *self._cut(low))]
        return spans

    def _cut(self, low: bytes) -> list[Span]:
        """Where the beginning of a secret stands before an ellipsis, or its end after one."""
        if not any(dots in low for dots in _DOTS):
            return []
        if self._grams is None:
            self._grams = frozenset(
                form[place : place + SHORTEST]
                for form, _ in self._cuttable
                for place in range(len(form) - SHORTEST + 1)
            )
        spans: list[Span] = []
        for dots in _ELLIPSIS.finditer(low):
            end = dots.start()
            for _ in range(_WIDEST_GAP + 1):
                if low[max(end - SHORTEST, 0) : end] in self._grams:
                    spans += self._beginnings(low, end)
                if not end or low[end - 1] not in _GAPS:
                    break
                end -= 1
            start = dots.end()
            for _ in range(_WIDEST_GAP + 1):
                if low[start : start + SHORTEST] in self._grams:
                    spans += self._ends(low, start)
                if low[start : start + 1] not in _GAPS:
                    break
                start += 1
        return spans

    def _beginnings(self, low: bytes, end: int) -> Iterator[Span]:
        """Beginnings of secrets that end at a place."""
        for form, mask in self._cuttable:
            first = max(end - len(form) + 1, 0)
            for place in _places(form[: _least(form)], low[first:end]):
                if form.startswith(low[first + place : end]):
                    yield first + place, end, mask
                    break

    def _ends(self, low: bytes, start: int) -> Iterator[Span]:
        """Ends of secrets that begin at a place."""
        for form, mask in self._cuttable:
            window, last = low[start : start + len(form) - 1], form[-_least(form) :]
            ends = [place + len(last) for place in _places(last, window)]
            end = next((end for end in reversed(ends) if form.endswith(window[:end])), 0)
            if end:
                yield start, start + end, mask

    def _halves(self, low: bytes) -> list[Span]:
        """Where a piece begins or ends in the middle of a secret."""
        spans: list[Span] = []
        for form, mask in self._plain:
            half = max(SHORTEST, (len(form) + 1) // 2)
            for place in _places(form[:half], low, max(len(low) - len(form), 0)):
                if form.startswith(low[place:]):
                    spans.append((place, len(low), mask))
                    break
            if form[-half:] in low[: len(form)]:
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


def _least(form: bytes) -> int:
    """How many bytes at an end of a form tell that it was cut."""
    return max(SHORTEST, min(len(form) // 4, 10))


def _places(part: bytes, data: bytes, start: int = 0) -> Iterator[int]:
    place = data.find(part, start)
    while place >= 0:
        yield place
        place = data.find(part, place + 1)


def _numbers(value: str) -> set[str]:
    """How the number that a secret is may be shown; nothing where it is none."""
    if not _NUMBER.fullmatch(value):
        return set()
    digits = value.lstrip("+-").lstrip("0")
    shown = {digits, digits.rstrip("0") if "." in digits else digits}
    number = repr(float(value))
    return shown | ({number.lstrip("-")} if "e" in number or "." in digits else set())


def _written(value: str) -> set[bytes]:
    """How a secret is written as text: itself, and escaped in one of the usual ways."""
    forms = {value, value.lower(), value.upper(), value.replace(" ", "+"), html.escape(value)}
    forms |= {
        repr(value)[1:-1],
        ascii(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
    }
    raw = value.encode("utf-8", "surrogatepass")
    forms |= {quote(raw), quote(raw, safe=""), quote_plus(raw), repr(raw)[2:-1], *_numbers(value)}
    if re.fullmatch(r"[0-9a-fA-F-]{32,}", value):
        forms.add(value.replace("-", ""))  # an identifier such as a UUID
    low = {lowered(form.encode("utf-8", "surrogatepass")) for form in forms}
    low |= set(undone(lowered(raw))[-1:])
    low |= {lowered(_narrow(text)) for text in (value, value.lower(), value.upper())}
    return {form for form in low if len(form) >= SHORTEST}


def _narrow(value: str) -> bytes:
    r"""A secret of whose characters those of Latin-1 are one byte each: `\xe9` in a text of Python's is a character."""
    return b"".join(one.encode("latin-1" if one <= "\xff" else "utf-8", "surrogatepass") for one in value)


def _encoded(value: str) -> set[bytes]:
    """A secret in hexadecimal, base64 (once and twice, of UTF-8 and UTF-16) and base32."""
    raw = value.encode("utf-8", "surrogatepass")
    once = _in_base64(raw)
    twice = {form for text in _aligned(raw, base64.b64encode, 6) for form in _aligned(text, base64.b64encode, 6)}
    # Of a text in ASCII the two orders are one: a zero more at an end is no part of it.
    orders = {value.encode(f"utf-16-{order}", "surrogatepass").strip(b"\0") for order in ("le", "be")}
    wide = {form for order in orders for form in _in_base64(order)}
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


def _before(span: Span, levels: list[Undone]) -> Span:
    start, end, mask = span
    for level in reversed(levels):
        start, end = level.before(start, end=False), level.before(end, end=True)
    return start, end, mask


def _spans_apart(low: bytes, forms: list[tuple[bytes, bytes]], levels: int) -> list[Span]:
    """Where encoded secrets are whose characters are set apart, by line breaks or colons."""
    back: list[Undone] = []
    for _ in range(levels):
        back.append(Undone(low))
        low = back[-1].data
    spans: list[Span] = []
    for form, mask in forms:
        pattern = re.compile(_BETWEEN.join(re.escape(form[place : place + 1]) for place in range(len(form))))
        spans += [_before((*found.span(), mask), back) for found in pattern.finditer(low)]
    return spans
