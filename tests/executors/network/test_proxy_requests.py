"""What passes a session's proxy, and what is refused: ambiguous requests, and places nobody named."""

from __future__ import annotations

import http.client
import socket
import threading

import pytest
from tests.tools.web.servers import Server, talking

from actloop.executors.network.exchange import Times

from .ways import hear, way


def test_a_request_reaches_its_server(server: Server) -> None:
    with way(server.place) as out:
        data = out.get(f"{server.url}/a?b=c")
        assert data.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
        assert data.endswith(f"GET /a {server.place} ".encode())
        request = out.last()
    assert (request.host, request.port, request.method) == ("127.0.0.1", server.port, "GET")
    assert (request.address, request.refused) == ("127.0.0.1", "")
    assert request.sent == len(f"GET /a?b=c HTTP/1.1\r\nHost: {server.place}\r\nConnection: close\r\n\r\n")
    assert request.received > len("GET /a")
    assert request.seconds > 0


def test_the_host_of_the_url_is_the_one_that_is_told_to_the_server(server: Server) -> None:
    with way(server.place) as out:
        assert f"GET / {server.place}".encode() in out.get(f"{server.url}/", host="internal.example")


def test_a_request_is_told_before_its_answer_is_whole(server: Server) -> None:
    with way(server.place) as out:
        for number in range(20):
            client = http.client.HTTPConnection(*out.address)
            client.request("GET", f"{server.url}/big?size={number * 10_000}")
            assert len(client.getresponse().read()) == number * 10_000
            assert len(out.told) == number + 1
            client.close()


def test_bodies_are_passed_on_both_ways(server: Server) -> None:
    with way(server.place) as out:
        body = b"x" * 300_000
        head = f"POST {server.url}/ HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        assert out.say(head + body).endswith(body)

    begun = threading.Event()

    def chunked(connection: socket.socket) -> None:
        begun.set()
        data = hear(connection, b"0\r\n\r\n")
        sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(sent + b"".join(b"%x;a=b\r\n%b\r\n" % (len(data), data) for _ in range(3)) + b"0\r\n\r\n")

    with talking(chunked) as place, way(place) as out:
        client = out.connect()
        client.sendall(f"POST http://{place}/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        assert begun.wait(60)
        client.sendall(b"3;ext\r\nabc\r\n0\r\nTrailer: x\r\n\r\n")
        got = hear(client)
        assert got.endswith(b"\r\n\r\n" + b"d\r\n3\r\nabc\r\n0\r\n\r\n\r\n" * 3 + b"0\r\n\r\n")


def test_one_connection_carries_one_request(server: Server) -> None:
    with way(server.place) as out:
        count = len(server.asked)
        second = f"GET {server.url}/second HTTP/1.1\r\nHost: a\r\n\r\n"
        data = out.say(f"GET {server.url}/first HTTP/1.1\r\nHost: a\r\n\r\n{second}".encode())
        assert b"GET /first" in data
        assert b"/second" not in data
        smuggled = f"POST {server.url}/first HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{second}"
        assert b"/second" not in out.say(smuggled.encode())
        assert [asked.path for asked in server.asked[count:]] == ["/first", "/first"]
        assert len(out.told) == 2


@pytest.mark.parametrize(
    "headers",
    ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6",
     "Transfer-Encoding : chunked", "Transfer-Encoding: xchunked", "X: y\r\n Content-Length: 5"],
)  # fmt: skip
def test_requests_that_could_be_read_in_two_ways_reach_no_server(server: Server, headers: str) -> None:
    """Request smuggling."""
    with way(server.place) as out:
        count = len(server.asked)
        data = out.say(f"POST {server.url}/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n0\r\n\r\nGET /x".encode())
        assert data.startswith(b"HTTP/1.1 400 The sandbox's proxy says: the request cannot be understood: ")
        assert len(server.asked) == count
        assert out.last().refused


