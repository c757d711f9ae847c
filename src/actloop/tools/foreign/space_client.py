"""Speaks to a Gradio app (version 4 or later) over its documented HTTP API, and trusts nothing that it says.

Everything is asked of the app's own origin: no address, path or prefix that the app names is followed elsewhere, and
nothing is read from this machine because an app named it.
"""

from __future__ import annotations

import json
import mimetypes
import re
import secrets
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlsplit

from actloop.errors import AgentToolExecutionError
from actloop.values.cuts import cut

_HUB = "https://huggingface.co"
_SPACE_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
_PREFIX = re.compile(r"/?(?:[\w.-]+/?)*", re.ASCII)
_EVENT_ID = re.compile(r"[\w-]{1,200}", re.ASCII)
_STEP_SECONDS = 30.0
_LARGEST_DESCRIPTION = 5_000_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A function that an app offers.

    Attributes:
        name: With its slash: `/predict`.
        parameters: What the app says of each, as it said it.
        returns: What the app says of each value that comes back.
        shown: Which of the values that come back are for the caller; the others are the app's own state.
        description: What the app says of it.
    """

    name: str
    parameters: list[dict[str, Any]]
    returns: list[dict[str, Any]]
    shown: list[bool]
    description: str


class SpaceClient:
    """A connection to one app.

    Args:
        space_id: `owner/name` of a Space on the Hugging Face Hub, or the address of any Gradio app.
        token: Sent to the Hub, and to the app; none is looked for elsewhere.
        timeout: Seconds that one call may take.
        max_bytes: Size of one file that comes back.

    Raises:
        ValueError: `space_id` is neither, or there is no app of Gradio's.
        FetchError: It cannot be reached.
    """

    def __init__(self, space_id: str, token: str | None, timeout: float, max_bytes: int) -> None:
        from actloop.tools.web.fetch import Fetcher

        self.timeout = timeout
        self.root, allowed = _located(space_id, token)
        self._headers = {"X-HF-Authorization": f"Bearer {token}"} if token else {}
        self._fetcher = Fetcher(allow_hosts=allowed, ports=None, timeout=_STEP_SECONDS, max_bytes=_LARGEST_DESCRIPTION)
        self._files = Fetcher(allow_hosts=allowed, ports=None, timeout=timeout, max_bytes=max_bytes)
        self._config = self._described("config")
        prefix = self._config.get("api_prefix", "")
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix) or ".." in prefix:
            raise ValueError(f"{space_id}: the app names a place for its API that is not below its address")
        self.base = "/".join(part for part in (self.root, prefix.strip("/")) if part)
        self.endpoints = self._endpoints()

    def _described(self, path: str) -> dict[str, Any]:
        answer = self._fetcher.fetch(f"{self.root}/{path}", headers=self._headers)
        answer.raise_for_status()
        found = answer.json()
        if not isinstance(found, dict):
            raise ValueError(f"{self.root} is no app of Gradio's")
        return cast("dict[str, Any]", found)

    def _endpoints(self) -> dict[str, Endpoint]:
        info = self._described(f"{self.base.removeprefix(self.root).strip('/')}/info".lstrip("/"))
        found: dict[str, Endpoint] = {}
        for name, about in _mapping(info.get("named_endpoints")).items():
            entry = _mapping(about)
            if not re.fullmatch(r"/[\w./-]{1,200}", name, re.ASCII) or ".." in name:
                continue
            returns = _mappings(entry.get("returns"))
            shown = self._shown(name, len(returns))
            text = entry.get("description")
            found[name] = Endpoint(
                name, _mappings(entry.get("parameters")), returns, shown, text if isinstance(text, str) else ""
            )
        return found

    def _shown(self, name: str, count: int) -> list[bool]:
        """An app sends the values of its own state, too, as null; which those are, its configuration says."""
        components = {item.get("id"): item for item in _mappings(self._config.get("components"))}
        for dependency in _mappings(self._config.get("dependencies")):
            if f"/{dependency.get('api_name')}" != name:
                continue
            outputs = dependency.get("outputs")
            kinds = [components.get(i, {}) for i in cast("list[Any]", outputs) if isinstance(i, int)] if outputs else []
            shown = [not (kind.get("skip_api", kind.get("type") == "state")) for kind in kinds]
            if sum(shown) == count:
                return shown
        return [True] * count

    def call(self, endpoint: Endpoint, data: list[Any]) -> list[Any]:
        """Call an endpoint and wait for its values.

        Raises:
            AgentToolExecutionError: The app says that it failed, or says nothing that can be understood.
            FetchError: It cannot be reached, takes too long or sends too much.
        """
        from actloop.tools.web.fetch import StatusError

        address = f"{self.base}/call{endpoint.name}"
        try:
            answer = self._fetcher.fetch(address, method="POST", json={"data": data}, headers=self._headers)
            answer.raise_for_status()
        except StatusError as error:
            raise AgentToolExecutionError(f"the app refused the call: {error}") from None
        event = _mapping(answer.json()).get("event_id")
        if not isinstance(event, str) or not _EVENT_ID.fullmatch(event):
            raise AgentToolExecutionError(f"{self.root} did not take the call: it gave no id for it")
        events = self._fetcher.fetch(f"{address}/{event}", headers=self._headers, timeout=self.timeout)
        events.raise_for_status()
        values = _outcome(events.body.decode("utf-8", "replace"))
        if len(values) == len(endpoint.shown):
            values = [value for value, is_shown in zip(values, endpoint.shown, strict=True) if is_shown]
        return values

    def upload(self, content: bytes, name: str) -> dict[str, Any]:
        """Send a file; returns what stands for it in the data of a call."""
        from actloop.tools.web.fetch import StatusError

        suffix = re.search(r"\.[A-Za-z0-9]{1,10}$", name)
        name = f"file{suffix[0] if suffix else ''}"
        boundary = secrets.token_hex(16)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        body = f"{head}Content-Type: {kind}\r\n\r\n".encode() + content + f"\r\n--{boundary}--\r\n".encode()
        headers = {**self._headers, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        answer = self._files.fetch(f"{self.base}/upload", method="POST", content=body, headers=headers)
        try:
            answer.raise_for_status()
        except StatusError as error:
            raise AgentToolExecutionError(f"the app did not take the file: {error}") from None
        try:
            paths: Any = json.loads(answer.body)
        except ValueError:
            paths = None
        if not isinstance(paths, list) or not paths or not isinstance(paths[0], str):
            raise AgentToolExecutionError(f"{self.root} did not take the file")
        return file_data(paths[0], name)

    def download(self, file: dict[str, Any]) -> bytes:
        """The content of a file that came back, asked of the app itself, whatever address it gave.

        Raises:
            FetchError: It cannot be reached, leads elsewhere or is too large.
        """
        answer = self._files.fetch(f"{self.base}/file={quote(str(file['path']), safe='/')}", headers=self._headers)
        answer.raise_for_status()
        return answer.body


def file_data(path: str, name: str) -> dict[str, Any]:
    """What stands for a file in the data of a call: one that was uploaded, or an address that the app is to fetch."""
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def is_file(value: Any) -> bool:
    """Whether a value that came back stands for a file."""
    entry = _mapping(value)
    return isinstance(entry.get("path"), str) and _mapping(entry.get("meta")).get("_type") == "gradio.FileData"


def _located(space_id: str, token: str | None) -> tuple[str, list[str]]:
    """The address of an app, and what may be reached besides public addresses: the very host that the caller named."""
    if space_id.startswith(("http://", "https://")):
        parts = urlsplit(space_id)
        if parts.query or parts.fragment or parts.username or not parts.hostname:
            raise ValueError(f"{space_id!r} is not the address of an app")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return space_id.rstrip("/"), [f"{host}:{port}"]
    if not _SPACE_ID.fullmatch(space_id) or ".." in space_id:
        raise ValueError(f"{space_id!r} is neither the id of a Space ('owner/name') nor the address of an app")
    from actloop.tools.web.fetch import Fetcher

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = Fetcher(timeout=_STEP_SECONDS).fetch(f"{_HUB}/api/spaces/{space_id}/host", headers=headers)
    answer.raise_for_status()
    host = _mapping(answer.json()).get("host")
    if not isinstance(host, str) or not re.fullmatch(r"https://[\w.-]+", host, re.ASCII):
        raise ValueError(f"the Hub knows no address of the Space {space_id!r}")
    return host, []


def _outcome(text: str) -> list[Any]:
    """The values in a stream of events."""
    for block in re.split(r"\r?\n\r?\n", text):
        fields = dict(line.split(":", 1) for line in block.splitlines() if ":" in line)
        kind, data = fields.get("event", "").strip(), fields.get("data", "").strip()
        if kind not in ("complete", "error"):
            continue
        try:
            found: Any = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if kind == "complete" and isinstance(found, list):
            return cast("list[Any]", found)
        told = _mapping(found).get("error") if isinstance(found, dict) else found
        raise AgentToolExecutionError(
            f"the app failed: {cut(' '.join(str(told).split()), 500)}"
            if told
            else "the app failed and does not say why; its arguments may be wrong"
        )
    raise AgentToolExecutionError("the app ended the call without a result")


def _mapping(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[dict[str, Any]]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items[:2_000] if isinstance(item, dict)]
