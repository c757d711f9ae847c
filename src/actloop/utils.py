"""Errors of agents.

The names of smolagents' module `utils`, for programs that import from there; `actloop` has them all.
"""

from actloop import (
    AgentError as AgentError,
    AgentExecutionError as AgentExecutionError,
    AgentGenerationError as AgentGenerationError,
    AgentMaxStepsError as AgentMaxStepsError,
    AgentParsingError as AgentParsingError,
    AgentToolCallError as AgentToolCallError,
    AgentToolExecutionError as AgentToolExecutionError,
)
