"""Who may reach a server over HTTP.

A web page can make the browser of somebody on this machine send requests to a server here, under a name of the page's
own that it lets lead to this machine. Such a request tells on itself: by the name that it asks for, or by the page that
it comes from.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from typing import TYPE_CHECKING, Any, cast

from actloop.values.hosts import LOCAL_NAMES, split_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

_SCHEMES = {"http": 80, "https": 443}


def access_middleware(host: str, port: int, allowed_hosts: Sequence[str], token: str | None) -> list[Any]:
    """What a server puts before its application: its own names alone and, where there is one, the token.

    Args:
        host: Address that it listens on.
        port: Port that it listens on.
        allowed_hosts: Further names, as "name" for any port or "name:port".
        token: What clients must send, or None.
    """
    from starlette.middleware import Middleware

    names = Middleware(cast("Any", _OwnNames), host=host, port=port, allowed=allowed_hosts)
    return [names, Middleware(cast("Any", _Bearer), token=token)] if token else [names]


class _OwnNames:
    """Lets requests through that ask for the server by a name of its own, and come from no foreign page."""

    def __init__(self, app: ASGIApp, host: str, port: int, allowed: Sequence[str]) -> None:
        self._app = app
        self._port = port
        self._names = {*LOCAL_NAMES, host.strip("[]").lower()}
        self._allowed = {split_host(name) for name in allowed} - {("", None)}
        try:
            # Then it has all addresses of this machine. A page's own name is no address.
            self._everywhere = ipaddress.ip_address(host.strip("[]")).is_unspecified
        except ValueError:
            self._everywhere = not host
        if self._everywhere:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope["headers"]) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, *refusal)

    def _refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, int] | None:
        """What to tell a request that is refused, and its status."""
        values = [(name, value.decode("latin-1")) for name, value in headers if name in (b"host", b"origin")]
        hosts = [value for name, value in values if name == b"host"]
        if len(hosts) != 1 or not self._is_own(hosts[0], _SCHEMES["http"]):
            return "this server does not answer under this name; its owner can add it to allowed_hosts\n", 421
        if not all(self._is_own_page(value) for name, value in values if name == b"origin"):
            return "this server answers no pages of other sites\n", 403
        return None

    def _is_own(self, host: str, default_port: int) -> bool:
        name, port = split_host(host)
        port = default_port if port is None else port
        if (name, None) in self._allowed or (name, port) in self._allowed:
            return bool(name)
        if not name or port != self._port:
            return False
        return name in self._names or (self._everywhere and _is_address(name))

    def _is_own_page(self, origin: str) -> bool:
        scheme, _, host = origin.partition("://")
        return scheme in _SCHEMES and self._is_own(host, _SCHEMES[scheme])


class _Bearer:
    """Lets requests through that carry the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = scope.get("headers") or []
        given = next((value for key, value in headers if key == b"authorization"), b"")
        if scope["type"] != "http" or hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
            return
        await _refuse(scope, receive, send, "a bearer token is needed\n", 401, {"WWW-Authenticate": "Bearer"})


async def _refuse(
    scope: Scope, receive: Receive, send: Send, told: str, status: int, headers: dict[str, str] | None = None
) -> None:
    from starlette.responses import PlainTextResponse

    await PlainTextResponse(told, status, headers=headers)(scope, receive, send)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
