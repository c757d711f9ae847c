"""Keepers that lie, that are silent, and that break off."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.waiting import eventually

from actloop.executors.stream import KeeperProcess, SocketStream
from actloop.guest.multiplex import BEAT, COUNT, MAX_STREAMS, STATUS, Frame, FrameReader, armored, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Liar:
    """A host's process whose keeper is this test."""

    def __init__(self, connect: Callable[[socket.socket], None] | None = None, *, armor: bool = False) -> None:
        ours, self.socket = socket.socketpair()
        self.ended = threading.Event()
        self.armor = armor
        self.process = KeeperProcess(SocketStream(ours), self.ended.set, armor=armor, connect=connect)
        self.process.channel.settimeout(20)
        self.socket.settimeout(20)
        self.reader = FrameReader(armor)
        self.frames: list[tuple[int, int, bytes]] = []

    def say(self, *frames: bytes) -> None:
        data = b"".join(frames)
        self.socket.sendall(armored(data) if self.armor else data)

    def hear(self, kind: int) -> tuple[int, int, bytes]:
        """The next frame of a kind."""
        while True:
            for found in list(self.frames):
                self.frames.remove(found)
                if found[0] == kind:
                    return found
            data = self.socket.recv(65536)
            if not data:
                raise OSError("the host has closed the stream")
            self.frames += self.reader.feed(data)

    def close(self) -> None:
        self.process.close()
        assert self.ended.wait(60)
        for thread in self.process._threads:  # pyright: ignore[reportPrivateUsage]
            thread.join(60)
        self.process.channel.close()
        self.socket.close()


@pytest.fixture
def liar() -> Iterator[Liar]:
    made = Liar()
    yield made
    made.close()


DATA = frame(Frame.DATA, 0, b"x")
LIES = {
    "garbage": [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    "frame too large": [b"\x01" + bytes(4) + b"\xff\xff\xff\xff"],
    "unknown kind": [frame(0)],
    "empty data": [frame(Frame.DATA)],
    "more than the window": [frame(Frame.DATA, 0, bytes(65536))] * 32,
    "data after the end": [frame(Frame.END), DATA],
    "two ends": [frame(Frame.END), frame(Frame.END)],
    "credit for nothing": [frame(Frame.CREDIT, 0, COUNT.pack(1))],
    "no credit": [frame(Frame.CREDIT, 0, COUNT.pack(0))],
    "credit of another size": [frame(Frame.CREDIT, 0, b"x")],
    "unknown stream": [frame(Frame.DATA, 7, b"x")],
    "end of an unknown stream": [frame(Frame.END, 7)],
    "a connection without a network": [frame(Frame.OPEN, 1)],
    "an order": [frame(Frame.KILL)],
    "a ping": [frame(Frame.PING, 0, bytes(4))],
    "a wrong sign of life": [frame(Frame.PONG, 0, BEAT.pack(77, 0.0))],
    "processor time that is no number": [frame(Frame.PONG, 0, BEAT.pack(1, float("nan")))],
    "negative processor time": [frame(Frame.PONG, 0, BEAT.pack(1, -1.0))],
    "endless signs of life": [frame(Frame.PONG, 0, BEAT.pack(1, 0.0))] * 2,
    "two exits": [frame(Frame.EXIT, 0, STATUS.pack(0))] * 2,
    "an exit of another size": [frame(Frame.EXIT)],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_keeper_that_lies_is_ended(lie: str, liar: Liar) -> None:
    with contextlib.suppress(OSError):  # it is ended while it speaks
        liar.say(*LIES[lie])
    while liar.process.channel.recv(65536):
        pass
    assert liar.ended.wait(60)
    assert liar.process.fault


@pytest.mark.parametrize("text", [b"not base64!\n", b"A\n", b"A" * 2_000_000], ids=["other", "cut", "endless line"])
def test_armor_that_is_broken_ends_the_keeper(text: bytes) -> None:
    liar = Liar(armor=True)
    with contextlib.suppress(OSError):
        liar.socket.sendall(text)
    assert liar.ended.wait(60)
    assert "base64" in liar.process.fault
    liar.close()


@pytest.mark.parametrize(
    "frames",
    [
        [frame(Frame.OPEN, 0)],
        [frame(Frame.OPEN, 2), frame(Frame.OPEN, 1)],
        [frame(Frame.OPEN, 1), frame(Frame.OPEN, 1)],
        [frame(Frame.OPEN, number) for number in range(1, MAX_STREAMS + 2)],
        [frame(Frame.OPEN, 1, b"x")],
        [frame(Frame.OPEN, 1), *[frame(Frame.DATA, 1, bytes(65536))] * 9],
    ],
    ids=["number 0", "backwards", "twice", "too many", "with a payload", "more than the window"],
)
def test_a_keeper_that_lies_about_connections_is_ended(frames: list[bytes]) -> None:
    release = threading.Event()

    def connect(connection: socket.socket) -> None:
        with connection:
            release.wait(60)

    liar = Liar(connect)
    liar.say(*frames)
    assert liar.ended.wait(60)
    assert liar.process.fault
    release.set()
    liar.close()


def test_a_flood_is_held_back_by_what_the_session_reads(liar: Liar) -> None:
    def flood() -> None:
        try:
            while True:
                liar.say(frame(Frame.DATA, 0, bytes(60_000)))
                liar.hear(Frame.CREDIT)
        except (OSError, TimeoutError):
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    assert len(liar.process.channel.recv(60_000)) > 0
    time.sleep(0.2)
    assert len(liar.process._streams[0].unsent) <= 1 << 20  # pyright: ignore[reportPrivateUsage]
    liar.process.close()
    liar.socket.shutdown(socket.SHUT_RDWR)
    thread.join(60)


def test_a_keeper_that_does_not_listen_blocks_nobody(liar: Liar) -> None:
    liar.process.channel.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            liar.process.channel.send(bytes(65536))
    liar.process.signal(signal.SIGUSR1)
    liar.process.pause()
    liar.process.kill()
    assert liar.ended.wait(60)


def test_what_a_dying_keeper_said_is_still_read(liar: Liar) -> None:
    liar.say(frame(Frame.DATA, 0, b"y" * 60_000), frame(Frame.END), frame(Frame.EXIT, 0, STATUS.pack(-9)))
    liar.socket.shutdown(socket.SHUT_RDWR)
    data = b""
    while part := liar.process.channel.recv(1000):
        data += part
    assert len(data) == 60_000
    assert liar.ended.wait(60)
    assert (liar.process.status, liar.process.fault) == (-9, "")


def test_a_stream_that_breaks_ends_the_session(liar: Liar) -> None:
    liar.socket.shutdown(socket.SHUT_RDWR)
    assert liar.process.channel.recv(1) == b""
    assert liar.ended.wait(60)


def test_a_keeper_without_a_sign_of_life_is_taken_for_dead(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    liar.hear(Frame.PING)
    monkeypatch.setattr("actloop.executors.stream._SILENCE", 0.0)
    liar.process.beat()
    assert liar.ended.wait(60)
    assert liar.process.fault == "the sandbox gave no sign of life"


def test_signs_of_life_tell_the_processor_time(liar: Liar) -> None:
    _, _, beat = liar.hear(Frame.PING)
    liar.say(frame(Frame.PONG, 0, BEAT.pack(int.from_bytes(beat, "big"), 1.5)))
    assert eventually(lambda: liar.process.cpu_time() == 1.5)
