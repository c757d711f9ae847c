"""Classes of the user's own: what they override takes part in every run, as in the reference."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest

from actloop import (
    ActionOutput,
    ActionStep,
    AgentError,
    AgentLogger,
    ChatMessage,
    CodeAgent,
    CodeOutput,
    E2BExecutor,
    LogLevel,
    ManagedAgent,
    MessageRole,
    Model,
    MultiStepAgent,
    PythonExecutor,
    ScriptedModel,
    TokenUsage,
    ToolCallingAgent,
    tool,
)

QUIET: dict[str, Any] = {"verbosity_level": 0, "journal": None}


def code(program: str) -> str:
    return f"<code>\n{program}\n</code>"


def call(tool_name: str, **arguments: Any) -> str:
    return json.dumps({"name": tool_name, "arguments": arguments})


@tool
def greet(name: str) -> str:
    """Greets someone.

    Args:
        name: Whom.
    """
    return f"Hello {name}"


def test_write_memory_to_messages_says_what_the_model_is_sent() -> None:
    class Reminded(CodeAgent):
        def write_memory_to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
            messages = super().write_memory_to_messages(summary_mode)
            return [*messages, ChatMessage(MessageRole.USER, f"Step {self.step_number}: be brief.")]

    model = ScriptedModel([code("x = 1"), code("final_answer(x)")])
    with Reminded([], model, **QUIET) as agent:
        assert agent.run("Go.") == 1
    assert [request.messages[-1].text for request in model.requests] == ["Step 1: be brief.", "Step 2: be brief."]


@pytest.mark.parametrize("given", ["in prose", ChatMessage(MessageRole.ASSISTANT, "in prose")])
def test_provide_final_answer_answers_when_the_steps_are_used_up(given: Any) -> None:
    class Closing(CodeAgent):
        def provide_final_answer(self, task: str, images: Any = None) -> Any:
            assert task == "Go."
            return given

    with Closing([], ScriptedModel([code("x = 1")]), max_steps=1, **QUIET) as agent:
        result = agent.run("Go.", return_full_result=True)
    assert result.output == "in prose"
    assert result.state == "max_steps_error"


def test_execute_tool_call_is_how_tools_are_called() -> None:
    class Careful(ToolCallingAgent):
        def execute_tool_call(self, tool_name: str, arguments: dict[str, Any] | str) -> Any:
            seen.append((tool_name, arguments))
            if arguments == {"name": "Eve"}:
                raise PermissionError("not Eve")
            return super().execute_tool_call(tool_name, arguments)

    seen: list[Any] = []
    model = ScriptedModel([call("greet", name="Ada"), call("greet", name="Eve"), call("final_answer", answer="done")])
    agent = Careful([greet], model, **QUIET)
    assert agent.run("Go.") == "done"
    assert seen == [("greet", {"name": "Ada"}), ("greet", {"name": "Eve"}), ("final_answer", {"answer": "done"})]
    _, greeted, refused, _ = cast("list[Any]", agent.memory.steps)
    assert "Hello Ada" in greeted.observations
    assert "not Eve" in str(refused.error)


class Prefixed(CodeAgent):
    def run(self, task: str, *args: Any, **kwargs: Any) -> Any:
        return f"<{super().run(task, *args, **kwargs)}>"


class Reporting(CodeAgent):
    def __call__(self, task: str, **kwargs: Any) -> str:
        return f"report on {task}: {self.run(task, **kwargs)}"


def test_run_is_what_a_manager_calls() -> None:
    worker = Prefixed([], ScriptedModel([code("final_answer(k)")] * 2), name="worker", description="Works.", **QUIET)
    program = "final_answer([worker('a', additional_args={'k': 1}), other('b', additional_args={'k': 2})])"
    other = ManagedAgent(worker, name="other", description="Works, too.")
    manager = CodeAgent([other], ScriptedModel([code(program)]), managed_agents=[worker], **QUIET)
    with manager, worker:
        first, second = manager.run("Go.")
    assert "<1>" in first
    assert "<2>" in second


@pytest.mark.parametrize("kind", [Prefixed, Reporting])
def test_a_way_of_its_own_to_work_for_others_counts_in_asynchronous_runs(kind: type[CodeAgent]) -> None:
    worker = kind([], ScriptedModel([code("final_answer(7)")]), name="worker", description="Works.", **QUIET)
    manager = CodeAgent([], ScriptedModel([code("final_answer(worker('a'))")]), managed_agents=[worker], **QUIET)
    with manager, worker:
        report = asyncio.run(manager.arun("Go."))
    assert report == "report on a: 7" or "<7>" in report


def test_a_system_prompt_of_its_own() -> None:
    class Terse(CodeAgent):
        def initialize_system_prompt(self) -> str:
            return f"You are terse. Tools: {', '.join(self.tools)}."

    model = ScriptedModel([code("final_answer(1)")])
    with Terse([greet], model, **QUIET) as agent:
        agent.run("Go.")
    assert model.requests[0].messages[0].text == "You are terse. Tools: greet, final_answer."
    assert agent.memory.system_prompt.system_prompt == agent.system_prompt


def test_an_agent_that_says_itself_what_a_step_is() -> None:
    class Echo(MultiStepAgent):
        def initialize_system_prompt(self) -> str:
            return "Echo."

        def step(self, memory_step: ActionStep) -> Any:
            reply = self.model.generate(self.write_memory_to_messages())
            memory_step.model_output_message, memory_step.model_output = reply, reply.text
            memory_step.observations = f"saw {reply.text}"
            if reply.text == "broken":
                raise AgentError("not this")
            return reply.text.removeprefix("answer ") if reply.text.startswith("answer ") else None

    def is_two(answer: str, memory: Any, agent: Any) -> bool:
        return answer == "two"

    model = ScriptedModel(["one", "broken", "answer refused", "answer two", "answer three"])
    agent = Echo([], model, final_answer_checks=[is_two], **QUIET)
    result = agent.run("Go.", return_full_result=True)
    assert result.output == "two"
    steps: list[Any] = agent.memory.steps[1:]
    assert [step.observations for step in steps] == ["saw one", "saw broken", "saw answer refused", "saw answer two"]
    assert [bool(step.error) for step in steps] == [False, True, True, False]
    assert "saw one" in model.requests[1].messages[-1].text
    step = ActionStep(step_number=9)
    assert agent.step(step) == "three"


def test_an_agent_whose_steps_are_streams() -> None:
    class Streaming(MultiStepAgent):
        def initialize_system_prompt(self) -> str:
            return "Count."

        def _step_stream(self, memory_step: ActionStep) -> Any:
            yield ActionOutput(memory_step.step_number, is_final_answer=memory_step.step_number == 3)

    agent = Streaming([], ScriptedModel([]), **QUIET)
    assert agent.run("Go.") == 3
    assert agent.step(ActionStep(step_number=3)) == 3


def test_an_agent_without_a_step_says_what_to_define() -> None:
    class Empty(MultiStepAgent):
        def initialize_system_prompt(self) -> str:
            return ""

    with pytest.raises(NotImplementedError, match=r"define step\(memory_step\)"):
        Empty([], ScriptedModel([]), **QUIET).run("Go.")


def test_a_model_that_writes_its_role_as_text() -> None:
    class Plain(Model):
        def generate(self, *args: Any, **kwargs: Any) -> ChatMessage:
            role: Any = "assistant"
            return ChatMessage(role=role, content=code("final_answer(2)"))

    with CodeAgent([], Plain(), verbosity_level=0) as agent:  # the journal stores the reply
        assert agent.run("Go.") == 2


def test_a_model_that_prepares_its_requests() -> None:
    class Prepared(Model):
        def generate(
            self,
            messages: Any,
            stop_sequences: Any = None,
            response_format: Any = None,
            tools_to_call_from: Any = None,
            **kwargs: Any,
        ) -> ChatMessage:
            request.update(
                self._prepare_completion_kwargs(
                    messages=messages,
                    stop_sequences=stop_sequences,
                    response_format=response_format,
                    tools_to_call_from=tools_to_call_from,
                    model="mine",
                    **kwargs,
                )
            )
            text = 'Action:\n{"name": "final_answer", "arguments": {"answer": 5}}'
            return ChatMessage(MessageRole.ASSISTANT, text, token_usage=TokenUsage(1, 2))

    request: dict[str, Any] = {}
    agent = ToolCallingAgent([greet], Prepared(temperature=0.3, model_id="mine"), **QUIET)
    assert agent.run("Go.") == 5
    assert request["model"] == "mine"
    assert request["temperature"] == 0.3
    assert request["tool_choice"] == "required"
    assert [entry["function"]["name"] for entry in request["tools"]] == ["greet", "final_answer"]
    assert set(request["messages"][0]) == {"role", "content"}


def test_helpers_for_models_of_ones_own() -> None:
    from actloop.models import get_tool_json_schema, remove_content_after_stop_sequences, supports_stop_parameter

    assert get_tool_json_schema(greet)["function"]["name"] == "greet"
    assert remove_content_after_stop_sequences("one END two", ["END"]) == "one "
    assert supports_stop_parameter("gpt-4o")
    assert not supports_stop_parameter("o3")


def test_an_executor_of_its_own() -> None:
    class Recorder(PythonExecutor):
        def __init__(self) -> None:
            self.programs: list[str] = []
            self.tools: dict[str, Any] = {}
            self.state: dict[str, Any] = {}

        def send_tools(self, tools: dict[str, Any]) -> None:
            self.tools.update(tools)

        def send_variables(self, variables: dict[str, Any]) -> None:
            self.state.update(variables)

        def __call__(self, code_action: str) -> CodeOutput:
            self.programs.append(code_action)
            if code_action == "answer":
                return CodeOutput(self.tools["greet"](name=self.state["who"]), "", is_final_answer=True)
            return CodeOutput(None, "printed", is_final_answer=False)

    executor = Recorder()
    model = ScriptedModel([code("first"), code("answer")])
    with CodeAgent([greet], model, executor=executor, **QUIET) as agent:
        assert agent.run("Go.", additional_args={"who": "Ada"}) == "Hello Ada"
    assert executor.programs == ["first", "answer"]
    assert "printed" in model.requests[1].messages[-1].text


def test_constructors_and_factories() -> None:
    class Labelled(CodeAgent):
        def __init__(self, *args: Any, label: str, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.label = label

        def create_python_executor(self) -> Any:
            self.made = True
            return super().create_python_executor()

    with Labelled([], ScriptedModel([code("final_answer(1)")]), label="mine", **QUIET) as agent:
        assert agent.run("Go.") == 1
    assert agent.label == "mine"
    assert agent.made


def test_variables_of_a_run_are_read_from_the_executor() -> None:
    programs = ["rows = [1, 2]", "final_answer(agent_state())", "rows.append(3)\nfinal_answer(0)"]
    model = ScriptedModel([code(program) for program in programs])

    @tool
    def agent_state() -> str:
        """Reads the variables while a program runs in the sandbox."""
        return str("rows" in agent.python_executor.state)

    with CodeAgent([agent_state], model, **QUIET) as agent:
        assert agent.run("Go.") == "False"
        assert agent.python_executor.state["rows"] == [1, 2]
        agent.run("Go on.", reset=False)
        assert agent.python_executor.state["rows"] == [1, 2, 3]
    assert "rows" not in agent.python_executor.state


def test_the_system_prompt_cannot_be_set_and_says_what_can() -> None:
    agent = CodeAgent([], ScriptedModel([]), **QUIET)
    with pytest.raises(AttributeError, match=r'prompt_templates\["system_prompt"\]'):
        agent.system_prompt = "Other."


def test_provide_final_answer_takes_images() -> None:
    from PIL import Image

    model = ScriptedModel([code("x = 1"), "closing", "again"])
    with CodeAgent([], model, max_steps=1, **QUIET) as agent:
        agent.run("Go.")
        assert agent.provide_final_answer("Go.", [Image.new("RGB", (2, 2))]).content == "again"
    parts = cast("list[Any]", model.requests[-1].messages[-1].content)
    assert [part["type"] for part in parts] == ["text", "image"]


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
def test_a_logger_whose_methods_are_overridden(kind: type[CodeAgent | ToolCallingAgent]) -> None:
    class Collecting(AgentLogger):
        def log(self, *args: Any, level: Any = LogLevel.INFO, **kwargs: Any) -> None:
            if level <= self.level:
                said.append(" ".join(map(str, args)))

        def log_code(self, title: str, content: str, level: Any = LogLevel.INFO) -> None:
            said.append(f"code {content}")

        def log_task(self, content: str, subtitle: str, title: str | None = None, level: Any = LogLevel.INFO) -> None:
            said.append(f"task {content}")

        def log_rule(self, title: str, level: Any = LogLevel.INFO) -> None:
            said.append(title)

        def log_error(self, error_message: str) -> None:
            said.append(f"error {error_message.splitlines()[0]}")

    said: list[str] = []
    if kind is CodeAgent:
        replies = [code("print(greet('Ada'))"), code("1 / 0"), code("final_answer(7)")]
        wanted = ["code print(greet('Ada'))", "Printed:\nHello Ada\n", "code final_answer(7)"]
    else:
        replies = [call("greet", name="Ada"), call("nothing"), call("final_answer", answer=7)]
        wanted = ["Call: greet(name='Ada')", "Result: Hello Ada"]
    with kind([greet], ScriptedModel(replies), logger=Collecting(), journal=None) as agent:
        assert agent.run("Go.") == 7
    assert said[:2] == ["task Go.", "Step 1"]
    assert [line for line in wanted if line not in said] == []
    assert any(line.startswith("error ") for line in said)
    assert said[-1] == "Final answer: 7"


def test_a_logger_that_fails_ends_no_run() -> None:
    class Failing(AgentLogger):
        def log_rule(self, title: str, level: Any = LogLevel.INFO) -> None:
            raise ZeroDivisionError("broken")

    agent = CodeAgent([], ScriptedModel([code("final_answer(1)")]), logger=Failing(LogLevel.INFO), journal=None)
    with agent, pytest.warns(RuntimeWarning, match="logger Failing failed: ZeroDivisionError: broken"):
        assert agent.run("Go.") == 1


def test_the_key_of_an_executor_by_itself_is_understood() -> None:
    """As the production guide writes it."""
    with CodeAgent(tools=[], model=ScriptedModel([]), executor_type="e2b", e2b_api_key="k") as agent:
        assert isinstance(agent.python_executor, E2BExecutor)
        assert agent.executor_kwargs == {"api_key": "k"}
