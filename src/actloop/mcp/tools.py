"""`MCPTool`: a tool of a server, as an agent calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actloop.mcp.content import argument_value
from actloop.tools.base import Tool
from actloop.tools.foreign.schemas import description_of, output_schema, takes_null, tool_inputs
from actloop.tools.schema import Schema, type_names
from actloop.tools.validation import bind_arguments

if TYPE_CHECKING:
    from mcp_types import Tool as Listed

    from actloop.mcp.client import MCPClient


class MCPTool(Tool):
    """A tool of an MCP server. It may be called from any thread; `acall` is its form for async code.

    Attributes:
        mcp_name: Its name on the server; `name` is one that Python accepts.
        server: Number of its server among those of the client.
        timeout: Seconds that a call may take, instead of the client's `call_timeout`; None for that.
        read_only: The server says that it changes nothing.
        repeatable: The server says that a second call with the same arguments changes nothing more.
    """

    skip_forward_signature_validation = True

    def __init__(self, client: MCPClient, server: int, name: str, listed: Listed, *, structured: bool) -> None:
        super().__init__()
        self.name = name
        self.description = description_of(listed.description or listed.title or "")
        self.inputs = tool_inputs(listed.input_schema)
        self.output_schema = output_schema(listed.output_schema) if structured else None
        self.output_type = _output_type(self.output_schema) if structured else "string"
        self.is_initialized = True
        self.mcp_name = listed.name
        self.server = server
        self.timeout: float | None = None
        hints = listed.annotations
        self.read_only = bool(hints and hints.read_only_hint)
        self.repeatable = self.read_only or bool(hints and hints.idempotent_hint)
        self._client = client
        self._nulls = {name for name, schema in self.inputs.items() if takes_null(schema)}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the tool on the server; see `MCPClient.call_tool` for what it raises."""
        return self._client.call_listed(self, self.prepared(args, kwargs))

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """As calling the tool, on the running event loop; cancelling this cancels the call on the server."""
        return await self._client.acall_listed(self, self.prepared(args, kwargs))

    def prepared(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments as they are sent.

        Raises:
            AgentToolCallError: JSON has no form for one, or there are too many.
        """
        if args:
            kwargs = bind_arguments(self, args, kwargs)
        # What may be left out and is None is left out: most servers refuse a null that they did not ask for.
        return {
            name: argument_value(self.name, name, value)
            for name, value in kwargs.items()
            if value is not None or name in self._nulls or not self.inputs.get(name, {}).get("nullable")
        }


def _output_type(schema: Schema | None) -> str:
    names = type_names(schema) if schema is not None else []
    return names[0] if len(names) == 1 else "any"
