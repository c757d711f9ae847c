"""Makes the agent that the command line's options ask for, with everything that it holds open."""

from __future__ import annotations

import importlib
import shlex
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.cli.models import make_model
from actloop.cli.programs import open_executor, read_secrets
from actloop.cli.settings import Settings, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

    from actloop.agents.base import MultiStepAgent
    from actloop.models.base import Model
    from actloop.ui.logger import AgentLogger
    from actloop.values.secrets import Secret

__all__ = [
    "Settings",
    "UsageError",
    "make_model",
    "open_agent",
    "open_executor",
    "open_model",
    "open_tools",
    "read_secrets",
    "stdin_task",
]


@contextmanager
def open_agent(settings: Settings, logger: AgentLogger) -> Generator[MultiStepAgent]:
    """The agent for a task or a conversation; what it holds is closed at the end.

    What the user may have got wrong comes first: a model takes long to fetch and load.

    Raises:
        UsageError: The options do not fit together, or name what is not there.
        AgentError: The model cannot be had.
    """
    if settings.action_type not in ("code", "tool_calling"):
        raise UsageError(f"--action-type {settings.action_type}: there are 'code' and 'tool_calling'")
    runs_code = settings.action_type == "code"
    if settings.programs.given and not runs_code:
        raise UsageError(f"{settings.programs.given[0]} is for programs: a tool-calling agent writes none")
    secrets = read_secrets(settings)
    with (
        open_executor(settings.programs, logger) if runs_code else nullcontext() as executor,
        open_tools(settings) as tools,
        open_model(settings) as model,
        make_agent(settings, tools, executor, secrets, model, logger) as agent,
    ):
        yield agent


@contextmanager
def open_tools(settings: Settings) -> Generator[list[Any]]:
    """The tools that the options name, those of MCP servers among them, which are left at the end.

    Raises:
        UsageError: There is no such tool, it is none, or two have one name.
    """
    tools = make_tools(settings.agent.tools or [])
    if not settings.agent.mcp:
        yield tools
        return
    with _mcp_tools(settings.agent.mcp) as found:
        yield tools + found


@contextmanager
def open_model(settings: Settings) -> Generator[Model]:
    """The model that the options ask for, closed at the end.

    Raises:
        UsageError: The options do not fit together.
        AgentError: The model cannot be had.
    """
    model = make_model(settings.agent)
    close = getattr(model, "close", None)
    try:
        yield model
    finally:
        if close is not None:
            close()


@contextmanager
def _mcp_tools(servers: list[str]) -> Generator[list[Any]]:
    """The tools of MCP servers: addresses, or commands that start one."""
    from actloop.mcp.client import MCPClient
    from mcp import StdioServerParameters

    parameters: list[Any] = []
    for server in servers:
        if server.startswith(("http://", "https://")):
            parameters.append({"url": server})
        else:
            command, *arguments = shlex.split(server)
            parameters.append(StdioServerParameters(command=command, args=arguments))
    with MCPClient(parameters) as tools:
        yield list(tools)


def make_tools(names: list[str]) -> list[Any]:
    """Tools by name, or from a module: `package.module:name`.

    Raises:
        UsageError: There is no such tool, it is none, or two have one name.
    """
    from actloop.agents.checks import by_name
    from actloop.tools.default import TOOL_MAPPING

    found: list[Any] = []
    for name in names:
        module, colon, attribute = name.partition(":")
        if colon:
            found.append(_tool_of(module, attribute))
        elif name in TOOL_MAPPING:
            found.append(TOOL_MAPPING[name]())
        elif name.count("/") == 1:
            found.append(_space(name))
        else:
            known = ", ".join(TOOL_MAPPING)
            raise UsageError(
                f"--tools {name}: there is no such tool; known are {known}, or give module:name, or owner/space"
            )
    try:
        named = by_name(found, "tool")
    except TypeError as error:
        raise UsageError(f"--tools: {error}") from error
    if len(named) < len(found):
        raise UsageError(f"--tools {', '.join(names)}: two of them have the same name")
    return found


def _space(name: str) -> Any:
    """A Space of the Hub as a tool, under the Space's own name."""
    from actloop.tools.base import Tool
    from actloop.tools.names import python_name

    own = name.rpartition("/")[2]
    return Tool.from_space(name, name=python_name(own), description=f"The Space {name}.")


def _tool_of(module: str, attribute: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        value: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--tools {module}:{attribute}: {error}") from error
    return value() if isinstance(value, type) else value


def make_agent(
    settings: Settings,
    tools: list[Any],
    executor: Any,
    secrets: dict[str, str | Secret],
    model: Model,
    logger: AgentLogger,
) -> MultiStepAgent:
    """The agent that the options ask for.

    Raises:
        UsageError: The tools do not fit together.
    """
    from actloop.agents.code import CodeAgent
    from actloop.agents.tool_calling import ToolCallingAgent

    options: dict[str, Any] = {
        "max_steps": settings.agent.max_steps,
        "stream_outputs": not settings.as_json,
        "logger": logger,
        "journal": None if settings.agent.no_journal else "default",
        "secrets": secrets,
    }
    try:
        if executor is None:
            return ToolCallingAgent(tools, model, **options)
        imports = settings.programs.imports
        return CodeAgent(tools, model, executor=executor, additional_authorized_imports=imports, **options)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error


def stdin_task() -> str:
    """The task from standard input.

    Raises:
        UsageError: There is none.
    """
    task = sys.stdin.read().strip()
    if not task:
        raise UsageError("standard input holds no task")
    return task
