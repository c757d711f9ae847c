"""An agent behind a web server: `curl -d '{"task": "..."}' http://127.0.0.1:8000/run`. Needs starlette and uvicorn.

A client that leaves ends its run, and Ctrl-C ends all of them.
"""

import asyncio
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from actloop import AgentError, CodeAgent, RunResult
from model import choose_model

agent = CodeAgent(tools=[], model=choose_model(), verbosity_level=0)


async def watch(request: Request, run: asyncio.Task[RunResult]) -> None:
    """End a run when its client leaves; by itself it would go on, since nobody has to read its answer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    run.cancel()


async def answer(request: Request) -> JSONResponse:
    """Run a task; answers with what came of it."""
    try:
        task = (await request.json())["task"]
        run = asyncio.create_task(agent.arun(task, return_full_result=True))
        watching = asyncio.create_task(watch(request, run))
        try:
            result = await run
        finally:
            watching.cancel()
    except (ValueError, KeyError, TypeError) as error:
        return JSONResponse({"error": f"send JSON with a task: {error}"}, 400)
    except AgentError as error:
        return JSONResponse({"error": str(error)}, 502)
    except asyncio.CancelledError:
        return JSONResponse({"error": "the run was ended"}, 503)
    return JSONResponse({"answer": str(result.output), "state": result.state, "run": result.run_id})


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    app = Starlette(routes=[Route("/run", answer, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, timeout_graceful_shutdown=1)
