"""Servers that mean harm, or are broken."""

from __future__ import annotations

import ast
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from actloop.mcp.client import MCPClient
from actloop.mcp.errors import MCPConnectionError, MCPToolError
from actloop.tools.foreign.schemas import LONGEST_DESCRIPTION, LONGEST_NAME, output_schema, tool_inputs
from actloop.tools.render import tool_json_schema
from actloop.tools.validation import bind_arguments

from .conftest import gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Diary

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_names_descriptions_and_schemas_of_strangers_stay_harmless(raw: Callable[..., Any]) -> None:
    with MCPClient(raw("hostile-tools")) as tools:
        names = [tool.name for tool in tools]
        assert len(set(names)) == len(names) == 10
        assert all(name.isidentifier() and len(name) <= LONGEST_NAME for name in names)
        assert "final_answer" not in names  # it would end a run with the server's answer
        assert "raw_final_answer" in names
        assert {"get_it", "get_it_2", "class_", "_1st_tool"} <= set(names)
        for tool in tools:
            assert len(tool.description) < 2 * LONGEST_DESCRIPTION
            assert len(tool.to_code_prompt()) < 100_000
            [definition] = ast.parse(tool.to_code_prompt()).body
            assert isinstance(definition, ast.FunctionDef)
            assert len(json.dumps(tool_json_schema(tool))) < 100_000
        named = {tool.mcp_name[:20]: tool for tool in tools}
        wild = named["wild"]
        assert {name: schema["type"] for name, schema in wild.inputs.items()} == {
            "a": "any", "b": "any", "c": ["string", "null"], "d": "any",
        }  # fmt: skip
        assert bind_arguments(named["doubling"], (), {"a": None})
        assert len(named["wide"].inputs) == 200


def test_a_server_that_lists_tools_without_end_is_refused(raw: Callable[..., Any]) -> None:
    with pytest.raises(MCPToolError, match="more than 100 tools"):
        MCPClient(raw("endless"), {"max_tools": 100})


def test_an_answer_nested_too_deep_is_an_error_at_once(raw: Callable[..., Any]) -> None:
    with pytest.raises(MCPToolError, match="nested too deep"):
        MCPClient(raw("abyss"))


def test_lines_that_are_no_messages_are_skipped(raw: Callable[..., Any]) -> None:
    with MCPClient(raw("chatty")) as tools:
        assert {tool.name: tool for tool in tools}["add"](1, 1) == "2"


def test_a_server_that_writes_garbage_without_end_is_ended(raw: Callable[..., Any], diary: Diary) -> None:
    with pytest.raises(MCPConnectionError, match="lines that are no messages"):
        MCPClient(raw("garbage"))
    assert gone(int(diary.wait_for("started")[0]))


def test_a_message_that_is_too_long_ends_the_connection(raw: Callable[..., Any], diary: Diary) -> None:
    with MCPClient(raw("huge"), {"max_message_bytes": 1_000_000}) as tools:
        with pytest.raises(MCPConnectionError, match="more than 1000000 bytes"):
            {tool.name: tool for tool in tools}["add"](1, 1)
        assert gone(int(diary.wait_for("started")[0]))


def test_a_server_that_dies_in_the_middle_of_a_message_is_told_of(raw: Callable[..., Any]) -> None:
    with (
        MCPClient(raw("partial")) as tools,
        pytest.raises(MCPConnectionError, match="ended before it answered: it ended with exit code 1"),
    ):
        {tool.name: tool for tool in tools}["add"](1, 1)


def test_an_answer_that_is_none_is_an_error_of_that_call_alone(raw: Callable[..., Any]) -> None:
    with MCPClient(raw("wrong")) as tools:
        for _ in range(2):
            with pytest.raises(MCPToolError, match="an answer that is none"):
                {tool.name: tool for tool in tools}["add"](1, 1)


def test_an_answer_of_too_many_parts_is_an_error_of_that_call_alone(raw: Callable[..., Any], diary: Diary) -> None:
    with MCPClient(raw("crowd")) as tools:
        named = {tool.name: tool for tool in tools}
        with pytest.raises(MCPToolError, match="more than 100,000 objects and lists"):
            named["add"](1, 1)
        assert int(named["pid"]()) == int(diary.wait_for("started")[0])


def test_too_many_parts_for_nobody_knows_whom_end_the_connection(raw: Callable[..., Any], diary: Diary) -> None:
    with MCPClient(raw("nameless")) as tools:
        with pytest.raises(MCPConnectionError, match="more than 100,000 objects and lists"):
            {tool.name: tool for tool in tools}["add"](1, 1)
        assert gone(int(diary.wait_for("started")[0]))


