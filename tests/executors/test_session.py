"""Sessions in the real sandbox: tools, time, interrupts, output, and the death of a guest."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER, Driver
from tests.waiting import eventually

from actloop.errors import AgentInterruptedError, InterpreterError
from actloop.executors.guest_session import GuestSession
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import Call, Finished, RemoteTool, SandboxLimits, Session
from actloop.executors.waiting import BlockingWaiter, run_now
from actloop.guest import Opaque

if TYPE_CHECKING:
    from collections.abc import Iterator


class Opener:
    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def __call__(self, limits: SandboxLimits | None = None, imports: list[str] | None = None, **tools: Any) -> Driver:
        executor = LocalPythonExecutor(imports or [], limits=limits)
        session = run_now(executor.open_session(WAITER))
        self.sessions.append(session)
        return Driver(session, **tools)


@pytest.fixture
def open_driver() -> Iterator[Opener]:
    opener = Opener()
    yield opener
    for session in opener.sessions:
        session.close()


STUBBORN = """
n = 0
while True:
    try:
        n += 1
        while True:
            try:
                n += 1
                while True: n += 1
            except BaseException: n += 1
    except BaseException: n += 1
"""
"""Catches what is thrown at it. (CPython leaves a loop that is the first statement of a `try` past its `except`.)"""


def stop(*_: Any) -> None:
    raise StopIteration


def mine(_: Any) -> str:
    return "mine"


def echo(value: Any) -> Any:
    return value


def add(a: Any, b: Any = 1) -> Any:
    return a + b


def test_variables_imports_and_definitions_live_on(open_driver: Opener) -> None:
    driver = open_driver()
    assert driver.value("import math\nx = [1]\ndef f():\n    x.append(math.pi)\n    return x") is None
    assert driver.value("f()\nx") == [1, 3.141592653589793]
    assert driver.value("x = 5") is None
    assert driver.value("x; x + 1;") == 6
    assert driver.value("") is None


def test_prints_come_back_in_order_and_while_the_program_runs(open_driver: Opener) -> None:
    driver = open_driver(add=add)
    ended = driver.run(
        "import sys, time\nprint('a', 1, sep='-', end='!\\n')\nadd(1)\nprint('err', file=sys.stderr)\n"
        "sys.stdout.write('raw\\n')\nsys.stdout.buffer.write(b'bytes\\n')\ntime.sleep(0.1)\nprint('late', flush=True)"
    )
    assert ended.logs == "a-1!\nerr\nraw\nbytes\nlate\n"
    assert "".join(driver.printed) == ended.logs
    assert driver.printed[0] == "a-1!\n"


def test_output_is_cut_with_a_notice(open_driver: Opener) -> None:
    driver = open_driver(SandboxLimits(output=100))
    ended = driver.run("for i in range(10**4): print('xxxxxxxxx')")
    assert ended.failure is None
    assert ended.logs.startswith("xxxxxxxxx\n" * 10)
    assert "output cut: more than 100 characters" in ended.logs
    assert len(ended.logs) < 300
    assert driver.run("print('again')").logs == "again\n"


def test_tools_answer_raise_and_take_any_value(open_driver: Opener) -> None:
    def fail(kind: str) -> None:
        raise {"key": KeyError("k"), "own": type("OwnError", (Exception,), {})("mine")}[kind]

    def cycle() -> Any:
        loop: list[Any] = []
        loop.append(loop)
        return loop

    driver = open_driver(add=add, fail=fail, cycle=cycle)
    assert driver.value("add({1}, b=None) if False else add((1,), (2,))") == (1, 2)
    assert driver.value("list(map(add, [1, 2]))") == [2, 3]
    assert driver.value("try:\n    fail('key')\nexcept KeyError as e:\n    caught = e.args\ncaught") == ("k",)
    assert driver.value("try:\n    fail('own')\nexcept Exception as e:\n    n = type(e).__name__, str(e)\nn") == (
        "OwnError",
        "mine",
    )
    failure = driver.run("fail('own')").failure
    assert failure is not None
    assert (failure.kind, failure.message, failure.line) == ("OwnError", "mine", 1)
    assert failure.traceback.endswith("OwnError: mine\n")
    assert driver.value("try:\n    cycle()\nexcept ValueError as e:\n    n = str(e)\nn").startswith(
        "the result of cycle"
    )
    assert driver.value("try:\n    l = []; l.append(l); add(l)\nexcept ValueError as e:\n    n = str(e)\nn").startswith(
        "add() cannot be called with these arguments"
    )
    assert isinstance(driver.value("add"), Opaque)


def test_a_tool_comes_before_the_builtin_of_its_name_until_the_program_takes_the_name(open_driver: Opener) -> None:
    driver = open_driver(sum=mine, print=mine)
    assert driver.value("sum([1])") == "mine"
    assert driver.value("print('x')") == "mine"
    assert driver.value("sum = 5\nsum") == 5
    run_now(driver.session.define(WAITER, tools=[RemoteTool("sum")]))
    assert driver.value("sum([1])") == "mine"


def test_calls_from_threads(open_driver: Opener) -> None:
    driver = open_driver(add=add)
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(16) as pool:\n    values = list(pool.map(add, range(300)))\n"
        "values == [n + 1 for n in range(300)], add(5)"
    )
    assert driver.value(code) == (True, 6)
    assert all(call.concurrent for call in driver.calls[:-1])
    assert not driver.calls[-1].concurrent


def test_many_calls_open_at_once_are_answered_in_any_order(open_driver: Opener) -> None:
    driver = open_driver(a_add=add, add=add)
    run_now(
        driver.session.start(
            "import asyncio, threading\nfound = []\n"
            "ts = [threading.Thread(target=lambda n=n: found.append(add(n))) for n in range(8)]\n"
            "for t in ts: t.start()\n"
            "got = await asyncio.gather(*[a_add(n) for n in range(40)])\n"
            "for t in ts: t.join()\ngot, sorted(found)",
            WAITER,
        )
    )
    held: list[Call] = []
    while len(held) < 48:
        event = run_now(driver.session.receive(WAITER))
        assert isinstance(event, Call)
        assert event.concurrent
        held.append(event)
    for call in reversed(held):
        driver.answer(call)
    assert driver.finish().output == ([n + 1 for n in range(40)], [n + 1 for n in range(8)])


def test_more_calls_than_may_be_open_wait_their_turn(open_driver: Opener) -> None:
    driver = open_driver(a_add=add)
    code = "import asyncio\nsum(await asyncio.gather(*[a_add(n) for n in range(700)]))"
    assert driver.value(code) == sum(range(701))


def test_async_tools_await_inside_a_loop_and_block_outside(open_driver: Opener) -> None:
    driver = open_driver(a_add=add, add=add)
    assert driver.value("a_add(1)") == 2
    assert driver.value(
        "import asyncio\nasync def main():\n    return await a_add(1), add(2)\nasyncio.run(main())"
    ) == (
        2,
        3,
    )
    assert driver.value("await asyncio.wait_for(a_add(3), 5)") == 4
    assert driver.value("t = asyncio.create_task(a_add(4))\nawait asyncio.sleep(0)\nawait t") == 5


def test_an_answer_ends_the_program_at_the_call(open_driver: Opener) -> None:
    driver = open_driver(final_answer=stop, a_final=stop)
    programs = [
        "print('before')\nfinal_answer(1)\nprint('after')",
        "try:\n    final_answer(1)\nexcept Exception:\n    print('after')",
        "import asyncio\nasync def f():\n    await a_final(1)\n    print('after')\nasyncio.run(f())",
        "import threading\nt = threading.Thread(target=final_answer)\nt.start()\nt.join()\nimport time\ntime.sleep(20)",
    ]
    for code in programs:
        ended = driver.run(code)
        assert ended.failure is None
        assert "after" not in ended.logs
    assert driver.value("1") == 1


def test_an_answer_ends_even_a_program_that_swallows_everything(open_driver: Opener) -> None:
    driver = open_driver(final_answer=stop)
    ended = driver.run(STUBBORN.replace("while True: n += 1", "final_answer(1)"))
    assert ended.failure is not None
    assert ended.failure.lost
    assert not driver.session.alive


@pytest.mark.usefixtures("ample_grace")
def test_time_is_up_and_the_session_lives(open_driver: Opener) -> None:
    driver = open_driver(SandboxLimits(wall=2))
    assert driver.value("x = 7") is None
    for code in ("while True: pass", "import time\ntime.sleep(60)", "import asyncio\nawait asyncio.sleep(60)"):
        failure = driver.run(code).failure
        assert failure is not None
        assert (failure.kind, failure.lost) == ("TimeoutError", False)
        assert "2 seconds" in failure.message
    assert driver.value("x") == 7


@pytest.mark.parametrize(
    "code",
    [
        STUBBORN,
        "import threading\nthreading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()\nwhile True: pass",
        "try:\n    n = 0\n    while True: n += 1\nfinally:\n    while True: n += 1",
        "def f():\n    try:\n        f()\n    finally:\n        f()\nf()",
        "import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\nwhile True: pass",
    ],
)
def test_time_is_up_and_the_guest_is_killed(code: str, open_driver: Opener) -> None:
    driver = open_driver(SandboxLimits(wall=2), ["signal"])
    ended = driver.run("print('p')\n" + code)
    assert ended.failure is not None
    assert (ended.failure.kind, ended.failure.lost) == ("TimeoutError", True)
    assert "killed" in ended.failure.message
    assert "gone" in ended.failure.hint
    assert ended.logs in ("", "p\n")  # what it held back died with it
    assert not driver.session.alive


@pytest.mark.parametrize(
    "code", ["10 ** 10 ** 8", "import re\nre.match('(a+)+$', 'a' * 60 + 'b')", "sum(range(10**12))"]
)
def test_time_is_up_in_code_written_in_c(code: str, open_driver: Opener) -> None:
    failure = open_driver(SandboxLimits(wall=0.3)).run(code).failure
    assert failure is not None
    assert failure.kind == "TimeoutError"


def test_time_in_which_the_host_works_is_not_counted(open_driver: Opener) -> None:
    driver = open_driver(SandboxLimits(wall=2), slow=lambda: time.sleep(1.2))
    assert driver.value("slow()\nslow()\n1") == 1


def test_cpu_time_that_a_thread_burns_meanwhile_is_counted(open_driver: Opener) -> None:
    def slow() -> None:
        assert isinstance(driver.session, GuestSession)
        process = driver.session._process  # pyright: ignore[reportPrivateUsage]
        before = process.cpu_time() or 0.0
        assert eventually(lambda: (process.cpu_time() or 0.0) - before > 1.1)

    driver = open_driver(SandboxLimits(wall=1), slow=slow)
    burn = (
        "import threading\nt = threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True)\nt.start()\n"
    )
    failure = driver.run(burn + "slow()\nimport time\ntime.sleep(0.9)").failure
    assert failure is not None
    assert failure.kind == "TimeoutError"


@pytest.mark.parametrize(
    "code", ["import time\nready()\ntime.sleep(60)", "ready()\nwhile True: pass", "ready()\nwait_for_it()"]
)
def test_an_interrupt_ends_the_program_and_the_session_lives(code: str, open_driver: Opener) -> None:
    driver = open_driver(ready=lambda: None)
    run_now(driver.session.define(WAITER, tools=[RemoteTool("wait_for_it")]))
    run_now(driver.session.start("x = 7\n" + code, WAITER))
    call = run_now(driver.session.receive(WAITER))
    assert isinstance(call, Call)
    driver.answer(call)
    if "wait_for_it" in code:
        assert isinstance(run_now(driver.session.receive(WAITER)), Call)
    driver.session.interrupt()
    failure = driver.finish().failure
    assert failure is not None
    assert (failure.kind, failure.lost) == ("KeyboardInterrupt", False)
    assert driver.value("x") == 7


def test_what_a_thread_printed_before_an_interrupt_arrives(open_driver: Opener) -> None:
    """The program's own thread waits for a call, and hears of nothing any more once it was interrupted."""
    driver = open_driver(ready=lambda: None)
    code = """
import threading, time
threading.Thread(target=lambda: (time.sleep(0.2), print('half a line', end=''))).start()
try:
    wait_for_it()
except BaseException:
    sum(range(10 ** 13))
"""
    run_now(driver.session.define(WAITER, tools=[RemoteTool("wait_for_it")]))
    run_now(driver.session.start(code, WAITER))
    assert isinstance(run_now(driver.session.receive(WAITER)), Call)
    timer = threading.Timer(3.0, driver.session.interrupt)
    timer.start()
    ended = driver.finish()
    timer.join()
    assert ended.failure is not None
    assert ended.failure.lost
    assert ended.logs == "half a line"


