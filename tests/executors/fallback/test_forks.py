"""Forks of several executors as one."""

from __future__ import annotations

import pytest

from actloop.executors.fallback import FallbackExecutor
from actloop.executors.local import LocalPythonExecutor

pytestmark = pytest.mark.timeout(60)


def test_the_end_of_a_fork_leaves_the_executors_of_its_origin_alone() -> None:
    with LocalPythonExecutor() as first, FallbackExecutor([first]) as executor:
        executor("x = 1")
        first("y = 2")
        with executor.fork() as other:
            assert other("x").output == 1
        assert (executor("x").output, first("y").output) == (1, 2)
