"""Limits and ends: that each limit holds what is over it and nothing else, in every executor at the same place and in
the same words; interrupts, crashes, and what is there afterwards."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER, Driver

from actloop import CodeAgent, LogLevel, ScriptedModel
from actloop.executors.reaper import REAPER
from actloop.executors.session import Finished, Printed, SandboxLimits
from actloop.executors.waiting import run_now
from actloop.guest import Opaque

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.executors.contract.kit import Subject

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
LATE = 10.0
"""Seconds over its limit after which a program counts as one that is never ended, on a machine that is busy too."""

IN_C = "x = 10 ** 10 ** 8\ny = str(x)"
DEAF = "sum(range(10 ** 13))"
"""Hears of nothing before it is killed."""


def limits(**fields: Any) -> dict[str, Any]:
    return {"limits": SandboxLimits(**fields)}


@pytest.mark.parametrize("code", ["while True:\n    pass", STUBBORN, IN_C, DEAF, "sum(n * n for n in range(10 ** 12))"])
def test_a_program_that_takes_too_long_is_ended(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(limits(wall=1.0))
    begun = time.monotonic()
    ended = driver.run("print('begun')\n" + code)
    assert time.monotonic() - begun < 1.0 + LATE
    assert ended.failure is not None
    assert ended.failure.kind == "TimeoutError"
    assert ended.logs == "begun\n"
    assert driver.session.alive is not ended.failure.lost
    if driver.session.alive:
        assert driver.value("1 + 1") == 2


def test_a_session_of_which_the_guest_died_says_so(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(limits(wall=2.0))
    failure = driver.run(STUBBORN).failure
    assert failure is not None
    assert failure.lost
    assert "gone" in failure.hint
    assert not driver.session.alive


def test_time_that_the_host_takes_is_not_counted(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(limits(wall=1.0), slow=lambda: time.sleep(1.5))
    assert driver.value("slow()\n'done'") == "done"


@pytest.mark.needs("crash")
def test_a_guest_that_ends_itself_is_lost_and_the_next_session_works(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"imports": ["*"]})
    failure = driver.run("print('before')\nimport os\nos._exit(3)").failure
    assert failure is not None
    assert (failure.kind, failure.lost) == ("SandboxCrash", True)
    assert not driver.session.alive
    assert open_driver().value("1") == 1


@pytest.mark.needs("crash")
def test_an_agent_goes_on_after_a_crash(make: Callable[..., Any]) -> None:
    replies = ["x = 1\nimport os\nos._exit(3)", "final_answer('x' in globals())"]
    programs = [f"<code>\n{reply}\n</code>" for reply in replies]
    with CodeAgent(
        [],
        ScriptedModel(programs),
        executor=make(["*"]),
        additional_authorized_imports=["*"],
        verbosity_level=LogLevel.OFF,
        journal=None,
    ) as agent:
        assert agent.run("go") is False
        assert "variables" in str(getattr(agent.memory.steps[1], "error", ""))


def interrupted(driver: Driver, code: str) -> Finished:
    """Run a program and interrupt it when it has printed something."""
    run_now(driver.session.start(code, WAITER))
    timer: threading.Timer | None = None
    try:
        while True:
            event = run_now(driver.session.receive(WAITER))
            if isinstance(event, Finished):
                return event
            if isinstance(event, Printed) and timer is None:
                timer = threading.Timer(0.05, driver.session.interrupt)
                timer.start()
    finally:
        if timer is not None:
            timer.join()


@pytest.mark.parametrize("code", ["while True:\n    pass", STUBBORN, DEAF])
def test_what_was_printed_before_an_interrupt_arrives(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    run_now(driver.session.start("for n in range(20):\n    print('line', n)\n" + code, WAITER))
    timer = threading.Timer(0.5, driver.session.interrupt)
    timer.start()
    ended = driver.finish()
    timer.join()
    assert ended.failure is not None
    assert ended.failure.kind == "KeyboardInterrupt"
    assert ended.logs == "".join(f"line {n}\n" for n in range(20))
    assert "".join(driver.printed) == ended.logs


@pytest.mark.needs("interrupt")
def test_an_interrupt_ends_a_program_and_keeps_the_session(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    ended = interrupted(driver, "x = 1\nprint('b' * 9000)\nwhile True:\n    x += 1")
    assert ended.failure is not None
    assert (ended.failure.kind, ended.failure.lost) == ("KeyboardInterrupt", False)
    assert driver.value("x > 0") is True


def test_closing_a_session_that_runs(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    run_now(driver.session.start("while True:\n    pass", WAITER))
    timer = threading.Timer(0.2, driver.session.close)
    timer.start()
    ended = run_now(driver.session.receive(WAITER))
    timer.join()
    assert isinstance(ended, Finished)
    assert ended.failure is not None
    assert ended.failure.lost
    driver.session.close()


def test_output_that_never_ends(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(limits(wall=1.5, output=10_000))
    ended = driver.run("while True:\n    print('x' * 100_000)")
    assert ended.failure is not None
    assert ended.failure.kind == "TimeoutError"
    assert len(ended.logs) < 10_400


# ---- each limit: what is over it is held, what is under it is not, and the session works afterwards

MIB = 1 << 20
SMALL = SandboxLimits(memory=96 * MIB, files=32, processes=8, disk=4 * MIB, output=1000, value=100_000)
"""The limits of one session that several tests use in turn, as far as an executor enforces them."""


def echo(value: Any) -> Any:
    return value


class Held:
    """Sessions with small limits: a fresh one when the last has died.

    Attributes:
        enforced: The limits that the executor enforces.
    """

    def __init__(self, subject: Subject, options: Mapping[str, Any]) -> None:
        def make(limits: SandboxLimits | None) -> Any:
            imports = [] if "modules" in subject.lacks else ["*"]
            return subject.make(subject.name, imports, **options, **({"limits": limits} if limits else {}))

        executor = make(None)
        self.enforced: frozenset[str] = executor.enforced
        executor.cleanup()
        kept = {name: getattr(SMALL, name) for name in self.enforced - {"wall", "cpu"}}
        self._executor = make(SandboxLimits(**kept))
        self._driver: Driver | None = None

    @property
    def driver(self) -> Driver:
        """The live session."""
        if self._driver is None or not self._driver.session.alive:
            REAPER.flush(60)  # threads of a session that is still being removed may count as this one's
            self._driver = Driver(run_now(self._executor.open_session(WAITER)), echo=echo)
        return self._driver

    def hint(self, code: str, kind: str, then: str = "") -> str:
        """The hint of a program that goes over a limit, after which, and after another, the session works."""
        failure = self.driver.run(code).failure
        assert failure is not None
        assert (failure.kind, failure.lost) == (kind, False), failure
        self.driver.value(then)
        assert self.driver.value("6 * 7") == 42
        return failure.hint

    def close(self) -> None:
        """End it."""
        if self._driver is not None:
            self._driver.session.close()
        self._executor.cleanup()
        REAPER.flush(60)  # while the surroundings still stand


@pytest.fixture(scope="module")
def all_held(subject: Subject, surroundings: Mapping[str, Any]) -> Iterator[Held]:
    REAPER.flush(60)
    held = Held(subject, surroundings)
    yield held
    held.close()


@pytest.fixture
def held(request: pytest.FixtureRequest, subject: Subject, all_held: Held) -> Held:
    """Leave out limits that the executor does not promise; that it refuses them is a test of its own."""
    for mark in request.node.iter_markers("limit"):
        for name in mark.args:
            if name not in all_held.enforced:
                pytest.skip(f"{subject} has no {name}: it does not promise this limit")
    return all_held


@pytest.mark.limit("memory")
def test_all_data_together_takes_no_more_memory_than_its_limit(held: Held) -> None:
    code = """
