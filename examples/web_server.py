"""An agent behind a web server: `curl -d '{"task": "..."}' http://127.0.0.1:8000/run`. Needs starlette and uvicorn.

A client that leaves ends its run, and so does Ctrl-C.
"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from actloop import AgentError, CodeAgent
from model import choose_model

agent = CodeAgent(tools=[], model=choose_model(), verbosity_level=0)


async def run(request: Request) -> JSONResponse:
    """Run a task; answers with what came of it."""
    try:
        task = (await request.json())["task"]
        result = await agent.arun(task, return_full_result=True)
    except (ValueError, KeyError, TypeError) as error:
        return JSONResponse({"error": f"send JSON with a task: {error}"}, 400)
    except AgentError as error:
        return JSONResponse({"error": str(error)}, 502)
    return JSONResponse({"answer": str(result.output), "state": result.state, "run": result.run_id})


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    uvicorn.run(Starlette(routes=[Route("/run", run, methods=["POST"])]), host="127.0.0.1", port=port)
