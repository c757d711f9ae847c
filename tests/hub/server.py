"""A small Hub: the endpoints that are used, on this machine, with a record of what was asked."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = "a" * 40
TOKEN = "the-token-of-the-test"


@dataclass
class Asked:
    """A request that came in."""

    method: str
    path: str
    token: str | None
    body: Any


@dataclass
class Space:
    """A Space: its files, and how its answers go wrong."""

    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    status: int = 200
    error: str = ""
    needs_token: bool = False
    sizes: dict[str, int] = field(default_factory=dict[str, int])


class Hub:
    """The server, its content and its record."""

    def __init__(self) -> None:
        self.spaces: dict[str, Space] = {}
        self.collections: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[Asked] = []
        self.commits: list[dict[str, Any]] = []
        self.refuse_creation = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, method: str, part: str) -> list[Asked]:
        """Requests of a method whose path holds `part`."""
        return [one for one in self.asked if one.method == method and part in one.path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        data = request.rfile.read(length)
        token = (request.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        path = unquote(request.path)
        body: Any = data
        if "ndjson" in (request.headers.get("Content-Type") or ""):
            body = [json.loads(line) for line in data.splitlines()]
        elif data:
            body = json.loads(data)
        self.asked.append(Asked(request.command, path, token, body))
        status, headers, content = self.reply(request.command, path, token, body)
        request.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def reply(self, method: str, path: str, token: str | None, body: Any) -> tuple[int, dict[str, str], bytes]:
        if path == "/api/repos/create":
            return self.create(token, body)
        if path == "/api/validate-yaml":
            return said({"errors": [], "warnings": []})
        if found := re.match(r"/api/collections/([^?]+)", path):
            items = self.collections.get(found[1])
            if items is None:
                return said({"error": "Collection not found"}, 404)
            about = {"slug": found[1], "title": "t", "owner": "o", "lastUpdated": "2026-01-01T00:00:00.000Z"}
            more = {"position": 0, "private": False, "theme": "green", "upvotes": 0}
            return said({**about, **more, "items": items})
        found = re.match(r"/(?:api/)?spaces/([^/]+/[^/]+)/([a-z]+)(?:/([^/?]+))?(?:/([^?]*))?", path)
        if found is None:
            return said({"error": "no such endpoint"}, 418)
        name, what, revision, rest = found.groups()
        space = self.spaces.get(name)
        if space is None:
            return said({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        if space.status != 200:
            return said({"error": space.error}, space.status, {"X-Error-Code": space.error} if space.error else {})
        if space.needs_token and token != TOKEN:
            return said({"error": "Invalid credentials"}, 401)
        if revision not in ("main", COMMIT, None):
            return said({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        return self.within(name, space, what, rest or "", body)

    def create(self, token: str | None, body: Any) -> tuple[int, dict[str, str], bytes]:
        if self.refuse_creation:
            return said({"error": "refused"}, self.refuse_creation)
        if token != TOKEN:
            return said({"error": "Invalid credentials"}, 401, {"X-Error-Message": "Invalid credentials"})
        name = f"{body.get('organization') or 'me'}/{body['name']}"
        if name in self.spaces:
            return said({"error": "You already created this", "url": f"{self.endpoint}/spaces/{name}"}, 409)
        self.spaces[name] = Space({"README.md": b"---\ntitle: Given\nsdk: gradio\ntags:\n- mine\n---\nAbout it.\n"})
        return said({"url": f"{self.endpoint}/spaces/{name}", "id": name, "name": name})

    def within(self, name: str, space: Space, what: str, rest: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        if what == "preupload":
            modes = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in body["files"]]
            return said({"files": modes})
        if what == "commit":
            head = body[0]["value"]
            files = {one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in body[1:]}
            self.commits.append({"space": name, **head, "files": files})
            space.files |= files
            url = f"{self.endpoint}/spaces/{name}/commit/{COMMIT}"
            return said(
                {
                    "commitUrl": url,
                    "commitOid": COMMIT,
                    "pullRequestUrl": f"{self.endpoint}/spaces/{name}/discussions/1",
                }
            )
        if what == "revision":
            return said({"id": name, "sha": COMMIT, "private": False, "siblings": []})
        if what == "tree":
            return said(
                [
                    {"type": "file", "path": path, "size": space.sizes.get(path, len(data)), "oid": git_oid(data)}
                    for path, data in space.files.items()
                ]
            )
        if what == "resolve":
            if rest not in space.files:
                return said({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            data = space.files[rest]
            headers = {"ETag": f'"{git_oid(data)}"', "X-Repo-Commit": COMMIT}
            if rest in space.sizes:
                headers |= {"X-Linked-Size": str(space.sizes[rest])}
            return 200, headers, data
        return said({"error": "no such endpoint"}, 418)


def said(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode()


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
