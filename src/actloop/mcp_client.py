"""Tools of MCP servers.

The names of smolagents' module `mcp_client`, for programs that import from there; `actloop` has them all.
"""

from actloop import (
    MCPClient as MCPClient,
)
