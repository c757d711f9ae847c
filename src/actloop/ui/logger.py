"""What an agent prints, by level. Rich is loaded when something is printed first."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from actloop.values.messages import ChatMessage
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.tree import Tree

    from actloop.memory.steps import ActionStep
    from actloop.values.events import Event

ACCENT = "cyan"


class Screen(Protocol):
    """Shows the events of one run."""

    def append(self, run_id: str, event: Event) -> None:
        """Take the next event; never raises."""
        ...


class LogLevel(IntEnum):
    """How much is printed."""

    OFF = -1
    ERROR = 0
    INFO = 1
    DEBUG = 2


class AgentLogger:
    """Prints to a console what is not above its level.

    Args:
        level: Messages above it are dropped.
        console: Where to print; standard output by default.
    """

    def __init__(self, level: LogLevel | int = LogLevel.INFO, console: Console | None = None) -> None:
        self.level = level
        self._console = console

    @property
    def console(self) -> Console:
        """The console, made when it is first used."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False)
        return self._console

    @console.setter
    def console(self, console: Console) -> None:
        self._console = console

    def screen(self) -> Screen:
        """A fresh screen, which prints the events of one run; a logger of another kind may show them in its own way."""
        if type(self) is not AgentLogger:
            from actloop.ui.methods import MethodScreen, overrides_methods

            if overrides_methods(self):
                return MethodScreen(self)
        from actloop.ui.terminal import TerminalScreen

        return TerminalScreen(self)

    def log(self, *args: Any, level: int | str | LogLevel = LogLevel.INFO, **kwargs: Any) -> None:
        """Print as `rich.console.Console.print` does.

        Args:
            *args: Texts (with Rich's markup, unless `markup=False`) or other renderables.
            level: Of the message; a name such as "debug" will do.
            **kwargs: For `Console.print`.
        """
        if isinstance(level, str):
            level = LogLevel[level.upper()]
        if level <= self.level:
            self.console.print(*args, **kwargs)

    def _log_text(self, text: str, level: int, style: str = "") -> None:
        if level <= self.level:
            from rich.text import Text

            self.console.print(Text(self._safe(text), style), soft_wrap=not self.console.is_terminal)

    def _safe(self, text: str) -> str:
        from actloop.ui.safe import safe_text

        return safe_text(text, self.console.encoding)

    def log_error(self, error_message: str) -> None:
        """Print an error."""
        self._log_text(str(error_message), LogLevel.ERROR, "bold red")

    def log_markdown(
        self, content: str, title: str | None = None, level: int = LogLevel.INFO, style: str = ACCENT
    ) -> None:
        """Print Markdown as it is written, under a title."""
        if title:
            self._log_text(title, level, f"bold {style}")
        self._log_code(content, "markdown", level)

    def log_code(self, title: str, content: str, level: int = LogLevel.INFO) -> None:
        """Print Python code under a title."""
        self._log_text(title, level, "bold")
        self._log_code(content, "python", level)

    def _log_code(self, content: str, language: str, level: int) -> None:
        if level <= self.level:
            from rich.syntax import Syntax

            self.console.print(
                Syntax(self._safe(content), language, theme="ansi_dark", background_color="default", word_wrap=True)
            )

    def log_rule(self, title: str, level: int = LogLevel.INFO) -> None:
        """Print a line across the screen with a title in it."""
        if level <= self.level:
            from rich.rule import Rule
            from rich.text import Text

            self.console.print(Rule(Text(self._safe(title), "bold"), style=ACCENT))

    def log_task(self, content: str, subtitle: str, title: str | None = None, level: int = LogLevel.INFO) -> None:
        """Print a task in a panel."""
        if level <= self.level:
            from rich.panel import Panel
            from rich.text import Text

            self.console.print(
                Panel(
                    Text(self._safe(content)),
                    title=Text(self._safe(title or "New run"), "bold"),
                    title_align="left",
                    subtitle=Text(self._safe(subtitle)) if subtitle else None,
                    subtitle_align="left",
                    border_style=ACCENT,
                )
            )

    def log_messages(self, messages: Sequence[ChatMessage | Mapping[str, Any]], level: int = LogLevel.DEBUG) -> None:
        """Print messages as indented JSON."""
        if level <= self.level:
            import json

            for message in messages:
                whole: Mapping[str, Any] = message.dict() if isinstance(message, ChatMessage) else message
                data = {key: value for key, value in whole.items() if key != "raw" and value is not None}
                self._log_code(json.dumps(data, indent=2, default=str, ensure_ascii=False), "json", level)

    def visualize_agent_tree(self, agent: Any) -> None:
        """Print an agent, its tools and its managed agents as a tree."""
        from rich.tree import Tree

        tree = Tree(self._headline(agent, None))
        self._grow(tree, agent)
        self.console.print(tree)

    def _headline(self, agent: Any, name: str | None) -> Any:
        from rich.text import Text

        model = getattr(agent.model, "model_id", None) or type(agent.model).__name__
        parts = [part for part in (name, type(agent).__name__, str(model)) if part]
        return Text(self._safe(" | ".join(parts)), f"bold {ACCENT}")

    def _grow(self, tree: Tree, agent: Any) -> None:
        from rich.table import Table
        from rich.text import Text

        imports = getattr(agent, "additional_authorized_imports", None)
        if imports is not None:
            tree.add(Text(self._safe(f"Authorized imports besides the standard ones: {', '.join(imports) or 'none'}")))
        table = Table("Tool", "Description", "Arguments", header_style="bold", box=None, pad_edge=False)
        for name, tool in agent.tools.items():
            inputs: dict[str, Any] = getattr(tool, "inputs", None) or {}
            arguments = "\n".join(
                f"{argument} ({spec.get('type', 'any')}{', optional' if spec.get('nullable') else ''})"
                f": {spec.get('description', '')}"
                for argument, spec in inputs.items()
            )
            cells = (str(name), str(getattr(tool, "description", tool)), arguments)
            table.add_row(*(Text(self._safe(cell)) for cell in cells))
        tree.add(table)
        if agent.managed_agents:
            branch = tree.add(Text("Managed agents", "bold"))
            for name, managed in agent.managed_agents.items():
                agent = getattr(managed, "agent", managed)
                twig = branch.add(self._headline(agent, name))
                if getattr(managed, "description", None):
                    twig.add(Text(self._safe(managed.description)))
                self._grow(twig, agent)


