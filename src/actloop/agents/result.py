"""What `run` returns when the full result is asked for."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from actloop.executors.workspace import WorkspaceFile
    from actloop.values.usage import Timing, TokenUsage


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
        files: What the run's programs made or changed in the agent's workspace, by name.
    """

    def __init__(
        self,
        output: Any | None = None,
        state: Literal["success", "max_steps_error"] | None = None,
        steps: list[dict[str, Any]] | None = None,
        token_usage: TokenUsage | None = None,
        timing: Timing | None = None,
        messages: list[dict[str, Any]] | None = None,
        *,
        run_id: str | None = None,
        files: list[WorkspaceFile] | None = None,
    ) -> None:
        if messages is not None:
            if steps is not None:
                raise ValueError("messages is the old name of steps: give one of them")
            _warn_of_messages()
            steps = messages
        self.output = output
        self.state = state
        self.steps = steps
        self.token_usage = token_usage
        self.timing = timing
        self.run_id = run_id
        self.files = files or []

    @property
    def messages(self) -> list[dict[str, Any]] | None:
        """The old name of `steps`."""
        _warn_of_messages()
        return self.steps

    def __repr__(self) -> str:
        return f"RunResult(output={self.output!r}, state={self.state!r}, run_id={self.run_id!r})"

    def dict(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "output": self.output,
            "state": self.state,
            "steps": self.steps,
            "token_usage": self.token_usage.dict() if self.token_usage is not None else None,
            "timing": self.timing.dict() if self.timing is not None else None,
            "run_id": self.run_id,
            "files": [file.dict() for file in self.files],
        }


def _warn_of_messages() -> None:
    warnings.warn("RunResult.messages is the old name of RunResult.steps", FutureWarning, stacklevel=3)
