"""The guest itself: a lasting namespace, and the commands of the host."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from .channel import Channel, Line, Ticket
from .failures import describe
from .files import Files
from .framing import pack
from .imports import BASE_BUILTIN_MODULES, Imports
from .interrupts import Gate, SnippetStopped, TimeUp
from .keeper import keep
from .plain import PlainLine
from .snapshots import Snapshots
from .steps import Steps, compiled
from .streams import NoInput, Output, Writer, no_input
from .tools import Tool, error_from_host
from .values import EncodeError, Opaque, safe_repr, shortened
from .wire import MAX_VALUE, PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Guest:
    """Runs snippets in one lasting namespace, as the host commands.

    Args:
        read_fd: Where the host's messages come from.
        write_fd: Where messages to the host go.
        config: `value` (bytes of a message), `output` (characters printed per snippet), `wall` and `cpu` (seconds per
            snippet, for messages only), `imports` (authorised modules), `hosts` (what can be reached, in words, if
            any can), `limits` (fields of `SandboxLimits`, for messages only), `bell` (of a `PlainLine`).
    """

    def __init__(self, read_fd: int, write_fd: int, config: Mapping[str, Any]) -> None:
        import builtins
        import types

        self._gate = Gate(config.get("wall"), config.get("cpu"))
        bell: int | None = config.get("bell")
        line = Line(read_fd, write_fd) if bell is None else PlainLine(read_fd, bell)
        line.install()
        self._channel = Channel(line, int(config.get("value", MAX_VALUE)), self._gate)
        self._output = Output(self._channel, self._gate, int(config.get("output", 50_000)))
        self._gate.before_end = self._output.flush_if_free
        self._steps = Steps()
        self._loop: Any = None
        self._most_frames = 1000
        self.tools: dict[str, Tool] = {}
        module = types.ModuleType("__main__")
        self._former_main = sys.modules.get("__main__")  # kept alive: its globals may be this file's
        sys.modules["__main__"] = module
        self.names: dict[str, Any] = module.__dict__
        known = dict(builtins.__dict__)
        self.hosts: str = config.get("hosts", "")
        self.limits: Mapping[str, Any] = config.get("limits") or {}
        self.files = Files(config["workspace"], self._channel.limit) if "workspace" in config else None
        allowed = config.get("imports", BASE_BUILTIN_MODULES)
        imports = Imports(allowed, self.tools, network=bool(self.hosts), files=self.files is not None)
        known["__import__"] = imports
        known["input"] = no_input
        for name in ("exit", "quit"):
            known[name] = sys.exit
        self.names["__builtins__"] = self.builtins = known
        self.importable = imports.allowed
        snapshots = Snapshots(self, self._steps, self._gate, self._output)
        self.duties: dict[str, Callable[[dict[str, Any]], Any]] = {"read": self._read, **snapshots.duties()}

        if self.files is not None:
            self.duties |= self.files.duties

    def run_forever(self) -> NoReturn:
        """Obey the host until it closes the stream."""
        self._gate.install()
        flush = self._output.flush
        stdout: Any = Writer("<stdout>", self._output.put, flush)
        stderr: Any = Writer("<stderr>", self._output.put, flush)
        stdin: Any = NoInput()
        sys.stdout = sys.__stdout__ = stdout
        sys.stderr = sys.__stderr__ = stderr
        sys.stdin = sys.__stdin__ = stdin
        sys.argv = [""]
        sys.set_int_max_str_digits(0)  # that limit protects servers; here there is a limit of time
        self._most_frames = 1000 + _depth() + 3  # the guest's own frames come on top of the program's thousand
        version = ".".join(map(str, sys.version_info[:3]))
        self._channel.send(pack({"t": "ready", "protocol": PROTOCOL, "python": version}))
        while True:
            command = self._channel.next_command()
            match command["t"]:
                case "define":
                    self._define(command["tools"], command["variables"])
                case "run":
                    self._run(command["code"])
                case "ask":
                    self._channel.send(self._told(command["what"], command["details"]))
                case _:
                    os._exit(72)  # a host of another version

    def _define(self, tools: list[list[Any]], variables: dict[str, Any]) -> None:
        for name, is_async, signature in tools:
            self.tools[name] = Tool(self, name, is_async, signature)
        self.names.update(self.tools)
        self.names.update(variables)

    def _told(self, what: str, details: dict[str, Any]) -> bytes:
        """Do what the host asks for between two snippets: one of the `duties`."""
        try:
            return pack({"t": "told", "value": self.duties[what](details), "error": None}, self._channel.limit)
        except Exception as error:
            reason = shortened(f"{type(error).__name__}: {safe_repr(error) if not str(error) else error}", 2000)
            return pack({"t": "told", "value": None, "error": reason}, self._channel.limit)

    def _read(self, _details: dict[str, Any]) -> dict[str, Any]:
        """The user's variables: all that is neither a tool nor a module."""
        from types import ModuleType

        values: dict[str, Any] = {}
        left = self._channel.limit // 2
        for name, value in list(self.names.items()):
            if name.startswith("__") or isinstance(value, (Tool, ModuleType)):
                continue
            try:
                frame = pack({name: value}, left)
                left -= len(frame)
                values[name] = value
            except Exception:
                values[name] = Opaque(safe_repr(value), type(value).__name__)
        return values

    # ---- a snippet

    def _run(self, source: str) -> None:
        name = self._steps.add(source)
        self._channel.begin()
        self._output.begin()
        frame: bytes | None = None
        failure: dict[str, Any] | None = None
        sys.setrecursionlimit(self._most_frames)
        try:
            try:
                self._gate.open()
                frame = self._finished(self._execute(source, name))
            finally:
                self._gate.close()
        except SnippetStopped:
            pass
        except BaseException as error:
            self._gate.close()
            if isinstance(error, TimeUp) and self._threads_remain():
                os._exit(73)  # they would go on using up the next snippets' time
            if not self._channel.stopped:
                failure = describe(error, name, source, self)
            del error
        self._channel.end()
        self._output.flush_now()  # what threads hold back still belongs to this snippet
        if failure is not None:
            frame = pack({"t": "finished", "output": None, "failure": failure}, self._channel.limit)
        self._channel.send(frame or pack({"t": "finished", "output": None, "failure": None}))
        self._gate.idle()

    def _threads_remain(self) -> bool:
        import threading

        others = [thread for thread in threading.enumerate() if thread.ident != self._gate.main]
        for thread in others:
            thread.join(0.005 / len(others))
        return any(thread.is_alive() for thread in others)

    def _finished(self, value: Any) -> bytes:
        message = {"t": "finished", "output": value, "failure": None}
        try:
            return pack(message, self._channel.limit)
        except EncodeError:
            message["output"] = Opaque(safe_repr(value), type(value).__name__)
            return pack(message, self._channel.limit)

    def _execute(self, source: str, name: str) -> Any:
        """Run a program; the value of its last statement, if that is an expression."""
        value: Any = None
        for program in compiled(source, name):
            value = eval(program, self.names)  # noqa: S307  # this is what a sandbox is for
            if program.co_flags & 0x80:  # a coroutine: the program awaits at top level
                value = self._await(value)
        return value

    def _await(self, coroutine: Any) -> Any:
        import asyncio

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        try:
            return self._loop.run_until_complete(coroutine)
        except BaseException:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()  # tasks of a program that failed do not go on in the next one
            raise

    # ---- calls

    def _call_frame(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], concurrent: bool
    ) -> tuple[int, bytes]:
        number = self._channel.number()
        message = {
            "t": "call",
            "id": number,
            "name": name,
            "args": list(args),
            "kwargs": kwargs,
            "concurrent": concurrent or not self._gate.on_main(),
        }
        try:
            return number, pack(message, self._channel.limit)
        except EncodeError as error:
            raise ValueError(f"{name}() cannot be called with these arguments: {error}") from None

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, concurrent: bool) -> Any:
        """Call a tool of the host and wait for its answer."""
        number, frame = self._call_frame(name, args, kwargs, concurrent)
        entered = self._gate.enter()
        try:
            if self._channel.stopped:
                raise SnippetStopped
            if self._output.waiting:
                self._output.flush_now()
            ticket = self._channel.post(number, frame)
            try:
                self._channel.wait(ticket)
            finally:
                self._channel.forget(number)
        finally:
            if entered:
                self._gate.leave()
        return self._outcome(ticket.answer)

    async def call_async(self, loop: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a tool of the host and await its answer."""
        number, frame = self._call_frame(name, args, kwargs, True)
        if self._channel.stopped:
            raise SnippetStopped
        answered = loop.create_future()
        watchers: dict[Any, int] = self.__dict__.setdefault("_watchers", {})
        watchers[loop] = watchers.get(loop, 0) + 1
        if watchers[loop] == 1:
            loop.add_reader(self._channel.fd, self._on_readable)
        try:
            ticket = self._post_async(number, frame, loop, answered)
            await answered
        finally:
            self._channel.forget(number)
            watchers[loop] -= 1
            if not watchers[loop]:
                del watchers[loop]
                if not loop.is_closed():
                    loop.remove_reader(self._channel.fd)
        return self._outcome(ticket.answer)

    def _post_async(self, number: int, frame: bytes, loop: Any, answered: Any) -> Ticket:
        def resolve() -> None:
            if not answered.done():
                answered.set_result(None)

        def deliver() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(resolve)

        entered = self._gate.enter()
        try:
            if self._output.waiting:
                self._output.flush_now()
            return self._channel.post(number, frame, deliver)
        finally:
            if entered:
                self._gate.leave()

    def _on_readable(self) -> None:
        entered = self._gate.enter()
        try:
            self._channel.pump()
        finally:
            if entered:
                self._gate.leave()

    def _outcome(self, answer: dict[str, Any]) -> Any:
        kind = answer.get("t")
        if kind == "result":
            return answer["value"]
        if kind == "error":
            raise error_from_host(answer["kind"], answer["message"]) from None
        if not self._gate.on_main():
            import signal

            signal.pthread_kill(self._gate.main, signal.SIGUSR2)
        raise SnippetStopped


def _depth() -> int:
    """How many frames the caller's stack has."""
    depth, frame = 0, sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - there is no public way
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth


def serve(read_fd: int, config: Mapping[str, Any], write_fd: int | None = None) -> NoReturn:
    """Run a guest on an open stream; never returns.

    Args:
        read_fd: A stream socket, or a pipe to read from.
        config: As for `Guest`.
        write_fd: A pipe to write to, when the stream is no socket.
    """
    try:
        Guest(read_fd, read_fd if write_fd is None else write_fd, config).run_forever()
    finally:
        os._exit(70)


def main() -> NoReturn:
    """Serve on standard input and output; the first argument may hold the configuration as JSON.

    With `--keep` before it, it holds the options of a `keeper.Keeper`, under which a guest is started.
    """
    if sys.argv[1:2] == ["--keep"]:
        keep(sys.argv[2], serve)
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    serve(read_fd, json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}, write_fd)
