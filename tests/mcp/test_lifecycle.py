"""Servers that end, start anew, hang; clients that leave by every door."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.waiting import lives

from actloop.mcp.client import MCPClient
from actloop.mcp.errors import MCPConnectionError, MCPTimeoutError

from .conftest import HERE, SOURCE, example_server, free_port, gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Diary

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_nothing_is_left_of_a_stdio_server_and_its_children(raw: Callable[..., Any], diary: Diary) -> None:
    with MCPClient(raw("children")) as tools:
        assert {tool.name: tool for tool in tools}["add"](1, 2) == "3"
        pids = [int(diary.wait_for("started")[0]), int(diary.wait_for("child")[0])]
        assert all(map(lives, pids))
    assert all(map(gone, pids))


def test_a_server_that_does_not_want_to_end_is_killed(raw: Callable[..., Any], diary: Diary) -> None:
    client = MCPClient(raw("deaf"))
    client.disconnect()
    client.disconnect()
    assert gone(int(diary.wait_for("started")[0]))


def test_a_server_killed_in_the_middle_of_a_call_is_told_of_and_started_again(
    raw: Callable[..., Any], diary: Diary
) -> None:
    with MCPClient(raw()) as tools:
        named = {tool.name: tool for tool in tools}
        failures: list[BaseException] = []

        def wait() -> None:
            try:
                named["wait"]()
            except MCPConnectionError as error:
                failures.append(error)

        threads = [threading.Thread(target=wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        diary.wait_for("call wait", 5)
        os.kill(int(diary.wait_for("started")[0]), signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert len(failures) == 5
        assert "ended before it answered: it was ended by signal 9" in str(failures[0])
        assert "not known" in str(failures[0])
        assert named["add"](2, 2) == "4"
        assert len(diary.wait_for("started")) == 2


def test_a_call_that_may_be_repeated_is_sent_again_and_no_other(raw: Callable[..., Any], diary: Diary) -> None:
    with MCPClient(raw()) as tools:
        named = {tool.name: tool for tool in tools}
        assert named["safe"]() == "{}"
        with pytest.raises(MCPConnectionError, match="exit code 7"):
            named["die"]()
        assert [line for line in diary.lines() if line.startswith("call")] == ["call safe", "call safe", "call die"]


def test_a_time_out_cancels_the_request_and_keeps_the_connection(raw: Callable[..., Any], diary: Diary) -> None:
    with MCPClient(raw(), {"call_timeout": 0.3}) as tools:
        named = {tool.name: tool for tool in tools}
        with pytest.raises(MCPTimeoutError, match=r"within 0\.3 s"):
            named["wait"]()
        diary.wait_for("cancelled")
        named["add"].timeout = 60
        assert named["add"](1, 1) == "2"
        assert len(diary.wait_for("started")) == 1


def test_a_server_that_never_gets_ready_is_ended(raw: Callable[..., Any], diary: Diary) -> None:
    with pytest.raises(MCPTimeoutError, match="did not get ready within 2 s"):
        MCPClient(raw("never"), {"connect_timeout": 2})
    assert gone(int(diary.wait_for("started")[0]))


def test_a_server_that_cannot_start_says_why(raw: Callable[..., Any]) -> None:
    with pytest.raises(MCPConnectionError, match=r"(?s)it ended with exit code 9.*no configuration"):
        MCPClient(raw("exit"))
    with pytest.raises(MCPConnectionError, match="No such file or directory: 'no-such-server'"):
        MCPClient({"command": "no-such-server"})
    with pytest.raises(MCPConnectionError, match="All connection attempts failed"):
        MCPClient({"url": f"http://127.0.0.1:{free_port()}/mcp"})


def test_where_one_of_several_servers_fails_none_is_left(raw: Callable[..., Any], diary: Diary) -> None:
    with pytest.raises(MCPConnectionError, match="cannot connect"):
        MCPClient([raw(), raw("exit"), raw()])
    assert all(gone(int(pid)) for pid in diary.wait_for("started", 3))


@pytest.mark.parametrize("kind", ["http", "http-legacy", "sse"])
def test_an_http_server_may_be_started_anew(kind: str, diary: Diary) -> None:
    port = free_port()
    kind, _, mode = kind.partition("-")
    options: dict[str, Any] = {"mode": mode} if mode else {}
    with example_server(kind, diary.path, port) as (url, _):
        client = MCPClient({"url": url}, options)
        add = {tool.name: tool for tool in client.get_tools()}["add"]
        assert add(1, 1) == "2"
    with pytest.raises(MCPConnectionError):
        add(1, 1)
    with example_server(kind, diary.path, port), client as tools:
        assert add(2, 2) == "4"  # its session is not known to the new server
        assert len(tools) == len(client.get_tools())


def test_a_client_disconnects_when_its_block_fails(raw: Callable[..., Any], diary: Diary) -> None:
    with pytest.raises(ZeroDivisionError), MCPClient(raw()) as tools:
        _ = len(tools) / 0
    assert gone(int(diary.wait_for("started")[0]))


def test_a_client_that_was_left_can_come_back(raw: Callable[..., Any]) -> None:
    client = MCPClient(raw())
    add = {tool.name: tool for tool in client.get_tools()}["add"]
    client.disconnect()
    with pytest.raises(ValueError, match="call connect"):
        client.get_tools()
    with pytest.raises(MCPConnectionError, match="call connect"):
        add(1, 1)
    client.connect()
    assert add(1, 1) == "2"
    client.disconnect()


def test_a_client_that_nobody_holds_any_more_disconnects(raw: Callable[..., Any], diary: Diary) -> None:
    client = MCPClient(raw())
    pid = int(diary.wait_for("started")[0])
    del client
    gc.collect()
    assert gone(pid)


def test_disconnecting_ends_calls_of_other_threads(raw: Callable[..., Any], diary: Diary) -> None:
    client = MCPClient(raw())
    wait = {tool.name: tool for tool in client.get_tools()}["wait"]
    failures: list[BaseException] = []

    def call() -> None:
        try:
            wait()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    diary.wait_for("call wait")
    client.disconnect()
    thread.join()
    assert isinstance(failures[0], MCPConnectionError)


async def test_async_with_leaves_nothing(raw: Callable[..., Any], diary: Diary) -> None:
    async with MCPClient(raw()) as tools:
        assert await {tool.name: tool for tool in tools}["add"].acall(a=1, b=2) == "3"
    assert await asyncio.to_thread(gone, int(diary.wait_for("started")[0]))


PROGRAM = """
import os, signal, sys, time
from actloop.mcp.client import MCPClient
from mcp import StdioServerParameters
server = StdioServerParameters(command=sys.executable, args=["-S", sys.argv[1], "plain"], env={"DIARY": sys.argv[2]})
client = MCPClient(server)
tools = {tool.name: tool for tool in client.get_tools()}
print(tools["pid"](), flush=True)
"""


def program(diary: Diary, more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM + more, str(HERE / "raw_server.py"), str(diary.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


def test_a_program_that_ends_without_disconnecting_leaves_no_server(diary: Diary) -> None:
    output, errors = program(diary, "").communicate(timeout=60)
    assert errors == ""
    assert gone(int(output))


def test_ctrl_c_in_a_call_cancels_it_and_leaves_no_server(diary: Diary) -> None:
    process = program(diary, "with client:\n    tools['wait']()")
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    diary.wait_for("call wait")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert gone(pid)
    assert "cancelled" in diary.lines()


def test_a_program_killed_at_once_leaves_no_server_that_waits_for_it(diary: Diary) -> None:
    process = program(diary, "time.sleep(600)")
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()
    assert gone(pid)  # its input has ended


def test_a_fork_has_connections_of_its_own(diary: Diary) -> None:
    more = """
child = os.fork()
if child == 0:
    mine = tools["pid"]()
    print("child", mine, tools["add"](1, 2), flush=True)
    sys.exit(0)
os.waitpid(child, 0)
print("parent", tools["pid"](), tools["add"](2, 2), flush=True)
holder = os.fork()
if holder == 0:
    time.sleep(600)
start = time.monotonic()
client.disconnect()
print("ended" if time.monotonic() - start < 60 else "hung", flush=True)
os.kill(holder, signal.SIGKILL)
os.waitpid(holder, 0)
"""
    output, errors = program(diary, more).communicate(timeout=100)
    first, child, parent, ended = (line.split() for line in output.splitlines())
    assert errors == ""
    assert child[2] == "3"
    assert parent[1:] == [first[0], "4"]
    assert child[1] != first[0]
    assert ended == ["ended"]
    assert gone(int(first[0]))
    assert gone(int(child[1]))


def test_client_after_client_leaves_no_descriptor(raw: Callable[..., Any]) -> None:
    for _ in range(5):
        with MCPClient([raw(), raw()]) as tools:
            assert len(tools) == 12
