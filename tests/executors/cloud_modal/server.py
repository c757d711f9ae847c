"""A stand-in for Modal's service: the calls that the executor makes, over gRPC, with real processes behind them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from grpclib import GRPCError, Status
from grpclib.server import Server
from modal_proto import api_pb2, task_command_router_pb2 as router_pb2
from modal_proto.api_grpc import ModalClientBase
from modal_proto.task_command_router_grpc import TaskCommandRouterBase
from tests.executors.cloud_modal.machines import Machine

from actloop.executors.reaper import REAPER

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from typing import Self

    import modal

TOKEN_ID = "ak-right"
TOKEN_SECRET = "as-a-very-secret-token"

_SUCCESS = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)


@dataclass
class Fault:
    """What goes wrong with a call.

    Attributes:
        status: What it is answered with; None for nothing wrong but the delay.
        message: What the service says to that.
        delay: Seconds before the answer.
        times: How often.
        after: Bytes of a stream that pass before.
    """

    status: Status | None = None
    message: str = ""
    delay: float = 0.0
    times: int = 1_000_000
    after: int = 0


@dataclass
class Account:
    """What the service knows and was asked for.

    Attributes:
        faults: What goes wrong, by the name of the call.
        calls: The names of the calls that came.
        images: The definitions of images, by their ids.
        build_error: Why images cannot be built.
        command: Runs instead of every command that is asked for.
    """

    faults: dict[str, Fault] = field(default_factory=dict[str, Fault])
    calls: list[str] = field(default_factory=list[str])
    images: dict[str, api_pb2.Image] = field(default_factory=dict[str, api_pb2.Image])
    apps: list[str] = field(default_factory=list[str])
    machines: list[Machine] = field(default_factory=list[Machine])
    build_error: str = ""
    command: list[str] = field(default_factory=list[str])

    def forget(self) -> None:
        """Begin anew, without faults."""
        for kept in (self.faults, self.calls, self.images, self.apps, self.machines, self.command):
            kept.clear()
        self.build_error = ""

    @property
    def alive(self) -> list[Machine]:
        """The sandboxes that live."""
        return [machine for machine in self.machines if not machine.why_over]


def signed(name: str) -> str:
    """A token as the service makes them: readable to all, good for an hour."""
    parts = ({"alg": "none"}, {"exp": time.time() + 3600, "for": name})
    return ".".join([base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts] + [""])


class Endpoint:
    """One of the service's two gRPC services: calls without a method here are answered with UNIMPLEMENTED."""

    base: type[Any]

    def __init__(self, account: Account) -> None:
        self.account = account

    def check(self, stream: Any) -> None:
        """Refuse a caller that may not call."""
        raise NotImplementedError

    def servant(self) -> Any:
        """What a server takes."""
        calls = {name: self._call(name, getattr(self, name, None)) for name in self.base.__abstractmethods__}
        return type("Servant", (self.base,), calls)()

    def _call(self, name: str, method: Callable[..., Coroutine[Any, Any, Any]] | None) -> Any:
        async def call(_servant: Any, stream: Any) -> None:
            request = await stream.recv_message()
            self.account.calls.append(name)
            if method is None:
                raise GRPCError(Status.UNIMPLEMENTED, f"{name} is not known here")
            self.check(stream)
            fault = self.account.faults.get(name)
            if fault is not None and not fault.after and fault.times > 0:
                fault.times -= 1
                await asyncio.sleep(fault.delay)
                if fault.status is not None:
                    raise GRPCError(fault.status, fault.message)
            answer = await method(request, stream)
            if answer is not None:
                await stream.send_message(answer)

        return call


