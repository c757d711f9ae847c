"""Tunnels through a session's proxy, which carry TLS to the host they were opened to, and nothing else."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from tests.tools.web.servers import Server, certificate, serving

from .ways import answer, hear, way

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


class Retrying:
    """A server that asks every client of today for another key; notes which hosts they mean."""

    def __init__(self, context: ssl.SSLContext) -> None:
        context.set_ecdh_curve("prime256v1")
        context.sni_callback = lambda _connection, name, _context: self.meant.append(name)
        self.meant: list[str] = []
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(20)
        port = self.listener.getsockname()[1]
        self.place = f"localhost:{port}"
        self.allowed = (self.place, f"127.0.0.1:{port}")
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        """Serve one client."""
        try:
            client, _ = self.listener.accept()
        except TimeoutError:
            return
        client.settimeout(20)
        try:
            with self.context.wrap_socket(client, server_side=True) as secure:
                secure.sendall(secure.recv(100))
        except OSError:
            client.close()

    def close(self) -> None:
        self.thread.join()
        self.listener.close()


@pytest.fixture
def retrying(tmp_path: Path) -> Iterator[Retrying]:
    server = Retrying(certificate(str(tmp_path), "localhost")[0])
    yield server
    server.close()


@pytest.mark.parametrize("meant", [b"localhost", b"forbidden"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_domain_fronting_by_a_second_hello_is_refused(retrying: Retrying, meant: bytes, pieces: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(coming, going, server_hostname="localhost")
    with way(*retrying.allowed, resolve=lambda host, port: ["127.0.0.1"]) as out:
        client, first = out.tunnel(retrying.place)
        assert b" 200 " in first
        with client:
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            client.sendall(going.read())
            retry = client.recv(65_536)
            assert RETRY in retry
            coming.write(retry)
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            second = going.read()
            start = second.index(b"\x16\3\3")
            hello = second[start + 5 :].replace(b"localhost", meant)
            size = -(-len(hello) // pieces)
            parts = [hello[place : place + size] for place in range(0, len(hello), size)]
            records = [b"\x16\3\3" + len(part).to_bytes(2, "big") + part for part in parts]
            client.sendall(second[:start] + b"".join(records))
            said = hear(client, b"\x17\3\3")
        request = out.last()
    retrying.close()
    if meant == b"localhost":
        assert b"\x17\3\3" in said  # the server's certificate, encrypted
        assert not request.refused
        assert retrying.meant[-1] == "localhost"
    else:
        assert "names 'forbidden'" in request.refused
        assert "forbidden" not in retrying.meant


def test_a_server_that_wants_another_key_is_reached(retrying: Retrying, tmp_path: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with way(*retrying.allowed, resolve=lambda host, port: ["127.0.0.1"]) as out:
        client, _ = out.tunnel(retrying.place)
        with context.wrap_socket(client, server_hostname="localhost") as secure:
            secure.sendall(b"hello")
            assert secure.recv(100) == b"hello"
    retrying.close()
    assert set(retrying.meant) == {"localhost"}


def test_a_tunnel_carries_tls_1_2(secure: Server, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Whose handshakes go on after the cipher was changed, in records of the same kind."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with way(f"api.example.org:{secure.port}", secure.place, resolve=lambda host, port: ["127.0.0.1"]) as out:
        client = http.client.HTTPSConnection(*out.address, context=context)
        client.set_tunnel("api.example.org", secure.port)
        client.request("GET", "/big?size=100000")
        assert len(client.getresponse().read()) == 100_000
        client.close()


RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""What stands in a server's hello that asks for another (RFC 8446, 4.1.3)."""
