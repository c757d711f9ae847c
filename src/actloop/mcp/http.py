"""Servers that are spoken to over HTTP.

The SDK's transports leave two things open: a request that cannot be sent ends the whole connection, with every other
call on it, and an answer may be of any length and have any number of parts. The HTTP client made here turns the first
into the answer of that one request, and ends the second before it is decoded.
"""

from __future__ import annotations

import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp_types import INVALID_REQUEST

from actloop.mcp.messages import TOO_MANY, has_too_many
from actloop.mcp.sse import sse_transport
from actloop.values.bodies import PACKINGS, EventEnds, Unpacker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from actloop.mcp.servers import Options, Server

MARK = "actloop"
"""Key under which an error made here says of which kind it is."""

UNREACHED, BROKEN, EXPIRED = "unreached", "broken", "expired"

_SENDING = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""What fails before anything was sent."""

_MOST_ERROR_BYTES = 1 << 16


class HttpTransport:
    """One server behind an address."""

    def __init__(self, server: Server, options: Options) -> None:
        self._server = server
        self._limit = options.max_message_bytes
        self.fault = ""
        """Why the connection ended, where that is known."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[tuple[Any, Any]]:
        """Connect; gives the streams that a session reads and writes."""
        server = self._server
        timeout = httpx2.Timeout(server.timeout, read=server.read_timeout)
        headers = {"Accept-Encoding": PACKINGS, **server.headers}
        async with _Client(self._limit, headers=headers, timeout=timeout, auth=server.auth) as client:
            if server.transport == "sse":
                streams = sse_transport(client, server.url, self._limit, self._blame)
            else:
                streams = streamable_http_client(
                    server.url,
                    http_client=client,
                    terminate_on_close=server.terminate_on_close,
                    max_sse_event_size=self._limit,
                )
            async with streams as pair:
                yield pair

    def _blame(self, fault: str) -> None:
        self.fault = fault

    def kill(self) -> None:
        """There is no process to end."""

    def epitaph(self) -> str:
        """What is known of the end of the connection."""
        return self.fault


class _Client(httpx2.AsyncClient):
    def __init__(self, limit: int, **options: Any) -> None:
        super().__init__(**options)
        self._limit = limit

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request. A POST that fails gets an answer that says why."""
        response = await self._send(request, **options)
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response

    async def _send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            response = await super().send(request, stream=True, **options)
        except httpx2.TransportError as error:
            why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            if request.method != "POST":
                raise
            return _answer(request, 502, UNREACHED if isinstance(error, _SENDING) else BROKEN, why)
        if request.method != "POST" or response.status_code < 400:
            kind = _Events if "event-stream" in response.headers.get("content-type", "").lower() else _Whole
            response.stream = kind(response, self._limit)
            return response
        return await self._refused(request, response)

    async def _refused(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        status = response.status_code
        why = f"it answered {status} {response.reason_phrase}"
        if status == 404 and "mcp-session-id" in request.headers:
            await response.aclose()
            return _answer(request, 404, EXPIRED, "Session terminated")
        response.stream = _Whole(response, _MOST_ERROR_BYTES)
        if status not in (401, 403, 407, 429) and status < 500:
            return response
        try:
            body: Any = json.loads(await response.aread()) if _is_json(response) else None
        except (ValueError, RecursionError, httpx2.HTTPError, httpx2.StreamError):
            body = None
        await response.aclose()
        if isinstance(body, dict) and "jsonrpc" in body:
            return httpx2.Response(status, json=body, request=request)
        return _answer(request, status, BROKEN, why)


def _is_json(response: httpx2.Response) -> bool:
    return "json" in response.headers.get("content-type", "").lower()


def _answer(request: httpx2.Request, status: int, kind: str, message: str) -> httpx2.Response:
    error = {"code": INVALID_REQUEST, "message": message, "data": {MARK: kind}}
    return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": error}, request=request)


class _Body(httpx2.AsyncByteStream):
    """A body that ends with an error before more is handed on than allowed."""

    def __init__(self, response: httpx2.Response, limit: int) -> None:
        self._stream: Any = response.stream
        self._unpacker = Unpacker(response.headers)
        self._limit = limit

    async def _pieces(self) -> AsyncGenerator[bytes]:
        async for chunk in self._stream:
            for piece in self._unpacker.pieces(chunk):
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Whole(_Body):
    """One message."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = bytearray()
        try:
            async with aclosing(self._pieces()) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > self._limit:
                        raise httpx2.StreamError(f"it sent a message of more than {self._limit} bytes")
        except ValueError as error:
            raise httpx2.StreamError(str(error)) from None
        whole = bytes(body)
        if has_too_many(whole):
            raise httpx2.StreamError(TOO_MANY)
        yield whole


class _Events(_Body):
    """A stream of messages, handed on in whole events."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        ends, held = EventEnds(), bytearray()
        try:
            async with aclosing(self._pieces()) as pieces:
                async for piece in pieces:
                    end = ends.last(piece)
                    if end >= 0:
                        yield _checked(bytes(held) + piece[:end])
                        held.clear()
                        piece = piece[end:]
                    held += piece
                    if len(held) > self._limit:
                        raise httpx2.SSEError(f"it sent a message of more than {self._limit} bytes")
        except ValueError as error:
            raise httpx2.SSEError(str(error)) from None
        yield _checked(bytes(held))


def _checked(events: bytes) -> bytes:
    if has_too_many(events):
        raise httpx2.SSEError(TOO_MANY)
    return events
