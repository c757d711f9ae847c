"""`CodeAgent`: acts by writing Python, which runs in a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from actloop.agents.base import MultiStepAgent
from actloop.agents.checks import check_options, checked_names
from actloop.agents.overrides import conversation
from actloop.agents.prompting import packaged_templates, populate_template
from actloop.executors import registry
from actloop.executors.checks import checked_executor
from actloop.executors.hosts import checked_hosts
from actloop.guest import BASE_BUILTIN_MODULES
from actloop.loop import wording
from actloop.loop.code import CodeTask, code_loop, code_step
from actloop.loop.grammar import reply_grammar
from actloop.models.base import CODEAGENT_RESPONSE_FORMAT
from actloop.ui.logger import LogLevel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actloop.agents.prompting import PromptTemplates, RunPrompts
    from actloop.loop.effects import Loop
    from actloop.models.base import Model
    from actloop.runtime.run import Run

ExecutorName = Literal["local", "blaxel", "e2b", "modal", "docker", "wasm", "monty"]

DEFAULT_TAGS = ("<code>", "</code>")
MARKDOWN_TAGS = ("```python", "```")


class CodeAgent(MultiStepAgent):
    """An agent whose actions are Python programs. They run in a kernel sandbox, never in the caller's process.

    Args:
        tools: What programs may call; they run on the host.
        model: Writes the programs.
        prompt_templates: What the model is told; by default `code_agent.yaml` of this package, or
            `structured_code_agent.yaml` with `use_structured_outputs_internally`.
        additional_authorized_imports: Modules that programs may import besides the standard library's that only
            compute: `"numpy"` (its submodules too), `"pkg.*"`, or `"*"` for all.
        planning_interval: Make a plan before the first step and every so many steps.
        executor: Runs the programs; made from `executor_type` by default, which is not looked at otherwise unless it
            names another one than `"local"`.
        executor_type: Where programs run: `"local"` (the kernel sandbox of this machine), `"docker"`, `"wasm"`,
            `"monty"`, `"e2b"`, `"modal"` or `"blaxel"`. Of a list, each takes the programs that those before it
            cannot run.
        executor_kwargs: Options of the executor, such as `timeout_seconds` or `limits`. Of several, each takes those
            that it knows; a dict under the name of one holds its own, which come first:
            `{"limits": SandboxLimits(wall=10), "docker": {"image": "x"}}`.
        max_print_outputs_length: Characters of printed output that the model is shown of one step.
        stream_outputs: Stream the model's replies.
        use_structured_outputs_internally: Have the model reply in JSON with a thought and a program.
        code_block_tags: Opening and closing tag of a program in a reply, or "markdown" for fences.
        workspace: A folder that programs can read; a `Workspace` says whether they may write there, too, and how much.
        allow_hosts: Hosts that programs may send requests to, such as "api.example.org:443"; there is no network else.
        **kwargs: As for `MultiStepAgent`.
    """

    _runs_code = True

    def __init__(
        self,
        tools: list[Any],
        model: Model,
        prompt_templates: PromptTemplates | None = None,
        additional_authorized_imports: list[str] | None = None,
        planning_interval: int | None = None,
        executor: Any = None,
        executor_type: ExecutorName | Sequence[ExecutorName] = "local",
        executor_kwargs: dict[str, Any] | None = None,
        max_print_outputs_length: int | None = None,
        stream_outputs: bool = False,
        use_structured_outputs_internally: bool = False,
        code_block_tags: str | tuple[str, str] | None = None,
        workspace: Any = None,
        allow_hosts: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        if "e2b_api_key" in kwargs:  # older programs give it by itself
            if executor_type != "e2b":
                raise ValueError(f"e2b_api_key is for executor_type='e2b'; got executor_type={executor_type!r}")
            executor_kwargs = {"api_key": kwargs.pop("e2b_api_key"), **(executor_kwargs or {})}
        check_options(type(self), MultiStepAgent, kwargs)
        self.additional_authorized_imports = checked_names(
            "additional_authorized_imports", additional_authorized_imports
        )
        self.authorized_imports = sorted({*BASE_BUILTIN_MODULES, *self.additional_authorized_imports})
        self.max_print_outputs_length = max_print_outputs_length
        self._use_structured_outputs_internally = use_structured_outputs_internally
        self._own_prompts = prompt_templates is None
        self.code_block_tags = _tags(code_block_tags)
        super().__init__(
            tools=tools,
            model=model,
            prompt_templates=prompt_templates
            or packaged_templates("structured_code_agent" if use_structured_outputs_internally else "code_agent"),
            planning_interval=planning_interval,
            **kwargs,
        )
        if stream_outputs and not hasattr(model, "generate_stream"):
            raise ValueError(f"stream_outputs=True needs a model with generate_stream; {type(model).__name__} has none")
        self.stream_outputs = stream_outputs
        if executor is not None and (workspace is not None or allow_hosts):
            raise ValueError("workspace= and allow_hosts= are options of an executor: give them to yours")
        self.executor_type = registry.checked_type(executor_type)
        self.executor_kwargs = registry.checked_options(executor_kwargs)
        if executor is not None:
            _check_alone(self.executor_type, self.executor_kwargs)
            checked_executor(executor)
        self.workspace = workspace
        self.allow_hosts = checked_hosts(allow_hosts)
        self.python_executor = executor if executor is not None else self.create_python_executor()
        if "*" in self.additional_authorized_imports:
            self.logger.log(
                "Programs may import every package that is installed here.", level=LogLevel.INFO, markup=False
            )

    def create_python_executor(self) -> Any:
        """The executor that `executor_type` names.

        Raises:
            ValueError: There is no such executor, or it cannot keep what is asked of it.
            TypeError: It does not know an option.
        """
        names = [self.executor_type] if isinstance(self.executor_type, str) else self.executor_type
        options, own = registry.split_options(names, self.executor_kwargs)
        if self.workspace is not None:
            options.setdefault("workspace", self.workspace)
        if self.allow_hosts:
            options.setdefault("allow_hosts", self.allow_hosts)
        for given in (options, *(one for one in own.values() if "limits" in one)):
            self._let_through(given)
        options |= own
        return registry.make_executor(self.executor_type, self.additional_authorized_imports, self.logger, options)

    def _let_through(self, options: dict[str, Any]) -> None:
        """Have an executor keep as much of what is printed as the model is to be shown: the loop cuts the rest."""
        from actloop.executors.session import SandboxLimits

        kept = getattr(options.get("limits"), "output", SandboxLimits().output)
        if self.max_print_outputs_length is not None and self.max_print_outputs_length > kept:
            options.setdefault("max_print_outputs_length", self.max_print_outputs_length)

    def cleanup(self) -> None:
        """End the sandbox that the latest run left, and the executor's own."""
        super().cleanup()
        if hasattr(self.python_executor, "cleanup"):
            self.python_executor.cleanup()

    def initialize_system_prompt(self) -> str:
        """The system prompt, from the templates."""
        return populate_template(self.prompt_templates["system_prompt"], self._template_variables())

    def _template_variables(self) -> dict[str, Any]:
        executor: Any = getattr(self, "python_executor", None)  # which is made after the prompts
        only: list[str] | None = getattr(executor, "only_imports", None)
        imports = only or self.authorized_imports
        notes = executor.instructions() if hasattr(executor, "instructions") else ""
        variables = super()._template_variables()
        if not self._own_prompts:  # which know nothing of the sandbox
            variables["custom_instructions"] = "\n\n".join(filter(None, (self.instructions, notes))) or None
        return variables | {
            "sandbox_files": getattr(executor, "workspace", None) is not None,
            "sandbox_network": getattr(executor, "network", None) is not None,
            "sandbox_notes": notes,
            "authorized_imports": "You can import from any package you want." if "*" in imports else str(imports),
            "additional_imports": self.additional_authorized_imports,
            "only_imports": only,
            "code_block_opening_tag": self.code_block_tags[0],
            "code_block_closing_tag": self.code_block_tags[1],
        }

    def _executor(self) -> Any:
        return self.python_executor

    def _make_loop(self, run: Run, prompts: RunPrompts, *, begun: bool, only: int | None = None) -> Loop:
        structured = self._use_structured_outputs_internally
        follows = getattr(run.model, "supports_grammar", False)  # else the closing tag has to end a reply
        task = CodeTask(
            conversation=conversation(self, MultiStepAgent, run),
            prompts=prompts,
            tags=self.code_block_tags,
            max_steps=run.max_steps,
            planning_interval=self.planning_interval,
            output_limit=self.max_print_outputs_length or wording.OUTPUT_LIMIT,
            grammar=reply_grammar(self.code_block_tags) if follows and self._own_prompts and not structured else None,
            response_format=CODEAGENT_RESPONSE_FORMAT if structured else None,
            begun=begun,
            planned=run.memory.ends_with_plan,
        )
        return code_loop(task) if only is None else code_step(task, only)


def _check_alone(executor_type: str | list[str], executor_kwargs: dict[str, Any]) -> None:
    """Refuse what would make another executor than the one that is given; the default name makes none then."""
    if executor_type != "local":
        raise ValueError(f"executor= contradicts executor_type={executor_type!r}, which makes one: leave one out")
    if executor_kwargs:
        raise ValueError("executor= contradicts executor_kwargs=, which are options of one that is made: leave one out")


def _tags(given: str | tuple[str, str] | None) -> tuple[str, str]:
    if given is None:
        return DEFAULT_TAGS
    if given == "markdown":
        return MARKDOWN_TAGS
    if isinstance(given, str) or len(given) != 2:
        raise ValueError(f"code_block_tags must be 'markdown' or a pair of tags; got {given!r}")
    return given[0], given[1]
