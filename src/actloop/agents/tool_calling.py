"""`ToolCallingAgent`: acts by calling tools by name with JSON arguments."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from actloop.agents.base import MultiStepAgent
from actloop.agents.checks import check_options, whole_number
from actloop.agents.overrides import OwnCall, conversation, overrides
from actloop.agents.prompting import packaged_templates, populate_template
from actloop.errors import AgentParsingError, AgentToolCallError, AgentToolExecutionError
from actloop.executors.waiting import run_now
from actloop.loop.grammar import call_grammar
from actloop.loop.parsing import Misread
from actloop.loop.replies import CallReader
from actloop.loop.tool_calls import ToolTask, calls_step, tool_loop, tool_step
from actloop.memory.memory import AgentMemory
from actloop.memory.steps import SystemPromptStep, ToolCall, ToolOutput
from actloop.runtime.calls import resolved
from actloop.runtime.gateway import Gateway, Raised
from actloop.runtime.ports import Blocking, Interrupt, iterate_now

if TYPE_CHECKING:
    from collections.abc import Generator

    from actloop.agents.prompting import PromptTemplates, RunPrompts
    from actloop.loop.effects import Loop
    from actloop.memory.steps import ActionStep
    from actloop.models.base import Model
    from actloop.runtime.run import Run
    from actloop.values.messages import ChatMessage


class ToolCallingAgent(MultiStepAgent):
    """An agent whose actions are tool calls: the model's own where it has them, else JSON in its text.

    Calls that come in one reply are made at once, and each gets a result of its own, whatever becomes of the others.
    An argument that names a variable of `state` is replaced by its value.

    Args:
        tools: What the model may call.
        model: Writes the calls.
        prompt_templates: What the model is told; `toolcalling_agent.yaml` of this package by default.
        planning_interval: Make a plan before the first step and every so many steps.
        stream_outputs: Stream the model's replies.
        max_tool_threads: Calls of one reply that are made at once, 32 by default. With 1 they are made one after the
            other in the thread of the run, as a single call always is.
        **kwargs: As for `MultiStepAgent`.
    """

    def __init__(
        self,
        tools: list[Any],
        model: Model,
        prompt_templates: PromptTemplates | None = None,
        planning_interval: int | None = None,
        stream_outputs: bool = False,
        max_tool_threads: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_options(type(self), MultiStepAgent, kwargs)
        self._own_prompts = prompt_templates is None
        super().__init__(
            tools=tools,
            model=model,
            prompt_templates=prompt_templates or packaged_templates("toolcalling_agent"),
            planning_interval=planning_interval,
            **kwargs,
        )
        if stream_outputs and not hasattr(model, "generate_stream"):
            raise ValueError(f"stream_outputs=True needs a model with generate_stream; {type(model).__name__} has none")
        self.stream_outputs = stream_outputs
        if max_tool_threads is not None:
            whole_number("max_tool_threads", max_tool_threads, least=1)
        self.max_tool_threads = max_tool_threads

    @property
    def tools_and_managed_agents(self) -> list[Any]:
        """Everything that the model may call."""
        return [*self.tools.values(), *self.managed_agents.values()]

    def initialize_system_prompt(self) -> str:
        """The system prompt, from the templates."""
        return populate_template(self.prompt_templates["system_prompt"], self._template_variables())

    def _template_variables(self) -> dict[str, Any]:
        return super()._template_variables() | {"native_tool_calls": self._native}

    @property
    def _native(self) -> bool:
        """Whether the model has tool calls of its own, and needs to be told of no other form."""
        return bool(getattr(self.model, "native_tool_calls", False)) and self._offers_tools

    @property
    def _offers_tools(self) -> bool:
        return bool(getattr(self.model, "offers_tools", True))

    def _new_memory(self) -> AgentMemory:
        # The examples show calls written as text, which a model with tool calls of its own should not write.
        return AgentMemory(SystemPromptStep(self.system_prompt)) if self._native else super()._new_memory()

    def _new_run(self, *args: Any, **kwargs: Any) -> Run:
        run = super()._new_run(*args, **kwargs)
        run.max_tool_threads = self.max_tool_threads
        if overrides(self, ToolCallingAgent, "execute_tool_call"):
            run.gateway.tools = {n: OwnCall(tool, self.execute_tool_call, n) for n, tool in run.gateway.tools.items()}
        return run

    def _make_loop(self, run: Run, prompts: RunPrompts, *, begun: bool, only: int | None = None) -> Loop:
        named = [tool.name for tool in self.tools_and_managed_agents]
        task = ToolTask(
            conversation=conversation(self, MultiStepAgent, run),
            prompts=prompts,
            max_steps=run.max_steps,
            tools=tuple(self.tools_and_managed_agents) if self._offers_tools else (),
            native=self._native,
            planning_interval=self.planning_interval,
            grammar=None if self._offers_tools or not self._own_prompts else call_grammar(tuple(named)),
            begun=begun,
            planned=run.memory.ends_with_plan,
        )
        return tool_loop(task) if only is None else tool_step(task, only)

    # Parts of a step, for callers that take it apart

    def process_tool_calls(
        self, chat_message: ChatMessage, memory_step: ActionStep
    ) -> Generator[ToolCall | ToolOutput]:
        """Make the calls of a message, and fill `memory_step` with them and what came of them.

        Yields:
            A `ToolCall` for each call, in order; then a `ToolOutput` for each that was performed or refused.

        Raises:
            AgentParsingError: There is no call in the message.
        """
        read = CallReader(native=self._native).read(chat_message, memory_step.step_number)
        if isinstance(read, Misread):
            raise AgentParsingError(read.message)
        run = self._runs.begin(False, partial(self._new_run, self.task or "", {}, 1))
        run.fold.keeps_steps = False
        run.fold.step = memory_step
        loop = calls_step(read.requests, memory_step.step_number)
        for item in iterate_now(self._items(run, loop, None, Blocking(run.interrupt))):
            if isinstance(item, ToolCall | ToolOutput):
                yield item

    def execute_tool_call(self, tool_name: str, arguments: dict[str, Any] | str) -> Any:
        """Call a tool or a managed agent by name; arguments that name variables of `state` become their values.

        Raises:
            AgentToolCallError: The tool does not take these arguments.
            AgentToolExecutionError: There is no such tool, or it raised.
        """
        args, named = ((), arguments) if isinstance(arguments, dict) else ((arguments,), {})
        gateway = Gateway({**self.tools, **self.managed_agents})
        port = Blocking(Interrupt())
        state = self.state
        given = {name: resolved(value, state) for name, value in named.items()}
        try:
            called = gateway.call(
                port, tool_name, tuple(resolved(value, state) for value in args), given, within=nullcontext
            )
            outcome = run_now(called)
        finally:
            port.close()
        if isinstance(outcome, Raised):
            if outcome.kind == AgentToolCallError.__name__ and tool_name in gateway.tools:
                raise AgentToolCallError(outcome.message)
            raise AgentToolExecutionError(f"Error executing tool '{tool_name}': {outcome.kind}: {outcome.message}")
        return outcome.value
