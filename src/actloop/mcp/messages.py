"""Messages as they come from a server."""

from __future__ import annotations

import json
from typing import Any, cast

from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter


def read_message(data: bytes | str) -> SessionMessage | None:
    """The message that a line or an event holds, or None where it holds none.

    An answer that cannot be read (it breaks the protocol, or is nested too deep) becomes an error for its request,
    which would otherwise wait for it.
    """
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(data, by_name=False))
    except ValueError:
        pass
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    message = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    number = message.get("id")
    if not isinstance(number, int | str) or isinstance(number, bool) or "method" in message:
        return None
    error = ErrorData(code=PARSE_ERROR, message="its answer is no valid message, or is nested too deep")
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=error))
