"""A network by allow-list: the hosts that were named and nothing else, or a refusal to promise it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.tools.web.servers import Answer, Asked, Server, certificate, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.executors.contract.kit import Subject
    from tests.executors.driving import Driver

    from actloop.values.events import NetworkRequested


URLLIB = (
    "import urllib.request\n"
    "def get(url, **more): return urllib.request.urlopen(url, timeout=10, **more).read().decode()\n"
)


def answer(asked: Asked) -> Answer:
    if asked.path == "/big":
        return Answer("x" * int(asked.query["size"]))
    return Answer(f"{asked.method} {asked.path} {len(asked.body)}")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(answer) as made:
        yield made


@pytest.fixture
def networked(make: Callable[..., Any], subject: Subject) -> None:
    """Leave out executors that refuse to promise it; that they do refuse is a test of its own."""
    if not make().networked:
        pytest.skip(f"{subject} has no network: it cannot keep programs to some hosts")


def test_an_executor_without_a_way_refuses_hosts(make: Callable[..., Any]) -> None:
    if make().networked:
        assert make(allow_hosts=["api.example.org"]).network.hosts == ["api.example.org"]
        return
    with pytest.raises(ValueError, match="allow_hosts"):
        make(allow_hosts=["api.example.org"])


@pytest.mark.usefixtures("networked")
def test_a_named_host_is_reached(open_driver: Callable[..., Driver], server: Server) -> None:
    driver = open_driver({"allow_hosts": [server.place]})
    told: list[NetworkRequested] = []
    driver.session.observe(told.append)
    assert driver.value(f"{URLLIB}get('{server.url}/x')") == "GET /x 0"
    assert driver.value(f"get('{server.url}/x', data=b'y' * 300_000)") == "POST /x 300000"
    assert driver.value(f"len(get('{server.url}/big?size=1000000'))") == 1_000_000
    assert [(request.host, request.method, request.refused) for request in told] == [
        ("127.0.0.1", "GET", ""),
        ("127.0.0.1", "POST", ""),
        ("127.0.0.1", "GET", ""),
    ]


@pytest.mark.usefixtures("networked")
def test_a_named_host_is_reached_by_tls(open_driver: Callable[..., Driver], tmp_path: Path) -> None:
    context, _ = certificate(str(tmp_path), "localhost")
    pem = (tmp_path / "server.pem").read_text()
    with serving(answer, context=context) as secure:
        hosts = [f"localhost:{secure.port}", f"127.0.0.1:{secure.port}", f"[::1]:{secure.port}"]
        driver = open_driver({"allow_hosts": hosts})
        driver.define(authority=pem[pem.index("-----BEGIN CERT") :])
        driver.value(f"{URLLIB}import ssl\ncontext = ssl.create_default_context(cadata=authority)\nNone")
        assert driver.value(f"get('https://localhost:{secure.port}/x', context=context)") == "GET /x 0"


@pytest.mark.usefixtures("networked")
@pytest.mark.parametrize(
    "url", ["http://evil.example/", "https://evil.example/", "http://169.254.169.254/", "http://localhost/"]
)
def test_every_other_host_is_refused_in_a_sentence(
    open_driver: Callable[..., Driver], server: Server, url: str
) -> None:
    driver = open_driver({"allow_hosts": [server.place]})
    ended = driver.run(f"{URLLIB}get({url!r})")
    assert ended.failure is not None
    assert "Refused by the sandbox: " in ended.failure.message
    assert f"is not among what may be reached from here: {server.place}" in ended.failure.message
    assert driver.value(f"get('{server.url}/x')") == "GET /x 0"


@pytest.mark.usefixtures("networked")
def test_requests_of_several_threads(open_driver: Callable[..., Driver], server: Server) -> None:
    driver = open_driver({"allow_hosts": [server.place]})
    code = (
        f"{URLLIB}from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool:\n"
        f"    texts = list(pool.map(lambda n: get(f'{server.url}/{{n}}'), range(40)))\n"
        "texts == [f'GET /{n} 0' for n in range(40)]"
    )
    assert driver.value(code) is True


@pytest.mark.usefixtures("networked")
def test_the_budget_of_a_session(open_driver: Callable[..., Driver], server: Server) -> None:
    driver = open_driver({"allow_hosts": [server.place], "network_budget": 100_000})
    assert driver.value(f"{URLLIB}len(get('{server.url}/big?size=50000'))") == 50_000
    assert driver.run(f"get('{server.url}/big?size=5000000')").failure is not None
    ended = driver.run(f"get('{server.url}/x')")
    assert ended.failure is not None
    assert "the network budget of this session, 100,000 bytes, is used up" in ended.failure.message
