"""A run printed by the logger's own methods, for loggers of users that override them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from actloop.errors import message_of
from actloop.ui.files import changes_in_words
from actloop.ui.logger import AgentLogger, LogLevel
from actloop.ui.safe import safe_text
from actloop.values import events

if TYPE_CHECKING:
    from collections.abc import Callable

_METHODS = ("log", "log_task", "log_rule", "log_code", "log_markdown", "log_error")


def overrides_methods(logger: AgentLogger) -> bool:
    """Whether the logger's class prints in a way of its own."""
    return any(getattr(type(logger), name) is not getattr(AgentLogger, name) for name in _METHODS)


class MethodScreen:
    """Hands the facts of one run to a logger's methods."""

    def __init__(self, logger: AgentLogger) -> None:
        self._logger = logger
        self._broken = False

    def append(self, run_id: str, event: events.Event) -> None:  # noqa: ARG002
        """Have an event logged, as a sink of a run: a logger that fails is told of once, and ends no run."""
        if self._broken:
            return
        try:
            self.on_event(event)
        except Exception as error:
            self._broken = True
            told = f"the logger {type(self._logger).__name__} failed: {type(error).__name__}: {message_of(error)}"
            warnings.warn(told, RuntimeWarning, stacklevel=2)

    def on_event(self, event: events.Event) -> None:
        """Have an event logged."""
        logger = self._logger
        match event:
            case events.RunStarted():
                logger.log_task(safe_text(event.task), event.model, title=event.agent, level=LogLevel.INFO)
            case events.StepStarted():
                logger.log_rule(f"Step {event.number}", level=LogLevel.INFO)
            case events.ModelReplied() if event.purpose != "summary":
                self._markdown(event.message.text, "Reply of the model:", LogLevel.DEBUG)
            case events.PlanMade():
                self._markdown(event.plan, "Plan:", LogLevel.INFO)
            case events.ProgramStarted():
                logger.log_code("Program:", safe_text(event.code), level=LogLevel.INFO)
            case events.ProgramFinished() if event.logs:
                self._say(f"Printed:\n{event.logs}", LogLevel.INFO)
            case events.FilesChanged():
                self._say(f"Files: {changes_in_words(event)}", LogLevel.INFO)
            case events.ToolCalled(origin="message"):
                named = ", ".join(f"{name}={value!r}" for name, value in event.kwargs.items())
                given = ", ".join([*map(repr, event.args), *([named] if named else [])])
                self._say(f"Call: {event.name}({given})"[:8_000], LogLevel.INFO)
            case events.CallObserved():
                self._say(f"Result: {event.observation}", LogLevel.INFO)
            case events.StepFinished() if event.error is not None:
                logger.log_error(safe_text(event.error))
            case events.RunFinished() if event.error is not None:
                logger.log_error(safe_text(event.error))
            case events.RunFinished():
                self._say(f"Final answer: {event.answer}", LogLevel.INFO)
            case _:
                pass

    def _markdown(self, text: str, title: str, level: LogLevel) -> None:
        if text:
            self._logger.log_markdown(safe_text(text), title=title, level=level)

    def _say(self, text: str, level: LogLevel) -> None:
        log: Callable[..., Any] = self._logger.log
        log(safe_text(text), level=level, markup=False)
