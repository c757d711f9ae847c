"""An agent as an MCP server: one tool, which runs the agent on a task."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from contextlib import aclosing
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, cast

from actloop.errors import AgentError, MissingExtraError, message_of
from actloop.mcp.access import access_middleware
from actloop.mcp.standard_input import ended_by_signals
from actloop.memory.steps import ActionStep, FinalAnswerStep, PlanningStep
from actloop.tools.foreign.schemas import tool_name
from actloop.tools.schema import is_class_loaded
from actloop.tools.types import AgentAudio
from actloop.values.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fastmcp import FastMCP
    from fastmcp.tools.base import ToolResult

_DESCRIPTION = "An agent that solves a task step by step, with programs that it writes and tools of its own."
_INPUTS = (
    "task: what to do, in detail (the agent knows nothing else). additional_args: values that it may use, by name. "
    "max_steps: steps that it may take, at most as many as its owner allows."
)


def agent_server(
    agent: Any, *, name: str | None = None, description: str | None = None, max_runs: int = 8
) -> FastMCP[Any]:
    """The server of an agent, to be run or mounted as FastMCP servers are.

    Its one tool takes `task`, `additional_args` and `max_steps`. Each call is a run of its own: progress is told step
    by step, a cancelled call interrupts the run, and a failed run is an error in plain words.

    Args:
        agent: Any agent of this package.
        name: Name of the tool and the server; by default the agent's, else "run_agent".
        description: What the agent can do; by default its own.
        max_runs: Runs at a time; further calls wait.

    Raises:
        MissingExtraError: The package `fastmcp` is not installed.
        TypeError: It is no agent.
    """
    if find_spec("fastmcp") is None:
        raise MissingExtraError("fastmcp", "mcp", "serving an agent over MCP")
    if not callable(getattr(agent, "astream", None)):
        raise TypeError(f"serve_agent takes an agent, which has a method 'astream'; got {type(agent).__name__}")
    from fastmcp import Context, FastMCP
    from fastmcp.tools import Tool

    title = tool_name(name or getattr(agent, "name", None) or "run_agent")
    told = (description or getattr(agent, "description", None) or _DESCRIPTION).strip()
    places = asyncio.Semaphore(max(1, max_runs))

    async def run(
        context: Context, task: str, additional_args: dict[str, Any] | None = None, max_steps: int | None = None
    ) -> Any:
        async with places:
            return await _answer(agent, task, additional_args, max_steps, context.report_progress)

    # Annotations are texts in this module, and the server's library is imported in this function only.
    run.__annotations__ = {
        "context": Context, "task": str, "additional_args": dict[str, Any] | None, "max_steps": int | None,
    }  # fmt: skip
    server: FastMCP[Any] = FastMCP(title)
    server.add_tool(Tool.from_function(run, name=title, description=f"{told}\n\n{_INPUTS}", output_schema=None))
    return server


async def _answer(
    agent: Any,
    task: str,
    additional_args: dict[str, Any] | None,
    max_steps: int | None,
    report: Callable[[float, float | None, str | None], Awaitable[None]],
) -> ToolResult:
    from fastmcp.exceptions import ToolError

    allowed = int(getattr(agent, "max_steps", 20))
    steps = allowed if max_steps is None else max(0, min(max_steps, allowed))
    answer: Any = None
    done = 0
    try:
        items = agent.astream(task, additional_args=additional_args, max_steps=steps)
        async with aclosing(items):
            async for item in items:
                if isinstance(item, FinalAnswerStep):
                    answer = item.output
                elif isinstance(item, ActionStep | PlanningStep):
                    done += isinstance(item, ActionStep)
                    await report(done, steps, _progress_text(item))
    except (AgentError, ValueError, TypeError) as error:  # a run that failed, or arguments that it cannot take
        raise ToolError(f"{type(error).__name__}: {message_of(error)}", log_level=20) from None
    return answer_result(answer)


def _progress_text(step: ActionStep | PlanningStep) -> str:
    if isinstance(step, PlanningStep):
        return "made a plan"
    return f"step {step.step_number}" + (f" failed: {type(step.error).__name__}" if step.error else "")


def answer_result(answer: Any) -> ToolResult:
    """An agent's answer as the result of a tool: text, JSON, images and audio."""
    from fastmcp.tools.base import ToolResult

    parts = cast("list[Any]", answer) if isinstance(answer, list | tuple) else [answer]
    if len(parts) > 1 and any(_media(part) is not None for part in parts):
        return ToolResult(content=[_block(part) for part in parts])
    structured = _as_json(answer) if isinstance(answer, dict) else None
    return ToolResult(content=[_block(answer)], structured_content=structured)


