"""Tools as tutorials of smolagents teach to write them, in other words: each works after its import line is changed."""

from __future__ import annotations

import datetime as dt
import random
import threading
from typing import Any, Optional

import pytest

from actloop.agents.code import CodeAgent
from actloop.errors import AgentToolCallError
from actloop.models.scripted import ScriptedModel
from actloop.tools.base import Tool
from actloop.tools.decorator import tool
from actloop.tools.validation import bind_arguments, validate_tool_arguments


@tool
def most_downloaded(task: str) -> str:
    """
    Finds the most downloaded model of a task. It returns the name of the checkpoint.

    Args:
        task: The task for which to look.
    """
    return f"best/{task}"


@tool
def weather_of(place: str, celsius: Optional[bool] = False) -> str:  # noqa: UP045
    """
    Tells the weather of the next days.

    Args:
        place: The place, as a city and a country.
        celsius: Whether to use degrees Celsius.
    """
    return f"{place}: {'C' if celsius else 'F'}"


@tool
def weather_api(place: str, moment: str) -> str:
    """Gives the weather at a place and a moment.

    Args:
        place: A place name, such as "Anchor Point, Taghazout, Morocco".
        moment: A date and time in the form '%m/%d/%y %H:%M:%S'.
    """
    when = dt.datetime.strptime(moment, "%m/%d/%y %H:%M:%S")  # noqa: DTZ007
    return f"{place} at {when.isoformat()}"


@tool
def travel_time(start: str, end: str, mode: Optional[str] = None, leave: Optional[dt.datetime] = None) -> str:  # noqa: UP045
    """Gives the travel time between two places.

    Args:
        start: Where the ride starts.
        end: Where it ends.
        mode: The mode, among 'driving', 'walking', 'bicycling' or 'transit'. (choices: ["driving", "walking"])
        leave: When to leave.
    """
    return f"{start}-{end} {mode} {leave!r}"


class DownloadsTool(Tool):
    name = "model_download_counter"
    description = """
    Gives the most downloaded model of a task.
    It returns the name of the checkpoint."""
    inputs = {"task": {"type": "string", "description": "The category, such as text-classification."}}
    output_type = "string"

    def forward(self, task: str):
        return f"best/{task}"


