"""Drives a session as a runtime does, one call at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actloop.executors.session import Call, Finished, Printed, RemoteTool
from actloop.executors.waiting import BlockingWaiter, run_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.executors.session import Session

WAITER = BlockingWaiter()


class Driver:
    """One session and the tools that its programs may call; those whose names begin with `a_` are asynchronous there.

    A tool that raises `StopIteration` ends the program, as a final answer does.
    """

    def __init__(self, session: Session, **tools: Callable[..., Any]) -> None:
        self.session = session
        self.tools = tools
        self.calls: list[Call] = []
        self.printed: list[str] = []
        run_now(session.define(WAITER, tools=[RemoteTool(name, name.startswith("a_")) for name in tools]))

    def define(self, **variables: Any) -> None:
        """Give it variables."""
        run_now(self.session.define(WAITER, variables=variables))

    def run(self, code: str) -> Finished:
        """Run a program to its end."""
        run_now(self.session.start(code, WAITER))
        return self.finish()

    def finish(self) -> Finished:
        """Do what the running program asks for until it ends."""
        while True:
            event = run_now(self.session.receive(WAITER))
            if isinstance(event, Finished):
                return event
            if isinstance(event, Printed):
                self.printed.append(event.text)
            else:
                self.calls.append(event)
                self.answer(event)

    def answer(self, call: Call) -> None:
        """Perform a call."""
        try:
            value = self.tools[call.name](*call.args, **call.kwargs)
        except StopIteration:
            run_now(self.session.stop(call.id, WAITER))
        except Exception as error:
            run_now(self.session.fail(call.id, type(error).__name__, str(error), WAITER))
        else:
            run_now(self.session.answer(call.id, value, WAITER))

    def value(self, code: str) -> Any:
        """The value of a program, which must not fail."""
        ended = self.run(code)
        assert ended.failure is None, ended.failure
        return ended.output
