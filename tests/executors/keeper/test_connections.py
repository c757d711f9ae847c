"""Connections of programs, which a keeper carries to the host, and the frames that carry them."""

from __future__ import annotations

import socket
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.waiting import eventually

from actloop.guest.multiplex import COUNT, MAX_STREAMS, Frame, FrameReader, Stream, armored, frame
from actloop.guest.values import WireError

from ..driving import Driver
from ..keepers import kept

if TYPE_CHECKING:
    from collections.abc import Callable

FETCH = """
import os, socket
port = int(os.environ["HTTPS_PROXY"].rpartition(":")[2])
def talk(data):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)
"""


def echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def echo_at_the_end(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as file:
        connection.sendall(file.read())


def network(connect: Callable[[socket.socket], None], **options: Any) -> Any:
    return kept(config={"imports": ["*"], "network": True}, connect=connect, **options)


@pytest.mark.parametrize("armor", [False, True])
def test_connections_are_carried_to_the_host(armor: bool) -> None:
    with network(echo_at_the_end, armor=armor) as made:
        driver = Driver(made.session)
        driver.value(FETCH)
        assert driver.value("talk(b'hello')") == b"hello"
        assert driver.value("data = bytes(range(256)) * 10_000\ntalk(data) == data") is True
        assert driver.value("[talk(b'%d' % n) for n in range(100)][-1]") == b"99"


def test_a_connection_that_nobody_reads_holds_up_no_other() -> None:
    first = threading.Event()
    release = threading.Event()

    def connect(connection: socket.socket) -> None:
        with connection:
            if not first.is_set():
                first.set()
                release.wait(60)
                return
            echo(connection)

    with network(connect) as made:
        streams = made.process._streams  # pyright: ignore[reportPrivateUsage]

        def is_stuck() -> bool:
            return first.wait(60) and eventually(lambda: streams[1].unsent)

        driver = Driver(made.session, is_stuck=is_stuck)
        driver.value(FETCH)
        blocked = "import threading\nthreading.Thread(target=talk, args=(bytes(50_000_000),), daemon=True).start()"
        assert driver.value(f"{blocked}\nis_stuck(), talk(b'other')") == (True, b"other")
        assert 0 < len(streams[1].unsent) <= 1 << 18
        release.set()


def test_a_connection_that_the_host_closes_ends_for_the_program() -> None:
    def connect(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"go away")

    with network(connect) as made:
        driver = Driver(made.session)
        driver.value(FETCH)
        program = """
            with socket.create_connection(("127.0.0.1", port)) as connection:
                answer = connection.recv(100), connection.recv(100)
                try:
                    for _ in range(1000):
                        connection.sendall(bytes(65536))
                    answer += "endless",
                except OSError:
                    pass
            answer
        """
        assert driver.value(textwrap.dedent(program)) == (b"go away", b"")
        assert eventually(lambda: len(made.process._streams) == 1)  # pyright: ignore[reportPrivateUsage]


def test_more_connections_than_may_be_wait_for_the_others() -> None:
    with network(echo) as made:
        driver = Driver(made.session)
        driver.value(FETCH)
        program = """
            connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(COUNT)]
            for connection in connections:
                connection.sendall(b"x")
            answers = 0
            for connection in connections:
                answers += len(connection.recv(1))
                connection.close()
            answers
        """
        assert driver.value(textwrap.dedent(program.replace("COUNT", str(MAX_STREAMS + 20)))) == MAX_STREAMS + 20
        assert eventually(lambda: len(made.process._streams) == 1)  # pyright: ignore[reportPrivateUsage]


def test_without_a_network_nothing_is_listened_for() -> None:
    with kept(config={"imports": ["*"]}) as made:
        assert Driver(made.session).value("import os; os.environ.get('HTTPS_PROXY')") is None


def test_frames_may_come_in_pieces() -> None:
    for armor in (False, True):
        data = frame(Frame.DATA, 3, b"abc") + frame(Frame.END, 3)
        reader = FrameReader(armor)
        found = [got for byte in (armored(data) if armor else data) for got in reader.feed(bytes([byte]))]
        assert found == [(Frame.DATA, 3, b"abc"), (Frame.END, 3, b"")]


def test_a_stream_gives_credit_only_for_what_was_passed_on() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(1, ours)
        for _ in range(4):
            stream.take(Frame.DATA, bytes(65536))
        with pytest.raises(WireError):
            stream.take(Frame.DATA, b"x")
        given = stream.due()
        passed = (1 << 18) - len(stream.unsent)
        assert given == frame(Frame.CREDIT, 1, COUNT.pack(passed))
