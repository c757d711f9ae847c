"""The executor that runs programs in Monty."""

from __future__ import annotations

import weakref
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

from actloop.errors import InterpreterError, UnsupportedError
from actloop.executors.base import GuestExecutor
from actloop.executors.monty import lacks
from actloop.executors.monty.session import MontySession
from actloop.executors.monty.snapshots import KIND
from actloop.executors.monty.source import read_program

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from actloop.executors.session import GuestFailure, Session, Snapshot, Waiter


class MontyExecutor(GuestExecutor):
    """Runs programs in Monty, an interpreter of a part of Python that is written in Rust: on every platform, without
    privileges, with a session in a third of a millisecond where a worker is ready.

    A program has no way to files, processes or the network, since Monty has no functions for that. Below it is no
    other wall: each worker is an ordinary process of the caller's, which a fault of Monty's own would open.

    Args:
        additional_imports: Modules that programs may import; all that Monty has may be imported anyway.
        logger: Prints what happens.
        options: Those of `GuestExecutor`; a workspace and hosts cannot be given.

    Raises:
        MissingExtraError: Monty is not installed.
        InterpreterError: It has none of these modules.
    """

    enforced = frozenset({"wall", "memory", "output", "value", "files", "processes", "disk"})
    kind = KIND

    def __init__(self, additional_imports: Iterable[str] = (), logger: Any = None, **options: Any) -> None:
        from actloop.executors.monty.pool import monty_class

        monty_class()
        self.logger = logger
        if options.get("workspace") is not None:
            raise UnsupportedError("MontyExecutor has no files: leave workspace out, or choose another executor")
        super().__init__(additional_imports, **options)
        self.authorized_imports = sorted(lacks.MODULES)
        self.only_imports = lacks.SHOWN

    @classmethod
    def why_unavailable(cls) -> str:
        """As in `GuestExecutor`."""
        if find_spec("pydantic_monty") is None:
            return "the package pydantic-monty is not installed: pip install 'actloop[monty]'"
        from pydantic_monty._binary import find_monty_binary

        try:
            find_monty_binary()
        except FileNotFoundError:
            return "the program `monty` is missing: pip install --force-reinstall pydantic-monty-runtime"
        return ""

    def instructions(self) -> str:
        """As in `GuestExecutor`: what Monty lacks."""
        return lacks.INSTRUCTIONS

    def lacks(self, code: str, elsewhere: Collection[str] = ("*",)) -> str:
        """What Monty lacks for a program, as far as can be told without running it; empty if nothing.

        Args:
            code: The program.
            elsewhere: Modules that another executor could import: one that is not there either is no lack of Monty's.
        """
        try:
            return lacks.lacking(read_program(code).tree, elsewhere)
        except SyntaxError:
            return ""

    def lacked(self, failure: GuestFailure, code: str, elsewhere: Collection[str] = ("*",)) -> str:
        """What a program that failed would have needed that another executor has; empty if it is its own fault."""
        try:
            classes = read_program(code).classes
        except SyntaxError:
            return ""
        return lacks.lacked(failure, elsewhere, classes)

    def _check_installed(self) -> None:
        wanted = [name for name in self.additional_authorized_imports if name != "*"]
        missing = [name for name in wanted if name.removesuffix(".*") not in lacks.MODULES]
        if missing:
            raise InterpreterError(
                f"Monty does not have these modules: {', '.join(missing)}. It has {', '.join(sorted(lacks.MODULES))}. "
                "Choose another executor, or name it as the next one: executor_type=['monty', 'local']."
            )

    def spawn(self, config: dict[str, Any]) -> NoReturn:
        """There is no guest to start."""
        raise NotImplementedError("Monty runs no guest")

    async def open_session(self, waiter: Waiter, snapshot: Snapshot | None = None) -> Session:
        """As in `GuestExecutor`."""
        session = MontySession(self.limits, weakref.WeakMethod(self.open_session))
        try:
            await session.wait_ready(waiter)
            if snapshot is not None:
                await session.restore(snapshot, waiter)
        except BaseException:
            session.close()
            raise
        self._opened = weakref.ref(session)
        return session
