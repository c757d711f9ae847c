"""An agent served over MCP, asked by the official client and by ours."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from actloop.mcp.access import access_middleware
from actloop.mcp.client import MCPClient
from actloop.mcp.errors import MCPConnectionError, MCPTimeoutError, MCPToolError
from actloop.mcp.server import agent_server, answer_result, serve_agent
from mcp import Client, StdioServerParameters

from .conftest import SOURCE, Diary, await_port, free_port, gone

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

PROGRAM = '''
"""Serves a scripted agent: the task is a program."""
import sys
from actloop import CodeAgent, ChatMessage, MessageRole, ScriptedModel, tool
from actloop.mcp.server import serve_agent
import pathlib, time

@tool
def note(line: str) -> str:
    """Write to the diary, and to standard output.

    Args:
        line: What.
    """
    print("printed by a tool")
    with pathlib.Path(sys.argv[1]).open("a") as file:
        file.write(line + "\\n")
    return "noted"

def reply(messages, **options):
    begun = next(number for number, m in enumerate(messages) if "TASK:" in m.text)
    parts = messages[begun].text.split("TASK:", 1)[1].split("THEN")
    program = parts[sum(m.role == MessageRole.ASSISTANT for m in messages[begun:])]
    return f"<code>{program}</code>"

agent = CodeAgent([note], ScriptedModel(reply), name="coder", description="Runs programs.", journal=None, max_steps=3)
with agent:
    how = sys.argv[2]
    if how == "stdio":
        serve_agent(agent)
    else:
        serve_agent(agent, "http", port=int(how), token=sys.argv[3] or None, ready=lambda a: print(a, flush=True))
'''


@pytest.fixture(scope="module")
def diary(tmp_path_factory: pytest.TempPathFactory) -> Diary:
    return Diary(tmp_path_factory.mktemp("diary") / "diary")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "ACTLOOP_HOME": str(tmp_path_factory.mktemp("home"))}


@pytest.fixture(scope="module")
def stdio(diary: Diary, environment: dict[str, str]) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable, args=["-c", PROGRAM, str(diary.path), "stdio"], env=environment
    )


@contextmanager
def served(diary: Diary, environment: dict[str, str], token: str) -> Generator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(diary.path), str(port), token],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    await_port(port, process)
    assert process.stdout is not None
    assert process.stdout.readline() == f"http://127.0.0.1:{port}/mcp\n"
    yield f"http://127.0.0.1:{port}/mcp"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def http(diary: Diary, environment: dict[str, str]) -> Iterator[str]:
    with served(diary, environment, "the-token") as address:
        yield address


@pytest.fixture(scope="module")
def unlocked(diary: Diary, environment: dict[str, str]) -> Iterator[str]:
    with served(diary, environment, "") as address:
        yield address


@pytest.fixture(scope="module", params=["stdio", "http"])
def client(request: pytest.FixtureRequest) -> Iterator[MCPClient]:
    given: Any = request.getfixturevalue(request.param)
    if request.param == "http":
        given = {"url": given, "headers": {"Authorization": "Bearer the-token"}}
    client = MCPClient(given)
    yield client
    client.disconnect()


def test_our_client_runs_the_agent(client: MCPClient) -> None:
    [tool] = client.get_tools()
    assert tool.name == "coder"
    assert tool.description.startswith("Runs programs.")
    assert set(tool.inputs) == {"task", "additional_args", "max_steps"}
    assert tool("TASK: final_answer(6 * 7)") == "42"
    assert json.loads(tool("TASK: final_answer({'a': [1, x]})", additional_args={"x": 2})) == {"a": [1, 2]}


def test_progress_is_told_step_by_step(client: MCPClient) -> None:
    heard: list[str] = []
    task = "TASK: print(1) THEN print(2) THEN final_answer('done')"
    assert client.call_tool("coder", {"task": task}, on_progress=lambda _, step: heard.append(str(step))) == "done"
    assert heard == ["1/3 step 1", "2/3 step 2", "3/3 step 3"]


def test_what_a_tool_prints_does_not_reach_the_protocol(client: MCPClient, diary: Diary) -> None:
    assert client.call_tool("coder", {"task": "TASK: final_answer(note('from a tool'))"}) == "noted"
    diary.wait_for("from a tool")


def test_a_failed_run_is_an_error_in_plain_words(client: MCPClient) -> None:
    with pytest.raises(MCPToolError, match="a task is a text that is not empty") as failure:
        client.call_tool("coder", {"task": " "})
    assert "Traceback" not in str(failure.value)


def test_a_cancelled_call_interrupts_the_run(client: MCPClient, diary: Diary) -> None:
    before = len([line for line in diary.lines() if line == "begun"])
    task = "TASK: note('begun')\nimport time\ntime.sleep(600) THEN note('never')"
    with pytest.raises(MCPTimeoutError):
        client.call_tool("coder", {"task": task}, timeout=5)
    diary.wait_for("begun", before + 1)
    assert client.call_tool("coder", {"task": "TASK: final_answer('alive')"}) == "alive"
    assert "never" not in diary.lines()


def test_calls_at_the_same_time_are_runs_of_their_own(client: MCPClient) -> None:
    [tool] = client.get_tools()
    with ThreadPoolExecutor(6) as pool:
        tasks = [f"TASK: x = {number} THEN final_answer(x * x)" for number in range(6)]
        assert list(pool.map(tool, tasks)) == [str(number * number) for number in range(6)]


async def test_the_official_client_runs_the_agent(stdio: StdioServerParameters) -> None:
    async with Client(stdio) as client:
        [tool] = (await client.list_tools()).tools
        assert tool.input_schema["required"] == ["task"]
        result = await client.call_tool("coder", {"task": "TASK: final_answer(note('x'))"})
        assert [part.text for part in result.content if part.type == "text"] == ["noted"]


def test_who_has_no_token_is_refused(http: str) -> None:
    request = urllib.request.Request(http, data=b"{}", headers={"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refusal, urllib.request.urlopen(request):
        pass
    refusal.value.close()
    assert refusal.value.code == 401
    with pytest.raises(MCPConnectionError, match="401 Unauthorized"):
        MCPClient({"url": http, "headers": {"Authorization": "Bearer another"}})


def status_of(address: str, host: str, origin: str | None = None, token: str | None = None) -> int:
    """How a server answers a first request that says it comes under a name, from a page."""
    information = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": information}
    headers = {"Host": host, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers |= {"Origin": origin} if origin is not None else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    connection = HTTPConnection(address.removeprefix("http://").removesuffix("/mcp"), timeout=60)
    with closing(connection):
        connection.request("POST", "/mcp", json.dumps(body), headers)
        return connection.getresponse().status


@pytest.mark.parametrize("token", [None, "the-token"])
def test_a_page_of_another_site_cannot_reach_the_agent(request: pytest.FixtureRequest, token: str | None) -> None:
    address: str = request.getfixturevalue("http" if token else "unlocked")
    port = int(address.rpartition(":")[2].removesuffix("/mcp"))
    for name in ("127.0.0.1", "localhost", "LocalHost", "[::1]"):
        assert status_of(address, f"{name}:{port}", token=token) == 200
    own = f"127.0.0.1:{port}"
    for host in ("evil.example", f"evil.example:{port}", f"evil@{own}", f"{own}.evil", "localhost:1", "localhost", ""):
        assert status_of(address, host, token=token) == 421, host
    assert status_of(address, own, f"http://{own}", token) == 200
    assert status_of(address, own, f"http://localhost:{port}", token) == 200
    for origin in ("http://evil.example", "null", "", "http://localhost:1", "http://127.0.0.1", f"file://{own}"):
        assert status_of(address, own, origin, token) == 403, origin


async def test_the_names_of_a_server_that_listens_everywhere() -> None:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse

    async def status(host: str, allowed: str, listens: str = "0.0.0.0") -> int:
        app = Starlette(middleware=access_middleware(listens, 8000, [allowed], None))
        app.add_route("/", lambda _: PlainTextResponse("ok"))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as client:
            return (await client.get("http://x/", headers={"Host": host})).status_code

    assert await status("192.0.2.1:8000", "") == 200  # a page cannot give itself an address for a name
    assert await status("[2001:db8::1]:8000", "") == 200
    assert await status(f"{socket.gethostname()}:8000", "") == 200
    assert await status("agent.example:8000", "") == 421
    assert await status("192.0.2.1:8000", "", "127.0.0.1") == 421
    assert await status("agent.example:8000", "agent.example") == 200
    assert await status("agent.example:8000", "agent.example:443") == 421
    assert await status("Agent.example:443", "agent.example:443") == 200


def test_an_address_that_others_can_reach_needs_a_token(stdio: StdioServerParameters) -> None:
    from actloop import CodeAgent, ScriptedModel

    agent = CodeAgent([], ScriptedModel([]), journal=None)
    with pytest.raises(ValueError, match="give a token"):
        serve_agent(agent, "http", host="0.0.0.0", port=0)
    with pytest.raises(TypeError, match="takes an agent"):
        agent_server("agent")


def test_answers_of_every_kind_have_a_form() -> None:
    from PIL import Image

    def kinds(answer: Any) -> list[str]:
        return [part.type for part in answer_result(answer).content]

    image = Image.new("RGB", (2, 2))
    assert kinds("text") == kinds(None) == kinds({1, 2}) == kinds([1, 2]) == ["text"]
    assert kinds(image) == ["image"]
    assert kinds(b"x") == ["resource"]
    assert kinds(["a", image]) == ["text", "image"]
    assert answer_result({"a": 1}).structured_content == {"a": 1}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_server_that_waits_for_its_client(
    number: signal.Signals, code: int, environment: dict[str, str]
) -> None:
    command = ["-m", "actloop.cli.main", "mcp", "--api-base", "http://127.0.0.1:1", "--model-id", "m", "--api-key", "k"]
    with subprocess.Popen(
        [sys.executable, *command], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(number)
        assert process.wait(60) == code


REPLY = "<code>final_answer('served')</code>"


def test_the_command_serves_an_agent(tmp_path: Path, environment: dict[str, str]) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            choice = {"index": 0, "delta": {"role": "assistant", "content": REPLY}, "finish_reason": "stop"}
            body = f"data: {json.dumps(chunk | {'choices': [choice]})}\n\ndata: [DONE]\n\n".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    model = ["--api-base", f"http://127.0.0.1:{service.server_port}/v1", "--model-id", "m", "--api-key", "k"]
    command = ["-m", "actloop.cli.main", "mcp", *model, "--name", "helper"]
    try:
        with MCPClient(StdioServerParameters(command=sys.executable, args=command, env=environment)) as tools:
            assert [tool.name for tool in tools] == ["helper"]
            assert tools[0]("Serve.") == "served"
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, *command, "--http", "--port", str(port)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        await_port(port, process)
        with MCPClient(f"http://127.0.0.1:{port}/mcp") as tools:
            assert tools[0]("Serve.") == "served"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert output == ""
        assert f"Serving at http://127.0.0.1:{port}/mcp" in errors
        assert "Traceback" not in errors
        assert gone(process.pid)
    finally:
        service.shutdown()
        thread.join()
        service.server_close()
