"""Runs the tasks with a local model and prints, for each: solved, steps, tokens, seconds.

python -m evaluation.run [--split dev] [--only NAME ...] [--model FILE] [--tasks FILE] [--peer] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.outcome import Outcome, comparison, header, row, totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actloop import LocalModel
    from actloop.models.embedded import Progress
    from evaluation.tasks import Task

MAX_STEPS = 6
TASKS_FILE = Path(__file__).with_name("tasks.py")
_PEER_START = 120.0  # seconds for the peer to import itself


def load_tasks(path: Path) -> Any:
    """The module of a file with `TASKS` and `make_tools`."""
    spec = importlib.util.spec_from_file_location("evaluated_tasks", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file with TASKS and make_tools")
    module = importlib.util.module_from_spec(spec)
    sys.modules["evaluated_tasks"] = module
    spec.loader.exec_module(module)
    return module


def run_ours(task: Task, tools: dict[str, Any], model: LocalModel, limit: float) -> Outcome:
    """One task with actloop; it is interrupted after `limit` seconds."""
    from actloop import CodeAgent, LogLevel

    chosen = [tools[name] for name in task.get("tools") or []]
    agent = CodeAgent(tools=chosen, model=model, max_steps=MAX_STEPS, verbosity_level=LogLevel.OFF, journal=None)
    timer = threading.Timer(limit, agent.interrupt)
    start = time.monotonic()
    solved, answer = False, ""
    timer.start()
    try:
        result = agent.run(task["prompt"], additional_args=task.get("vars"), return_full_result=True)
        answer = str(result.output)
        solved = bool(task["check"](result.output))
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    finally:
        timer.cancel()
        agent.cleanup()
    seconds = time.monotonic() - start
    replies = [usage for step in agent.memory.steps if (usage := getattr(step, "token_usage", None)) is not None]
    return Outcome(
        name=task["name"],
        split=task.get("split", "all"),
        solved=solved,
        steps=len(replies),
        input_tokens=sum(usage.input_tokens for usage in replies),
        output_tokens=sum(usage.output_tokens for usage in replies),
        seconds=seconds,
        answer=answer,
    )


def run_peer(
    tasks: Sequence[Task], path: Path, python: Path, endpoint: tuple[str, str], limit: float
) -> Iterator[Outcome]:
    """The tasks with the peer, in order; one that takes longer than `limit` seconds is killed."""
    left = list(tasks)
    while left:
        with _Peer(left, path, python, endpoint) as peer:
            for outcome in peer.outcomes(limit):
                yield outcome
                left.pop(0)


class _Peer:
    """A process that runs tasks under the peer."""

    def __init__(self, tasks: Sequence[Task], path: Path, python: Path, endpoint: tuple[str, str]) -> None:
        base, key = endpoint
        script = Path(__file__).with_name("peer.py")
        names = [task["name"] for task in tasks]
        self._tasks = list(tasks)
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._process = subprocess.Popen(
            [python, script, path, base, "local", str(MAX_STEPS), *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "ACTLOOP_PEER_KEY": key},
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> _Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def outcomes(self, limit: float) -> Iterator[Outcome]:
        """Outcomes in order, up to the first task that had to be given up."""
        if self._next(time.monotonic() + _PEER_START) is None:
            raise SystemExit("the peer's process ended before it began; run evaluation/peer.py by hand to see why")
        for task in self._tasks:
            start = time.monotonic()
            last: dict[str, Any] = {}
            while not last.get("done"):
                fact = self._next(start + limit)
                if fact is None:
                    break
                last = fact
            done = bool(last.get("done"))
            yield Outcome(
                name=task["name"],
                split=task.get("split", "all"),
                solved=bool(last.get("solved")),
                steps=last.get("steps", 0),
                input_tokens=last.get("input_tokens", 0),
                output_tokens=last.get("output_tokens", 0),
                seconds=last["seconds"] if done else time.monotonic() - start,
                answer=last["answer"] if done else f"given up after {limit:g} s",
            )
            if not done:
                return

    def _next(self, deadline: float) -> dict[str, Any] | None:
        try:
            return self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None


def _shown(outcomes: Iterator[Outcome]) -> list[Outcome]:
    kept: list[Outcome] = []
    for outcome in outcomes:
        print(row(outcome), flush=True)
        kept.append(outcome)
    print(totals(kept), flush=True)
    return kept


def _progress() -> Callable[[Progress], None]:
    last = [""]

    def report(progress: Progress) -> None:
        text = f"{progress.phase} {progress.detail} {100 * progress.done // max(1, progress.total)} %"
        if text != last[0]:
            last[0] = text
            print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)

    return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m evaluation.run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peer", action="store_true", help="run the same tasks under smolagents, too")
    parser.add_argument("--tasks", type=Path, default=TASKS_FILE, help="a file with TASKS and make_tools")
    parser.add_argument("--model", help="name of a known model, or path of a GGUF file")
    parser.add_argument("--split", help="only the tasks of these splits, such as given,dev or test")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these tasks")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that a task may take (default 300)")
    parser.add_argument("--json", type=Path, help="write the outcomes into this file")
    return parser.parse_args()


def main() -> None:
    """The command."""
    options = _arguments()
    module = load_tasks(options.tasks)
    splits = options.split.split(",") if options.split else None
    tasks: list[Task] = [
        task
        for task in module.TASKS
        if (splits is None or task.get("split", "all") in splits) and (not options.only or task["name"] in options.only)
    ]
    if not tasks:
        raise SystemExit("no task is chosen by these options")

    from actloop import LocalModel, tool
    from actloop.models.embedded import ensure_model
    from actloop.models.server import ServerSettings
    from actloop.models.server_process import acquire, release

    model = LocalModel(options.model, progress=_progress())
    model.load()
    print(file=sys.stderr)
    tools = module.make_tools(tool)
    print(header(f"actloop with {model.model_id}"), flush=True)
    ours = _shown(run_ours(task, tools, model, options.limit) for task in tasks)
    theirs: list[Outcome] = []
    if options.peer:
        from benchmarks.peer import PEER, peer_python

        python = peer_python()
        model.close()
        path = ensure_model(model.model_id)
        server = acquire(ServerSettings(path=str(path), name=path.stem, context=_PEER_CONTEXT, threads=model.threads))
        try:
            print(header(f"{PEER} with the same model"), flush=True)
            theirs = _shown(run_peer(tasks, options.tasks, python, server.endpoint(), options.limit))
        finally:
            release(server)
        print(comparison(ours, theirs, PEER))
    model.close()
    if options.json:
        found = {"actloop": ours, "peer": theirs}
        options.json.write_text(json.dumps({who: [o.to_dict() for o in them] for who, them in found.items()}, indent=1))


_PEER_CONTEXT = 32_768
"""Tokens of context for the peer, whose prompts are long; ours has the model's default."""


if __name__ == "__main__":
    main()
