"""Servers that mean harm, or are broken."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any

import pytest

from actloop.mcp.client import MCPClient
from actloop.mcp.errors import MCPConnectionError, MCPToolError
from actloop.tools.foreign.schemas import LONGEST_DESCRIPTION, LONGEST_NAME, output_schema, tool_inputs
from actloop.tools.render import tool_json_schema
from actloop.tools.validation import bind_arguments

from .conftest import gone

if TYPE_CHECKING:
    from collections.abc import Callable

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
