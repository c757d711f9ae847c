"""The executor without a sandbox: its processes end with the caller."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

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
        child = os.pidfd_open(int(host.stdout.readline()))
        fork = os.pidfd_open(int(host.stdout.readline())) if kind == "forked" else -1
        try:
            assert not _ends(child, 1)  # it computes by then
            host.kill()
            assert _ends(child, 60)
            assert fork < 0 or not _ends(fork, 0)
        finally:
            for process in (child, fork):
                if process >= 0:
                    if not _ends(process, 0):
                        signal.pidfd_send_signal(process, signal.SIGKILL)
                    os.close(process)


def _ends(process: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
