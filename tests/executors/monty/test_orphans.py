"""Workers end with the process that started them, however it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.waiting import ends, watched

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells a worker that its host ended"
)

_HOST = """
import os, sys, threading, time
from actloop.executors.monty import MontyExecutor
from actloop.executors.monty.workers import WORKERS
from actloop.executors.session import SandboxLimits
executor = MontyExecutor(limits=SandboxLimits(wall=None))
executor("1")
if sys.argv[1] == "forked" and os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
threading.Timer(0.3, lambda: print(*[checkout.worker for checkout in WORKERS.lent()], flush=True)).start()
executor(sys.argv[2])
"""


@pytest.mark.parametrize("code", ["while True:\n    pass", "print('shown')\nsum([n for n in range(1 << 60)])"])
@pytest.mark.parametrize("kind", ["plain", "forked"])
def test_a_busy_worker_ends_with_a_host_that_is_killed(kind: str, code: str) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOST, kind, code], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        pids = [int(host.stdout.readline()) for _ in (("fork", "worker") if kind == "forked" else ("worker",))]
        with watched(*pids) as (*forks, worker):
            assert not ends(worker, 0)
            host.kill()
            assert ends(worker)
            assert not any(ends(fork, 0) for fork in forks)
