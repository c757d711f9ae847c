"""Source text is read from many threads."""

from __future__ import annotations

import ast
import gc
import sys
import threading
from pathlib import Path

import pytest

import actloop
from actloop.executors import bundle
from actloop.values.syntax import source_of, syntax_tree


class Finalised:
    """A cycle whose finaliser lets other threads have their turn in the middle of whatever made the collector run."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        for _ in range(200):
            pass


def test_many_threads_read_while_finalisers_run() -> None:
    source = "x = " + "+".join(f"f({number}, [1, 2, (3, 4)], {{'a': {number}}})" for number in range(60))
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(20):
                Finalised()
                assert len(syntax_tree(source).body) == 1
        except BaseException as error:
            failures.append(error)

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(5, 2, 2)
    try:
        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
    assert not failures


def test_what_is_no_python_is_refused_as_ever() -> None:
    with pytest.raises(SyntaxError):
        syntax_tree("def")
    with pytest.raises((ValueError, SyntaxError), match="null"):
        syntax_tree("x = '\0'")
    assert source_of(Finalised).startswith("class Finalised")


def test_nothing_else_on_the_host_parses() -> None:
    """Modules of the guest are alone in their process."""
    package = Path(actloop.__file__).parent
    of_guests = {package / "guest" / f"{name}.py" for name in bundle.MODULES}
    for path in {*package.rglob("*.py")} - of_guests - {package / "values" / "syntax.py"}:
        used = {
            ast.unparse(node) for node in ast.walk(ast.parse(path.read_text("utf-8"))) if type(node) is ast.Attribute
        }
        assert not used & {"ast.parse", "inspect.getsource"}, path


LONG = "".join(f"def f{number}(a, b=[1, 2]):\n    return [a, {{'b': {number}}}]\n\n\n" for number in range(1500))


@pytest.mark.parametrize(
    "source",
    [
        LONG,
        "x = " + '"""' + f"\n{LONG}" + '"""' + f"\n{LONG}",
        "x = [\n" + "1,\n" * 20_000 + "]\n" + LONG,
        "if x:\n    pass\nelse:\n    pass\n@f\nclass A:\n    pass\n" * 1500,
        "x = 1\\\n+ 2\n" * 5000,
        "# é \n" * 10_000 + "é = 1",
        Path(ast.__file__).read_text("utf-8"),
    ],
    ids=["functions", "text", "list", "borders", "continued lines", "comments", "module"],
)
def test_a_long_source_is_read_as_ever(source: str) -> None:
    assert ast.dump(syntax_tree(source), include_attributes=True) == ast.dump(
        ast.parse(source), include_attributes=True
    )


@pytest.mark.parametrize("wrong", ["x = (\n", "  x = 1\n", "x = 'a\n", "else: pass\n"])
def test_what_is_wrong_with_a_long_source_is_said_of_its_place(wrong: str) -> None:
    source = LONG + wrong + LONG
    with pytest.raises(SyntaxError) as expected:
        ast.parse(source)
    with pytest.raises(SyntaxError) as said:
        syntax_tree(source)
    assert (said.value.msg, said.value.lineno, said.value.offset) == (
        expected.value.msg,
        expected.value.lineno,
        expected.value.offset,
    )


def test_while_a_long_source_is_read_other_threads_have_their_turns() -> None:
    source, turns, done = LONG * 4, 0, threading.Event()
    reading = threading.Thread(target=lambda: (syntax_tree(source), done.set()))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        reading.start()
        while not done.wait(0.0005):
            turns += 1
        reading.join()
    finally:
        sys.setswitchinterval(interval)
    assert turns >= 10
