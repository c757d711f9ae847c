"""How much a session may ask for: headers, time, bytes, connections and requests."""

from __future__ import annotations

import http.client
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from tests.tools.web.servers import Server, talking

from actloop.executors.network.exchange import Times
from actloop.executors.network.proxy import MAX_CONNECTIONS

from .ways import hear, way

if TYPE_CHECKING:
    import socket


def test_headers_that_are_too_long_are_refused(server: Server) -> None:
    with way(server.place) as out:
        assert b"400 " in out.get(f"{server.url}/{'a' * 40_000}")
        with out.connect() as client:
            with suppress(OSError):
                for _ in range(1000):
                    client.sendall(b"x" * 10_000)
            assert b"headers take more than 32,768 bytes" in hear(client)


def test_a_client_that_never_ends_its_headers_is_dropped(server: Server) -> None:
    """Slowloris."""
    with way(server.place, times=Times(head=1.0)) as out:
        with out.connect() as client:
            ended = threading.Event()

            def drip() -> None:
                with suppress(OSError):
                    while not ended.wait(0.01):
                        client.sendall(b"x")

            dripping = threading.Thread(target=drip)
            dripping.start()
            assert b"400 The sandbox's proxy says: the request cannot be understood: its headers did not" in hear(
                client
            )
            ended.set()
            dripping.join()
        with out.connect() as silent:
            assert hear(silent) == b""
        assert len(out.told) == 1


def test_what_moves_no_more_is_ended() -> None:
    def silent(connection: socket.socket) -> None:
        hear(connection)

    with talking(silent) as place:
        with way(place, times=Times(idle=1.0)) as out:
            assert out.get(f"http://{place}/").startswith(b"HTTP/1.1 504 ")
            client, _ = out.tunnel(place)
            hear(client)
            assert [request.refused for request in out.told] == ["", ""]
        with way(place, times=Times(total=1.0)) as out:
            assert out.get(f"http://{place}/").startswith(b"HTTP/1.1 504 ")


def test_the_budget_counts_both_ways_and_cuts(server: Server) -> None:
    with way(server.place, budget=100_000) as out:
        assert b"x" * 50_000 in out.get(f"{server.url}/big?size=50000")
        data = out.get(f"{server.url}/big?size=500000")
        assert data.endswith(b"<reset>") or b"403 Refused by the sandbox: the network budget" in data
        assert len(data) < 51_000
        assert out.told[1].refused == "the network budget of this session, 100,000 bytes, is used up"
        assert out.get(f"{server.url}/").startswith(b"HTTP/1.1 403 Refused by the sandbox: the network budget of this")
        assert sum(request.received + request.sent for request in out.told) <= 100_000 + 2 * 65_536
        assert out.told[2].sent == 0


def test_what_exceeds_the_budget_does_not_leave(server: Server) -> None:
    with way(server.place, budget=10_000) as out:
        count = len(server.asked)
        head = f"POST {server.url}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n".encode()
        assert b"200 OK" not in out.say(head + b"x" * 200_000)
        assert len(server.asked) == count
        assert out.last().sent <= 10_000
        assert "budget" in out.last().refused


def test_an_answer_that_was_cut_off_does_not_look_whole() -> None:
    """Without a length, an answer ends where its connection does: that of one cut off must end with an error."""
    flood = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000
    with talking(lambda connection: connection.sendall(flood)) as place, way(place, budget=200_000) as out:
        assert not out.get(f"http://{place}/").endswith(b"0\r\n\r\n")
    with talking(lambda connection: connection.sendall(flood)) as place, way(place, budget=200_000) as out:
        assert out.say(f"GET http://{place}/ HTTP/1.0\r\n\r\n".encode()).endswith(b"<reset>")
    with talking(lambda connection: connection.sendall(flood)) as place, way(place) as out:
        client = http.client.HTTPConnection(*out.address)
        client.request("GET", f"http://{place}/")
        assert len(client.getresponse().read()) == 1_000_000
        client.close()


def test_a_thousand_connections_are_all_served(server: Server) -> None:
    with way(server.place) as out:
        errors: list[bytes] = []

        def ask() -> None:
            for _ in range(50):
                data = out.get(f"{server.url}/x")
                if b"GET /x" not in data:
                    errors.append(data)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(out.told) == 1000


def test_connections_beyond_the_most_wait_for_their_turn(server: Server) -> None:
    with way(server.place) as out, ExitStack() as held:
        clients = [held.enter_context(out.connect()) for _ in range(MAX_CONNECTIONS + 40)]
        for client in clients:
            client.sendall(b"GET ")
        late = held.enter_context(out.connect())
        late.sendall(f"GET {server.url}/late HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        late.settimeout(0.1)
        with pytest.raises(TimeoutError):
            late.recv(1)
        served = sum(thread.name == "actloop-proxy" for thread in threading.enumerate())
        assert served <= MAX_CONNECTIONS + 1
        for client in clients:
            client.close()
        late.settimeout(20)
        assert b"GET /late" in hear(late)


def test_a_session_that_asks_without_end_fills_no_journal(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actloop.executors.network.proxy.MAX_REQUESTS", 5)
    with way(server.place) as out:
        count = len(server.asked)
        answers = [out.get(f"{server.url}/x") for _ in range(10)]
        assert [b"200 OK" in data for data in answers] == [True] * 5 + [False] * 5
        assert b"403 Refused by the sandbox: this session has made 5 requests, and may make no more" in answers[-1]
        assert len(server.asked) == count + 5
        assert [bool(request.refused) for request in out.told] == [False] * 5 + [True]
