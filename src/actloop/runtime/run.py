"""A run: everything that belongs to one task of one agent."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from actloop.journal.base import Journal
from actloop.memory.fold import MemoryFold, StreamItem
from actloop.memory.steps import ActionStep, MemoryStep
from actloop.runtime.ports import Interrupt
from actloop.values import events
from actloop.values.secrets import Vault
from actloop.values.usage import Timing, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from actloop.executors.session import Session, Snapshot
    from actloop.executors.workspace import WorkspaceFile
    from actloop.memory.callbacks import CallbackRegistry
    from actloop.memory.memory import AgentMemory
    from actloop.models.base import Model
    from actloop.runtime.gateway import Gateway

RunState = Literal["running", "success", "max_steps_error", "interrupted", "failed"]


class EventSink(Protocol):
    """Something that is told of every event: a journal, a screen."""

    def append(self, run_id: str, event: events.Event) -> None:
        """Take one event of a run; called in order, never raises.

        Others that note something wait meanwhile, an event loop perhaps: it must not wait for one.
        """
        ...


@dataclass(slots=True)
class Ledger:
    """Tokens of a run, those of its sub-agents' runs included; `called` are those alone."""

    usage: TokenUsage = field(default_factory=lambda: TokenUsage(0, 0))
    called: TokenUsage = field(default_factory=lambda: TokenUsage(0, 0))
    complete: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, usage: TokenUsage | None) -> None:
        """Count a reply's tokens; None means that its service reported none."""
        with self._lock:
            if usage is None:
                self.complete = False
            else:
                self.usage = self.usage + usage

    def add_called(self, usage: TokenUsage | None) -> None:
        """Count the tokens of a sub-agent's run."""
        self.add(usage)
        if usage is not None:
            with self._lock:
                self.called = self.called + usage

    def total(self) -> TokenUsage | None:
        """The tokens; None if any reply's are unknown."""
        return self.usage if self.complete else None


current_run: ContextVar[Run | None] = ContextVar("actloop_run", default=None)
"""The run for which the user's code (a tool, a callback, a check) is being called."""


@dataclass(kw_only=True, eq=False)
class Run:
    """State of one run. Nothing of it is shared with another run of the same agent.

    Attributes:
        agent: The agent, handed to the user's callbacks and checks.
        agent_name: Its name, for the journal.
        model: The model that is asked.
        memory: The conversation; continued runs use that of the run before.
        gateway: The only way to a tool.
        executor: Opens the sandbox session when a program comes; None for an agent that runs none.
        variables: Extra variables of the conversation, by name.
        sent: Those that the sandbox session was given, as they were then.
        session: The sandbox, once there is one.
        snapshot: What the first one begins with.
        continues: Id of the run whose conversation this one continues.
        prepared: Whether an executor without sessions was given the tools and variables.
        sinks: Told of every event, in order.
        stream: Whether replies are streamed.
        max_tool_threads: Calls of one message that are performed at once.
        vault: Secrets of the agent, which no event holds.
        files: What its programs made or changed in the workspace, by name.
    """

    agent: Any
    agent_name: str
    task: str
    model: Model
    memory: AgentMemory
    gateway: Gateway
    executor: Any = None
    callbacks: CallbackRegistry | None = None
    checks: Sequence[Callable[..., Any]] = ()
    variables: dict[str, Any] = field(default_factory=dict[str, Any])
    sent: dict[str, Any] = field(default_factory=dict[str, Any])
    session: Session | None = None
    snapshot: Snapshot | None = None
    continues: str | None = None
    prepared: bool = False
    sinks: Sequence[EventSink] = ()
    stream: bool = False
    max_tool_threads: int | None = None
    max_steps: int = 20
    parent: Run | None = None
    vault: Vault = field(default_factory=Vault)
    files: dict[str, WorkspaceFile] = field(default_factory=dict[str, "WorkspaceFile"])
    now: Callable[[], float] = time.time
    id: str = field(default_factory=lambda: os.urandom(6).hex())

    interrupt: Interrupt = field(default_factory=Interrupt)
    ledger: Ledger = field(default_factory=Ledger)
    state: RunState = "running"
    answer: Any = None
    step_number: int = 0
    timing: Timing = field(default_factory=lambda: Timing(0.0))

    def __post_init__(self) -> None:
        self.fold = MemoryFold(self.memory)
        self._lock = threading.Lock()
        self._latest = 0.0
        self.gateway.emit = self.emit
        self.gateway.vault = self.vault

    def emit(self, event: events.Event) -> StreamItem | None:
        """Note a fact: stamp it, hand it to every sink, fold it into the memory. Times never go back within a run."""
        event = replace(event, time=self.now())
        if self.vault:
            event = self.vault.masked(event, piece=event.passing)
        writes = [_writing(sink, self.id, event) for sink in self.sinks]  # before the lock, which others wait for
        with self._lock:
            if event.time < self._latest:  # another was noted later, and is written already
                event = replace(event, time=self._latest)
            self._latest = event.time
            self._count(event)
            item = self.fold.apply(event)
            for write in writes:
                write(event)
        return item

    def _count(self, event: events.Event) -> None:
        match event:
            case events.RunStarted():
                self.timing = Timing(event.time)
            case events.StepStarted():
                self.step_number = event.number
            case events.ModelReplied():
                self.ledger.add(event.message.token_usage)
            case events.RunFinished():
                self.state, self.answer = event.state, event.answer
                self.timing = Timing(self.timing.start_time, event.time)
            case _:
                pass

    def finished(self, step: StreamItem) -> None:
        """Call the user's callbacks with a finished step, then put it into the memory."""
        if not isinstance(step, MemoryStep):
            return
        shown = _images(step)
        if self.callbacks:
            before = getattr(self.agent, "model", None)
            with self.active():
                self.callbacks.callback(step, agent=self.agent)
            after = getattr(self.agent, "model", None)
            if after is not before and after is not None:
                self.model = after  # a callback gave the agent another one: it replies from now on
            self.memory.touch_what_is_editable_in_place()
        self.fold.keep(step)
        images = _images(step)
        if isinstance(step, ActionStep) and images and list(map(id, images)) != list(map(id, shown)):
            self.emit(events.ImagesObserved(number=step.step_number, images=images))

    @contextmanager
    def active(self) -> Generator[None]:
        """While the user's code runs: sub-agents that it calls become children of this run."""
        token = current_run.set(self)
        try:
            with self.vault.open():
                yield
        finally:
            current_run.reset(token)

    def close(self) -> None:
        """End the sandbox session; idempotent."""
        session, self.session = self.session, None
        if session is not None:
            session.close()


def _writing(sink: EventSink, run_id: str, event: events.Event) -> Callable[[events.Event], None]:
    """What hands a sink an event in its turn. Of one that is no journal by its class, nothing but `append` is used.

    A wrapper that passes on what it does not know may seem to have a journal's methods, past its own `append`.
    """
    kind: type = type(sink)
    if issubclass(kind, Journal):
        return kind.writing(cast("Journal", sink), run_id, event)
    return partial(sink.append, run_id)


def _images(step: MemoryStep) -> list[Any]:
    """Images that the model is shown of a step."""
    return list(step.observations_images or ()) if isinstance(step, ActionStep) else []
