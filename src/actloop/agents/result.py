"""What `run` returns when the full result is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from actloop.values.usage import Timing, TokenUsage


@dataclass
class RunResult:
    """A run's answer and what it took.

    Attributes:
        output: The final answer.
        state: `"max_steps_error"` when the steps were used up and the answer was asked for in prose.
        steps: The conversation's steps as plain data, without the messages that each model call was sent
            (`agent.memory.get_full_steps()` computes those).
        token_usage: Tokens of the run, sub-agents included; None when a service did not report them.
        timing: Start, end and duration in seconds.
        run_id: Id under which the journal holds the run.
    """

    output: Any | None = None
    state: Literal["success", "max_steps_error"] | None = None
    steps: list[dict[str, Any]] | None = None
    token_usage: TokenUsage | None = None
    timing: Timing | None = None
    run_id: str | None = None

    def dict(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "output": self.output,
            "state": self.state,
            "steps": self.steps,
            "token_usage": self.token_usage.dict() if self.token_usage is not None else None,
            "timing": self.timing.dict() if self.timing is not None else None,
            "run_id": self.run_id,
        }
