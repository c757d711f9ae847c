"""Where MCP servers are, and how they are spoken to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

Transport = Literal["stdio", "streamable-http", "sse"]

_HTTP_KEYS = {"url", "transport", "headers", "auth", "timeout", "sse_read_timeout", "terminate_on_close", "name"}
_STDIO_KEYS = {"command", "args", "env", "cwd", "encoding", "encoding_error_handler", "transport", "name"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server.

    Attributes:
        label: How messages name it; holds no secret.
        name: The user's name for it, or "".
        transport: How it is spoken to.
        stdio: `StdioServerParameters` of a server that is started.
        url: Address of one that runs already.
        headers: HTTP headers of every request.
        auth: Authentication, as httpx2 takes it.
        timeout: Seconds to connect and to send.
        read_timeout: Seconds without a byte from the server; None for those of a call.
        terminate_on_close: Whether the session is ended on the server, too.
    """

    label: str
    transport: Transport
    name: str = ""
    stdio: Any = None
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    auth: Any = field(default=None, repr=False)
    timeout: float = 30.0
    read_timeout: float | None = None
    terminate_on_close: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Limits of a client.

    Attributes:
        connect_timeout: Seconds to start or reach a server, and to agree on a protocol.
        call_timeout: Seconds of a call, unless it has its own; None for any time.
        max_message_bytes: Longest message that a server may send; a longer one ends its connection.
        max_tools: Tools that a server may list.
        mode: "auto" speaks the newest protocol that the server knows; "legacy" begins with the handshake of before.
    """

    connect_timeout: float = 30.0
    call_timeout: float | None = 300.0
    max_message_bytes: int = 32 * 2**20
    max_tools: int = 1000
    mode: str = "auto"


def seconds(value: Any) -> float | None:
    """A time-out in seconds, from a number, a timedelta or None."""
    if value is None:
        return None
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def parse_servers(given: Any) -> list[Server]:
    """Servers from what `MCPClient` takes.

    Raises:
        TypeError: It is none of that.
        ValueError: A key or a value cannot be used; the message names it.
    """
    entries = list(cast("list[Any]", given)) if isinstance(given, list | tuple) else [given]
    if not entries:
        raise ValueError("server_parameters names no server")
    return [_parse(entry) for entry in entries]


def _parse(given: Any) -> Server:
    if isinstance(given, str):
        return _http({"url": given})
    if isinstance(given, dict):
        entry = cast("dict[str, Any]", given)
        if "url" in entry:
            return _http(entry)
        if "command" in entry:
            return _stdio(entry)
        raise ValueError(f"a server needs a 'url' or a 'command'; got the keys {sorted(map(str, entry))}")
    if hasattr(given, "command") and hasattr(given, "args"):
        return Server(label=f"'{given.command}'", transport="stdio", stdio=given)
    raise TypeError(
        "server_parameters must be StdioServerParameters, a dict with 'url' or 'command', a URL, or a list of these; "
        f"got {type(given).__name__}"
    )


def _check_keys(entry: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(str(key) for key in entry if key not in known)
    if unknown:
        raise ValueError(f"server_parameters: unknown keys {unknown}; known are {sorted(known)}")


def _stdio(entry: dict[str, Any]) -> Server:
    from mcp import StdioServerParameters

    _check_keys(entry, _STDIO_KEYS)
    if entry.get("transport", "stdio") != "stdio":
        raise ValueError(f"a server with a 'command' speaks over stdio, not {entry['transport']!r}")
    parameters = {key: value for key, value in entry.items() if key not in ("transport", "name")}
    stdio = StdioServerParameters.model_validate(parameters)
    return Server(label=f"'{stdio.command}'", transport="stdio", stdio=stdio, name=str(entry.get("name") or ""))


def _http(entry: dict[str, Any]) -> Server:
    _check_keys(entry, _HTTP_KEYS)
    url = str(entry["url"])
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the 'url' of an MCP server must begin with http:// or https:// and name a host")
    transport = entry.get("transport")
    if transport is None:
        transport = "sse" if parts.path.rstrip("/").endswith("/sse") else "streamable-http"
    if transport == "http":
        transport = "streamable-http"
    if transport not in ("sse", "streamable-http"):
        raise ValueError(f"an MCP server is spoken to over 'streamable-http' or 'sse', not over {transport!r}")
    host = parts.netloc.rpartition("@")[2]
    headers: Mapping[Any, Any] = entry.get("headers") or {}
    return Server(
        label=f"{parts.scheme}://{host}{parts.path}",
        transport=transport,
        name=str(entry.get("name") or ""),
        url=url,
        headers={str(key): str(value) for key, value in headers.items()},
        auth=entry.get("auth"),
        timeout=seconds(entry.get("timeout")) or 30.0,
        read_timeout=seconds(entry.get("sse_read_timeout")),
        terminate_on_close=bool(entry.get("terminate_on_close", True)),
    )


def parse_options(given: dict[str, Any] | None) -> Options:
    """Limits from `adapter_kwargs`.

    Raises:
        TypeError: A key is unknown.
        ValueError: A value cannot be used.
    """
    values = dict(given or {})
    chosen: dict[str, Any] = {}
    for key in ("connect_timeout", "call_timeout"):
        if key in values:
            chosen[key] = seconds(values.pop(key))
    if "client_session_timeout_seconds" in values:  # the name of the reference's adapter
        chosen.setdefault("call_timeout", seconds(values.pop("client_session_timeout_seconds")))
    for key in ("max_message_bytes", "max_tools", "mode"):
        if key in values:
            chosen[key] = values.pop(key)
    if values:
        known = "connect_timeout, call_timeout (or client_session_timeout_seconds), max_message_bytes, max_tools, mode"
        raise TypeError(f"adapter_kwargs: unknown keys {sorted(values)}; known are {known}, on_progress")
    if chosen.get("connect_timeout", 1.0) is None or chosen.get("connect_timeout", 1.0) <= 0:
        raise ValueError("adapter_kwargs: connect_timeout must be more than 0 seconds")
    if chosen.get("max_message_bytes", 1024) < 1024:
        raise ValueError("adapter_kwargs: max_message_bytes must be at least 1024")
    return Options(**chosen)
