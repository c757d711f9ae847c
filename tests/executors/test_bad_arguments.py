"""What executors cannot take is refused at once, in a plain sentence that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actloop import (
    ActionStep,
    BlaxelExecutor,
    CodeAgent,
    CodeOutput,
    DockerExecutor,
    E2BExecutor,
    LocalPythonExecutor,
    LogLevel,
    ModalExecutor,
    MontyExecutor,
    ScriptedModel,
    Snapshot,
    WasmExecutor,
    evaluate_python_code,
)
from actloop.errors import SandboxUnavailableError
from actloop.executors.containers.options import check_image
from actloop.executors.fallback import FallbackExecutor
from actloop.executors.registry import executor_class

if TYPE_CHECKING:
    from collections.abc import Callable


class Calculator:
    """An executor of a user's: a class of its own with the three methods, which says what it was made to say."""

    def __init__(self, output: Any) -> None:
        self.output = output

    def send_tools(self, tools: dict[str, Any]) -> None:
        """Nothing: no tool is called."""

    def send_variables(self, variables: dict[str, Any]) -> None:
        """Nothing: no variable is used."""

    def __call__(self, code_action: str) -> Any:
        return self.output


def answering(executor: Any, **options: Any) -> CodeAgent:
    model = ScriptedModel(["<code>final_answer(1)</code>", "no program"])
    given: dict[str, Any] = {"verbosity_level": LogLevel.OFF, "journal": None, "max_steps": 1}
    return CodeAgent([], model, executor=executor, **given, **options)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (5, "executor must be an executor, such as LocalPythonExecutor.*int has no send_tools"),
        ("local", "executor must be an executor, not a text: write executor_type='local'"),
        (LocalPythonExecutor, r"make one of the class, LocalPythonExecutor\(...\)"),
        (len, "has no send_tools and no send_variables"),
    ],
)
def test_an_agent_takes_executors_only(bad: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        answering(bad)


def test_an_agent_takes_an_executor_of_the_users() -> None:
    with answering(Calculator(CodeOutput(4, "", is_final_answer=True))) as agent:
        assert agent.run("2 + 2?") == 4


def test_an_executor_that_returns_no_output_is_told_so() -> None:
    with answering(Calculator((4, "", True))) as agent:
        agent.run("2 + 2?")
        errors = [str(step.error) for step in agent.memory.steps if isinstance(step, ActionStep) and step.error]
    assert r"Calculator.__call__ must return a CodeOutput(output=" in errors[0]
    assert "not tuple" in errors[0]


def test_an_executor_takes_the_place_of_the_default_one_and_of_no_other() -> None:
    with LocalPythonExecutor() as executor, answering(executor, executor_type="local") as agent:
        assert agent.python_executor is executor
    for contradiction in ({"executor_type": "monty"}, {"executor_kwargs": {"timeout_seconds": 1}}):
        with pytest.raises(ValueError, match=f"executor= contradicts {next(iter(contradiction))}="):
            answering(LocalPythonExecutor(), **contradiction)


ALL = ["local", "docker", "wasm", "monty", "e2b", "modal", "blaxel"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("imports", "told"),
    [
        ("json", r"must be a list of texts, such as \['numpy'\], not str: write \['json'\]"),
        (b"x", "must be a list of texts, such as .*, not bytes"),
        (3, "must be a list of texts, such as .*, not int"),
        ([None], "must be a list of texts, .* it holds None"),
        ([1], "must be a list of texts, .* it holds 1"),
    ],
    ids=repr,
)
def test_imports_are_a_list_of_texts(name: str, imports: Any, told: str) -> None:
    with pytest.raises(TypeError, match=f"additional_(authorized_)?imports {told}"):
        executor_class(name)(imports, *(() if name == "local" else (None,)))


@pytest.mark.parametrize("made", [LocalPythonExecutor, MontyExecutor, WasmExecutor])
def test_imports_that_come_one_by_one_are_looked_at_too(made: Any) -> None:
    with pytest.raises(TypeError, match=r"imports must be a list of texts, .* it holds 1"):
        made(iter([1]))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("imports", [["a\0"], [""], [" "]], ids=repr)
def test_imports_have_names(name: str, imports: Any) -> None:
    with pytest.raises(ValueError, match=r"imports: .* is no name"):
        executor_class(name)(imports, *(() if name == "local" else (None,)))


@pytest.mark.parametrize("name", [name for name in ALL if name != "e2b"])
def test_what_a_class_does_not_know_is_told_by_its_name(name: str) -> None:
    made = executor_class(name)
    with pytest.raises(TypeError, match=f"^{made.__name__} takes no argument 'foo'"):
        made([], *(() if name == "local" else (None,)), foo=1)
    if name != "local":
        with pytest.raises(TypeError, match="'additional_authorized_imports'; did you mean 'additional_imports'"):
            made(additional_imports=[], logger=None, additional_authorized_imports=[])


WRONG: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (LocalPythonExecutor, {"additional_functions": 3}, TypeError, "additional_functions must be a dict or None"),
    (LocalPythonExecutor, {"additional_functions": {"f": 3}}, TypeError, r"\['f'\] must be a function, not int"),
    (LocalPythonExecutor, {"additional_functions": {1: len}}, TypeError, "whose keys are texts"),
    *(
        (LocalPythonExecutor, {"network_budget": bad}, ValueError, "network_budget is a positive number of bytes")
        for bad in ("x", float("nan"), -1, True)
    ),
    (DockerExecutor, {"container_run_kwargs": [1]}, TypeError, "container_run_kwargs must be a dict"),
    (DockerExecutor, {"image": 5}, TypeError, "image must be a text or None, not int"),
    (DockerExecutor, {"image": "UPPER CASE"}, ValueError, "image='UPPER CASE': give the name of an image"),
    (DockerExecutor, {"image": "a\0b"}, ValueError, "image must be a text without null characters"),
    (DockerExecutor, {"image": "x;y"}, ValueError, "image='x;y': give the name of an image"),
    (DockerExecutor, {"image": ""}, ValueError, "image must be a text that is not empty"),
    (DockerExecutor, {"base_image": "x y"}, ValueError, "base_image='x y': give the name"),
    (DockerExecutor, {"image_name": float("nan")}, TypeError, "image_name must be a text or None, not float"),
    *(
        (DockerExecutor, {"base_url": bad}, TypeError, "base_url must be a text or None, not")
        for bad in (True, 1.5, ["unix:///x"])
    ),
    *((DockerExecutor, {"python": bad}, TypeError, "python must be a text, not") for bad in (None, 0, ())),
    (DockerExecutor, {"python": "a\0b"}, ValueError, "python must be a text without null"),
    (DockerExecutor, {"warm": 10**400}, ValueError, "warm=so large a number: give a whole number"),
    (DockerExecutor, {"build_new_image": "x"}, TypeError, "build_new_image must be True or False, not str"),
    (WasmExecutor, {"deno_path": 0}, TypeError, "deno_path must be a text, not int"),
    (WasmExecutor, {"deno_path": []}, TypeError, "deno_path must be a text, not list"),
    (WasmExecutor, {"spare": "x"}, TypeError, "spare must be True or False, not str"),
    (WasmExecutor, {"timeout": "x"}, TypeError, "timeout_seconds.* must be a number of seconds"),
    (E2BExecutor, {"timeout": "abc"}, TypeError, "timeout must be a number of seconds"),
    (E2BExecutor, {"timeout": -4}, ValueError, "timeout must be 1 to 86,400 seconds"),
    (E2BExecutor, {"api_key": 5}, TypeError, "api_key must be a text or None, not int"),
    (E2BExecutor, {"metadata": [1]}, TypeError, "metadata must be a dict or None"),
    (E2BExecutor, {"start_timeout": -1}, ValueError, "start_timeout must be 0.01 to 1,000,000 seconds, not -1"),
    (E2BExecutor, {"start_timeout": float("nan")}, ValueError, "start_timeout must be .*, not nan"),
    (BlaxelExecutor, {"memory": -1}, ValueError, "memory must be 1 to .* MiB, not -1"),
    (BlaxelExecutor, {"memory": 1.5}, TypeError, "memory must be a whole number, not float"),
    (BlaxelExecutor, {"image": 5}, TypeError, "image must be a text, not int"),
    (BlaxelExecutor, {"token": "x"}, TypeError, "no argument 'token': write api_key="),
    (BlaxelExecutor, {"envs": {}}, TypeError, "no argument 'envs': what programs need"),
    (ModalExecutor, {"create_kwargs": [1]}, TypeError, "create_kwargs must be a dict"),
    (ModalExecutor, {"create_kwargs": {"memory": -1}}, ValueError, "create_kwargs: memory must be .*MiB above 0"),
    (ModalExecutor, {"create_kwargs": {"memory": "x"}}, TypeError, "create_kwargs: memory must be a number"),
    *(
        (ModalExecutor, {name: 1}, TypeError, rf"no argument '{name}': write create_kwargs={{'{name}'")
        for name in ("region", "image", "memory", "gpu", "cpu", "timeout")
    ),
    (ModalExecutor, {"token_id": "x"}, TypeError, "no argument 'token_id': set MODAL_TOKEN_ID"),
    (FallbackExecutor, {"executors": 3}, TypeError, "executors must be a list, not int"),
]