def test_an_interrupt_from_another_thread_kills_what_does_not_end(open_driver: Opener) -> None:
    driver = open_driver()
    timer = threading.Timer(1.0, driver.session.interrupt)
    driver.tools["ready"] = timer.start
    run_now(driver.session.define(WAITER, tools=[RemoteTool("ready")]))
    failure = driver.run(f"ready()\n{STUBBORN}").failure
    timer.join()
    assert failure is not None
    assert (failure.kind, failure.lost) == ("KeyboardInterrupt", True)


def test_interrupts_in_the_middle_of_calls_leave_the_protocol_whole(open_driver: Opener) -> None:
    driver = open_driver(add=add)
    for delay in range(25):
        run_now(driver.session.start("while True:\n    print(add(1), 'x' * 50)", WAITER))
        timer = threading.Timer(0.002 + delay * 0.0007, driver.session.interrupt)
        timer.start()
        failure = driver.finish().failure
        timer.join()
        assert failure is not None
        assert (failure.kind, failure.lost) == ("KeyboardInterrupt", False)
        assert driver.value("add(40, 2)") == 42


def test_memory_is_limited_and_the_session_lives(open_driver: Opener) -> None:
    driver = open_driver(SandboxLimits(memory=128 << 20))
    for code in ("x = 'a' * 10**10", "y = [0] * 10**9", "b = bytearray(10**10)"):
        failure = driver.run(code).failure
        assert failure is not None
        assert (failure.kind, failure.lost) == ("MemoryError", False)
    assert driver.value("1 + 1") == 2


