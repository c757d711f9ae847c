"""What can go wrong with an MCP server."""

from __future__ import annotations

from actloop.errors import AgentError, AgentToolExecutionError


class MCPConnectionError(AgentError, ConnectionError):
    """A server cannot be reached, ended, or broke the protocol. The next call connects again."""


class MCPToolError(AgentToolExecutionError):
    """A server answered a request with an error; the message is the server's own."""


class MCPTimeoutError(AgentToolExecutionError, TimeoutError):
    """A server did not answer in time; the request was cancelled there."""
