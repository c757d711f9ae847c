"""How a page is served: who may reach it, and what a browser may load for it."""

from __future__ import annotations

import atexit
import os
from functools import cache
from typing import TYPE_CHECKING, Any

from actloop.values.hosts import split_host
from actloop.values.temporary import TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CAUTION = (
    "Caution: share=True gives the page a public address through Gradio's servers. Anybody who learns it can use this"
    " agent, its model and its tools. Pass auth=(user, password) to keep others out."
)

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
"""Nothing is loaded from, or told to, any other host, whatever a model has written into the page."""


class PageGuard:
    """Adds a content security policy to every answer of a server, and answers only under the server's own names.

    A page of another site could otherwise reach a server on this machine by giving its own name this machine's address.

    Args:
        app: The server's application.
        hosts: Names under which the server may be asked; None for any.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None = None) -> None:
        self._app = app
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    @classmethod
    def as_middleware(cls, hosts: Sequence[str] | None) -> Any:
        """What FastAPI takes."""
        from starlette.middleware import Middleware

        return Middleware(cls, hosts=hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._hosts is not None:
            given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
            origin = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), "")
            foreign = bool(origin) and scope["method"] != "GET" and origin.partition("://")[2] != given
            if split_host(given)[0] not in self._hosts or foreign:
                await _refuse(send)
                return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message["headers"] = [*message.get("headers", ()), *own, (b"x-content-type-options", b"nosniff")]
            await send(message)

        await self._app(scope, receive, guarded)


async def _refuse(send: Send) -> None:
    told = b"This page answers under localhost only. Behind a proxy, name its host: GradioUI(..., allowed_hosts=[...])."
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": told})


@cache
def private_temporary_folder() -> str:
    """The folder where Gradio keeps uploads and the files that it shows: for the user alone, and gone at exit.

    Gradio reads it from `GRADIO_TEMP_DIR`; by default it is one that every user of the machine can look into.
    """
    given = os.environ.get("GRADIO_TEMP_DIR")
    if given:
        return given
    folder = TemporaryFolder("gradio")
    os.environ["GRADIO_TEMP_DIR"] = str(folder.path)
    atexit.register(folder.close)
    return str(folder.path)
