"""`MCPClient` and a real server, over each transport."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from actloop.errors import AgentToolCallError
from actloop.mcp.client import MCPClient
from actloop.mcp.errors import MCPTimeoutError, MCPToolError
from actloop.tools.types import AgentAudio
from mcp import StdioServerParameters

from .conftest import HERE, Diary, example_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TRIANGLE = {"name": "triangle", "points": [{"x": 0, "y": 0}, {"x": 4, "y": 0}, {"x": 0, "y": 3}]}


@pytest.fixture(scope="module", params=["stdio", "http", "sse", "http-legacy"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, ...]]:
    """A connected client, its server's parameters, its server's diary."""
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    kind, _, mode = request.param.partition("-")
    options: dict[str, Any] = {"mode": mode} if mode else {}
    if kind == "stdio":
        parameters: Any = StdioServerParameters(
            command=sys.executable, args=[str(HERE / "example_server.py"), "stdio"], env={"DIARY": str(diary.path)}
        )
        client = MCPClient(parameters, options)
        yield client, parameters, diary
        client.disconnect()
        return
    with example_server(kind, diary.path) as (url, _):
        client = MCPClient({"url": url}, options)
        yield client, {"url": url}, diary
        client.disconnect()


@pytest.fixture
def client(served: tuple[Any, ...]) -> MCPClient:
    return served[0]


def test_tools_are_called_by_name_by_position_and_with_one_dict(client: MCPClient) -> None:
    add = {tool.name: tool for tool in client.get_tools()}["add"]
    assert (add(a=2, b=3), add(2, 3), add({"a": 2, "b": 3}), add(a=2)) == ("5", "5", "5", "3")
    assert add.inputs["a"]["type"] == "integer"
    assert "nullable" not in add.inputs["a"]
    assert add.inputs["b"]["nullable"] is True


def test_nested_arguments_arrive_whole_and_absent_ones_stay_absent(client: MCPClient) -> None:
    told = client.call_tool("describe", {"shape": TRIANGLE, "note": None})
    assert told == '{"name":"triangle","corners":3,"unit":"mm","note":null}'
    describe = {tool.name: tool for tool in client.get_tools()}["describe"]
    assert describe.inputs["unit"]["enum"] == ["mm", "cm"]
    assert "points" in describe.to_code_prompt()
    with pytest.raises(MCPToolError, match="unit"):
        describe(shape=TRIANGLE, unit="miles")


def test_images_audio_bytes_links_and_text_come_as_such(client: MCPClient) -> None:
    from PIL.Image import Image

    image = client.call_tool("picture")
    assert isinstance(image, Image)
    assert image.size == (1, 1)
    sound = client.call_tool("sound")
    assert isinstance(sound, AgentAudio)
    assert sound.to_raw().shape == (10,)
    assert sound.samplerate == 8000
    text, picture, blob, link = client.call_tool("mixed")
    assert text == "one"
    assert isinstance(picture, Image)
    assert blob == b"\x00\x01"
    assert link == {"uri": "data://greeting", "name": "greeting"}
    assert client.call_tool("nothing") is None


def test_an_error_of_a_tool_is_raised_with_its_message(client: MCPClient) -> None:
    with pytest.raises(MCPToolError, match="tool 'fail': no such table"):
        client.call_tool("fail", {"message": "no such table"})


def test_progress_comes_to_the_callback(client: MCPClient) -> None:
    heard: list[str] = []
    assert client.call_tool("count", {"to": 3}, on_progress=lambda name, p: heard.append(f"{name} {p}")) == "counted"
    assert heard == ["count 1/3 at 1", "count 2/3 at 2", "count 3/3 at 3"]


def test_a_call_that_takes_too_long_is_cancelled_on_the_server(client: MCPClient, served: tuple[Any, ...]) -> None:
    with pytest.raises(MCPTimeoutError, match="did not answer within 1 s"):
        client.call_tool("slow", {"seconds": 600}, timeout=1)
    served[2].wait_for("slow cancelled")


def test_twenty_threads_get_each_their_own_answers(client: MCPClient) -> None:
    add = {tool.name: tool for tool in client.get_tools()}["add"]
    with ThreadPoolExecutor(20) as pool:
        answers = [future.result() for future in [pool.submit(add, a=number, b=number) for number in range(200)]]
    assert answers == [str(2 * number) for number in range(200)]


def test_resources_and_prompts_are_read(client: MCPClient) -> None:
    assert {item.uri for item in client.list_resources()} == {"data://greeting", "data://raw"}
    assert client.read_resource("data://greeting") == "hello"
    assert client.read_resource("data://raw") == b"\x00\x01\x02"
    assert [(item.name, item.required) for item in client.list_prompts()] == [("ask", ("topic",))]
    [message] = client.get_prompt("ask", {"topic": "rain"})
    assert message.text == "Tell me about rain."
    with pytest.raises(MCPToolError, match="resource 'data://none'"):
        client.read_resource("data://none")


def test_large_answers_come_whole(client: MCPClient) -> None:
    assert client.call_tool("big", {"size": 3_000_000}) == "x" * 3_000_000


def test_what_a_server_prints_does_not_disturb_the_protocol(client: MCPClient) -> None:
    assert client.call_tool("print_something") == "printed"


def test_a_name_that_is_none_in_python_gets_one(client: MCPClient) -> None:
    tool = {tool.name: tool for tool in client.get_tools()}["odd_name_of_tool"]
    assert tool.mcp_name == "odd-name.of tool"
    assert tool(value="x") == "odd x"


def test_values_that_json_does_not_know_are_sent_in_its_forms_or_refused(client: MCPClient) -> None:
    assert client.call_tool("echo", {"text": b"\x00\x01"}) == "AAE="
    with pytest.raises(AgentToolCallError, match="argument 'text' cannot be sent"):
        client.call_tool("echo", {"text": object()})


async def test_async_code_uses_its_own_methods(client: MCPClient) -> None:
    add = {tool.name: tool for tool in await client.aget_tools()}["add"]
    assert await asyncio.gather(*(add.acall(a=number) for number in range(20))) == [str(n + 1) for n in range(20)]
    assert await client.aread_resource("data://greeting") == "hello"
    assert len(await client.aget_prompt("ask", {"topic": "x"})) == 1


async def test_cancelling_a_task_cancels_the_call_on_the_server(client: MCPClient, served: tuple[Any, ...]) -> None:
    diary: Diary = served[2]
    begun, ended = (len([x for x in diary.lines() if x == f"slow {what}"]) for what in ("began", "cancelled"))
    task = asyncio.create_task(client.acall_tool("slow", {"seconds": 600}))
    await asyncio.to_thread(diary.wait_for, "slow began", begun + 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(diary.wait_for, "slow cancelled", ended + 1)


async def test_a_client_made_in_an_event_loop_does_not_block_it(served: tuple[Any, ...]) -> None:
    async with MCPClient(served[1]) as tools:
        assert "add" in {tool.name for tool in tools}


def test_structured_results_are_objects_with_a_schema(served: tuple[Any, ...]) -> None:
    with MCPClient(served[1], structured_output=True) as tools:
        named = {tool.name: tool for tool in tools}
        assert named["bounds"](shape=TRIANGLE) == {"x": 4, "y": 3}
        assert named["bounds"].output_type == "object"
        assert named["bounds"].output_schema is not None
        assert named["picture"].output_schema is None
        assert '{"x": int, "y": int}' in named["bounds"].to_code_prompt()


def test_without_structured_output_results_are_text_as_in_the_reference(client: MCPClient) -> None:
    bounds = {tool.name: tool for tool in client.get_tools()}["bounds"]
    assert bounds(shape=TRIANGLE) == '{"x":4,"y":3}'
    assert (bounds.output_type, bounds.output_schema) == ("string", None)


def test_a_changed_list_of_tools_is_picked_up(client: MCPClient) -> None:
    assert "learned" not in {tool.name for tool in client.get_tools()}
    client.call_tool("learn")
    for _ in range(500):
        if "learned" in {tool.name for tool in client.get_tools()}:
            break
    assert client.call_tool("learned") == "new"


def test_several_servers_at_once_keep_tools_of_one_name_apart(raw: Callable[..., Any], tmp_path: Path) -> None:
    one = {"command": raw().command, "args": raw().args, "env": raw().env, "name": "one"}
    with MCPClient([one, {**one, "name": "two"}, raw()]) as tools:
        named = {tool.name: tool for tool in tools}
        assert {"one_add", "two_add", "raw_add"} <= set(named)
        assert "add" not in named
        assert len({named[name]() for name in ("one_pid", "two_pid", "raw_pid")}) == 3


def test_parameters_that_cannot_be_used_are_refused_before_anything_starts() -> None:
    faults: list[tuple[Any, str]] = [
        ({"url": "http://127.0.0.1/mcp", "transport": "carrier pigeon"}, "not over 'carrier pigeon'"),
        ({"url": "ftp://127.0.0.1"}, "http:// or https://"),
        ({"adress": "x"}, "'url' or a 'command'"),
        ({"url": "http://127.0.0.1", "tokn": "x"}, "unknown keys \\['tokn'\\]"),
        ([], "no server"),
    ]
    for wrong, told in faults:
        with pytest.raises(ValueError, match=told):
            MCPClient(wrong)
    with pytest.raises(TypeError, match="unknown keys \\['retries'\\]"):
        MCPClient({"url": "http://127.0.0.1"}, {"retries": 3})


def test_an_address_that_ends_in_sse_speaks_sse() -> None:
    from actloop.mcp.servers import parse_servers

    plain: list[Any] = ["http://h:3000/sse", {"url": "http://h/sse/"}, {"url": "http://h/mcp"}]
    given = [*plain, {"url": "http://h", "transport": "sse"}]
    assert [server.transport for server in parse_servers(given)] == ["sse", "sse", "streamable-http", "sse"]
    secret = parse_servers({"url": "http://me:secret@h/sse?key=secret", "headers": {"Authorization": "secret"}})[0]
    assert "secret" not in secret.label
    assert "headers" not in repr(secret)
