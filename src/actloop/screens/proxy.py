"""The way out for a browser: a proxy on this machine that connects to allowed addresses alone.

A browser follows redirects, loads parts of pages, opens sockets and looks names up by itself, and its own hooks do not
see all of that. What it cannot do is connect past the proxy that it was started with. The check is made on the very
address that is connected to, so that a name that changes its address between check and connection changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from actloop.screens.chromium import MAKER_HOSTS
from actloop.tools.web.errors import ForbiddenAddressError
from actloop.values.addresses import AddressPolicy, addresses_of

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

_HEAD_LIMIT = 64 * 1024
_CONNECT_SECONDS = 20.0
OWN = "x-actloop-proxy"
"""Header of an answer that is the proxy's own, not a server's."""

_HOP_BY_HOP = ("connection:", "proxy-connection:", "proxy-authorization:", "keep-alive:")


class GuardedProxy:
    """An HTTP proxy for one browser, on a free port of the loopback interface.

    Args:
        policy: Which addresses may be reached.
    """

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.failures: list[tuple[str, str]] = []
        """Why connections were refused or failed, latest last."""

    @property
    def address(self) -> str:
        """Where the browser finds it."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_LIMIT)

    async def close(self) -> None:
        """Stop listening, and drop every connection."""
        if self._server is not None:
            self._server.close()
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._pass_on(reader, writer)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the browser shows it as a failed load
        finally:
            self._connections.discard(task)
            await _close(writer)

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, version = head.split("\r\n", 1)[0].split(" ", 2)
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        if url.hostname is None or (method != "CONNECT" and url.scheme != "http"):
            await _answer(writer, "400 Bad Request", "This proxy serves http and https only.")
            return
        port = url.port or (443 if method == "CONNECT" else 80)
        if url.hostname in MAKER_HOSTS:
            await _answer(writer, "403 Forbidden", "No service of the browser's maker is called.")
            return
        try:
            upstream = await asyncio.wait_for(self._connect(url.hostname, port), _CONNECT_SECONDS)
        except ForbiddenAddressError as error:
            self.failures.append((url.hostname, error.message))
            await _answer(writer, "403 Forbidden", error.message)
            return
        except (OSError, TimeoutError) as error:
            told = f"{url.hostname}:{port} cannot be reached: {error or 'time-out'}"
            self.failures.append((url.hostname, told))
            await _answer(writer, "502 Bad Gateway", told)
            return
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = url.path + (f"?{url.query}" if url.query else "")
                upstream[1].write(_forwarded(head, f"{method} {path or '/'} {version}"))
            await _join((reader, writer), upstream)
        finally:
            await _close(upstream[1])

    async def _connect(self, host: str, port: int) -> tuple[StreamReader, StreamWriter]:
        address = self._policy.check_host(host, port)
        if address is not None:
            addresses = [address]
        else:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = addresses_of((str(entry[4][0]) for entry in found), host)
            self._policy.check_addresses(host, port, addresses)
        failure: OSError = OSError("it has no address")
        for candidate in addresses:
            try:
                return await asyncio.open_connection(str(candidate), port)
            except OSError as error:
                failure = error
        raise failure


def _forwarded(head: str, first_line: str) -> bytes:
    """The request as its server is sent it. The connection ends with it: the next may be for another host."""
    lines = head.split("\r\n")[1:-2]
    kept = [line for line in lines if not line.lower().startswith(_HOP_BY_HOP)]
    return "\r\n".join([first_line, *kept, "Connection: close", "", ""]).encode("latin-1")


async def _join(near: tuple[StreamReader, StreamWriter], far: tuple[StreamReader, StreamWriter]) -> None:
    """Carry bytes both ways until the far side has ended, or either is gone."""
    up = asyncio.create_task(_carry(near[0], far[1]))
    down = asyncio.create_task(_carry(far[0], near[1]))
    try:
        await down
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _carry(source: StreamReader, target: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(64 * 1024):
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()


async def _answer(writer: StreamWriter, status: str, text: str) -> None:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\n{OWN}: 1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    )
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
    await writer.drain()


async def _close(writer: StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