TEXT = json.dumps({"rows": [{"a": [n]} for n in range(200_000)]})
CROWD = '{"content":[' + ",".join(['{"type":"text","text":""}'] * 200_000) + "]}"
RESULTS = {
    "text": json.dumps({"content": [{"type": "text", "text": TEXT}]}),  # which is one part, whatever it holds
    "crowd": CROWD,
    "long": '{"content":[],"structuredContent":{"a":[' + "0," * 2_000_000 + "0]}}",
    "huge": '{"content":[{"type":"text","text":"' + "z" * 3_000_000 + '"}]}',
}


class _Answering(BaseHTTPRequestHandler):
    """A server that answers in JSON or as an event stream, packed or not, as its address says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number, method = asked.get("id"), asked["method"]
        if number is None:
            self._answer(202, b"", "application/json")
            return
        schema: dict[str, Any] = {"type": "object", "properties": {}}
        information = {"name": "raw", "version": "1"}
        result = {
            "initialize": json.dumps(
                {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": information}
            ),
            "tools/list": json.dumps({"tools": [{"name": name, "inputSchema": schema} for name in RESULTS]}),
            "tools/call": RESULTS.get(asked.get("params", {}).get("name") or "", ""),
        }.get(method)
        body = f'"result":{result}' if result else '"error":{"code":-32601,"message":"no such method"}'
        body = f'{{"jsonrpc":"2.0","id":{number},{body}}}'
        if "events" in self.path:
            self._answer(200, f"event: message\ndata: {body}\n\n".encode(), "text/event-stream")
        else:
            self._answer(200, body.encode(), "application/json")

    def do_GET(self) -> None:
        self._answer(405, b"", "text/plain")

    def do_DELETE(self) -> None:
        self._answer(200, b"", "text/plain")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if "packed" in self.path:
            body = gzip.compress(body, 1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests need no log."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave early are what some tests are about."""


@pytest.fixture
def answering(nothing_left: None) -> Iterator[str]:
    with _Server(("127.0.0.1", 0), _Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["json", "events", "json/packed", "events/packed"])
def test_answers_over_http_are_bounded(answering: str, path: str) -> None:
    with MCPClient({"url": f"{answering}/{path}"}, {"max_message_bytes": 20_000_000, "mode": "legacy"}) as tools:
        named = {tool.name: tool for tool in tools}
        assert named["text"]() == TEXT
        with pytest.raises((MCPToolError, MCPConnectionError), match="more than 100,000 objects and lists"):
            named["crowd"]()
        with pytest.raises((MCPToolError, MCPConnectionError), match="or 1,000,000 items"):
            named["long"]()
        assert len(named["huge"]()) == 3_000_000
    with (
        MCPClient({"url": f"{answering}/{path}"}, {"max_message_bytes": 2_000_000, "mode": "legacy"}) as tools,
        pytest.raises((MCPToolError, MCPConnectionError), match="2000000 byte"),
    ):
        {tool.name: tool for tool in tools}["huge"]()


def test_schemas_keep_what_models_need() -> None:
    schema = {
        "type": "object",
        "properties": {
            "mode": {"enum": ["a", "b"]},
            "node": {"$ref": "#/definitions/Node", "description": "A tree."},
            "either": {"anyOf": [{"type": "integer"}, {"type": "string"}], "title": "Either"},
            "title": {"type": "string"},
            "plain": {"description": "Anything."},
        },
        "required": ["node"],
        "definitions": {
            "Node": {"type": "object", "properties": {"next": {"$ref": "#/definitions/Node"}}},
            "Unused": {"type": "null"},
        },
    }
    inputs = tool_inputs(schema)
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    assert inputs == {
        "mode": {"enum": ["a", "b"], "description": "", "nullable": True},
        "node": {"$ref": "#/$defs/Node", "description": "A tree.", "$defs": {"Node": node}},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}], "description": "", "nullable": True},
        "title": {"type": "string", "description": "", "nullable": True},
        "plain": {"description": "Anything.", "type": "any", "nullable": True},
    }
    nothings: list[Any] = [None, 7, [], "x", {}]
    for nothing in nothings:
        assert tool_inputs(nothing) == {}
        assert output_schema(nothing) is None
    assert tool_inputs({"properties": 3}) == {}
