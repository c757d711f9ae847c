"""The executor without a sandbox: its processes end with the caller."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.waiting import ends, watched

_HOST = """
import os, sys, threading, time
from actloop.executors.unsafe import UnsafeInProcessExecutor
executor = UnsafeInProcessExecutor(["os"], timeout_seconds=None)
thread = threading.Thread(target=executor, args=("import os, time",))  # it ends while the session lives on
thread.start()
thread.join()
print(executor("os.getpid()").output, flush=True)
if sys.argv[1] == "forked" and os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
executor("n = 0\\nprint('shown')\\nwhile True:\\n    " + sys.argv[2])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child that its host ended")
@pytest.mark.parametrize("code", ["n += 1", "time.sleep(1)"])
@pytest.mark.parametrize("kind", ["plain", "forked"])
def test_a_program_ends_with_a_host_that_is_killed(kind: str, code: str) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOST, kind, code], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        pids = [int(host.stdout.readline()) for _ in range(2 if kind == "forked" else 1)]
        with watched(*pids) as (child, *forks):
            assert not ends(child, 1)  # it computes by then
            host.kill()
            assert ends(child)
            assert not any(ends(fork, 0) for fork in forks)
