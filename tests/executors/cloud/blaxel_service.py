"""A stand-in for Blaxel on this machine: its control plane, and the API for processes that each sandbox has."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from tests.executors.cloud.service import Handler, Recorded, Service

if TYPE_CHECKING:
    from tests.executors.cloud.machines import Machine, Program

API_KEY, WORKSPACE = "bl_0123456789abcdef", "acme"


class BlaxelService(Service):
    """The service; `options` are those of a `BlaxelExecutor` that uses it.

    Attributes:
        made: What each sandbox was asked to be.
        starting: How often a sandbox says that it is still starting.
        old: Sandboxes have an API without standard input; or one that streams only text, if "text".
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, dict[str, Any]] = {}
        self.starting = 0
        self.old: bool | str = False
        self.names: dict[str, dict[str, int]] = {}

    @property
    def options(self) -> dict[str, Any]:
        return {"api_key": API_KEY, "blaxel_workspace": WORKSPACE, "base_url": f"{self.url}/v0"}


class BlaxelHandler(Handler):
    """Its requests."""

    service: BlaxelService  # pyright: ignore[reportIncompatibleVariableOverride]

    def respond(self, request: Recorded) -> None:
        if request.headers.get("x-blaxel-authorization") != f"Bearer {API_KEY}":
            self.answer(401, {"code": 401, "error": "Unauthorized"})
        elif request.headers.get("x-blaxel-workspace") != WORKSPACE:
            self.answer(403, {"code": "UNAUTHORIZED_WORKSPACE", "message": "No access to this workspace"})
        elif request.path.startswith("/v0/sandboxes"):
            self._sandboxes(request)
        else:
            self._inside(request)

    # ---- the control plane

    def _sandboxes(self, request: Recorded) -> None:
        if request.method == "POST":
            body = json.loads(request.body)
            name = body["metadata"]["name"]
            if name in self.service.live():
                self.answer(409, {"code": 409, "error": f"Sandbox {name} already exists"})
                return
            if not body["spec"]["runtime"]["image"].startswith("blaxel/"):
                self.answer(404, {"code": 404, "error": f"Image {body['spec']['runtime']['image']} not found"})
                return
            self.service.new_machine(name)
            self.service.made[name], self.service.names[name] = body, {}
            self.answer(200, self._told(name))
            return
        name = request.path.removeprefix("/v0/sandboxes/")
        if name not in self.service.live():
            self.answer(404, {"code": 404, "error": f"Sandbox {name} not found"})
            return
        if request.method == "DELETE":
            self.service.machines[name].remove()
        self.answer(200, self._told(name))

    def _told(self, name: str) -> dict[str, Any]:
        status = "DEPLOYED"
        if self.service.starting:
            self.service.starting -= 1
            status = "DEPLOYING"
        body = self.service.made[name]
        metadata = {**body["metadata"], "url": f"{self.service.url}/sandbox/{name}", "workspace": WORKSPACE}
        return {**body, "metadata": metadata, "status": status}

    # ---- the API in a sandbox

    def _inside(self, request: Recorded) -> None:
        _, _, name, kind, *rest = request.path.split("/")
        machine = self.service.machines.get(name)
        if machine is None or machine.removed:
            self.answer(404, {"error": "WORKLOAD_NOT_FOUND", "message": f"sandbox {name} was not found"})
            return
        assert kind == "process"
        if not rest:
            self._run(machine, json.loads(request.body))
            return
        program = machine.programs.get(self.service.names[name].get(rest[0], 0))
        if program is None:
            self.answer(404, {"error": "process not found"})
            return
        match request.method, rest[1:]:
            case "GET", []:
                self.answer(200, self._process(rest[0], program))
            case "GET", ["logs", "stream"]:
                self._logs(request, program)
            case "POST", ["stdin"]:
                try:
                    program.write(request.body)
                except (OSError, ValueError):
                    self.answer(409, {"error": "stdin is closed; restart the process to get a new one"})
                else:
                    self.answer(200, {"message": "written"})
            case _:
                program.kill()
                self.answer(200, {"message": "killed"})

    def _run(self, machine: Machine, body: dict[str, Any]) -> None:
        has_input = bool(body.get("stdin")) and self.service.old is not True
        program = machine.start(["/bin/sh", "-c", body["command"]], has_input=has_input)
        self.service.names[machine.mark][body["name"]] = program.pid
        answer = self._process(body["name"], program)
        if has_input:
            answer["stdin"] = True
        self.answer(200, answer)

    def _process(self, name: str, program: Program) -> dict[str, Any]:
        status = "running" if not program.ended else "failed" if program.process.returncode else "completed"
        common = {"command": "", "startedAt": "", "completedAt": "", "workingDir": "/", "logs": ""}
        code = program.process.returncode or 0
        return {**common, "pid": str(program.pid), "name": name, "status": status, "exitCode": code}

    def _logs(self, request: Recorded, program: Program) -> None:
        if self.service.old == "text":
            self.begin_stream("text/plain")
            self.end_stream()
            return
        assert request.headers["accept"] == "application/x-ndjson"
        self.begin_stream("application/x-ndjson")
        start = 0
        if not self._record({"type": "keepalive"}):
            return
        while not self.service.over.is_set():
            parts = program.more(start, 0.2)
            if parts is None:
                continue
            if not parts:
                self.end_stream()
                return
            start += len(parts)
            for name, data in parts:
                try:
                    record = {"type": name, "data": data.decode()}
                except UnicodeDecodeError:
                    record = {"type": name, "data": base64.b64encode(data).decode(), "encoding": "base64"}
                if not self._record(record):
                    return

    def _record(self, record: dict[str, Any]) -> bool:
        return self.piece(json.dumps(record).encode() + b"\n")


BlaxelService.handler = BlaxelHandler
