"""Programs in sandboxes of the service Blaxel."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import logging
import os
import secrets
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from actloop.errors import SandboxUnavailableError
from actloop.executors.cloud import CloudStream
from actloop.executors.locks import ForkSafeLock
from actloop.executors.service import ServiceExecutor
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    import httpx

KEY, WORKSPACE = "BL_API_KEY", "BL_WORKSPACE"
_WHERE = "https://app.blaxel.ai/profile/security"
_IMAGE = "blaxel/jupyter-notebook"
_IDLE = "5m"
_READY, _STARTING = "DEPLOYED", ("UPLOADING", "BUILDING", "DEPLOYING", "BUILT")
_SILENCE = 90.0  # seconds; the service says something every 30
_WRITE = 60.0
_CREATE = 120.0
_TRIES = 3


class BlaxelExecutor(ServiceExecutor):
    """Runs programs in sandboxes of Blaxel's: one for each session, which ends with it.

    Blaxel itself cannot close the network of a sandbox; so the guest is put into a network of its own inside the
    sandbox, which holds nothing. Where the image does not allow that, the sandbox is refused, unless
    `allow_internet_access=True` says that it may stay open. The service ends a sandbox that nobody used for 5 minutes.

    Args:
        additional_imports: As in `ServiceExecutor`.
        logger: As in `ServiceExecutor`.
        sandbox_name: Name of the sandbox; when several sessions are open at once, the others get names that begin
            with it. Made up by default.
        image: Its image; needs Python 3.11 or later.
        memory: Its memory in MiB, which decides about its processors, too.
        ttl: How long it lives at most, as "30m" or "24h"; None for no such limit.
        region: Where it runs; `BL_REGION` or the service's choice by default.
        api_key: `BL_API_KEY`, or what `bl login` has stored, by default.
        blaxel_workspace: `BL_WORKSPACE`, or what `bl login` has stored, by default.
        base_url: Address of the service's API.
        **options: Those of `ServiceExecutor`.

    Raises:
        MissingExtraError: The package `blaxel` is not installed.
        SandboxUnavailableError: There are no credentials.
    """

    kind = "blaxel"
    service = "Blaxel"
    extra = "blaxel"
    instead: ClassVar[Mapping[str, str]] = {
        "token": "write api_key=..., or set BL_API_KEY",
        "workspace_name": "write blaxel_workspace=..., or set BL_WORKSPACE",
        "envs": "what programs need they get as variables: agent.run(..., additional_args={...}), or secrets=",
        "create_kwargs": "write the options of the sandbox themselves: image=, memory=, ttl=, region=",
        "name": "write sandbox_name=...",
    }

    def __init__(
        self,
        additional_imports: Sequence[str],
        logger: Any,
        sandbox_name: str | None = None,
        image: str = _IMAGE,
        memory: int = 4096,
        ttl: str | None = None,
        region: str | None = None,
        *,
        api_key: str | None = None,
        blaxel_workspace: str | None = None,
        base_url: str | None = None,
        **options: Any,
    ) -> None:
        self.sandbox_name = sandbox_name
        self.image = image
        self.memory = memory
        self.ttl = ttl
        self.region = region
        self._api_key = api_key
        self._workspace = blaxel_workspace
        self._base_url = base_url
        self._names = itertools.count()
        super().__init__(additional_imports, logger, **options)

    @classmethod
    def _why_no_environment(cls) -> str:
        if os.environ.get("BL_CLIENT_CREDENTIALS") or _stored_login():
            return ""
        missing = [name for name in (KEY, WORKSPACE) if not os.environ.get(name)]
        return f"no credentials of Blaxel: set {' and '.join(missing)} (see {_WHERE}), or run `bl login`" * bool(
            missing
        )

    def _why_no_credentials(self) -> str:
        if self._api_key and (self._workspace or os.environ.get(WORKSPACE)):
            return ""
        return self._why_no_environment()

    def _hidden(self) -> list[str | None]:
        return [self._api_key, os.environ.get(KEY), os.environ.get("BL_CLIENT_CREDENTIALS")]

    def _name(self) -> str:
        """A name for the next sandbox."""
        tail = secrets.token_hex(4)
        if self.sandbox_name is None:
            return f"actloop-{tail}"
        return self.sandbox_name if next(self._names) == 0 else f"{self.sandbox_name}-{tail}"

    def _create(self) -> tuple[_Machine, None, str]:
        account = _Account(self._api_key, self._workspace, self._base_url)
        name = self._name()
        runtime: dict[str, Any] = {"image": self.image, "memory": self.memory}
        if self.ttl:
            runtime["ttl"] = self.ttl
        spec: dict[str, Any] = {
            "runtime": runtime,
            "lifecycle": {"expirationPolicies": [{"type": "ttl-idle", "value": _IDLE, "action": "delete"}]},
        }
        region = self.region or os.environ.get("BL_REGION")
        if region:
            spec["region"] = region
        machine = _Machine(account, name)
        try:
            machine.create({"metadata": {"name": name}, "spec": spec})
        except BaseException as error:
            if not (isinstance(error, _RefusedError) and error.status in (400, 401, 402, 403, 404, 409, 422, 429)):
                with contextlib.suppress(Exception):
                    machine.remove()  # it may have been created all the same
            machine.close()
            raise
        return machine, None, f"The service ends it {_IDLE} after its last use."

    def _explain(self, error: BaseException) -> str:
        import httpx

        match error:
            case _RefusedError(status=401):
                return f"Blaxel refused the credentials (401). Check {KEY} and {WORKSPACE}, or see {_WHERE}"
            case _RefusedError(status=402 | 403):
                return (
                    f"Blaxel does not let this account do that ({error.status}). Check {KEY} and {WORKSPACE}, and the "
                    f"account's plan and quotas: {error}"
                )
            case _RefusedError(status=404):
                return f"Blaxel does not know that (404); check the image {self.image!r} and the workspace: {error}"
            case _RefusedError(status=409):
                return f"Blaxel has a sandbox of that name already (409); choose another sandbox_name: {error}"
            case _RefusedError(status=429):
                return (
                    f"Blaxel's limit of requests, or of sandboxes, is reached (429). Close sessions, or wait: {error}"
                )
            case _RefusedError():
                return f"Blaxel could not make a sandbox ({error.status}): {error}"
            case httpx.TimeoutException() | TimeoutError():
                return f"Blaxel did not answer in time: {error}"
            case httpx.TransportError() | OSError():
                return f"Blaxel cannot be reached: {error}. Check the network"
            case _:
                return f"Blaxel could not make a sandbox: {type(error).__name__}: {error}"


def _stored_login() -> bool:
    """True when `bl login` was run on this machine."""
    try:
        return (Path.home() / ".blaxel" / "config.yaml").is_file()
    except (OSError, RuntimeError):
        return False


_importing = ForkSafeLock()


@contextlib.contextmanager
def _own_logging() -> Generator[None]:
    """Undo what importing the service's library does to this process's logging: it takes over the root logger."""
    with _importing:
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        names = ("urllib3", "httpx", "httpcore", "openai", "openai._base_client", "LiteLLM", "LiteLLM Proxy")
        levels = {name: logging.getLogger(name).level for name in names}
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            for name, former in levels.items():
                logging.getLogger(name).setLevel(former)


class _RefusedError(Exception):
    """The service answered with an error.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _ask(http: httpx.Client, method: str, path: str, *allowed: int, **content: Any) -> dict[str, Any]:
    """Make a request; the JSON object of the answer.

    Args:
        http: A client of the service's library.
        method: HTTP method.
        path: Below the client's address.
        *allowed: Statuses that are no errors.
        **content: The request's content, as `httpx` names it.

    Raises:
        _RefusedError: The answer is an error, or is none.
        httpx.HTTPError: There is no answer.
    """
    response = http.request(method, path, **content)
    if response.status_code >= 400 and response.status_code not in allowed:
        raise _RefusedError(response.status_code, _message(response.content))
    try:
        body: Any = response.json() if response.content else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _RefusedError(response.status_code, f"it answers {method} {path} with something else than JSON")
    return cast("dict[str, Any]", body)


