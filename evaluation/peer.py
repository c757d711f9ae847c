"""Runs tasks under smolagents, in the peer's own environment, and tells how they went on standard output.

    python peer.py TASKS_FILE API_BASE MODEL_ID MAX_STEPS NAME...

The key of the endpoint is in the environment as ACTLOOP_PEER_KEY. Each line written is a JSON object: one after every
step, with the sums so far, and one with `"done": true` at the end of each task. Nothing of actloop is imported here.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import time
from typing import Any


def load_tasks(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("peer_tasks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["peer_tasks"] = module
    spec.loader.exec_module(module)
    return module


def run_task(task: dict[str, Any], tools: dict[str, Any], model: Any, max_steps: int, tell: Any) -> None:
    smolagents: Any = importlib.import_module("smolagents")

    sums: dict[str, Any] = {"name": task["name"], "steps": 0, "input_tokens": 0, "output_tokens": 0}

    def after_step(step: Any, agent: Any = None) -> None:
        sums["steps"] += 1
        usage = getattr(step, "token_usage", None)
        if usage is not None:
            sums["input_tokens"] += usage.input_tokens
            sums["output_tokens"] += usage.output_tokens
        tell(sums)

    answer: Any = None
    solved = False
    start = time.monotonic()
    try:
        agent = smolagents.CodeAgent(
            tools=[tools[str(name)] for name in task.get("tools", ())],
            model=model,
            max_steps=max_steps,
            step_callbacks=[after_step],
            verbosity_level=smolagents.LogLevel.OFF,
        )
        answer = agent.run(task["prompt"], additional_args=task.get("vars"))
        solved = bool(task["check"](answer))
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    tell({**sums, "done": True, "solved": solved, "seconds": time.monotonic() - start, "answer": str(answer)})


def main() -> None:
    smolagents: Any = importlib.import_module("smolagents")

    path, api_base, model_id, max_steps, *names = sys.argv[1:]
    # What tasks and the framework print must not get among the lines.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(fact: dict[str, Any]) -> None:
        print(json.dumps(fact), file=out, flush=True)

    module = load_tasks(path)
    key = os.environ["ACTLOOP_PEER_KEY"]
    model = smolagents.OpenAIServerModel(model_id, api_base=api_base, api_key=key, temperature=0.0, max_tokens=1024)
    tools = module.make_tools(smolagents.tool)
    tell({"ready": True})
    for task in module.TASKS:
        if task["name"] in names:
            run_task(task, tools, model, int(max_steps), tell)


if __name__ == "__main__":
    main()