def test_line_ends_in_a_url_add_no_header(server: Server) -> None:
    """Header injection, in a path that a program did not check."""
    with way(server.place) as out:
        count = len(server.asked)
        for crlf in ("\r\n", "\n", "\r"):
            data = out.say(f"GET {server.url}/a HTTP/1.1{crlf}X: y HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert data.startswith(b"HTTP/1.1 400") or crlf == "\r\n"
        assert all("secret" not in asked.headers for asked in server.asked[count:])
        out.get(f"{server.url}/a%0d%0aX-Evil:%20y")
        assert "x-evil" not in server.asked[-1].headers


REFUSED = [
    "127.0.0.1:1", "localhost:{port}", "LOCALHOST:{port}", "localhost.:{port}", "2130706433:{port}",
    "0x7f000001:{port}", "0177.0.0.1:{port}", "127.1:{port}", "0:{port}", "[::1]:{port}", "[::ffff:127.0.0.1]:{port}",
    "[::ffff:7f00:1]:{port}", "169.254.169.254:80", "[fd00:ec2::254]:80", "metadata.google.internal:80",
    "127.0.0.1.nip.io:{port}", "example.org:443", "0.0.0.0:{port}", "[::]:{port}", "127.0.0.2:{port}",
]  # fmt: skip


@pytest.mark.parametrize("place", REFUSED)
def test_what_was_not_named_is_refused_in_a_sentence(server: Server, place: str) -> None:
    """Other spellings of this machine, metadata services, and everything else; by both kinds of requests."""
    place = place.format(port=server.port)
    looked_up: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    with way(server.place, "api.example.org", resolve=resolve) as out:
        count = len(server.asked)
        client, first = out.tunnel(place)
        with client:
            assert first.startswith(b"HTTP/1.1 403 Refused by the sandbox: ")
        data = out.get(f"http://{place}/")
        assert data.startswith(b"HTTP/1.1 403 Refused by the sandbox: ")
        assert len(server.asked) == count
        assert [bool(request.refused) for request in out.told] == [True, True]
        assert out.told[0].address == ""
    assert looked_up == []  # looking up a name tells it to whoever answers for it


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "0.0.0.0"])
def test_a_named_host_that_leads_inside_is_refused(address: str) -> None:
    with way("api.example.org", resolve=lambda host, port: ["93.184.215.14", address]) as out:
        data = out.get("http://api.example.org/")
        assert data.startswith(b"HTTP/1.1 403 Refused by the sandbox: api.example.org leads to " + address.encode())
        assert b"not a public address" in data


def test_localhost_is_refused_though_it_was_named(server: Server) -> None:
    with way(f"localhost:{server.port}") as out:
        assert b"is not a public address (it is loopback)" in out.get(f"http://localhost:{server.port}/")


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(server: Server) -> None:
    """DNS rebinding: a resolver that answers otherwise every time."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]])
    with way(f"api.example.org:{server.port}", server.place, resolve=lambda host, port: next(answers)) as out:
        assert b"200 OK" in out.get(f"http://api.example.org:{server.port}/")
        assert out.last().address == "127.0.0.1"
        assert b"403 Refused" in out.get(f"http://api.example.org:{server.port}/")
        assert b"200 OK" in out.get(f"http://api.example.org:{server.port}/")


def test_names_that_lead_nowhere() -> None:
    def resolve(host: str, port: int) -> list[str]:
        if host == "empty.example":
            return []
        if host == "odd.example":
            return ["fe80::1%eth0"]
        raise OSError("no such name")

    with way("*.example", resolve=resolve) as out:
        assert b"502 The sandbox's proxy says: the name no.example cannot be resolved (no such" in out.get(
            "http://no.example/"
        )
        assert b"502 " in out.get("http://empty.example/")
        assert b"403 " in out.get("http://odd.example/")
        assert [bool(request.refused) for request in out.told] == [False, False, True]


def test_a_name_that_is_looked_up_without_end() -> None:
    released = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        released.wait(60)
        return []

    with way("slow.example", resolve=resolve, times=Times(lookup=0.05)) as out:
        assert b"502 " in (data := out.get("http://slow.example/"))
        assert b"was not resolved within 0.05 seconds" in data
        assert [bool(request.refused) for request in out.told] == [False]
        released.set()


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with way(f"127.0.0.1:{port}") as out:
        assert f"502 The sandbox's proxy says: 127.0.0.1:{port} cannot be reached: ".encode() in out.get(
            f"http://127.0.0.1:{port}/"
        )
        client, first = out.tunnel(f"127.0.0.1:{port}")
        client.close()
        assert first.startswith(b"HTTP/1.1 502 ")
