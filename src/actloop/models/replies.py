"""What comes from a service, as far as it is read: for so long, and so much of it.

An HTTP library's time-outs only bound the wait for each byte, and it unpacks and keeps whatever it is sent: a reply of
one packed megabyte may be a thousand, and an event of a stream may never end.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from actloop.values.bodies import EventEnds, Unpacker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import ModuleType

MOST_BYTES = 64 * 2**20
"""Bytes of one reply, unpacked."""

LONGEST_EVENT = 16 * 2**20
"""Bytes of one event of a streamed reply, unpacked."""

_MOST_VALUES = 2_000_000
"""Objects and lists in a whole reply or an event; each takes up to a hundred times the length of its text."""


class OversizedReplyError(Exception):
    """A reply is longer than any can be that is of use; the message says in what."""


def oversized(error: BaseException | None) -> OversizedReplyError | None:
    """The error below those that an SDK raised on top of it."""
    while error is not None and not isinstance(error, OversizedReplyError):
        error = error.__cause__ or error.__context__
    return error


def bound(http: ModuleType, response: Any, deadline: float, *, events: bool) -> None:
    """Let a response that nothing was read of be read within bounds only.

    Args:
        http: The library that it comes from, httpx or httpx2.
        response: The response; reading it raises `OversizedReplyError`, or the library's `ReadTimeout`.
        deadline: When it must have been read, by the monotonic clock.
        events: Whether it is a stream of events, which are read one by one.
    """
    bounds = _Bounds(http, response, deadline, events=events)
    blocking, asynchronous = _streams(http)
    kind = blocking if isinstance(response.stream, http.SyncByteStream) else asynchronous
    response.stream = kind(response.stream, bounds)


class _Bounds:
    def __init__(self, http: ModuleType, response: Any, deadline: float, *, events: bool) -> None:
        self._http: Any = http
        self._request = response.request
        self._deadline = deadline
        self._unpacker = Unpacker(response.headers)
        self._ends = EventEnds() if events else None
        self._bytes = self._unit_bytes = self._unit_values = 0

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk holds, unpacked."""
        wrong = ""
        try:
            for piece in self._unpacker.pieces(chunk):
                self._count(piece)
                yield piece
                self.check_time()
        except ValueError as error:
            wrong = str(error)
        if wrong:  # outside of the handler: the innermost error is the one that is told
            raise self._http.DecodingError(wrong, request=self._request)

    def check_time(self) -> None:
        """Raise if it took too long."""
        if time.monotonic() > self._deadline:
            raise self._http.ReadTimeout("the answer took too long", request=self._request)

    def _count(self, piece: bytes) -> None:
        """Note how much came, of the reply and of the event or whole that is read as one value."""
        self._bytes += len(piece)
        self._unit_bytes += len(piece)
        self._unit_values += piece.count(b"{") + piece.count(b"[")
        if self._bytes > MOST_BYTES:
            raise OversizedReplyError(f"more than {MOST_BYTES >> 20} MiB")
        if self._unit_values > _MOST_VALUES:
            raise OversizedReplyError(f"more than {_MOST_VALUES:,} objects and lists")
        if self._ends is None:
            return
        end = self._ends.last(piece)
        if end >= 0:
            rest = piece[end:]
            self._unit_bytes, self._unit_values = len(rest), rest.count(b"{") + rest.count(b"[")
        elif self._unit_bytes > LONGEST_EVENT:
            raise OversizedReplyError(f"an event of more than {LONGEST_EVENT >> 20} MiB")


@functools.cache
def _streams(http: Any) -> tuple[type[Any], type[Any]]:
    """Bodies that are read within bounds, of the library's own kinds."""

    class Bounded(http.SyncByteStream):
        def __init__(self, stream: Any, bounds: _Bounds) -> None:
            self._stream, self._bounds = stream, bounds

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._stream:
                yield from self._bounds.pieces(chunk)
                self._bounds.check_time()

        def close(self) -> None:
            self._stream.close()

    class AsyncBounded(http.AsyncByteStream):
        def __init__(self, stream: Any, bounds: _Bounds) -> None:
            self._stream, self._bounds = stream, bounds

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                for piece in self._bounds.pieces(chunk):
                    yield piece
                self._bounds.check_time()

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Bounded, AsyncBounded
