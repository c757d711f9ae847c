"""Programs in the kernel sandbox that may reach some hosts: that they do, by every client, and nothing else."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from tests.executors.driving import WAITER, Driver
from tests.tools.web.servers import Answer, Asked, Server, certificate, serving, talking
from tests.waiting import eventually

from actloop import AgentLogger, CodeAgent, LogLevel, MemoryJournal, ScriptedModel, tool
from actloop.errors import InterpreterError, SandboxUnavailableError
from actloop.executors.kernel.host import Zygote
from actloop.executors.local import KernelProcess, LocalPythonExecutor
from actloop.executors.session import Finished, SandboxLimits
from actloop.executors.waiting import run_now
from actloop.runtime.ports import Asyncio, Interrupt
from actloop.values.events import NetworkRequested, ProgramFinished, RunFinished

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path


def answer(asked: Asked) -> Answer:
    if asked.path == "/big":
        return Answer(b"x" * int(asked.query["size"]))
    if asked.path == "/away":
        return Answer(b"", 302, {"Location": asked.query["to"]})
    return Answer(f"{asked.method} {asked.path} {asked.body.decode()}".strip(), kind="text/plain")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(answer) as made:
        yield made


class Box:
    """A session that may reach some hosts, and what was told of its requests."""

    def __init__(self, *hosts: str, **options: Any) -> None:
        self.executor = LocalPythonExecutor(allow_hosts=hosts, **options)
        self.session = run_now(self.executor.open_session(WAITER))
        self.told: list[NetworkRequested] = []
        self.session.observe(self.told.append)
        self._driver = Driver(self.session)

    def run(self, code: str) -> Any:
        """The value of a program that must not fail."""
        ended = self.ended(code)
        assert ended.failure is None, ended.failure.traceback + ended.failure.hint
        return ended.output

    def fails(self, code: str) -> str:
        """What a program fails with."""
        ended = self.ended(code)
        assert ended.failure is not None, ended.output
        return f"{ended.failure.kind}: {ended.failure.message}"

    def ended(self, code: str) -> Finished:
        return self._driver.run(code)


def left_of(before: set[threading.Thread], name: str = "actloop") -> list[threading.Thread]:
    return [thread for thread in set(threading.enumerate()) - before if thread.name.startswith(name)]


@pytest.fixture
def box() -> Iterator[Callable[..., Box]]:
    made: list[Box] = []

    def make(*hosts: str, **options: Any) -> Box:
        made.append(Box(*hosts, **options))
        return made[-1]

    before = set(threading.enumerate())
    descriptors = len(os.listdir("/proc/self/fd"))
    yield make
    for each in made:
        each.session.close()
        each.executor.cleanup()
    assert eventually(lambda: not left_of(before)), left_of(before)  # closing waits but a moment for them
    most = descriptors + 2  # a zygote that was started on the way
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= most, within=60), "descriptors are left open"


URLLIB = "import urllib.request\ndef get(url): return urllib.request.urlopen(url, timeout=10).read().decode()\n"

CLIENTS = {
    "urllib": ((), "import urllib.request\nurllib.request.urlopen({url!r}).read().decode()"),
    "http.client": (
        (),
        (
            "import http.client, urllib.request\nway = urllib.parse.urlsplit(urllib.request.getproxies()['http'])\n"
            "client = http.client.HTTPConnection(way.hostname, way.port)\nclient.request('GET', {url!r})\n"
            "client.getresponse().read().decode()"
        ),
    ),
    "requests": (("requests",), "import requests\nrequests.get({url!r}).text"),
    "httpx": (("httpx",), "import httpx\nhttpx.get({url!r}).text"),
    "httpx async": (
        ("httpx",),
        "import httpx\nasync with httpx.AsyncClient() as client:\n    text = (await client.get({url!r})).text\ntext",
    ),
    "aiohttp": (
        ("aiohttp",),
        (
            "import aiohttp\nasync with aiohttp.ClientSession(trust_env=True) as client:\n"
            "    async with client.get({url!r}) as got:\n        text = await got.text()\ntext"
        ),
    ),
    "sockets": (
        (),
        (
            "import socket\nwith socket.create_connection(('127.0.0.1', 3128)) as way:\n"
            "    way.sendall(b'GET {url} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n    data = b''\n"
            "    while more := way.recv(999): data += more\ndata.decode().rpartition('\\r\\n')[2]"
        ),
    ),
}


@pytest.mark.parametrize(("imports", "code"), CLIENTS.values(), ids=CLIENTS)
def test_every_client_finds_its_way(
    box: Callable[..., Box], server: Server, imports: tuple[str, ...], code: str
) -> None:
    for name in imports:
        pytest.importorskip(name)
    made = box(server.place, additional_authorized_imports=imports)
    assert made.run(code.format(url=f"{server.url}/x")) == "GET /x"
    assert [(request.host, request.method, request.refused) for request in made.told] == [("127.0.0.1", "GET", "")]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext, str]:
    folder: Path = tmp_path_factory.mktemp("certificate")
    return (*certificate(str(folder), "localhost"), (folder / "server.pem").read_text())


@pytest.mark.parametrize(
    ("imports", "code"),
    [
        ((), ("import ssl, urllib.request\ncontext = ssl.create_default_context(cadata=authority)\n"
         "urllib.request.urlopen({url!r}, context=context).read().decode()")),
        (("requests",), "import requests\nopen('ca', 'w').write(authority)\nrequests.get({url!r}, verify='ca').text"),
        (("httpx",), ("import httpx, ssl\ncontext = ssl.create_default_context(cadata=authority)\n"
         "async with httpx.AsyncClient(verify=context) as client:\n    text = (await client.get({url!r})).text\ntext")),
    ],
    ids=["urllib", "requests", "httpx async"],
)  # fmt: skip
def test_encrypted_requests_are_made(
    box: Callable[..., Box],
    contexts: tuple[ssl.SSLContext, ssl.SSLContext, str],
    imports: tuple[str, ...],
    code: str,
) -> None:
    with serving(answer, context=contexts[0]) as secure:
        hosts = (f"localhost:{secure.port}", f"127.0.0.1:{secure.port}", f"[::1]:{secure.port}")
        made = box(*hosts, additional_authorized_imports=imports)
        authority = contexts[2][contexts[2].index("-----BEGIN CERT") :]
        made.run(f"authority = {authority!r}")
        assert made.run(code.format(url=f"https://localhost:{secure.port}/x")) == "GET /x"
        made.session.close()
        assert {(request.host, request.method, request.address) for request in made.told} == {
            ("localhost", "CONNECT", "127.0.0.1")
        }


def test_certificates_of_authorities_are_there(box: Callable[..., Box]) -> None:
    if not os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        pytest.skip("this machine has no certificates of authorities")
    made = box("api.example.org")
    assert made.run("import ssl\nlen(ssl.create_default_context().get_ca_certs())") > 50
    for path in ("/etc/ssl/private", "/etc/passwd", "/etc/hosts", "/etc/resolv.conf"):
        assert "No such file" in made.fails(f"open({path!r})")


def test_requests_from_threads_and_in_numbers(box: Callable[..., Box], server: Server) -> None:
    made = box(server.place)
    code = (
        f"{URLLIB}from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        f"    texts = list(pool.map(lambda number: get('{server.url}/' + str(number)), range(200)))\n"
        "texts == [f'GET /{number}' for number in range(200)]"
    )
    assert made.run(code) is True
    assert len(made.told) == 200


def test_variables_of_the_environment_lead_there_and_nothing_else(box: Callable[..., Box]) -> None:
    made = box("api.example.org", additional_authorized_imports=["os"])
    seen = made.run("import os\ndict(os.environ)")
    assert {name: value for name, value in seen.items() if "proxy" in name.lower()} == dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:3128"
    )
    certificates = {"SSL_CERT_FILE", "SSL_CERT_DIR"} & set(os.environ)
    assert {name for name in seen if "proxy" not in name.lower()} <= {"HOME", "TMPDIR", "LANG", "TZ"} | certificates


def test_a_refusal_is_a_sentence_for_the_model(box: Callable[..., Box], server: Server) -> None:
    made = box("api.example.org:443", server.place)
    ended = made.ended(f"{URLLIB}get('https://evil.example/')")
    assert ended.failure is not None
    assert (
        "Refused by the sandbox: evil.example:443 is not among what may be reached from here" in ended.failure.message
    )
    assert f"programs reach api.example.org:443, {server.place} and nothing else" in ended.failure.hint
    assert "403: Refused by the sandbox: evil.example:80" in made.fails("get('http://evil.example/')")
    assert "127.0.0.1:81 is not among what may be reached" in made.fails("get('http://127.0.0.1:81/')")
    assert "ImportError: Import of requests is not allowed: requests are made with urllib.request here" in made.fails(
        "import requests"
    )
    assert made.ended(f"import urllib.request\nurllib.request.urlopen('{server.url}/%')").failure is None


def test_hints_know_of_the_workspace(box: Callable[..., Box], tmp_path: Path) -> None:
    for options, words in (
        ({"workspace": tmp_path}, "of the host's files only the current folder is here, which is the user's"),
        ({}, "no files of the host are here (only an empty scratch folder)"),
    ):
        ended = box("api.example.org:443", **options).ended(f"{URLLIB}get('https://evil.example/')")
        assert ended.failure is not None
        assert ended.failure.hint.endswith(f"programs reach api.example.org:443 and nothing else; {words}.")
    with LocalPythonExecutor(["urllib"], workspace=tmp_path) as executor:
        words = r"Of the host's files only the current folder is here, which is the user's, and there is no network"
        with pytest.raises(InterpreterError, match=words):
            executor(f"{URLLIB}get('https://evil.example/')")


def test_an_error_of_a_server_has_no_hint_about_the_network(box: Callable[..., Box]) -> None:
    with serving(lambda asked: Answer("gone", 404)) as there:
        ended = box(there.place).ended(f"{URLLIB}get('{there.url}/')")
    assert ended.failure is not None
    assert ended.failure.message == "HTTP Error 404: Not Found"
    assert ended.failure.hint == ""


def test_redirects_lead_nowhere_else(box: Callable[..., Box], server: Server) -> None:
    made = box(server.place)
    assert made.run(f"{URLLIB}get('{server.url}/away?to=/x')") == "GET /x"
    for target in ("http://169.254.169.254/latest/", f"http://localhost:{server.port}/", "https://evil.example/"):
        assert "Refused by the sandbox" in made.fails(f"get('{server.url}/away?to={target}')")


def test_without_hosts_there_is_no_network(server: Server) -> None:
    with LocalPythonExecutor(["socket", "urllib", "os"]) as executor:
        code = (
            "import os, socket, urllib.request\nfound = [name for name in os.environ if 'proxy' in name.lower()]\n"
            "for act in (socket.socket, lambda: urllib.request.urlopen('http://example.org')):\n"
            "    try: found.append(act())\n    except OSError as error: pass\nfound"
        )
        assert executor(code).output == []


# ---- other ways out: most are in the corpus of attacks


@pytest.fixture(scope="module")
def shared(server: Server) -> Iterator[Box]:
    made = Box(server.place, additional_authorized_imports=["*"])
    yield made
    made.session.close()


@pytest.mark.parametrize("level", ["landlock", "seccomp"])
def test_a_level_alone_keeps_other_ways_closed(server: Server, level: str) -> None:
    """Each of the two that stand about the namespace is left out in turn."""

    class Executor(LocalPythonExecutor):
        def spawn(self, config: dict[str, Any]) -> KernelProcess:
            return KernelProcess(zygote.spawn(config), self.new_proxy())

    zygote = Zygote(without=[level], network=True, preload=("socket", "urllib.request"))
    try:
        with Executor(allow_hosts=[server.place]) as executor:
            assert executor(f"{URLLIB}get('{server.url}/x')").output == "GET /x"
            code = (
                "import socket\nfound = []\n"
                f"for place in (('127.0.0.1', {server.port}), ('8.8.8.8', 53), ('127.0.0.1', 22)):\n"
                "    try: found.append(socket.create_connection(place, 1))\n    except OSError: pass\nfound"
            )
            assert executor(code).output == []
    finally:
        zygote.close()


def test_without_a_network_namespace_nothing_is_promised(server: Server) -> None:
    zygote = Zygote(without=["namespaces"], network=True, preload=())
    try:
        with pytest.raises(SandboxUnavailableError, match="needs a network namespace, which cannot be had here"):
            zygote.spawn({"limits": vars_of(SandboxLimits()), "network": 3128})
    finally:
        zygote.close()


def vars_of(limits: SandboxLimits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in SandboxLimits.__slots__}


def test_abstract_sockets_and_services_of_the_host_are_out_of_reach(shared: Box) -> None:
    name = f"\0actloop-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        assert "PermissionError" in shared.fails(f"import socket\nsocket.socket(socket.AF_UNIX).connect({name!r})")


def test_sessions_have_ways_of_their_own(box: Callable[..., Box], server: Server) -> None:
    """One session's connection never arrives at another's proxy, though both have the same port."""
    with serving(answer) as second:
        first, other = box(server.place), box(second.place)
        assert first.run(f"{URLLIB}get('{server.url}/x')") == "GET /x"
        assert other.run(f"{URLLIB}get('{second.url}/y')") == "GET /y"
        assert "Refused by the sandbox" in first.fails(f"get('{second.url}/x')")
        assert "Refused by the sandbox" in other.fails(f"get('{server.url}/x')")
        other.session.close()
        assert first.run(f"get('{server.url}/x')") == "GET /x"


# ---- limits and ends


def test_the_budget_is_the_sessions(box: Callable[..., Box], server: Server) -> None:
    made = box(server.place, network_budget=100_000)
    assert made.run(f"{URLLIB}len(get('{server.url}/big?size=80000'))") == 80_000
    made.fails(f"get('{server.url}/big?size=80000')")
    assert "the network budget of this session, 100,000 bytes, is used up" in made.fails(f"get('{server.url}/')")
    assert sum(request.sent + request.received for request in made.told) < 200_000


def test_a_session_that_dies_or_is_closed_lets_go(box: Callable[..., Box]) -> None:
    gone = threading.Semaphore(0)

    def flood(connection: socket.socket) -> None:
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                connection.sendall(b"x" * 10_000)
        finally:
            gone.release()

    with talking(flood) as place:
        hold = f"import urllib.request\nkept = urllib.request.urlopen('http://{place}/')\nkept.read(10)"
        killed = box(place, limits=SandboxLimits(wall=3.0), network_budget=None)
        closed = box(place)
        assert killed.run(hold) == b"x" * 10
        ended = killed.ended("while True: kept.read(1000)")
        assert ended.failure is not None
        assert ended.failure.kind == "TimeoutError"
        assert closed.run(hold) == b"x" * 10
        closed.session.close()
        killed.session.close()
        assert gone.acquire(timeout=60)
        assert gone.acquire(timeout=60)
        assert [len(each.told) for each in (killed, closed)] == [1, 1]
        died = box(place, additional_authorized_imports=["os"])
        assert died.ended(f"import os\n{hold}\nos._exit(3)").failure is not None
        assert gone.acquire(timeout=60)
        assert len(died.told) == 1


def test_a_connection_lives_on_while_no_program_runs(box: Callable[..., Box]) -> None:
    """A paused guest takes nothing, and the proxy does not mind."""
    released = threading.Event()

    def two_parts(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        released.wait(60)
        connection.sendall(b"def")

    with talking(two_parts) as place:
        made = box(place)
        made.run(f"import urllib.request\nkept = urllib.request.urlopen('http://{place}/')\nkept.read(3)")
        released.set()
        assert eventually(lambda: made.told)
        assert made.told[0].received > 6
        assert made.run("kept.read()") == b"def"


def test_many_connections_of_one_program(box: Callable[..., Box], server: Server) -> None:
    made = box(server.place)
    code = (
        "import socket\nheld = []\ntry:\n    while True: held.append(socket.create_connection(('127.0.0.1', 3128)))\n"
        "except OSError as error: why = error\nheld.clear()\nwhy.errno"
    )
    assert made.run(code) == 24  # EMFILE: its own limit
    assert made.run(f"{URLLIB}get('{server.url}/x')") == "GET /x"
    assert len(made.told) == 1


# ---- agents


def test_requests_are_noted_in_the_journal_and_shown(server: Server) -> None:
    journal = MemoryJournal()
    file = io.StringIO()
    logger = AgentLogger(LogLevel.INFO, Console(file=file, width=100))
    replies = [
        f"Thought: ask\n<code>\n{URLLIB}print(get('{server.url}/x'))\n</code>",
        "Thought: ask\n<code>\nget('http://evil.example/')\n</code>",
        "<code>\nfinal_answer('done')\n</code>",
    ]
    agent = CodeAgent([], ScriptedModel(replies), allow_hosts=[server.place], journal=journal, logger=logger)
    assert agent.run("Ask") == "done"
    agent.cleanup()
    (run,) = journal.runs()
    noted = [event for event in journal.events(run.id) if isinstance(event, NetworkRequested)]
    assert [(event.host, event.port, event.method, bool(event.refused)) for event in noted] == [
        ("127.0.0.1", server.port, "GET", False),
        ("evil.example", 80, "GET", True),
    ]
    shown = file.getvalue()
    assert f"network: GET 127.0.0.1:{server.port} · " in shown
    assert "network: GET evil.example:80 was refused: evil.example:80 is not among" in shown


def test_a_conversation_that_goes_on_notes_requests_in_its_new_run(server: Server) -> None:
    journal = MemoryJournal()
    step = f"<code>\n{URLLIB}final_answer(get('{server.url}/x'))\n</code>"
    agent = CodeAgent([], ScriptedModel([step, step]), allow_hosts=[server.place], journal=journal, verbosity_level=0)
    agent.run("one")
    agent.run("two", reset=False)
    agent.cleanup()
    counts = [sum(isinstance(event, NetworkRequested) for event in journal.events(run.id)) for run in journal.runs()]
    assert counts == [1, 1]


def test_a_tunnel_that_stays_open_is_noted_before_its_program_is(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext, str],
) -> None:
    journal = MemoryJournal()
    with serving(answer, context=contexts[0], keep=True) as secure:
        ask = "client.request('GET', '/x')\ntext = client.getresponse().read().decode()\n"
        opened = f"""
