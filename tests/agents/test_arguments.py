"""What a constructor is given wrongly is refused there, in words that say what was meant."""

from __future__ import annotations

from typing import Any

import pytest

from actloop import CodeAgent, LogLevel, OpenAIModel, ScriptedModel, Tool, ToolCallingAgent, WebSearchTool
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.registry import NAMES, make_executor

CLASSES = pytest.mark.parametrize("cls", [CodeAgent, ToolCallingAgent])


@CLASSES
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"model": "gpt-5"}, "model must be a model, such as OpenAIModel"),
        ({"model": None}, "model must be a model"),
        ({"model": OpenAIModel}, r"make one of the class, OpenAIModel\(...\)"),
        ({"tools": [WebSearchTool]}, r"make one of the class, WebSearchTool\(...\)"),
        ({"tools": "web_search"}, "tools must be a list"),
        ({"tools": [len]}, "@tool"),
        ({"instructions": ["be kind"]}, "instructions must be a text"),
        ({"description": 3}, "description must be a text"),
        ({"final_answer_checks": len}, "final_answer_checks must be a list of functions"),
        ({"final_answer_checks": [3]}, "final_answer_checks must be a list of functions"),
        ({"max_step": 3}, "takes no argument 'max_step'; did you mean 'max_steps'"),
        ({"context": 3}, "context must be a ContextLimit"),
        ({"verbosity_level": "loud"}, r"LogLevel.INFO \(1\)"),
    ],
)
def test_wrong_arguments(cls: Any, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        cls(**{"tools": [], "model": ScriptedModel([]), "verbosity_level": LogLevel.OFF, **arguments})


@CLASSES
def test_an_unknown_argument_is_told_by_the_name_of_the_class(cls: Any) -> None:
    class Mine(cls):
        """A class of a user's."""

    with pytest.raises(TypeError, match=f"{cls.__name__} takes no argument 'quick'"):
        cls([], ScriptedModel([]), quick=True)
    with pytest.raises(TypeError, match="Mine takes no argument 'quick'"):
        Mine([], ScriptedModel([]), quick=True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"executor_type": "dokcer"}, "'dokcer': there is no such executor; there are local, docker"),
        ({"executor_type": ["local", "dokcer"]}, "dokcer"),
        ({"executor": object(), "allow_hosts": ["example.org"]}, "are options of an executor"),
        ({"executor": object(), "executor_type": "docker"}, "executor= contradicts executor_type="),
        ({"executor": object(), "executor_kwargs": {"timeout_seconds": 1}}, "executor= contradicts"),
        ({"e2b_api_key": "k"}, "e2b_api_key is for executor_type='e2b'"),
        ({"journal": 3}, "journal must be a Journal"),
        ({"journal": "here"}, "journal must be a Journal"),
    ],
)
def test_wrong_values(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        CodeAgent([], ScriptedModel([]), **arguments)


def test_an_unknown_option_of_the_executor_is_named() -> None:
    with pytest.raises(
        TypeError, match="LocalPythonExecutor takes no argument 'timeout'; did you mean 'timeout_seconds'"
    ):
        CodeAgent([], ScriptedModel([]), executor_kwargs={"timeout": 1})


@pytest.mark.parametrize("name", [name for name in NAMES if name != "e2b"])
def test_an_unknown_option_of_any_executor_is_named(name: str) -> None:
    with pytest.raises(TypeError, match=r"Executor takes no argument 'limit'; did you mean 'limits'"):
        make_executor(name, [], None, {"limit": 1})


def test_an_executor_that_is_given_takes_the_place_of_a_saved_one() -> None:
    with CodeAgent([], ScriptedModel([]), executor_kwargs={"timeout_seconds": 3.0}, journal=None) as agent:
        saved = agent.to_dict()
    executor = LocalPythonExecutor()
    with CodeAgent.from_dict(saved, model=ScriptedModel([]), executor=executor, tools=[], journal=None) as agent:
        assert agent.python_executor is executor


def test_what_is_printed_may_be_longer_by_one_argument_alone() -> None:
    with CodeAgent([], ScriptedModel([]), max_print_outputs_length=60_000, journal=None) as agent:
        assert agent.python_executor.limits.output == 60_000


@pytest.mark.parametrize("name", ["local", "monty", "wasm"])
def test_limits_of_another_type_are_named(name: Any) -> None:
    with pytest.raises(TypeError, match="limits must be SandboxLimits"):
        CodeAgent([], ScriptedModel([]), executor_type=name, executor_kwargs={"limits": {"wall": 3}}, journal=None)


@pytest.mark.parametrize("rate", ["x", 0, -1, float("nan"), float("inf")])
def test_a_rate_is_a_positive_number(rate: Any) -> None:
    with pytest.raises(ValueError, match="positive number"):
        OpenAIModel("m", requests_per_minute=rate)


def test_imports_are_a_list() -> None:
    wrong: Any = "numpy"
    with pytest.raises(TypeError, match=r"additional_authorized_imports must be a list of texts, such as \['numpy'\]"):
        CodeAgent([], ScriptedModel([]), additional_authorized_imports=wrong)


class Strange:
    """A value that is trouble to whoever looks at it."""

    def __len__(self) -> int:
        raise ValueError("no length")

    def __bool__(self) -> bool:
        raise ValueError("no truth")

    def __repr__(self) -> str:
        raise ValueError("no repr")

    def __str__(self) -> str:
        raise ValueError("no str")

    def __eq__(self, other: object) -> bool:
        raise ValueError("no equality")

    __hash__ = None  # type: ignore[assignment]


class Odd(Tool):
    """Gives a strange value."""

    name = "odd"
    description = "Gives something odd."
    inputs = {}
    output_type = "any"

    def forward(self) -> Any:
        return Strange()


def test_a_tool_may_return_what_nobody_can_look_at() -> None:
    program = "<code>\nx = odd()\nprint('got it')\n</code>"
    end = "<code>\nfinal_answer(7)\n</code>"
    with CodeAgent([Odd()], ScriptedModel([program, end]), verbosity_level=LogLevel.DEBUG) as agent:
        assert agent.run("look") == 7
    calls = ['{"name": "odd", "arguments": {}}', '{"name": "final_answer", "arguments": {"answer": 7}}']
    with ToolCallingAgent([Odd()], ScriptedModel(calls), verbosity_level=LogLevel.DEBUG) as caller:
        assert caller.run("look") == 7


def test_an_answer_may_be_what_nobody_can_look_at() -> None:
    class Last(Tool):
        name = "final_answer"
        description = "Ends it."
        inputs = {"answer": {"type": "any", "description": "Anything."}}
        output_type = "any"

        def forward(self, answer: Any) -> Any:
            return Strange()

    end = "<code>\nfinal_answer(7)\n</code>"
    with CodeAgent([Last()], ScriptedModel([end]), verbosity_level=LogLevel.DEBUG) as agent:
        assert isinstance(agent.run("look"), Strange)


@pytest.mark.parametrize("given", [5, None, b"local", CodeAgent, {"local": 1}, [5], [["monty"]], ["local", None]])
def test_an_executor_type_of_another_type_is_named(given: Any) -> None:
    with pytest.raises(TypeError, match="executor_type="):
        CodeAgent([], ScriptedModel([]), executor_type=given, journal=None)
    with pytest.raises(TypeError, match="executor_type="):
        make_executor(given, [], None, {})


@pytest.mark.parametrize("given", [5, True, None, {"a": 1}, b"x", ""])
def test_allowed_hosts_of_another_type_are_named(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="allow_hosts is a list"):
        CodeAgent([], ScriptedModel([]), allow_hosts=given, journal=None)
    with pytest.raises((TypeError, ValueError), match="allow_hosts is a list"):
        LocalPythonExecutor([], allow_hosts=given)


def test_a_workspace_of_another_type_is_named() -> None:
    with pytest.raises(TypeError, match="workspace="):
        CodeAgent([], ScriptedModel([]), workspace=5, journal=None)
