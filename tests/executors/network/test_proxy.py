"""The proxy of a session, asked by clients that keep to no rule, in front of servers that do not either."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import struct
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from tests.tools.web.servers import Answer, Asked, Server, certificate, serving, talking

from actloop.executors.network import NetworkPolicy, SessionProxy
from actloop.executors.network.exchange import Times
from actloop.executors.network.proxy import MAX_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from actloop.executors.session import Request


def answer(asked: Asked) -> Answer:
    if asked.path == "/big":
        return Answer(b"x" * int(asked.query["size"]))
    return Answer(f"{asked.method} {asked.path} {asked.headers.get('host')} {asked.body.decode()}")


class Way:
    """A proxy under test, and what it told."""

    def __init__(self, policy: NetworkPolicy, times: Times | None = None) -> None:
        self.proxy = SessionProxy(policy, times)
        self.told: list[Request] = []
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

    def last(self) -> Request:
        """The request that was told last; waits for the first."""
        until = time.monotonic() + 10
        while not self.told and time.monotonic() < until:
            time.sleep(0.002)
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
    left = {thread for thread in threading.enumerate() if thread.name.startswith("actloop-proxy")} - before
    assert not left
    until = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > descriptors:  # the servers' own ends close a moment later
        assert time.monotonic() < until, "descriptors are left open"
        time.sleep(0.002)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(answer) as made:
        yield made


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
        assert begun.wait(10)
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
        if host == "slow.example":
            time.sleep(0.5)
        if host == "empty.example":
            return []
        if host == "odd.example":
            return ["fe80::1%eth0"]
        raise OSError("no such name")

    with way("*.example", resolve=resolve, times=Times(lookup=0.05)) as out:
        assert b"502 The sandbox's proxy says: the name no.example cannot be resolved (no such" in out.get(
            "http://no.example/"
        )
        assert b"502 " in out.get("http://empty.example/")
        assert b"was not resolved within 0.05 seconds" in out.get("http://slow.example/")
        assert b"403 " in out.get("http://odd.example/")
        assert [bool(request.refused) for request in out.told] == [False, False, False, True]


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


# ---- TLS


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    folder: Path = tmp_path_factory.mktemp("certificate")
    return certificate(str(folder), "api.example.org")


@pytest.fixture(scope="module")
def secure(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[Server]:
    with serving(answer, context=contexts[0]) as made:
        yield made


def test_a_tunnel_carries_tls(secure: Server, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    name = f"api.example.org:{secure.port}"
    with way(name, secure.place, resolve=lambda host, port: ["127.0.0.1"]) as out:
        client = http.client.HTTPSConnection(*out.address, context=contexts[1])
        client.set_tunnel("api.example.org", secure.port)
        client.request("POST", "/big?size=1000000", b"y" * 200_000)
        assert len(client.getresponse().read()) == 1_000_000
        client.close()
        request = out.last()
    assert (request.method, request.host, request.address) == ("CONNECT", "api.example.org", "127.0.0.1")
    assert request.sent > 200_000
    assert request.received > 1_000_000


@pytest.mark.parametrize("meant", ["evil.example", None])
def test_domain_fronting_is_refused(
    secure: Server, contexts: tuple[ssl.SSLContext, ssl.SSLContext], meant: str | None
) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with way(f"api.example.org:{secure.port}", secure.place, resolve=lambda host, port: ["127.0.0.1"]) as out:
        client, first = out.tunnel(f"api.example.org:{secure.port}")
        assert b" 200 " in first
        with client, pytest.raises(ssl.SSLError, match=r"(?i)access.denied"):
            context.wrap_socket(client, server_hostname=meant)
        assert "a tunnel to api.example.org was opened" in out.last().refused
        assert out.last().sent == 0


def test_a_tunnel_carries_nothing_but_tls(server: Server) -> None:
    with way(server.place) as out:
        count = len(server.asked)
        client, first = out.tunnel(server.place)
        with client:
            assert b" 200 " in first
            hear_rest = b"GET / HTTP/1.1\r\nHost: internal\r\n\r\n"
            client.sendall(hear_rest)
            assert b"403 Refused by the sandbox: a tunnel carries TLS alone" in hear(client)
        assert len(server.asked) == count
        data = out.say(f"CONNECT {server.place} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert b"a tunnel carries TLS alone" in data
        assert len(server.asked) == count


# ---- limits


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
    with way(server.place, times=Times(head=0.2)) as out:
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
        with way(place, times=Times(idle=0.1)) as out:
            assert out.get(f"http://{place}/").startswith(b"HTTP/1.1 504 ")
            client, _ = out.tunnel(place)
            hear(client)
            assert [request.refused for request in out.told] == ["", ""]
        with way(place, times=Times(total=0.1)) as out:
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


def test_a_connection_handed_over_is_served_without_a_listener(server: Server) -> None:
    """As keepers of containers and of clouds do it: one end of a pair of sockets."""
    told: list[Request] = []
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


# ---- ends


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
                assert asked.acquire(timeout=10)
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
    gone = threading.Event()

    def wait(connection: socket.socket) -> None:
        hear(connection)
        gone.set()

    with talking(wait) as place, way(place) as out:
        with out.connect() as client:
            client.sendall(f"GET http://{place}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            time.sleep(0.05)
        assert gone.wait(10)
        gone.clear()
        client = out.connect()
        client.sendall(f"GET http://{place}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        time.sleep(0.05)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert gone.wait(10)


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


def test_a_session_that_asks_without_end_fills_no_journal(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actloop.executors.network.proxy.MAX_REQUESTS", 5)
    with way(server.place) as out:
        count = len(server.asked)
        answers = [out.get(f"{server.url}/x") for _ in range(10)]
        assert [b"200 OK" in data for data in answers] == [True] * 5 + [False] * 5
        assert b"403 Refused by the sandbox: this session has made 5 requests, and may make no more" in answers[-1]
        assert len(server.asked) == count + 5
        assert [bool(request.refused) for request in out.told] == [False] * 5 + [True]


def test_trouble_of_the_observer_is_none_of_the_programs(server: Server) -> None:
    def fail(request: Request) -> None:
        raise RuntimeError

    with way(server.place) as out:
        out.proxy.observe(fail)
        assert b"GET /x" in out.get(f"{server.url}/x")
