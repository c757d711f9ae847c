"""Guests under a keeper: everything over one stream, with keepers that lie, and with hosts that die."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actloop.executors.reaper import REAPER, Reaper
from actloop.executors.session import SandboxLimits
from actloop.executors.stream import KeeperProcess, SocketStream
from actloop.guest import bundle
from actloop.guest.multiplex import BEAT, COUNT, MAX_STREAMS, STATUS, Frame, FrameReader, Stream, armored, frame
from actloop.guest.values import WireError

from .driving import Driver
from .keepers import Kept, keeper_stream, kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]


def eventually(what: Callable[[], bool]) -> bool:
    """Whether something becomes so within a while."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.005)
    return False


def lives(pid: int) -> bool:
    """Whether a process exists that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(params=[False, True], ids=["plain", "armored"])
def one(request: pytest.FixtureRequest) -> Iterator[Kept]:
    with kept(armor=request.param) as made:
        yield made


def twice(number: int) -> int:
    return 2 * number


# ---- what a session does


def test_programs_run_and_call_tools(one: Kept) -> None:
    driver = Driver(one.session, twice=twice, a_twice=twice)
    assert driver.value("x = 20\nprint('hello')\ntwice(x) + await a_twice(1)") == 42
    assert driver.printed == ["hello\n"]
    assert driver.value("x") == 20


def test_large_values_cross_in_both_directions(one: Kept) -> None:
    driver = Driver(one.session)
    driver.define(data=os.urandom(5_000_000))
    assert driver.value("data == bytes(data)")
    assert len(driver.value("data + data")) == 10_000_000


def test_a_program_is_interrupted_at_its_deadline() -> None:
    with kept(SandboxLimits(wall=0.2)) as made:
        driver = Driver(made.session)
        ended = driver.run("x = 1\nwhile True: x += 1")
        assert ended.failure is not None
        assert (ended.failure.kind, ended.failure.lost) == ("TimeoutError", False)
        assert driver.value("x") > 1


def test_a_program_that_obeys_no_signal_is_killed() -> None:
    with kept(SandboxLimits(wall=0.2)) as made:
        ended = Driver(made.session).run(
            "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass"
        )
        assert ended.failure is not None
        assert (ended.failure.kind, ended.failure.lost) == ("TimeoutError", True)


def test_the_user_interrupts_a_program(one: Kept) -> None:
    driver = Driver(one.session, begun=lambda: threading.Timer(0.1, one.session.interrupt).start())
    ended = driver.run("import time\nx = 1\nbegun()\ntime.sleep(60)")
    assert ended.failure is not None
    assert (ended.failure.kind, ended.failure.lost) == ("KeyboardInterrupt", False)
    assert driver.value("x") == 1


def test_threads_get_no_time_between_snippets(one: Kept) -> None:
    driver = Driver(one.session)
    driver.value(
        "import threading, time\nticks = 0\ndef tick():\n    global ticks\n    while True:\n        ticks += 1"
    )
    driver.value("threading.Thread(target=tick, daemon=True).start()")
    pid = guest_of(one)
    assert eventually(lambda: state_of(pid) == "T")
    before = driver.value("ticks")
    assert eventually(lambda: state_of(pid) == "T")
    time.sleep(0.2)
    driver.value("1")
    assert driver.value("ticks") >= before


def guest_of(made: Kept) -> int:
    return int(Path(f"/proc/{made.stream.child.pid}/task/{made.stream.child.pid}/children").read_text().split()[0])


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_processor_time_is_limited_too() -> None:
    with kept(SandboxLimits(wall=60, cpu=0.3)) as made:
        driver = Driver(made.session)
        assert driver.value("import time; time.sleep(0.4)") is None
        ended = driver.run("while True: pass")
        assert ended.failure is not None
        assert ended.failure.kind == "TimeoutError"
        assert "processor time" in ended.failure.message


def test_processor_time_counts_what_other_processes_of_the_guest_use() -> None:
    with kept(config={"imports": ["*"]}) as made:
        driver = Driver(made.session)
        before = made.process.cpu_time()
        driver.value("import os\nif not os.fork():\n    sum(range(10_000_000))\n    os._exit(0)\nos.wait()[1]")
        assert before is not None
        assert eventually(lambda: (made.process.cpu_time() or 0) > before + 0.02)


def test_limits_of_the_guest_are_set_by_the_keeper() -> None:
    limits = {"memory": 100 << 20, "files": 32, "processes": None, "disk": 1 << 20}
    with kept(config={"limits": limits, "imports": ["*"]}, rlimits=("memory", "files", "disk")) as made:
        driver = Driver(made.session)
        ended = driver.run("x = bytearray(200_000_000)")
        assert ended.failure is not None
        assert (ended.failure.kind, ended.failure.lost) == ("MemoryError", False)
        assert driver.value("import resource; resource.getrlimit(resource.RLIMIT_NOFILE)") == (32, 32)
        assert driver.value("resource.getrlimit(resource.RLIMIT_FSIZE)") == (1 << 20, 1 << 20)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.skipif(not os.access("/usr/bin/python3", os.X_OK), reason="the system has no Python of its own")
def test_the_guest_of_a_root_keeper_is_unprivileged(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    config = {"uid": 65532, "folder": str(tmp_path), "imports": ["*"]}
    with kept(config=config, interpreter="/usr/bin/python3") as made:
        driver = Driver(made.session)
        driver.value("import os")
        assert driver.value("os.getresuid(), os.getresgid(), os.getgroups()") == ((65532,) * 3, (65532,) * 3, [])
        assert driver.value("open('made', 'w').close(); os.getcwd()") == str(tmp_path)
        ended = driver.run("os.kill(os.getppid(), 9)")
        assert ended.failure is not None
        assert ended.failure.kind == "PermissionError"


# ---- the end


def test_a_guest_that_dies_ends_its_sandbox() -> None:
    with kept(config={"imports": ["*"]}) as made:
        driver = Driver(made.session)
        ended = driver.run("import os\nprint('last words', flush=True)\nos._exit(3)")
        assert ended.failure is not None
        assert (ended.failure.kind, ended.logs) == ("SandboxCrash", "last words\n")
        made.wait_gone()
        assert (made.process.status, made.ended) == (3, 1)


def test_nothing_of_a_closed_session_is_left() -> None:
    program = """
        import os, time
        pids = []
        for _ in range(2):
            here, there = os.pipe()
            if not os.fork():
                os.setsid()
                if not os.fork():
                    os.write(there, str(os.getpid()).encode())
                    time.sleep(600)
                os._exit(0)
            pids.append(int(os.read(here, 20)))
        pids
    """
    with kept(config={"imports": ["*"]}) as made:
        pids = [*Driver(made.session).value(textwrap.dedent(program)), guest_of(made)]
        assert all(map(lives, pids))
        made.session.close()
        assert eventually(lambda: not any(map(lives, pids)))


def test_a_session_closes_at_once_and_its_sandbox_is_removed_once() -> None:
    with kept() as made:
        free = threading.Event()
        end = made.process._end  # pyright: ignore[reportPrivateUsage]

        def slowly() -> None:
            free.wait(20)
            end()

        made.process._end = slowly  # pyright: ignore[reportPrivateUsage]
        made.session.close()
        made.process.kill()
        made.process.close()
        assert made.ended == 0
        free.set()
        made.wait_gone()
        assert REAPER.flush(10)
        assert made.ended == 1


HOST = """
import sys
sys.path.insert(0, {root!r})
from tests.executors.keepers import *
from tests.executors.driving import Driver
with kept(config={{"imports": ["*"]}}) as made:
    driver = Driver(made.session)
    driver.value("import os, time\\nif not os.fork():\\n    os.setsid()\\n    time.sleep(600)")
    children = driver.value("os.getpid(), int(open(f'/proc/self/task/{{os.getpid()}}/children').read())")
    print(made.stream.child.pid, *children, flush=True)
    {then}
