"""Messages as they come from a server."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from actloop.values.bodies import has_more_values

MOST_VALUES = 100_000
"""Objects and lists in one message: the SDK takes about two kilobytes and ten microseconds for each."""

MOST_ITEMS = 1_000_000
"""Items of all lists and objects in one message, of about 130 bytes each."""

TOO_MANY = f"it sent a message of more than {MOST_VALUES:,} objects and lists, or {MOST_ITEMS:,} items"

_IDENTIFIER = re.compile(rb"""\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*([0-9]{1,18})\b""")
_LAST_IDENTIFIER = re.compile(rb"""[}\]]\s*,\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*([0-9]{1,18})\s*\}\s*\Z""")


def has_too_many(data: bytes) -> bool:
    """Whether a message has more parts than allowed."""
    return has_more_values(data, MOST_VALUES, MOST_ITEMS)


class OversizedMessageError(Exception):
    """A message is too large to be read, and does not say in time whom it answers."""


def read_message(data: bytes | str) -> SessionMessage | None:
    """The message that a line or an event holds, or None where it holds none.

    An answer that cannot be read (it breaks the protocol, is nested too deep, or has too many parts) becomes an error
    for its request, which would otherwise wait for it.

    Raises:
        OversizedMessageError: It has too many parts, and its request is not known.
    """
    data = data.encode("utf-8", "replace") if isinstance(data, str) else data
    if has_too_many(data):
        found = _IDENTIFIER.match(data) or _LAST_IDENTIFIER.search(data, max(0, len(data) - 200))
        if found is None:
            raise OversizedMessageError(TOO_MANY)
        error = ErrorData(code=PARSE_ERROR, message=TOO_MANY)
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=error))
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(data, by_name=False))
    except ValueError:
        pass
    try:
        read: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    message = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
    number = message.get("id")
    if not isinstance(number, int | str) or isinstance(number, bool) or "method" in message:
        return None
    error = ErrorData(code=PARSE_ERROR, message="its answer is no valid message, or is nested too deep")
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=error))
