"""The host's side of the protocol with a guest, without I/O: bytes in, events out; commands in, bytes out.

The guest is untrusted. Each of its messages is held against the state that the host knows: whatever does not fit raises
`ProtocolError`, after which the session must be closed. Nothing that a guest sends makes the host hold more than a
fixed multiple of its limits.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from actloop import guest
from actloop.errors import InterpreterError, ProtocolError
from actloop.executors.session import Call, Finished, GuestFailure, Printed, SandboxLimits
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actloop.executors.session import RemoteTool

_NOTICE = 200
"""Characters that the guest's notice of cut output may take beyond the limit."""

_MOST_HELD = 10_000
"""Values that a session holds because they cannot be sent."""

_TEXT_LIMITS = {"kind": 200, "message": 20_000, "traceback": 20_000, "source": 2_000, "hint": 2_000}


@dataclass(frozen=True, slots=True)
class Ready:
    """The guest has started."""

    python: str


@dataclass(frozen=True, slots=True)
class Told:
    """The guest's answer to an `ask`: a value, or why there is none."""

    value: Any = None
    error: str | None = None


Event = Ready | Told | Call | Printed | Finished


class HostProtocol:
    """State of the conversation with one guest.

    Attributes:
        state: `starting`, `idle`, `running` (a snippet) or `asking` (something was asked for between two snippets).
        open_calls: By the host's own number of each unanswered call, the guest's number and the tool's name.
    """

    def __init__(self, limits: SandboxLimits) -> None:
        self.state = "starting"
        self.open_calls: dict[int, tuple[int, str]] = {}
        self._limits = limits
        self._limit = limits.value
        self._held: dict[int, Any] = {}
        self._handles: dict[int, int] = {}
        self._keeping = threading.Lock()
        self._unpacker = guest.Unpacker(self._limit, self._held)
        self._numbers: set[int] = set()
        self._plain_call: int | None = None
        self._count = 0
        self._tools: set[str] = set()
        self._logs: list[str] = []
        self._logged = 0

    @property
    def logs(self) -> str:
        """What the running snippet has printed so far."""
        return "".join(self._logs)

    # ---- from the guest

    @property
    def waiting(self) -> int:
        """Bytes that were received and not yet read as messages."""
        return self._unpacker.waiting

    def receive(self, data: bytes) -> None:
        """Take bytes as they came; call `next_event` until it gives None before the next bytes."""
        self._unpacker.feed(data)

    def next_event(self) -> Event | None:
        """What the guest says next, or None if no whole message is there: `accept` of `read` of `next_frame`.

        Raises:
            ProtocolError: It said something that it may not say now, or ever.
        """
        frame = self.next_frame()
        return None if frame is None else self.accept(self.read(frame))

    def next_frame(self) -> bytearray | None:
        """The frame of the guest's next message, or None if no whole one is there.

        Raises:
            ProtocolError: It is too large.
        """
        try:
            return self._unpacker.cut()
        except guest.WireError as error:
            raise _malformed(error) from None

    def read(self, frame: bytearray) -> dict[str, Any]:
        """The message of a frame; takes long if that is large, and needs no lock.

        Raises:
            ProtocolError: It is none.
        """
        try:
            return self._unpacker.read(frame)
        except guest.WireError as error:
            raise _malformed(error) from None
        except MemoryError:
            raise ProtocolError("The sandbox sent more than fits into memory") from None

    def accept(self, message: dict[str, Any]) -> Event:
        """What the guest says by a message.

        Raises:
            ProtocolError: It may not say that now, or ever.
        """
        kind = message.get("t")
        match self.state, kind:
            case "starting", "ready":
                return self._ready(message)
            case "running", "call":
                return self._call(message)
            case "running", "printed":
                return self._printed(message)
            case "running", "finished":
                return self._finished(message)
            case "asking", "told":
                return self._told(message)
            case _:
                said = cut(repr(kind), 40)
                raise ProtocolError(f"The sandbox said {said} while it was {self.state}")

    def _ready(self, message: dict[str, Any]) -> Ready:
        _keys(message, "protocol", "python")
        version = _take(message, "protocol", int)
        if version != guest.PROTOCOL:
            raise ProtocolError(f"The sandbox speaks version {version} of the protocol, not {guest.PROTOCOL}")
        self.state = "idle"
        return Ready(_text(message, "python", 40))

    def _call(self, message: dict[str, Any]) -> Call:
        _keys(message, "id", "name", "args", "kwargs", "concurrent")
        number = _take(message, "id", int)
        if number in self._numbers or not 0 <= number < 1 << 53:
            raise ProtocolError("The sandbox used the number of a call twice")
        if len(self.open_calls) >= guest.MAX_OPEN_CALLS:
            raise ProtocolError("The sandbox opened too many calls at once")
        name = _text(message, "name", 200)
        if name not in self._tools:
            raise ProtocolError(f"The sandbox called {cut(name, 40)!r}, which it was not given")
        concurrent = _take(message, "concurrent", bool)
        if not concurrent and self._plain_call is not None:
            raise ProtocolError("The sandbox made a second call from the thread that waits for the first")
        args, kwargs = _take(message, "args", list), _names(_take(message, "kwargs", dict))
        self._count += 1
        self._numbers.add(number)
        self.open_calls[self._count] = (number, name)
        if not concurrent:
            self._plain_call = self._count
        return Call(self._count, name, tuple(args), kwargs, concurrent)

    def _printed(self, message: dict[str, Any]) -> Printed:
        _keys(message, "text")
        text = _take(message, "text", str)
        self._logged += len(text)
        if not text or self._logged > self._limits.output + _NOTICE:
            raise ProtocolError("The sandbox printed more than its limit")
        text = _clean(text)
        self._logs.append(text)
        return Printed(text)

    def _finished(self, message: dict[str, Any]) -> Finished:
        _keys(message, "output", "failure")
        failure = message["failure"]
        if failure is not None:
            failure = _failure(failure)
        ended = Finished(message["output"], self.logs, failure)
        self._end_snippet()
        return ended

    def _told(self, message: dict[str, Any]) -> Told:
        _keys(message, "value", "error")
        error = message["error"]
        if error is not None:
            error = _clean(_text(message, "error", _TEXT_LIMITS["message"]))
        self.state = "idle"
        return Told(message["value"], error)

    def _end_snippet(self) -> None:
        self.state = "idle"
        self.open_calls.clear()
        self._numbers.clear()
        self._plain_call = None

    # ---- to the guest

    def define(self, tools: Sequence[RemoteTool], variables: Mapping[str, Any]) -> list[bytes]:
        """Frames that define tools and variables.

        Raises:
            InterpreterError: A variable cannot be sent; the message names it.
        """
        self._tools.update(tool.name for tool in tools)
        frames: list[bytes] = []
        if tools:
            listed = [[tool.name, tool.is_async, tool.signature] for tool in tools]
            frames.append(self._pack({"t": "define", "tools": listed, "variables": {}}))
        return frames + [self.variable(name, value) for name, value in variables.items()]

    def variable(self, name: str, value: Any) -> bytes:
        """The frame that defines a variable; takes long if that is large, and needs no lock.

        Raises:
            InterpreterError: It cannot be sent; the message names it.
        """
        try:
            return self._pack({"t": "define", "tools": [], "variables": {name: value}})
        except Exception as error:
            raise InterpreterError(f"The variable {name!r} cannot be sent into the sandbox: {error}") from error

    def run(self, code: str) -> bytes:
        """The frame that starts a snippet.

        Raises:
            InterpreterError: Another one runs, or the program is too large.
        """
        if self.state != "idle":
            raise InterpreterError(f"The sandbox cannot start a program now: it is {self.state}")
        try:
            frame = self._pack({"t": "run", "code": code})
        except guest.EncodeError as error:
            raise InterpreterError(f"The program cannot be sent into the sandbox: {error}") from None
        self.state = "running"
        self._logs.clear()
        self._logged = 0
        return frame

    def question(self, what: str, details: Mapping[str, Any]) -> bytes:
        """The frame that asks for something between two snippets, for `pose`; takes long if that is large, and needs
        no lock.

        Raises:
            InterpreterError: The details cannot be sent.
        """
        try:
            return self._pack({"t": "ask", "what": what, "details": dict(details)})
        except guest.EncodeError as error:
            raise InterpreterError(f"The sandbox cannot be asked to {what}: {error}") from None

    def pose(self, what: str, question: bytes) -> bytes:
        """The frame of a question, which is sent now.

        Raises:
            InterpreterError: A snippet runs.
        """
        if self.state != "idle":
            raise InterpreterError(f"The sandbox cannot be asked to {what} now: it is {self.state}")
        self.state = "asking"
        return question

    def ask(self, what: str, details: Mapping[str, Any]) -> bytes:
        """The frame that asks for one of the guest's `duties`, encoded and sent at once."""
        return self.pose(what, self.question(what, details))

    def result(self, call_id: int, value: Any) -> bytes:
        """The frame with a call's result, for `settle`; takes long if that is large, and needs no lock."""
        entry = self.open_calls.get(call_id)
        if entry is None:
            return b""
        number, name = entry
        try:
            return self._pack({"t": "result", "id": number, "value": value})
        except Exception as error:
            message = f"the result of {name} cannot be sent into the sandbox: {error}"
            return self._pack({"t": "error", "id": number, "kind": "ValueError", "message": message})

    def settle(self, call_id: int, result: bytes) -> bytes:
        """The frame with a call's result, which is sent now; empty if nobody waits for it any more."""
        return b"" if self._close_call(call_id) is None else result

    def answer(self, call_id: int, value: Any) -> bytes:
        """The frame with a call's result, encoded and sent at once; empty if nobody waits for it any more."""
        return self.settle(call_id, self.result(call_id, value))

    def fail(self, call_id: int, kind: str, message: str) -> bytes:
        """The frame that raises at a call; empty if nobody waits for it any more."""
        entry = self._close_call(call_id)
        if entry is None:
            return b""
        return self._pack({"t": "error", "id": entry[0], "kind": kind, "message": message[: self._limit // 8]})

    def stop(self, call_id: int) -> bytes:
        """The frame that ends the snippet at a call; empty if it has ended."""
        entry = self._close_call(call_id)
        return b"" if entry is None else self._pack({"t": "stop", "id": entry[0]})

    def _close_call(self, call_id: int) -> tuple[int, str] | None:
        entry = self.open_calls.pop(call_id, None)
        if entry is not None:
            self._numbers.discard(entry[0])
            if self._plain_call == call_id:
                self._plain_call = None
        return entry

    def _pack(self, message: dict[str, Any]) -> bytes:
        return guest.pack(message, self._limit, self.keep)

    def keep(self, value: Any) -> int | None:
        """Hold a value that cannot be sent, so that a program can pass it on to another tool."""
        with self._keeping:
            handle = self._handles.get(id(value))
            if handle is None and len(self._held) < _MOST_HELD:
                handle = len(self._held) + 1
                self._handles[id(value)] = handle  # which stays its own, as the value is held
                self._held[handle] = value
            return handle


def _malformed(error: guest.WireError) -> ProtocolError:
    return ProtocolError(f"The sandbox sent malformed data: {error}")


def _keys(message: dict[str, Any], *names: str) -> None:
    if len(message) != len(names) + 1 or any(name not in message for name in names):
        raise ProtocolError(f"The sandbox sent a {message['t']} message with other fields than it has")


def _take(message: dict[str, Any], name: str, kind: type) -> Any:
    value = message.get(name)
    if type(value) is not kind:
        raise ProtocolError(f"The sandbox sent a field {name!r} that is not of type {kind.__name__}")
    return value


def _text(message: dict[str, Any], name: str, limit: int) -> str:
    value = _take(message, name, str)
    if len(value) > limit:
        raise ProtocolError(f"The sandbox sent a field {name!r} that is too long")
    return value


def _clean(text: str) -> str:
    """Text that every file, screen and service takes: halves of UTF-16 pairs become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _names(value: dict[Any, Any]) -> dict[str, Any]:
    if any(type(name) is not str for name in value):
        raise ProtocolError("The sandbox sent names that are not text")
    return value


def _failure(value: Any) -> GuestFailure:
    if type(value) is not dict:
        raise ProtocolError("The sandbox sent a failure that is none")
    fields = cast("dict[str, Any]", value)
    line = fields.get("line")
    if len(fields) != len(_TEXT_LIMITS) + 1 or (line is not None and (type(line) is not int or abs(line) > 1 << 31)):
        raise ProtocolError("The sandbox sent a failure that is none")
    texts = [_clean(_text(fields, name, limit)) for name, limit in _TEXT_LIMITS.items()]
    kind, message, traceback, source, hint = texts
    return GuestFailure(kind, message, traceback, line, source, hint)