@pytest.mark.parametrize("code", ["import sys\nsys.exit(3)", "exit()", "quit(1)", "raise SystemExit"])
def test_exit_ends_the_program_only(code: str, open_driver: Opener) -> None:
    driver = open_driver()
    driver.run("x = 7")
    failure = driver.run(code).failure
    assert failure is not None
    assert (failure.kind, failure.lost) == ("SystemExit", False)
    assert driver.value("x") == 7


@pytest.mark.parametrize("code", ["import os\nos._exit(0)", "import ctypes\nctypes.string_at(0)"])
def test_a_guest_that_dies_is_reported(code: str, open_driver: Opener) -> None:
    driver = open_driver(imports=["os", "ctypes"])
    ended = driver.run(code)
    assert ended.failure is not None
    assert (ended.failure.kind, ended.failure.lost) == ("SandboxCrash", True)
    assert "variables" in ended.failure.hint
    assert not driver.session.alive
    with pytest.raises(InterpreterError, match="open a new session"):
        driver.run("1")


def test_threads_left_behind_get_no_time_and_no_tools(open_driver: Opener) -> None:
    driver = open_driver(add=add)
    driver.run(
        "import threading, time\nerrors = []\ndef work():\n    try:\n        while True:\n            add(1)\n"
        "    except BaseException as e:\n        errors.append(str(e))\n"
        "t = threading.Thread(target=work, daemon=True)\nt.start()\ntime.sleep(0.02)"
    )
    assert driver.value("t.join(60)\nerrors") in (
        ["the program has ended"],
        ["tools can be called only while the program runs"],
    )


