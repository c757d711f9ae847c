"""One server: connected to when first needed, connected to again when it was lost, and asked.

A connection lives on one event loop. The SDK's client is opened and closed in one task, as it must be, which waits in
between; requests come from other tasks.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mcp.client.subscriptions import ToolsListChanged
from mcp_types import CONNECTION_CLOSED, Implementation, ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from actloop.errors import message_of
from actloop.mcp.errors import MCPConnectionError, MCPTimeoutError, MCPToolError
from actloop.mcp.http import BROKEN, EXPIRED, MARK, UNREACHED, HttpTransport
from actloop.mcp.stdio import StdioTransport
from actloop.values.cuts import cut
from mcp import Client, MCPError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from mcp.shared._stream_protocols import ReadStream
    from mcp.shared.message import SessionMessage

    from actloop.mcp.servers import Options, Server

T = TypeVar("T")

_CLOSING = 10.0
"""Seconds that a connection has to close; the processes of one that takes longer are killed."""

_SETTLING = 0.5
"""Seconds that a lost connection is given to tell why."""

_LONGEST_MESSAGE = 4_000


@dataclass(slots=True)
class _Live:
    """A connection that was made.

    Attributes:
        transport: What it goes over.
        client: The SDK's client, once the two sides have agreed on a protocol.
        stop: Set to close it.
        lost: It ended by itself, or is of no use any more.
        fault: What ended it.
    """

    transport: StdioTransport | HttpTransport
    client: Client | None = None
    task: asyncio.Task[None] | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False
    fault: BaseException | None = None

    def end(self) -> None:
        """The other side is gone."""
        self.lost = True
        self.stop.set()

    def why(self) -> str:
        """What is known of its end."""
        told = self.transport.epitaph()
        if not told and self.fault is not None:
            told = f"{type(self.fault).__name__}: {message_of(self.fault)}"
        return cut(f": {told}", _LONGEST_MESSAGE) if told else ""


class Connection:
    """One server.

    Args:
        server: Where it is.
        options: Limits.
        tools_changed: Called when the server says that its list of tools has changed, or when it was connected to anew.
    """

    def __init__(self, server: Server, options: Options, tools_changed: Callable[[], None]) -> None:
        self.server = server
        self._options = options
        self._tools_changed = tools_changed
        self._live: _Live | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._closed = False

    @property
    def title(self) -> str:
        """The server's own name, as it says; may be empty, and may be anything."""
        client = self._live.client if self._live is not None else None
        info = client.server_info if client is not None else None
        return info.name if info is not None else ""

    def kill(self) -> None:
        """End its process at once; callable from any thread."""
        if self._live is not None:
            self._live.transport.kill()

    async def open(self) -> None:
        """Connect, unless it is connected.

        Raises:
            MCPConnectionError: The server cannot be reached, or speaks no MCP.
            MCPTimeoutError: It took longer than allowed.
        """
        await self._connected()

    async def close(self) -> None:
        """Disconnect, and end the process of a server that was started. Idempotent."""
        self._closed = True
        async with self._lock:
            live, self._live = self._live, None
        if live is not None:
            live.stop.set()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=_CLOSING)
        if late:
            if live is not None:
                live.transport.kill()
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=_CLOSING)

    async def request(
        self, what: str, send: Callable[[Client], Awaitable[T]], *, timeout: float | None, repeatable: bool = False
    ) -> T:
        """Ask the server.

        Args:
            what: Names the request in errors.
            send: Sends it and waits for the answer.
            timeout: Seconds; None for any time.
            repeatable: It may be sent a second time where it is not known whether the first was received.

        Raises:
            MCPToolError: The server answered with an error, or with what is no answer.
            MCPTimeoutError: It did not answer in time; the request was cancelled.
            MCPConnectionError: It cannot be reached, or ended meanwhile.
        """
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                return await self._request(what, send, repeatable)
        except TimeoutError as error:
            if not scope.expired() or isinstance(error, MCPTimeoutError):
                raise
            raise MCPTimeoutError(
                f"{what}: MCP server {self.server.label} did not answer within {timeout:g} s; the request was cancelled"
            ) from None

    async def _request(self, what: str, send: Callable[[Client], Awaitable[T]], repeatable: bool) -> T:
        for again in (True, False):
            live = await self._connected()
            assert live.client is not None
            try:
                return await send(live.client)
            except MCPError as error:
                kind = _kind(error)
                if kind in (EXPIRED, UNREACHED) or live.lost:
                    self._drop(live)
                if again and (kind in (EXPIRED, UNREACHED) or ((live.lost or kind == BROKEN) and repeatable)):
                    continue
                raise await self._failure(what, error, live) from error
            except Exception as error:  # what the SDK raises for an answer that is none
                told = cut(f"{type(error).__name__}: {message_of(error)}", _LONGEST_MESSAGE)
                raise MCPToolError(
                    f"{what}: MCP server {self.server.label} gave an answer that is none: {told}"
                ) from error
        raise AssertionError("unreachable")

    async def _failure(self, what: str, error: MCPError, live: _Live) -> Exception:
        kind, message = _kind(error), cut(error.message or "(no message)", _LONGEST_MESSAGE)
        if kind and kind != BROKEN:
            return MCPConnectionError(f"{what}: MCP server {self.server.label} cannot be asked: {message}")
        unknown = "Whether it did what was asked is not known; the next call connects again."
        if kind == BROKEN:
            return MCPConnectionError(f"{what}: MCP server {self.server.label} gave no answer: {message}. {unknown}")
        if live.lost or (error.code == CONNECTION_CLOSED and error.message == "Connection closed"):
            self._drop(live)
            if live.task is not None:
                await asyncio.wait([live.task], timeout=_SETTLING)  # its exit code tells more
            return MCPConnectionError(
                f"{what}: MCP server {self.server.label} ended before it answered{live.why()}. {unknown}"
            )
        return MCPToolError(f"{what}: {message} (MCP error {error.code})")

    def _drop(self, live: _Live) -> None:
        live.end()
        if self._live is live:
            self._live = None

    async def _connected(self) -> _Live:
        live = self._live
        if live is not None and not live.lost:
            return live
        async with self._lock:
            if self._closed:
                raise MCPConnectionError(
                    f"the MCP client is disconnected from {self.server.label}: call connect() first"
                )
            if self._live is None or self._live.lost:
                self._live = await self._connect()
                self._tools_changed()
            return self._live

    async def _connect(self) -> _Live:
        transport = (StdioTransport if self.server.transport == "stdio" else HttpTransport)(self.server, self._options)
        live = _Live(transport)
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        live.task = task = asyncio.create_task(self._hold(live, opened))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        scope = asyncio.timeout(self._options.connect_timeout)
        try:
            async with scope:
                await opened
        except BaseException as error:
            await _cancelled(task)
            if scope.expired():
                raise MCPTimeoutError(
                    f"MCP server {self.server.label} did not get ready within "
                    f"{self._options.connect_timeout:g} s{live.why()}"
                ) from None
            if not isinstance(error, Exception):
                raise
            live.fault = _cause(error)
            raise MCPConnectionError(f"cannot connect to MCP server {self.server.label}{live.why()}") from error
        return live

    async def _hold(self, live: _Live, opened: asyncio.Future[None]) -> None:
        """Open the SDK's client, keep it until it is told to stop or ends by itself, and close it."""
        logging.getLogger("mcp").addHandler(_SILENT)  # adding one twice does nothing
        try:
            async with Client(
                _tapped(live),
                mode=self._options.mode,
                cache=None,
                client_info=Implementation(name="actloop", version=_version()),
                message_handler=self._heard,
            ) as client:
                live.client = client
                # The SDK holds results against the server's own schema, whose patterns could take forever.
                cast("Any", client.session).validate_tool_result = _unchecked
                if not opened.done():
                    opened.set_result(None)
                listening = asyncio.create_task(self._listen(client))
                try:
                    await live.stop.wait()
                finally:
                    await _cancelled(listening)
        except BaseException as error:
            live.fault = _cause(error)
            if not opened.done():
                opened.set_exception(live.fault if isinstance(live.fault, Exception) else error)
            elif not live.stop.is_set() and isinstance(error, asyncio.CancelledError):
                raise
        finally:
            live.end()

    async def _heard(self, message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._tools_changed()

    async def _listen(self, client: Client) -> None:
        """Newer protocols tell of changes only to those who asked."""
        capabilities = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (capabilities and capabilities.list_changed):
            return
        with suppress(Exception):  # a server that refuses is asked for its tools no less
            async with client.listen(tools_list_changed=True) as changes:
                async for change in changes:
                    if isinstance(change, ToolsListChanged):
                        self._tools_changed()


_SILENT = logging.NullHandler()
"""What the SDK logs goes where the user's program has logs go, and nowhere else."""


async def _unchecked(name: str, result: Any) -> None:
    """In place of the SDK's check; ours comes in the gateway."""


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    while not task.done():
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # it was heard


def _kind(error: MCPError) -> str:
    """Which kind of failure on the way an error is; empty for one that the server gave."""
    if error.code == CONNECTION_CLOSED and error.message.startswith("SSE stream"):
        return BROKEN  # what the SDK answers where the server does not
    data = error.data
    found = cast("dict[str, Any]", data).get(MARK) if isinstance(data, dict) else None
    return found if isinstance(found, str) else ""


def _cause(error: BaseException) -> BaseException:
    """The first error inside a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _version() -> str:
    import actloop

    return actloop.__version__


@asynccontextmanager
async def _tapped(live: _Live) -> AsyncGenerator[tuple[Any, Any]]:
    """A transport's streams, where the end of what is read ends the connection."""
    async with live.transport.open() as (read, write):
        yield _Tap(read, live), write


class _Tap:
    """A stream of messages that tells when it ends."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], live: _Live) -> None:
        self._stream = stream
        self._live = live

    @property
    def last_context(self) -> Any:
        """Context of the sender of the last message, where the stream knows it."""
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """The next message."""
        return await self._stream.receive()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    def __aiter__(self) -> _Tap:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._live.end()
            raise

    async def __aenter__(self) -> _Tap:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._stream.__aexit__(*exc)
