"""Several executors, one after the other: when programs go on in the next one, and what goes with them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER, Driver

from actloop import CodeAgent, LogLevel, Record, ScriptedModel, tool
from actloop.errors import InterpreterError, SandboxUnavailableError
from actloop.executors.fallback import FallbackExecutor, fallback_executor
from actloop.executors.fallback_session import FallbackSession
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.monty import MontyExecutor
from actloop.executors.registry import make_executor
from actloop.executors.session import Call, Finished, SandboxLimits, Session, Snapshot, Waiter
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest.importorskip("pydantic_monty")
pytestmark = pytest.mark.timeout(60)


class Lines:
    """A logger that keeps what is printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str, **_: Any) -> None:
        self.lines.append(text)


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


@pytest.fixture
def open_driver() -> Iterator[Callable[..., Driver]]:
    made: list[Any] = []

    def open_driver(executors: list[Any] | None = None, **tools: Any) -> Driver:
        executor = FallbackExecutor(executors or [MontyExecutor(), LocalPythonExecutor()], Lines())
        session = run_now(executor.open_session(WAITER))
        made.extend((session, executor))
        return Driver(session, **tools)

    yield open_driver
    for session, executor in zip(made[::2], made[1::2], strict=True):
        session.close()
        executor.cleanup()


def place(driver: Driver) -> str:
    assert isinstance(driver.session, FallbackSession)
    return type(driver.session.session).__name__


def echo(value: Any) -> Any:
    return value


def twice(number: Any) -> Any:
    return 2 * number


def fail() -> None:
    raise KeyError("k")


# ---- moving


