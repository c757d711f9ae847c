"""The host's side of the protocol against guests that speak it wrongly: only ProtocolError, no hang, bounded memory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from actloop.errors import InterpreterError, ProtocolError
from actloop.executors.guest_session import GuestSession
from actloop.executors.protocol import HostProtocol, Ready, Told
from actloop.executors.session import Call, Finished, Printed, RemoteTool, SandboxLimits
from actloop.executors.waiting import BlockingWaiter, run_now
from actloop.guest import MAX_OPEN_CALLS, PROTOCOL, pack

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

WAITER = BlockingWaiter()
LIMITS = SandboxLimits(wall=0.3, output=1000, value=1 << 16)

READY = {"t": "ready", "protocol": PROTOCOL, "python": "3.11.7"}
FINISHED = {"t": "finished", "output": 1, "failure": None}
FAILURE = {"kind": "E", "message": "m", "traceback": "t", "line": 1, "source": "s", "hint": ""}


def call(number: int = 1, **changes: Any) -> dict[str, Any]:
    message = {"t": "call", "id": number, "name": "f", "args": [1], "kwargs": {"a": 2}, "concurrent": True}
    return message | changes


def running() -> HostProtocol:
    protocol = HostProtocol(LIMITS)
    protocol.receive(pack(READY))
    assert protocol.next_event() == Ready("3.11.7")
    protocol.define([RemoteTool("f")], {})
    protocol.run("code")
    return protocol


def hear(protocol: HostProtocol, *messages: dict[str, Any]) -> list[Any]:
    events: list[Any] = []
    for message in messages:
        protocol.receive(pack(message))
        while (event := protocol.next_event()) is not None:
            events.append(event)
    return events


def test_a_conversation() -> None:
    protocol = running()
    events = hear(protocol, {"t": "printed", "text": "hi"}, call(7), call(3, concurrent=False))
    assert events == [
        Printed("hi"),
        Call(1, "f", (1,), {"a": 2}, concurrent=True),
        Call(2, "f", (1,), {"a": 2}, concurrent=False),
    ]
    assert protocol.answer(2, "x") == pack({"t": "result", "id": 3, "value": "x"})
    assert protocol.fail(1, "E", "m") == pack({"t": "error", "id": 7, "kind": "E", "message": "m"})
    assert protocol.stop(1) == b""
    assert hear(protocol, call(7), FINISHED) == [
        Call(3, "f", (1,), {"a": 2}, concurrent=True),
        Finished(1, "hi"),
    ]
    assert protocol.answer(3, "late") == b""
    protocol.ask("read", {})
    assert hear(protocol, {"t": "told", "value": {"x": 1}, "error": None}) == [Told({"x": 1})]


WRONG: list[list[dict[str, Any]]] = [
    [READY],
    [FINISHED, FINISHED],
    [FINISHED, {"t": "printed", "text": "late"}],
    [FINISHED, call()],
    [{"t": "told", "value": {}, "error": None}],
    [{"t": "nope"}],
    [{"t": ["call"]}],
    [{}],
    [call(1), call(1)],
    [call(-1)],
    [call(1 << 60)],
    [call(name="g")],
    [call(name=1)],
    [call(name="f" * 300)],
    [call(args={})],
    [call(args=(1,))],
    [call(kwargs=[])],
    [call(kwargs={1: 2})],
    [call(concurrent=1)],
    [call(more=1)],
    [call(1, concurrent=False), call(2, concurrent=False)],
    [call(number) for number in range(MAX_OPEN_CALLS + 1)],
    [{"t": "printed", "text": ""}],
    [{"t": "printed", "text": b"x"}],
    [{"t": "printed"}],
    [{"t": "printed", "text": "x" * 5000}],
    [{"t": "printed", "text": "x"}] * 2000,
    [{"t": "finished", "output": 1}],
    [FINISHED | {"failure": "no"}],
    [FINISHED | {"failure": {}}],
    [FINISHED | {"failure": FAILURE | {"line": "1"}}],
    [FINISHED | {"failure": FAILURE | {"line": True}}],
    [FINISHED | {"failure": FAILURE | {"lost": True}}],
    [FINISHED | {"failure": FAILURE | {"kind": None}}],
    [FINISHED | {"failure": FAILURE | {"kind": "x" * 1000}}],
    [FINISHED | {"failure": FAILURE | {"traceback": "x" * 50_000}}],
]


@pytest.mark.parametrize("messages", WRONG, ids=range(len(WRONG)))
def test_what_does_not_fit_is_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(ProtocolError):
        hear(running(), *messages)


@pytest.mark.parametrize(
    "message", [FINISHED, call(), READY | {"protocol": PROTOCOL + 1}, READY | {"python": 3}, READY | {"protocol": True}]
)
def test_what_does_not_fit_the_start_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        hear(HostProtocol(LIMITS), message)


def test_results_that_cannot_be_sent_become_errors_at_the_call() -> None:
    protocol = running()
    hear(protocol, call(1), call(2))
    assert b"ValueError" in protocol.answer(1, b"x" * (1 << 17))
    loop: list[Any] = []
    loop.append(loop)
    assert b"contains itself" in protocol.answer(2, loop)
    hear(protocol, FINISHED)
    with pytest.raises(InterpreterError, match="too large"):
        protocol.run("x" * (1 << 17))


SAID: list[dict[str, Any]] = [
    READY,
    FINISHED,
    call(1),
    call(2),
    call(3, concurrent=False),
    {"t": "printed", "text": "x"},
    {"t": "told", "value": {}, "error": None},
]
messages = st.sampled_from(SAID)
values: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.builds(list[Any]) | st.builds(dict[str, Any])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(messages, max_size=12), st.randoms(use_true_random=False))
def test_any_order_of_messages_and_answers(said: list[dict[str, Any]], chance: random.Random) -> None:
    protocol = HostProtocol(LIMITS)
    protocol.define([RemoteTool("f")], {})
    try:
        for message in said:
            for event in hear(protocol, message):
                if isinstance(event, Call) and chance.random() < 0.5:
                    protocol.answer(event.id, 1)
            if protocol.state == "idle":
                chance.choice([lambda: protocol.ask("read", {}), lambda: protocol.run("x")])()
    except ProtocolError:
        pass
    assert len(protocol.open_calls) <= MAX_OPEN_CALLS


@settings(max_examples=300, deadline=None)
@given(
    messages, st.sampled_from(["t", "id", "name", "args", "kwargs", "concurrent", "text", "output", "failure"]), values
)
def test_any_field_may_be_wrong(message: dict[str, Any], name: str, value: Any) -> None:
    protocol = running()
    with contextlib.suppress(ProtocolError):
        hear(protocol, message | {name: value})


@settings(max_examples=200, deadline=None)
@given(st.lists(messages, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_mutated_bytes(said: list[dict[str, Any]], chance: random.Random) -> None:
    protocol = running()
    stream = bytearray(b"".join(map(pack, said)))
    for _ in range(chance.randint(1, 4)):
        stream[chance.randrange(len(stream))] = chance.randrange(256)
    try:
        while stream:
            size = chance.randint(1, 64)
            protocol.receive(bytes(stream[:size]))
            del stream[:size]
            while protocol.next_event() is not None:
                pass
    except ProtocolError:
        pass


# ---- hostile guests on a real stream


class HostileGuest:
    """A thread that holds the guest's end of a stream and says what a test wants; it can be killed like a process."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self.channel, self._other = socket.socketpair()
        self.signals: list[int] = []
        self._thread = threading.Thread(target=self._run, args=(behave,))
        self._thread.start()

    def _run(self, behave: Callable[[socket.socket], None]) -> None:
        try:
            self._other.sendall(pack(READY))
            behave(self._other)
        except OSError:
            pass

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def kill(self) -> None:
        self.signals.append(signal.SIGKILL)
        self._other.shutdown(socket.SHUT_RDWR)

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def cpu_time(self) -> float | None:
        return None

    def close(self) -> None:
        self._other.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._other.close()


