"""Real tools of LangChain's as ours."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from actloop.agents.code import CodeAgent
from actloop.errors import AgentToolCallError
from actloop.models.scripted import ScriptedModel
from actloop.tools.base import Tool
from actloop.tools.render import tool_json_schema
from actloop.tools.validation import bind_arguments

langchain = pytest.importorskip("langchain_core.tools")


class Place(BaseModel):
    city: str = Field(description="Name of the city")
    near: list[Place] = []


class Asked(BaseModel):
    place: Place
    days: int = Field(3, ge=1, description="How many days")


@langchain.tool("Weather", args_schema=Asked)
def weather(place: Place, days: int = 3) -> str:
    """Says how the weather will be."""
    return f"{type(place).__name__} {place.city} {len(place.near)} {days}"


def test_a_function() -> None:
    @langchain.tool
    def add(a: int, b: int = 2) -> int:
        """Adds two numbers."""
        return a + b

    tool = Tool.from_langchain(add)
    assert (tool.name, tool.description, tool.output_type) == ("add", "Adds two numbers.", "integer")
    assert tool.inputs["a"] == {"type": "integer", "description": ""}
    assert tool.inputs["b"]["nullable"] is True
    assert tool(1) == tool(1, 2) == tool(a=1) == tool({"a": 1, "b": 2}) == 3
    assert tool(**bind_arguments(tool, (), {"a": "3", "b": None})) == 5
    with pytest.raises(AgentToolCallError, match=r"argument 'a' must be int, got str '3\.7'"):
        bind_arguments(tool, (), {"a": "3.7"})


def test_nested_arguments() -> None:
    tool = Tool.from_langchain(weather)
    assert tool.name == "weather"
    assert tool.inputs["days"]["description"] == "How many days"
    assert '"city": str (Name of the city)' in tool.to_code_prompt()
    json.dumps(tool_json_schema(tool))
    given = bind_arguments(tool, (), {"place": {"city": "Oslo", "near": [{"city": "Moss"}]}, "days": "2"})
    assert tool(**given) == "Place Oslo 1 2"
    with pytest.raises(AgentToolCallError, match="lacks the key 'city'"):
        bind_arguments(tool, (), {"place": {}})
    with pytest.raises(AgentToolCallError, match="at least 1"):
        bind_arguments(tool, (), {"place": {"city": "Oslo"}, "days": 0})


async def test_a_coroutine_makes_an_async_tool() -> None:
    @langchain.tool
    async def shout(text: str) -> str:
        """Shouts."""
        await asyncio.sleep(0)
        return text.upper()

    tool = Tool.from_langchain(shout)
    assert tool.is_async
    assert await tool("a") == "A"


def test_a_subclass_and_an_old_style_tool() -> None:
    class Search(langchain.BaseTool):
        name: str = "My Search"
        description: str = "Searches."

        def _run(self, query: str, limit: int = 2) -> list[str]:
            return [query] * limit

    tool = Tool.from_langchain(Search())
    assert (tool.name, tool.code_name, tool.output_type) == ("my search", "my_search", "array")
    assert tool("a") == ["a", "a"]
    old = langchain.Tool(name="Upper", func=str.upper, description="Upper case.")
    assert Tool.from_langchain(old)("abc") == "ABC"


def test_what_langchain_injects_is_no_argument() -> None:
    @langchain.tool
    def remember(text: str, user: Annotated[str, langchain.InjectedToolArg] = "me") -> str:
        """Remembers."""
        return f"{user}: {text}"

    tool = Tool.from_langchain(remember)
    assert list(tool.inputs) == ["text"]
    assert tool("x") == "me: x"


def given_back(**given: Any) -> dict[str, Any]:
    return given


def test_a_schema_as_json() -> None:
    made = langchain.StructuredTool(
        name="j",
        description="J.",
        args_schema={
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/X"}, "b": {"type": "string"}},
            "required": ["a"],
            "$defs": {"X": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
        },
        func=given_back,
    )
    tool = Tool.from_langchain(made)
    assert tool(**bind_arguments(tool, (), {"a": {"n": "4"}})) == {"a": {"n": 4}}
    with pytest.raises(AgentToolCallError):
        bind_arguments(tool, (), {"a": {"n": "x"}})


def test_its_errors_are_the_callers() -> None:
    @langchain.tool
    def fail(text: str) -> str:
        """Fails."""
        raise langchain.ToolException("not today")

    with pytest.raises(langchain.ToolException, match="not today"):
        Tool.from_langchain(fail)("x")
    fail.handle_tool_error = True
    assert Tool.from_langchain(fail)("x") == "not today"


@pytest.mark.parametrize("given", [None, "x", print, Tool])
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="takes a tool of LangChain's"):
        Tool.from_langchain(given)


def test_it_cannot_be_saved() -> None:
    with pytest.raises(ValueError):
        Tool.from_langchain(weather).to_dict()


async def test_an_agent_uses_it_in_both_ways() -> None:
    code = "<code>\nfinal_answer(weather(place={'city': 'Oslo'}))\n</code>"

    def agent() -> CodeAgent:
        return CodeAgent([Tool.from_langchain(weather)], ScriptedModel([code]), journal=None, verbosity_level=0)

    with agent() as one:
        assert await asyncio.to_thread(one.run, "weather?") == "Place Oslo 0 3"
    with agent() as one:
        assert await one.arun("weather?") == "Place Oslo 0 3"
