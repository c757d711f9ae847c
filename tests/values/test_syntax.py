"""Source text is read from many threads."""

from __future__ import annotations

import gc
import sys
import threading

import pytest

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