@pytest.mark.parametrize(("made", "options", "error", "told"), WRONG)
def test_options_of_another_type_or_size(made: Any, options: dict[str, Any], error: type[Exception], told: str) -> None:
    first: tuple[Any, ...] = () if made in (LocalPythonExecutor, FallbackExecutor) else ([], None)
    with pytest.raises(error, match=told):
        made(*first, **options)


@pytest.mark.parametrize(
    "name",
    [
        "python",
        "python:3.12-slim",
        "docker.io/library/python:3.12-slim",
        "localhost:5000/a/b__c.d-e:T_1",
        "[::1]:5000/image",
        f"python@sha256:{'a' * 64}",
        f"sha256:{'0' * 64}",
        "0123456789ab",
    ],
)
def test_names_of_images_are_taken(name: str) -> None:
    check_image("image", name)


def test_a_key_that_is_refused_is_not_shown() -> None:
    with pytest.raises(ValueError, match="api_key must be") as caught:
        E2BExecutor([], None, api_key="hush\0")
    assert "hush" not in str(caught.value)


class Rude:
    """A value that cannot be looked at."""

    def __repr__(self) -> str:
        raise Ruder

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise Ruder


class Ruder(Exception):
    """An error without a text."""

    def __str__(self) -> str:
        raise self