kept = []
while True:
    kept.append("x" * 1_000_000 + str(len(kept)))
    count = len(kept)
"""
    hint = held.hint(code, "MemoryError", then="kept = None")
    assert 80 <= held.driver.value("count") <= 120  # a platform's own share is not the same everywhere
    assert "Work in smaller parts" in hint
    assert "96 MiB" in hint
    assert held.driver.value("len('x' * (64 << 20))") == 64 * MIB
    held.hint("y = 'x' * (128 << 20)", "MemoryError")
    assert held.driver.value("len('x' * (64 << 20))") == 64 * MIB


FILL = """
import os
written = 0
try:
    while True:
        with open(NAME, "ab", buffering=0) as file:
            written += file.write(bytes(1 << 19))
finally:
    pass
"""


@pytest.mark.needs("workspace")
@pytest.mark.limit("disk")
def test_all_files_together_take_no_more_than_the_limit_of_the_disk(held: Held) -> None:
    many, one = FILL.replace("NAME", "f'file-{written}'"), FILL.replace("NAME", "'file-0'")
    clean = "for name in os.listdir('.'):\n    if name.startswith('file-'): os.remove(name)"
    for code in (many, one):
        hint = held.hint(code, "OSError")
        assert hint.startswith("All files together may take 4 MiB here. Remove files")
        assert held.driver.value("written") == 4 * MIB
        assert "No space left on device" in held.driver.value(
            "try: open('file-more', 'wb').write(bytes(1 << 19))\nexcept OSError as error: said = str(error)\nsaid"
        )
        held.driver.value(clean)
    fit = "for n in range(7):\n    with open(f'file-{n}', 'wb') as file: file.write(bytes(1 << 19))\n"
    held.driver.value(fit + clean)


@pytest.mark.needs("workspace")
@pytest.mark.limit("files")
def test_no_more_files_are_open_than_the_limit(held: Held) -> None:
    fits = "kept = [open('/dev/null') for _ in range(20)]\nfor file in kept: file.close()\nlen(kept)"
    assert held.driver.value(fits) == 20
    code = "kept = []\ntry:\n    while True: kept.append(open('/dev/null'))\nfinally:\n    count = len(kept)\n    "
    hint = held.hint(code + "for file in kept: file.close()", "OSError")
    assert hint.startswith("At most 32 files may be open at once here.")
    assert 24 <= held.driver.value("count") < 32  # the guest has a few of its own
    assert held.driver.value(fits) == 20


THREADS = """
import os, threading, time
threading.stack_size(1 << 18)
over = threading.Event()
threads, children = [], []