def test_what_cannot_leave_comes_as_its_repr(open_driver: Opener) -> None:
    driver = open_driver()
    assert driver.value("(i for i in range(3))").type_name == "generator"
    assert driver.value("l = []\nl.append(l)\nl").text == "[[...]]"
    assert driver.value("b'x' * (40 << 20)").type_name == "bytes"
    assert driver.value("class A:\n    def __repr__(self): return 'an A'\n[A(), 1]") == [Opaque("an A", "A"), 1]


def test_a_variable_that_cannot_be_sent_is_named(open_driver: Opener) -> None:
    driver = open_driver()
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InterpreterError, match=r"'loop'.*contains itself"):
        run_now(driver.session.define(WAITER, variables={"ok": 1, "loop": loop}))


def test_large_values_cross_both_ways(open_driver: Opener) -> None:
    big = b"ab" * (4 << 20)
    driver = open_driver(echo=echo)
    run_now(driver.session.define(WAITER, variables={"big": big}))
    assert driver.value("echo(big) == big") is True
    assert driver.value("big") == big


def test_a_large_answer_to_a_guest_that_sends_much_does_not_block(open_driver: Opener) -> None:
    driver = open_driver(SandboxLimits(output=10_000_000), big=lambda: b"x" * (8 << 20))
    code = (
        "import threading\ndef chatter():\n    for _ in range(200): print('y' * 20000)\n"
        "t = threading.Thread(target=chatter)\nt.start()\nn = len(big())\nt.join()\nn"
    )
    assert driver.value(code) == 8 << 20


