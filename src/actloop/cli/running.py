"""Runs one task, or a conversation of many."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from actloop.cli.setup import open_agent
from actloop.errors import AgentError, AgentInterruptedError
from actloop.ui.logger import AgentLogger, LogLevel
from actloop.values.events import RunStarted

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from PIL.Image import Image

    from actloop.agents.base import MultiStepAgent
    from actloop.cli.settings import Settings
    from actloop.executors.workspace import WorkspaceFile
    from actloop.ui.logger import Screen
    from actloop.values.events import Event

ANSWERED, NOT_ANSWERED, INTERRUPTED = 0, 1, 130
FILE_LINES = 30
"""Files of a run that are named at its end."""

HELP = """\
Write a task, or go on with the one before: the conversation and its variables are kept.
/new begins a new conversation, /quit or Ctrl-D leaves, Ctrl-C interrupts a run."""


class JsonLines:
    """Writes the events of a run to standard output, one JSON object a line."""

    def append(self, run_id: str, event: Event) -> None:
        """Write one event, unless it is only passing."""
        if not event.passing:
            print(json_line(run_id, event), flush=True)


class JsonLogger(AgentLogger):
    """Shows events as JSON lines; says nothing else on standard output."""

    def __init__(self) -> None:
        from rich.console import Console

        super().__init__(LogLevel.ERROR, Console(stderr=True, highlight=False))

    def screen(self) -> Screen:
        """Writes lines instead of a picture."""
        return JsonLines()


def json_line(run_id: str, event: Event) -> str:
    """An event as one line of JSON; values that JSON does not know are tagged as in the journal."""
    from actloop.journal.encoding import encode

    line = encode(event)
    return line if isinstance(event, RunStarted) else f'{{"run":"{run_id}",{line[1:]}'


def run_task(settings: Settings, task: str) -> int:
    """Run one task; returns the exit code."""
    with open_agent(settings, make_logger(settings)) as agent:
        return run_agent(agent, task, reset=True)


def run_agent(agent: MultiStepAgent, task: str, *, reset: bool, images: list[Image] | None = None) -> int:
    """Run an agent on a task; returns the exit code."""
    try:
        result: Any = agent.run(task, reset=reset, images=images, return_full_result=True)
    except (KeyboardInterrupt, AgentInterruptedError):
        return INTERRUPTED
    except AgentError as error:
        # The screen has told of it, except where there is none.
        if agent.logger.level < LogLevel.ERROR or isinstance(agent.logger, JsonLogger):
            print(f"actloop: {error}", file=sys.stderr)
        return NOT_ANSWERED
    if isinstance(agent.logger, JsonLogger):
        pass
    elif agent.logger.level < LogLevel.INFO:
        from actloop.ui.safe import safe_text

        print(safe_text(str(result.output), sys.stdout.encoding, mask=False), flush=True)
    elif result.files:
        _tell_files(agent, result.files)
    return ANSWERED if result.state == "success" else NOT_ANSWERED


def _tell_files(agent: Any, files: Sequence[WorkspaceFile]) -> None:
    """Print which files a run made or changed in the workspace."""
    from actloop.ui.safe import safe_text
    from actloop.values.sizes import in_bytes

    console = agent.logger.console
    lines = [f"{file.name}  {file.type}, {in_bytes(file.size)}" for file in files[:FILE_LINES]]
    if len(files) > FILE_LINES:
        lines.append(f"and {len(files) - FILE_LINES:,} more")
    told = "\n  ".join([f"\nFiles in {agent.python_executor.workspace.path}", *lines])
    console.print(safe_text(told, console.encoding), markup=False, highlight=False, soft_wrap=True)


def make_logger(settings: Settings) -> AgentLogger:
    """What the options ask to print with."""
    return JsonLogger() if settings.as_json else AgentLogger(settings.verbosity)


def converse(settings: Settings) -> int:
    """Read tasks from the terminal until the user leaves; returns the exit code of the last run."""
    with open_agent(settings, make_logger(settings)) as agent, _history():
        console = agent.logger.console
        if sys.stdin.isatty():
            console.print("actloop: write a task. /help tells more, /quit leaves.", style="dim")
        code, begun = ANSWERED, False
        while True:
            try:
                task = input("\n> " if sys.stdin.isatty() else "").strip()
            except KeyboardInterrupt:
                console.print("\n/quit or Ctrl-D leaves.", style="dim")
                continue
            except EOFError:
                return code
            match task:
                case "":
                    continue
                case "/quit" | "/exit":
                    return code
                case "/help":
                    console.print(HELP, style="dim", markup=False)
                case "/new":
                    begun = False
                    console.print("A new conversation begins.", style="dim")
                case _ if task.startswith("/"):
                    console.print(f"There is no command {task.split()[0]!r}.\n{HELP}", style="dim", markup=False)
                case _:
                    code = run_agent(agent, task, reset=not begun)
                    begun = True


@contextmanager
def _history() -> Generator[None]:
    """Lines typed before, with the arrow keys, across sessions."""
    if not sys.stdin.isatty():
        yield
        return
    import os
    import readline

    from actloop.journal import data_folder

    path = data_folder() / "history"
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        readline.read_history_file(path)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with suppress(OSError):
            readline.write_history_file(path)
