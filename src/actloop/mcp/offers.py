"""What servers offer besides tools: resources and prompts."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from actloop.mcp.errors import MCPToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actloop.mcp.connection import Connection
    from actloop.mcp.listing import MCPPrompt, MCPResource
    from actloop.mcp.servers import Options
    from actloop.values.messages import ChatMessage

T = TypeVar("T")


class Offers(ABC):
    """Reads resources and prompts over the connections of a client."""

    _connections: list[Connection]
    _options: Options

    @abstractmethod
    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine where the connections live, blocking."""

    @abstractmethod
    async def _await(self, work: Coroutine[Any, Any, T]) -> T:
        """As `_wait`, awaited."""

    def list_resources(self) -> list[MCPResource]:
        """The resources of all servers."""
        return self._wait(self._list_resources())

    async def alist_resources(self) -> list[MCPResource]:
        """As `list_resources`, on the running event loop."""
        return await self._await(self._list_resources())

    async def _list_resources(self) -> list[MCPResource]:
        from actloop.mcp.listing import MCPResource, listed_resources

        return [
            MCPResource(
                uri=item.uri,
                name=item.name,
                description=item.description or "",
                mime_type=item.mime_type,
                server=server,
            )
            for server, item in await self._of_all("list of resources", listed_resources)
        ]

    def read_resource(self, uri: str, server: int | None = None) -> Any:
        """A resource: text, bytes, an image or audio; a list of these where it has several parts.

        Args:
            uri: Its address.
            server: Number of its server; by default the first that knows it.

        Raises:
            MCPToolError: No server knows it, or it cannot be read.
        """
        from actloop.mcp.content import resource_values

        return resource_values(self._wait(self._read_resource(uri, server)))

    async def aread_resource(self, uri: str, server: int | None = None) -> Any:
        """As `read_resource`, on the running event loop."""
        from actloop.mcp.content import resource_values

        return resource_values(await self._await(self._read_resource(uri, server)))

    async def _read_resource(self, uri: str, server: int | None) -> list[Any]:
        found = await self._first(f"resource '{uri}'", server, lambda client: client.read_resource(uri))
        return list(found.contents)

    def list_prompts(self) -> list[MCPPrompt]:
        """The prompts of all servers."""
        return self._wait(self._list_prompts())

    async def alist_prompts(self) -> list[MCPPrompt]:
        """As `list_prompts`, on the running event loop."""
        return await self._await(self._list_prompts())

    async def _list_prompts(self) -> list[MCPPrompt]:
        from actloop.mcp.listing import MCPPrompt, listed_prompts

        return [
            MCPPrompt(
                name=item.name,
                description=item.description or "",
                arguments=tuple(argument.name for argument in item.arguments or ()),
                required=tuple(argument.name for argument in item.arguments or () if argument.required),
                server=server,
            )
            for server, item in await self._of_all("list of prompts", listed_prompts)
        ]

    def get_prompt(
        self, name: str, arguments: dict[str, str] | None = None, server: int | None = None
    ) -> list[ChatMessage]:
        """The messages of a prompt.

        Args:
            name: Its name.
            arguments: Texts by name.
            server: Number of its server; by default the first that knows it.

        Raises:
            MCPToolError: No server knows it, or an argument is missing.
        """
        return self._wait(self._get_prompt(name, arguments, server))

    async def aget_prompt(
        self, name: str, arguments: dict[str, str] | None = None, server: int | None = None
    ) -> list[ChatMessage]:
        """As `get_prompt`, on the running event loop."""
        return await self._await(self._get_prompt(name, arguments, server))

    async def _get_prompt(self, name: str, arguments: dict[str, str] | None, server: int | None) -> list[ChatMessage]:
        from actloop.mcp.content import prompt_message

        found = await self._first(f"prompt '{name}'", server, lambda client: client.get_prompt(name, arguments))
        return [prompt_message(message) for message in found.messages]

    async def _of_all(self, what: str, read: Callable[[Any, int], Any]) -> list[tuple[int, Any]]:
        most, limit = self._options.max_tools, self._options.call_timeout
        lists: list[list[Any]] = await asyncio.gather(
            *(
                item.request(what, lambda client: read(client, most), timeout=limit, repeatable=True)
                for item in self._connections
            )
        )
        return [(server, item) for server, items in enumerate(lists) for item in items]

    async def _first(self, what: str, server: int | None, ask: Callable[[Any], Any]) -> Any:
        chosen = self._connections if server is None else [self._connections[server]]
        failure: MCPToolError | None = None
        for connection in chosen:
            try:
                return await connection.request(what, ask, timeout=self._options.call_timeout, repeatable=True)
            except MCPToolError as error:
                failure = error
        assert failure is not None
        raise failure
