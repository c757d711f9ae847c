from __future__ import annotations

import copy
import threading
from typing import Any

import pytest

from actloop.tools.base import BaseTool, Tool
from actloop.tools.final_answer import FinalAnswerTool
from actloop.tools.types import AgentText
from actloop.tools.validation import bind_arguments


class Greeter(Tool):
    name = "greeter"
    description = "Greets."
    inputs = {"who": {"type": "string", "description": "Whom."}}
    output_type = "string"

    def forward(self, who: str) -> str:
        return f"Hello {who}"


def made(**changes: Any) -> Tool:
    """A tool of a class like `Greeter` with other attributes; None removes one."""
    body: dict[str, Any] = {key: value for key, value in vars(Greeter).items() if not key.startswith("_")}
    body |= changes
    return type("Made", (Tool,), {key: value for key, value in body.items() if value is not None})()


def test_a_subclass_is_called() -> None:
    assert issubclass(Greeter, BaseTool)
    greeter = Greeter()
    assert greeter("Ann") == greeter(who="Ann") == greeter({"who": "Ann"}) == "Hello Ann"
    assert not greeter.is_async
    wrapped = greeter(AgentText("Ann"), sanitize_inputs_outputs=True)
    assert isinstance(wrapped, AgentText)
    assert wrapped == "Hello Ann"


def test_a_dict_that_holds_no_arguments_stays_one() -> None:
    answer = FinalAnswerTool()
    assert answer({}) == {}
    assert answer({"total": 3}) == {"total": 3}
    assert answer({"answer": 3}) == 3


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"name": None}, TypeError, "must set the attribute 'name'"),
        ({"description": None}, TypeError, "must set the attribute 'description'"),
        ({"inputs": None}, TypeError, "must set the attribute 'inputs'"),
        ({"output_type": None}, TypeError, "must set the attribute 'output_type'"),
        ({"description": 3}, TypeError, "'description' must be a str, got int"),
        ({"inputs": []}, TypeError, "'inputs' must be a dict, got list"),
        ({"output_schema": "x"}, TypeError, "output_schema must be a dict"),
        ({"name": " "}, ValueError, "a tool's name"),
        ({"name": "a\nb"}, ValueError, "a tool's name"),
        ({"output_type": "text"}, ValueError, "output_type 'text' is not one of"),
        ({"inputs": {"who": "string"}}, TypeError, "input 'who' must be a dict"),
        ({"inputs": {"who": {"description": ""}}}, ValueError, "input 'who' must have the key 'type'"),
        ({"inputs": {"who": {"type": "str"}}}, ValueError, "input 'who': type 'str'"),
        ({"inputs": {"who": {"type": 3}}}, TypeError, "input 'who': 'type' must be a string"),
        ({"inputs": {"who": {"type": ["string", 3]}}}, TypeError, "input 'who': 'type' must be a string"),
        ({"inputs": {"who": {"type": []}}}, ValueError, "input 'who'"),
        ({"inputs": {"name": {"type": "string"}}}, ValueError, "'forward' does not take name; 'inputs' lacks who"),
        ({"inputs": {}}, ValueError, "'inputs' lacks who"),
    ],
)
def test_faults_of_a_class_are_named(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text.replace("[", r"\[")):
        made(**changes)


def takes_named(self: Tool, **kwargs: Any) -> Any:
    return kwargs


def takes_rest(self: Tool, *args: Any) -> Any:
    return args


def takes_one_more(self: Tool, who: str, more: int = 1) -> Any:
    return who, more


