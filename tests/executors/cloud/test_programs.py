"""Programs in the sandboxes of cloud services, over the services' own protocols."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.cloud.machines import processes_of
from tests.executors.driving import WAITER, Driver
from tests.waiting import eventually

from actloop import CodeAgent, LogLevel, ScriptedModel, tool
from actloop.errors import InterpreterError
from actloop.executors.session import SandboxLimits
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from tests.executors.cloud.conftest import Cloud


def test_variables_live_on_and_the_last_value_comes_back(cloud: Cloud) -> None:
    executor = cloud.make()
    assert executor("x = 20\nprint('hello')\nx + 1").output == 21
    output = executor("x += 1\nprint('again', x)\nx")
    assert (output.output, output.logs) == (21, "again 21\n")
    assert len(cloud.service.machines) == 1


def test_values_of_every_size_and_kind_cross_both_ways(cloud: Cloud) -> None:
    executor = cloud.make()
    big, odd = os.urandom(3 << 20), "\x00\x1b[2J…\N{SNOWMAN}\r\n"
    executor.send_variables({"big": big, "odd": odd})
    assert executor("big, odd").output == (big, odd)


def test_tools_run_here(cloud: Cloud) -> None:
    executor = cloud.make()

    def add(a: int, b: int = 0, *, c: int = 0) -> int:
        return a + b + c

    executor.send_tools({"where": os.getpid, "add": add})
    assert executor("where(), add(1, b=2, c=3)").output == (os.getpid(), 6)
    with pytest.raises(InterpreterError, match="TypeError"):
        executor("add()")


def test_what_fails_there_says_so_here_and_the_session_goes_on(cloud: Cloud) -> None:
    executor = cloud.make()
    executor("x = 1")
    with pytest.raises(InterpreterError, match=r"(?s)line 2.*ZeroDivisionError"):
        executor("y = 0\nx / y")
    assert executor("x").output == 1


def test_the_end_of_an_agent_is_the_end_of_its_sandbox(cloud: Cloud) -> None:
    @tool
    def double(value: int) -> int:
        """Double a number.

        Args:
            value: The number.
        """
        return 2 * value

    model = ScriptedModel(["<code>\ntwice = double(21)\n</code>", "<code>\nfinal_answer(twice)\n</code>"])
    agent = CodeAgent([double], model, executor=cloud.make(), verbosity_level=LogLevel.OFF)
    with agent:
        assert agent.run("Double 21.") == 42
    assert len(cloud.service.machines) == 1
    cloud.close()
    assert len(cloud.service.asked(cloud.remove)) == 1


def test_an_agent_that_is_an_agents_tool_is_called_from_there(cloud: Cloud) -> None:
    inner = CodeAgent(
        [],
        ScriptedModel(["<code>\nfinal_answer('deep')\n</code>"]),
        name="diver",
        description="Dives.",
        executor=cloud.make(),
        verbosity_level=LogLevel.OFF,
    )
    model = ScriptedModel(["<code>\nfinal_answer(diver('dive'))\n</code>"])
    outer = CodeAgent([], model, managed_agents=[inner], executor=cloud.make(), verbosity_level=LogLevel.OFF)
    with outer, inner:
        assert "deep" in str(outer.run("Dive."))
    assert len(cloud.service.machines) == 2


def test_the_asynchronous_runtime_does_not_block(cloud: Cloud) -> None:
    async def many() -> list[Any]:
        agents = [
            CodeAgent(
                [],
                ScriptedModel([f"<code>\nfinal_answer({number})\n</code>"]),
                executor=cloud.make(),
                verbosity_level=LogLevel.OFF,
            )
            for number in range(3)
        ]
        answers = await asyncio.gather(*(agent.arun("Count.") for agent in agents))
        for agent in agents:
            agent.cleanup()
        return list(answers)

    assert asyncio.run(many()) == [0, 1, 2]


@pytest.mark.parametrize(
    "code", ["while True: pass", "10 ** 10 ** 8", "try:\n  while True: pass\nexcept BaseException:\n  while True: pass"]
)
def test_a_program_that_takes_too_long_is_ended(code: str, cloud: Cloud) -> None:
    driver = Driver(run_now(cloud.make(timeout_seconds=0.7).open_session(WAITER)))
    ended = driver.run(code)
    assert ended.failure is not None
    assert ended.failure.kind == "TimeoutError"
    driver.session.close()


def test_an_interrupt_reaches_a_running_program(cloud: Cloud) -> None:
    begun = threading.Event()
    driver = Driver(run_now(cloud.make().open_session(WAITER)), begin=begun.set)
    threading.Thread(target=lambda: (begun.wait(), driver.session.interrupt())).start()
    ended = driver.run("begin()\nwhile True: pass")
    assert ended.failure is not None
    assert ended.failure.kind == "KeyboardInterrupt"
    assert driver.value("1 + 1") == 2
    driver.session.close()


def test_memory_processes_and_output_are_limited(cloud: Cloud) -> None:
    limits = SandboxLimits(memory=128 << 20, output=100)
    driver = Driver(run_now(cloud.make(["os"], limits=limits).open_session(WAITER)))
    failure = driver.run("x = 'x' * 10 ** 9").failure
    assert failure is not None
    assert failure.kind == "MemoryError"
    assert len(driver.run("print('y' * 1000)").logs) < 300
    driver.session.close()


def test_a_limit_that_no_service_keeps_is_refused(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match="disk"):
        cloud.make(limits=SandboxLimits(disk=1 << 20))


def test_programs_have_neither_the_rights_of_the_service_nor_a_network(cloud: Cloud) -> None:
    executor = cloud.make(["os", "socket", "ctypes"])
    program = f"""
