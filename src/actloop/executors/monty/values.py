"""Values as they cross to Monty and back: JSON text in the form of the guest's codec."""

from __future__ import annotations

import re
import secrets
import threading
from typing import TYPE_CHECKING, Any

from actloop.guest import Decoder, Encoder
from actloop.guest.encoders import encode_agent_audio, encode_audio
from actloop.guest.library_encoders import (
    encode_array,
    encode_frame,
    encode_image,
    encode_pandas_index,
    encode_series,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MOST_HELD = 10_000
_HALVES = re.compile("[\ud800-\udfff]")
_STAND_INS = re.compile("[\U0010d800-\U0010dfff]")
_SHIFT = 0x100000
_NO_USE_THERE = {
    encode_agent_audio,
    encode_array,
    encode_audio,
    encode_frame,
    encode_image,
    encode_pandas_index,
    encode_series,
}


class Codec:
    """Values of one session, in both directions.

    What Monty can do nothing with (images, sounds, arrays, tables, live objects) stays here: the program has a handle
    of it, shown as its `repr`, and a tool that is called with the handle gets the value itself.

    Args:
        limit: Bytes that a value may take as text.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[int, Any] = {}
        self._handles: dict[int, int] = {}
        self._keeping = threading.Lock()
        self._first = secrets.randbits(48)  # so that handles of another session, in a snapshot, mean nothing here

    def text(self, value: Any) -> str:
        """A value for Monty.

        Raises:
            EncodeError: It cannot be sent.
        """
        text = _ForMonty(self._limit, inline=True, keep=self._keep).text(value)
        # Monty's text has no halves of UTF-16 pairs; characters that nobody may assign stand for them there.
        return text if text.isascii() else _HALVES.sub(lambda half: chr(ord(half[0]) + _SHIFT), text)

    def value(self, text: str) -> Any:
        """A value of Monty's; untrusted.

        Raises:
            WireError: It is malformed.
        """
        if not text.isascii():
            text = _STAND_INS.sub(lambda half: chr(ord(half[0]) - _SHIFT), text)
        return Decoder(inline=True, limit=max(self._limit, 1 << 16), held=self._held).decode(text)

    def _keep(self, value: Any) -> int | None:
        with self._keeping:
            handle = self._handles.get(id(value))
            if handle is None and len(self._held) < _MOST_HELD:
                handle = self._first + len(self._held)
                self._handles[id(value)] = handle  # which stays its own, as the value is held
                self._held[handle] = value
            return handle


class _ForMonty(Encoder):
    def _container(self, value: Any, encode: Callable[[Encoder, Any], Any]) -> Any:
        return self.opaque(value) if encode in _NO_USE_THERE else super()._container(value, encode)


def joined(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Groups of names, from pairs of which both belong to one; a name that is paired with itself only is one alone."""
    groups: dict[str, list[str]] = {}
    for one, other in pairs:
        into, more = groups.setdefault(one, [one]), groups.setdefault(other, [other])
        if into is not more:
            into.extend(more)
            groups |= dict.fromkeys(more, into)
    return [group for name, group in groups.items() if group[0] == name]
