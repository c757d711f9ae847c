"""One agent, many tasks at once, on one event loop."""

import asyncio

from actloop import CodeAgent, RunResult
from model import choose_model

TASKS = [f"What is the sum of the digits of 2 to the power of {power}?" for power in (50, 100, 150)]


async def main() -> None:
    with CodeAgent(tools=[], model=choose_model(), verbosity_level=0) as agent:
        runs = [agent.arun(task, return_full_result=True) for task in TASKS]
        results: list[RunResult] = await asyncio.gather(*runs)
    for task, result in zip(TASKS, results, strict=True):
        print(f"{task} {result.output}")


asyncio.run(main())
