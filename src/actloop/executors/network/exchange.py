"""One request of a program: read, checked, performed, told."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actloop.errors import ForbiddenAddressError
from actloop.executors.network import http1, tls
from actloop.executors.network.dial import ClientGoneError, Dialer, UnreachableError
from actloop.executors.network.relay import CHUNK, Budget, BudgetUsedError, Flow, relay
from actloop.values.addresses import parsed_host
from actloop.values.events import NetworkRequested

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_DRAINED = 1 << 20


@dataclass(frozen=True, slots=True)
class Times:
    """How long things may take, in seconds.

    Attributes:
        head: From the connection to the end of the request's headers.
        lookup: Looking a name up.
        connect: Connecting to a server.
        idle: Without a byte in either direction.
        total: One request, or one tunnel.
        linger: Until the program closes a connection whose answer it has.
    """

    head: float = 10.0
    lookup: float = 10.0
    connect: float = 10.0
    idle: float = 120.0
    total: float = 600.0
    linger: float = 1.0


class Exchange:
    """What comes over one connection of a program.

    Args:
        client: The connection; the caller closes it.
        dialer: Connects to servers.
        budget: What bytes are counted against.
        times: How long things may take.
        watch: Told of the connection to the server while there is one, so that the session's end can break it off.
        tell: Told of the request when it is over, before the program has the last of the answer where that can be.
        turn: What is done with a request is done within such a one; it may wait for its beginning.
    """

    def __init__(
        self,
        client: socket.socket,
        dialer: Dialer,
        budget: Budget,
        times: Times,
        watch: Callable[[socket.socket], None],
        tell: Callable[[NetworkRequested], None],
        turn: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._client = client
        self._dialer = dialer
        self._budget = budget
        self._times = times
        self._watch = watch
        self._tell = tell
        self._turn = turn
        self._began = time.monotonic()
        self._noted: NetworkRequested | None = None
        self._up: Flow | None = None
        self._down: Flow | None = None
        self._telling = threading.Lock()
        self._told: tuple[int, int] | None = None
        self.server: socket.socket | None = None
        """The connection to the server, once there is one; the caller closes it."""

    def run(self, refused: str = "") -> None:
        """Perform the request.

        Args:
            refused: Why nothing is performed; the program is told.
        """
        try:
            self._client.setblocking(False)
            with contextlib.suppress(OSError):  # a connection that a keeper hands on is no TCP
                self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._perform(refused)
            self._note()
            self._linger()
        except (ClientGoneError, OSError):
            self._note()

    def _perform(self, refused: str) -> None:
        try:
            head, rest = self._read_head()
            if not head:
                return
            self._noted = NetworkRequested(host="", port=0, method="")
            self._request(http1.read_request(head), rest, refused)
        except http1.BadAnswerError as error:
            self._refuse(502, f"the server's answer cannot be understood: {error}")
        except http1.BadMessageError as error:
            self._refuse(400, f"the request cannot be understood: {error}")
        except ForbiddenAddressError as error:
            self._refuse(403, error.message)
        except tls.NoTlsError as error:
            self._refuse(403, f"a tunnel carries TLS alone: {error}")
        except UnreachableError as error:
            self._refuse(502, str(error))
        except BudgetUsedError:
            self._refuse(403, self._spent())
        except TimeoutError:
            self._refuse(504, "it took too long")
        except OSError as error:
            self._refuse(502, f"the server broke off the connection ({error.strerror or error})")

    def _spent(self) -> str:
        return f"the network budget of this session, {self._budget.size:,} bytes, is used up"

    # ---- the request

    def _read_head(self) -> tuple[bytes, bytes]:
        """The request's head, and what came with it; empty when the program closed the connection without any."""
        data = bytearray()
        until = self._began + self._times.head
        poll = select.poll()
        poll.register(self._client, select.POLLIN)
        while True:
            if not poll.poll(max(until - time.monotonic(), 0.0) * 1000):
                if not data:
                    raise ClientGoneError
                self._noted = NetworkRequested(host="", port=0, method="")
                raise http1.BadMessageError(f"its headers did not come within {self._times.head:g} seconds")
            try:
                chunk = self._client.recv(CHUNK)
            except (BlockingIOError, InterruptedError):
                continue
            if not chunk:
                return b"", b""
            searched = max(len(data) - 3, 0)
            data += chunk
            end = data.find(b"\r\n\r\n", searched)
            if (len(data) if end < 0 else end) > http1.MAX_HEAD:
                self._noted = NetworkRequested(host="", port=0, method="")
                raise http1.BadMessageError(f"its headers take more than {http1.MAX_HEAD:,} bytes")
            if end >= 0:
                return bytes(data[: end + 4]), bytes(data[end + 4 :])

    def _request(self, request: http1.Request, rest: bytes, refused: str) -> None:
        self._noted = NetworkRequested(host=request.host, port=request.port, method=request.method)
        if refused or self._budget.used_up:
            self._refuse(403, refused or self._spent())
            return
        with self._turn():
            pass
        self.server, address = self._dialer.dial(request.host, request.port, self._client)
        self._watch(self.server)
        self._noted = replace(self._noted, address=str(address))
        tunnel = request.method == "CONNECT"
        passing = tls.Hello(request.host, parsed_host(request.host)) if tunnel else request.body
        answer = http1.UntilClose() if tunnel else http1.Answer(request)
        up = self._up = Flow(self._client, self.server, passing, self._budget, raw=False)
        down = self._down = Flow(self.server, self._client, answer, self._budget, raw=True)
        if tunnel:
            self._send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        up.write(request.head)
        up.put(rest)
        relay(
            up,
            down,
            idle=self._times.idle,
            total=self._times.total,
            tunnel=tunnel,
            ending=None if tunnel else self._note,
            turn=self._turn,
        )
        if not tunnel and not down.begun:
            self._refuse(502, "the server closed the connection without an answer")

    # ---- the end

    def _refuse(self, status: int, sentence: str) -> None:
        """Tell the program why there is no answer, or break off the one that has begun."""
        if self._noted is not None and status < 500:
            self._noted = replace(self._noted, refused=sentence)
        self._note()
        down = self._down
        if down is not None and isinstance(down.passing, http1.UntilClose):
            if status != 504:  # one in which nothing moves any more is merely closed
                self._end_tunnel(sentence)
        elif down is not None and (down.begun or down.waiting):
            self._reset()
        else:
            self._send(_own(status, sentence))

    def _end_tunnel(self, sentence: str) -> None:
        """A tunnel that was opened is closed: by an alert, where the program has not begun to speak to the server."""
        assert self._up is not None
        if self._up.begun:
            self._reset()
        elif "carries TLS alone" in sentence:
            self._send(_own(403, sentence))
        else:
            self._send(tls.ACCESS_DENIED)

    def _send(self, data: bytes) -> None:
        """Send a few bytes of the proxy's own, which fit into the connection's buffer."""
        try:
            self._client.send(data)
        except OSError as error:
            raise ClientGoneError from error

    def _reset(self) -> None:
        """Have the connection end with an error, so that an answer which was cut off does not look whole."""
        with contextlib.suppress(OSError):
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ClientGoneError

    def _note(self) -> None:
        """Tell of the request, once; of one that was reported already, only what is new."""
        with self._telling:
            noted, self._noted = self._noted, None
            if noted is not None:
                self._tell_news(noted)

    def _tell_news(self, noted: NetworkRequested) -> None:
        moved = (self._up.count if self._up else 0, self._down.count if self._down else 0)
        if self._told is not None and moved == self._told and not noted.refused:
            return
        sent, received = self._told or (0, 0)
        self._told = moved
        seconds = time.monotonic() - self._began
        self._tell(replace(noted, sent=moved[0] - sent, received=moved[1] - received, seconds=seconds))

    @property
    def moving(self) -> bool:
        """Whether something that the program sent, if only that it closes its side, is not dealt with yet."""
        up = self._up
        if self._noted is None or up is None or up.ended:
            return self._noted is not None
        poll = select.poll()
        try:
            poll.register(self._client, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):  # it was closed meanwhile
            return False

    def report(self, until: float, *, begun: bool = False) -> None:
        """Tell of a request that is under way what it moved so far; of one that has only begun, too, where asked.

        One that is being told of just now is waited for, but only until a time of `time.monotonic`.
        """
        if not self._telling.acquire(timeout=max(until - time.monotonic(), 0.0)):
            return
        try:
            if self._noted is not None and (begun or self._down is not None):
                self._tell_news(replace(self._noted, open=True))
        finally:
            self._telling.release()

    def _linger(self) -> None:
        """Let the program read the answer: a connection that is closed with bytes unread takes it away from it."""
        self._client.shutdown(socket.SHUT_WR)
        until = time.monotonic() + self._times.linger
        poll = select.poll()
        poll.register(self._client, select.POLLIN)
        drained = 0
        while drained < _DRAINED and poll.poll(max(until - time.monotonic(), 0.0) * 1000):
            try:
                data = self._client.recv(CHUNK)
            except (BlockingIOError, InterruptedError):
                continue
            if not data:
                return
            drained += len(data)


def _own(status: int, sentence: str) -> bytes:
    """An answer of the proxy's own, which says that no server gave it."""
    said = "Refused by the sandbox" if status == 403 else "The sandbox's proxy says"
    return http1.plain_answer(status, f"{said}: {sentence}")
