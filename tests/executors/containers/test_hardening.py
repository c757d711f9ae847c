"""How a container is closed: what its programs cannot do, and what they cannot use up."""

from __future__ import annotations

import errno
import textwrap
from typing import TYPE_CHECKING

import pytest

from actloop import InterpreterError
from actloop.executors.containers import calls, options
from actloop.executors.containers.engine import Engine, owner
from actloop.executors.kernel.seccomp import ALLOW, ARCHITECTURES, ERRNO, decide
from actloop.executors.kernel.syscalls import NUMBERS
from actloop.executors.session import SandboxLimits

from .kit import containers, failing, needs_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.executors.docker import DockerExecutor


@needs_engine
def test_a_container_is_closed_on_every_side(everything: DockerExecutor, engine: Engine) -> None:
    everything("1")
    (name,) = containers(engine, owner())
    found = engine.api.inspect_container(name)
    host = found["HostConfig"]
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["Privileged"]) == ("none", True, False)
    assert found["Config"]["User"] == "65532:65532"
    assert found["Config"]["Tty"] is False
    assert not found["NetworkSettings"]["Ports"]
    assert host["PidsLimit"] <= 66
    assert host["Memory"] == host["MemorySwap"] == (512 + 16 + 64) << 20
    assert host["LogConfig"]["Type"] == "none"
    status = dict(line.split(":\t", 1) for line in everything("open('/proc/self/status').read()").output.splitlines())
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"], status["Uid"]) == ("1", "2", "\t".join(["65532"] * 4))


@needs_engine
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import socket; socket.create_connection(('1.1.1.1', 80), 2)", "unreachable"),
        ("import socket; socket.getaddrinfo('example.org', 80)", "gaierror"),
        ("open('/made', 'w')", "Read-only file system"),
        ("import os; os.mkdir('/etc/made')", "Read-only file system"),
        ("import os; os.setuid(0)", "not permitted"),
        ("import os; os.chroot('/tmp')", "not permitted"),
        ("import ctypes; 1 / (1 + ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, 0))", "ZeroDivision"),
        ("import ctypes; 1 / (1 + ctypes.CDLL(None).unshare(0x40000000))", "ZeroDivision"),
        ("import os; os.listdir('/proc/1/fd')", "Permission denied"),
        ("open('/proc/sysrq-trigger', 'w')", "denied|Read-only|No such file"),
        ("open('/tmp/big', 'wb').write(bytes(40 << 20))", "No space left"),
        ("open('/dev/shm/big', 'wb').write(bytes(1 << 20))", "No space left"),
        ("import os; open('/tmp/x', 'w').write('#!'); os.chmod('/tmp/x', 0o755); os.execv('/tmp/x', ['x'])", "denied"),
        ("x = bytearray(900 << 20)", "MemoryError"),
        ("files = [open('/dev/null') for _ in range(1000)]", "Too many open files"),
    ],
)  # fmt: skip
def test_what_a_program_cannot_do(everything: DockerExecutor, program: str, reason: str) -> None:
    message = failing(everything, program)
    assert any(part in message for part in reason.split("|")), message


@needs_engine
def test_files_of_programs_are_counted_where_the_engine_can(everything: DockerExecutor, engine: Engine) -> None:
    most = everything("import os; os.statvfs('/tmp').f_files").output
    assert most == options.MOST_FILES or engine.is_podman


@needs_engine
def test_no_process_of_the_host_shows(everything: DockerExecutor) -> None:
    program = "import os\n[name for name in os.listdir('/proc') if name.isdecimal()]"
    assert len(everything(program).output) == 2


@needs_engine
def test_the_keeper_cannot_be_ended_by_a_program(everything: DockerExecutor) -> None:
    everything("import os, signal\nfor number in range(2, 32):\n    os.kill(1, number) if number != 15 else None")
    assert everything("2").output == 2
    assert "PermissionError" in failing(everything, "open('/proc/1/mem', 'r+b')")


@needs_engine
def test_a_fork_bomb_stays_within_its_container(everything: DockerExecutor) -> None:
    program = """
        import os, time
        pids = 0
        try:
            while pids < 500:
                if not os.fork():
                    os.setsid()
                    time.sleep(60)
                pids += 1
        except BlockingIOError:
            pass
        pids
    """
    assert everything(textwrap.dedent(program)).output <= 64


