"""How a page is served: who may reach it, and what a browser may load for it."""

from __future__ import annotations

import atexit
import ipaddress
import os
import shutil
import tempfile
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


class ContentPolicy:
    """Adds a content security policy to every answer of a server.

    Args:
        app: The server's application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    @classmethod
    def as_middleware(cls) -> Any:
        """What FastAPI takes."""
        from starlette.middleware import Middleware

        return Middleware(cls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message["headers"] = [*message.get("headers", ()), *own, (b"x-content-type-options", b"nosniff")]
            await send(message)

        await self._app(scope, receive, guarded)


def is_loopback(host: str) -> bool:
    """Whether a server that listens there is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@cache
def private_temporary_folder() -> str:
    """The folder where Gradio keeps uploads and the files that it shows: for the user alone, and gone at exit.

    Gradio reads it from `GRADIO_TEMP_DIR`; by default it is one that every user of the machine can look into.
    """
    given = os.environ.get("GRADIO_TEMP_DIR")
    if given:
        return given
    folder = tempfile.mkdtemp(prefix="actloop-gradio-")
    os.environ["GRADIO_TEMP_DIR"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
