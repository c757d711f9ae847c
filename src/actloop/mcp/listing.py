"""What the servers of a client offer, read page by page, and the names that it goes by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actloop.mcp.errors import MCPToolError
from actloop.tools.foreign.schemas import LONGEST_NAME, tool_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mcp_types import Tool as Listed

    from mcp import Client

_FINAL_ANSWER = "final_answer"
"""A server's tool of this name would end runs with an answer of the server's."""

_LONGEST_LABEL = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class MCPResource:
    """A resource that a server offers; `client.read_resource(uri)` reads it."""

    uri: str
    name: str
    description: str
    mime_type: str | None
    server: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MCPPrompt:
    """A prompt that a server offers, with the names of its arguments; `client.get_prompt(name, ...)` fills it in."""

    name: str
    description: str
    arguments: tuple[str, ...]
    required: tuple[str, ...]
    server: int


async def listed_tools(client: Client, most: int) -> list[Listed]:
    """Every tool of a server; none where it has no tools at all.

    Raises:
        MCPToolError: There are more than `most`.
    """
    if client.server_capabilities.tools is None:
        return []
    return await _pages(lambda cursor: client.list_tools(cursor=cursor, cache_mode="refresh"), "tools", most)


async def listed_resources(client: Client, most: int) -> list[Any]:
    """Every resource of a server."""
    if client.server_capabilities.resources is None:
        return []
    return await _pages(lambda cursor: client.list_resources(cursor=cursor, cache_mode="refresh"), "resources", most)


async def listed_prompts(client: Client, most: int) -> list[Any]:
    """Every prompt of a server."""
    if client.server_capabilities.prompts is None:
        return []
    return await _pages(lambda cursor: client.list_prompts(cursor=cursor, cache_mode="refresh"), "prompts", most)


async def _pages(page_at: Callable[[str | None], Awaitable[Any]], what: str, most: int) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    for _ in range(most + 1):  # a server may give empty pages for ever
        page = await page_at(cursor)
        found += getattr(page, what)
        if len(found) > most:
            break
        if not page.next_cursor or page.next_cursor == cursor:
            return found
        cursor = page.next_cursor
    raise MCPToolError(f"the server lists more than {most} {what}; adapter_kwargs={{'max_tools': ...}} allows more")


def named_tools(labels: Sequence[str], listed: Sequence[Sequence[Listed]]) -> list[tuple[int, str, Listed]]:
    """The tools of all servers: number of the server, a name that no other one has, and what the server says.

    A name that several servers use, or one that only agents may use, gets the server's label before it, on each of
    them, so that none hides another.

    Args:
        labels: What each server is called.
        listed: The tools of each server.
    """
    entries: list[tuple[int, str, Listed]] = []
    for server, tools in enumerate(listed):
        known: set[str] = set()
        for tool in tools:
            if tool.name not in known:
                known.add(tool.name)
                entries.append((server, tool_name(tool.name), tool))
    users = Counter(name for name, _ in {(name, server) for server, name, _ in entries})
    prefixes = _prefixes(labels)
    named: list[tuple[int, str, Listed]] = []
    taken = {name for _, name, tool in entries if users[name] == 1 and name == tool.name}
    used: set[str] = set()
    for server, name, tool in entries:
        chosen = name
        if users[name] > 1 or name == _FINAL_ANSWER:
            chosen = f"{prefixes[server]}_{name}"[:LONGEST_NAME]
        base, number = chosen, 2
        while chosen in used or (chosen in taken and chosen != tool.name):
            chosen, number = f"{base[: LONGEST_NAME - 5]}_{number}", number + 1
        used.add(chosen)
        named.append((server, chosen, tool))
    return named


def _prefixes(labels: Sequence[str]) -> list[str]:
    """A short name for each server, all different."""
    names = [tool_name(label)[:_LONGEST_LABEL].rstrip("_") if label else "" for label in labels]
    return [
        name if name and names.count(name) == 1 else f"{name or 'server'}_{number}"
        for number, name in enumerate(names, 1)
    ]
