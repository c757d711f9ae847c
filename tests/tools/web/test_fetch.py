"""Attacks on the guarded client first, then what it does for those who mean well."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import socket
import threading
import zlib
from typing import TYPE_CHECKING

import pytest
from tests.tools.web.servers import Answer, Asked, certificate, serving, talking

from actloop.tools.web.errors import (
    ContentTypeError,
    FetchCancelledError,
    FetchError,
    FetchTimeoutError,
    ForbiddenAddressError,
    StatusError,
    TooLargeError,
)
from actloop.tools.web.fetch import Fetcher
from actloop.values.addresses import special

if TYPE_CHECKING:
    from pathlib import Path

INTERNAL = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.9.1", "169.254.169.254",
    "169.254.170.2", "168.63.129.16", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:7f00:1::1", "2001:db8::1",
    "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1",
    "fec0::1", "ff02::1", "2a00:1450:4001::5efe:7f00:1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::6810:84e5", "2a00:1450::8a"]


def refusing(*args: object) -> list[str]:
    pytest.fail(f"a name was looked up that must not be: {args}")


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses_are_refused(address: str) -> None:
    assert special(ipaddress.ip_address(address)) is not None
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    with pytest.raises(ForbiddenAddressError):
        Fetcher(resolve=refusing).fetch(url)
    with pytest.raises(ForbiddenAddressError):
        Fetcher(resolve=lambda host, port: [address]).fetch("http://innocent.example/")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not(address: str) -> None:
    assert special(ipaddress.ip_address(address)) is None
    assert Fetcher(resolve=lambda host, port: [address]).check("http://innocent.example/")


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "017700000001", "0x7f.1",
     "127.0.0.1.", "00127.0.0.1", "127.0.0.0x1", "0", "0x", "1.1.1", "256.256.256.256", "4294967297", "[::1%25lo]",
     "[fe80::1%25eth0]",
     "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1", "%31%32%37.0.0.1",
     "127.0.0.1%00.example.com", "a b", "", "-\u00ad", "[127.0.0.1]", "[::ffff:7f00:1]"],
)  # fmt: skip
def test_unusual_spellings_of_addresses_are_refused(host: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        Fetcher(resolve=refusing).fetch(f"http://{host}/")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "gopher://127.0.0.1:6379/_x", "ftp://example.com/", "javascript:alert(1)",
     "data:text/html,x",
     "//example.com/", "example.com", "", "http:/example.com", "http:example.com", "HTTP\n://example.com", "unix:///x",
     "http://", "http://user:secret@example.com/", "http://example.com@127.0.0.1/", "http://example.com:80@127.0.0.1/",
     "http://127.0.0.1\\@example.com/", "http://example.com\\@127.0.0.1/", "http://exa\tmple.com/", "http://@example.com/",
     "http://example.com/\r\nHost: x", "http://example.com:99999/", "http://example.com:x/", "http://[::1", "http://a..b/",
     "http://" + "a" * 9000],
)  # fmt: skip
def test_tricks_in_addresses_are_refused(url: str) -> None:
    with pytest.raises(FetchError) as caught:
        Fetcher(resolve=lambda host, port: []).fetch(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 9200, 11211, 65535])
def test_ports_of_other_services_are_refused(port: int) -> None:
    with pytest.raises(ForbiddenAddressError, match="port"):
        Fetcher(resolve=refusing).fetch(f"http://example.com:{port}/")


def test_a_name_with_one_public_and_one_private_address_is_refused() -> None:
    for addresses in (["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "8.8.8.8"], ["2606:4700::1", "::1"]):
        with pytest.raises(ForbiddenAddressError, match=r"innocent\.example"):
            Fetcher(resolve=lambda host, port, found=addresses: found).fetch("http://innocent.example/")


def test_a_resolver_that_answers_nonsense_is_refused() -> None:
    for answer in (["localhost"], ["fe80::1%lo"], ["127.1"], [""]):
        with pytest.raises(ForbiddenAddressError):
            Fetcher(resolve=lambda host, port, found=answer: found).fetch("http://innocent.example/")
    with pytest.raises(FetchError, match="cannot be resolved"):
        Fetcher(resolve=lambda host, port: []).fetch("http://innocent.example/")


def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    """The name is rebound to an internal address after its first lookup."""
    with (
        serving(lambda asked: Answer("public")) as public,
        serving(lambda asked: Answer("secret"), host="127.0.0.2", port=public.port) as secret,
    ):
        answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]]
        looked_up: list[str] = []

        def rebinding(host: str, port: int) -> list[str]:
            looked_up.append(host)
            return answers.pop(0)

        fetched = Fetcher(allow_hosts=["127.0.0.1"], resolve=rebinding).fetch(f"http://rebind.example:{public.port}/a")
        assert fetched.body == b"public"
        assert public.asked[0].headers["host"] == f"rebind.example:{public.port}"
        assert looked_up == ["rebind.example"]
        with pytest.raises(ForbiddenAddressError, match=r"127\.0\.0\.2"):
            Fetcher(allow_hosts=["127.0.0.1"], resolve=rebinding).fetch(f"http://rebind.example:{public.port}/a")
        assert secret.asked == []


def test_redirects_to_internal_addresses_are_refused() -> None:
    with serving(lambda asked: Answer("secret"), host="127.0.0.2") as secret:
        targets = [
            secret.url, f"http://inside.example:{secret.port}/", "http://169.254.169.254/latest/meta-data/",
            "http://2130706434/", f"//127.0.0.2:{secret.port}/", "file:///etc/passwd", "http://[::ffff:127.0.0.2]/",
            f"http://x@127.0.0.2:{secret.port}/",
        ]  # fmt: skip

        def redirect(asked: Asked) -> Answer:
            return Answer(status=302, headers={"Location": targets[int(asked.query["n"])]})

        with serving(redirect) as front:
            fetcher = Fetcher(allow_hosts=[front.place], resolve=lambda host, port: ["127.0.0.2"])
            for number in range(len(targets)):
                with pytest.raises(FetchError, match=r"refused|no web address|unusual spelling"):
                    fetcher.fetch(f"{front.url}/?n={number}")
        assert secret.asked == []


def test_redirects_end() -> None:
    with serving(lambda asked: Answer(status=302, headers={"Location": "/again"})) as server:
        with pytest.raises(FetchError, match="more than 3 redirects"):
            Fetcher(allow_hosts=[server.place], max_redirects=3).fetch(server.url)
        assert len(server.asked) == 4


def test_a_redirect_to_a_stranger_takes_no_secrets_along() -> None:
    with serving(lambda asked: Answer("ok")) as other:

        def redirect(asked: Asked) -> Answer:
            status = int(asked.query.get("status", "302"))
            return Answer(status=status, headers={"Location": other.url, "Set-Cookie": "session=1"})

        with serving(redirect) as first:
            fetcher = Fetcher(allow_hosts=[first.place, other.place])
            assert fetcher.fetch(first.url, headers={"X-Api-Key": "secret", "Authorization": "secret"}).body == b"ok"
            assert "secret" not in str(other.asked[0].headers)
            with pytest.raises(FetchError, match="body"):
                fetcher.fetch(f"{first.url}/?status=307", method="POST", json={"key": "secret"})
            assert len(other.asked) == 1


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda asked: Answer("by proxy")) as proxy, serving(lambda asked: Answer("direct")) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert Fetcher(allow_hosts=[server.place]).fetch(server.url).body == b"direct"
        with pytest.raises(ForbiddenAddressError):
            Fetcher().fetch("http://10.0.0.1/")
        assert proxy.asked == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "bare"])
def test_a_bomb_is_stopped(encoding: str) -> None:
    plain = bytes(60_000_000)
    if encoding == "gzip":
        bomb = gzip.compress(plain)
    else:
        shrink = zlib.compressobj(wbits=-15 if encoding == "bare" else 15)
        bomb = shrink.compress(plain) + shrink.flush()
    assert len(bomb) < 100_000
    headers = {"Content-Encoding": "deflate" if encoding == "bare" else encoding}
    with serving(lambda asked: Answer(bomb, headers=headers)) as server:
        fetcher = Fetcher(allow_hosts=[server.place], max_bytes=100_000)
        with pytest.raises(TooLargeError, match="100,000"):
            fetcher.fetch(server.url)
        cut = fetcher.fetch(server.url, truncate=True)
        assert len(cut.body) == 100_000
        assert cut.is_truncated


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_a_compression_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with serving(lambda asked: Answer(b"x", headers={"Content-Encoding": encoding})) as server:
        with pytest.raises(ContentTypeError, match="compressed"):
            Fetcher(allow_hosts=[server.place]).fetch(server.url)
        assert server.asked[0].headers["accept-encoding"] == "gzip, deflate"


def test_broken_compression_is_said() -> None:
    with (
        serving(lambda asked: Answer(b"no gzip at all", headers={"Content-Encoding": "gzip"})) as server,
        pytest.raises(FetchError, match="broken"),
    ):
        Fetcher(allow_hosts=[server.place]).fetch(server.url)


def test_a_body_without_end_is_stopped() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))

    def announced(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n")
        connection.recv(1)

    for talk in (flood, announced):
        with talking(talk) as place, pytest.raises(TooLargeError):
            Fetcher(allow_hosts=[place], max_bytes=1_000_000).fetch(f"http://{place}/")


def test_a_slow_drip_ends_with_the_time() -> None:
    def drip(begin: bytes, piece: bytes):
        def talk(connection: socket.socket) -> None:
            connection.sendall(begin)
            while True:
                connection.sendall(piece)
                if ended.wait(0.05):
                    return

        return talk

    drips = [
        drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ]
    for talk in drips:
        ended = threading.Event()
        with talking(talk) as place:
            with pytest.raises(FetchTimeoutError, match=r"longer than 0\.3 seconds|in time"):
                Fetcher(allow_hosts=[place], timeout=0.3).fetch(f"http://{place}/")
            ended.set()


def test_slow_redirects_share_one_time() -> None:
    pause = threading.Event()

    def slow(asked: Asked) -> Answer:
        pause.wait(0.15)
        return Answer(status=302, headers={"Location": f"/{len(asked.path)}x"})

    with serving(slow) as server, pytest.raises(FetchTimeoutError):
        Fetcher(allow_hosts=[server.place], timeout=0.5, max_redirects=1000).fetch(server.url)


def test_a_resolver_that_hangs_ends_with_the_time() -> None:
    released = threading.Event()

    def hanging(host: str, port: int) -> list[str]:
        released.wait(60)
        return ["8.8.8.8"]

    with pytest.raises(FetchTimeoutError):
        Fetcher(timeout=0.3, resolve=hanging).fetch("http://slow.example/")
    released.set()


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX: " + b"x" * 400_000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 60_000 + b"\r\n",
     b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", b"",
     b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", b"SSH-2.0-x\r\n", b"+PONG\r\n"],
)  # fmt: skip
def test_broken_and_oversized_answers_are_errors(head: bytes) -> None:
    with talking(lambda connection: connection.sendall(head)) as place, pytest.raises(FetchError):
        Fetcher(allow_hosts=[place], timeout=3).fetch(f"http://{place}/")


def test_tls_is_checked_against_the_name(tmp_path: Path) -> None:
    server_side, trusting = certificate(str(tmp_path), "shop.example")
    with serving(lambda asked: Answer("ok"), context=server_side) as server:

        def fetcher(context: object = trusting) -> Fetcher:
            return Fetcher(
                allow_hosts=[server.place],
                resolve=lambda host, port: ["127.0.0.1"],
                ssl_context=context,  # pyright: ignore[reportArgumentType]
            )

        assert fetcher().fetch(f"https://shop.example:{server.port}/").body == b"ok"
        assert server.asked[0].headers["host"] == f"shop.example:{server.port}"
        for client, name in ((fetcher(), "other.example"), (fetcher(None), "shop.example")):
            with pytest.raises(FetchError, match=r"(?i)certificate"):
                client.fetch(f"https://{name}:{server.port}/")
        assert len(server.asked) == 1


def test_what_is_allowed_is_what_was_named() -> None:
    with serving(lambda asked: Answer("ok")) as server:
        port = server.port
        for allowed in ("127.0.0.1", server.place, "127.0.0.0/8", "wiki.corp", f"wiki.corp:{port}", "*.corp"):
            fetcher = Fetcher(allow_hosts=[allowed], resolve=lambda host, port: ["127.0.0.1"])
            assert fetcher.fetch(f"http://wiki.corp:{port}/").body == b"ok"
        for allowed in (f"127.0.0.1:{port + 1}", "10.0.0.0/8", "wiki", "corp", "evil.corp", "*.wiki.corp", "[::1]"):
            fetcher = Fetcher(allow_hosts=[allowed], resolve=lambda host, port: ["127.0.0.1"])
            with pytest.raises(ForbiddenAddressError):
                fetcher.fetch(f"http://wiki.corp:{port}/")
        assert Fetcher(allow_private=True, ports=None).fetch(server.url).body == b"ok"
        for metadata in ("169.254.169.254", "100.100.100.200", "[fd00:ec2::254]"):
            with pytest.raises(ForbiddenAddressError, match="metadata"):
                Fetcher(allow_private=True).fetch(f"http://{metadata}/")
    for entry in ("http://x", "10.0.0.0/99", "a:b", ""):
        with pytest.raises(ValueError, match="allow_hosts"):
            Fetcher(allow_hosts=[entry])
    with pytest.raises(ValueError, match="list"):
        Fetcher(allow_hosts="127.0.0.1")


def test_unwanted_types_are_refused_before_the_body() -> None:
    with serving(lambda asked: Answer(b"%PDF", kind="Application/PDF; x=y")) as server:
        fetcher = Fetcher(allow_hosts=[server.place])
        with pytest.raises(ContentTypeError, match="application/pdf"):
            fetcher.fetch(server.url, accept=["text/*", "*+json"])
        assert fetcher.fetch(server.url, accept=["application/pdf"]).content_type == "application/pdf"


@pytest.mark.parametrize(
    ("body", "kind"),
    [("Grüße – 日本".encode(), "text/html; charset=utf-8"), ("Grüße – 日本".encode(), "text/plain"),
     ("Grüße – 日本".encode("utf-16"), "text/plain"),
     ("Grüße – 日本".encode("gb18030"), 'text/html; charset="GB18030"'),
     (b"<meta charset='shift_jis'>" + "Grüße – 日本".encode("shift_jis", "replace"), "text/html")],
)  # fmt: skip
def test_charsets(body: bytes, kind: str) -> None:
    with serving(lambda asked: Answer(body, kind=kind)) as server:
        assert "日本" in Fetcher(allow_hosts=[server.place]).fetch(server.url).text()


@pytest.mark.parametrize("charset", ["iso-8859-1", "rot13", "idna", "unknown-9", "unicode_escape", "zlib_codec", "hex"])
def test_a_charset_is_no_way_to_run_other_codecs(charset: str) -> None:
    with serving(
        lambda asked: Answer("\x93caf\xe9\x94 \\x41".encode("latin-1"), kind=f"text/plain; charset={charset}")
    ) as it:
        assert Fetcher(allow_hosts=[it.place]).fetch(it.url).text() == "“café” \\x41"


def test_errors_of_a_server_carry_status_and_wait() -> None:
    with serving(lambda asked: Answer("no", status=429, headers={"Retry-After": "7"})) as server:
        fetched = Fetcher(allow_hosts=[server.place]).fetch(f"{server.url}/?key=secret")
        with pytest.raises(StatusError, match="429 Too Many Requests; it asks to wait 7 seconds") as caught:
            fetched.raise_for_status()
        assert (caught.value.status, caught.value.retry_after) == (429, 7.0)
        assert "secret" not in str(caught.value)


def test_a_dead_server_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(FetchError, match="no connection"):
        Fetcher(allow_hosts=["127.0.0.1"]).fetch(f"http://127.0.0.1:{port}/")


def test_the_next_address_is_tried() -> None:
    with serving(lambda asked: Answer("ok")) as server:
        fetcher = Fetcher(allow_hosts=["127.0.0.0/8"], resolve=lambda host, port: ["127.0.0.3", "127.0.0.1"])
        assert fetcher.fetch(f"http://two.example:{server.port}/").body == b"ok"


def test_query_headers_and_json_are_sent() -> None:
    with serving(lambda asked: Answer('{"a": [1]}', kind="application/json")) as server:
        fetcher = Fetcher(allow_hosts=[server.place])
        got = fetcher.fetch(
            f"{server.url}/s?a=1", method="POST", params={"q": "x & y"}, headers={"X": "1"}, json={"b": 2}
        )
        assert got.json() == {"a": [1]}
        asked = server.asked[0]
        assert (asked.method, asked.query, asked.body) == ("POST", {"a": "1", "q": "x & y"}, b'{"b":2}')
        assert asked.headers["x"] == "1"


async def test_fetching_does_not_block_the_loop_and_a_cancelled_task_ends_the_transfer() -> None:
    arrived, gone = threading.Event(), threading.Event()

    def hold(connection: socket.socket) -> None:
        arrived.set()
        if connection.recv(1) == b"":
            gone.set()

    with serving(lambda asked: Answer("ok")) as server:
        assert (await Fetcher(allow_hosts=[server.place]).afetch(server.url)).body == b"ok"
    with talking(hold) as place:
        task = asyncio.create_task(Fetcher(allow_hosts=[place], timeout=60).afetch(f"http://{place}/"))
        await asyncio.to_thread(arrived.wait, 5)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, FetchCancelledError)):
            await task
        assert await asyncio.to_thread(gone.wait, 5)


def test_threads_share_a_fetcher() -> None:
    with serving(lambda asked: Answer(asked.query["n"])) as server:
        fetcher, found = Fetcher(allow_hosts=[server.place]), dict[int, bytes]()

        def fetch(number: int) -> None:
            found[number] = fetcher.fetch(f"{server.url}/?n={number}").body

        threads = [threading.Thread(target=fetch, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {n: str(n).encode() for n in range(10)}