class RetrieverTool(Tool):
    name = "retriever"
    description = "Finds the parts of the documentation that fit a query best."
    inputs = {"query": {"type": "string", "description": "The query, affirmative rather than a question."}}
    output_type = "string"

    def __init__(self, docs: list[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.docs = docs

    def forward(self, query: str) -> str:
        assert isinstance(query, str), "Your search query must be a string"
        return "\nRetrieved documents:\n" + "".join(d for d in self.docs if query in d)


class SlowTool(Tool):
    name = "slow"
    description = "Needs something large."
    inputs = {"value": {"type": "number", "description": "A number.", "nullable": True}}
    output_type = "number"

    def setup(self):
        self.factor = 2
        self.is_initialized = True

    def forward(self, value: float | None = None) -> float:
        return (value or 1) * self.factor


class EngineTool(Tool):
    """Its description changes after it was made."""

    name = "sql_engine"
    description = "Runs SQL."
    inputs = {"query": {"type": "string", "description": "Correct SQL."}}
    output_type = "string"

    def forward(self, query: str) -> str:
        return f"rows of {query}"


class UntouchableTool(Tool):
    name = "random_number"
    description = "Gives a number."
    inputs = {}
    output_type = "integer"

    def forward(self) -> int:
        return random.Random(3).randint(3, 3)


TOOLS: list[tuple[Tool, dict[str, Any], Any]] = [
    (most_downloaded, {"task": "a"}, "best/a"),
    (weather_of, {"place": "Paris"}, "Paris: F"),
    (weather_of, {"place": "Paris", "celsius": True}, "Paris: C"),
    (weather_api, {"place": "Rif", "moment": "10/01/21 14:00:00"}, "Rif at 2021-10-01T14:00:00"),
    (travel_time, {"start": "a", "end": "b"}, "a-b None None"),
    (
        travel_time,
        {"start": "a", "end": "b", "leave": "2024-01-02T03:04:00"},
        "a-b None datetime.datetime(2024, 1, 2, 3, 4)",
    ),
    (DownloadsTool(), {"task": "a"}, "best/a"),
    (RetrieverTool(["one", "two"]), {"query": "tw"}, "\nRetrieved documents:\ntwo"),
    (SlowTool(), {"value": 3.0}, 6.0),
    (SlowTool(), {}, 2),
    (EngineTool(), {"query": "q"}, "rows of q"),
    (UntouchableTool(), {}, 3),
]


@pytest.mark.parametrize(("one", "arguments", "result"), TOOLS)
def test_a_tool_of_a_tutorial(one: Tool, arguments: dict[str, Any], result: Any) -> None:
    if "leave" not in arguments:
        assert one(**arguments) == result
        validate_tool_arguments(one, arguments)
    assert one(**bind_arguments(one, (), arguments)) == result
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    model = ScriptedModel([f"<code>\nfinal_answer({one.name}({given}))\n</code>"])
    with CodeAgent([one], model, journal=None, verbosity_level=0) as agent:
        assert agent.run("go") == result


def test_choices_in_a_docstring() -> None:
    assert travel_time.inputs["mode"]["enum"] == ["driving", "walking"]
    with pytest.raises(AgentToolCallError, match="'driving', 'walking'"):
        bind_arguments(travel_time, ("a", "b", "flying"), {})


def test_a_description_may_be_changed_later() -> None:
    engine = EngineTool()
    engine.description = "Runs SQL on the table of receipts."
    assert "receipts" in engine.to_code_prompt()
    assert engine("q") == "rows of q"


def test_a_tool_may_be_put_into_an_agent_later() -> None:
    model = ScriptedModel(["<code>\nfinal_answer(model_download_counter('x'))\n</code>"])
    with CodeAgent([], model, journal=None, verbosity_level=0) as agent:
        agent.tools["model_download_counter"] = DownloadsTool()
        assert agent.run("go") == "best/x"


@pytest.mark.parametrize(
    "name", ["sum", "open", "print", "len", "range", "class", "my-tool", "3d", "größe", "list files"]
)
def test_a_tool_of_any_name_is_called(name: str) -> None:
    """Builtins of the reference's interpreter hid tools of their names."""

    class Named(Tool):
        description = "Gives seven."
        inputs = {"values": {"type": "any", "description": "Anything."}}
        output_type = "integer"

        def forward(self, values: Any) -> int:
            return 7

    Named.name = name
    one = Named()
    model = ScriptedModel([f"<code>\nanswer = {one.code_name}([1, 2])\nfinal_answer(answer)\n</code>"])
    with CodeAgent([one], model, journal=None, verbosity_level=0) as agent:
        assert agent.run("go") == 7


def test_setup_runs_once_for_threads_of_one_program() -> None:
    """The reference sets a tool up once for each call that comes meanwhile."""
    setups: list[int] = []
    gate = threading.Event()

    class Heavy(Tool):
        name = "heavy"
        description = "Heavy."
        inputs = {"n": {"type": "integer", "description": "A number."}}
        output_type = "integer"

        def setup(self) -> None:
            setups.append(1)
            gate.wait(0.05)
            if len(setups) == 1:
                raise OSError("the first load fails")

        def forward(self, n: int) -> int:
            return n

    code = """
from concurrent.futures import ThreadPoolExecutor
try:
    heavy(0)
except Exception as error:
    told = str(error)
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(heavy, range(8)))
final_answer([told, sum(found)])
"""
    with CodeAgent([Heavy()], ScriptedModel([f"<code>{code}</code>"]), journal=None, verbosity_level=0) as agent:
        told, total = agent.run("go")
    assert "the first load fails" in told
    assert total == 28
    assert len(setups) == 2
