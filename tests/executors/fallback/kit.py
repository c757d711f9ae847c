"""What the tests of several executors one after the other share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actloop import CodeAgent, LogLevel, ScriptedModel, tool
from actloop.errors import SandboxUnavailableError
from actloop.executors.fallback_session import FallbackSession
from actloop.executors.local import LocalPythonExecutor

if TYPE_CHECKING:
    from tests.executors.driving import Driver

    from actloop.executors.session import Session, Snapshot, Waiter


class Absent(LocalPythonExecutor):
    """An executor that this machine does not have."""

    async def open_session(self, waiter: Waiter, snapshot: Snapshot | None = None) -> Session:
        raise SandboxUnavailableError("there is no such thing here")


class Told(LocalPythonExecutor):
    """An executor that the environment says nothing of, but that was told all it needs."""

    @classmethod
    def why_unavailable(cls) -> str:
        return "no credentials in the environment"


class Refusing(LocalPythonExecutor):
    """An executor that turns out to be missing when it is used."""

    async def open_session(self, waiter: Waiter, snapshot: Snapshot | None = None) -> Session:
        raise SandboxUnavailableError("it would not start")


def place(driver: Driver) -> str:
    assert isinstance(driver.session, FallbackSession)
    return type(driver.session.session).__name__


def echo(value: Any) -> Any:
    return value


def twice(number: Any) -> Any:
    return 2 * number


def fail() -> None:
    raise KeyError("k")


@tool
def weigh(thing: str) -> int:
    """Weighs a thing.

    Args:
        thing: What to weigh.
    """
    return len(thing)


def agent_of(*programs: str, **options: Any) -> CodeAgent:
    model = ScriptedModel([f"<code>\n{program}\n</code>" for program in programs])
    given: dict[str, Any] = {"executor_type": ["monty", "local"], "verbosity_level": LogLevel.OFF, "journal": None}
    return CodeAgent([weigh], model, **{**given, **options})
