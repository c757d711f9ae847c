"""Connections to servers: a name is looked up once, its addresses are checked, a checked one is connected to."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from actloop.values.addresses import addresses_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actloop.executors.network.policy import NetworkPolicy
    from actloop.values.addresses import Address

_MOST_LOOKUPS = 16
"""Names of one session that may be looked up at once: the system's resolver cannot be called off."""

_MOST_ADDRESSES = 4
"""Addresses of a name that are tried."""

GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class UnreachableError(Exception):
    """A server that may be reached cannot be; the text says why."""


class ClientGoneError(Exception):
    """The program has closed its connection, or its session has ended."""


class Dialer:
    """Connects to servers for one session.

    Args:
        policy: What may be reached.
        lookup: Seconds that a name's look-up may take.
        connect: Seconds that connecting may take, over all addresses of a name.
    """

    def __init__(self, policy: NetworkPolicy, lookup: float, connect: float) -> None:
        self._policy = policy
        self._lookup_seconds = lookup
        self._connect_seconds = connect
        self._changed = threading.Condition()
        self._closed = False
        self._lookups = 0

    def close(self) -> None:
        """Let nobody wait for a look-up any more; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def dial(self, host: str, port: int, client: socket.socket) -> tuple[socket.socket, Address]:
        """Connect to a server.

        Args:
            host: Its name, or its address.
            port: Its port.
            client: The program's connection: when that closes, nobody waits for the server any more.

        Returns:
            A connected socket that does not block, and the address.

        Raises:
            ForbiddenAddressError: It may not be reached.
            UnreachableError: It cannot be reached.
            ClientGoneError: The program waits no longer.
        """
        address = self._policy.check_host(host, port)
        if address is not None:
            addresses = [address]
        else:
            addresses = addresses_of(self._look_up(host, port), host)
            self._policy.check_addresses(host, port, addresses)
        until = time.monotonic() + self._connect_seconds
        failure = "its name has no address"
        tried = addresses[:_MOST_ADDRESSES]
        for number, address in enumerate(tried):
            left = (until - time.monotonic()) / (len(tried) - number)
            connected, failure = _connect(address, port, client, max(left, 0.0))
            if connected is not None:
                return connected, address
        raise UnreachableError(f"{host}:{port} cannot be reached: {failure}")

    def _look_up(self, host: str, port: int) -> Sequence[str]:
        answers: list[Sequence[str] | Exception] = []

        def work() -> None:
            try:
                answer: Sequence[str] | Exception = self._policy.resolve(host, port)
            except Exception as error:
                answer = error
            with self._changed:
                answers.append(answer)
                self._lookups -= 1
                self._changed.notify_all()

        with self._changed:
            if self._lookups >= _MOST_LOOKUPS:
                raise UnreachableError("too many names are being looked up at once")
            threading.Thread(target=work, name="actloop-resolve", daemon=True).start()
            self._lookups += 1
            self._changed.wait_for(lambda: answers or self._closed, self._lookup_seconds)
            if self._closed:
                raise ClientGoneError
        if not answers:
            raise UnreachableError(f"the name {host} was not resolved within {self._lookup_seconds:g} seconds")
        answer = answers[0]
        if isinstance(answer, Exception):
            raise UnreachableError(f"the name {host} cannot be resolved ({answer})")
        return answer


def _connect(address: Address, port: int, client: socket.socket, seconds: float) -> tuple[socket.socket | None, str]:
    """A connected socket, or why there is none."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        server.setblocking(False)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = server.connect_ex((str(address), port))
        if code == errno.EINPROGRESS:
            code = _wait(server, client, seconds)
    except BaseException:
        server.close()
        raise
    if code == 0:
        return server, ""
    with contextlib.suppress(OSError):
        server.close()
    return None, os.strerror(code)


def _wait(server: socket.socket, client: socket.socket, seconds: float) -> int:
    """Wait for a connection to be made; the number of the error that it met, or 0."""
    poll = select.poll()
    poll.register(server, select.POLLOUT)
    poll.register(client, GONE)
    events = dict(poll.poll(seconds * 1000))
    if client.fileno() in events:
        raise ClientGoneError
    if not events:
        return errno.ETIMEDOUT
    return server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
