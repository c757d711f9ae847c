"""Token counts and timings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class TokenUsage:
    """Tokens that a reply or a run used, as reported by the model's service."""

    input_tokens: int
    output_tokens: int
    total_tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self.total_tokens = self.input_tokens + self.output_tokens

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)

    def dict(self) -> dict[str, int]:
        """The counts as plain data."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
        }


@dataclass
class Timing:
    """Start and end of a step or a run, in seconds since the epoch."""

    start_time: float
    end_time: float | None = None

    @classmethod
    def now(cls) -> Timing:
        """What starts now."""
        return cls(time.time())

    @property
    def duration(self) -> float | None:
        """Seconds between start and end; None while running."""
        return None if self.end_time is None else self.end_time - self.start_time

    def dict(self) -> dict[str, float | None]:
        """The timing as plain data, `duration` included."""
        return {"start_time": self.start_time, "end_time": self.end_time, "duration": self.duration}

    def __repr__(self) -> str:
        return f"Timing(start_time={self.start_time}, end_time={self.end_time}, duration={self.duration})"
