"""What the commands that only look around print: runs, one run, the machine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from actloop.ui.safe import safe_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from actloop.journal import RunSummary

EXTRAS = {
    "local": ("xllamacpp", "openai", "stamina"),
    "openai": ("openai", "stamina"),
    "anthropic": ("anthropic", "stamina"),
    "bedrock": ("boto3", "stamina"),
    "huggingface": ("huggingface_hub", "stamina"),
    "litellm": ("litellm", "stamina"),
    "transformers": ("transformers", "torch", "accelerate"),
    "vllm": ("vllm",),
    "mlx": ("mlx_lm",),
    "web": ("httpx2", "bs4", "lxml", "markdownify", "ddgs"),
    "mcp": ("mcp", "fastmcp"),
    "gradio": ("gradio",),
    "browser": ("playwright", "PIL"),
    "images": ("PIL",),
    "audio": ("soundfile",),
    "langchain": ("langchain_core",),
    "docker": ("docker",),
    "wasm": ("deno",),
    "monty": ("pydantic_monty",),
    "e2b": ("e2b",),
    "modal": ("modal",),
    "blaxel": ("blaxel",),
}


def list_runs(limit: int, as_json: bool) -> int:
    """Print the latest runs."""
    from actloop.journal import default_journal

    runs = default_journal().runs(limit)
    if as_json:
        for run in runs:
            print(json.dumps(asdict(run)))
        return 0
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not runs:
        console.print("No runs yet.")
        return 0
    rows = [("Run", "Started", "State", "Steps", "Tokens", "Seconds", "Task"), *map(_row, runs)]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for number, row in enumerate(rows):
        start = "  ".join(
            cell.rjust(width) if 3 <= place <= 5 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row[:-1], widths, strict=True))
        )
        line = Text(safe_text(f"{start}  {row[-1]}", console.encoding), "" if number else "bold")
        if console.is_terminal:  # in a pipe nothing is cut off
            line.truncate(max(console.width, len(start) + 20), overflow="ellipsis")
        console.print(line, soft_wrap=True)
    return 0


def _row(run: RunSummary) -> tuple[str, ...]:
    started = datetime.fromtimestamp(run.started, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    tokens = "" if run.tokens is None else f"{run.tokens:,}"
    task = ("  called: " if run.parent else "") + " ".join(run.task.split())
    return run.id, started, run.state, str(run.steps), tokens, f"{run.seconds:.1f}", task


def show_run(run: str | None, detailed: bool, as_json: bool) -> int:
    """Print a stored run as it was printed; the latest where none is named."""
    from actloop.journal import UnknownRunError, default_journal

    journal = default_journal()
    if run is None:
        latest = journal.runs(1)
        if not latest:
            raise UnknownRunError("there are no runs yet")
        run = latest[0].id
    events = journal.events(run)
    if as_json:
        from actloop.cli.running import json_line
        from actloop.values.events import RunStarted

        name = run
        for event in events:
            name = event.run if isinstance(event, RunStarted) else name
            print(json_line(name, event))
        return 0
    from rich.console import Console

    from actloop.ui.terminal import replay

    replay(events, Console(highlight=False), detailed)
    return 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; shaped like the sandbox's own findings."""

    name: str
    ok: bool
    detail: str = ""
    remedy: str = ""


def doctor(as_json: bool) -> int:
    """Print what this machine can isolate, and what else is there; 0 when model-written code can be isolated."""
    from actloop.executors.kernel.probe import probe

    sandbox = probe()
    isolated = can_isolate(sandbox)
    groups: dict[str, Sequence[Any]] = {
        "Sandbox": sandbox,
        "Executors": _executors(),
        "Model": [_model()],
        "Journal": [_journal()],
        "Extras": [_extra(name, modules) for name, modules in EXTRAS.items()],
    }
    if as_json:
        found = {title.lower(): [asdict(item) for item in items] for title, items in groups.items()}
        print(json.dumps({"isolated": isolated, **found}, indent=2))
    else:
        print_findings(_shown(groups), isolated)
    return 0 if isolated else 1