def _message(content: bytes) -> str:
    """The reason that the body of an answer gives."""
    text = content.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        body: Any = json.loads(text)
        if isinstance(body, dict):
            fields = cast("dict[str, Any]", body)
            for found in (fields.get("message"), fields.get("error")):
                if isinstance(found, str) and found:
                    return cut(found, 500)
    return cut(" ".join(text.split()), 500) or "no reason was given"


class _Account:
    """Access to the service with the credentials of one executor, apart from the library's global client."""

    def __init__(self, api_key: str | None, workspace: str | None, base_url: str | None) -> None:
        with _own_logging():
            from blaxel.core.authentication import CredentialsType
            from blaxel.core.authentication.apikey import ApiKey
            from blaxel.core.common.settings import settings
        self._auth: httpx.Auth = settings.auth
        address = base_url or settings.base_url
        if api_key:
            name = workspace or os.environ.get(WORKSPACE, "")
            self._auth = ApiKey(CredentialsType(api_key=api_key, workspace=name), name, address)
        self._headers = {"User-Agent": settings.user_agent, "Blaxel-Version": settings.api_version}
        self.api = self.client(address, _CREATE)

    def client(self, address: str, read: float) -> httpx.Client:
        """A client for an address of the service's."""
        from blaxel.core.client.client import Client

        headers = dict(self._headers)
        return Client(base_url=address, auth=self._auth, headers=headers, timeout=_timeout(read)).get_httpx_client()


