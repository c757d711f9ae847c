"""The clients of one model: made when first needed, one for each process and each event loop.

A client's connections belong to the process and the loop that opened them, so none may be carried over into another.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from actloop.errors import MissingExtraError
from actloop.models.replies import bound
from actloop.values.bodies import PACKINGS
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import ModuleType

    Keepers = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, tuple[AsyncGenerator[Any], Any]]]

CONNECT_SECONDS = 10.0
"""Seconds that opening a connection may take."""


class Clients:
    """Clients by what they are made of; blocking ones close with their owner, asynchronous ones with their event loop.

    Args:
        owner: The model that they belong to.
        make: Makes a client: called with whether it is to be asynchronous, then with the arguments of `blocking` or
            `asynchronous`. It must not hold on to the owner.
    """

    def __init__(self, owner: object, make: Callable[..., Any]) -> None:
        self._make = make
        self._blocking: dict[tuple[Any, ...], Any] = {}
        self._locks: dict[int, threading.Lock] = {}
        self._keepers: Keepers = weakref.WeakKeyDictionary()
        weakref.finalize(owner, _close_all, self._blocking)

    def blocking(self, *arguments: Any) -> Any:
        """This process's client for these arguments."""
        key = (os.getpid(), *arguments)
        known = self._blocking.get(key)
        if known is None:
            # A lock for each process: one that is held while another thread forks is never released in the child.
            with self._locks.setdefault(os.getpid(), threading.Lock()):
                known = self._blocking.get(key)
                if known is None:
                    known = self._blocking[key] = self._make(False, *arguments)
        return known

    async def asynchronous(self, *arguments: Any) -> Any:
        """The running loop's client for these arguments."""
        loop = asyncio.get_running_loop()
        for old in [loop for loop in self._keepers if loop.is_closed()]:
            del self._keepers[old]
        kept = self._keepers.setdefault(loop, {})
        if arguments not in kept:
            # A loop that ends closes its asynchronous generators; so a client inside of one is closed in time.
            client = self._make(True, *arguments)
            keeper = _keep(client)
            kept[arguments] = (keeper, client)
            await anext(keeper)
        return kept[arguments][1]

    def close(self) -> None:
        """Close this process's blocking clients; the next request opens a new one."""
        _close_all(self._blocking)

    async def aclose(self) -> None:
        """Close the running loop's clients, and the blocking ones."""
        for keeper, _ in self._keepers.pop(asyncio.get_running_loop(), {}).values():
            await keeper.aclose()
        self.close()


def import_sdk(name: str, extra: str, purpose: str) -> ModuleType:
    """A service's SDK.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(name, extra, purpose) from error


def import_openai(purpose: str = "OpenAIModel") -> ModuleType:
    """OpenAI's SDK; raises as `import_sdk`."""
    return import_sdk("openai", "openai", purpose)


def http_library(derived: type) -> ModuleType:
    """The HTTP library that an SDK stands on, by a class derived from one of its: httpx or, in newer SDKs, httpx2."""
    for base in derived.__mro__:
        name = base.__module__.partition(".")[0]
        if name.startswith("httpx"):
            return importlib.import_module(name)
    raise AssertionError(f"unreachable: {derived} is derived from a class of httpx or httpx2")


def timeout_of(http: ModuleType, seconds: float) -> Any:
    """A time-out for a whole request, as the HTTP client takes it."""
    return http.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def check_address(argument: str, address: object) -> None:
    """Refuse what no request can be sent to; None means the service's own address.

    Raises:
        ValueError: The address has no scheme, or names no host.
    """
    if address is None:
        return
    try:
        parts = urlsplit(str(address))
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(
            f"{argument} must begin with http:// or https:// and name a host; got {cut(str(address), 200)!r}"
        )


def client_settings(sdk: ModuleType, asynchronous: bool, settings: dict[str, Any], direct: bool) -> dict[str, Any]:
    """The arguments of an SDK's client: no retries of its own, and a time-out that bounds the whole answer.

    Args:
        sdk: OpenAI's or Anthropic's SDK.
        asynchronous: Whether it is for the asynchronous client.
        settings: What the user gave; it wins.
        direct: Pay no heed to the environment's proxies.
    """
    settings = {"max_retries": 0, **settings}
    if isinstance(settings.get("timeout"), (int, float)):
        settings["timeout"] = timeout_of(http_library(sdk.DefaultHttpxClient), settings["timeout"])
    if "http_client" not in settings:
        settings["http_client"] = _http_classes(sdk)[asynchronous](trust_env=not direct)
    return settings


async def _keep(client: Any) -> AsyncGenerator[Any]:
    try:
        yield client
    finally:
        await client.close()


def _close_all(clients: dict[tuple[Any, ...], Any]) -> None:
    for key in list(clients):
        if key[0] == os.getpid():  # a parent's connections are not ours to close
            with suppress(KeyError):
                clients.pop(key).close()


@functools.cache
def _http_classes(sdk: ModuleType) -> tuple[type[Any], type[Any]]:
    """The SDK's HTTP clients, which read an answer within bounds: of time as a whole, and of length."""
    http: Any = http_library(sdk.DefaultHttpxClient)

    def deadline_of(request: Any) -> float:
        seconds: float | None = request.extensions.get("timeout", {}).get("read")
        return float("inf") if seconds is None else time.monotonic() + seconds

    class Client(sdk.DefaultHttpxClient):
        def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            deadline = deadline_of(request)
            request.headers["accept-encoding"] = PACKINGS
            parent: Any = super()
            response: Any = parent.send(request, stream=True, **options)
            bound(http, response, deadline, events=stream)
            if not stream:
                try:
                    response.read()
                finally:
                    response.close()
            return response

    class AsyncClient(sdk.DefaultAsyncHttpxClient):
        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            deadline = deadline_of(request)
            request.headers["accept-encoding"] = PACKINGS
            parent: Any = super()
            response: Any = await parent.send(request, stream=True, **options)
            bound(http, response, deadline, events=stream)
            if not stream:
                try:
                    await response.aread()
                finally:
                    await response.aclose()
            return response

    return Client, AsyncClient