class Monitor:
    """Durations and tokens of a run's action steps, added up.

    Args:
        tracked_model: The model whose tokens are counted.
        logger: Prints each step's figures.
    """

    def __init__(self, tracked_model: Any, logger: AgentLogger) -> None:
        self.tracked_model = tracked_model
        self.logger = logger
        self.reset()

    def reset(self) -> None:
        """Begin again at zero."""
        self.step_durations: list[float] = []
        self.total_input_token_count = 0
        self.total_output_token_count = 0

    def get_total_token_counts(self) -> TokenUsage:
        """Tokens of all steps so far."""
        return TokenUsage(self.total_input_token_count, self.total_output_token_count)

    def count(self, step: ActionStep) -> None:
        """Take a finished step into account."""
        self.step_durations.append(step.timing.duration or 0.0)
        if step.token_usage is not None:
            self.total_input_token_count += step.token_usage.input_tokens
            self.total_output_token_count += step.token_usage.output_tokens

    def update_metrics(self, step_log: ActionStep) -> None:
        """Take a finished step into account, and print the figures so far."""
        self.count(step_log)
        self.logger.log(
            f"Step {len(self.step_durations)}: {self.step_durations[-1]:.2f} s, so far "
            f"{self.total_input_token_count:,} tokens in and {self.total_output_token_count:,} out",
            style="dim",
            markup=False,
        )
