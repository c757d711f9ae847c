"""A proxy under test, and clients that keep to no rule."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.tools.web.servers import Answer, Asked
from tests.waiting import eventually

from actloop.executors.network import NetworkPolicy, SessionProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from actloop.executors.network.exchange import Times
    from actloop.values.events import NetworkRequested


def answer(asked: Asked) -> Answer:
    if asked.path == "/big":
        return Answer(b"x" * int(asked.query["size"]))
    return Answer(f"{asked.method} {asked.path} {asked.headers.get('host')} {asked.body.decode()}")


class Way:
    """A proxy under test, and what it told."""

    def __init__(self, policy: NetworkPolicy, times: Times | None = None) -> None:
        self.proxy = SessionProxy(policy, times)
        self.told: list[NetworkRequested] = []
        self.clients: list[socket.socket] = []
        self.proxy.observe(self.told.append)
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.address: tuple[str, int] = listener.getsockname()
        self.proxy.listen(listener)

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.address)
        client.settimeout(20)
        self.clients.append(client)
        return client

    def say(self, data: bytes, *, until: bytes | None = None) -> bytes:
        """What the proxy answers to some bytes; all of it, or what comes first."""
        with self.connect() as client:
            client.sendall(data)
            return hear(client, until)

    def get(self, url: str, host: str = "ignored.example") -> bytes:
        return self.say(f"GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    def tunnel(self, place: str) -> tuple[socket.socket, bytes]:
        """A connection in which a tunnel was asked for, and the answer's first line."""
        client = self.connect()
        client.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        return client, hear(client, b"\r\n").partition(b"\r\n")[0]

    def last(self) -> NetworkRequested:
        """The request that was told last; waits for the first."""
        assert eventually(lambda: self.told)
        return self.told[-1]


def hear(client: socket.socket, until: bytes | None = None) -> bytes:
    data = b""
    while until is None or until not in data:
        try:
            more = client.recv(65_536)
        except ConnectionResetError:
            return data + b"<reset>"
        if not more:
            break
        data += more
    return data


@contextmanager
def way(
    *hosts: str,
    budget: int | None = None,
    resolve: Callable[[str, int], Sequence[str]] | None = None,
    times: Times | None = None,
) -> Generator[Way]:
    """A proxy that must leave nothing behind."""
    before = {thread for thread in threading.enumerate() if thread.name != "actloop-resolve"}
    descriptors = len(os.listdir("/proc/self/fd"))
    policy = NetworkPolicy(hosts, budget, **({"resolve": resolve} if resolve else {}))
    made = Way(policy, times)
    try:
        yield made
    finally:
        made.proxy.close()
        for client in made.clients:
            client.close()

    def left() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("actloop-proxy")} - before

    assert eventually(lambda: not left()), left()  # closing waits but a moment for them
    closed = eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors, within=60)  # servers' ends come later
    assert closed, "descriptors are left open"
