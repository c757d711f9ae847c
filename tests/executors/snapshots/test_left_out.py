"""What cannot be taken is named, and the rest is kept; likewise what takes too long and does not fit."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from actloop.errors import InterpreterError
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import SandboxLimits

if TYPE_CHECKING:
    from collections.abc import Callable


UNTAKABLE = {
    "generator": "(n for n in [1])",
    "coroutine": "later()",
    "frame": "sys._getframe()",
    "lock": "threading.Lock()",
    "rlock": "[threading.RLock()]",
    "thread": "threading.Thread(target=print)",
    "context": "contextvars.ContextVar('v')",
    "reader": "open('/dev/null')",
    "writer": "open('/dev/null', 'w')",
    "binary": "open('/dev/null', 'rb')",
    "view": "memoryview(b'abc')",
    "reference": "weakref.ref(A)",
    "trace": "trace",
    "match": "re.match('a', 'a')",
    "looped": "loop",
    "closed_over": "(lambda held: lambda: held)(threading.Lock())",
    "in_object": "A(threading.Lock())",
    "unreadable": "Reduced()",
    "talkative": 'Refusing("cannot pickle \'" * 100_000)',
    "unspeakable": "Refusing(Unspeakable())",
    "leaving": "Leaving()",
    "unbuildable": "Unbuildable(1, 2)",
    "unbuildable_class": "Kind",
    "deep": "deep",
}


def test_what_cannot_be_taken_is_named_and_the_rest_is_kept(make: Callable[..., Any]) -> None:
    prelude = """
    import sys, threading, contextvars, weakref, re, asyncio
    async def later(): pass
    class A:
        def __init__(self, held=None): self.held = held
    class Reduced:
        def __reduce__(self): raise OSError("I refuse")
    class Refusing(A):
        def __reduce__(self): raise TypeError(self.held)
    class Unspeakable:
        def __str__(self): raise ValueError
    class Leaving:
        def __reduce__(self): sys.exit(3)
    class Unbuildable(Exception):
        def __init__(self, a, b): super().__init__(a)
    class Base:
        def __init_subclass__(cls, *, kind): cls.kind = kind
    class Kind(Base, kind=1): pass
    try: 1 / 0
    except ZeroDivisionError as e: trace = e.__traceback__
    loop = asyncio.new_event_loop()
    deep = []
    for _ in range(100_000): deep = [deep]
    before = shared = [1]
    """
    executor = make(prelude)
    for name, expression in UNTAKABLE.items():
        executor(f"{name} = {expression}")
    executor("after = [shared, A(5)]\ndel loop")
    snapshot = executor.snapshot()
    assert set(snapshot.left_out) == {*UNTAKABLE, "Kind"} - {"trace"} | {"trace"}
    assert snapshot.left_out["generator"] == "a generator cannot be taken"
    assert snapshot.left_out["rlock"] == "it holds a _thread.RLock, which cannot be taken"
    assert snapshot.left_out["thread"].startswith("it holds a _thread.")
    assert snapshot.left_out["reader"] == "a TextIOWrapper cannot be taken"
    assert snapshot.left_out["unreadable"] == "it cannot be taken: OSError: I refuse"
    assert snapshot.left_out["unbuildable"].startswith("it could not be built again: TypeError")
    assert max(map(len, snapshot.left_out.values())) < 400
    other = make()
    other.restore(snapshot)
    assert other("before is shared is after[0], after[1].held, Unbuildable.__name__").output == (True, 5, "Unbuildable")
    assert executor("next(generator)").output == 1
    executor("trace = None\nimport gc\ncoroutine.close()")


@pytest.mark.parametrize("kind", ["kernel"], indirect=True)
def test_sockets_and_databases_are_named(make: Callable[..., Any]) -> None:
    code = """
    import socket, sqlite3
    a, b = socket.socketpair()
    db = sqlite3.connect(":memory:")
    rows, x = db.execute("select 1"), 1
    """
    snapshot = make(code, additional_authorized_imports=["socket", "sqlite3"]).snapshot()
    assert snapshot.left_out == {
        "a": "a socket cannot be taken",
        "b": "a socket cannot be taken",
        "db": "a sqlite3.Connection cannot be taken",
        "rows": "a sqlite3.Cursor cannot be taken",
    }
    assert set(snapshot.names) == {"socket", "sqlite3", "x"}


def test_live_handles_of_tools_are_named(make: Callable[..., Any]) -> None:
    executor = make()
    executor.send_tools({"connect": lambda: socket})
    executor("connection, both = connect(), [connect()]\nx = 1")
    snapshot = executor.snapshot()
    assert snapshot.left_out == dict.fromkeys(["connection", "both"], "it lives on the host")


def test_modules_that_programs_may_not_import_are_not_taken_for_them(make: Callable[..., Any]) -> None:
    snapshot = make("from random import _os\nx = 1").snapshot()
    assert snapshot.left_out == {"_os": "programs may not import os"}
    executor = make("import os", additional_authorized_imports=["os"])
    other = make("x = 1")
    with pytest.raises(InterpreterError, match="the variable 'os' cannot be built: ImportError: Import of os"):
        other.restore(executor.snapshot())
    assert other("x").output == 1


@pytest.mark.usefixtures("ample_grace")
def test_a_variable_that_takes_too_long_is_named(make: Callable[..., Any]) -> None:
    code = """
    class Slow:
        def __reduce__(self):
            while True: pass
    before, slow, after = [1], Slow(), 2
    """
    executor = make(code, timeout_seconds=4)
    snapshot = executor.snapshot()
    assert snapshot.left_out == {"slow": "it took too long"}
    assert set(snapshot.names) == {"Slow", "before", "after"}
    assert executor("before, after").output == ([1], 2)


@pytest.mark.usefixtures("ample_grace")
def test_a_session_that_takes_too_long_survives_with_a_clear_error(make: Callable[..., Any]) -> None:
    code = """
    class Slow:
        def __reduce__(self):
            while True: pass
    a, b, c = Slow(), Slow(), 1
    """
    executor = make(code, timeout_seconds=3)
    with pytest.raises(InterpreterError, match="took too long, the variable 'b'"):
        executor.snapshot()
    assert executor("c").output == 1


def test_a_session_that_does_not_obey_is_lost(make: Callable[..., Any]) -> None:
    code = """
    class Stubborn:
        def __reduce__(self):
            n = 0
            while True:
                try:
                    n += 1
                    while True: n += 1
                except BaseException: n += 1
    a = Stubborn()
    """
    executor = make(code, timeout_seconds=2)
    with pytest.raises(InterpreterError, match="took too long when it was asked to snapshot"):
        executor.snapshot()
    assert executor("1").output == 1  # a fresh one
    with pytest.raises(InterpreterError, match="NameError"):
        executor("a")


@pytest.mark.usefixtures("ample_grace")
def test_restoring_that_takes_too_long_is_ended(make: Callable[..., Any]) -> None:
    code = """
    class Slow:
        def __init__(self): self.x = 1
        def __setstate__(self, state):
            while 'here' not in globals(): pass
    here, x, slow = 1, 2, Slow()
    """
    snapshot = make(code).snapshot()
    other = make("x = 1", timeout_seconds=2)
    with pytest.raises(InterpreterError, match="took too long, the variable 'slow'"):
        other.restore(snapshot)
    assert other("x").output == 1


@pytest.mark.parametrize("kind", ["kernel"], indirect=True)
def test_what_does_not_fit_is_named(make: Callable[..., Any]) -> None:
    code = "small, large, more = [1], bytearray(60_000_000), 2"
    snapshot = make(code, limits=SandboxLimits(memory=96 << 20)).snapshot()
    assert snapshot.left_out == {"large": "it does not fit into the snapshot or the memory"}
    assert set(snapshot.names) == {"small", "more"}


def test_names_of_pythons_own_are_left_out() -> None:
    with LocalPythonExecutor(["warnings"]) as executor:
        executor("import warnings\nwarnings.warn('seen')\n__note__ = 1\nx = 1")
        assert set(executor.snapshot().names) == {"warnings", "x"}
