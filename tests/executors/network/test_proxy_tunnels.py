"""Tunnels through a session's proxy, which carry TLS to the host they were opened to, and nothing else."""

from __future__ import annotations

import http.client
import ssl
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
