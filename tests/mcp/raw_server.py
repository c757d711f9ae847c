"""An MCP server of the standard library alone, which starts fast and misbehaves as asked: `raw_server.py MODE`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MODE = sys.argv[1] if len(sys.argv) > 1 else "plain"
DIARY = os.environ.get("DIARY", "")
LONG = "z" * 1_000_000


def note(line: str) -> None:
    if DIARY:
        with Path(DIARY).open("a") as file:
            file.write(f"{line}\n")


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tool(name: str, properties: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties or {}}
    return {"name": name, "description": f"Does {name}.", "inputSchema": schema, **more}


def tools() -> list[dict[str, Any]]:
    if MODE in ("hostile-tools", "abyss"):
        deep: dict[str, Any] = {"type": "object"}
        for _ in range(80 if MODE == "hostile-tools" else 200):
            deep = {"type": "object", "properties": {"a": deep}}
        doubling: dict[str, Any] = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
        doubling["d40"] = {"type": "null"}
        doubled = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": doubling}
        return [
            tool("final_answer", {"answer": {"type": "string"}}),
            tool('x"""\n\nimport os # \u202e' + LONG, {"a": {"type": "string", "description": '"""\n' + LONG}}),
            tool("class"),
            tool("1st tool"),
            tool("get-it"),
            tool("get_it"),
            tool("wild", {"a": {"type": "nonsense"}, "b": {}, "c": {"type": ["string", "null"]}, "d": True, "\n": {}}),
            tool("deep", {"a": deep}),
            {**tool("doubling"), "inputSchema": doubled},
            tool("wide", {f"a{n}": {"type": "string", "enum": [LONG[:1000]]} for n in range(1000)}),
        ]
    return [
        tool("add", {"a": {"type": "integer"}, "b": {"type": "integer"}}),
        tool("wait"),
        tool("die"),
        tool("safe", annotations={"readOnlyHint": True}),
        tool("pid"),
        tool("say", {"text": {"description": "No type here."}}),
    ]


def call(number: Any, name: str, arguments: dict[str, Any]) -> None:
    note(f"call {name}")
    if MODE == "partial":
        sys.stdout.write('{"jsonrpc": "2.0", "id": ')
        sys.stdout.flush()
        os._exit(1)
    if MODE == "huge":
        sys.stdout.write("x" * 3_000_000 + "\n")
        sys.stdout.flush()
        return
    if MODE in ("crowd", "nameless") and name == "add":
        parts = ",".join(['{"type":"text","text":""}'] * 200_000)
        known = f'"id":{number},' if MODE == "crowd" else ""
        late = f',"id":{number}' if MODE == "nameless" else ""
        sys.stdout.write(f'{{"jsonrpc":"2.0",{known}"result":{{"content":[{parts}]{late},"x":{{}}}}}}\n')
        sys.stdout.flush()
        return
    if MODE == "wrong":
        send({"id": number, "result": {"content": "no list"}})
        return
    if name == "wait":
        return
    if name == "die" or (name == "safe" and Path(DIARY).read_text().count("call safe") == 1):
        os._exit(7)
    text = {"pid": str(os.getpid()), "add": str(arguments.get("a", 0) + arguments.get("b", 0))}.get(name)
    send({"id": number, "result": {"content": [{"type": "text", "text": text or json.dumps(arguments)}]}})


def serve() -> None:
    for line in sys.stdin:
        message: dict[str, Any] = json.loads(line)
        method, number = message.get("method"), message.get("id")
        params: dict[str, Any] = message.get("params") or {}
        if method == "initialize":
            info = {"name": "raw", "version": "1"}
            result: dict[str, Any] = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": info,
            }
            send({"id": number, "result": result})
        elif method == "tools/list":
            more = {"nextCursor": f"page {number}"} if MODE == "endless" else {}
            send({"id": number, "result": {"tools": tools(), **more}})
        elif method == "tools/call":
            call(number, params["name"], params.get("arguments") or {})
        elif method == "notifications/cancelled":
            note("cancelled")
        elif number is not None:
            send({"id": number, "error": {"code": -32601, "message": "no such method"}})


note(f"started {os.getpid()}")
if MODE == "never":
    time.sleep(600)
if MODE == "deaf":  # reads nothing, not even the end of its input, and does not want to end
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if MODE == "chatty":
    for _ in range(50):
        print("a banner, which is no message")
if MODE == "garbage":
    while True:
        print("garbage without end")
if MODE == "exit":
    print("no configuration", file=sys.stderr)
    sys.exit(9)
if MODE == "children":
    note(f"child {subprocess.Popen(['sleep', '600']).pid}")
serve()
if MODE == "deaf":
    time.sleep(600)