@needs_engine
def test_memory_of_all_processes_together_is_limited(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    executor = make(["*"], limits=SandboxLimits(memory=128 << 20))
    program = """
        import os, time
        for _ in range(6):
            if not os.fork():
                x = bytearray(100 << 20)
                for place in range(0, len(x), 4096):
                    x[place] = 1
                time.sleep(30)
                os._exit(0)
        statuses = [os.wait()[1] for _ in range(3)]
        statuses
    """
    try:
        seen = str(executor(textwrap.dedent(program)).output)
    except InterpreterError as error:
        seen = str(error)
    assert "9" in seen or "killed" in seen


@needs_engine
def test_a_program_killed_for_its_memory_is_told_so(make: Callable[..., DockerExecutor]) -> None:
    executor = make(["*"])
    message = failing(executor, "import os\nos.kill(os.getpid(), 9)")
    assert "most likely because it used more memory than it may" in message
    assert executor("1").output == 1


@needs_engine
def test_an_image_may_not_write_to_volumes_of_its_own(make: Callable[..., DockerExecutor], image: str) -> None:
    dockerfile = f"FROM {image}\nVOLUME /data\nUSER root\n"
    executor = make(["*"], dockerfile_content=dockerfile, image_name="localhost/actloop-volume:test")
    assert "Read-only" in failing(executor, "open('/data/x', 'w')")
    assert executor("import os; os.getuid()").output == 65532


@needs_engine
def test_programs_in_containers_get_no_namespaces_and_no_strange_sockets(everything: DockerExecutor) -> None:
    program = """
    import ctypes, errno, os, socket
    libc = ctypes.CDLL(None, use_errno=True)
    found = {}
    for name, flags in (("user", 0x10000000), ("both", 0x50000000), ("files", 0x400)):
        found[name] = 0 if not libc.unshare(flags) else errno.errorcode[ctypes.get_errno()]
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_VSOCK, socket.AF_ALG):
        try:
            socket.socket(family, socket.SOCK_SEQPACKET if family == socket.AF_ALG else socket.SOCK_STREAM).close()
            found[family.name] = 0
        except OSError as error:
            found[family.name] = errno.errorcode[error.errno]
    child = os.fork()
    if not child:
        os._exit(7)
    found["child"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    import threading
    threading.Thread(target=found.update, args=({"thread": True},)).start()
    found
    """
    found = everything(textwrap.dedent(program)).output
    assert found.pop("files") in (0, "EPERM")  # Docker's own filter refuses every unshare
    assert found == {
        "user": "EPERM",
        "both": "EPERM",
        "AF_UNIX": 0,
        "AF_INET": 0,
        "AF_VSOCK": "EPERM",
        "AF_ALG": "EPERM",
        "child": 7,
        "thread": True,
    }


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_containers_refuses_what_leads_out(machine: str) -> None:
    numbers, arch = NUMBERS[machine], ARCHITECTURES[machine]
    denied, unknown = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
    for unix in (True, False):
        code = calls.compiled(machine, unix=unix)

        def verdict(name: str, *arguments: int, code: bytes = code) -> int:
            return decide(code, arch, numbers[name], arguments)

        assert verdict("socket", 1, 1, 0) == (ALLOW if unix else denied)
        assert verdict("socket", 2, 1, 0) == verdict("read", 0) == verdict("connect", 3) == ALLOW
        assert verdict("socket", 40, 1, 0) == verdict("setns", 3, 0) == denied
        assert verdict("socketpair", 1, 1 | 0o2000000, 0) == ALLOW
        assert verdict("socketpair", 1, 2 | 0o4000, 0) == (ALLOW if unix else denied)
        assert verdict("clone", 0x003D0F00) == verdict("clone", 17) == ALLOW  # a thread, a process
        assert verdict("clone", 0x10000011) == verdict("unshare", 0x10000000) == denied
        assert verdict("clone3") == verdict("io_uring_setup") == unknown
        assert decide(code, 0x40000003, 102) == denied  # calls of 32 bits
