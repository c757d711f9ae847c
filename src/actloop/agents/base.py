"""`MultiStepAgent`: a reusable definition, and the four faces of running it."""

from __future__ import annotations

import builtins
import copy
from abc import abstractmethod
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from actloop.agents.checks import (
    by_name,
    callback_registry,
    check_images,
    checked_context,
    checked_functions,
    checked_level,
    checked_model,
    checked_secrets,
    checked_text,
    checked_variables,
    valid_name,
    whole_number,
)
from actloop.agents.managed import INPUTS, ManagedAgent, agents_apart, briefing, own_report, report
from actloop.agents.overrides import as_called, closing_by, overrides, own_loop, own_step
from actloop.agents.prompting import (
    EMPTY_PROMPT_TEMPLATES,
    PromptTemplates,
    RunPrompts,
    check_templates,
    example_messages,
)
from actloop.agents.result import RunResult
from actloop.agents.runs import Runs
from actloop.agents.saving import SavedAgent
from actloop.agents.view import LatestRun
from actloop.errors import AgentParsingError
from actloop.journal import base as journals
from actloop.loop.context import within_limit
from actloop.loop.images import showing_images
from actloop.memory.compaction import ContextLimit
from actloop.memory.memory import AgentMemory
from actloop.memory.steps import ActionStep, MemoryStep, SystemPromptStep
from actloop.runtime.gateway import FINAL_ANSWER, Gateway
from actloop.runtime.perform import drive
from actloop.runtime.ports import Asyncio, Blocking, iterate_now
from actloop.runtime.run import Run, current_run
from actloop.tools.final_answer import FinalAnswerTool, answer_form, typed_final_answer
from actloop.ui.logger import AgentLogger, LogLevel
from actloop.values.cuts import cut
from actloop.values.events import RunStarted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
    from typing import Self

    from PIL.Image import Image

    from actloop.agents.runs import Inherited
    from actloop.journal.base import Journal
    from actloop.loop.effects import Loop
    from actloop.memory.fold import StreamItem
    from actloop.models.base import Model
    from actloop.runtime.ports import Port
    from actloop.runtime.run import EventSink
    from actloop.values.messages import ChatMessage
    from actloop.values.secrets import Secret


