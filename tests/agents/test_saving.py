"""Agents are saved and loaded, and nothing is lost on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from actloop import (
    REMOVE_PARAMETER,
    AgentLogger,
    AzureOpenAIModel,
    CodeAgent,
    FallbackModel,
    LocalModel,
    LogLevel,
    ManagedAgent,
    Model,
    MultiStepAgent,
    OpenAIModel,
    SandboxLimits,
    ScriptedModel,
    Tool,
    UnsafeInProcessExecutor,
    tool,
)
from actloop.agents.prompting import packaged_templates
from actloop.agents.tool_calling import ToolCallingAgent
from actloop.memory.compaction import ContextLimit
from actloop.models.retry import RetryPolicy
from actloop.values.arguments import parameters_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop import ChatMessage

CLASSES: list[type[MultiStepAgent]] = [CodeAgent, ToolCallingAgent]


@tool
def area(radius: float, unit: Literal["m", "cm"] = "m") -> str:
    """Area of a circle.

    Args:
        radius: Of the circle.
    """
    return f"{3 * radius**2:.0f} {unit}2"


class Repeater(Tool):
    name = "repeat-it"
    description = "Says it again."
    inputs = {"text": {"type": "string", "description": "It."}}
    output_type = "string"

    def __init__(self, times: int = 2) -> None:
        super().__init__()
        self.times = times

    def forward(self, text: str) -> str:
        return text * self.times


@dataclass
class Answer:
    value: int


def model() -> Model:
    return OpenAIModel("m", temperature=0.5, api_base="http://127.0.0.1:9/v1")


def other_templates() -> Any:
    return json.loads(json.dumps(packaged_templates("code_agent"))) | {
        "system_prompt": "Say  \n\tit: {{ name }} \u2603\n"
    }


def worker(name: str = "worker") -> CodeAgent:
    return CodeAgent(
        [Repeater(3)],
        model(),
        name=name,
        description="Works.",
        max_steps=4,
        code_block_tags=("<x>", "</x>"),
        verbosity_level=LogLevel.OFF,
    )


SAMPLES: dict[str, Callable[[], Any]] = {
    "additional_authorized_imports": lambda: ["yaml"],
    "allow_hosts": lambda: ["example.org:443", "*.example.com"],
    "code_block_tags": lambda: ("<a>", "</a>"),
    "context": lambda: ContextLimit(tokens=1000, keep_last=2),
    "description": lambda: "Says \u201eit\u201c.",
    "executor_kwargs": lambda: {"limits": SandboxLimits(wall=7.5, memory=2**28), "local": {"timeout_seconds": 7.5}},
    "executor_type": lambda: "local",
    "instructions": lambda: "Be brief.\nBe kind.",
    "journal": lambda: None,
    "managed_agents": lambda: [worker(), ManagedAgent(worker("inner"), "wrapped", "Is wrapped.", "Hurry.", True)],
    "max_print_outputs_length": lambda: 99,
    "max_steps": lambda: 3,
    "max_tool_threads": lambda: 5,
    "model": lambda: OpenAIModel(
        "n", organization="o", requests_per_minute=9, retry=RetryPolicy(attempts=2), top_p=0.1
    ),
    "name": lambda: "boss",
    "output_type": lambda: dict[str, list[int] | None],
    "planning_interval": lambda: 2,
    "prompt_templates": other_templates,
    "provide_run_summary": lambda: True,
    "return_full_result": lambda: True,
    "stream_outputs": lambda: True,
    "tools": lambda: [area, Repeater(5)],
    "use_structured_outputs_internally": lambda: True,
    "verbosity_level": lambda: LogLevel.OFF,
    "workspace": lambda: str(Path(__file__).parent),
}
"""A value other than the default for every argument of an agent that can be saved."""

LIVE: dict[str, Callable[[], Any]] = {
    "executor": lambda: UnsafeInProcessExecutor([]),
    "final_answer_checks": lambda: [print],
    "logger": lambda: type("Mine", (AgentLogger,), {})(LogLevel.OFF),
    "secrets": lambda: {"TOKEN": "a-secret-of-the-user"},
    "step_callbacks": lambda: [print],
}
"""Arguments that hold live objects; they are named when an agent is saved without them."""

ONLY_VALUE = {"executor_type"}
OTHERWISE = {"add_base_tools"}
"""Seen in another argument: the tools are saved one by one."""


def fields(agent: Any) -> dict[str, Any]:
    """Everything about an agent that its constructor sets, in comparable form."""
    own: dict[str, Any] = {**vars(agent)}
    for name in ("_runs", "_constructed_with", "step_callbacks", "logger", "python_executor", "vault"):
        own.pop(name, None)
    own["level"] = agent.logger.level
    own["model"] = (type(agent.model), agent.model.to_dict(), getattr(agent.model, "retryer", None))
    own["tools"] = {name: told(one) for name, one in agent.tools.items()}
    own["managed_agents"] = {name: inner(one) for name, one in agent.managed_agents.items()}
    executor: Any = getattr(agent, "python_executor", None)
    if executor is not None:
        own["executor"] = (type(executor), executor.limits, executor.authorized_imports)
    return own


def inner(managed: Any) -> dict[str, Any]:
    if isinstance(managed, ManagedAgent):
        return vars(managed) | {"agent": fields(managed.agent)}
    return fields(managed)


def told(one: Tool) -> tuple[Any, ...]:
    return (one.name, one.description, one.inputs, one.output_type, one.output_schema, vars(one).get("times"))


def through_dict(agent: MultiStepAgent, tmp_path: Path) -> MultiStepAgent:
    return type(agent).from_dict(json.loads(json.dumps(agent.to_dict())), trust_remote_code=True)


def through_folder(agent: MultiStepAgent, tmp_path: Path) -> MultiStepAgent:
    agent.save(tmp_path / "saved")
    return MultiStepAgent.from_folder(tmp_path / "saved", trust_remote_code=True)


WAYS = pytest.mark.parametrize("way", [through_dict, through_folder])
ARGUMENTS = [(cls, name) for cls in CLASSES for name in parameters_of(cls)]


@WAYS
@pytest.mark.parametrize(("cls", "name"), ARGUMENTS, ids=[f"{cls.__name__}-{name}" for cls, name in ARGUMENTS])
def test_every_argument_of_an_agent_survives(way: Any, cls: Any, name: str, tmp_path: Path) -> None:
    assert name in {*SAMPLES, *LIVE, *OTHERWISE}, (
        f"{cls.__name__}.{name} is new: see that it is saved, and add a sample"
    )
    given: dict[str, Any] = {"tools": [], "model": model()}
    if name in OTHERWISE:
        return
    if name in LIVE:
        with pytest.warns(UserWarning, match=rf"Saved without.*\b{name}"):
            cls(**{**given, name: LIVE[name]()}).to_dict()
        return
    agent = cls(**{**given, name: SAMPLES[name]()})
    if name not in ONLY_VALUE:
        assert fields(agent) != fields(cls(**given)), f"the sample for {name} makes no difference"
    loaded = way(agent, tmp_path)
    assert type(loaded) is cls
    assert fields(loaded) == fields(agent)
    assert loaded.to_dict() == agent.to_dict()


@WAYS
def test_an_agent_with_all_its_settings_survives(way: Any, tmp_path: Path) -> None:
    names = parameters_of(CodeAgent)
    agent = CodeAgent(**{name: make() for name, make in SAMPLES.items() if name in names})
    agent.tools["late"] = tool(late)
    agent.max_steps = 17
    agent.instructions = "Changed later."
    loaded = way(agent, tmp_path)
    assert fields(loaded) == fields(agent)
    assert loaded.managed_agents["wrapped"].agent.tools["repeat-it"]("a") == "aaa"


def late(x: int) -> int:
    """Added later.

    Args:
        x: A number.
    """
    return x


def test_default_prompts_stay_the_defaults(tmp_path: Path) -> None:
    loaded: Any = through_folder(CodeAgent([], model()), tmp_path)
    assert loaded._own_prompts
    assert loaded.prompt_templates == packaged_templates("code_agent")


def test_base_tools_are_saved_one_by_one(tmp_path: Path) -> None:
    agent = CodeAgent([], model(), add_base_tools=True)
    loaded = through_folder(agent, tmp_path)
    assert {name: type(one) for name, one in loaded.tools.items()} == {
        name: type(one) for name, one in agent.tools.items()
    }


def six_by_seven(messages: list[ChatMessage]) -> str:
    return "<code>final_answer(6 * 7)</code>"


def test_an_agent_without_code_of_its_own_is_loaded_without_consent(tmp_path: Path) -> None:
    agent = CodeAgent([], ScriptedModel(six_by_seven), verbosity_level=LogLevel.OFF)
    with pytest.warns(UserWarning, match=r"model.replies \(which ScriptedModel needs\)"):
        agent.save(tmp_path)
    with pytest.raises(ValueError, match=r"ScriptedModel cannot be made again.*pass model="):
        CodeAgent.from_folder(tmp_path)
    loaded = CodeAgent.from_folder(tmp_path, model=agent.model)
    with loaded:
        assert loaded.run("What is six by seven?") == 42


def test_a_loaded_agent_solves_a_task_in_the_sandbox(tmp_path: Path) -> None:
    agent = CodeAgent([area, Repeater()], model(), managed_agents=[worker()], verbosity_level=LogLevel.OFF)
    agent.save(tmp_path)
    replies = [
        "<code>\nfound = worker(task='double')\n</code>",
        "<x>\nfinal_answer(repeat_it('ab'))\n</x>",
        "<code>\nfinal_answer([area(2), repeat_it('x'), 'ababab' in found])\n</code>",
    ]
    with ScriptedModel(replies) as scripted:
        loaded = CodeAgent.from_folder(tmp_path, model=scripted, trust_remote_code=True)
        with loaded:
            assert loaded.run("Go.") == ["12 m2", "xx", True]
    assert loaded.managed_agents["worker"].model is scripted


MODELS: dict[str, Callable[[], Model]] = {
    "openai": lambda: OpenAIModel(
        "m",
        flatten_messages_as_text=True,
        custom_role_conversions={"system": "user"},
        client_kwargs={"max_retries": 5},
        project="p",
        timeout=9.5,
        stop=REMOVE_PARAMETER,
        tool_name_key="tool",
        extra_body={"top_k": 4, "nested": {"1": [True, None, float("inf")]}},
    ),
    "local": lambda: LocalModel(
        "tiny.gguf", context=1024, threads=1, parallel=2, temperature=0.3, max_tokens=9, seed=7
    ),
    "azure": lambda: AzureOpenAIModel("m", "https://x.example", api_version="2"),
    "fallback": lambda: FallbackModel([OpenAIModel("a", top_p=0.5), LocalModel("b.gguf")]),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_settings_of_a_model_survive(name: str) -> None:
    saved = MODELS[name]()
    data = json.loads(json.dumps(CodeAgent([], saved).to_dict()))
    loaded = CodeAgent.from_dict(data, trust_remote_code=True).model
    assert settings(loaded) == settings(saved)


def settings(one: Any) -> Any:
    if isinstance(one, Model):
        hidden = ("_constructed_with", "_clients", "_server_lock", "rate_limiter", "_lock", "_fallen")
        return type(one), {key: settings(value) for key, value in vars(one).items() if key not in hidden}
    if isinstance(one, list | tuple):
        return [settings(item) for item in one]  # pyright: ignore[reportUnknownVariableType]
    return one


KEYS_LEFT_OUT = (
    r"model\.api_key \(a secret\), model\.client_kwargs\.default_headers\.Authorization \(a secret\).*"
    r"X-Other \(a secret\), model\.client \(a live object\).*instructions \(a secret\)"
)


def test_keys_and_tokens_are_written_nowhere(tmp_path: Path) -> None:
    key = "sk-" + 12 * "a1"
    headers = {"Authorization": "sesame", "X-Other": key}
    keyed = OpenAIModel("m", api_key=key, client_kwargs={"default_headers": headers}, client=object())
    agent = CodeAgent([], keyed, executor_kwargs={"timeout_seconds": 3}, instructions=f"The key is {key}.")
    with pytest.warns(UserWarning, match=KEYS_LEFT_OUT):
        agent.save(tmp_path)
    text = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert key not in text
    assert "sesame" not in text


def test_a_class_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "own_agents.py").write_text(
        "from actloop import CodeAgent, Model\n"
        "class Careful(CodeAgent):\n"
        "    def __init__(self, *args, caution=1, **kwargs):\n"
        "        self.caution = caution\n"
        "        super().__init__(*args, **kwargs)\n"
        "class Echo(Model):\n"
        "    def __init__(self, loud=False):\n"
        "        super().__init__(model_id='echo')\n"
        "        self.loud = loud\n"
    )
    program = (
        "import sys; from own_agents import Careful, Echo; from actloop import CodeAgent\n"
        "Careful([], Echo(loud=True), caution=9).save('saved')\n"
        "loaded = CodeAgent.from_folder('saved', trust_remote_code=True)\n"
        "print(type(loaded).__name__, loaded.caution, type(loaded.model).__name__, loaded.model.loud)\n"
    )
    env = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2] / 'src'}", "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout == "Careful 9 Echo True\n", done.stderr
    with pytest.raises(ValueError, match="import the module own_agents for the class Careful"):
        CodeAgent.from_folder(tmp_path / "saved")
    assert "own_agents" not in sys.modules


def test_the_answers_type_may_be_a_class_of_the_users_own() -> None:
    saved = CodeAgent([], model(), output_type=list[Answer]).to_dict()
    with pytest.raises(ValueError, match=r"import the module of .*Answer"):
        CodeAgent.from_dict(saved, model=model())


def test_a_class_that_no_module_holds_is_named() -> None:
    @dataclass
    class Here:
        x: int

    agent = CodeAgent([], model(), output_type=Here)
    with pytest.warns(UserWarning, match=r"output_type \(the class .*Here, which no module holds"):
        agent.to_dict()


def test_a_tool_under_another_name_is_named() -> None:
    agent = CodeAgent([], model())
    agent.tools["later"] = tool(late)
    with pytest.warns(UserWarning, match=r"tools\['later'\] \(saved under its own name, 'late'\)"):
        agent.to_dict()


def test_prompt_templates_with_a_key_in_them_are_refused() -> None:
    templates = other_templates() | {"system_prompt": "Sign in with hf_" + 20 * "Z1"}
    with pytest.raises(ValueError, match="prompt templates hold what looks like a secret"):
        CodeAgent([], model(), prompt_templates=templates).to_dict()


def test_what_is_given_when_loading_wins(tmp_path: Path) -> None:
    CodeAgent([area], model(), max_steps=3, managed_agents=[worker()]).save(tmp_path)
    loaded = CodeAgent.from_folder(
        tmp_path, model=ScriptedModel([]), tools=[Repeater()], managed_agents=[], max_steps=8, name="new"
    )
    assert (loaded.max_steps, loaded.name, loaded.managed_agents) == (8, "new", {})
    assert sorted(loaded.tools) == ["final_answer", "repeat-it"]


def test_a_type_for_the_answer_may_be_given_when_loading() -> None:
    loaded = CodeAgent.from_dict(CodeAgent([], model()).to_dict(), output_type=int, trust_remote_code=True)
    assert loaded.tools["final_answer"].inputs["answer"]["type"] == "integer"


class Bound(Tool):
    name = "bound"
    description = "Is bound to a live object."
    inputs: dict[str, dict[str, Any]] = {}
    output_type = "string"

    def forward(self) -> str:
        return "x"

    def to_dict(self) -> dict[str, Any]:
        raise ValueError("tool 'bound' cannot be saved: it lives here")


def test_a_tool_that_says_it_cannot_be_saved_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it lives here"):
        CodeAgent([Bound()], model()).save(tmp_path / "saved")
    with pytest.raises(ValueError, match="it lives here"):
        Bound().save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_settings_that_a_class_does_not_take_are_named() -> None:
    saved = CodeAgent([], model()).to_dict() | {"warp_factor": 9}
    with pytest.warns(UserWarning, match="takes no such settings as were saved: warp_factor"):
        CodeAgent.from_dict(saved, trust_remote_code=True)


def test_saving_again_leaves_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "mine.py").write_text("mine")
    for _ in range(2):
        CodeAgent([area], model()).save(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == (tmp_path / "tools" / "mine.py").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "agent.json", "app.py", "notes.txt", "prompts.yaml", "requirements.txt", "tools",
    ]  # fmt: skip


def test_requirements_and_the_web_page(tmp_path: Path) -> None:
    CodeAgent([area], model(), additional_authorized_imports=["yaml", "PIL.*", "math"]).save(tmp_path)
    lines = (tmp_path / "requirements.txt").read_text().splitlines()
    assert lines == ["PyYAML", "actloop[gradio,openai]", "pillow"]
    app = (tmp_path / "app.py").read_text()
    assert "GradioUI(agent).launch()" in app
    compile(app, "app.py", "exec")


def test_tools_may_have_any_name_and_stay_in_the_folder(tmp_path: Path) -> None:
    names = ["../evil", "/etc/evil", "a/b", "..", "con", "A", "a", "x" * 200, "\u00fc ber", "__init__"]
    tools: list[Any] = []
    for name in names:
        one = Repeater()
        one.name = name
        tools.append(one)
    agent = CodeAgent(tools, model())
    loaded = through_folder(agent, tmp_path)
    assert list(loaded.tools) == [*names, "final_answer"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved"]
    files = list((tmp_path / "saved" / "tools").iterdir())
    assert len({path.name.lower() for path in files}) == len(names) + 1


def test_no_warning_where_nothing_is_left_out(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CodeAgent([area], model()).save(tmp_path)
