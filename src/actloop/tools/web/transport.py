"""Connections that are checked where they are made: a name is looked up once, and what was checked is connected to.

The URL keeps its name, so the `Host` header, the server name of TLS and the certificate check are those of the name.
"""

from __future__ import annotations

import socket
import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import httpcore2
import httpx2

from actloop.tools.web.errors import FetchCancelledError, FetchError, FetchTimeoutError
from actloop.values.addresses import AddressPolicy, addresses_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Resolve = Callable[[str, int], Sequence[str]]

_CONNECT_SECONDS = 8.0
"""Seconds after which the next address of a name is tried."""

_SLICE = 1 << 16


def system_resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, as the system's resolver gives them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


@cache
def default_ssl_context() -> ssl.SSLContext:
    """The context that all transfers share: certificates and names are checked."""
    return httpx2.create_ssl_context()


class Transfer:
    """The time that one fetch has, over all its redirects, and the means to call it off.

    Args:
        seconds: Seconds from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._cancelled = threading.Event()
        self._socket: socket.socket | None = None

    def left(self) -> float:
        """Seconds that are left.

        Raises:
            FetchTimeoutError: None are.
            FetchCancelledError: The transfer was called off.
        """
        if self._cancelled.is_set():
            raise FetchCancelledError("the transfer was cancelled")
        left = self._end - time.monotonic()
        if left <= 0:
            raise FetchTimeoutError(f"it took longer than {self.seconds:g} seconds")
        return left

    @property
    def is_cancelled(self) -> bool:
        """Whether it was called off."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End it now, from any thread."""
        self._cancelled.set()
        waiting = self._socket
        if waiting is not None:
            try:
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)  # the plain one: TLS state belongs to its thread
            except OSError:
                return

    def attach(self, connection: socket.socket) -> None:
        """The socket that the transfer waits for."""
        self._socket = connection
        self.left()

    def look_up(self, resolve: Resolve, host: str, port: int) -> Sequence[str]:
        """Resolve a name within the time: the system's resolver itself knows no limit.

        Raises:
            FetchError: The name is unknown.
            FetchTimeoutError: The resolver does not answer in time.
        """
        answers: list[Sequence[str] | Exception] = []

        def work() -> None:
            try:
                answers.append(resolve(host, port))
            except Exception as error:
                answers.append(error)
            done.set()

        done = threading.Event()
        threading.Thread(target=work, name="actloop-resolve", daemon=True).start()
        while not done.wait(min(self.left(), 0.2)):
            pass
        answer = answers[0]
        if isinstance(answer, Exception) or not answer:
            why = f" ({answer})" if isinstance(answer, Exception) else ""
            raise FetchError(f"the name '{host}' cannot be resolved{why}")
        return answer


class _Stream(httpcore2.NetworkStream):
    """A connection on which every wait ends with the transfer's time, however slowly the bytes drip."""

    def __init__(self, inner: httpcore2.NetworkStream, transfer: Transfer) -> None:
        self._inner = inner
        self._transfer = transfer
        transfer.attach(cast("socket.socket", inner.get_extra_info("socket")))

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        data = self._inner.read(max_bytes, self._transfer.left())
        self._transfer.left()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        for start in range(0, len(buffer), _SLICE):
            self._inner.write(buffer[start : start + _SLICE], self._transfer.left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._transfer.left()), self._transfer)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _CheckedBackend(httpcore2.NetworkBackend):
    """Looks a name up once, checks all its addresses, and connects to one of those."""

    def __init__(self, policy: AddressPolicy, resolve: Resolve, transfer: Transfer) -> None:
        self._policy = policy
        self._resolve = resolve
        self._transfer = transfer
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        address = self._policy.check_host(host, port)
        if address is not None:
            addresses = [address]
        else:
            addresses = addresses_of(self._transfer.look_up(self._resolve, host, port), host)
            self._policy.check_addresses(host, port, addresses)
        failure: Exception | None = None
        for candidate in addresses:
            seconds = min(self._transfer.left(), _CONNECT_SECONDS)
            try:
                stream = self._plain.connect_tcp(str(candidate), port, seconds, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                try:
                    return _Stream(stream, self._transfer)
                except BaseException:
                    stream.close()
                    raise
        raise failure or FetchError(f"the name '{host}' has no address")


class _Body(httpx2.SyncByteStream):
    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with translated():
            yield from self._stream

    def close(self) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


class CheckedTransport(httpx2.BaseTransport):
    """An httpx transport over checked connections; it knows no proxies, which would resolve names by themselves."""

    def __init__(
        self, policy: AddressPolicy, resolve: Resolve, transfer: Transfer, context: ssl.SSLContext | None
    ) -> None:
        self._pool = httpcore2.ConnectionPool(
            ssl_context=context or default_ssl_context(),
            max_connections=4,
            network_backend=_CheckedBackend(policy, resolve, transfer),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; the answer's body is still to be read."""
        url = request.url
        with translated():
            answer = self._pool.handle_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=cast("Any", request.stream),
                )
            )
        return httpx2.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(cast("Iterable[bytes]", answer.stream)),
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class translated:  # noqa: N801
    """Turns what the connection raises into errors of ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, httpcore2.TimeoutException):
            raise FetchTimeoutError("the server did not answer in time") from error
        if isinstance(error, httpcore2.NetworkError | httpcore2.ProtocolError):
            what = "it does not speak HTTP properly" if isinstance(error, httpcore2.ProtocolError) else "no connection"
            raise FetchError(f"{what}: {error or type(error).__name__}") from error
