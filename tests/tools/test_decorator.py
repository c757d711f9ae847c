# pyright: reportUnknownVariableType=false, reportUnknownParameterType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingParameterType=false
# Functions without type hints are part of what is tested.
from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import pytest

from actloop.tools.base import Tool
from actloop.tools.decorator import tool
from actloop.tools.schema import TypeHintParsingException
from actloop.tools.validation import bind_arguments

if TYPE_CHECKING:
    from somewhere_that_is_not_installed import Mystery  # pyright: ignore[reportMissingImports]


@tool
def get_weather(city: str, days: int = 1, unit: Literal["C", "F"] | None = None) -> str:
    """Returns the weather.

    Args:
        city: Name of the city.
        days: How many days.
    """
    return f"{city} {days} {unit}"


def test_a_function_becomes_a_tool() -> None:
    assert isinstance(get_weather, Tool)
    assert get_weather.name == "get_weather"
    assert get_weather.description == "Returns the weather."
    assert get_weather.inputs == {
        "city": {"type": "string", "description": "Name of the city."},
        "days": {"type": "integer", "description": "How many days.", "nullable": True},
        "unit": {"type": "string", "enum": ["C", "F"], "description": "", "nullable": True},
    }
    assert get_weather.output_type == "string"
    assert get_weather.output_schema is None


def test_it_is_still_called_like_the_function() -> None:
    assert get_weather("Rome", unit="C") == "Rome 1 C"
    assert get_weather({"city": "Rome", "days": 2}) == "Rome 2 None"
    assert get_weather.forward("Rome") == "Rome 1 None"
    assert inspect.signature(get_weather) == inspect.signature(get_weather.forward)
    assert get_weather.__doc__ is not None
    assert get_weather.__doc__.startswith("Returns the weather.")
    assert tool(get_weather) is get_weather


def test_nothing_but_types() -> None:
    @tool
    def add(a: int, b: int) -> int:
        return a + b

    assert add.description == ""
    assert add.inputs["b"] == {"type": "integer", "description": ""}
    assert add(2, 3) == 5


def test_nothing_but_a_docstring() -> None:
    @tool
    def repeat(text, times, extra=None):
        """Repeats.

        Args:
            text (str): What.
            times (int, optional): How often.
            extra: More.
        """

    kinds = {name: schema["type"] for name, schema in repeat.inputs.items()}
    assert kinds == {"text": "string", "times": "integer", "extra": "any"}
    assert repeat.output_type == "any"


def test_descriptions_and_choices_from_elsewhere() -> None:
    @tool
    def drink(what: str, size: Annotated[int, "in litres"], kind: str = "x") -> None:
        """Drinks.

        Args:
            what: The drink (choices: ["tea", "coffee"])
            kind: Any (choices: of yours)
        """

    assert drink.inputs["what"] == {"type": "string", "enum": ["tea", "coffee"], "description": "The drink"}
    assert drink.inputs["size"]["description"] == "in litres"
    assert drink.inputs["kind"]["description"] == "Any (choices: of yours)"
    assert drink.output_type == "null"


async def test_async_functions() -> None:
    @tool
    async def fetch(url: str) -> str:
        """Fetches."""
        return url

    assert fetch.is_async
    assert not get_weather.is_async
    assert await fetch("u") == "u"
    assert str(await fetch("u", sanitize_inputs_outputs=True)) == "u"


def test_methods_partials_and_lambdas() -> None:
    class Shop:
        def price(self, item: str) -> float:
            """The price of an item."""
            return float(len(item))

        @tool
        @staticmethod
        def opening() -> str:
            """When it opens."""
            return "9:00"

    price = tool(Shop().price)
    assert (price.name, list(price.inputs), price("abc")) == ("price", ["item"], 3.0)
    assert Shop.opening() == "9:00"
    half = tool(functools.partial(Shop().price, item="ab"))
    assert (half.name, half()) == ("price", 2.0)
    named = tool(lambda x: x)
    assert named.code_name.isidentifier()


def test_positional_only_arguments_can_be_given_by_name() -> None:
    @tool
    def power(base: int, /, exponent: int = 2) -> int:
        """Raises."""
        return base**exponent

    assert power(base=3) == power(3) == 9
    assert power(**bind_arguments(power, (), {"exponent": "3", "base": "2"})) == 8


def test_more_named_arguments() -> None:
    @tool
    def log(text: str, **fields: Any) -> dict[str, Any]:
        """Logs."""
        return fields

    assert list(log.inputs) == ["text"]
    assert log(**bind_arguments(log, ("a",), {"level": 3})) == {"level": 3}


def test_hints_that_cannot_be_found_take_nothing_from_the_others() -> None:
    class Local:
        pass

    @tool
    def look(a: Mystery, b: int, c: Local) -> Mystery:
        """Looks."""
        raise NotImplementedError

    kinds = {name: schema["type"] for name, schema in look.inputs.items()}
    assert kinds["a"] == "any"
    assert kinds["b"] == "integer"
    assert look.output_type == "any"


def test_structured_results_have_a_schema() -> None:
    @tool
    def counts() -> dict[str, int]:
        """Counts."""
        return {}

    @tool
    def movies() -> list[Movie]:
        """Movies."""
        return []

    assert (counts.output_type, counts.output_schema) == ("object", None)
    assert movies.output_type == "array"
    assert movies.output_schema is not None
    assert movies.output_schema["items"]["properties"]["title"] == {"type": "string"}


class Movie:
    """Described by pydantic."""

    def __init__(self, title: str) -> None:
        self.title = title

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        field = core_schema.typed_dict_field(core_schema.str_schema())
        return core_schema.typed_dict_schema({"title": field})


def test_what_cannot_work_is_refused_by_name() -> None:
    def rest(*items: int) -> None: ...

    def method(self, x: int) -> None: ...

    def odd(x: int) -> None: ...

    with pytest.raises(TypeHintParsingException, match=r"tool 'rest'.*'\*items'"):
        tool(rest)
    with pytest.raises(TypeHintParsingException, match=r"tool 'method'.*'self'"):
        tool(method)
    odd.__annotations__["x"] = 3
    with pytest.raises(TypeHintParsingException, match="tool 'odd': argument 'x'"):
        tool(odd)
    with pytest.raises(TypeError, match="takes a function"):
        tool(int)
    with pytest.raises(TypeError, match="takes a function"):
        tool(cast("Any", "text"))
