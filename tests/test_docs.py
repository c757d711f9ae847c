"""The pages of the documentation: links lead somewhere, and every snippet of Python runs as it stands there.

A page's snippets are one program, in their order. Where a page asks a model, it speaks to a service of OpenAI's kind
that this test starts (`OPENAI_BASE_URL` leads there); what it replies stands in comments of the page, which readers do
not see:

    <!-- replies
    first reply
    ---
    second reply
    -->
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"^( *)```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
REPLIES = re.compile(r"<!-- replies\n(.*?)\n-->", re.DOTALL)
RUN = [page for page in PAGES if page.parent != ROOT and SNIPPET.search(page.read_text())]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


class Service(ThreadingHTTPServer):
    """Replies in order, whole or streamed; keeps what it could not answer."""

    daemon_threads = True

    def __init__(self, replies: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = replies
        self.asked = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Service  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked += 1
            left = self.server.replies
            text = left.pop(0) if left else None
        if text is None:
            self._send(400, "application/json", json.dumps({"error": {"message": "the page holds no more replies"}}))
            return
        message: dict[str, Any] = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220}
        common = {"id": "1", "created": 1, "model": body["model"]}
        if body.get("stream"):
            delta = {"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}], "usage": usage}
            event = json.dumps({**common, "object": "chat.completion.chunk", **delta})
            self._send(200, "text/event-stream", f"data: {event}\n\ndata: [DONE]\n\n")
            return
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {**common, "object": "chat.completion", "choices": [choice], "usage": usage}
        self._send(200, "application/json", json.dumps(whole))

    def _send(self, status: int, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests need no log."""


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    page: Path = request.getfixturevalue("page")
    replies = [reply for block in REPLIES.findall(page.read_text()) for reply in block.split("\n---\n")]
    with Service(replies) as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield service
        service.shutdown()
        thread.join()


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_snippets_of_a_page_run(page: Path, service: Service, tmp_path: Path) -> None:
    text = page.read_text()
    code = "\n".join(re.sub(f"^{indent}", "", body, flags=re.MULTILINE) for indent, body in SNIPPET.findall(text))
    script = tmp_path / "page.py"  # tools are read from their source, so it must be a file
    script.write_text(code)
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "OPENAI_BASE_URL": service.url,
        "OPENAI_API_KEY": "none",
        "ACTLOOP_HOME": str(tmp_path / "home"),
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, env=env, cwd=tmp_path, timeout=280
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert not service.replies, f"{len(service.replies)} replies of the page were not asked for"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_of_the_documentation_is_in_its_index(page: Path) -> None:
    index = ROOT / "docs" / "index.md"
    if page.parent == ROOT or page == index:
        return
    assert str(page.relative_to(index.parent)) in index.read_text()


COMMANDS = sorted(
    {line.strip() for page in PAGES for line in re.findall(r"^actloop [^\n#]*", page.read_text(), re.MULTILINE)}
)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_of_a_command_exist(command: str) -> None:
    from actloop.cli.main import app

    for part in command.split(";"):
        words = part.split()
        named = [word for word in words[1:2] if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)]
        target = app[named[0]] if named and named[0] in app else app
        known = {name for argument in target.assemble_argument_collection() for name in argument.names}
        known |= {"--help", "--version"}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, part