import os, socket
def reaches(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
os.getuid(), reaches({cloud.service.url.rpartition(":")[2]}), socket.if_nameindex()
"""
    user, reached, networks = executor(program).output
    assert not reached
    assert [name for _number, name in networks] == ["lo"]
    if os.geteuid() == 0:
        assert user > 1000
        with pytest.raises(InterpreterError, match="PermissionError"):
            executor("os.kill(os.getppid(), 9)")


def test_a_program_cannot_gain_rights_back(cloud: Cloud) -> None:
    executor = cloud.make(["os", "ctypes"])
    line = "[text for text in open('/proc/self/status') if text.startswith('NoNewPrivs')]"
    assert executor(line).output == ["NoNewPrivs:\t1\n"]


def test_requests_leave_by_the_hosts_of_allow_hosts_only(cloud: Cloud) -> None:
    host = cloud.service.url.removeprefix("http://")
    program = f"""
import urllib.request
def ask(address):
    try:
        return urllib.request.urlopen(address, timeout=10).status
    except OSError as error:
        return getattr(error, "code", None) or repr(error)
ask("http://{host}/health"), ask("http://127.0.0.1:9/")
"""
    executor = cloud.make(allow_hosts=[host])
    allowed, other = executor(program).output
    assert allowed in (401, 502), "the stand-in itself has answered: it wants credentials"
    assert other == 403
    assert host in executor.instructions()


def test_a_session_with_an_open_network_promises_no_hosts(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match="allow_internet_access"):
        cloud.make(allow_internet_access=True, allow_hosts=["example.org"])


def test_snapshots_move_from_one_sandbox_to_another(cloud: Cloud) -> None:
    first, second = cloud.make(), cloud.make()
    first("x = [1, 2]\ndef twice(n): return 2 * n")
    snapshot = first.snapshot()
    first.cleanup()
    second.restore(snapshot)
    assert second("twice(len(x))").output == 4


def test_what_is_printed_before_the_guest_begins_does_no_harm(cloud: Cloud) -> None:
    assert cloud.make()("1").output == 1, "the machine's shell greets whoever logs in"


# ---- ends


def test_a_session_ends_its_sandbox(cloud: Cloud) -> None:
    executor = cloud.make()
    executor("x = 1")
    (name,) = cloud.service.machines
    assert processes_of(name)
    executor.cleanup()
    executor.cleanup()
    executor.delete()
    cloud.service.wait_empty()
    assert len(cloud.service.asked(cloud.remove)) == 1
    assert executor("2").output == 2, "a later call begins in a sandbox of its own"


def test_sandboxes_end_although_their_removal_fails_at_first(cloud: Cloud) -> None:
    from tests.executors.cloud.service import Fault

    executor = cloud.make()
    executor("x = 1")
    cloud.service.faults.append(Fault(cloud.remove, 500, "{}", times=2))
    executor.cleanup()
    cloud.service.wait_empty()
    assert len(cloud.service.asked(cloud.remove)) == 3


def test_a_sandbox_that_is_killed_by_its_service_is_a_lost_session(cloud: Cloud) -> None:
    executor = cloud.make()
    executor("x = 1")
    for machine in cloud.service.machines.values():
        machine.remove()
    with pytest.raises(InterpreterError, match=r"(?s)sandbox.*gone"):
        executor("x")
    assert executor("'new'").output == "new"


def test_a_guest_that_dies_is_a_lost_session(cloud: Cloud) -> None:
    executor = cloud.make(["os"])
    with pytest.raises(InterpreterError, match=r"(?s)ended.*gone"):
        executor("import os\nos._exit(3)")
    assert executor("'new'").output == "new"


def test_nothing_is_left_of_sessions_side_by_side(cloud: Cloud) -> None:
    executor = cloud.make()

    def one(number: int) -> None:
        session = run_now(executor.open_session(WAITER))
        assert Driver(session).value(f"{number} * 2") == number * 2
        session.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cloud.close()
    assert eventually(lambda: not _threads()), _threads()


def _threads() -> list[str]:
    """The threads that belong to sessions."""
    ours = ("actloop-cloud", "actloop-keeper")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(ours)]


HOST = """
import sys, time
from tests.executors.cloud.conftest import cloud_of
class There: pass
service = There()
service.options = {options!r}
executor = cloud_of({name!r}, service).make()
executor("x = 1")
print("ready", flush=True)
{then}
"""


@pytest.mark.parametrize(("then", "ended"), [("", True), ("raise KeyboardInterrupt", True), ("time.sleep(60)", False)])
def test_the_end_of_the_host_ends_the_sandbox(then: str, ended: bool, cloud: Cloud) -> None:
    name = "e2b" if cloud.kind.service == "E2B" else "blaxel"
    script = HOST.format(options=cloud.service.options, name=name, then=then)
    root = Path(__file__).parents[3]
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root)
    assert host.stdout is not None
    with host, host.stdout:
        assert host.stdout.readline() == b"ready\n"
        if ended:
            host.wait(60)
            cloud.service.wait_empty()
        else:
            host.kill()
            host.wait()
            assert cloud.service.live(), "the service ends it: nobody else can"
            for machine in cloud.service.machines.values():
                machine.remove()
