"""A stand-in for E2B on this machine: its API for sandboxes, and the Connect-RPC of the daemon that runs in each."""

from __future__ import annotations

import base64
import json
import struct
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from tests.executors.cloud.service import Handler, Recorded, Service

if TYPE_CHECKING:
    from tests.executors.cloud.machines import Machine, Program

API_KEY = "e2b_0123456789abcdef"


class E2BService(Service):
    """The service; `options` are those of an `E2BExecutor` that uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, dict[str, Any]] = {}
        self.until: dict[str, float] = {}

    @property
    def options(self) -> dict[str, Any]:
        return {"api_key": API_KEY, "api_url": self.url, "sandbox_url": self.url, "retries": 0}


class E2BHandler(Handler):
    """Its requests."""

    service: E2BService  # pyright: ignore[reportIncompatibleVariableOverride]

    def respond(self, request: Recorded) -> None:
        if request.path.startswith("/process.Process/"):
            self._process(request)
        elif request.path == "/health":
            self.answer(204 if self._machine(request) else 502, None if self._machine(request) else _GONE)
        elif request.headers.get("x-api-key") != API_KEY:
            self.answer(401, {"code": 401, "message": "Invalid API key"})
        elif request.path == "/v2/sandboxes":
            self._create(request) if request.method == "POST" else self._list(request)
        else:
            self._one(request)

    # ---- the API

    def _create(self, request: Recorded) -> None:
        body = json.loads(request.body)
        if body["templateID"] not in ("code-interpreter-v1", "base"):
            self.answer(404, {"code": 404, "message": f"template '{body['templateID']}' not found"})
            return
        name = f"i{next(self.service.numbers)}x{id(self.service):x}"
        machine = self.service.new_machine(name)
        machine.environment |= body.get("envVars") or {}
        self.service.made[name] = body
        self.service.until[name] = time.time() + (body.get("timeout") or 300)
        answer = {"templateID": body["templateID"], "sandboxID": name, "clientID": "x", "envdVersion": "0.6.7"}
        self.answer(201, {**answer, "envdAccessToken": f"token-{name}", "domain": None})

    def _list(self, request: Recorded) -> None:
        wanted = parse_qs(unquote(parse_qs(request.query).get("metadata", [""])[0]))
        now = datetime.now(UTC).isoformat()
        common = {"templateID": "t", "clientID": "x", "startedAt": now, "endAt": now, "cpuCount": 2, "memoryMB": 512}
        common |= {"diskSizeMB": 512, "state": "running", "envdVersion": "0.6.7"}
        found: list[dict[str, Any]] = []
        for name in self.service.live():
            metadata: dict[str, str] = self.service.made[name].get("metadata") or {}
            if all(metadata.get(key) == values[0] for key, values in wanted.items()):
                found.append({**common, "sandboxID": name, "metadata": metadata})
        self.answer(200, found)

    def _one(self, request: Recorded) -> None:
        _, _, name, *rest = request.path.split("/")
        machine = self.service.machines.get(name)
        if machine is None or machine.removed:
            self.answer(404, {"code": 404, "message": f"sandbox '{name}' not found"})
            return
        if request.method == "DELETE":
            machine.remove()
        elif rest == ["timeout"]:
            self.service.until[name] = time.time() + json.loads(request.body)["timeout"]
        elif rest == ["network"]:
            self.service.made[name] |= {"network": json.loads(request.body)}
        self.answer(204)

    # ---- the daemon in a sandbox

    def _machine(self, request: Recorded) -> Machine | None:
        name = request.headers.get("e2b-sandbox-id", "")
        machine = self.service.machines.get(name)
        if machine is None or machine.removed or request.headers.get("x-access-token") != f"token-{name}":
            return None
        return machine

    def _process(self, request: Recorded) -> None:
        machine = self._machine(request)
        if machine is None:
            self.answer(502, _GONE)
            return
        method = request.path.rpartition("/")[2]
        if method == "Start":
            self._start(machine, request)
            return
        body = json.loads(request.body)
        program = machine.programs.get(int(body["process"].get("pid") or 0))
        if program is None or program.ended:
            self.answer(404, {"code": "not_found", "message": "process not found"})
            return
        try:
            match method:
                case "SendInput":
                    program.write(base64.b64decode(body["input"]["stdin"]))
                case "SendSignal":
                    assert body["signal"] == "SIGNAL_SIGKILL"
                    program.kill()
                case _:
                    program.close_input()
        except (OSError, ValueError) as error:
            self.answer(500, {"code": "internal", "message": f"error writing to stdin: {error}"})
            return
        self.answer(200, {})

    def _start(self, machine: Machine, request: Recorded) -> None:
        assert request.headers["content-type"] == "application/connect+json"
        assert request.headers.get("authorization") == "Basic " + base64.b64encode(b"root:").decode()
        flags, length = struct.unpack(">BI", request.body[:5])
        assert flags == 0
        body = json.loads(request.body[5 : 5 + length])
        config = body["process"]
        program = machine.start(
            [config["cmd"], *config["args"]], has_input=bool(body.get("stdin")), variables=config.get("envs")
        )
        self.begin_stream("application/connect+json")
        if self._event({"start": {"pid": program.pid}}) and self._follow(machine, program):
            if machine.removed:
                self.close_connection = True  # the proxy in front of it cuts streams of what is gone
                return
            if self._event({"end": {"exitCode": program.process.returncode, "exited": True, "status": "exited"}}):
                self.piece(struct.pack(">BI", 2, 2) + b"{}")
                self.end_stream()

    def _follow(self, machine: Machine, program: Program) -> bool:
        start = 0
        while not self.service.over.is_set() and not machine.removed:
            parts = program.more(start, 0.2)
            if parts is None:
                continue
            if not parts:
                return True
            start += len(parts)
            for name, data in parts:
                if not self._event({"data": {name: base64.b64encode(data).decode()}}):
                    return False
        return True

    def _event(self, event: dict[str, Any]) -> bool:
        data = json.dumps({"event": event}).encode()
        return self.piece(struct.pack(">BI", 0, len(data)) + data)


_GONE = {"sandboxId": "x", "message": "The sandbox was not found", "code": 502}
E2BService.handler = E2BHandler
