"""How the engine is found, and what comes over its stream."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from actloop.errors import SandboxUnavailableError
from actloop.executors.containers import address
from actloop.executors.containers.engine import Attached
from actloop.executors.docker import DockerExecutor
from actloop.executors.stream import SocketStream

from .kit import needs_engine

if TYPE_CHECKING:
    from pathlib import Path


def test_engines_are_found_where_they_usually_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DOCKER_HOST", "CONTAINER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(address, "usual_sockets", lambda: [tmp_path / "none.sock", tmp_path / "config.json"])
    assert address.addresses() == []
    assert "no container engine was found" in address.find()[1]
    meta = tmp_path / "contexts/meta/abc"
    meta.mkdir(parents=True)
    (tmp_path / "config.json").write_text('{"currentContext": "lab"}')
    (meta / "meta.json").write_text('{"Name": "lab", "Endpoints": {"docker": {"Host": "unix:///lab.sock"}}}')
    assert address.addresses() == ["unix:///lab.sock"]
    assert address.find()[1] == "no container engine listens at /lab.sock: start it"
    monkeypatch.setenv("DOCKER_HOST", "unix:///given.sock")
    assert address.addresses() == ["unix:///given.sock"]
    assert DockerExecutor.why_unavailable() == "no container engine listens at /given.sock: start it"
    with pytest.raises(SandboxUnavailableError, match=r"/given\.sock"):
        DockerExecutor([], None)


def test_a_socket_that_nobody_serves(tmp_path: Path) -> None:

    path = f"/tmp/actloop-dead-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    try:
        assert "does not answer" in address.why_closed(f"unix://{path}")
    finally:
        os.unlink(path)


def test_an_engine_elsewhere_that_does_not_answer() -> None:

    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert address.find(place) == (place, "")
    assert "does not answer" in address.find(place)[1]
    assert "does not answer" in address.find("tcp://127.0.0.1:port")[1]
    assert "does not answer" in address.find(place.removeprefix("tcp://"))[1]
    for wrong in ("nonsense", "/var/run/docker.sock", "file:///var/run/docker.sock"):
        assert "is no address of a container engine: write unix:///PATH" in address.find(wrong)[1]
    assert (address.find("ssh://me@a.example")[1] == "") == (find_spec("paramiko") is not None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_socket_that_may_not_be_used() -> None:

    path = f"/tmp/actloop-closed-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(path)
        closed.listen()
        os.chmod(path, 0o600)
        program = (
            f"import sys, os\nsys.path[:] = {sys.path!r}\nfrom actloop.executors.containers import address\n"
            f"os.setuid(65532)\nprint(address.why_closed('unix://{path}'))"
        )
        said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    os.unlink(path)
    assert said.startswith(f"you may not use {path}: add yourself to its group")


@needs_engine
def test_an_engine_that_is_there_is_ready(engine_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine_address)
    assert DockerExecutor.why_unavailable() == ""


def test_without_the_sdk_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from actloop.errors import MissingExtraError

    monkeypatch.setattr(address, "find_spec", dict[str, Any]().get)
    assert DockerExecutor.why_unavailable() == "the package 'docker' is not installed: pip install 'actloop[docker]'"
    with pytest.raises(MissingExtraError):
        DockerExecutor([], None)


def test_output_is_parted_from_errors_in_whatever_pieces_it_comes() -> None:
    def sent(kind: int, data: bytes) -> bytes:
        return struct.pack(">BxxxI", kind, len(data)) + data

    data = sent(1, b"one") + sent(2, b"oops" * 2000) + sent(1, b"") + sent(1, b"two")
    for size in (1, 7, len(data)):
        ours, theirs = socket.socketpair()
        attached = Attached(SocketStream(ours))
        found: list[bytes] = []
        reader = threading.Thread(target=found.extend, args=(iter(attached.read, b""),))
        reader.start()
        with theirs:
            for start in range(0, len(data), size):
                theirs.sendall(data[start : start + size])
        reader.join(60)
        attached.close()
        assert b"".join(found) == b"onetwo"
        assert attached.said == (b"oops" * 2000)[-4000:]


def test_a_container_that_says_nothing_is_given_up() -> None:

    ours, theirs = socket.socketpair()
    with theirs:
        assert Attached(SocketStream(ours)).first(0.05) is False


@needs_engine
def test_an_engine_that_is_named_anew_is_looked_for_anew(
    engine_address: str, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine_address)
    executor = DockerExecutor([], None, image=image)
    executor.cleanup()
    monkeypatch.setenv("DOCKER_HOST", "unix:///given.sock")
    with pytest.raises(SandboxUnavailableError, match=r"/given\.sock"):
        DockerExecutor([], None, image=image)
