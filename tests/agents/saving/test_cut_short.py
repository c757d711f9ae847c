"""Saves that are cut short: the old agent is there, or the new one."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actloop import CodeAgent
from actloop.hub import folder as folders
from actloop.hub.folder import write_files

from .kit import SRC, area, plain_model

if TYPE_CHECKING:
    from pathlib import Path


def test_a_full_disk_leaves_the_old_agent(saved: Path) -> None:
    before = {path: path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    agent = CodeAgent([area], plain_model(), instructions="x" * 200_000)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        with pytest.raises(OSError, match="what was in the folder before is unchanged") as failed:
            agent.save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert failed.value.errno == errno.EFBIG
    assert {path: path.read_bytes() for path in saved.rglob("*") if path.is_file()} == before
    agent.save(saved)
    assert CodeAgent.from_folder(saved, trust_remote_code=True).instructions == agent.instructions


def test_a_disk_without_room_leaves_the_old_agent(tmp_path: Path) -> None:
    """On a file system of 256 KiB of its own."""
    program = """
        import sys
        from actloop import CodeAgent, OpenAIModel
        CodeAgent([], OpenAIModel("m"), instructions="old").save(sys.argv[1])
        try:
            CodeAgent([], OpenAIModel("m"), instructions="x" * 400_000).save(sys.argv[1])
        except OSError as error:
            print(error.strerror)
        print(CodeAgent.from_folder(sys.argv[1]).instructions)
    """
    mount = f'mount -t tmpfs -o size=256k none {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}/saved'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, textwrap.dedent(program)]
    if subprocess.run(["unshare", "--mount", "--map-root-user", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a file system of their own")
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": SRC}, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "Saving failed (No space left on device); what was in the folder before is unchanged",
        "old",
    ], done.stderr


KILLED = """
import json, os, sys, warnings
from actloop import CodeAgent, OpenAIModel

warnings.simplefilter("ignore")
path = sys.argv[1]
old = CodeAgent([], OpenAIModel("m"), instructions="old", max_steps=4)
new = CodeAgent([], OpenAIModel("m"), instructions="new", max_steps=9)
old.save(path)

def killed_at(count):
    left = [count]
    def hook(event, args):
        if event in ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove") and path in str(args[0]):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), 9)
    sys.addaudithook(hook)
    new.save(path)
    os._exit(0)

for count in range(500):
    old.save(path)
    child = os.fork() or killed_at(count)
    status = os.waitpid(child, 0)[1]
    loaded = CodeAgent.from_folder(path)
    print(json.dumps([os.waitstatus_to_exitcode(status), loaded.instructions, loaded.max_steps]))
    if status == 0:
        break
old.save(path)
"""


def test_a_save_that_is_killed_anywhere_leaves_the_old_agent_or_the_new_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "saved")],
        env=os.environ | {"PYTHONPATH": SRC},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    killed, whole = seen[:-1], seen[-1]
    assert whole == [0, "new", 9]
    assert {code for code, *_ in killed} == {-signal.SIGKILL}
    found = [tuple(agent) for _, *agent in killed]
    assert set(found) == {("old", 4), ("new", 9)}
    assert found == sorted(found, reverse=True), "once it is committed, the new agent stays"
    assert not [name for name in os.listdir(tmp_path / "saved") if name.startswith(".actloop")]


def test_a_save_that_was_interrupted_while_files_were_moved_is_read_whole(tmp_path: Path) -> None:
    CodeAgent([], plain_model(), instructions="old").save(tmp_path / "saved")
    CodeAgent([], plain_model(), instructions="new").save(tmp_path / "new")
    committed = tmp_path / "saved" / ".actloop-saved"
    committed.mkdir()
    (tmp_path / "new" / "agent.json").rename(committed / "agent.json")
    with pytest.warns(UserWarning, match="was interrupted"):
        assert CodeAgent.from_folder(tmp_path / "saved").instructions == "new"
    write_files(tmp_path / "saved", {"other.txt": "x"})
    assert CodeAgent.from_folder(tmp_path / "saved").instructions == "new"


def test_readers_meet_only_whole_agents_while_it_is_saved(tmp_path: Path) -> None:
    agents = [CodeAgent([], plain_model(), instructions=str(n), max_steps=n) for n in (1, 2)]
    agents[0].save(tmp_path)
    stop = threading.Event()

    def save() -> None:
        while not stop.is_set():
            for agent in agents:
                agent.save(tmp_path)

    writer = threading.Thread(target=save)
    writer.start()
    try:
        for _ in range(40):
            loaded: Any = CodeAgent.from_folder(tmp_path)
            assert loaded.instructions == str(loaded.max_steps)
    finally:
        stop.set()
        writer.join()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="Saving failed"):
        CodeAgent([], plain_model()).save(tmp_path / "file")
    (tmp_path / "saved" / "agent.json").mkdir(parents=True)
    with pytest.raises(OSError, match="a folder stands where a file is to be written"):
        CodeAgent([], plain_model()).save(tmp_path / "saved")
    assert (tmp_path / "file").read_text() == "mine"
    assert folders.MAX_BYTES > 0