def _timeout(read: float) -> httpx.Timeout:
    import httpx

    return httpx.Timeout(30.0, read=read)


class _Machine:
    """A sandbox of Blaxel's."""

    def __init__(self, account: _Account, name: str) -> None:
        self.name = name
        self._account = account
        self._http: httpx.Client | None = None
        self._socket: Any = None
        self._over = False

    def create(self, definition: dict[str, Any]) -> None:
        """Create it, and wait until it runs."""
        sandbox = _ask(self._account.api, "POST", "/sandboxes", json=definition)
        until = time.monotonic() + _CREATE
        while (status := str(sandbox.get("status", "")).upper()) in _STARTING:
            if time.monotonic() > until:
                raise TimeoutError(f"its sandbox did not start within {_CREATE:g} seconds")
            time.sleep(0.5)
            sandbox = _ask(self._account.api, "GET", f"/sandboxes/{self.name}")
        metadata: Any = sandbox.get("metadata")
        address = cast("dict[str, Any]", metadata).get("url") if isinstance(metadata, dict) else None
        if status != _READY or not isinstance(address, str) or not address:
            raise _RefusedError(500, f"its sandbox is in the state {status or 'unknown'}")
        self._http = self._account.client(address.rstrip("/"), _WRITE)

    def start(self, command: str, say: Callable[[str], object]) -> CloudStream:
        """As in `Machine`."""
        http = self._http
        assert http is not None
        name = f"actloop-{secrets.token_hex(4)}"
        request = {"command": command, "name": name, "stdin": True, "keepAlive": True, "timeout": 0}
        process = _ask(http, "POST", "/process", json=request)
        if process.get("stdin") is not True:
            raise SandboxUnavailableError(
                "its image is too old: processes in it have no standard input. Use an image with a newer sandbox API"
            )
        path = f"/process/{name}"

        def send(data: bytes) -> None:
            _ask(http, "POST", f"{path}/stdin", content=data, headers={"Content-Type": "application/octet-stream"})

        return CloudStream(self._output(http, path), send, self._hang_up, say)

    def _output(self, http: httpx.Client, path: str) -> Iterator[tuple[str, bytes]]:
        """What a process writes, to its end: when the service cuts the stream, it goes on where that was."""
        seen = {"stdout": 0, "stderr": 0}
        left = _TRIES
        while left:
            before = dict(seen)
            skip = dict(seen)
            try:
                for source, data in self._stream(http, path):
                    part = data[skip[source] :]
                    skip[source] -= len(data) - len(part)
                    if part:
                        seen[source] += len(part)
                        yield source, part
            except _cut_errors():
                pass
            if self._over or _ask(http, "GET", path, 404).get("status") != "running":
                return
            left = _TRIES if seen != before else left - 1
            time.sleep(0.2 * (_TRIES - left))
        raise ConnectionError("the service cuts the stream of the sandbox again and again")

    def _stream(self, http: httpx.Client, path: str) -> Iterator[tuple[str, bytes]]:
        """What a process wrote and writes, until the service ends the stream."""
        headers = {"Accept": "application/x-ndjson"}
        with http.stream("GET", f"{path}/logs/stream", headers=headers, timeout=_timeout(_SILENCE)) as response:
            if response.status_code >= 400:
                raise _RefusedError(response.status_code, _message(response.read()))
            if "application/x-ndjson" not in response.headers.get("Content-Type", ""):
                raise SandboxUnavailableError("its image is too old to tell standard output from standard error")
            stream = response.extensions.get("network_stream")
            self._socket = None if stream is None else stream.get_extra_info("socket")
            rest = b""
            for chunk in response.iter_bytes():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield from _record(line)

    def _hang_up(self) -> None:
        self._over = True
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)

    def shut(self) -> None:
        """As in `Machine`."""

    def prolong(self) -> None:
        """As in `Machine`: it lives on by being used."""

    def remove(self) -> None:
        """As in `Machine`."""
        _ask(self._account.api, "DELETE", f"/sandboxes/{self.name}", 404)
        self.close()

    def close(self) -> None:
        """Close the connections to it."""
        for http in (self._http, self._account.api):
            if http is not None:
                http.close()


def _cut_errors() -> tuple[type[Exception], ...]:
    import httpx

    return (httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout)


def _record(line: bytes) -> Iterator[tuple[str, bytes]]:
    """The output in a line of the stream, if any.

    Raises:
        ValueError: The line is no record; or output is missing, so the rest is worth nothing.
    """
    if not line.strip():
        return
    record: dict[str, Any] = json.loads(line)
    kind, data = record.get("type"), record.get("data") or ""
    if kind in ("stdout", "stderr"):
        yield kind, base64.b64decode(data) if record.get("encoding") == "base64" else data.encode()
    elif kind in ("truncated", "error", "restart"):
        raise ValueError(f"the stream of the sandbox has a gap: {cut(str(data), 200)}")