def _block(value: Any) -> Any:
    from mcp_types import TextContent

    media = _media(value)
    if media is not None:
        return media
    text = value if isinstance(value, str) else json.dumps(_as_json(value), ensure_ascii=False)
    return TextContent(type="text", text=str(text))


def _media(value: Any) -> Any:
    """An image, a sound or bytes as content; None for all else."""
    from mcp_types import AudioContent, BlobResourceContents, EmbeddedResource, ImageContent

    if is_class_loaded("PIL.Image", "Image", value):
        stream = BytesIO()
        value.save(stream, format="PNG")
        return ImageContent(type="image", data=base64.b64encode(stream.getvalue()).decode(), mime_type="image/png")
    if isinstance(value, AgentAudio):
        with open(value.to_string(), "rb") as file:
            return AudioContent(type="audio", data=base64.b64encode(file.read()).decode(), mime_type="audio/wav")
    if isinstance(value, bytes):
        blob = BlobResourceContents(
            uri="answer://bytes", blob=base64.b64encode(value).decode(), mime_type="application/octet-stream"
        )
        return EmbeddedResource(type="resource", resource=blob)
    return None


def _as_json(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, default=str))
    except (TypeError, ValueError, RecursionError):  # keys that are no text; a value that holds itself
        return {"answer": _text(value)} if isinstance(value, dict) else _text(value)


def _text(value: Any) -> str:
    return str(value)


def serve_agent(
    agent: Any,
    transport: Literal["stdio", "http"] = "stdio",
    *,
    name: str | None = None,
    description: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allowed_hosts: Sequence[str] = (),
    max_runs: int = 8,
    ready: Callable[[str], Any] | None = None,
) -> None:
    """Serve an agent over MCP until the client leaves (stdio) or Ctrl-C (HTTP).

    Over stdio nothing but the protocol reaches standard output: what tools and screens print goes to standard error.

    Args:
        agent: As for `agent_server`, like the next two.
        transport: "stdio", or "http" for streamable HTTP at `/mcp`.
        name: Name of the tool and the server.
        description: What the agent can do.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        token: Clients must send it as `Authorization: Bearer ...`; needed where others can reach the host.
        allowed_hosts: Names besides its own under which the server may be asked, behind a proxy for instance: "name",
            or "name:port". Requests under other names, and from web pages of other sites, are refused.
        max_runs: Runs at a time.
        ready: Called with the address once it listens.

    Raises:
        MissingExtraError: The package `fastmcp` is not installed.
        OSError: The port is taken.
        ValueError: There is no token, and the host can be reached from elsewhere.
    """
    asyncio.run(
        aserve_agent(
            agent,
            transport,
            name=name,
            description=description,
            host=host,
            port=port,
            token=token,
            allowed_hosts=allowed_hosts,
            max_runs=max_runs,
            ready=ready,
        )
    )


async def aserve_agent(
    agent: Any,
    transport: Literal["stdio", "http"] = "stdio",
    *,
    name: str | None = None,
    description: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allowed_hosts: Sequence[str] = (),
    max_runs: int = 8,
    ready: Callable[[str], Any] | None = None,
) -> None:
    """As `serve_agent`, on the running event loop."""
    if transport not in ("stdio", "http"):
        raise ValueError(f"transport must be 'stdio' or 'http'; got {transport!r}")
    server = agent_server(agent, name=name, description=description, max_runs=max_runs)
    if transport == "stdio":
        with ended_by_signals():
            await server.run_stdio_async(show_banner=False, log_level="warning")
        return
    if not token and not is_loopback(host):
        raise ValueError(f"host {host!r} can be reached from elsewhere: give a token that clients must send")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listening:
        port = listening.getsockname()[1]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/mcp"
        if ready is not None:
            ready(address)
        await server.run_http_async(
            show_banner=False,
            transport="streamable-http",
            host=host,
            port=port,
            path="/mcp",
            log_level="warning",
            middleware=access_middleware(host, port, allowed_hosts, token),
            sockets=[listening],
        )