@pytest.fixture
def start() -> Iterator[Any]:
    sessions: list[GuestSession] = []

    def begin(behave: Callable[[socket.socket], None]) -> tuple[GuestSession, HostileGuest]:
        guest = HostileGuest(behave)
        session = GuestSession(guest, LIMITS)
        sessions.append(session)
        run_now(session.wait_ready(WAITER))
        run_now(session.define(WAITER, tools=[RemoteTool("f")]))
        run_now(session.start("code", WAITER))
        return session, guest

    yield begin
    for session in sessions:
        session.close()


def until_the_end(session: GuestSession) -> Finished:
    while not isinstance(event := run_now(session.receive(WAITER)), Finished):
        if isinstance(event, Call):
            run_now(session.answer(event.id, b"x" * 1000, WAITER))
    return event


def in_the_middle_of_a_frame(stream: socket.socket) -> None:
    stream.sendall(pack(FINISHED)[:10])
    stream.shutdown(socket.SHUT_RDWR)


def garbage(stream: socket.socket) -> None:
    stream.sendall(os.urandom(1 << 16))


def endless_chatter(stream: socket.socket) -> None:
    while True:
        stream.sendall(pack({"t": "printed", "text": "x" * 100}))


def an_endless_frame(stream: socket.socket) -> None:
    stream.sendall(b"\0\0\xff\x00\0\0\0\0\0\0\0\0")
    while True:
        stream.sendall(b" " * 1000)


