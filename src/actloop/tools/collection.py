"""Several tools at once: those of a collection on the Hub, or of an MCP server."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from actloop.tools import saving

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Self

    from actloop.tools.base import Tool


class ToolCollection:
    """Tools that come together: `CodeAgent(tools=[*collection.tools], ...)`.

    Args:
        tools: The tools.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self.tools = list(tools)

    @classmethod
    def from_hub(cls, collection_slug: str, token: str | None = None, trust_remote_code: bool = False) -> Self:
        """The tools of all Spaces in a collection on the Hub; other things in it are passed over.

        Args:
            collection_slug: Name of the collection, `owner/title-id`.
            token: Token to sign in with; the one of `hf auth login` or `HF_TOKEN` by default.
            trust_remote_code: Say that the code of these tools may be run in this process.

        Raises:
            ValueError: `trust_remote_code` is not set, or there is no code of a tool in a Space.
            HubError: The Hub refuses or cannot be reached.
        """
        if trust_remote_code is not True:
            raise ValueError(
                f"loading the collection {collection_slug} runs the code of every tool in it in this process, outside "
                "any sandbox; read it on the Hub, and pass trust_remote_code=True if you trust it"
            )
        from actloop.hub.client import HubClient

        names = HubClient(token).spaces_of(collection_slug)
        return cls([saving.from_hub(name, token, trust_remote_code=True) for name in names])

    @classmethod
    @contextmanager
    def from_mcp(
        cls, server_parameters: Any, trust_remote_code: bool = False, structured_output: bool | None = None
    ) -> Generator[Self]:
        """The tools of an MCP server, for as long as the `with` block lasts.

        Args:
            server_parameters: As for `MCPClient`: `StdioServerParameters`, a dict with a "url", or a list of these.
            trust_remote_code: Say that you trust the server: starting one runs a program on this machine.
            structured_output: Use the schemas and the structured results of the server's tools; the client's own
                default if None.

        Raises:
            ValueError: `trust_remote_code` is not set.
        """
        if trust_remote_code is not True:
            raise ValueError(
                "the tools of an MCP server do what the server says, and a server that is started here runs a program "
                "on this machine; pass trust_remote_code=True if you trust it"
            )
        client: Any = import_module("actloop.mcp.client").MCPClient  # tools know no MCP until they are asked for it
        options = {} if structured_output is None else {"structured_output": structured_output}
        with client(server_parameters, **options) as tools:
            yield cls(tools)
