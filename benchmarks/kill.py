"""How late a program ends that does not want to: milliseconds after its deadline, by what it does meanwhile.

Measured on the host, from the moment the program is handed over until the host knows that it has ended, less the
seconds that it was given. A program that a signal ends keeps its session; the others are killed.

    PYTHONPATH=src python benchmarks/kill.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import Call, Finished, RemoteTool, SandboxLimits
from actloop.executors.waiting import BlockingWaiter, run_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.executors.session import Session

WALL = 0.25
GOAL = 50.0

CASES = {
    "a loop": "while True: pass",
    "10**10**8": "10**10**8",
    "a catastrophic regular expression": "import re; re.match(r'(a+)+$', 'a' * 64 + 'b')",
    "asleep": "import time; time.sleep(1000)",
    "every signal ignored": """
        import signal
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True: pass
        """,
    "every signal blocked": """
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True: pass
        """,
    "every exception caught": """
        while True:
            try:
                while True: pass
            except BaseException: pass
        """,
    "stuck in a call of C": "import ctypes\nwhile True: ctypes.CDLL(None).sleep(1000)",
    "a thread holds the interpreter": """
        import ctypes, threading
        threading.Thread(target=ctypes.PyDLL(None).sleep, args=(1000,), daemon=True).start()
        while True: pass
        """,
    "waiting in a queue": "import queue; queue.Queue().get()",
    "an event loop": "import asyncio; await asyncio.Event().wait()",
    "sixty busy threads": """
        import threading
        def spin():
            while True: pass
        for _ in range(60): threading.Thread(target=spin, daemon=True).start()
        spin()
        """,
    "filling the memory": """
        kept = []
        while True:
            try: kept.append(bytes(1 << 20))
            except MemoryError: kept.clear()
        """,
    "printing for ever": "while True: print('x' * 1000)",
    "stopped by itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nwhile True: pass",
    "a tool answered slowly": "slow(0.1)\nwhile True: pass",
    "half a message": "import os, time\nos.write(3, b'\\0\\0\\0')\ntime.sleep(1000)",
    "an answer that it does not read": """
        import os, struct
        call = b'{"t":"call","id":1,"name":"large","args":[],"kwargs":{},"concurrent":false}'
        os.write(3, struct.pack(">III", len(call), 0, 0) + call)
        while True: pass
        """,
}


TOOLS: dict[str, Callable[..., Any]] = {"slow": time.sleep, "large": lambda: "x" * (2 << 20)}


async def _run(session: Session, code: str, waiter: BlockingWaiter) -> tuple[Finished, float]:
    """How a program ended, and the seconds that it took without those of tools."""
    start, tools = time.perf_counter(), 0.0
    await session.start(code, waiter)
    while True:
        event = await session.receive(waiter)
        if isinstance(event, Finished):
            return event, time.perf_counter() - start - tools
        if isinstance(event, Call):
            called = time.perf_counter()
            value = TOOLS[event.name](*event.args)
            tools += time.perf_counter() - called
            await session.answer(event.id, value, waiter)


def overshoot(code: str) -> tuple[float, bool]:
    """Milliseconds after the deadline at which a program had ended, and whether its session was killed."""
    waiter = BlockingWaiter()
    executor = LocalPythonExecutor(["*"], limits=SandboxLimits(wall=WALL))
    session = run_now(executor.open_session(waiter))
    try:
        run_now(session.define(waiter, tools=[RemoteTool(name) for name in TOOLS]))
        ended, seconds = run_now(_run(session, code, waiter))
    finally:
        session.close()
    if ended.failure is None:
        raise SystemExit(f"this program should not have ended: {code}")
    return (seconds - WALL) * 1000, ended.failure.lost


def main() -> None:
    """Print median and maximum for each case."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    overshoot("while True: pass")  # starts the zygote
    print(f"Milliseconds after a deadline of {WALL:g} s, of {rounds} rounds; the goal is under {GOAL:g}.\n")
    print(f"{'program':<36}{'median':>8}{'maximum':>9}  session")
    for name, code in CASES.items():
        results = [overshoot(textwrap.dedent(code).strip()) for _ in range(rounds)]
        times = [late for late, _ in results]
        ended = "killed" if all(lost for _, lost in results) else "lives on"
        print(f"{name:<36}{statistics.median(times):>8.1f}{max(times):>9.1f}  {ended}")


if __name__ == "__main__":
    main()
