"""What the stand-ins for cloud services share: an HTTP server on this machine that keeps a record and can fail."""

from __future__ import annotations

import itertools
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from tests.executors.cloud.machines import Machine, processes_of
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

IDLE = 5.0
"""Seconds after which a connection without a request is closed."""


@dataclass
class Recorded:
    """A request as it came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Fault:
    """What goes wrong with requests whose "METHOD /path" matches a pattern.

    Attributes:
        status: Answered instead of what was asked for; 0 does what was asked for.
        text: The answer's body.
        headers: The answer's headers.
        times: How often; None for always.
        wait: Seconds before anything is done.
        drop: Cut the connection without an answer, after what was asked for was done.
    """

    pattern: str
    status: int = 0
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    times: int | None = None
    wait: float = 0.0
    drop: bool = False


class Service:
    """A stand-in for a cloud service.

    Attributes:
        requests: All that came, unless it is not to keep a record.
        remembers: Whether it keeps one.
        machines: The sandboxes by name, those that were removed too.
        faults: What goes wrong.
        cut: Called with each piece of a stream before it is sent: what is sent instead; None cuts the connection.
        python: What new sandboxes have as `python3`.
        variables: More variables of their programs.
    """

    handler: ClassVar[type[Handler]]

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.remembers = True
        self.machines: dict[str, Machine] = {}
        self.faults: list[Fault] = []
        self.cut: Callable[[bytes], bytes | None] = lambda piece: piece
        self.python: str | None = sys.executable
        self.variables: dict[str, str] = {}
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.over = threading.Event()

    def __enter__(self) -> Self:
        service = self

        class Bound(self.handler):
            pass

        Bound.service = service
        self._server = _Server(("127.0.0.1", 0), Bound)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for machine in self.machines.values():
            machine.remove()

    def new_machine(self, name: str) -> Machine:
        machine = self.machines[name] = Machine(name, self.python, self.variables)
        return machine

    def live(self) -> list[str]:
        """The names of the sandboxes that were not removed."""
        return [name for name, machine in self.machines.items() if not machine.removed]

    def wait_empty(self, timeout: float = 10.0) -> None:
        """Wait until every sandbox was removed and no process of any is left."""
        assert eventually(lambda: not self.live(), timeout), self.live()
        assert eventually(lambda: not any(map(processes_of, self.machines)), timeout)

    def asked(self, pattern: str) -> list[Recorded]:
        """The requests whose "METHOD /path" matches."""
        with self.lock:
            return [request for request in self.requests if re.fullmatch(pattern, f"{request.method} {request.path}")]

    def fault_of(self, request: Recorded) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if re.fullmatch(fault.pattern, f"{request.method} {request.path}") and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are nothing to speak of; anything else shows in the tests."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Serves one connection."""

    service: ClassVar[Any]
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(IDLE)

    def parse_request(self) -> bool:
        self.connection.settimeout(None)
        return super().parse_request()

    def handle_one_request(self) -> None:
        super().handle_one_request()
        if not self.close_connection:
            self.connection.settimeout(IDLE)

    def log_message(self, format: str, *args: Any) -> None: ...

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Recorded(self.command, parts.path, parts.query, headers, self._body())
        if self.service.remembers:
            with self.service.lock:
                self.service.requests.append(request)
        fault: Fault | None = self.service.fault_of(request)
        if fault is not None:
            time.sleep(fault.wait)
            if fault.status:
                self.answer(fault.status, fault.text, fault.headers)
                return
            if fault.drop:
                self.wfile = _Nowhere()  # pyright: ignore[reportAttributeAccessIssue]
        self.respond(request)
        if fault is not None and fault.drop:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    def respond(self, request: Recorded) -> None:
        """Do what a request asks for."""
        raise NotImplementedError

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        """Answer with JSON, or with a text as it is."""
        data = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        fields = {"Content-Type": "application/json", **(headers or {})}
        for name, value in fields.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self, kind: str) -> None:
        """Begin an answer that comes piece by piece."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, data: bytes) -> bool:
        """Send a piece of it; False when the connection was cut instead."""
        sent = self.service.cut(data)
        if sent is None:
            self.close_connection = True
            return False
        if sent:
            self.wfile.write(f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
        return True

    def end_stream(self) -> None:
        """End it."""
        self.wfile.write(b"0\r\n\r\n")


class _Nowhere:
    """Takes an answer that never arrives."""

    closed = False

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...
