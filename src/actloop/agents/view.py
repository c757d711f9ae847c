"""What an agent shows of its latest run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from actloop.errors import InterpreterError
from actloop.executors.snapshots import check_snapshot
from actloop.executors.waiting import BlockingWaiter, run_now
from actloop.memory.steps import ActionStep
from actloop.ui.logger import Monitor
from actloop.values.events import SnapshotTaken

if TYPE_CHECKING:
    from actloop.agents.runs import Runs
    from actloop.executors.session import Snapshot
    from actloop.memory.memory import AgentMemory
    from actloop.models.base import Model
    from actloop.ui.logger import AgentLogger
    from actloop.values.messages import ChatMessage


class LatestRun(ABC):
    """The face that an agent turns to the code around it: the run that called that code, or else its latest one."""

    model: Model
    logger: AgentLogger
    _runs: Runs

    @abstractmethod
    def _new_memory(self) -> AgentMemory:
        """A conversation that has not begun."""

    @property
    def memory(self) -> AgentMemory:
        """The conversation of the run that called this code, or else of the latest run."""
        run = self._runs.shown(self)
        if run is not None:
            return run.memory
        if self._runs.memory is None:
            self._runs.memory = self._new_memory()
        return self._runs.memory

    @memory.setter
    def memory(self, value: AgentMemory) -> None:
        self._runs.replace_memory(value)

    @property
    def state(self) -> dict[str, Any]:
        """Extra variables of the latest run; those set before a first run are given to it."""
        run = self._runs.shown(self)
        return self._runs.variables if run is None else run.variables

    @property
    def task(self) -> str | None:
        """Task of the latest run."""
        run = self._runs.shown(self)
        return None if run is None else run.task

    @property
    def step_number(self) -> int:
        """Number of the latest run's latest step; 0 before the first."""
        run = self._runs.shown(self)
        return 0 if run is None else run.step_number

    @property
    def monitor(self) -> Monitor:
        """Durations and tokens of the latest run; tokens of agents that it called are counted in."""
        monitor = Monitor(self.model, self.logger)
        for step in self.memory.steps:
            if isinstance(step, ActionStep):
                monitor.count(step)
        run = self._runs.shown(self)
        if run is not None:
            monitor.total_input_token_count += run.ledger.called.input_tokens
            monitor.total_output_token_count += run.ledger.called.output_tokens
        return monitor

    def _executor(self) -> Any:
        """What runs the agent's programs; None for an agent that writes none."""
        return None

    def snapshot(self) -> Snapshot:
        """The variables of the latest run's sandbox, so that its conversation can go on elsewhere: see `restore`.

        What could not be taken is named in `left_out`. Everything that the programs computed is in a snapshot, tools'
        results included; secrets that they have as variables are not, but copies that they made of them are. Blocks
        for some milliseconds, more with large data.

        Raises:
            InterpreterError: There is no such sandbox, a program runs in it, or it cannot be taken.
        """
        import hashlib

        run = self._runs.shown(self)
        if run is None or run.session is None or not run.session.alive:
            raise InterpreterError("There is no sandbox to take: none was started by the latest run, or it has ended")
        snapshot = run_now(run.session.snapshot(BlockingWaiter(), without=run.vault.of_sandbox))
        data = snapshot.to_bytes()
        reference = f"sha256:{hashlib.sha256(data).hexdigest()}"
        run.emit(SnapshotTaken(reference=reference, size=len(data), left_out=sorted(snapshot.left_out)))
        return snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Have the next run with `reset=False` begin with these variables, in place of those of the latest run.

        To go on in another process, give the agent its conversation (`memory`) besides.

        Raises:
            InterpreterError: The agent's executor cannot be given variables of a snapshot. Whether this snapshot fits
                it, is seen when that run begins.
            TypeError: It is no snapshot.
        """
        check_snapshot(snapshot)
        if not hasattr(self._executor(), "open_session"):
            raise InterpreterError(f"{type(self).__name__} has no executor that opens sandboxes for snapshots")
        self._runs.restore(snapshot)

    def write_memory_to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        """The conversation as a model is sent it.

        Args:
            summary_mode: Leave out the system prompt, plans and the model's own words.
        """
        if not summary_mode:
            return self.memory.messages()
        steps = [self.memory.system_prompt, *self.memory.steps]
        return [message for step in steps for message in step.to_messages(summary_mode=True)]

    def visualize(self) -> None:
        """Print the agent, its tools and its managed agents as a tree."""
        self.logger.visualize_agent_tree(self)

    def replay(self, detailed: bool = False) -> None:
        """Print the steps of the latest run again.

        Args:
            detailed: Print the messages that each model call was sent, too.
        """
        self.memory.replay(self.logger, detailed=detailed)
