"""How the connections of a session's proxy end, when a session, a client or a server ends them."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from tests.tools.web.servers import Server, talking

from actloop.executors.network import NetworkPolicy, SessionProxy

from .ways import hear, way

if TYPE_CHECKING:
    from actloop.values.events import NetworkRequested


def test_a_connection_handed_over_is_served_without_a_listener(server: Server) -> None:
    """As keepers of containers and of clouds do it: one end of a pair of sockets."""
    told: list[NetworkRequested] = []
    proxy = SessionProxy(NetworkPolicy([server.place]))
    proxy.observe(told.append)
    ours, theirs = socket.socketpair()
    with ours:
        proxy.serve(theirs)
        ours.sendall(f"GET {server.url}/x HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert b"GET /x" in hear(ours)
    ours, theirs = socket.socketpair()
    with ours:
        proxy.serve(theirs)
        proxy.close()
        assert ours.recv(1) == b""
    ours, theirs = socket.socketpair()
    with ours:
        proxy.serve(theirs)
        assert ours.recv(1) == b""
    assert len(told) == 1


def test_the_end_of_a_session_breaks_everything_off() -> None:
    """Half a head, half a body, a silent server, an endless answer, a tunnel, a name that is being looked up."""
    asked = threading.Semaphore(0)

    def resolve(host: str, port: int) -> list[str]:
        asked.release()
        time.sleep(1.0)
        return []

    def endless(connection: socket.socket) -> None:
        asked.release()
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 1000)

    def silent(connection: socket.socket) -> None:
        asked.release()
        hear(connection)

    with talking(endless) as flowing, talking(silent) as mute, ExitStack() as held:
        with way(flowing, mute, "slow.example", resolve=resolve) as out:
            for data in (
                b"GET http",
                f"POST http://{mute}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc".encode(),
                f"GET http://{mute}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
                f"GET http://{flowing}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
                b"GET http://slow.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
                f"CONNECT {mute} HTTP/1.1\r\n\r\n".encode(),
            ):
                held.enter_context(out.connect()).sendall(data)
            for _ in range(4):
                assert asked.acquire(timeout=60)
            client, first = out.tunnel(mute)
            held.enter_context(client)
            assert b" 200 " in first
        assert sorted((request.method, request.host) for request in out.told) == [
            ("CONNECT", "127.0.0.1"),
            ("CONNECT", "127.0.0.1"),
            ("GET", "127.0.0.1"),
            ("GET", "127.0.0.1"),
            ("GET", "slow.example"),
            ("POST", "127.0.0.1"),
        ]
        with suppress(ConnectionRefusedError), socket.create_connection(out.address, 1):
            pytest.fail("something still listens")


def test_a_client_that_goes_away_lets_its_server_go() -> None:
    asked, gone = threading.Event(), threading.Event()

    def wait(connection: socket.socket) -> None:
        asked.set()
        hear(connection)
        gone.set()

    with talking(wait) as place, way(place) as out:
        with out.connect() as client:
            client.sendall(f"GET http://{place}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert asked.wait(60)
        assert gone.wait(60)
        asked.clear()
        gone.clear()
        client = out.connect()
        client.sendall(f"GET http://{place}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert asked.wait(60)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert gone.wait(60)


@pytest.mark.parametrize(
    "said",
    [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000, b"HTTP/1.1 200 OK\r\n b\r\n\r\n",
     b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", b"HTTP/1.1 100 x\r\n\r\n"],
)  # fmt: skip
def test_a_server_that_breaks_the_rules_is_an_error_of_the_gateway(said: bytes) -> None:
    with talking(lambda connection: connection.sendall(said)) as place, way(place) as out:
        data = out.get(f"http://{place}/")
        assert data.startswith(b"HTTP/1.1 502 The sandbox's proxy says: ") or data == said == b"HTTP/1.1 100 x\r\n\r\n"
        assert out.last().refused == ""


def test_a_server_that_breaks_off_is_an_error(server: Server) -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")

    with talking(cut) as place, way(place) as out:
        client = http.client.HTTPConnection(*out.address)
        client.request("GET", f"http://{place}/")
        with pytest.raises(http.client.IncompleteRead):
            client.getresponse().read()
        client.close()


def test_trouble_of_the_observer_is_none_of_the_programs(server: Server) -> None:
    def fail(request: NetworkRequested) -> None:
        raise RuntimeError

    with way(server.place) as out:
        out.proxy.observe(fail)
        assert b"GET /x" in out.get(f"{server.url}/x")


def test_a_proxy_that_rests_moves_nothing_until_it_is_observed_anew() -> None:
    asked, may_answer = threading.Semaphore(0), threading.Event()

    def late(connection: socket.socket) -> None:
        asked.release()
        assert may_answer.wait(60)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")

    with talking(late) as place, way(place) as out:
        request = f"GET http://{place}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        first, second = out.connect(), out.connect()
        first.sendall(request)
        assert asked.acquire(timeout=60)
        out.proxy.rest()
        assert [(one.open, one.received) for one in out.told] == [(True, 0)]
        second.sendall(request)
        may_answer.set()
        for client in (first, second):
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(1)
        assert not asked.acquire(blocking=False)
        told: list[NetworkRequested] = []
        out.proxy.observe(told.append)
        for client in (first, second):
            client.settimeout(60)
            assert hear(client).endswith(b"abc")
        assert len(out.told) == 1
        assert [one.received > 3 for one in told] == [True, True]
        assert sum(one.sent for one in (*out.told, *told)) == 2 * out.told[0].sent


@pytest.mark.parametrize("method", ["rest", "report"])
def test_an_observer_that_waits_for_whom_it_holds_up_is_given_up(server: Server, method: str) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def observe(_: NetworkRequested) -> None:
        begun.set()
        may_end.wait(90)

    with way(server.place) as out:
        out.proxy.observe(observe)
        client = out.connect()
        client.sendall(f"GET {server.url}/x HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert begun.wait(60)
        caller = threading.Thread(target=getattr(out.proxy, method), daemon=True)
        caller.start()
        caller.join(60)
        waits = caller.is_alive()
        may_end.set()
        caller.join(60)
        assert not waits
        out.proxy.observe(out.told.append)
        assert b"GET /x" in hear(client)