def takes_with_default(self: Tool, who: str = "all") -> Any:
    return who


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "image-generator"},
        {"name": "class"},
        {"name": "sum"},
        {"inputs": {"who": {"type": "string"}}},
        {"inputs": {"who": {"type": ["string", "null"], "description": ""}}},
        {"inputs": {"who": {"anyOf": [{"type": "string"}, {"type": "integer"}], "description": ""}}},
        {"inputs": {"who": {"type": "string", "description": "", "nullable": True}}},
        {"inputs": {"from": {"type": "string"}}, "skip_forward_signature_validation": True},
        {"inputs": {"from": {"type": "string"}}, "forward": takes_named},
        {"inputs": {"who": {"type": "string"}}, "forward": takes_rest},
        {"inputs": {"who": {"type": "string"}}, "forward": takes_one_more},
        {"inputs": {"who": {"type": "string"}}, "forward": takes_with_default},
        {"output_schema": {"type": "object"}, "output_type": "object"},
    ],
)
def test_what_can_be_understood_is_taken(changes: dict[str, Any]) -> None:
    made(**changes).to_code_prompt()


def test_attributes_may_be_set_before_or_after_the_constructor_of_the_base() -> None:
    class Named(Tool):
        description = ""
        inputs: dict[str, dict[str, Any]] = {}
        output_type = "any"

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def forward(self) -> str:
            return self.name

    class Renamed(Named):
        def __init__(self) -> None:
            super().__init__("first")
            self.name = "second"

    class Forgetful(Renamed):
        def __init__(self) -> None:
            self.name = "third"

    assert [Named("a")(), Renamed()(), Forgetful()()] == ["a", "second", "third"]
    with pytest.raises(ValueError, match="a tool's name"):
        Named("")


def test_forward_may_be_set_on_an_instance() -> None:
    class Wrapper(Tool):
        description = ""
        output_type = "string"

        def __init__(self, function: Any) -> None:
            self.name = "wrapper"
            self.inputs = {"x": {"type": "string", "description": ""}}
            self.forward = function

    def right(x: str) -> str:
        return x

    def wrong(y: str) -> str:
        return y

    assert Wrapper(right)("a") == "a"
    with pytest.raises(ValueError, match="does not take x"):
        Wrapper(wrong)


class Slow(Greeter):
    def __init__(self) -> None:
        super().__init__()
        self.setups = 0
        self.begun = threading.Event()
        self.go = threading.Event()

    def setup(self) -> None:
        self.begun.set()
        assert self.go.wait(60)
        self.setups += 1


def test_setup_runs_once_though_many_threads_come() -> None:
    slow = Slow()
    assert not slow.is_initialized
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(slow("Ann"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert slow.begun.wait(60)
    assert found == []
    slow.go.set()
    for thread in threads:
        thread.join()
    assert found == ["Hello Ann"] * 16
    assert slow.setups == 1
    assert slow.is_initialized


def test_a_setup_that_fails_is_tried_again() -> None:
    class Flaky(Greeter):
        tries = 0

        def setup(self) -> None:
            self.tries += 1
            if self.tries == 1:
                raise OSError("not yet")

    flaky = Flaky()
    with pytest.raises(OSError, match="not yet"):
        flaky("Ann")
    assert flaky("Ann") == "Hello Ann"
    assert flaky.tries == 2


def test_tools_can_be_copied() -> None:
    greeter = Greeter()
    greeter("Ann")
    for twin in (copy.copy(greeter), copy.deepcopy(greeter)):
        assert twin("Bob") == "Hello Bob"
        assert twin.is_initialized


async def test_async_forward() -> None:
    class Fetcher(Greeter):
        async def forward(self, who: str) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
            return who

    fetcher = Fetcher()
    assert fetcher.is_async
    assert await fetcher("Ann") == "Ann"
    assert isinstance(await fetcher("Ann", sanitize_inputs_outputs=True), AgentText)


def test_names_that_python_does_not_allow_have_an_alias() -> None:
    assert made(name="class").code_name == "class_"
    assert made(name="image-generator").code_name == "image_generator"
    assert made(name="sum").code_name == "sum"


def test_an_argument_may_be_called_self() -> None:
    class Odd(Greeter):
        inputs = {"self": {"type": "string", "description": ""}}

        def forward(this, /, **kwargs: Any) -> Any:  # pyright: ignore[reportSelfClsParameterName, reportIncompatibleMethodOverride]
            return kwargs

    assert Odd()(**bind_arguments(Odd(), ("x",), {})) == {"self": "x"}
