"""`MCPClient`: the tools of MCP servers, for agents and for programs."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from actloop.errors import MissingExtraError
from actloop.mcp.errors import MCPConnectionError, MCPToolError
from actloop.mcp.offers import Offers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future
    from types import TracebackType

    from mcp_types import CallToolResult

    from actloop.mcp.background import Background
    from actloop.mcp.connection import Connection
    from actloop.mcp.content import Progress
    from actloop.mcp.tools import MCPTool
    from mcp import StdioServerParameters

T = TypeVar("T")

_MOST_PROGRESS = 1000
"""Progress messages of one call that are passed on."""

_CLOSING = 30.0
"""Seconds that all servers together have to close; each has its own, shorter limit."""


class MCPClient(Offers):
    """Connects to one or several MCP servers and gives their tools.

    The constructor connects; a `with` block gives the tools and disconnects. Inside a running event loop the
    constructor does not wait: `async with` does.

        with MCPClient({"url": "http://127.0.0.1:8000/mcp"}) as tools:
            agent = CodeAgent(tools=tools, model=model)

        async with MCPClient(StdioServerParameters(command="server")) as tools:
            ...

    A client may be used from many threads and event loops at once. A server that ended or was started anew is connected
    to again at the next call. Where a call was under way it fails, unless the server says that the tool may be called
    twice. Tools with the same name on several servers get the server's name before theirs. After `os.fork`, parent and
    child each have connections of their own.

    Args:
        server_parameters: `StdioServerParameters`, or a dict with "url" and, as wanted, "transport"
            ("streamable-http", the default, or "sse", the default for an address that ends in /sse), "headers", "auth"
            (as httpx2 takes it), "timeout" and "sse_read_timeout" (seconds), "terminate_on_close" and "name"; or a dict
            with "command" and the other fields of `StdioServerParameters`; or a list of these.
        adapter_kwargs: `connect_timeout` (seconds, 30), `call_timeout` (seconds, 300; None for any time; also
            `client_session_timeout_seconds`), `max_message_bytes` (32 MiB, unpacked), `max_tools` of a server
            (1000), `mode` ("auto", or "legacy" for the handshake of protocols before 2026), and `on_progress`, called
            with a tool's name and a `Progress`.
        structured_output: True gives structured results as objects and tools their `output_schema`. False, and None,
            the default, give text, images and audio as the server sends them.

    Raises:
        MCPConnectionError: A server cannot be reached, or speaks no MCP.
        MCPTimeoutError: A server took too long to get ready.
        MissingExtraError: The package `mcp` is not installed.
        TypeError, ValueError: The parameters cannot be used.
    """

    def __init__(
        self,
        server_parameters: StdioServerParameters
        | dict[str, Any]
        | str
        | list[StdioServerParameters | dict[str, Any] | str],
        adapter_kwargs: dict[str, Any] | None = None,
        structured_output: bool | None = None,
    ) -> None:
        if find_spec("mcp") is None:
            raise MissingExtraError("mcp", "mcp", "MCPClient")
        from actloop.mcp.servers import parse_options, parse_servers

        options = dict(adapter_kwargs or {})
        self._on_progress: Callable[[str, Progress], Any] | None = options.pop("on_progress", None)
        self._options = parse_options(options)
        self._servers = parse_servers(server_parameters)
        self._structured = bool(structured_output)
        self._lock = threading.Lock()
        self._background: Background | None = None
        self._connections: list[Connection] = []
        self._opening: Future[list[MCPTool]] | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None
        self._tools: list[MCPTool] = []
        self._stale = False
        self._wanted = False
        if _in_event_loop():
            self._begin()
        else:
            self.connect()

    # Connecting

    def connect(self) -> None:
        """Connect to the servers and read their tools; does nothing while connected.

        Raises:
            MCPConnectionError: A server cannot be reached; then none stays connected.
            MCPTimeoutError: A server took too long.
        """
        background, opening = self._begin()
        try:
            background.wait(_result(opening))
        except BaseException:
            self.disconnect()
            raise

    async def aconnect(self) -> None:
        """As `connect`, on the running event loop."""
        background, opening = self._begin()
        try:
            await background.wait_async(_result(opening))
        except BaseException:
            await self.adisconnect()
            raise

    def _begin(self) -> tuple[Background, Future[list[MCPTool]]]:
        """Start to connect, unless that was done in this process."""
        with self._lock:
            self._wanted = True
            if self._background is not None and self._background.usable and self._opening is not None:
                return self._background, self._opening
            background = self._start()
            self._opening = background.submit(self._open())
            return background, self._opening

    def _start(self) -> Background:
        from actloop.mcp.background import Background
        from actloop.mcp.connection import Connection

        changed = weakref.WeakMethod(self._tools_changed)
        if self._background is not None:
            _inherited.append((self._background, self._connections))
        background = self._background = Background()
        self._connections = [
            Connection(server, self._options, lambda: (changed() or _nothing)()) for server in self._servers
        ]
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _shut, background, self._connections)
        return background

    async def _open(self) -> list[MCPTool]:
        outcomes = await asyncio.gather(*(item.open() for item in self._connections), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return await self._list()

    def disconnect(
        self,
        exc_type: type[BaseException] | None = None,  # noqa: ARG002
        exc_value: BaseException | None = None,  # noqa: ARG002
        exc_traceback: TracebackType | None = None,  # noqa: ARG002
    ) -> None:
        """Disconnect from the servers, and end those that were started with all of their processes. Idempotent."""
        background, connections = self._leave()
        if background is not None:
            _shut(background, connections)

    async def adisconnect(self) -> None:
        """As `disconnect`, on the running event loop."""
        background, connections = self._leave()
        if background is None or not background.usable:
            return
        try:
            await asyncio.wrap_future(background.submit(_close(connections)))
        finally:
            background.stop()

    def _leave(self) -> tuple[Background | None, list[Connection]]:
        with self._lock:
            background, connections = self._background, self._connections
            self._background, self._opening, self._wanted = None, None, False
            self._tools = []
            if self._finalizer is not None:
                self._finalizer.detach()
                self._finalizer = None
        if background is not None and not background.own:
            _inherited.append((background, connections))
            return None, []
        return background, connections

    def __enter__(self) -> list[MCPTool]:
        """Connected, and the tools."""
        self.connect()
        return self.get_tools()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self.disconnect(exc_type, exc_value, exc_traceback)

    async def __aenter__(self) -> list[MCPTool]:
        """Connected, and the tools."""
        await self.aconnect()
        return await self.aget_tools()

    async def __aexit__(self, *exc: object) -> None:
        await self.adisconnect()

    # Tools

    def get_tools(self) -> list[MCPTool]:
        """The servers' tools as they are now: a server that says that its list has changed is asked again.

        Raises:
            ValueError: The client is not connected.
        """
        self._check_connected()
        return self._wait(self._current())

    async def aget_tools(self) -> list[MCPTool]:
        """As `get_tools`, on the running event loop."""
        self._check_connected()
        return await self._await(self._current())

    def _check_connected(self) -> None:
        if not self._wanted:
            raise ValueError("the MCP client is not connected, so it has no tools: call connect() first")

    async def _current(self) -> list[MCPTool]:
        opening = self._opening
        if opening is not None:
            await asyncio.wrap_future(opening)
        return await self._list() if self._stale else list(self._tools)

    def _tools_changed(self) -> None:
        self._stale = True

    async def _list(self) -> list[MCPTool]:
        from actloop.mcp.listing import listed_tools, named_tools
        from actloop.mcp.tools import MCPTool

        for connection in self._connections:
            await connection.open()
        self._stale = False
        most, limit = self._options.max_tools, self._options.connect_timeout
        try:
            listed = await asyncio.gather(
                *(
                    item.request("list of tools", lambda c: listed_tools(c, most), timeout=limit, repeatable=True)
                    for item in self._connections
                )
            )
        except BaseException:
            self._stale = True
            raise
        labels = [item.server.name or item.title for item in self._connections]
        self._tools = [
            MCPTool(self, server, name, tool, structured=self._structured)
            for server, name, tool in named_tools(labels, listed)
        ]
        return list(self._tools)

    def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        on_progress: Callable[[str, Progress], Any] | None = None,
    ) -> Any:
        """Call a tool by its name here.

        Args:
            name: As in `get_tools`.
            arguments: By name.
            timeout: Seconds, instead of the client's `call_timeout`.
            on_progress: Called with the tool's name and a `Progress`, in a thread of the client's.

        Raises:
            KeyError: There is no such tool.
            MCPToolError: The tool failed; the message is the server's.
            MCPTimeoutError: No answer came in time; the call was cancelled on the server.
            MCPConnectionError: The server cannot be reached, or ended meanwhile.
            AgentInterruptedError: The run that made the call was interrupted; so was the call on the server.
        """
        tool = self._tool_named(self.get_tools(), name)
        return self.call_listed(tool, tool.prepared((), arguments or {}), timeout=timeout, on_progress=on_progress)

    async def acall_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        on_progress: Callable[[str, Progress], Any] | None = None,
    ) -> Any:
        """As `call_tool`, on the running event loop; cancelling this cancels the call on the server."""
        tool = self._tool_named(await self.aget_tools(), name)
        return await self.acall_listed(
            tool, tool.prepared((), arguments or {}), timeout=timeout, on_progress=on_progress
        )

    @staticmethod
    def _tool_named(tools: list[MCPTool], name: str) -> MCPTool:
        for tool in tools:
            if tool.name == name:
                return tool
        raise KeyError(f"there is no tool {name!r}; there are: {', '.join(tool.name for tool in tools[:50])}")

    def call_listed(
        self,
        tool: MCPTool,
        arguments: dict[str, Any],
        *,
        timeout: float | None = None,
        on_progress: Callable[[str, Progress], Any] | None = None,
    ) -> Any:
        """Call a tool of this client; raises as `call_tool`."""
        return self._value(tool, self._wait(self._call(tool, arguments, timeout, self._hearer(tool, on_progress))))

    async def acall_listed(
        self,
        tool: MCPTool,
        arguments: dict[str, Any],
        *,
        timeout: float | None = None,
        on_progress: Callable[[str, Progress], Any] | None = None,
    ) -> Any:
        """As `call_listed`, on the running event loop."""
        work = self._call(tool, arguments, timeout, self._hearer(tool, on_progress))
        return self._value(tool, await self._await(work))

    async def _call(
        self, tool: MCPTool, arguments: dict[str, Any], timeout: float | None, heard: Callable[..., Any]
    ) -> CallToolResult:
        limit = timeout if timeout is not None else tool.timeout
        return await self._connections[tool.server].request(
            f"tool '{tool.name}'",
            lambda client: client.call_tool(tool.mcp_name, arguments, progress_callback=heard),
            timeout=limit if limit is not None else self._options.call_timeout,
            repeatable=tool.repeatable,
        )

    def _value(self, tool: MCPTool, result: CallToolResult) -> Any:
        from actloop.mcp.content import error_text, result_value

        if result.is_error:
            raise MCPToolError(f"tool '{tool.name}': {error_text(result)}")
        return result_value(result, structured=self._structured)

    def _hearer(self, tool: MCPTool, on_progress: Callable[[str, Progress], Any] | None) -> Callable[..., Any]:
        """Hears progress of one call: tells the callback, and the run that makes the call."""
        from actloop.mcp.content import Progress
        from actloop.tools.streaming import tell

        context, callback, count = contextvars.copy_context(), on_progress or self._on_progress, 0

        async def heard(progress: float, total: float | None, message: str | None) -> None:
            nonlocal count
            count += 1
            if count > _MOST_PROGRESS:
                return
            piece = Progress(progress, total, message or "")
            with suppress(Exception):  # nobody waits for the call any more
                context.run(tell, piece)
            if callback is not None:
                callback(tool.name, piece)

        return heard

    # Resources and prompts

    # Waiting

    def _usable(self) -> Background:
        with self._lock:
            if not self._wanted:
                raise MCPConnectionError("the MCP client is disconnected: call connect() first")
            if self._background is not None and self._background.usable:
                return self._background
            self._opening = None
            return self._start()  # a fork of the process that connected

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._background_for(work).wait(work)

    async def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return await self._background_for(work).wait_async(work)

    def _background_for(self, work: Coroutine[Any, Any, Any]) -> Background:
        try:
            return self._usable()
        except BaseException:
            work.close()
            raise


_inherited: list[Any] = []
"""Connections of a process that this one was forked from: closing them, also by letting them go, is up to that one."""


def _nothing() -> None:
    """In place of a callback whose client is gone."""


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _result(future: Future[T]) -> T:
    return await asyncio.shield(asyncio.wrap_future(future))


async def _close(connections: list[Connection]) -> None:
    await asyncio.gather(*(item.close() for item in connections), return_exceptions=True)


def _shut(background: Background, connections: list[Connection]) -> None:
    """Close connections and end their thread, also while the interpreter ends; not in a fork of its process."""
    if not background.usable:
        if not background.own:
            _inherited.append((background, connections))
        return
    try:
        closing = background.submit(_close(connections))
        if threading.current_thread() is not background.thread:
            closing.result(_CLOSING)
    except TimeoutError:
        pass
    except BaseException:  # Ctrl-C while closing: leave no process behind
        for connection in connections:
            connection.kill()
        raise
    finally:
        background.stop()
