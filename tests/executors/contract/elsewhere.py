"""Restores a snapshot in a process of its own: `python -m tests.executors.contract.elsewhere NAME OPTIONS FILE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.executors.contract.kit import EXECUTORS
from tests.executors.driving import WAITER, Driver

from actloop.executors.session import Snapshot
from actloop.executors.waiting import run_now


def main(name: str, options: str, file: str) -> None:
    """Print as JSON what programs see of the snapshot in a new session."""
    executor = EXECUTORS[name].make(name, [], **json.loads(options))
    try:
        session = run_now(executor.open_session(WAITER))
        try:
            driver = Driver(session, who=lambda: "elsewhere")
            run_now(session.restore(Snapshot.from_bytes(Path(file).read_bytes()), WAITER))
            values = [driver.value(code) for code in ("f(10)", "a.append(2)\n[b['same'], f(10)]", "ask()")]
        finally:
            session.close()
    finally:
        executor.cleanup()
    sys.stdout.write(json.dumps(values))


if __name__ == "__main__":
    main(*sys.argv[1:])
