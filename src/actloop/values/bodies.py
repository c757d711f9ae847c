"""Bodies of HTTP answers, as they come piece by piece from somebody who may mean harm."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

PACKINGS = "gzip"
"""How a body may be packed, as `Accept-Encoding` has it."""

_PIECE = 1 << 16

_VALUE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([\[{])|(,)', re.DOTALL)
"""A text, also one without an end (or each quote in it would be looked at as the beginning of another), or a value."""


class Unpacker:
    """Unpacks a body in pieces of a bounded size: HTTP libraries do not all, and keep what they unpacked.

    Args:
        headers: The answer's headers. What they say of the packing is taken out: nobody is to unpack again.
    """

    def __init__(self, headers: MutableMapping[str, str]) -> None:
        self._packing = headers.pop("content-encoding", "").strip().lower()
        self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if self._packing in ("gzip", "x-gzip") else None

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk of the body holds.

        Raises:
            ValueError: It is packed in another way, or wrongly.
        """
        if self._unpacker is None:
            if self._packing not in ("", "identity"):
                raise ValueError(f"the answer is packed in a way that was not asked for ({self._packing[:20]!r})")
            yield chunk
            return
        try:
            piece = self._unpacker.decompress(chunk, _PIECE)
            while piece:
                yield piece
                piece = self._unpacker.decompress(self._unpacker.unconsumed_tail, _PIECE)
        except zlib.error as error:
            raise ValueError(f"the answer cannot be unpacked ({error})") from None


class EventEnds:
    """Finds where the events of a stream end: at empty lines."""

    def __init__(self) -> None:
        self._before = b""

    def last(self, piece: bytes) -> int:
        """Where the last event that ends in the next piece does; negative where none does."""
        text = self._before + piece
        end = max(at + len(mark) if (at := text.rfind(mark)) >= 0 else -1 for mark in (b"\n\n", b"\n\r\n", b"\r\r"))
        found = end - len(self._before)
        self._before = text[-2:]
        return found


def has_more_values(text: bytes, most: int, most_items: int) -> bool:
    """Whether JSON has more objects and lists, or more items in them, than so many: they take far more than their text.

    Args:
        text: The JSON, or several.
        most: Objects and lists.
        most_items: Items of all objects and lists.
    """
    if text.count(b"{") + text.count(b"[") <= most and text.count(b",") <= most_items:
        return False
    values = items = 0
    for found in _VALUE.finditer(text):  # what stands in texts is no object
        values += found[1] is not None
        items += found[2] is not None
        if values > most or items > most_items:
            return True
    return False