def test_a_program_that_needs_more_runs_in_the_next_one(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("x = [1, {'a': (2,)}]")
    assert place(driver) == "MontySession"
    assert driver.value("import statistics\nstatistics.mean([*x[:1], 3])") == 2
    assert place(driver) == "GuestSession"
    assert driver.value("x") == [1, {"a": (2,)}]
    assert place(driver) == "GuestSession"
    assert driver.printed == []


@pytest.mark.parametrize(
    "code",
    [
        "class A:\n    pass\nclass B(A):\n    n = 5\nB().n",
        "def g():\n    yield 5\nnext(g())",
        "import math, heapq\nheapq.nlargest(1, [5, 3])[0]",
        "from functools import wraps\n5",
        "import functools as f\nf.cmp_to_key and 5",
        "sorted(['5'], key=str.lower) and 5",
        "n = 1\ndel n\n5",
        "callable(len) and 5",
        "with open('f', 'w') as file:\n    file.write('x')\n5",
        "class A:\n    def __len__(self):\n        return 5\nlen(A())",
        "class A:\n    def __bool__(self):\n        return False\n5 if not A() else 6",
        "(5).bit_length() + 2",
    ],
)
def test_what_is_seen_beforehand(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    assert driver.value("print('shown')\n" + code) == 5
    assert driver.printed == ["shown\n"]
    assert place(driver) == "GuestSession"


def test_a_program_that_fails_by_its_own_fault_stays(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(fail=fail)
    for code in ("1 / 0", "undefined", "{}['k']", "import nonsense_of_mine", "x = (", "None.x", "[].nothing", "fail()"):
        failure = driver.run(code).failure
        assert failure is not None
        assert "another one" not in failure.hint
        assert place(driver) == "MontySession", code


def test_what_is_found_while_it_runs_is_run_again_from_the_beginning(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("n = [0]")
    assert driver.value("n.append(len(n))\nn[0] += 1\nm = n\ntype(m.__class__).__name__") == "type"
    assert place(driver) == "GuestSession"
    assert driver.value("n") == [1, 1]


@pytest.mark.parametrize("first", ["echo(1)", "print('shown')", "x = 1\necho(x)\nprint(x)"])
def test_no_program_is_half_run_twice(first: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(echo=echo)
    ended = driver.run(f"kept = 1\n{first}\n[].__class__\nkept = 2")
    assert ended.failure is not None
    assert "next program runs in another one" in ended.failure.hint
    assert len(driver.calls) == first.count("echo")
    assert driver.printed == (["shown\n"] if "shown" in first else ["1\n"] if "print" in first else [])
    assert driver.value("[kept, [].__class__.__name__]") == [1, "list"]
    assert place(driver) == "GuestSession"
    assert len(driver.calls) == first.count("echo")


def test_functions_and_imports_go_along_by_their_source(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("import math\nfrom collections import Counter\nlimit = 3")
    driver.value("def f(n, more=1):\n    return math.floor(n) + more + limit\nasync def g():\n    return 7")
    driver.value("math = 'no more a module'\nimport math")
    assert driver.value("import statistics\n[f(2.5), Counter('aa')['a'], await g()]") == [6, 2, 7]
    assert driver.printed == []


def test_the_model_is_told_what_was_left(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(echo=echo)
    driver.value("class P:\n    def __init__(self):\n        self.x = 1\np = P()\nq = [P]\nkept = 1")
    driver.value("def made(n=echo(5)):\n    return n\nadd = lambda n: n + 1")
    ended = driver.run("import statistics\nprint('go')\n[kept, p.x]")
    assert ended.output == [1, 1]
    told, _, rest = ended.logs.partition("\n")
    assert rest == "go\n"
    assert all(name in told for name in ("P", "q", "made", "add"))
    assert "kept" not in told
    assert "".join(driver.printed) == ended.logs
    assert len(driver.calls) == 1
    assert driver.value("p") == Record("P", {"x": 1})
    assert driver.run("2").logs == ""


def test_values_that_stayed_on_the_host_become_usable(open_driver: Callable[..., Driver]) -> None:
    import numpy as np

    driver = open_driver([MontyExecutor(), LocalPythonExecutor(["numpy"])], give=lambda: np.arange(4))
    driver.value("a = give()")
    assert driver.value("import numpy as np\nint(np.sum(a))") == 6


def test_tools_and_variables_of_the_host_are_there(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(echo=echo, a_twice=twice)
    driver.define(given={"n": 3})
    assert driver.value("import statistics\n[echo(given), await a_twice(2)]") == [{"n": 3}, 4]
    driver.define(more=5)
    assert driver.value("more") == 5


def test_asynchronous_calls_overlap_after_a_move(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(a_echo=echo)
    run_now(driver.session.start("import asyncio, statistics\nawait asyncio.gather(a_echo(1), a_echo(2))", WAITER))
    calls = [run_now(driver.session.receive(WAITER)) for _ in range(2)]
    for call in reversed(calls):
        assert isinstance(call, Call)
        driver.answer(call)
    assert driver.finish().output == [1, 2]


def test_three_in_a_row(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver([MontyExecutor(), Refusing(), LocalPythonExecutor()])
    driver.value("x = 1")
    assert driver.value("import statistics\nx") == 1
    assert place(driver) == "GuestSession"


def test_where_no_other_is_left_the_failure_is_told(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver([MontyExecutor(), Absent()])
    driver.value("x = 1")
    for code in ("import statistics", "[].__class__", "del x"):
        failure = driver.run(code).failure
        assert failure is not None
        assert "next program runs in another" not in failure.hint
        assert driver.value("x") == 1
    assert place(driver) == "MontySession"


def test_an_interrupt_and_a_close_reach_the_present_session(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(wait=None)
    for code in ("wait()", "import statistics\nwait()"):
        run_now(driver.session.start(code, WAITER))
        assert isinstance(run_now(driver.session.receive(WAITER)), Call)
        driver.session.interrupt()
        event = run_now(driver.session.receive(WAITER))
        assert isinstance(event, Finished)
        assert event.failure is not None
        assert event.failure.kind == "KeyboardInterrupt"
    driver.session.close()
    assert not driver.session.alive


# ---- the executor


def test_executors_that_are_not_available_are_passed_over_with_a_line_each() -> None:
    logger = Lines()
    with FallbackExecutor([Absent(), Refusing(), MontyExecutor()], logger) as executor:
        assert executor("1 + 1").output == 2
        executor.cleanup()
        assert executor("2 + 2").output == 4
    assert len(logger.lines) == 2
    assert "no such thing here" in logger.lines[0]
    assert "would not start" in logger.lines[1]


def test_an_executor_that_was_told_what_it_needs_is_not_passed_over() -> None:
    logger = Lines()
    with FallbackExecutor([Told(), MontyExecutor()], logger) as executor:
        assert executor("import statistics\nstatistics.mean([1, 3])").output == 2
    assert logger.lines == []


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"allow_hosts": ["no host"]}, ValueError, "no host"),
        ({"workspace": "/there/is/no/such/folder"}, ValueError, "/there/is/no/such/folder"),
        ({"memroy": 5}, TypeError, "memroy"),
    ],
)
def test_a_wrong_option_is_no_reason_to_run_elsewhere(options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        fallback_executor(["local", "monty"], [], None, options)


def test_options_that_nobody_else_knows_go_to_those_that_hand_them_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("E2B_API_KEY", raising=False)
    executor = fallback_executor(["e2b", "local"], [], None, {"api_key": "k", "template": "mine", "timeout_seconds": 3})
    assert [type(one).__name__ for one in executor.executors] == ["E2BExecutor", "LocalPythonExecutor"]
    assert [one.timeout_seconds for one in executor.executors] == [3, 3]
    executor.cleanup()


def test_if_none_is_available_each_says_why() -> None:
    executor = FallbackExecutor([Absent(), Refusing()])
    with pytest.raises(SandboxUnavailableError, match=r"Absent: there is no such thing.*Refusing: it would not start"):
        executor("1")


def test_direct_calls_move_too() -> None:
    with FallbackExecutor([MontyExecutor(), LocalPythonExecutor()]) as executor:
        executor.send_tools({"twice": twice})
        executor.send_variables({"x": 2})
        assert executor("y = twice(x)\ny").output == 4
        assert executor("import statistics\nstatistics.mean([y, 6])").output == 5
        assert executor.state["y"] == 4
        with executor.fork() as other:
            assert other("y += 1\n[y, twice(y)]").output == [5, 10]
        assert executor("y").output == 4


def test_snapshots_are_restored_in_the_executor_of_their_kind() -> None:
    with FallbackExecutor([MontyExecutor(), LocalPythonExecutor()]) as executor:
        executor("x = [1]")
        of_monty = executor.snapshot()
        executor("import statistics\ndef f():\n    return statistics.mean(x)")
        of_local = executor.snapshot()
        assert (of_monty.kind, of_local.kind) == ("monty", "local")
        with pytest.raises(InterpreterError, match="monty"):
            executor.restore(of_monty)
        executor.cleanup()
        executor.restore(of_local)
        assert executor("f()").output == 1
        executor.cleanup()
        executor.restore(of_monty)
        assert executor("x").output == [1]
        session = run_now(executor.open_session(WAITER, of_local))
        assert Driver(session).value("f()") == 1
        session.close()


def test_options_go_to_the_classes_that_know_them(tmp_path: Any) -> None:
    logger = Lines()
    limits = SandboxLimits(wall=5.0, memory=128 << 20)
    with fallback_executor(
        ["monty", "local"], ["numpy"], logger, {"limits": limits, "max_print_outputs_length": 9}
    ) as made:
        assert [type(executor).__name__ for executor in made.executors] == ["MontyExecutor", "LocalPythonExecutor"]
        assert {executor.limits.memory for executor in made.executors} == {128 << 20}
        assert made.executors[1].additional_authorized_imports == ["numpy"]
    assert logger.lines == []
    os.makedirs(tmp_path / "w")
    with fallback_executor(["monty", "local"], [], logger, {"workspace": str(tmp_path / "w")}) as made:
        assert [type(executor).__name__ for executor in made.executors] == ["LocalPythonExecutor"]
        assert made.workspace is not None
    assert logger.lines == ["monty is passed over: it has no files"]
    with pytest.raises(TypeError, match="nonsense"):
        fallback_executor(["monty", "local"], [], None, {"nonsense": 1})
    with pytest.raises(ValueError, match="no such executor"):
        fallback_executor(["monty", "nowhere"], [], None, {})
    with pytest.raises(SandboxUnavailableError, match="no files"):
        fallback_executor(["monty"], [], None, {"workspace": str(tmp_path / "w")})
    with pytest.raises(InterpreterError, match="not_installed_at_all"):
        fallback_executor(["monty", "local"], ["not_installed_at_all"], None, {})


def test_options_under_the_name_of_an_executor_are_its_own_and_come_first() -> None:
    options = {
        "limits": SandboxLimits(wall=5.0, memory=128 << 20),
        "timeout_seconds": 4.0,
        "local": {"limits": SandboxLimits(wall=7.0)},
        "monty": {"timeout_seconds": 3.0},
    }
    with fallback_executor(["monty", "local"], [], None, options) as made:
        assert [executor.limits.wall for executor in made.executors] == [3.0, 7.0]
        assert [executor.limits.memory for executor in made.executors] == [128 << 20, SandboxLimits().memory]
    with make_executor("local", [], None, {"timeout_seconds": 4.0, "local": {"timeout_seconds": 7.0}}) as alone:
        assert alone.limits.wall == 7.0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"local": {"timeot_seconds": 1}}, "LocalPythonExecutor takes no argument 'timeot_seconds'; did you mean"),
        ({"monty": {"warm": 1}}, "MontyExecutor takes no argument 'warm'"),
        ({"local": {1: 1}}, "LocalPythonExecutor takes no argument 1"),
        ({"local": 7.0}, r"executor_kwargs\['local'\] is a dict of that executor's own options; got float"),
        ({"docker": {"image": "x"}}, "options for 'docker', which is not among the executors asked for: monty, local"),
        ({"loacl": {"timeout_seconds": 1}}, "takes an option 'loacl'; did you mean 'local'"),
    ],
)
def test_wrong_options_of_one_executor_are_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        agent_of("1", executor_kwargs=options)


def test_limits_of_ones_own_keep_what_the_model_is_to_be_shown() -> None:
    options = {"limits": SandboxLimits(output=99_999), "local": {"limits": SandboxLimits(output=9)}}
    with agent_of("1", executor_kwargs=options, max_print_outputs_length=60_000) as agent:
        assert [executor.limits.output for executor in agent.python_executor.executors] == [99_999, 60_000]
        assert agent.executor_kwargs == options


def test_what_is_no_list_of_executors_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        FallbackExecutor([])
    with pytest.raises(ValueError, match="opens no sessions"):
        FallbackExecutor([object()])


# ---- agents


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


STEPS = (
    "weights = {thing: weigh(thing) for thing in ['pea', 'bean']}\nprint(weights)",
    "import statistics\nmean = statistics.mean(weights.values())",
    "final_answer([mean, weigh('x'), weights['pea']])",
)


def test_an_agent_goes_on_elsewhere() -> None:
    with agent_of(*STEPS) as agent:
        assert agent.run("go") == [3.5, 1, 3]
        assert "moved to another sandbox by itself" in agent.system_prompt
        assert "inheritance" not in agent.system_prompt


@pytest.mark.parametrize("kind", ["monty", ["monty"], ["monty", "local"]])
@pytest.mark.parametrize("structured", [False, True])
def test_the_prompt_names_the_modules_that_there_are(kind: Any, structured: bool) -> None:
    with agent_of("1", executor_type=kind, use_structured_outputs_internally=structured) as agent:
        small, whole = "Only these modules can be imported: asyncio, ", "Only the Python standard library is available"
        assert (small in agent.system_prompt, whole in agent.system_prompt) == ("local" not in kind, "local" in kind)
    templates: Any = agent.prompt_templates | {"system_prompt": "{{ authorized_imports }}"}
    with agent_of("1", executor_type=kind, prompt_templates=templates) as agent:
        assert ("argparse" in agent.system_prompt) == ("local" in kind)


async def test_agents_go_on_elsewhere_on_an_event_loop() -> None:
    agents = [agent_of(*STEPS) for _ in range(3)]
    try:
        assert await asyncio.gather(*(agent.arun("go") for agent in agents)) == [[3.5, 1, 3]] * 3
    finally:
        for agent in agents:
            agent.cleanup()


def test_modules_that_the_user_authorised_are_there() -> None:
    code = "import numpy as np\nfinal_answer(int(np.arange(4).sum()))"
    with agent_of(code, additional_authorized_imports=["numpy"]) as agent:
        assert agent.run("go") == 6


def test_two_runs_begin_in_the_first_executor() -> None:
    with agent_of("import statistics\nfinal_answer(1)", "final_answer(2)") as agent:
        assert agent.run("go") == 1
        assert agent.run("go") == 2


# ---- what is not as it was


@pytest.mark.parametrize(
    "code",
    [
        "price = lambda x: x * 2",
        "price, other = (lambda x: 1), 2",
        "for price in [lambda x: 3]:\n    pass",
        "(price := lambda x: 4)",
        "[(price := f) for f in [lambda x: 5]]",
        "def g():\n    global price\n    price = lambda x: 6\ng()",
        "def same(f):\n    return lambda x: 7\n@same\ndef price(x):\n    return x",
        "if True:\n    def price(x):\n        return 8",
        "def price(x):\n    return 9\nprice = (lambda f: lambda x: f(x))(price)",
        "match [lambda x: 10]:\n    case [price]:\n        pass",
        "def price(x, y=[11]):\n    return y[0]",
        "price = lambda x: 12\n1 / 0",
        "class price:\n    pass",
    ],
)
def test_a_function_that_was_bound_anew_is_not_defined_from_its_old_source(
    code: str, open_driver: Callable[..., Driver]
) -> None:
    driver = open_driver()
    driver.value("def price(x):\n    return x\ndef kept(x):\n    price = x\n    return [price for price in [price]][0]")
    driver.run(code)
    assert place(driver) == "MontySession"
    ended = driver.run("import statistics\nkept(1)")
    assert ended.output == 1
    assert "price" in ended.logs
    assert "kept" not in ended.logs
    failure = driver.run("price(10)").failure
    assert failure is not None
    assert failure.kind == "NameError"


@pytest.mark.parametrize("code", ["price = 5", "import math as price\nprice = 5", "def price():\n    pass\nprice = 5"])
def test_a_value_takes_the_place_of_a_function(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("def price(x):\n    return x")
    driver.run(code)
    assert driver.value("import statistics\nprice") == 5


def test_what_the_host_defines_takes_the_place_of_a_function(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(echo=echo)
    driver.value("import math\ndef f():\n    return 1")
    driver.define(f=2, math=3)
    assert driver.value("import statistics\n[f, math]") == [2, 3]


def test_what_came_after_the_answer_is_not_taken_for_done(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(done=None)
    driver.value("price = lambda x: 2 * x")
    run_now(driver.session.start("done()\ndef price(x):\n    return x", WAITER))
    call = run_now(driver.session.receive(WAITER))
    assert isinstance(call, Call)
    run_now(driver.session.stop(call.id, WAITER))
    driver.finish()
    assert "price" in driver.run("import statistics").logs


def test_each_name_of_an_import_goes_along_by_itself(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("import math, posixpath\nfrom math import pi, floor as down")
    driver.run("math = lambda: 1")
    ended = driver.run("import statistics\n[down(pi), posixpath.sep]")
    assert ended.output == [3, "/"]
    assert "math" in ended.logs
    assert driver.run("math").failure is not None


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("a = [1]\nb = a", "a, b had an object in common"),
        ("a = [[1]]\nb = {'k': (a[0],)}\nc = a[0]", "a, b, c had an object in common"),
        ("a = [[0] * 3] * 3", "Parts of a were one object"),
        ("from collections import deque\na = deque([1])\nb = [2, a]", "a, b had"),
        ("class P:\n    def __init__(self):\n        self.x = [1]\np = P()\nq = [p.x]", "p, q had"),
        ("a = []\na.append(a)\nb = 1\nc = d = [b]", "c, d had"),
    ],
)
def test_the_model_is_told_which_variables_were_one_object(
    code: str, told: str, open_driver: Callable[..., Driver]
) -> None:
    driver = open_driver()
    driver.value(code)
    assert told in driver.run("import statistics").logs


def test_equal_values_are_not_taken_for_one_object(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value(
        "import datetime\na = [1, 'x', (2, 'y')]\nb = [1, 'x', a[2]]\nc = b[2]\nd = e = 1 << 80\nf = g = range(3)"
    )
    driver.value("h = i = datetime.timedelta(1)\nj = k = frozenset([1])\nl = m = 2.5\nn = o = b'n'\np = q = None")
    assert driver.run("import statistics").logs == ""


def test_objects_in_common_among_very_many_are_spoken_of(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("a = [[n] for n in range(120000)]\nb = c = [1]")
    assert "may have had objects in common" in driver.run("import statistics").logs
