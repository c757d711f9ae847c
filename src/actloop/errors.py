"""The errors of actloop: one small tree under `AgentError`.

A message says what happened, where, and what to do. Errors that a model can act on (`AgentParsingError`,
`AgentExecutionError` and its children) become the observation of a step; the others end a run.
"""

from __future__ import annotations

from typing import Any


class AgentError(Exception):
    """Base class of everything that actloop raises on its own account.

    Args:
        message: What happened, where, and what to do.
        logger: Accepted for compatibility with programs written for smolagents; `log_error(message)` is called on it.
    """

    def __init__(self, message: str, logger: Any = None) -> None:
        super().__init__(message)
        self.message = message
        if logger is not None:
            logger.log_error(message)

    def dict(self) -> dict[str, str]:
        """The error as plain data: its type and its message."""
        return {"type": type(self).__name__, "message": str(self.message)}


class AgentParsingError(AgentError):
    """The model's reply could not be understood."""


class AgentExecutionError(AgentError):
    """The model's code, or a call that it made, failed."""


class AgentMaxStepsError(AgentError):
    """A run used up its steps without an answer."""


class AgentToolCallError(AgentExecutionError):
    """A tool was called with arguments that it does not take."""


class AgentToolExecutionError(AgentExecutionError):
    """A tool raised while it ran."""


class AgentGenerationError(AgentError):
    """A model could not produce a reply."""


class ContextLimitError(AgentGenerationError):
    """A conversation does not fit the model's context, however much of it is left out."""


class AgentInterruptedError(AgentError):
    """A run was ended by `agent.interrupt()`."""


class InterpreterError(AgentExecutionError, ValueError):
    """Model-written code failed in its sandbox, or was refused before it ran."""


class SandboxUnavailableError(AgentError):
    """This machine cannot isolate code in the way that was asked for."""


class UnsupportedError(AgentError, ValueError):
    """An executor cannot keep what is asked of it: another one may."""


class ProtocolError(AgentError):
    """A sandbox guest spoke its protocol wrongly; its session is closed."""


class FetchError(AgentError):
    """An address could not be fetched; the message names the address and the reason."""


class ForbiddenAddressError(FetchError):
    """An address is refused before anything is sent to it: its scheme, host, port or IP address is not allowed."""


class MissingExtraError(AgentError, ImportError):
    """An optional dependency is not installed; the message names the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        AgentError.__init__(
            self, f"{purpose} needs the package '{package}', which is not installed: pip install 'actloop[{extra}]'"
        )


def message_of(error: BaseException) -> str:
    """An exception's text, whatever its `__str__` does; of a `KeyError`, the key as Python shows it."""
    if isinstance(error, AgentError):
        return error.message
    try:
        return repr(error.args[0]) if isinstance(error, KeyError) and len(error.args) == 1 else str(error)
    except Exception:
        return "(its message could not be read)"
