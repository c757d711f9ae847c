"""Workspaces in containers: mounted where nothing in them leads out, copied otherwise."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from actloop.executors.workspace import Workspace

from .kit import failing, needs_engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actloop.executors.docker import DockerExecutor


@needs_engine
def test_a_workspace_that_is_read_is_mounted(make: Callable[..., DockerExecutor], tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "in.txt").write_text("from the host")
    executor = make(["*"], workspace=tmp_path)
    assert executor("import os; os.getcwd(), open('in.txt').read()").output == ("/workspace", "from the host")
    assert "Read-only" in failing(executor, "open('/workspace/out', 'w')")
    assert list(tmp_path.iterdir()) == [tmp_path / "in.txt"]


_KNOCK = """
import os, socket
found = {}
for name in ('pipe', 'sub/pipe'):
    try:
        found[name] = os.write(os.open(name, os.O_WRONLY | os.O_NONBLOCK), b'from the sandbox')
    except OSError as error:
        found[name] = type(error).__name__
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        plug = socket.socket(socket.AF_UNIX, kind)
        plug.connect('.git/a.sock')
        found[kind.name] = 'reached'
    except OSError as error:
        found[kind.name] = type(error).__name__
found['files'] = open('in.txt').read()
found
"""


@needs_engine
def test_sockets_and_pipes_in_a_workspace_that_is_read_are_out_of_reach(
    make: Callable[..., DockerExecutor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "in.txt").write_text("from the host")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(".git/a.sock")
        os.chmod(".git/a.sock", 0o777)
        server.listen()
        os.mkfifo("pipe")
        os.chmod("pipe", 0o666)
        reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
        try:
            executor = make(["*"], workspace=tmp_path)
            assert not executor.mounts_workspace()
            found = executor(_KNOCK).output
            assert found["files"] == "from the host"
            assert set(found.values()).isdisjoint({16, "reached"}), found
            assert os.read(reader, 100) == b""
        finally:
            os.close(reader)
        (tmp_path / "large").write_bytes(bytes(2000))
        with pytest.raises(ValueError, match=r"leads out of the sandbox .*'\.git/a\.sock'"):
            make(["*"], workspace=Workspace(tmp_path, quota=1000)).mounts_workspace()


@needs_engine
def test_a_socket_that_appears_in_a_mounted_workspace_is_out_of_reach(
    make: Callable[..., DockerExecutor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, tmp_path / ".git"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    (tmp_path / "in.txt").write_text("from the host")
    monkeypatch.chdir(tmp_path)
    executor = make(["*"], workspace=tmp_path)
    assert executor.mounts_workspace()
    assert executor("1").output == 1
    kinds = (socket.SOCK_STREAM, ".git/a.sock"), (socket.SOCK_DGRAM, ".git/b.sock")
    with socket.socket(socket.AF_UNIX) as stream, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as letters:
        for server, (_, name) in zip((stream, letters), kinds, strict=True):
            server.bind(name)
            os.chmod(name, 0o777)
        stream.listen()
        found = executor(_KNOCK).output
        assert (found["SOCK_STREAM"], found["SOCK_DGRAM"]) == ("PermissionError", "PermissionError")
        pair = executor("import socket; a, b = socket.socketpair(); a.send(b'x'); b.recv(1)").output
        assert pair == b"x"
        assert "PermissionError" in failing(executor, "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)")


@needs_engine
def test_files_that_a_container_may_not_read_are_copied(make: Callable[..., DockerExecutor], tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "in.txt").write_text("from the host")
    (tmp_path / "in.txt").chmod(0o600)
    assert make(["*"], workspace=tmp_path)("open('in.txt').read()").output == "from the host"


@needs_engine
def test_a_workspace_that_is_written_is_copied_back(make: Callable[..., DockerExecutor], tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("from the host")
    executor = make(["*"], workspace=Workspace(tmp_path, writable=True, quota=1 << 20))
    executor("open('out.txt', 'w').write(open('in.txt').read().upper())")
    assert (tmp_path / "out.txt").read_text() == "FROM THE HOST"
