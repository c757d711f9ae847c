"""Monty's processes and the executor."""

from __future__ import annotations

import ast
import contextlib
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.host import descendants
from tests.executors.driving import WAITER, Driver
from tests.executors.monty.helpers import twice
from tests.waiting import eventually

from actloop import CodeAgent, LogLevel, MissingExtraError, ScriptedModel, tool
from actloop.errors import InterpreterError, SandboxUnavailableError
from actloop.executors.monty import MontyExecutor
from actloop.executors.monty.source import read_program
from actloop.executors.session import SandboxLimits
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable


pytest.importorskip("pydantic_monty")


def test_a_fork_has_no_sessions_and_does_not_end_those_of_its_parent(driver: Driver) -> None:
    driver.value("x = 1")
    read_fd, write_fd = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks while there are threads
        child = os.fork()
    if child == 0:
        said = [str(driver.session.alive)]
        driver.session.close()
        try:
            run_now(MontyExecutor().open_session(WAITER))
        except SandboxUnavailableError as error:
            said.append(str(error))
        os.write(write_fd, "|".join(said).encode())
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd) as said:
        alive, _, reason = said.read().partition("|")
    os.waitpid(child, 0)
    assert alive == "False"
    assert "forked" in reason
    assert driver.value("x") == 1


HOST = """
import os, signal, sys
from actloop.executors.monty import MontyExecutor
from actloop.executors.session import SandboxLimits
from actloop.executors.waiting import BlockingWaiter, run_now

waiter = BlockingWaiter()
executor = MontyExecutor(limits=SandboxLimits(wall=1.0))
idle, busy = (run_now(executor.open_session(waiter)) for _ in range(2))
run_now(busy.start("print('begun')\\nwhile True:\\n    pass", waiter))
print(run_now(busy.receive(waiter)).text, flush=True)
sys.stdin.read(1) if sys.argv[1] == "exit" else os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_workers_end_with_their_host(how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOST, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"begun\n"
        if how == "exit":
            assert len(descendants(host.pid)) >= 2
            host.communicate(b"x", timeout=20)
            assert host.returncode == 0
        host.wait(60)
        assert eventually(lambda: not of_group(host.pid)), of_group(host.pid)


def of_group(group: int) -> list[int]:
    found: list[int] = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(Path(f"/proc/{int(name)}/stat").read_text().rpartition(")")[2].split()[2]) == group:
                found.append(int(name))
    return found


def test_many_sessions_at_once(open_driver: Callable[..., Driver]) -> None:
    drivers = [open_driver() for _ in range(12)]
    for number, one in enumerate(drivers):
        one.value(f"x = {number}")
    assert [one.value("x") for one in drivers] == list(range(12))


def test_what_cannot_be_kept_is_refused(tmp_path: Any) -> None:
    refused: list[dict[str, Any]] = [{"workspace": str(tmp_path)}, {"allow_hosts": ["a.org:443"]}]
    refused.append({"limits": SandboxLimits(cpu=1.0)})
    for options in refused:
        with pytest.raises(ValueError, match="MontyExecutor"):
            MontyExecutor(**options)
    with pytest.raises(InterpreterError, match=r"numpy.*executor_type"):
        MontyExecutor(["numpy", "json"])
    assert MontyExecutor(["*"]).why_unavailable() == ""


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(MissingExtraError, match=r"actloop\[monty\]"):
        MontyExecutor()


def test_direct_calls_keep_variables() -> None:
    with MontyExecutor(max_print_outputs_length=10) as executor:
        executor.send_tools({"twice": twice})
        executor.send_variables({"x": 4})
        assert executor("y = twice(x)\nprint('z' * 50)").logs.startswith("zzzzzzzzzz\n... output cut")
        assert executor("y").output == 8
        assert executor.state["y"] == 8
        with pytest.raises(InterpreterError, match="ZeroDivisionError"):
            executor("1 / 0")


@tool
def weigh(thing: str) -> int:
    """Weighs a thing.

    Args:
        thing: What to weigh.
    """
    return len(thing)


def test_an_agent_answers_in_monty() -> None:
    programs = ["w = {name: weigh(name) for name in ['pea', 'bean']}\nprint(w)", "final_answer(max(w.values()))"]
    model = ScriptedModel([f"<code>\n{program}\n</code>" for program in programs])
    with CodeAgent([weigh], model, executor_type="monty", verbosity_level=LogLevel.OFF, journal=None) as agent:
        assert agent.run("go") == 4


def test_what_stands_before_the_last_expression_changes_no_line() -> None:
    for code in ("x", "(x,\n y)", "a; 'é', x  # remark", "(\n  x\n)\n\n# end", "f'''\n{x}\n'''", "x if y else (z)"):
        fed = read_program(code).fed
        assert len(fed.split("\n")) == len(code.split("\n")) + 1
        assert isinstance(ast.parse(fed).body[-2], ast.Expr)
    assert read_program("x = 1\r\nif x:\r\n    x").fed == "x = 1\nif x:\n    x\nNone"


def test_line_ends_of_other_systems(driver: Driver) -> None:
    assert driver.value("x = '''a\r\nb'''\r\nx") == "a\nb"
    assert driver.value(textwrap.dedent("\f\nx = 1\nx")) == 1