def a_second_result(stream: socket.socket) -> None:
    stream.sendall(pack(FINISHED) + pack(FINISHED))


@pytest.mark.parametrize("behave", [in_the_middle_of_a_frame, garbage, endless_chatter, an_endless_frame])
def test_a_guest_that_breaks_the_protocol_is_ended(behave: Any, start: Any) -> None:
    session, _ = start(behave)
    failure = until_the_end(session).failure
    assert failure is not None
    assert (failure.kind, failure.lost) == ("SandboxCrash", True)
    assert not session.alive


def test_a_guest_that_says_a_second_result_is_ended_at_the_next_program(start: Any) -> None:
    session, _ = start(a_second_result)
    assert until_the_end(session).output == 1
    run_now(session.start("more", WAITER))
    assert until_the_end(session).failure is None  # it came after the start: nobody can tell
    with pytest.raises(InterpreterError):
        run_now(session.receive(WAITER))


def test_a_guest_that_is_silent_or_slow_is_killed_at_its_deadline(start: Any) -> None:
    def silent(stream: socket.socket) -> None:
        while stream.recv(1000):
            pass

    def slow(stream: socket.socket) -> None:
        for byte in pack(FINISHED | {"output": "x" * 400}):
            stream.sendall(bytes([byte]))
            time.sleep(0.01)

    for behave in (silent, slow):
        session, guest = start(behave)
        failure = until_the_end(session).failure
        assert failure is not None
        assert (failure.kind, failure.lost) == ("TimeoutError", True)
        assert guest.signals[:2] == [signal.SIGUSR1, signal.SIGKILL]


def test_a_guest_that_does_not_read_is_killed(start: Any) -> None:
    def calls_only(stream: socket.socket) -> None:
        for number in range(100_000):
            stream.sendall(pack(call(number)))

    session, guest = start(calls_only)
    failure = until_the_end(session).failure
    assert failure is not None
    assert failure.lost
    assert signal.SIGKILL in guest.signals


def test_a_guest_that_never_stops_talking_is_killed_at_its_deadline(start: Any) -> None:
    def talk(stream: socket.socket) -> None:
        reader = threading.Thread(target=lambda: [None for _ in iter(lambda: stream.recv(65_536), b"")])
        reader.start()
        try:
            for number in range(10**6):
                stream.sendall(pack(call(number)))
        finally:
            reader.join()

    session, guest = start(talk)
    failure = until_the_end(session).failure
    assert failure is not None
    assert (failure.kind, failure.lost) == ("TimeoutError", True)
    assert guest.signals[:2] == [signal.SIGUSR1, signal.SIGKILL]


def test_a_guest_that_never_starts() -> None:
    ours, theirs = socket.socketpair()
    guest = HostileGuest(lambda _: None)
    guest.channel.close()
    guest.channel = ours
    session = GuestSession(guest, LIMITS)
    theirs.close()
    with pytest.raises(ProtocolError, match="did not start"):
        run_now(session.wait_ready(WAITER))
    assert not session.alive
