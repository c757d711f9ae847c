"""The OpenAI SDK's clients of one model: made when first needed, one for each process and each event loop.

A client's connections belong to the process and the loop that opened them, so none may be carried over into another.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from actloop.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from types import ModuleType

    import httpx2
    import openai

    Keepers = weakref.WeakKeyDictionary[
        asyncio.AbstractEventLoop, dict[str, tuple[AsyncGenerator[openai.AsyncOpenAI], openai.AsyncOpenAI]]
    ]

CONNECT_SECONDS = 10.0
"""Seconds that opening a connection may take."""


class Clients:
    """Clients by address; blocking ones close with their owner, asynchronous ones with their event loop.

    Args:
        owner: The model that they belong to.
        settings: Keyword arguments of `openai.OpenAI`; `base_url` and `api_key` come with each request.
        sdk_class: Name of the SDK's class; its asynchronous twin is called the same after `Async`.
        direct: Pay no heed to the environment's proxies.
    """

    def __init__(
        self, owner: object, settings: dict[str, Any], sdk_class: str = "OpenAI", *, direct: bool = False
    ) -> None:
        self._direct = direct
        self._settings = {"max_retries": 0, **settings}
        self._class = sdk_class
        self._blocking: dict[tuple[int, str], openai.OpenAI] = {}
        self._keepers: Keepers = weakref.WeakKeyDictionary()
        weakref.finalize(owner, _close_all, self._blocking)

    def blocking(self, base_url: str | None, api_key: str | None) -> openai.OpenAI:
        """This process's client for an address."""
        key = (os.getpid(), f"{base_url} {api_key}")
        known = self._blocking.get(key)
        if known is None:
            made = self._make("", base_url, api_key)
            known = self._blocking.setdefault(key, made)  # without a lock: one could be held while another forks
            if known is not made:
                made.close()
        return known

    async def asynchronous(self, base_url: str | None, api_key: str | None) -> openai.AsyncOpenAI:
        """The running loop's client for an address."""
        loop = asyncio.get_running_loop()
        for old in [loop for loop in self._keepers if loop.is_closed()]:
            del self._keepers[old]
        key = f"{base_url} {api_key}"
        kept = self._keepers.setdefault(loop, {})
        if key not in kept:
            # A loop that ends closes its asynchronous generators; so a client inside of one is closed in time.
            client = self._make("Async", base_url, api_key)
            keeper = _keep(client)
            kept[key] = (keeper, client)
            await anext(keeper)
        return kept[key][1]

    def close(self) -> None:
        """Close this process's blocking clients; the next request opens a new one."""
        _close_all(self._blocking)

    async def aclose(self) -> None:
        """Close the running loop's clients, and the blocking ones."""
        for keeper, _ in self._keepers.pop(asyncio.get_running_loop(), {}).values():
            await keeper.aclose()
        self.close()

    def _make(self, kind: str, base_url: str | None, api_key: str | None) -> Any:
        sdk = import_openai()
        settings: dict[str, Any] = {**self._settings, "api_key": api_key}
        if base_url is not None:
            settings["base_url"] = base_url
            if not api_key and not os.environ.get("OPENAI_API_KEY"):
                settings["api_key"] = "none"  # the SDK insists on one, servers of one's own seldom do
        if isinstance(settings.get("timeout"), (int, float)):
            settings["timeout"] = timeout_of(settings["timeout"])
        if "http_client" not in settings:
            settings["http_client"] = _http_classes()[kind == "Async"](trust_env=not self._direct)
        return getattr(sdk, f"{kind}{self._class}")(**settings)


def import_openai() -> ModuleType:
    """The SDK.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import openai
    except ModuleNotFoundError as error:
        raise MissingExtraError("openai", "openai", "OpenAIModel") from error
    return openai


def timeout_of(seconds: float) -> httpx2.Timeout:
    """A time-out for a whole request, as the HTTP client takes it."""
    import httpx2

    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


async def _keep(client: openai.AsyncOpenAI) -> AsyncGenerator[openai.AsyncOpenAI]:
    try:
        yield client
    finally:
        await client.close()


def _close_all(clients: dict[tuple[int, str], openai.OpenAI]) -> None:
    for key in list(clients):
        if key[0] == os.getpid():  # a parent's connections are not ours to close
            with suppress(KeyError):
                clients.pop(key).close()


@functools.cache
def _http_classes() -> tuple[type[httpx2.Client], type[httpx2.AsyncClient]]:
    """The SDK's HTTP clients with a time-out for the whole answer: by itself it only bounds the wait for each byte."""
    import httpx2
    import openai

    def deadline_of(request: httpx2.Request) -> float:
        seconds: float | None = request.extensions.get("timeout", {}).get("read")
        return float("inf") if seconds is None else time.monotonic() + seconds

    class Timed(httpx2.SyncByteStream):
        def __init__(self, stream: Any, request: httpx2.Request, deadline: float) -> None:
            self._stream, self._request, self._deadline = stream, request, deadline

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._stream:
                yield chunk
                if time.monotonic() > self._deadline:
                    raise httpx2.ReadTimeout("the answer took too long", request=self._request)

        def close(self) -> None:
            self._stream.close()

    class AsyncTimed(httpx2.AsyncByteStream):
        def __init__(self, stream: Any, request: httpx2.Request, deadline: float) -> None:
            self._stream, self._request, self._deadline = stream, request, deadline

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                yield chunk
                if time.monotonic() > self._deadline:
                    raise httpx2.ReadTimeout("the answer took too long", request=self._request)

        async def aclose(self) -> None:
            await self._stream.aclose()

    class Client(openai.DefaultHttpxClient):
        def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
            deadline = deadline_of(request)
            response = super().send(request, stream=True, **options)
            response.stream = Timed(response.stream, request, deadline)
            if not stream:
                try:
                    response.read()
                finally:
                    response.close()
            return response

    class AsyncClient(openai.DefaultAsyncHttpxClient):
        async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
            deadline = deadline_of(request)
            response = await super().send(request, stream=True, **options)
            response.stream = AsyncTimed(response.stream, request, deadline)
            if not stream:
                try:
                    await response.aread()
                finally:
                    await response.aclose()
            return response

    return Client, AsyncClient
