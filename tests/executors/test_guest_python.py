"""Programs in a session do what they do in CPython: language features, tracebacks, hints, and the policy of imports."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from actloop.errors import InterpreterError
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import Call, Finished, Session
from actloop.executors.waiting import BlockingWaiter, run_now
from actloop.guest import BASE_BUILTIN_MODULES, Record, allows_import

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAITER = BlockingWaiter()


@pytest.fixture
def session() -> Iterator[Session]:
    session = run_now(LocalPythonExecutor([]).open_session(WAITER))
    yield session
    session.close()


def run(session: Session, code: str) -> Finished:
    run_now(session.start(code, WAITER))
    while not isinstance(event := run_now(session.receive(WAITER)), Finished):
        assert not isinstance(event, Call)
    return event


FEATURES = {
    "break, continue and return are no exceptions": """
        def first(xs):
            for x in xs:
                try:
                    if x == 1: continue
                    if x == 3: break
                    if x == 9: return 'nine'
                    print(x)
                except Exception: print('swallowed')
            else: return 'else'
            return 'break'
        print(first([1, 2, 3]), first([9]), first([]))""",
    "decorators and properties": """
        import functools
        def twice(f):
            @functools.wraps(f)
            def g(*a): return 2 * f(*a)
            return g
        @twice
        def one(): return 1
        class A:
            def __init__(self): self._x = 1
            @property
            def x(self): return self._x
            @x.setter
            def x(self, v): self._x = v
            @classmethod
            def make(cls): return cls()
            @staticmethod
            def s(): return 's'
        a = A.make(); a.x = 5
        print(one(), one.__name__, a.x, A.s())""",
    "loop else": "for i in []: pass\nelse: print('for')\nwhile False: pass\nelse: print('while')",
    "formats": """
        x = 'a'
        print(f'{x!r:>5} {x=} {3.14159:.2f} {10_000:,}', '%s' % x, '{0!r}'.format(x), sep='|', end='.')""",
    "generators": """
        def g():
            x = yield 1
            print('got', x)
            yield from [2, 3]
            return 4
        it = g(); print(next(it), it.send('s'), list(it)); print(sum(x for x in range(4)))""",
    "walrus": "if (n := 10) > 5: print(n)\nprint([y for x in [1, 2] if (y := x * 2)], y)",
    "match": """
        from dataclasses import dataclass
        @dataclass
        class P: x: int; y: int = 0
        for v in [1, [1, 2], {'k': 3}, P(1, 2), None, 'z']:
            match v:
                case int(): print('int')
                case [a, *rest]: print(a, rest)
                case {'k': k}: print(k)
                case P(x=1, y=y): print('P', y)
                case None | True: print('none')
                case _: print('other')""",
    "global and nonlocal": """
        n = 0
        def f():
            global n
            m = 0
            def g():
                nonlocal m
                m += 1
            g(); n += m
        f(); f(); print(n)""",
    "async": """
        import asyncio
        async def f(x):
            await asyncio.sleep(0)
            return x
        async def gen():
            for i in range(3): yield i
        class C:
            async def __aenter__(self): return 'in'
            async def __aexit__(self, *a): print('out')
        async def main():
            async with C() as c: print(c)
            print([i async for i in gen()], await asyncio.gather(f(1), f(2)))
        asyncio.run(main())""",
    "matrix product": """
        class M:
            def __matmul__(self, other): return 'matmul'
        print(M() @ M())""",
    "unpacking": """
        a, *b = [1, 2, 3]
        d = {'x': 1}
        print({**d, 'y': 2}, [*b, a], (lambda *a, **k: (a, k))(*b, **d))""",
    "closures and comprehension scope": """
        x = 5
        fs = [lambda i=i: i * x for i in range(3)]
        print([f() for f in fs], x)""",
    "class bodies": """
        class A:
            y = 2
            z = [y for _ in range(1)] if False else y
            class B: pass
            def __init_subclass__(cls): print('sub', cls.__name__, cls.__module__, cls.__qualname__)
        class C(A): pass
        print(C.__mro__, A.B)""",
    "pickle of own classes": """
        import pickle, copy
        class A:
            def __init__(self): self.v = 1
        print(pickle.loads(pickle.dumps(A())).v, copy.deepcopy(A()).v, A)""",
    "enum, typing, dataclasses": """
        from __future__ import annotations
        import enum, typing, dataclasses
        class E(enum.Flag):
            A = enum.auto(); B = enum.auto()
        @dataclasses.dataclass(order=True, slots=True)
        class D:
            a: int
            b: list[D] = dataclasses.field(default_factory=list)
        print(E.A | E.B, D(1) < D(2), typing.get_type_hints(D))""",
    "exceptions": """
        class Mine(Exception): pass
        try:
            try: raise Mine('a')
            except Mine as e: raise ValueError('b') from e
        except ValueError as e: print(repr(e.__cause__), e.__suppress_context__)
        finally: print('finally')
        try: raise ExceptionGroup('g', [TypeError(1), ValueError(2)])
        except* TypeError as g: print(g.exceptions)
        except* ValueError as g: print(g.exceptions)""",
    "with": """
        import contextlib
        @contextlib.contextmanager
        def cm():
            print('in')
            try: yield 1
            finally: print('out')
        with cm() as a, contextlib.suppress(KeyError): {}['x']
        print(a)""",
    "builtins may be shadowed": """
        list = [1]
        sum = lambda x: 'mine'
        print(list, sum(list))
        del list
        print(list('ab'))""",
    "inspection": """
        import inspect
        def f(a, b=1):
            return a
        print(inspect.getsource(f), inspect.signature(f), f.__module__, __name__)""",
    "names": "print(sorted(k for k in globals() if not k.startswith('__')), 'x' in vars())",
    "star import": "from math import *\nprint(floor(pi))",
    "delete, assert, annotations": """
        x: int = 1
        y = [1, 2, 3]
        del y[0]
        assert y == [2, 3], 'no'
        print(x, y, __annotations__)""",
    "augmented": "d = {'a': [1]}\nd['a'] += [2]\nd['n'] = d.get('n', 0) + 1\ns = {1}; s |= {2}\nprint(d, s)",
    "recursion": "def depth(n): return n and 1 + depth(n - 1)\nprint(depth(900))",
    "slices": "x = list(range(10))\nx[::2] = 'abcde'\nprint(x[-3:], x[::-1][0], x[slice(1, 3)])",
    "string files": """
        import io, contextlib
        b = io.StringIO()
        print('x', file=b)
        with contextlib.redirect_stdout(b): print('y')
        print(repr(b.getvalue()))""",
    "exec and eval": "ns = {}\nexec('z = 5', ns)\nprint(ns['z'], eval('1 + 1'))",
    "warnings": """
        import warnings
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter('always')
            warnings.warn('x')
        print(len(w))""",
    "threads": """
        import threading, datetime
        found = []
        t = threading.Thread(target=found.append, args=(1,))
        t.start(); t.join()
        print(found, datetime.datetime.strptime('2024-01-02', '%Y-%m-%d'))""",
}


@pytest.mark.parametrize("name", FEATURES)
def test_features_work_as_in_cpython(name: str, session: Session) -> None:
    code = textwrap.dedent(FEATURES[name]).strip()
    real = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    ended = run(session, code)
    if name == "inspection":  # `python -c` keeps no source
        assert ended.logs == "def f(a, b=1):\n    return a\n (a, b=1) __main__ __main__\n"
        return
    assert (real.returncode, ended.failure) == (0, None), real.stderr
    assert ended.logs == real.stdout


FAILURES = [
    "1 / 0",
    "def f(x):\n    return g(x)\n\ndef g(x):\n    return x['a'][\n        'b']\n\nf({'a': {}})",
    "x = 1\nprint(x +\n      undefined)",
    "for i in range(3)\n    pass",
    "print('a' 'b'",
    "return 5",
    "x = 'unfinished",
    "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
    "try:\n    1 / 0\nexcept ZeroDivisionError:\n    undefined",
    "class E(Exception): pass\nraise E('own')",
    "raise ExceptionGroup('g', [ValueError(1)])",
    "def f(): f()\nf()",
    "assert 1 == 2, 'message'",
    "s = 'ünï'; s.nope",
    "[1 / x for x in [1, 0]]",
    "(lambda: 1 / 0)()",
    "raise Exception('two\\nlines')",
    "e = ValueError('a')\ne.add_note('a note')\nraise e",
]


@pytest.mark.parametrize("code", FAILURES)
def test_tracebacks_are_those_of_cpython(code: str, session: Session, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(code)
    real = subprocess.run([sys.executable, "-I", script], capture_output=True, text=True, check=False, encoding="utf-8")
    failure = run(session, code).failure
    assert failure is not None
    assert failure.traceback == real.stderr.replace(str(script), "<step 1>")


def test_frames_of_libraries_and_of_the_guest_are_left_out(session: Session) -> None:
    failure = run(session, "import json\njson.loads('{')").failure
    assert failure is not None
    assert failure.traceback.splitlines()[1:3] == ['  File "<step 1>", line 2, in <module>', "    json.loads('{')"]
    assert (failure.kind, failure.line, failure.source) == ("JSONDecodeError", 2, "json.loads('{')")


def test_functions_of_earlier_programs_show_their_own_lines(session: Session) -> None:
    run(session, "def f(x):\n    return 1 / x")
    failure = run(session, "y = 0\nf(y)").failure
    assert failure is not None
    assert failure.line == 2
    assert failure.source == "f(y)"
    assert '  File "<step 1>", line 2, in f\n    return 1 / x\n' in failure.traceback


HINTS = [
    ("total = 1\nprint(totl)", "NameError", "total"),
    ("x += 1", "NameError", "Nothing is defined yet"),
    ("statistics.mean([1])", "NameError", "import statistics"),
    ("y = 1\ndef f():\n    y += 1\nf()", "UnboundLocalError", "global y"),
    ("d = {'a': 1}\nd['b']", "KeyError", "'a'"),
    ("r = [{'n': 1}]\nr[0]['m']", "KeyError", "'n'"),
    ("xs = [1, 2]\nxs[5]", "IndexError", "2 items"),
    ("xs = []\nxs[0]", "IndexError", "empty"),
    ("'abc'.upper_case()", "AttributeError", "str 'abc'"),
    ("{'name': 1}.name", "AttributeError", "['name']"),
    ("None.x", "AttributeError", "None"),
    ("a = 'x'\n1 + a", "TypeError", "int 1 and str 'x'"),
    ("n = 5\nn(1)", "TypeError", "n is int 5"),
    ("def f(a, b): pass\nf(1)", "TypeError", "f(a, b)"),
    ("n = 5\nn[0]", "TypeError", "int 5"),
    ("float('about 5 kg')", "ValueError", "re.findall"),
    ("int('12 apples')", "ValueError", "re.findall"),
    ("input('name? ')", "EOFError", "tool"),
    ("open('/data.csv')", "FileNotFoundError", "No files of the host"),
    ("def f(): f()\nf()", "RecursionError", "loop"),
    ("x = 'a' * 10**11", "MemoryError", "del"),
    ("exit()", "SystemExit", "leave exit() out"),
    ("import asyncio\nasync def f():\n    asyncio.run(f())\nawait f()", "RuntimeError", "await"),
]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("code", "kind", "hint"), HINTS)
def test_errors_come_with_a_hint(code: str, kind: str, hint: str, session: Session) -> None:
    failure = run(session, code).failure
    assert failure is not None
    assert failure.kind == kind
    assert hint in failure.hint
    assert "\n" not in failure.hint


def test_hints_run_no_code_of_the_program(session: Session) -> None:
    code = (
        "class Evil(dict):\n"
        "    def __repr__(self): print('ran')\n"
        "    def __iter__(self): print('ran')\n"
        "    def __getattr__(self, name): print('ran'); raise AttributeError(name)\n"
        "e = Evil()\n"
    )
    for line in ("e['x']", "1 + e", "e()", "int(e)"):
        ended = run(session, code + line)
        assert ended.failure is not None
        assert ended.logs == ""


def test_a_failure_keeps_what_was_done_before(session: Session) -> None:
    assert run(session, "x = 1\nprint('p')\n1 / 0").logs == "p\n"
    assert run(session, "x").output == 1


def test_records_of_the_host_can_be_read(session: Session) -> None:
    run_now(session.define(WAITER, variables={"p": Record("P", {"name": "Al", "tags": ["a"]})}))
    assert run(session, "p.name, p['tags'], str(p)").output == ("Al", ["a"], "P(name='Al', tags=['a'])")
    failure = run(session, "p.nam").failure
    assert failure is not None
    assert "name" in failure.hint


# ---- imports


@pytest.mark.parametrize("name", BASE_BUILTIN_MODULES)
def test_every_module_of_the_list_can_be_imported(name: str) -> None:
    with LocalPythonExecutor([]) as executor:
        assert executor(f"import {name}\n1").output == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os", "no files of the host"),
        ("import os.path", "no files of the host"),
        ("from os import system", "no files of the host"),
        ("import subprocess", "other programs"),
        ("import socket", "no network"),
        ("import requests", "no network"),
        ("import urllib.request", "no network"),
        ("import numpy as np", "statistics"),
        ("import ctypes", "additional_authorized_imports=['ctypes']"),
        ("import ctypes", "use struct"),
        ("import sqlite3", "use dicts and lists"),
        ("import importlib", "import statement"),
        ("import selectors", "no network"),
        ("import jsn", "if json is meant"),
        ("import collectons.abc", "if collections is meant"),
        ("import nump", "use the standard library or your tools"),
        ("import nonesuch", "use the standard library or your tools"),
        ("import this", "use the standard library or your tools"),
        ("def f():\n    import os\nf()", "no files of the host"),
        ("exec('import os')", "no files of the host"),
        ("__import__('os')", "no files of the host"),
        ("import get_price", "is a tool"),
        ("from get_price import x", "is a tool"),
    ],
)
def test_a_refused_import_says_what_to_do(code: str, words: str) -> None:
    with LocalPythonExecutor([]) as executor:
        executor.send_tools({"get_price": lambda: 1})
        with pytest.raises(InterpreterError) as caught:
            executor(code)
        assert "ImportError: " in str(caught.value)
        assert words in str(caught.value)


def test_every_other_module_of_the_standard_library_is_refused_with_a_way_out() -> None:
    code = """
        import sys
        said = {}
        for name in sorted(sys.stdlib_module_names):
            try:
                __import__(name)
            except ImportError as error:
                said[name] = str(error)
        said"""
    with LocalPythonExecutor([]) as executor:
        said: dict[str, str] = executor(textwrap.dedent(code)).output
    assert set(said).isdisjoint(BASE_BUILTIN_MODULES)
    assert {"os", "ctypes", "importlib", "mailbox", "tkinter"} <= set(said)
    opened = {"http", "select", "selectors", "socket", "ssl", "urllib"}
    for name, message in said.items():
        allowed = rf"allow it with additional_authorized_imports=\['{name}'\], or --imports {name}"
        if "there is no network in this sandbox" in message:
            hosts = r"name hosts that programs may reach with allow_hosts=\[\.\.\.\], or --allow-host"
            allowed = hosts if name in opened else f"{hosts}, and {allowed}"
        assert re.fullmatch(rf"Import of {name} is not allowed: .+\. The user can {allowed}", message), message
    assert opened <= {name for name, message in said.items() if message.endswith("--allow-host")}


def test_a_part_of_urllib_is_refused_with_what_opens_it() -> None:
    with LocalPythonExecutor() as executor, pytest.raises(InterpreterError, match=r"or --allow-host(?!.*--imports)"):
        executor("import urllib.request")


def test_the_scratch_folder_that_hints_speak_of_is_there(session: Session) -> None:
    code = "import pathlib\npathlib.Path('a.txt').write_text('kept')\nopen('a.txt').read()"
    assert run(session, code).output == "kept"
    failure = run(session, "open('b.txt')").failure
    assert failure is not None
    assert failure.hint == (
        "No files of the host are here (only an empty scratch folder), and there is no network: use the tools."
    )


def test_a_close_name_is_named_only_if_it_is_allowed() -> None:
    with LocalPythonExecutor(["numpy"]) as executor, pytest.raises(InterpreterError, match=r"if numpy is meant"):
        executor("import nump")


def test_more_of_the_standard_library_computes() -> None:
    code = """
        import configparser, copyreg, io, plistlib, tarfile, tomllib, argparse
        from html.parser import HTMLParser
        from xml.etree import ElementTree
        settings = configparser.ConfigParser()
        settings.read_string("[a]\\nb = 1")
        parser = argparse.ArgumentParser()
        parser.add_argument("--n", type=int)
        archive = io.BytesIO()
        tarfile.open(fileobj=archive, mode="w").close()
        [
            settings["a"]["b"], tomllib.loads("x = [1]"), plistlib.loads(plistlib.dumps({"k": 2})),
            parser.parse_args(["--n", "3"]).n, len(archive.getvalue()) > 0, ElementTree.fromstring("<a>t</a>").text,
        ]"""
    with LocalPythonExecutor([]) as executor:
        assert executor(textwrap.dedent(code)).output == ["1", {"x": [1]}, {"k": 2}, 3, True, "t"]


def test_libraries_import_what_they_need() -> None:
    with LocalPythonExecutor(["numpy"]) as executor:
        code = "import numpy as np\nimport numpy.linalg\nfrom numpy import random\nfloat(np.linalg.norm([3.0, 4.0]))"
        assert executor(code).output == 5.0
        with pytest.raises(InterpreterError, match="Import of os"):
            executor("import os")


def test_authorised_imports_mean_what_they_say() -> None:
    covered: list[tuple[str, list[str], bool]] = [
        ("numpy.random", ["numpy"], True),
        ("numpy.random", ["numpy.*"], True),
        ("numpy", ["numpy.*"], True),
        ("numpy", ["numpy.random"], False),
        ("numpyx", ["numpy"], False),
        ("anything", ["*"], True),
        ("os.path", ["os.path"], True),
    ]
    for name, allowed, expected in covered:
        assert allows_import(name, allowed) is expected
    with LocalPythonExecutor(["os.path"]) as executor:
        assert executor("from os import path\nimport os.path\npath.basename('/a/b')").output == "b"
        with pytest.raises(InterpreterError, match="Import of os"):
            executor("from os import system")
    with LocalPythonExecutor(["*"]) as executor:
        assert executor("import os, socket, ctypes\n1").output == 1
    with pytest.raises(InterpreterError, match="not installed: no_such_module"):
        LocalPythonExecutor(["no_such_module", "math"])


def test_a_missing_module_says_so() -> None:
    with LocalPythonExecutor(["*"]) as executor, pytest.raises(InterpreterError, match="not installed here"):
        executor("import no_such_module")


def test_a_value_may_be_anything() -> None:
    values: dict[str, Any] = {"1 < 2": True, "None": None, "'a'": "a", "{1: {2}}": {1: {2}}, "(1,)": (1,)}
    with LocalPythonExecutor([]) as executor:
        for code, value in values.items():
            assert executor(code).output == value
