"""That nothing of a container is left however its session, its host or its engine ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.waiting import eventually

from actloop.errors import SandboxUnavailableError
from actloop.executors.containers import address
from actloop.executors.containers.engine import OWNER, Engine, engine_at, is_dead, owner
from actloop.executors.docker import DockerExecutor
from actloop.executors.reaper import REAPER
from actloop.executors.waiting import BlockingWaiter, run_now

from ..engine import engine_url, image_of_tests
from .kit import containers, failing, needs_engine

if TYPE_CHECKING:
    from collections.abc import Callable


ROOT = Path(__file__).resolve().parents[3]


@needs_engine
def test_a_closed_session_leaves_no_container(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    executor = make()
    executor("1")
    assert len(containers(engine, owner())) == 1
    executor.cleanup()
    assert REAPER.flush(60)
    assert containers(engine, owner()) == []
    assert executor("2").output == 2


HOST = """
import faulthandler, sys
faulthandler.dump_traceback_later(120)  # should it not end: where it is
sys.path.insert(0, {root!r})
from actloop.executors.docker import DockerExecutor
from actloop.executors.containers.engine import owner
executor = DockerExecutor(["*"], None, base_url={url!r}, image={image!r}, warm={warm})
executor("import os, time\\nif not os.fork():\\n    os.setsid()\\n    time.sleep(600)")
print(owner(), flush=True)
{then}
"""


def host(engine: Engine, image: str, then: str, warm: int = 0) -> subprocess.Popen[str]:
    program = HOST.format(root=str(ROOT), url=engine.address, image=image, then=then, warm=warm)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


@needs_engine
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_dead_host_leaves_no_container(how: signal.Signals, engine: Engine, image: str) -> None:
    # An interrupt that another thread takes does not wake the main one: it has to wake by itself.
    then = "import time\ntry:\n    while True: time.sleep(0.05)\nexcept KeyboardInterrupt: pass"
    with host(engine, image, then, warm=1) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert containers(engine, name)
        process.send_signal(how)
        process.wait(200)
        assert eventually(lambda: not containers(engine, name))


@needs_engine
def test_a_host_that_forgets_to_close_leaves_no_container(engine: Engine, image: str) -> None:
    with host(engine, image, "") as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert process.wait(60) == 0
        assert not containers(engine, name)


@needs_engine
def test_leftovers_of_dead_hosts_are_removed(engine: Engine, image: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        label = owner(process.pid)
        assert not is_dead(label)
    assert is_dead(label)
    assert not is_dead(owner())
    for other in ("", "garbage", f"another-boot/pid:[1]/{process.pid}/1"):
        assert not is_dead(other)
    host_config = engine.api.create_host_config(network_mode="none")
    made, alive = (
        engine.api.create_container(image, ["true"], labels={OWNER: whose}, host_config=host_config)["Id"]
        for whose in (label, owner())
    )
    assert engine.remove_leftovers() >= 1
    left = containers(engine)
    assert made not in left
    assert alive in left
    engine.remove(alive)
    engine.remove(alive)  # it is gone


@needs_engine
def test_a_container_that_is_removed_ends_the_program(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    executor = make()
    executor.send_tools({"remove": lambda: engine.remove(containers(engine, owner())[0])})
    assert "SandboxCrash" in failing(executor, "remove()\nwhile True: pass")
    assert executor("1").output == 1


@needs_engine
def test_an_interrupted_start_leaves_no_container(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    class Impatient(BlockingWaiter):
        async def ready(self, fd: int, *, write: bool = False, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    executor = make()
    with pytest.raises(KeyboardInterrupt):
        run_now(executor.open_session(Impatient()))
    for thread in threading.enumerate():
        if thread.name == "actloop-spawn":
            thread.join(60)
    assert REAPER.flush(60)
    assert containers(engine, owner()) == []


@pytest.mark.skipif(shutil.which("podman") is None, reason="no container engine: podman is not installed")
def test_an_engine_that_vanishes_is_told(tmp_path: Path) -> None:
    """An engine of its own, since it is killed."""
    socket_path = Path(f"/tmp/actloop-vanishing-{os.getpid()}.sock")
    service = subprocess.Popen(
        ["podman", "system", "service", "--time=0", f"unix://{socket_path}"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: not address.why_closed(f"unix://{socket_path}"))
        executor = DockerExecutor(
            [], None, base_url=f"unix://{socket_path}", image=image_of_tests(engine_url("podman"))
        )
        executor.send_tools({"vanish": lambda: (service.kill(), service.wait(), socket_path.unlink())[:0]})
        message = failing(executor, "vanish()\nwhile True: pass")
        assert f"The container engine at unix://{socket_path} does not answer any more" in message
        with pytest.raises(SandboxUnavailableError, match="No container can be started"):
            executor("1")
        executor.cleanup()
    finally:
        service.kill()
        service.wait()
        socket_path.unlink(missing_ok=True)
        REAPER.flush(60)
        engine_at(engine_url("podman")).remove_leftovers()
