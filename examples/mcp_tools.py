"""Tools of an MCP server, which this program starts: itself, with the argument `serve`."""

import sys

from actloop import CodeAgent, MCPClient
from mcp import StdioServerParameters
from model import choose_model


def serve() -> None:
    """A server with one tool."""
    from fastmcp import FastMCP

    server = FastMCP("units")

    @server.tool
    def miles(kilometres: float) -> float:
        """Converts kilometres to miles."""
        return kilometres / 1.609344  # the international mile, in kilometres

    server.run(show_banner=False)


def main() -> None:
    server = StdioServerParameters(command=sys.executable, args=[__file__, "serve"])
    with MCPClient(server) as tools, CodeAgent(tools=tools, model=choose_model()) as agent:
        print(agent.run("How many miles is a marathon of 42.195 kilometres? Round to two digits."))


if __name__ == "__main__":
    serve() if "serve" in sys.argv[1:] else main()