"""


def host(then: str) -> subprocess.Popen[str]:
    program = HOST.format(root=str(ROOT), then=then)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_a_dead_host_leaves_nothing_running() -> None:
    with host("import time; time.sleep(600)") as process:
        assert process.stdout is not None
        pids = list(map(int, process.stdout.readline().split()))
        assert len(pids) == 3
        assert all(map(lives, pids))
        process.kill()
        process.wait()
        assert eventually(lambda: not any(map(lives, pids)))


def test_a_host_that_forgets_to_close_removes_the_sandbox_at_its_end() -> None:
    with host("made.session.close = lambda: None; made.wait_gone = lambda: None") as process:
        assert process.stdout is not None
        pids = list(map(int, process.stdout.readline().split()))
        assert process.wait(30) == 0
        assert not lives(pids[0])
        assert eventually(lambda: not any(map(lives, pids)))


def test_a_fork_of_the_host_does_not_end_the_session() -> None:
    with kept() as made:
        driver = Driver(made.session)
        pid = os.fork()
        if not pid:
            made.process.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert driver.value("1") == 1


def test_a_silent_host_is_taken_for_dead() -> None:
    stream = keeper_stream(silence=0.5)
    assert eventually(lambda: stream.child.poll() is not None)
    stream.close()
    stream.end()


def test_a_keeper_without_a_bundle_ends() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", bundle.BOOT], input=b"0000", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (75, b"")


def test_the_reaper_goes_on_after_what_fails(caplog: pytest.LogCaptureFixture) -> None:
    reaper, done = Reaper(workers=1), threading.Event()

    def fail() -> None:
        raise OSError("no such container")

    reaper.put(fail)
    reaper.put(done.set)
    assert reaper.flush(10)
    assert done.is_set()
    assert "no such container" in caplog.text


# ---- connections of programs

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
                release.wait(20)
                return
            echo(connection)

    with network(connect) as made:
        driver = Driver(made.session, tool=lambda: 1)
        driver.value(FETCH)
        blocked = "import threading\nthreading.Thread(target=talk, args=(bytes(50_000_000),), daemon=True).start()"
        driver.value(blocked + "\nimport time\ntime.sleep(0.2)")
        assert first.is_set()
        assert driver.value("tool(), talk(b'other')") == (1, b"other")
        stuck = made.process._streams[1]  # pyright: ignore[reportPrivateUsage]
        assert len(stuck.unsent) <= 1 << 18
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


# ---- keepers that lie


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
        assert self.ended.wait(20)
        for thread in self.process._threads:  # pyright: ignore[reportPrivateUsage]
            thread.join(20)
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
    assert liar.ended.wait(20)
    assert liar.process.fault


@pytest.mark.parametrize("text", [b"not base64!\n", b"A\n", b"A" * 2_000_000], ids=["other", "cut", "endless line"])
def test_armor_that_is_broken_ends_the_keeper(text: bytes) -> None:
    liar = Liar(armor=True)
    with contextlib.suppress(OSError):
        liar.socket.sendall(text)
    assert liar.ended.wait(20)
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
            release.wait(20)

    liar = Liar(connect)
    liar.say(*frames)
    assert liar.ended.wait(20)
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
    thread.join(20)


def test_a_keeper_that_does_not_listen_blocks_nobody(liar: Liar) -> None:
    liar.process.channel.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            liar.process.channel.send(bytes(65536))
    liar.process.signal(signal.SIGUSR1)
    liar.process.pause()
    liar.process.kill()
    assert liar.ended.wait(20)


def test_what_a_dying_keeper_said_is_still_read(liar: Liar) -> None:
    liar.say(frame(Frame.DATA, 0, b"y" * 60_000), frame(Frame.END), frame(Frame.EXIT, 0, STATUS.pack(-9)))
    liar.socket.shutdown(socket.SHUT_RDWR)
    data = b""
    while part := liar.process.channel.recv(1000):
        data += part
    assert len(data) == 60_000
    assert liar.ended.wait(20)
    assert (liar.process.status, liar.process.fault) == (-9, "")


def test_a_stream_that_breaks_ends_the_session(liar: Liar) -> None:
    liar.socket.shutdown(socket.SHUT_RDWR)
    assert liar.process.channel.recv(1) == b""
    assert liar.ended.wait(20)


def test_a_keeper_without_a_sign_of_life_is_taken_for_dead(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    liar.hear(Frame.PING)
    monkeypatch.setattr("actloop.executors.stream._SILENCE", 0.0)
    liar.process.beat()
    assert liar.ended.wait(20)
    assert liar.process.fault == "the sandbox gave no sign of life"


def test_signs_of_life_tell_the_processor_time(liar: Liar) -> None:
    _, _, beat = liar.hear(Frame.PING)
    liar.say(frame(Frame.PONG, 0, BEAT.pack(int.from_bytes(beat, "big"), 1.5)))
    assert eventually(lambda: liar.process.cpu_time() == 1.5)


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
