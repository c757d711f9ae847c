"""The older way over HTTP: answers come on one event stream, requests are posted to an address that it names.

The SDK's transport allows events of 1 MiB, which an image is longer than, and leaves a request that was refused without
an answer.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, ErrorData, JSONRPCError, JSONRPCRequest

from actloop.mcp.messages import OversizedMessageError, read_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

_HEADERS = {"Accept": "text/event-stream", "Cache-Control": "no-store"}


@asynccontextmanager
async def sse_transport(
    client: httpx2.AsyncClient, url: str, limit: int, fault: Callable[[str], None]
) -> AsyncGenerator[tuple[Any, Any]]:
    """Connect; gives the streams that a session reads and writes. No redirect is followed.

    Args:
        client: Sends the requests.
        url: Address of the event stream.
        limit: Longest event, in bytes.
        fault: Told why the stream ended, where it did not end by itself.

    Raises:
        httpx2.HTTPError: The stream cannot be opened.
        ValueError: The server names an address elsewhere, or none.
    """
    async with client.stream("GET", url, headers=_HEADERS, follow_redirects=False) as response:
        if response.status_code != 200:
            raise httpx2.HTTPStatusError(
                f"it answered {response.status_code} {response.reason_phrase}",
                request=response.request,
                response=response,
            )
        events = aiter(httpx2.EventSource(response, max_event_size=limit))
        endpoint = await _endpoint(events, url)
        inward, read_stream = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write_stream, outward = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as group, inward, read_stream, write_stream, outward:
            group.start_soon(_receive, events, inward, fault)
            group.start_soon(_send_all, client, endpoint, outward, inward)
            try:
                yield read_stream, write_stream
            finally:
                group.cancel_scope.cancel()


async def _endpoint(events: AsyncIterator[Any], url: str) -> str:
    async for event in events:
        if event.event == "endpoint":
            endpoint = urljoin(url, event.data)
            here, there = urlsplit(url), urlsplit(endpoint)
            if (here.scheme, here.netloc) != (there.scheme, there.netloc):
                raise ValueError("the server wants requests sent to another host")
            return endpoint
    raise ValueError("the event stream ended before it named an address for requests")


async def _receive(
    events: AsyncIterator[Any],
    inward: MemoryObjectSendStream[SessionMessage | Exception],
    fault: Callable[[str], None],
) -> None:
    with inward:
        try:
            async for event in events:
                if event.event != "message" or not event.data:
                    continue
                message = read_message(event.data)
                if message is not None:
                    await inward.send(message)
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            fault(f"{type(error).__name__}: {error}")
        except OversizedMessageError as error:
            fault(str(error))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # nobody reads any more


async def _send_all(
    client: httpx2.AsyncClient,
    endpoint: str,
    outward: MemoryObjectReceiveStream[SessionMessage],
    inward: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    async with anyio.create_task_group() as group:
        async for item in outward:
            group.start_soon(_send, client, endpoint, item, inward)


async def _send(
    client: httpx2.AsyncClient,
    endpoint: str,
    item: SessionMessage,
    inward: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    body = item.message.model_dump(by_alias=True, mode="json", exclude_unset=True)
    data: Any = None
    try:
        response = await client.post(endpoint, json=body, follow_redirects=False)
        if response.status_code < 300:
            return
        why = f"it answered {response.status_code} {response.reason_phrase}"
        if "json" in response.headers.get("content-type", ""):
            error = JSONRPCError.model_validate(response.json()).error
            why, data = error.message, error.data
    except (httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
    if isinstance(item.message, JSONRPCRequest):
        error = ErrorData(code=INVALID_REQUEST, message=why, data=data)
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # nobody reads any more
            await inward.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=item.message.id, error=error)))
