"""Runs programs in an executor of the user's that knows only `send_tools`, `send_variables` and being called."""

from __future__ import annotations

import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentToolExecutionError
from actloop.executors.checks import checked_output
from actloop.executors.session import Finished, GuestFailure
from actloop.executors.waiting import run_now
from actloop.runtime.gateway import Raised, Returned
from actloop.runtime.ports import Blocking

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.runtime.ports import Port
    from actloop.runtime.run import Run


async def execute(run: Run, code: str, port: Port) -> tuple[Finished, Returned | None]:
    """Run a program; returns how it ended, and the final answer if it gave one."""
    try:
        output = await port.call(partial(_call, run, code))
    except Exception as error:
        logs = str(getattr(run.executor, "state", {}).get("_print_outputs", ""))
        failure = GuestFailure(
            type(error).__name__, str(error), traceback="".join(traceback.format_exception_only(error))
        )
        return Finished(logs=logs, failure=failure), None
    answer = Returned(output.output, final=True) if output.is_final_answer else None
    return Finished(output=output.output, logs=output.logs), answer


def _call(run: Run, code: str) -> Any:
    if not run.prepared:
        run.executor.send_variables({**run.variables, **run.vault.of_sandbox})
        run.executor.send_tools({alias: _through_gateway(run, name) for name, alias in run.gateway.code_names.items()})
        run.prepared = True
    return checked_output(run.executor(code), run.executor)


def _through_gateway(run: Run, name: str) -> Callable[..., Any]:
    """What the executor sees of a tool: its calls pass the gateway like all others."""

    def call(*args: Any, **kwargs: Any) -> Any:
        port = Blocking(run.interrupt)
        try:
            outcome = run_now(run.gateway.call(port, name, args, kwargs, within=run.active))
        finally:
            port.close()
        if isinstance(outcome, Raised):
            raise AgentToolExecutionError(f"{outcome.kind}: {outcome.message}")
        return outcome.value

    call.__name__ = call.__qualname__ = name
    return call
