"""The terminal's view of a run: a fold over its events."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from actloop.ui.files import changes_in_words
from actloop.ui.logger import ACCENT, AgentLogger, LogLevel
from actloop.ui.safe import safe_text
from actloop.values import events
from actloop.values.media import described

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.text import Text

    from actloop.ui.live import LiveReply
    from actloop.values.usage import TokenUsage

OUTPUT_LINES = 60
OUTPUT_CHARACTERS = 8_000
REQUEST_LINES = 20
_OPENING = re.compile(r"(?:<code>|<[a-z_]*(?:code|tool)[a-z_]*>|```\w*|\bCode:)\s*$", re.IGNORECASE)
_THOUGHT = re.compile(r"^\s*(?:Thought:|\*\*Thought:?\*\*:?)\s*", re.IGNORECASE)


class TerminalScreen:
    """Prints one run as it happens.

    Args:
        logger: Says where to print and how much: with `ERROR` only errors, with `DEBUG` prompts and tool calls, too.
    """

    def __init__(self, logger: AgentLogger) -> None:
        self._logger = logger
        self._live: LiveReply | None = None
        self._reply: events.ModelReplied | None = None
        self._usage: TokenUsage | None = None
        self._step_started = 0.0
        self._run_started = 0.0
        self._steps = 0
        self._observed: list[str] = []
        self._output = _Output(self)
        self._pieces = _Output(self, "cyan")
        self._requests: list[events.NetworkRequested] = []
        self._requested = 0
        self._broken = False
        self._whose = ""

    def append(self, run_id: str, event: events.Event) -> None:  # noqa: ARG002
        """Print an event, as a sink of a run: trouble with the terminal never ends a run."""
        if self._broken:
            return
        try:
            self.on_event(event)
        except (OSError, ValueError, UnicodeError):
            self._broken = True

    def on_event(self, event: events.Event) -> None:
        """Print an event."""
        if self._logger.level < LogLevel.INFO:
            self._print_errors(event)
            return
        match event:
            case events.Delta():
                self._show_delta(event)
            case events.Printed():
                self._output.add(event.text)
            case events.RunStarted():
                self._begin_run(event)
            case events.StepStarted():
                self._begin_step(event)
            case events.ModelReplied(purpose="summary"):
                self._live_reply().end()
            case events.ModelReplied():
                self._live_reply().end()
                self._reply, self._usage = event, event.message.token_usage
            case events.Compacted():
                did = "were cut" if event.summary is None else "gave way to a summary"
                self._line(f"The conversation nears the model's window: its oldest steps {did}.", "dim")
            case events.PlanMade():
                self._take_reply()
                self._line("Plan" if event.first else "New plan", "bold")
                self._block(event.plan)
            case events.ProgramStarted():
                self._show_program(event)
            case events.ToolCalled():
                self._show_call(event)
            case events.ToolYielded():
                self._pieces.add(event.piece if isinstance(event.piece, str) else f"{_shown(event.piece)}\n")
            case events.ToolReturned():
                self._pieces.end()
                self._show_result(event)
            case events.CallsRead():
                if self._take_reply():
                    self._block(event.thought)
            case events.CallObserved():
                self._show_observation(event)
            case events.FilesChanged():
                self.bar(_short(f"Files: {changes_in_words(event)}", 1000), "cyan")
            case events.NetworkRequested():
                self._requested += 1
                if self._requested <= REQUEST_LINES:
                    self._requests.append(event)
            case events.ProgramFinished():
                self._finish_program(event)
            case events.StepFinished():
                self._finish_step(event)
            case events.RunFinished():
                self._finish_run(event)
            case _:
                pass

    # --- parts of a run

    def _begin_run(self, event: events.RunStarted) -> None:
        self._run_started = event.time
        self._steps = 0
        self._whose = f" of {event.agent}" if event.parent else ""
        called = " (called by another agent)" if event.parent else ""
        self._logger.log_task(event.task, "", f"{event.agent}{called} · {event.model}")
        if self._debug:
            self._line("System prompt", "bold")
            self._block(event.system_prompt, "dim")
            self._line("Prompt", "bold")
            self._block(event.prompt, "dim")

    def _begin_step(self, event: events.StepStarted) -> None:
        self._step_started = event.time
        self._steps = event.number
        self._line(f"\nStep {event.number}{self._whose}", f"bold {ACCENT}")
        self._live_reply().begin()

    def _show_delta(self, event: events.Delta) -> None:
        text = (event.delta.reasoning_content or "") + (event.delta.content or "")
        if text:
            self._live_reply().add(text)

    def _take_reply(self) -> str:
        """Text of the reply that was not printed yet."""
        reply, self._reply = self._reply, None
        if reply is None:
            return ""
        if self._debug and reply.message.reasoning_content:
            self._block(reply.message.reasoning_content, "dim italic")
        return reply.message.text

    def _show_program(self, event: events.ProgramStarted) -> None:
        reply = self._take_reply()
        if self._debug:
            self._block(reply, "dim")
        else:
            self._block(thought_of(reply, event.code))
        from rich.syntax import Syntax

        code = self._safe(event.code.strip("\n"))
        highlighted = Syntax("", "python", theme="ansi_dark", background_color="default").highlight(code)
        highlighted.rstrip()
        self._indented(highlighted, "    ")

    def _show_call(self, event: events.ToolCalled) -> None:
        if event.origin == "message":
            self._block(self._take_reply())
        if event.name == "final_answer" or not (self._debug or event.origin == "message"):
            return
        arguments = [repr(value) for value in event.args] + [f"{key}={value!r}" for key, value in event.kwargs.items()]
        self._block(_short(f"→ {event.name}({', '.join(arguments)})"), "dim")

    def _show_result(self, event: events.ToolReturned) -> None:
        if self._debug:
            told = f"{event.error_kind}: {event.error}" if event.error_kind else repr(event.result)
            self._block(_short(f"← {told}"), "dim")

    def _show_requests(self) -> None:
        """The requests of programs, held until nothing else is being printed."""
        requests, self._requests = self._requests, []
        for request in requests:
            what = f"{request.method} {request.host}:{request.port}" if request.host else "a request"
            if request.refused:
                self._block(_short(f"network: {what} was refused: {request.refused}"), "dim")
            else:
                self._block(f"network: {what} · {request.sent:,} bytes out, {request.received:,} in", "dim")
        if self._requested > REQUEST_LINES:
            self._block(f"network: {self._requested - REQUEST_LINES:,} more requests", "dim")
        self._requested = 0

    def _show_observation(self, event: events.CallObserved) -> None:
        """What the model is shown of a call; an answer is shown at the end of the run."""
        if not event.answered:
            self._observed.append(event.observation)
            failed = event.observation.startswith("Error: ")
            self.bar(_short(event.observation, 2000), "red" if failed else "blue")

    def _finish_program(self, event: events.ProgramFinished) -> None:
        if not self._output.begun:
            self._output.add(event.logs)
        self._output.end()
        self._show_requests()
        if event.output is not None and not event.answered and event.error_kind is None:
            self.bar(f"= {_shown(event.output)}", "green")
        if event.lost:
            self.bar("The sandbox was lost, and its variables with it.", "yellow")

    def _finish_step(self, event: events.StepFinished) -> None:
        self._live_reply().end()
        self._show_requests()
        usage, self._usage = self._usage, None
        unread = self._take_reply()
        if unread and event.error_kind is not None and event.error_kind != "AgentMaxStepsError":
            self._block(unread)
        shown, self._observed = self._observed, []
        if event.error and not any(event.error in observation for observation in shown):
            self.bar(event.error, "red")
        figures = [f"{max(0.0, event.time - self._step_started):.1f} s"]
        if usage is not None:
            figures.append(f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out")
        self._block(" · ".join(figures), "dim")

    def _finish_run(self, event: events.RunFinished) -> None:
        self._live_reply().end()
        self._output.end()
        match event.state:
            case "success":
                self._line("\nAnswer", "bold green")
            case "max_steps_error":
                self._line(f"\nAnswer, asked for when the steps were used up ({self._steps - 1})", "bold yellow")
            case "interrupted":
                self._line("\nInterrupted", "bold yellow")
            case "failed":
                self._line(f"\nFailed: {event.error_kind or 'error'}", "bold red")
                self._block(event.error or "")
        if event.state in ("success", "max_steps_error"):
            self._block(described(event.answer) or str(event.answer), "bold")
        figures = [f"{max(0.0, event.time - self._run_started):.1f} s"]
        if event.usage is not None:
            figures.append(f"{event.usage.input_tokens:,} tokens in, {event.usage.output_tokens:,} out")
        self._block(" · ".join(figures), "dim")

    def _print_errors(self, event: events.Event) -> None:
        if isinstance(event, events.StepFinished | events.RunFinished) and event.error:
            self._logger.log_error(event.error)

    # --- printing

    @property
    def _console(self) -> Console:
        return self._logger.console

    @property
    def _debug(self) -> bool:
        return self._logger.level >= LogLevel.DEBUG

    def _live_reply(self) -> LiveReply:
        if self._live is None:
            from actloop.ui.live import LiveReply

            self._live = LiveReply(self._console)
        return self._live

    def _safe(self, text: str) -> str:
        return safe_text(text, self._console.encoding)

    def _line(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(self._safe(text), style))

    def _block(self, text: str, style: str = "") -> None:
        from rich.text import Text

        if text.strip():
            self._indented(Text(self._safe(text.strip("\n")), style), "  ")

    def bar(self, text: str, style: str) -> None:
        """Print text behind a coloured bar."""
        from rich.text import Text

        if text.strip():
            self._indented(Text(self._safe(text.strip("\n"))), "│ ", style)

    def _indented(self, text: Text, prefix: str, prefix_style: str = "") -> None:
        """Print text behind a prefix; wrapped on a terminal, whole lines elsewhere, no trailing blanks."""
        from rich.text import Text

        console = self._console
        lead = Text("  " if prefix_style else "") + Text(self._safe(prefix), prefix_style)
        text.expand_tabs(4)
        for line in text.split(allow_blank=True):
            parts = [line]
            if console.is_terminal:
                parts = list(line.wrap(console, max(8, console.width - lead.cell_len), no_wrap=False)) or parts
            for part in parts:
                whole = lead + part
                whole.rstrip()
                console.print(whole, soft_wrap=True)


class _Output:
    """What a program prints or a tool yields, shown line by line as it comes; after so many lines only counted."""

    def __init__(self, screen: TerminalScreen, style: str = "blue") -> None:
        self._screen = screen
        self._style = style
        self._rest = ""
        self._lines = 0
        self._characters = 0
        self.begun = False

    def add(self, text: str) -> None:
        if not text:
            return
        self.begun = True
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._show(line)

    def _show(self, line: str) -> None:
        self._lines += 1
        self._characters += len(line)
        if self._lines <= OUTPUT_LINES and self._characters <= OUTPUT_CHARACTERS:
            self._screen.bar(line or " ", self._style)

    def end(self) -> None:
        if self._rest:
            self._show(self._rest)
        if self._lines > OUTPUT_LINES or self._characters > OUTPUT_CHARACTERS:
            self._screen.bar(f"... ({self._lines:,} lines and {self._characters:,} characters in all)", self._style)
        self._rest, self._lines, self._characters, self.begun = "", 0, 0, False


def thought_of(reply: str, code: str) -> str:
    """What a reply says before its program."""
    if reply.lstrip().startswith("{"):
        try:
            return str(cast("dict[str, Any]", json.loads(reply))["thought"])
        except (ValueError, KeyError, TypeError):
            pass
    start = reply.rfind(code.strip()) if code.strip() else -1
    if start < 0:
        found = re.search(r"<code>|```", reply)
        start = found.start() if found else len(reply)
    return _THOUGHT.sub("", _OPENING.sub("", reply[:start])).strip()


def _shown(value: Any) -> str:
    """A value on a line or a few."""
    return _short(described(value) or repr(value), 2000)


def _short(text: str, limit: int = 400) -> str:
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def replay(stored: Iterable[events.Event], console: Console | None = None, detailed: bool = False) -> None:
    """Print a stored run as it was printed.

    Args:
        stored: The run's events, in order.
        console: Where to print; standard output by default.
        detailed: Print prompts, whole replies and tool calls, too.
    """
    screen = TerminalScreen(AgentLogger(LogLevel.DEBUG if detailed else LogLevel.INFO, console))
    for event in stored:
        screen.on_event(event)
