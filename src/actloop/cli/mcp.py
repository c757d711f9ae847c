"""`actloop mcp`: serves an agent to MCP clients."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from actloop.cli.settings import (
    AGENT_DEFAULTS,
    PROGRAM_DEFAULTS,
    AgentOptions,
    Names,
    ProgramOptions,
    Settings,
    UsageError,
    split_names,
)

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def _output_diverted() -> Generator[None]:
    """While the agent is made, what is printed goes to standard error: standard output belongs to the protocol."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def mcp(
    *,
    agent: AgentOptions = AGENT_DEFAULTS,
    action_type: str = "code",
    programs: ProgramOptions = PROGRAM_DEFAULTS,
    verbosity: Annotated[
        int, Parameter(name=["--verbosity", "--verbosity-level"], validator=Number(gte=-1, lte=2))
    ] = 0,
    name: str | None = None,
    description: str | None = None,
    http: bool = False,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8000,
    token: str | None = None,
    allowed_hosts: Names = None,
) -> int:
    """Serve an agent as an MCP server, over standard input and output or over HTTP, until the client leaves or Ctrl-C.

    Parameters
    ----------
    action_type
        "code" acts by programs, "tool_calling" by tool calls.
    verbosity
        How much of each run is written to standard error: -1 nothing, 0 errors, 1 the steps, 2 prompts, too.
    name
        Name of the tool that clients see.
    description
        What the agent can do, for clients.
    http
        Serve over streamable HTTP, at /mcp, instead of standard input and output.
    host
        Address to listen on.
    port
        Port to listen on; 0 for any free one.
    token
        What HTTP clients must send as a bearer token (or ACTLOOP_MCP_TOKEN); a random one by default where others can
        reach the host, which is printed to standard error.
    allowed_hosts
        Names besides its own under which the server may be asked, behind a proxy for instance: name, or name:port.
    """
    from actloop.cli import setup
    from actloop.mcp.server import serve_agent
    from actloop.ui.logger import AgentLogger
    from actloop.values.hosts import is_loopback

    settings, _ = Settings(
        agent=agent, programs=programs, action_type=action_type.replace("-", "_"), verbosity=verbosity
    ).split("")
    token = token or os.environ.get("ACTLOOP_MCP_TOKEN") or None
    if http and token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
        print(f"Token: {token}", file=sys.stderr, flush=True)
    from rich.console import Console

    logger = AgentLogger(verbosity, Console(stderr=True, highlight=False))
    with ExitStack() as stack:
        with _output_diverted():
            served = stack.enter_context(setup.open_agent(settings, logger))
        try:
            serve_agent(
                served,
                "http" if http else "stdio",
                name=name,
                description=description,
                host=host,
                port=port,
                token=token,
                allowed_hosts=split_names(allowed_hosts, "")[0],
                ready=lambda address: print(f"Serving at {address}", file=sys.stderr, flush=True),
            )
        except OSError as error:
            raise UsageError(f"--host {host} --port {port}: {error.strerror or error}") from error
    return 0