def test_large_arguments_and_answers_of_asynchronous_tools_do_not_block_each_other(open_driver: Opener) -> None:
    driver = open_driver(a_echo=bytes)
    code = "import asyncio\nsum(map(len, await asyncio.gather(*(a_echo(b'x' * (4 << 20)) for _ in range(3)))))"
    assert driver.value(code) == 12 << 20


def test_only_one_program_runs_at_a_time(open_driver: Opener) -> None:
    driver = open_driver(add=add)
    run_now(driver.session.start("add(1)", WAITER))
    with pytest.raises(InterpreterError, match="running"):
        run_now(driver.session.start("1", WAITER))
    assert driver.finish().output == 2
    with pytest.raises(InterpreterError, match="No program"):
        run_now(driver.session.receive(WAITER))


def test_close_may_be_called_twice_and_from_any_thread(open_driver: Opener) -> None:
    driver = open_driver()
    thread = threading.Thread(target=driver.session.close)
    thread.start()
    thread.join()
    driver.session.close()
    assert not driver.session.alive


class Loop(BlockingWaiter):
    """A waiter on a running event loop."""

    async def ready(self, fd: int, *, write: bool = False, timeout: float | None = None) -> bool:
        loop, found = asyncio.get_running_loop(), asyncio.Event()
        add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
        add(fd, found.set)
        try:
            await asyncio.wait_for(found.wait(), timeout)
        except TimeoutError:
            return False
        finally:
            remove(fd)
        return True


async def test_many_sessions_on_one_event_loop() -> None:
    executor = LocalPythonExecutor([])

    async def one(number: int) -> Any:
        session = await executor.open_session(Loop())
        try:
            await session.define(Loop(), tools=[RemoteTool("add")])
            await session.start(f"x = add({number})\nimport time\ntime.sleep(0.05)\nx", Loop())
            while not isinstance(event := await session.receive(Loop()), Finished):
                assert isinstance(event, Call)
                await session.answer(event.id, event.args[0] + 1, Loop())
            return event.output
        finally:
            session.close()

    assert await asyncio.gather(*(one(number) for number in range(12))) == list(range(1, 13))


class Interrupted(BlockingWaiter):
    """A waiter of a run that is interrupted at once."""

    async def ready(self, fd: int, *, write: bool = False, timeout: float | None = None) -> bool:
        raise AgentInterruptedError("now")


def test_a_run_interrupted_while_it_waits_can_end_its_program(open_driver: Opener) -> None:
    driver = open_driver()
    run_now(driver.session.start("while True: pass", WAITER))
    with pytest.raises(AgentInterruptedError):
        run_now(driver.session.receive(Interrupted()))
    driver.session.interrupt()
    failure = driver.finish().failure
    assert failure is not None
    assert failure.kind == "KeyboardInterrupt"
    with pytest.raises(AgentInterruptedError):
        run_now(LocalPythonExecutor([]).open_session(Interrupted()))


def test_a_call_that_takes_long_does_not_save_a_program_whose_time_is_up(open_driver: Opener) -> None:
    driver = open_driver(SandboxLimits(wall=2))
    run_now(driver.session.define(WAITER, tools=[RemoteTool("slow")]))
    code = (
        "import threading, time\nthreading.Thread(target=slow, daemon=True).start()\nn = 0\n"
        "while True:\n    try:\n        n += 1\n        while n % 10**6: n += 1\n"
        "    except BaseException:\n        while True: time.sleep(1)"
    )
    run_now(driver.session.start(code, WAITER))
    assert isinstance(run_now(driver.session.receive(WAITER)), Call)
    failure = driver.finish().failure
    assert failure is not None
    assert (failure.kind, failure.lost) == ("TimeoutError", True)
