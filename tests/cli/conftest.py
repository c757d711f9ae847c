"""A service that speaks OpenAI's protocol and replies from a script, and a way to run the command against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).resolve().parents[2] / "src"
COMMAND = [sys.executable, "-m", "actloop.cli.main"]


def environment(**more: str) -> dict[str, str]:
    """That of this test, with the package found."""
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "error", **more}


def actloop(*arguments: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(**more),
    )


@dataclass
class Service:
    """Replies in order, each as one streamed piece; every request is kept."""

    port: int = 0
    replies: list[str] = field(default_factory=list[str])
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    keys: list[str] = field(default_factory=list[str])
    asked: threading.Event = field(default_factory=threading.Event)

    @property
    def options(self) -> list[str]:
        """Options that point the command at this service."""
        return ["--api-base", f"http://127.0.0.1:{self.port}/v1", "--model-id", "scripted", "--api-key", "secret-key-1"]


@pytest.fixture
def service() -> Iterator[Service]:
    """A running service."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.requests.append(request)
            service.keys.append(self.headers["Authorization"])
            service.asked.set()
            reply = service.replies.pop(0) if service.replies else "<code>\nfinal_answer('no more replies')\n</code>"
            usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
            if request.get("stream"):
                chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "usage": usage}
                choice = {"index": 0, "delta": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
                body = f"data: {json.dumps(chunk | {'choices': [choice]})}\n\ndata: [DONE]\n\n".encode()
                kind = "text/event-stream"
            else:
                choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
                whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}
                body, kind = json.dumps(whole | {"choices": [choice]}).encode(), "application/json"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield service
    server.shutdown()
    thread.join()
    server.server_close()