def begin(count):
    for _ in range(count):
        thread = threading.Thread(target=over.wait, args=(10,))
        thread.start()
        threads.append(thread)

def fork(count):
    for _ in range(count):
        mine, theirs = os.pipe()
        child = os.fork()
        if not child:
            os.close(theirs)
            os.read(mine, 1)
            os._exit(0)
        children.append(child)
        os.close(mine)

def end():
    over.set()
    for thread in threads: thread.join()
    over.clear()
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    threads.clear()
    children.clear()

def most(first, act):
    counts = []
    for _ in range(10):  # what has just ended may still count
        try:
            begin(first)
            act(20)
        except (RuntimeError, OSError):
            counts.append(len(threads) + len(children))
        end()
        if counts.count(max(counts)) > 1: break
        time.sleep(0.1)
    return max(counts)
"""


@pytest.mark.needs("threads")
@pytest.mark.limit("processes")
def test_no_more_threads_and_processes_exist_than_the_limit(held: Held) -> None:
    held.driver.value(THREADS)
    assert held.driver.value("most(0, begin)") == 7  # and the main thread
    assert held.driver.value("most(3, fork)") in (3, 7)  # the former where there are no processes at all
    hint = held.hint("try: begin(20)\nfinally: end()", "RuntimeError")
    assert hint.startswith("At most 8 threads and processes may exist at once here.")
    assert held.driver.value("most(0, begin)") == 7


def test_output_is_kept_up_to_its_limit_exactly(held: Held) -> None:
    assert held.driver.run("print('x' * 999)").logs == "x" * 999 + "\n"
    cut = held.driver.run("print('x' * 1000)").logs
    assert cut.startswith("x" * 1000 + "\n... output cut: more than 1,000 characters were printed; print less")
    assert held.driver.run("for n in range(500): print(n % 10)").logs == "".join(f"{n % 10}\n" for n in range(500))


def test_a_value_crosses_up_to_its_limit(held: Held) -> None:
    driver = held.driver
    assert driver.value("'x' * 99_000") == "x" * 99_000
    assert driver.value("echo('x' * 99_000)[-1]") == "x"
    assert isinstance(driver.value("'x' * 100_001"), Opaque)
    failure = driver.run("echo('x' * 100_001)").failure
    assert failure is not None
    assert failure.kind == "ValueError"
    assert "echo() cannot be called with these arguments: the value is too large to be sent" in failure.message
    assert "at most 100,000 bytes may cross at once" in failure.message
    assert driver.value("len('x' * 100_001)") == 100_001


@pytest.mark.limit("cpu")
def test_processor_time_is_limited_in_each_program_anew(held: Held, open_driver: Callable[..., Driver]) -> None:
    assert "cpu" in held.enforced
    driver = open_driver({"imports": ["*"], **limits(wall=60.0, cpu=0.4)})
    for _ in range(3):
        driver.value("import time\nstart = time.process_time()\nwhile time.process_time() - start < 0.15: pass\nNone")
    driver.value("time.sleep(0.45)")
    failure = driver.run("while True:\n    pass").failure
    assert failure is not None
    assert failure.kind == "TimeoutError"
    assert "code used more than 0.4 seconds of processor time" in failure.message
    assert failure.hint.startswith("Use a faster method, or do less in one program.")


@pytest.mark.needs("threads")
@pytest.mark.limit("cpu")
def test_processor_time_of_all_threads_is_counted(held: Held, open_driver: Callable[..., Driver]) -> None:
    assert "cpu" in held.enforced
    driver = open_driver({"imports": ["*"], **limits(wall=60.0, cpu=0.4)})
    code = """
import threading, zlib
def work():
    while True: zlib.crc32(bytes(1 << 20))
threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    failure = driver.run(code).failure
    assert failure is not None
    assert failure.kind == "TimeoutError"
    assert "code used more than 0.4 seconds of processor time" in failure.message


def test_without_limits_programs_run_as_well(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(limits(wall=None, cpu=None, memory=None, files=None, processes=None))
    assert driver.value("sum(range(1000))") == 499_500
    assert driver.run("1 / 0").failure is not None
    assert driver.value("len('x' * (520 << 20))") == 520 << 20


def test_a_limit_of_the_disk_is_given_up_only_where_files_are_not_in_memory(make: Callable[..., Any]) -> None:
    executor = make()
    if not executor.files_in_memory:
        assert make(**limits(disk=None)).limits.disk is None
        return
    with pytest.raises(ValueError, match=f"{type(executor).__name__} keeps files in memory: give a limit of disk"):
        make(**limits(disk=None))
