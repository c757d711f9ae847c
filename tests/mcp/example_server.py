"""An MCP server with a tool of every kind, run by tests: `example_server.py stdio | http PORT | sse PORT`."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import sys
import wave
from pathlib import Path
from typing import Any, Literal

from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.tools.base import ToolResult
from mcp_types import AudioContent, BlobResourceContents, EmbeddedResource, ImageContent, ResourceLink, TextContent
from pydantic import BaseModel

server = FastMCP(os.environ.get("SERVER_NAME", "example"))
DIARY = os.environ.get("DIARY", "")
"""A file to which the server writes what happened to it."""

PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
        "0000000c4944415478da63f8cfc0000003010100f7036741000000004945 4e44ae426082".replace(" ", "")
    )
).decode()


def note(line: str) -> None:
    if DIARY:
        with Path(DIARY).open("a") as file:
            file.write(f"{line}\n")


note(f"started {os.getpid()}")


class Point(BaseModel):
    x: int
    y: int


class Shape(BaseModel):
    name: str
    points: list[Point]


@server.tool
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@server.tool
def echo(text: str) -> str:
    """Give the text back."""
    return text


@server.tool
def describe(shape: Shape, unit: Literal["mm", "cm"] = "mm", note: str | None = None) -> dict[str, Any]:
    """Describe a shape."""
    return {"name": shape.name, "corners": len(shape.points), "unit": unit, "note": note}


@server.tool
def bounds(shape: Shape) -> Point:
    """The far corner of a shape."""
    return Point(x=max(p.x for p in shape.points), y=max(p.y for p in shape.points))


@server.tool(output_schema=None)
def picture() -> ImageContent:
    """One pixel."""
    return ImageContent(type="image", data=PIXEL, mime_type="image/png")


@server.tool(output_schema=None)
def sound() -> AudioContent:
    """Ten samples."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x00\x40" * 10)
    return AudioContent(type="audio", data=base64.b64encode(stream.getvalue()).decode(), mime_type="audio/wav")


@server.tool(output_schema=None)
def mixed() -> ToolResult:
    """Several parts."""
    return ToolResult(
        content=[
            TextContent(type="text", text="one"),
            ImageContent(type="image", data=PIXEL, mime_type="image/png"),
            EmbeddedResource(
                type="resource",
                resource=BlobResourceContents(
                    uri="data://blob", blob=base64.b64encode(b"\x00\x01").decode(), mime_type="application/x-raw"
                ),
            ),
            ResourceLink(type="resource_link", uri="data://greeting", name="greeting"),
        ]
    )


@server.tool(output_schema=None)
def nothing() -> ToolResult:
    """No content at all."""
    return ToolResult(content=[])


@server.tool
def fail(message: str) -> str:
    """Fail."""
    raise ToolError(message)


@server.tool
async def slow(seconds: float) -> str:
    """Wait."""
    note("slow began")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("slow cancelled")
        raise
    note("slow ended")
    return "waited"


@server.tool
async def count(to: int, context: Context) -> str:
    """Count, and tell of it."""
    for number in range(1, to + 1):
        await context.report_progress(number, to, f"at {number}")
    await asyncio.sleep(0.05)
    return "counted"


@server.tool
def die() -> str:
    """End the server."""
    note("die called")
    os._exit(3)


@server.tool(annotations={"readOnlyHint": True})
def die_once() -> str:
    """End the server the first time."""
    if Path(DIARY).read_text().count("die_once") == 0:
        note("die_once")
        os._exit(3)
    return "alive"


@server.tool
def pid() -> int:
    """The server's process."""
    return os.getpid()


@server.tool
def print_something() -> str:
    """Write to standard output and error."""
    print("this is not the protocol")
    print("a line for the log", file=sys.stderr, flush=True)
    return "printed"


@server.tool
def big(size: int) -> str:
    """A long text."""
    return "x" * size


@server.tool
async def learn(context: Context) -> str:
    """From now on there is one more tool."""

    def learned() -> str:
        """A new tool."""
        return "new"

    server.add_tool(learned)
    await context.send_notification(_changed())
    return "learned"


def _changed() -> Any:
    from mcp_types import ToolListChangedNotification

    return ToolListChangedNotification()


@server.tool(name="odd-name.of tool")
def odd(value: str = "none") -> str:
    """A name that is none in Python."""
    return f"odd {value}"


@server.resource("data://greeting")
def greeting() -> str:
    """A greeting."""
    return "hello"


@server.resource("data://raw", mime_type="application/octet-stream")
def raw() -> bytes:
    """Bytes."""
    return b"\x00\x01\x02"


@server.prompt
def ask(topic: str) -> str:
    """Ask for something."""
    return f"Tell me about {topic}."


if __name__ == "__main__":
    how = sys.argv[1]
    if how == "stdio":
        server.run("stdio", show_banner=False)
    else:
        transport = {"http": "http", "sse": "sse"}[how]
        server.run(transport, show_banner=False, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")  # pyright: ignore[reportArgumentType]