class ControlPlane(Endpoint):
    """What makes and ends sandboxes."""

    base = ModalClientBase
    url = ""

    def check(self, stream: Any) -> None:
        given = (stream.metadata.get("x-modal-token-id"), stream.metadata.get("x-modal-token-secret"))
        if given != (TOKEN_ID, TOKEN_SECRET):
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed or the secret does not match")

    async def AuthTokenGet(self, _request: Any, _stream: Any) -> Any:
        return api_pb2.AuthTokenGetResponse(token=signed("input"))

    async def ClientHello(self, _request: Any, _stream: Any) -> Any:
        return api_pb2.ClientHelloResponse()

    async def AppGetOrCreate(self, request: api_pb2.AppGetOrCreateRequest, _stream: Any) -> Any:
        self.account.apps.append(request.app_name)
        return api_pb2.AppGetOrCreateResponse(app_id="ap-1")

    async def EnvironmentGetOrCreate(self, _request: Any, _stream: Any) -> Any:
        settings = api_pb2.EnvironmentSettings(image_builder_version="2025.06")
        metadata = api_pb2.EnvironmentMetadata(name="main", settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    async def ImageGetOrCreate(self, request: api_pb2.ImageGetOrCreateRequest, _stream: Any) -> Any:
        image_id = f"im-{len(self.account.images) + 1}"
        self.account.images[image_id] = request.image
        return api_pb2.ImageGetOrCreateResponse(image_id=image_id)

    async def ImageJoinStreaming(self, _request: Any, stream: Any) -> None:
        logs = [api_pb2.TaskLogs(data="Step 1: a line of the build's log\n")]
        result = _SUCCESS
        if self.account.build_error:
            failed = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
            result = api_pb2.GenericResult(status=failed, exception=self.account.build_error)
        await stream.send_message(api_pb2.ImageJoinStreamingResponse(task_logs=logs, entry_id="1"))
        await stream.send_message(api_pb2.ImageJoinStreamingResponse(result=result, entry_id="2", eof=True))

    def _made(self, request: Any, old: bool) -> Machine:
        machine = Machine(request.definition, {tag.tag_name: tag.tag_value for tag in request.tags}, old)
        self.account.machines.append(machine)
        return machine

    def _machine(self, sandbox_id: str) -> Machine:
        for machine in self.account.machines:
            if sandbox_id in (machine.id, machine.task_id):
                return machine
        raise GRPCError(Status.NOT_FOUND, f"There is no sandbox {sandbox_id}")

    async def SandboxCreateV2(self, request: api_pb2.SandboxCreateV2Request, stream: Any) -> Any:
        self._check_token(stream)
        machine = self._made(request, old=False)
        return api_pb2.SandboxCreateV2Response(
            sandbox_id=machine.id, task_id=machine.task_id, command_router_access=self._access(machine)
        )

    def _check_token(self, stream: Any) -> None:
        if not stream.metadata.get("x-modal-auth-token"):
            raise GRPCError(Status.UNAUTHENTICATED, "No token")

    async def SandboxCreate(self, request: api_pb2.SandboxCreateRequest, _stream: Any) -> Any:
        return api_pb2.SandboxCreateResponse(sandbox_id=self._made(request, old=True).id)

    async def SandboxGetTaskId(self, request: api_pb2.SandboxGetTaskIdRequest, _stream: Any) -> Any:
        return api_pb2.SandboxGetTaskIdResponse(task_id=self._machine(request.sandbox_id).task_id)

    def _access(self, machine: Machine) -> api_pb2.CommandRouterAccess:
        return api_pb2.CommandRouterAccess(url=self.url, jwt=signed(machine.task_id))

    async def TaskGetCommandRouterAccess(self, request: api_pb2.TaskGetCommandRouterAccessRequest, _: Any) -> Any:
        access = self._access(self._machine(request.task_id))
        return api_pb2.TaskGetCommandRouterAccessResponse(url=access.url, jwt=access.jwt)

    async def SandboxGetCommandRouterAccess(
        self, request: api_pb2.SandboxGetCommandRouterAccessRequest, stream: Any
    ) -> Any:
        self._check_token(stream)
        access = self._access(self._machine(request.sandbox_id or request.task_id))
        return api_pb2.SandboxGetCommandRouterAccessResponse(url=access.url, jwt=access.jwt)

    async def SandboxTerminate(self, request: api_pb2.SandboxTerminateRequest, _stream: Any) -> Any:
        self._machine(request.sandbox_id).end("terminated")
        return api_pb2.SandboxTerminateResponse()

    async def SandboxTerminateV2(self, request: api_pb2.SandboxTerminateRequest, stream: Any) -> Any:
        self._check_token(stream)
        return await self.SandboxTerminate(request, stream)


class Router(Endpoint):
    """What runs commands in sandboxes."""

    base = TaskCommandRouterBase

    def check(self, stream: Any) -> None:
        if not str(stream.metadata.get("authorization", "")).startswith("Bearer "):
            raise GRPCError(Status.UNAUTHENTICATED, "No token")

    def _machine(self, request: Any, stream: Any) -> Machine:
        token = str(stream.metadata["authorization"]).removeprefix("Bearer ").split(".")[1]
        for machine in self.account.machines:
            if machine.task_id == request.task_id and not machine.why_over:
                if json.loads(base64.urlsafe_b64decode(token + "=="))["for"] != machine.task_id:
                    raise GRPCError(Status.PERMISSION_DENIED, "This token is for another sandbox")
                return machine
        raise GRPCError(Status.NOT_FOUND, f"There is no task {request.task_id}")

    async def TaskExecStart(self, request: router_pb2.TaskExecStartRequest, stream: Any) -> Any:
        machine = self._machine(request, stream)
        try:
            await machine.start(request.exec_id, self.account.command or list(request.command_args))
        except OSError as error:
            raise GRPCError(Status.INVALID_ARGUMENT, f"cannot start the command: {error}") from error
        return router_pb2.TaskExecStartResponse()

    async def TaskExecStdinWrite(self, request: router_pb2.TaskExecStdinWriteRequest, stream: Any) -> Any:
        command = self._machine(request, stream).commands[request.exec_id]
        try:
            await command.write(request.offset, request.data, request.eof)
        except (OSError, RuntimeError) as error:
            raise GRPCError(Status.NOT_FOUND, f"the command has ended: {error}") from error
        return router_pb2.TaskExecStdinWriteResponse()

    async def TaskExecStdioRead(self, request: router_pb2.TaskExecStdioReadRequest, stream: Any) -> None:
        machine = self._machine(request, stream)
        command = machine.commands[request.exec_id]
        source = "stderr" if request.file_descriptor == router_pb2.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR else "stdout"
        offset = request.offset
        while data := await command.more(source, offset):
            offset += len(data)
            await stream.send_message(router_pb2.TaskExecStdioReadResponse(data=data))
            fault = self.account.faults.get("TaskExecStdioRead")
            if fault is not None and fault.after and fault.times > 0 and offset - request.offset >= fault.after:
                fault.times -= 1
                raise GRPCError(fault.status or Status.UNAVAILABLE, fault.message)
        if machine.why_over:
            raise GRPCError(Status.NOT_FOUND, f"There is no task {request.task_id}")


class ModalServer:
    """The service on a port of this machine; a context manager."""

    def __init__(self) -> None:
        self.account = Account()
        self.url = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="modal-server")
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        control, router = ControlPlane(self.account), Router(self.account)
        server = Server([control.servant(), router.servant()])
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = control.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await server.start(sock=listener)
        self._ready.set()
        machines: list[Machine] = []
        try:
            await self._stop.wait()
            machines = list(self.account.machines)
            for machine in machines:
                machine.end("the server's end")
            await asyncio.gather(*(machine.over() for machine in machines))
        finally:
            server.close()
            await server.wait_closed()
            for transport in list(getattr(self._loop, "_transports", {}).values()):
                transport.abort()  # connections that the client holds on to
            await asyncio.sleep(0)

    def client(self, token_id: str = TOKEN_ID, token_secret: str = TOKEN_SECRET) -> modal.Client:
        """A client of the service's library, to be closed."""
        import modal

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MODAL_SERVER_URL", self.url)
            return modal.Client.from_credentials(token_id, token_secret)

    def environment(self) -> dict[str, str]:
        """What makes another process use it."""
        own = {"MODAL_SERVER_URL": self.url, "MODAL_TOKEN_ID": TOKEN_ID, "MODAL_TOKEN_SECRET": TOKEN_SECRET}
        return {**os.environ, **own, "MODAL_CONFIG_PATH": os.devnull, "PYTHONWARNINGS": "error"}

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@contextlib.contextmanager
def modal_service() -> Generator[tuple[ModalServer, dict[str, Any]]]:
    """The service, for as long as it is needed, and options of an executor that uses it."""
    with ModalServer() as server:
        client = server.client()
        try:
            yield server, {"create_kwargs": {"client": client}}
        finally:
            REAPER.flush(60)
            client.close()
