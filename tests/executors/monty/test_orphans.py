"""Workers end with the process that started them, however it ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a worker that its host ended"),
]

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
        fork = os.pidfd_open(int(host.stdout.readline())) if kind == "forked" else -1
        worker = os.pidfd_open(int(host.stdout.readline()))
        try:
            assert not _ends(worker, 0)
            host.kill()
            assert _ends(worker, 60)
            if fork >= 0:
                assert not _ends(fork, 0)
        finally:
            for process in (worker, fork):
                if process >= 0:
                    if not _ends(process, 0):
                        signal.pidfd_send_signal(process, signal.SIGKILL)
                    os.close(process)


def _ends(process: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
