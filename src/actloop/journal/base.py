"""What a journal is: events go in, in order; runs come out."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from actloop.errors import AgentError
from actloop.values.events import ModelReplied, RunFinished, RunStarted, StepFinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actloop.journal.sqlite import SQLiteJournal
    from actloop.values.events import Event


class JournalError(AgentError):
    """A journal cannot be read."""


class UnknownRunError(JournalError, LookupError):
    """No run, or more than one, has the id that was asked for; the message lists what comes near."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A stored run at a glance.

    Attributes:
        id: The run's id.
        started: Seconds since the epoch.
        agent: Name of the agent, or its class's.
        task: The task's text, as the user gave it.
        state: As in `RunFinished`, or `"unfinished"`: it still goes on, or it was killed.
        steps: Action steps that ended.
        tokens: Input and output tokens together; None where no reply reported them.
        seconds: From the first event to the last.
        parent: Id of the run that called this one's agent, or None.
    """

    id: str
    started: float
    agent: str
    task: str
    state: str
    steps: int
    tokens: int | None
    seconds: float
    parent: str | None


class Journal(ABC):
    """The append-only record of runs. Safe to share between threads."""

    @abstractmethod
    def append(self, run_id: str, event: Event) -> None:
        """Note an event of a run. Never raises because of the journal's own trouble: the run is worth more."""

    def writing(self, run_id: str, event: Event) -> Callable[[Event], None]:  # noqa: ARG002
        """What notes an event when it is called with it, in its turn: what takes long is done before.

        By then, the event may have a later time, and is the same otherwise. One that overrides this does so for its own
        `append` alone: where that is overridden, by a subclass or on the instance, this one is what it needs.
        """
        return partial(self.append, run_id)

    @abstractmethod
    def events(self, run_id: str) -> Iterator[Event]:
        """A run's events in order, those of kinds that this version does not know left out.

        Args:
            run_id: A run's id, or the beginning of one.

        Raises:
            UnknownRunError: No run, or more than one, begins so.
            JournalError: The journal cannot be read.
        """

    @abstractmethod
    def runs(self, limit: int | None = 20) -> list[RunSummary]:
        """Summaries of the latest runs, newest first.

        Raises:
            JournalError: The journal cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what the journal holds; idempotent. A closed journal opens itself again when it is used."""


class NullJournal(Journal):
    """Keeps nothing."""

    def append(self, run_id: str, event: Event) -> None:
        """Forget the event."""

    def events(self, run_id: str) -> Iterator[Event]:
        """Nothing is kept, so every run is unknown."""
        raise UnknownRunError(f"the journal is off, so there is no record of run {run_id!r}")

    def runs(self, limit: int | None = 20) -> list[RunSummary]:  # noqa: ARG002
        """Always empty."""
        return []

    def close(self) -> None:
        """Nothing to free."""


class MemoryJournal(Journal):
    """Keeps events in this process, for tests and throw-away runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, list[Event]] = {}

    def append(self, run_id: str, event: Event) -> None:
        """Note an event of a run. Events that are only passing are not kept."""
        if event.passing:
            return
        with self._lock:
            self._runs.setdefault(run_id, []).append(event)

    def events(self, run_id: str) -> Iterator[Event]:
        """A run's events in order."""
        with self._lock:
            matching = [run_id] if run_id in self._runs else [name for name in self._runs if name.startswith(run_id)]
            return iter(self._runs[the_only_run(run_id, matching)].copy())

    def runs(self, limit: int | None = 20) -> list[RunSummary]:
        """Summaries of the latest runs, newest first."""
        with self._lock:
            newest = list(reversed(self._runs.items()))[:limit]
            return [summarise(name, events) for name, events in newest]

    def close(self) -> None:
        """Nothing to free."""


def the_only_run(asked: str, matching: list[str]) -> str:
    """The one id that an abbreviation stands for.

    Raises:
        UnknownRunError: There is none, or more than one.
    """
    if not matching:
        raise UnknownRunError(f"there is no run {asked!r}; `actloop runs` lists those there are")
    if len(matching) > 1:
        shown = ", ".join(matching[:5]) + (", ..." if len(matching) > 5 else "")
        raise UnknownRunError(f"more than one run begins with {asked!r}: {shown}; give more of its id")
    return matching[0]


def summarise(run_id: str, events: Iterable[Event]) -> RunSummary:
    """A run's summary, from the events that matter to one (others are allowed)."""
    begun: RunStarted | None = None
    ended: RunFinished | None = None
    first: float | None = None
    last = 0.0
    steps = 0
    replied: int | None = None
    for event in events:
        first = event.time if first is None else first
        last = event.time
        match event:
            case RunStarted():
                begun = event
            case StepFinished():
                steps += 1
            case ModelReplied() if event.message.token_usage is not None:
                replied = (replied or 0) + event.message.token_usage.total_tokens
            case RunFinished():
                ended = event
            case _:
                pass
    return RunSummary(
        id=run_id,
        started=first or 0.0,
        agent=begun.agent if begun else "",
        task=begun.task if begun else "",
        state=ended.state if ended else "unfinished",
        steps=steps,
        tokens=ended.usage.total_tokens if ended and ended.usage else replied,
        seconds=last - (first or 0.0),
        parent=begun.parent if begun else None,
    )


OFF = ("off", "0", "no", "false")

_shared: dict[Path, SQLiteJournal] = {}


def data_folder() -> Path:
    """Where the user's data lies: `ACTLOOP_HOME`, else `actloop` under `XDG_DATA_HOME` or `~/.local/share`."""
    if home := os.environ.get("ACTLOOP_HOME"):
        return Path(home).expanduser()
    if data := os.environ.get("XDG_DATA_HOME"):
        return Path(data) / "actloop"
    return Path("~/.local/share/actloop").expanduser()


def default_journal() -> Journal:
    """This process's journal in the user's data folder; one that keeps nothing with `ACTLOOP_JOURNAL=off`."""
    if os.environ.get("ACTLOOP_JOURNAL", "").lower() in OFF:
        return NullJournal()
    path = data_folder() / "journal.db"
    if path not in _shared:
        from actloop.journal.sqlite import SQLiteJournal

        _shared.setdefault(path, SQLiteJournal(path))
    return _shared[path]
