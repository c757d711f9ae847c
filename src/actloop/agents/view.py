"""What an agent shows of its latest run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from actloop.memory.steps import ActionStep
from actloop.ui.logger import Monitor

if TYPE_CHECKING:
    from actloop.agents.runs import Runs
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