import http.client, ssl, urllib.parse, urllib.request
way = urllib.parse.urlsplit(urllib.request.getproxies()['https'])
context = ssl.create_default_context(cadata=authority)
client = http.client.HTTPSConnection(way.hostname, way.port, context=context)
client.set_tunnel('localhost', {secure.port})
"""
        replies = [f"<code>{opened}{ask}print(text)</code>", "<code>1</code>", f"<code>{ask}final_answer(text)</code>"]
        hosts = [f"localhost:{secure.port}", f"127.0.0.1:{secure.port}", f"[::1]:{secure.port}"]
        agent = CodeAgent([], ScriptedModel(replies), allow_hosts=hosts, journal=journal, verbosity_level=0)
        assert (
            agent.run("Ask", additional_args={"authority": contexts[2][contexts[2].index("-----BEGIN CERT") :]})
            == "GET /x"
        )
        agent.cleanup()
    (run,) = journal.runs()
    facts = [event for event in journal.events(run.id) if isinstance(event, NetworkRequested | ProgramFinished)]
    assert [type(fact) for fact in facts[:4]] == [NetworkRequested, ProgramFinished, ProgramFinished, NetworkRequested]
    first, second = (fact for fact in facts[:4] if isinstance(fact, NetworkRequested))
    assert (first.method, first.open, second.method, second.open) == ("CONNECT", True, "CONNECT", True)
    assert first.received > second.received > 6
    told = list(journal.events(run.id))
    assert told.index(second) < [isinstance(event, RunFinished) for event in told].index(True)


def test_what_a_server_answers_after_a_run_is_noted_in_the_next_one() -> None:
    asked, may_answer, journal = threading.Event(), threading.Event(), MemoryJournal()

    def late(_: Asked) -> Answer:
        asked.set()
        assert may_answer.wait(60)
        return Answer(b"x" * 50_000)

    begin = (
        "import threading, urllib.request\ngot = []\n"
        "def ask():\n    got.append(urllib.request.urlopen('URL', timeout=60).read())\n"
        "asking = threading.Thread(target=ask, daemon=True)\nasking.start()\nwait()\nfinal_answer(len(got))"
    )

    @tool
    def wait() -> bool:
        """Wait until the server is asked."""
        return asked.wait(60)

    with serving(late) as slow:
        replies = [
            f"<code>\n{begin.replace('URL', slow.url)}\n</code>",
            "<code>\nasking.join(60)\nfinal_answer(len(got[0]))\n</code>",
        ]
        agent = CodeAgent(
            [wait], ScriptedModel(replies), allow_hosts=[slow.place], journal=journal, verbosity_level=LogLevel.OFF
        )
        assert agent.run("begin") == 0
        (begun,) = journal.runs()
        may_answer.set()
        assert not eventually(lambda: not isinstance(list(journal.events(begun.id))[-1], RunFinished), within=0.3)
        assert agent.run("end", reset=False) == 50_000
        agent.cleanup()
    first, second = [
        [event for event in journal.events(run.id) if isinstance(event, NetworkRequested | RunFinished)]
        for run in reversed(journal.runs())
    ]
    assert [type(event) for event in first] == [NetworkRequested, RunFinished]
    assert isinstance(first[0], NetworkRequested)
    assert (first[0].open, first[0].received) == (True, 0)
    assert [type(event) for event in second] == [NetworkRequested, RunFinished]
    assert isinstance(second[0], NetworkRequested)
    assert second[0].received > 50_000


def test_an_executor_that_is_dropped_leaves_nothing_behind(server: Server) -> None:
    import gc

    before = set(threading.enumerate())
    executor = LocalPythonExecutor(allow_hosts=[server.place])
    executor(f"{URLLIB}get('{server.url}/x')")
    del executor
    gc.collect()
    assert eventually(lambda: not left_of(before, "actloop-proxy"))


async def test_a_session_rests_while_the_loop_goes_on() -> None:
    """An observer may wait for the loop, which then must not wait for the observer."""
    may_end, begun = threading.Event(), threading.Event()
    turns: list[str] = []

    def late(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")
        assert may_end.wait(60)
        connection.sendall(b"i")

    async def turn() -> str:
        return "had"

    loop, port = asyncio.get_running_loop(), Asyncio(Interrupt())

    def observe(_: NetworkRequested) -> None:
        begun.set()
        turns.append(asyncio.run_coroutine_threadsafe(turn(), loop).result(60))

    with talking(late) as place:
        executor = LocalPythonExecutor(allow_hosts=[place])
        session = await executor.open_session(port)
        session.observe(observe)
        await session.start(f"import urllib.request\nx = urllib.request.urlopen('http://{place}/')", port)
        ended = await session.receive(port)
        assert isinstance(ended, Finished)
        assert ended.failure is None
        may_end.set()
        assert begun.wait(60)  # which leaves the loop no turn before
        await session.rest(port)
        assert turns == ["had"]
        session.close()
        executor.cleanup()
        port.close()