def snapshot(**fields: Any) -> Snapshot:
    """A snapshot that a program made up."""
    return Snapshot("local", **fields)


CALLS: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda made: made.send_tools([]), TypeError, "send_tools takes a dict of tools by their names; got list"),
    (lambda made: made.send_tools({1: len}), TypeError, r"which are texts \(str\); got 1"),
    (lambda made: made.send_tools({"a": 3}), TypeError, "'a' must be a tool or a function, not int"),
    (lambda made: made.send_variables([]), TypeError, "send_variables takes a dict of variables"),
    (lambda made: made.send_variables({1: 1}), TypeError, r"which are texts \(str\); got 1"),
    (lambda made: made.restore(snapshot(python=None, data=b"")), TypeError, "python of this"),
    (lambda made: made.restore(snapshot(python="3", data="x")), TypeError, "data of this"),
]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("made", [LocalPythonExecutor, MontyExecutor])
def test_what_is_sent_is_named(made: Any, live: bool) -> None:
    with made() as executor:
        if live:
            executor("1")
        for call, error, told in CALLS:
            with pytest.raises(error, match=told):
                call(executor)
        assert executor("1 + 1").output == 2


@pytest.mark.parametrize("made", [LocalPythonExecutor, MontyExecutor])
def test_a_value_that_cannot_be_looked_at_harms_nobody(made: Any) -> None:
    with made() as executor:
        executor("1")
        executor.send_variables({"a": Rude(), "b": 2})
        assert executor("b").output == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"state": []}, "state takes a dict of variables by their names; got list"),
        ({"state": {1: 2}}, r"which are texts \(str\); got 1"),
        ({"static_tools": [len]}, "static_tools takes a dict of tools"),
        ({"custom_tools": {"a": 3}}, "custom_tools: 'a' must be a tool or a function"),
        ({"authorized_imports": "json"}, "authorized_imports must be a list of texts"),
        ({"authorized_imports": [1]}, "authorized_imports must be a list of texts"),
    ],
)
def test_what_one_program_is_given_is_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        evaluate_python_code("1", **options)


def test_a_snapshot_is_read_from_any_view_of_its_bytes() -> None:
    taken = Snapshot("local", "3.11.7", b"data", ("a",))
    data = taken.to_bytes()
    doubled = bytes(byte for byte in data for _ in range(2))
    assert Snapshot.from_bytes(memoryview(doubled)[::2]) == taken
    with pytest.raises(ValueError, match="no snapshot"):
        Snapshot.from_bytes(memoryview(data)[::2])


@pytest.mark.parametrize("none", [[], ()])
def test_no_executor_at_all_is_told(none: Any) -> None:
    with pytest.raises(ValueError, match="names no executor: give one or more of local, docker"):
        CodeAgent([], ScriptedModel([]), executor_type=none)


def test_reasons_of_several_executors_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("E2B_API_KEY", "BL_API_KEY", "BL_WORKSPACE", "BL_CLIENT_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SandboxUnavailableError, match=r"keys\)\. blaxel: no credentials .*\.$"):
        CodeAgent([], ScriptedModel([]), executor_type=["e2b", "blaxel"], verbosity_level=LogLevel.OFF)
