"""Loggers, durations and tokens.

The names of smolagents' module `monitoring`, for programs that import from there; `actloop` has them all.
"""

from actloop import (
    AgentLogger as AgentLogger,
    LogLevel as LogLevel,
    Monitor as Monitor,
    Timing as Timing,
    TokenUsage as TokenUsage,
)