def _shown(groups: dict[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The groups as they are printed: attacks apart, and what is installed in one line."""
    from actloop.executors.kernel.harden import LEVELS

    levels = {"platform", "session", *LEVELS}
    shown: dict[str, Sequence[Any]] = {}
    for title, items in groups.items():
        if title == "Sandbox":
            shown[title] = [item for item in items if item.name in levels]
            shown["Attacks"] = [item for item in items if item.name not in levels]
        elif title == "Extras":
            installed = ", ".join(name for name, item in zip(EXTRAS, items, strict=True) if item.ok)
            missing = [Finding(item.name, False, item.remedy) for item in items if not item.ok]
            shown[title] = [Finding("installed", True, installed or "none"), *missing]
        else:
            shown[title] = items
    return shown


def can_isolate(findings: Sequence[Any]) -> bool:
    """Whether a session started and withstood every attack; a level may be missing where others hold."""
    from actloop.executors.kernel.harden import LEVELS

    attacks = [item for item in findings if item.name not in LEVELS]
    return len(attacks) > 1 and all(item.ok for item in attacks)


def print_findings(groups: dict[str, Sequence[Any]], isolated: bool) -> None:
    """Print what was looked at, and how to get what is missing."""

    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for title, items in groups.items():
        console.print(Text(title, "bold"))
        column = max((len(item.name) for item in items), default=0) + 9
        for item in items:
            told = [(item.detail, "")]
            if item.remedy and not item.ok:
                told.append((f"to have it: {item.remedy}", "yellow"))
            lines = [
                Text(line, style)
                for text, style in told
                if text
                for line in _wrapped(safe_text(text, console.encoding), column, console)
            ]
            mark = ("  ok   ", "green") if item.ok else ("  no   ", "red")
            name = safe_text(item.name, console.encoding)
            start = Text.assemble(mark, name.ljust(column - 7) if lines else name)
            for number, line in enumerate(lines or [Text()]):
                console.print(Text.assemble(" " * column if number else start, line), soft_wrap=True)
    verdict = (
        "Model-written code is isolated here."
        if isolated
        else "Model-written code cannot be isolated here: it is refused."
    )
    console.print(Text(verdict, "bold green" if isolated else "bold red"))


def _wrapped(text: str, column: int, console: Console) -> list[str]:
    """The lines of a text that begins at a column; in a pipe nothing is wrapped."""
    import textwrap

    if not console.is_terminal:
        return [text]
    return textwrap.wrap(text, max(console.width - column, 30), break_long_words=False, break_on_hyphens=False)


def _executors() -> list[Finding]:
    """Whether programs can run in each executor, or the one thing that is missing."""
    from concurrent.futures import ThreadPoolExecutor

    from actloop.executors.registry import NAMES, executor_class

    def looked_at(name: str) -> Finding:
        try:
            kind = executor_class(name)
            reason: str = kind.why_unavailable()
            fetched: str = kind.to_fetch() if not reason and hasattr(kind, "to_fetch") else ""
        except Exception as error:  # a broken package of a service's must not hide what else is here
            return Finding(name, False, f"{type(error).__name__}: {error}")
        ready = f"ready; the first session {fetched}" if fetched else "ready"
        return Finding(name, not reason, reason or ready)

    with ThreadPoolExecutor(len(NAMES)) as pool:  # some ask a daemon, or look for a program
        return list(pool.map(looked_at, NAMES))


def _model() -> Finding:
    import os

    from actloop.models.embedded import DEFAULT_MODEL, KNOWN_MODELS, cache_folder

    name = os.environ.get("ACTLOOP_MODEL") or DEFAULT_MODEL
    known = KNOWN_MODELS.get(name)
    if known is None:
        from pathlib import Path

        there = Path(name).expanduser().is_file()
        return Finding(
            name, there, "a file of your own" if there else "there is no such file", "set ACTLOOP_MODEL anew"
        )
    path = cache_folder() / "models" / known.file
    there = path.is_file() and path.stat().st_size == known.size
    detail = f"{path}, {known.size / 1e6:,.0f} MB" if there else "not fetched yet"
    return Finding(name, there, detail, "" if there else "actloop fetch-model (the first run does it, too)")


def _journal() -> Finding:
    from actloop.journal import JournalError, NullJournal, default_journal
    from actloop.journal.sqlite import SQLiteJournal

    journal = default_journal()
    if isinstance(journal, NullJournal):
        return Finding("journal", True, "off, by ACTLOOP_JOURNAL")
    assert isinstance(journal, SQLiteJournal)
    try:
        journal.check()
        count = len(journal.runs(limit=None))
    except JournalError as error:
        remedy = "set ACTLOOP_HOME to a folder that can be written, or ACTLOOP_JOURNAL=off to keep no record"
        return Finding("journal", False, str(error), remedy)
    where = journal.path
    return Finding("journal", True, f"{where}, {count:,} runs")


def _extra(name: str, modules: tuple[str, ...]) -> Finding:
    missing = [module for module in modules if find_spec(module) is None]
    detail = "installed" if not missing else f"missing: {', '.join(missing)}"
    return Finding(f"actloop[{name}]", not missing, detail, "" if not missing else f"pip install 'actloop[{name}]'")
