"""Collections of tools; those of the Hub are in tests/hub."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from actloop import ToolCollection, tool
from mcp import StdioServerParameters

if TYPE_CHECKING:
    from pathlib import Path

SERVER = textwrap.dedent(
    """
    from fastmcp import FastMCP

    server = FastMCP("sums")

    @server.tool
    def add(a: int, b: int) -> dict[str, int]:
        "Adds."
        return {"sum": a + b}

    server.run("stdio", show_banner=False, log_level="error")
    """
)


@pytest.fixture
def server(tmp_path: Path) -> StdioServerParameters:
    """A server that is started by the client."""
    (tmp_path / "server.py").write_text(SERVER)
    return StdioServerParameters(command=sys.executable, args=[str(tmp_path / "server.py")], env=dict(os.environ))


def test_the_tools_of_an_mcp_server(server: StdioServerParameters) -> None:
    with ToolCollection.from_mcp(server, trust_remote_code=True) as collection:
        assert [one.name for one in collection.tools] == ["add"]
        assert '"sum":3' in str(collection.tools[0](a=1, b=2)).replace(" ", "")
        with pytest.raises(ValueError, match="tool 'add' cannot be saved"):
            collection.tools[0].to_dict()


def test_structured_results_of_an_mcp_server(server: StdioServerParameters) -> None:
    with ToolCollection.from_mcp(server, trust_remote_code=True, structured_output=True) as collection:
        assert collection.tools[0](a=1, b=2) == {"sum": 3}
        assert collection.tools[0].output_schema is not None


def test_no_server_is_started_without_consent(tmp_path: Path) -> None:
    server = StdioServerParameters(command="touch", args=[str(tmp_path / "it ran")])
    with pytest.raises(ValueError, match="trust_remote_code=True"), ToolCollection.from_mcp(server):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_collection_of_ones_own() -> None:
    @tool
    def one() -> int:
        """One."""
        return 1

    assert ToolCollection([one]).tools == [one]