class MultiStepAgent(SavedAgent, LatestRun):
    """An agent that solves a task step by step: the model acts, sees what came of it, and acts again.

    One agent may be used from many threads and tasks at once: every run has a state of its own. `memory`, `state`,
    `task`, `step_number` and `monitor` show the run that called this code, or else the latest one.

    Args:
        tools: What the agent may call.
        model: Writes the agent's actions.
        prompt_templates: What the model is told, as Jinja templates; all parts of `PromptTemplates` are needed.
        instructions: Put into the system prompt.
        max_steps: Steps of a run; then the model is asked for an answer in prose.
        add_base_tools: Add the default tools.
        verbosity_level: How much is printed.
        managed_agents: Agents that this one may call like tools; each needs a name and a description.
        step_callbacks: Called with each finished step: a list for action steps, or callbacks by step class.
        planning_interval: Make a plan before the first step and every so many steps.
        name: The agent's name; a valid identifier.
        description: What it can do, for an agent that calls it.
        provide_run_summary: Add a summary of its steps to what it reports to an agent that calls it.
        final_answer_checks: Called with the answer, the memory and `agent=`; an answer that one refuses is sent back.
        return_full_result: Have `run` return a `RunResult`.
        logger: Prints; made from `verbosity_level` by default.
        output_type: Type of the answer: a class, a pydantic model, a dataclass, `list[float]`, a `Literal`... The model
            is told the form; an answer that does not fit is sent back with what to mend; `run` returns an object of
            this type. None for any answer.
        context: How conversations are kept within the model's window: a `ContextLimit`, "off", or None for its defaults
            (they know the window from `model.context_window`, or else when a service refuses a conversation).
        journal: Where runs are recorded: a `Journal`, None for nowhere, or "default" for the user's own.
        secrets: Values by name that tools ask for with `secret(name)`, or that programs have as a variable (a
            `Secret` with place "sandbox"). They are masked wherever else they would surface.
    """

    inputs: ClassVar[dict[str, dict[str, Any]]] = INPUTS
    """What an agent that calls this one may pass."""

    output_type: ClassVar[str] = "string"

    def __init__(
        self,
        tools: list[Any],
        model: Model,
        prompt_templates: PromptTemplates | None = None,
        instructions: str | None = None,
        max_steps: int = 20,
        add_base_tools: bool = False,
        verbosity_level: LogLevel = LogLevel.INFO,
        managed_agents: list[Any] | None = None,
        step_callbacks: list[Callable[..., Any]]
        | dict[type[MemoryStep], Callable[..., Any] | list[Callable[..., Any]]]
        | None = None,
        planning_interval: int | None = None,
        name: str | None = None,
        description: str | None = None,
        provide_run_summary: bool = False,
        final_answer_checks: list[Callable[..., Any]] | None = None,
        return_full_result: bool = False,
        logger: AgentLogger | None = None,
        output_type: Any = None,
        journal: Journal | str | None = "default",
        context: ContextLimit | Literal["off"] | None = None,
        secrets: Mapping[str, str | Secret] | None = None,
    ) -> None:
        if prompt_templates is not None:
            check_templates(prompt_templates)
        self.agent_name = type(self).__name__
        self.model = checked_model(model)
        self.prompt_templates = prompt_templates or EMPTY_PROMPT_TEMPLATES
        self.instructions = checked_text("instructions", instructions)
        self.max_steps = whole_number("max_steps", max_steps, least=0)
        if planning_interval is not None:
            whole_number("planning_interval", planning_interval, least=1)
        self.planning_interval = planning_interval
        self.name = valid_name(name)
        self.description = checked_text("description", description)
        self.provide_run_summary = provide_run_summary
        self.final_answer_checks = checked_functions("final_answer_checks", final_answer_checks)
        self.return_full_result = return_full_result
        self.stream_outputs = False
        self.answer_type = output_type
        tools, agents = agents_apart(tools)
        if output_type is not None:
            tools.append(typed_final_answer(output_type))
        agents = [*(managed_agents or []), *agents]
        self.managed_agents = by_name(agents, "managed agent")
        self.tools = by_name(tools, "tool")
        self._add_tools(tools, agents, add_base_tools)
        self.logger = logger if logger is not None else AgentLogger(level=checked_level(verbosity_level))
        self.step_callbacks = callback_registry(step_callbacks)
        if journal is not None and journal != "default" and not hasattr(journal, "append"):
            raise ValueError(cut(f"journal must be a Journal, None or 'default'; got {journal!r}", 300))
        self._journal = journal
        self.context = checked_context(context)
        self.vault = checked_secrets(secrets, {*self.tools, *self.managed_agents}, for_programs=self._runs_code)
        self._runs = Runs()

    def _add_tools(self, tools: Sequence[Any], agents: Sequence[Any], add_base_tools: bool) -> None:
        taken = [item.name for item in (*tools, *agents)] + ([self.name] if self.name else [])
        twice = sorted({name for name in taken if taken.count(name) > 1})
        if twice:
            raise ValueError(f"tools and managed agents need names of their own; given more than once: {twice}")
        if add_base_tools:
            from actloop.tools.default import TOOL_MAPPING

            for name, cls in TOOL_MAPPING.items():
                if name != "python_interpreter" or not self._runs_code:
                    self.tools.setdefault(name, cls())
        self.tools.setdefault(FINAL_ANSWER, FinalAnswerTool())

    _runs_code = False

    # Prompts

    @abstractmethod
    def initialize_system_prompt(self) -> str:
        """The system prompt, from the templates."""

    @property
    def system_prompt(self) -> str:
        """The system prompt; change `prompt_templates["system_prompt"]` or `instructions` to change it."""
        return self.initialize_system_prompt()

    @system_prompt.setter
    def system_prompt(self, value: str) -> None:  # noqa: ARG002
        raise AttributeError('system_prompt follows from the templates; change prompt_templates["system_prompt"]')

    def _template_variables(self) -> dict[str, Any]:
        """What templates may name."""
        return {
            "tools": self.tools,
            "managed_agents": self.managed_agents,
            "custom_instructions": self.instructions,
            "name": self.name,
            "answer_form": answer_form(self.tools[FINAL_ANSWER]) if self.answer_type is not None else "",
        }

    def _new_memory(self) -> AgentMemory:
        examples = example_messages(self.prompt_templates, self._template_variables())
        return AgentMemory(SystemPromptStep(self.system_prompt, examples))

    # The four faces of a run

    def run(
        self,
        task: str,
        stream: bool = False,
        reset: bool = True,
        images: list[Image] | None = None,
        additional_args: dict[str, Any] | None = None,
        max_steps: int | None = None,
        return_full_result: bool | None = None,
    ) -> Any:
        """Run the agent on a task, in the caller's thread; works inside a running event loop, too.

        Args:
            task: What to do.
            stream: Return a generator of the run's items (deltas, calls, outputs, steps); the last one is a
                `FinalAnswerStep`. Closing it early ends the run.
            reset: Begin a new conversation; False continues the latest run's, variables included.
            images: Images that the model is shown with the task.
            additional_args: Variables for the task, by name.
            max_steps: Steps of this run, instead of the agent's own.
            return_full_result: Return a `RunResult` instead of the answer alone.

        Raises:
            AgentGenerationError: The model could not reply.
            AgentInterruptedError: `interrupt` was called.
        """
        begin = self._beginning(task, reset, images, additional_args, max_steps)
        return self._stream(begin) if stream else self._outcome(self._finish(begin), return_full_result)

    def _finish(self, begin: Callable[[], tuple[Run, Loop, RunStarted]]) -> Run:
        """A run from its beginning to its end, here."""
        run, loop, begun = begin()
        for _ in iterate_now(self._items(run, loop, begun, Blocking(run.interrupt))):
            pass
        return run

    def _stream(self, begin: Callable[[], tuple[Run, Loop, RunStarted]]) -> Generator[StreamItem]:
        """Items of a run that begins when the first is asked for: one that is never read takes nothing over."""
        run, loop, begun = begin()
        yield from iterate_now(self._items(run, loop, begun, Blocking(run.interrupt)))

    async def arun(
        self,
        task: str,
        reset: bool = True,
        images: list[Image] | None = None,
        additional_args: dict[str, Any] | None = None,
        max_steps: int | None = None,
        return_full_result: bool | None = None,
    ) -> Any:
        """As `run`, on the running event loop, which is never blocked."""
        run = await self._afinish(self._beginning(task, reset, images, additional_args, max_steps))
        return self._outcome(run, return_full_result)

    async def _afinish(self, begin: Callable[[], tuple[Run, Loop, RunStarted]]) -> Run:
        """A run from its beginning to its end, on the running event loop."""
        run, loop, begun = begin()
        async with aclosing(self._items(run, loop, begun, Asyncio(run.interrupt))) as items:
            async for _ in items:
                pass
        return run

    async def astream(
        self,
        task: str,
        reset: bool = True,
        images: list[Image] | None = None,
        additional_args: dict[str, Any] | None = None,
        max_steps: int | None = None,
    ) -> AsyncGenerator[StreamItem]:
        """As `run(stream=True)`, on the running event loop."""
        run, loop, begun = self._beginning(task, reset, images, additional_args, max_steps)()
        async with aclosing(self._items(run, loop, begun, Asyncio(run.interrupt))) as items:
            async for item in items:
                yield item

    def interrupt(self) -> None:
        """End every run of this agent that is under way; callable from any thread and from callbacks.

        A program in the sandbox is interrupted at once, and so is everything that an asynchronous run waits for. A
        blocking run that waits for a model or a synchronous tool ends when that returns (between two pieces, when the
        reply is streamed).
        """
        self._runs.interrupt()

    def copy(self) -> Self:
        """An agent of the same definition with a conversation of its own; model, tools and executor are shared."""
        other = copy.copy(self)
        other.tools, other.managed_agents = self.tools.copy(), self.managed_agents.copy()
        other._runs = Runs()
        other._runs.variables = self._runs.variables.copy()
        return other

    def forget(self) -> None:
        """Forget the conversation: its sandbox ends, and runs that are under way are interrupted."""
        self._runs.forget()

    async def _items(self, run: Run, loop: Loop, begun: RunStarted | None, port: Port) -> AsyncGenerator[StreamItem]:
        try:
            if begun is not None:
                begun = replace(begun, prompt=await port.compute(partial(self._prompt, run), begun.variables))
            async with aclosing(drive(run, loop, begun, port)) as items:
                async for item in items:
                    yield item
        finally:
            self._runs.end(run)

    def _outcome(self, run: Run, return_full_result: bool | None) -> Any:
        if not (self.return_full_result if return_full_result is None else return_full_result):
            return run.answer
        return RunResult(
            output=run.answer,
            state="max_steps_error" if run.state == "max_steps_error" else "success",
            steps=run.memory.get_succinct_steps(),
            token_usage=run.ledger.total(),
            timing=run.timing,
            run_id=run.id,
            files=[file for _, file in sorted(run.files.items())],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cleanup()

    def cleanup(self) -> None:
        """Free what the latest run holds; the conversation stays."""
        self._runs.close()

    # How a run begins

    def _make_loop(self, run: Run, prompts: RunPrompts, *, begun: bool, only: int | None = None) -> Loop:
        """The loop of one run; here that of a class of the user's, which says itself what a step is.

        Args:
            run: The run.
            prompts: Renders its messages.
            begun: The conversation holds earlier runs.
            only: Take just one step, of this number.
        """
        return own_loop(self, run, prompts, begun=begun) if only is None else own_step(self, run, only)

    def _within_context(self, run: Run, loop: Loop) -> Loop:
        if overrides(self, MultiStepAgent, "provide_final_answer"):
            loop = closing_by(loop, self.provide_final_answer, run.task)
        if getattr(self.model, "supports_images", False):
            loop = showing_images(loop)
        context: ContextLimit | str | None = self.context
        if isinstance(context, str):
            return loop
        limit = context or ContextLimit()
        window: int | None = getattr(self.model, "context_window", None)
        return within_limit(loop, run.memory, limit if limit.tokens or not window else replace(limit, tokens=window))

    def _beginning(
        self,
        task: str,
        reset: bool,
        images: list[Image] | None,
        additional_args: dict[str, Any] | None,
        max_steps: int | None,
    ) -> Callable[[], tuple[Run, Loop, RunStarted]]:
        """Check what a run is given; what is returned begins it."""
        if not isinstance(task, str) or not task.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"a task is a text that is not empty; got {task!r}")
        variables = checked_variables(additional_args, {*self.tools, *self.managed_agents, *self.vault.of_sandbox})
        check_images(images)
        steps = self.max_steps if max_steps is None else whole_number("max_steps", max_steps, least=0)
        return partial(self._begin, task, reset, list(images or ()), variables, steps)

    def _begin(
        self, task: str, reset: bool, images: list[Image], variables: dict[str, Any], steps: int
    ) -> tuple[Run, Loop, RunStarted]:
        run = self._runs.begin(reset, partial(self._new_run, task, variables, steps))
        try:
            prompts = RunPrompts(self.prompt_templates, task, self._template_variables(), run.memory)
            begun = RunStarted(
                run=run.id,
                parent=run.parent.id if run.parent is not None else None,
                continues=run.continues,
                agent=run.agent_name,
                model=getattr(self.model, "model_id", None) or type(self.model).__name__,
                task=task,
                system_prompt=self.system_prompt,
                prompt="",
                variables=variables,
                images=images,
                max_steps=steps,
            )
            loop = self._make_loop(run, prompts, begun=bool(run.memory.steps))
            return run, self._within_context(run, loop), begun
        except BaseException:
            self._runs.end(run)
            raise

    def _prompt(self, run: Run, variables: dict[str, Any]) -> str:
        """The message that brings the task. To mask large variables takes long."""
        prompts = RunPrompts(self.prompt_templates, run.task, self._template_variables(), run.memory)
        return prompts.task_message(self.vault.masked({**self.vault.of_sandbox, **variables}))

    def _new_run(self, task: str, variables: dict[str, Any], max_steps: int, inherited: Inherited) -> Run:
        executor, parent = self._executor(), current_run.get()
        return Run(
            agent=self,
            agent_name=self.name or self.agent_name,
            task=task,
            model=self.model,
            memory=inherited.memory if inherited.memory is not None else self._new_memory(),
            gateway=Gateway({**_functions(executor), **self.tools, **self.managed_agents}),
            executor=executor,
            callbacks=self.step_callbacks,
            checks=tuple(self.final_answer_checks),
            variables={**inherited.variables, **variables},
            sent=inherited.sent,
            session=inherited.session,
            snapshot=inherited.snapshot,
            continues=inherited.previous.id if inherited.previous is not None else None,
            sinks=self._sinks(),
            stream=self.stream_outputs,
            max_steps=max_steps,
            parent=parent,
            vault=self.vault if parent is None else self.vault.within(parent.vault),
        )

    def _sinks(self) -> list[EventSink]:
        sinks: list[EventSink] = []
        if isinstance(self._journal, str):
            sinks.append(journals.default_journal())
        elif self._journal is not None:
            sinks.append(self._journal)
        if self.logger.level >= LogLevel.ERROR:
            sinks.append(self.logger.screen())
        return sinks

    # Parts of a run, for callers that take it apart

    def step(self, memory_step: ActionStep) -> Any:
        """Take one step of the conversation in `memory`, filling `memory_step`; the caller puts it into the memory.

        Returns:
            The final answer, or None.
        """
        run = self._runs.begin(False, partial(self._new_run, self.task or "", {}, 1))
        run.fold.keeps_steps = False
        run.fold.step = memory_step
        prompts = RunPrompts(self.prompt_templates, run.task, self._template_variables(), run.memory)
        loop = self._within_context(run, self._make_loop(run, prompts, begun=True, only=memory_step.step_number))
        for _ in iterate_now(self._items(run, loop, None, Blocking(run.interrupt))):
            pass
        return run.answer

    def provide_final_answer(self, task: str, images: list[Image] | None = None) -> ChatMessage:
        """Ask the model for an answer in prose, from the conversation so far.

        Args:
            task: What the answer is about.
            images: Shown to the model besides.
        """
        prompts = RunPrompts(self.prompt_templates, task, self._template_variables(), self.memory)
        messages = prompts.closing_messages()
        check_images(images)
        parts = [{"type": "image", "image": image} for image in images or ()]
        if parts:
            messages[-1] = replace(messages[-1], content=[{"type": "text", "text": messages[-1].text}, *parts])
        return self.model.generate(messages)

    def extract_action(self, model_output: str, split_token: str) -> tuple[str, str]:
        """Split a reply at the last `split_token` into the reasoning before it and the action after it.

        Raises:
            AgentParsingError: The token is not there.
        """
        before, found, after = model_output.rpartition(split_token)
        if not found:
            raise AgentParsingError(
                f"The reply has no {split_token!r}. Put it before the action. The reply was:\n{model_output}",
                self.logger,
            )
        return before.rpartition(split_token)[2].strip(), after.strip()

    # Working for another agent

    def __call__(self, task: str, **kwargs: Any) -> str:
        """Work for another agent: run on its task, and report.

        Args:
            task: What to do.
            **kwargs: `additional_args`, `images`, `max_steps` and `reset` as for `run`.
        """
        return self._report(self, task, **kwargs)

    async def acall(self, task: str, **kwargs: Any) -> str:
        """As calling it, awaited; the event loop is never blocked."""
        if overrides(self, MultiStepAgent, "__call__"):
            return await as_called(self, task, **kwargs)
        return await self._areport(self, task, **kwargs)

    def _report(self, called: MultiStepAgent | ManagedAgent, task: str, **options: Any) -> str:
        """Run for another agent, which called this one directly or under a name of its own."""
        if overrides(self, MultiStepAgent, "run"):
            return own_report(self, called, task, **options)
        return self._told(called, self._finish(self._called(called, task, **options)))

    async def _areport(self, called: MultiStepAgent | ManagedAgent, task: str, **options: Any) -> str:
        if overrides(self, MultiStepAgent, "run"):
            return await as_called(partial(own_report, self, called), task, **options)
        return self._told(called, await self._afinish(self._called(called, task, **options)))

    def _called(
        self,
        called: MultiStepAgent | ManagedAgent,
        task: str,
        additional_args: dict[str, Any] | None = None,
        images: list[Image] | None = None,
        max_steps: int | None = None,
        reset: bool = True,
    ) -> Callable[[], tuple[Run, Loop, RunStarted]]:
        if not isinstance(task, str) or not task.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(cut(f"the task of agent '{called.name}' is a text that is not empty; got {task!r}", 300))
        begin = self._beginning(briefing(self, called, task), reset, images, additional_args, max_steps)

        def begin_as_asked() -> tuple[Run, Loop, RunStarted]:
            run, loop, begun = begin()
            return run, loop, replace(begun, task=task)  # people see what was asked; the briefing is in the prompt

        return begin_as_asked

    def _told(self, called: MultiStepAgent | ManagedAgent, run: Run) -> str:
        run.close()  # what its programs defined serves no other call
        wanted = called.provide_run_summary
        summary = self.provide_run_summary if wanted is None else wanted
        return report(self, called.name, run.answer, run.memory, summary=summary)


def _functions(executor: Any) -> dict[str, Any]:
    """Plain functions of the user's that an executor offers to programs; they are called like tools."""
    given: dict[str, Any] = getattr(executor, "additional_functions", None) or {}
    return {name: function for name, function in given.items() if function is not getattr(builtins, name, None)}
