"""The user's Ctrl-C at any moment leaves no descriptor."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HOST = """
import gc, os, random, signal, sys, threading, time
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.unsafe import UnsafeInProcessExecutor

make = {"local": LocalPythonExecutor, "unsafe": UnsafeInProcessExecutor}[sys.argv[1]]

def use():
    with make() as executor:
        executor("x = 1")
        executor.restore(executor.snapshot())
        executor("x + 1")

def held():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))

use()
before, began = held(), time.monotonic()
use()
lasts = time.monotonic() - began
moments = random.Random(1)
interrupts = 0
for _ in range(60):
    timer = threading.Timer(moments.random() * lasts, os.kill, (os.getpid(), signal.SIGINT))
    try:
        try:
            timer.start()
            use()
        finally:
            timer.join()
    except KeyboardInterrupt:
        interrupts += 1
until = time.monotonic() + 20
while held() > before and time.monotonic() < until:
    time.sleep(0.01)
print(interrupts >= 30, held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
@pytest.mark.parametrize("kind", ["local", "unsafe"])
def test_interrupts_at_odd_moments_leave_no_descriptor(kind: str) -> None:
    host = subprocess.run([sys.executable, "-c", _HOST, kind], capture_output=True, text=True, timeout=110)
    assert host.stdout == "True 0\n", host.stderr
