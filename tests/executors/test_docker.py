"""Containers, with a real engine: how they are closed, what they may use, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actloop import CodeAgent, InterpreterError, ScriptedModel
from actloop.errors import SandboxUnavailableError
from actloop.executors.containers import address, calls, images, options
from actloop.executors.containers.engine import OWNER, Attached, Engine, engine_at, is_dead, owner
from actloop.executors.docker import DockerExecutor, LocalDockerExecutor
from actloop.executors.kernel.seccomp import ALLOW, ARCHITECTURES, ERRNO, decide
from actloop.executors.kernel.syscalls import NUMBERS
from actloop.executors.reaper import REAPER
from actloop.executors.remote import RemotePythonExecutor
from actloop.executors.session import SandboxLimits
from actloop.executors.stream import SocketStream
from actloop.executors.waiting import run_now
from actloop.executors.workspace import Workspace

from .driving import WAITER, Driver
from .engine import engine_url, test_image as image_of_tests, why_no_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
needs_engine = pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine() or "none")


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def make() -> Iterator[Callable[..., DockerExecutor]]:
    """Makes executors with the image of tests, and ends them."""
    made: list[DockerExecutor] = []

    def new(imports: list[str] | None = None, logger: Any = None, **more: Any) -> DockerExecutor:
        if not {"base_image", "dockerfile_content", "image_name"} & set(more):
            more.setdefault("image", image_of_tests())
        made.append(DockerExecutor(imports or [], logger, base_url=engine_url(), **more))
        return made[-1]

    yield new
    for executor in made:
        executor.cleanup()
    assert REAPER.flush(20)
    api = engine_at(engine_url()).api
    for name in {executor.image_name for executor in made} - {image_of_tests()}:
        with contextlib.suppress(api_errors()):
            api.remove_image(name, force=True)


def api_errors() -> type[Exception]:
    from docker.errors import APIError  # pyright: ignore[reportMissingTypeStubs]

    return APIError


@pytest.fixture
def everything(make: Callable[..., DockerExecutor]) -> DockerExecutor:
    """One whose programs may import everything."""
    return make(["*"])


@pytest.fixture
def engine() -> Engine:
    return engine_at(engine_url())


def failing(executor: DockerExecutor, program: str) -> str:
    """Why a program fails."""
    with pytest.raises(InterpreterError) as caught:
        executor(textwrap.dedent(program))
    return str(caught.value)


def eventually(what: Callable[[], bool]) -> bool:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.02)
    return False


def containers(engine: Engine, name: str | None = None) -> list[str]:
    """Containers of this test run, running or not."""
    label = OWNER if name is None else f"{OWNER}={name}"
    return [entry["Id"] for entry in engine.api.containers(all=True, filters={"label": label})]


# ---- running programs


@needs_engine
def test_programs_run_in_a_container_and_call_tools(make: Callable[..., DockerExecutor]) -> None:
    executor = make()
    executor.send_tools({"double": (2).__mul__})
    executor.send_variables({"x": 4})
    assert executor("print('hi')\ny = double(x)\ny").output == 8
    assert (executor("y + 1").output, executor("1").logs) == (9, "")
    assert executor.state["y"] == 8


@needs_engine
def test_an_agent_runs_its_programs_in_containers() -> None:
    model = ScriptedModel(["<code>\nimport os\nfinal_answer(os.uname().nodename)\n</code>"])
    kwargs = {"image": image_of_tests(), "base_url": engine_url()}
    with CodeAgent(
        [], model, executor_type="docker", executor_kwargs=kwargs, additional_authorized_imports=["os"]
    ) as agent:
        assert agent.run("Where are you?") == "sandbox"


@needs_engine
def test_names_of_smolagents(make: Callable[..., DockerExecutor]) -> None:
    assert LocalDockerExecutor is DockerExecutor
    executor = make(host="127.0.0.1", port=8888, build_new_image=True, container_run_kwargs={})
    assert isinstance(executor, RemotePythonExecutor)
    assert executor.run_code_raise_errors("1 + 1").output == 2
    executor.delete()
    with pytest.raises(ValueError, match="never as pickles"):
        make(allow_pickle=True)


@needs_engine
def test_snapshots_go_from_one_container_to_another(make: Callable[..., DockerExecutor]) -> None:
    executor = make()
    first, second = (run_now(executor.open_session(WAITER)) for _ in range(2))
    with contextlib.closing(first), contextlib.closing(second):
        Driver(first).value("def f(): return 42\nx = [1]")
        run_now(second.restore(run_now(first.snapshot(WAITER)), WAITER))
        assert Driver(second).value("f(), x") == (42, [1])


# ---- how it is closed


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
def test_an_image_may_not_write_to_volumes_of_its_own(make: Callable[..., DockerExecutor]) -> None:
    dockerfile = f"FROM {image_of_tests()}\nVOLUME /data\nUSER root\n"
    executor = make(["*"], dockerfile_content=dockerfile, image_name="localhost/actloop-volume:test")
    assert "Read-only" in failing(executor, "open('/data/x', 'w')")
    assert executor("import os; os.getuid()").output == 65532


@pytest.mark.parametrize(
    "bad",
    [
        {"privileged": True},
        {"network_mode": "host"},
        {"network_mode": "bridge"},
        {"network": "bridge"},
        {"cap_add": ["SYS_ADMIN"]},
        {"cap_drop": []},
        {"pid_mode": "host"},
        {"ipc_mode": "host"},
        {"uts_mode": "host"},
        {"userns_mode": "host"},
        {"cgroupns": "host"},
        {"devices": ["/dev/kvm"]},
        {"device_cgroup_rules": ["a *:* rwm"]},
        {"volumes": {"/": {"bind": "/host"}}},
        {"volumes": ["/var/run/docker.sock:/var/run/docker.sock"]},
        {"volumes_from": ["other"]},
        {"mounts": []},
        {"security_opt": ["seccomp=unconfined"]},
        {"security_opt": ["apparmor:unconfined"]},
        {"security_opt": ["label=disable"]},
        {"security_opt": "no-new-privileges:false"},
        {"security_opt": ["no-new-privileges:false"]},
        {"read_only": False},
        {"ports": {"8888/tcp": 8888}},
        {"publish_all_ports": True},
        {"extra_hosts": {"a": "1.2.3.4"}},
        {"sysctls": {"net.ipv4.ip_forward": "1"}},
        {"group_add": ["docker"]},
        {"cgroup_parent": "/"},
        {"oom_kill_disable": True},
        {"restart_policy": {"Name": "always"}},
        {"user": "root"},
        {"user": "0:0"},
        {"entrypoint": "sh"},
        {"command": "sh"},
        {"tmpfs": {"/tmp": "exec"}},
    ],
    ids=str,
)
def test_options_that_open_a_container_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"container_run_kwargs: {next(iter(bad))}=.*allow_unsafe_options"):
        DockerExecutor([], None, container_run_kwargs=bad)


@pytest.mark.parametrize("unsafe", [False, True])
def test_options_that_there_are_not_are_named(unsafe: bool) -> None:
    for bad, words in (("foo", "unknown option 'foo'"), ("mem_limits", "'mem_limits'; did you mean 'mem_limit'")):
        with pytest.raises(ValueError, match=f"container_run_kwargs: .*{words}"):
            DockerExecutor([], None, container_run_kwargs={bad: 1}, allow_unsafe_options=unsafe)


@pytest.mark.parametrize("bad", [{"cpus": "two"}, {"cpus": 0}, {"cpus": True}, {"warm": -1}, {"warm": "1"}], ids=str)
def test_numbers_that_are_none_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
        DockerExecutor([], None, **bad)


@pytest.mark.parametrize("user", ["root", "0", "0:0", "", "00", "+0", "root:65532"])
def test_programs_are_never_root(user: str) -> None:
    with pytest.raises(ValueError, match=r"^user="):
        DockerExecutor([], None, user=user)


@needs_engine
def test_harmless_options_are_taken(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    kwargs = {
        "environment": {"GREETING": "hello"},
        "labels": {"mine": "1"},
        "network_mode": "none",
        "hostname": "lab",
        "mem_limit": "700m",
        "memswap_limit": "700m",
        "detach": True,
        "remove": True,
    }
    executor = make(["*"], container_run_kwargs=kwargs, cpus=None)
    value = executor("import os; os.environ['GREETING'], os.environ['HOME'], os.uname().nodename").output
    assert value == ("hello", "/tmp", "lab")
    (name,) = containers(engine, owner())
    found = engine.api.inspect_container(name)
    assert found["Config"]["Labels"]["mine"] == "1"
    assert found["HostConfig"]["Memory"] == 700 << 20


@needs_engine
def test_a_user_may_insist_on_unsafe_options(make: Callable[..., DockerExecutor], tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "data").write_text("of the host")
    kwargs = {"volumes": {str(tmp_path): {"bind": "/data", "mode": "ro"}}}
    executor = make(["*"], container_run_kwargs=kwargs, allow_unsafe_options=True)
    assert executor("open('/data/data').read()").output == "of the host"


def test_gpus_are_asked_for() -> None:
    assert options.gpu_requests("all")[0]["Count"] == -1
    assert options.gpu_requests(2)[0] == {
        "Driver": "", "Capabilities": [["gpu"]], "Options": {}, "Count": 2, "DeviceIDs": []
    }  # fmt: skip
    assert options.gpu_requests(["GPU-1"])[0]["DeviceIDs"] == ["GPU-1"]
    wrongs: list[Any] = [0, True, "some", []]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="gpus="):
            options.gpu_requests(wrong)


@needs_engine
def test_gpus_are_in_the_request(make: Callable[..., DockerExecutor]) -> None:
    executor = make(gpus="all")
    config = executor._config({})  # pyright: ignore[reportPrivateUsage]
    assert config["HostConfig"]["DeviceRequests"][0]["Capabilities"] == [["gpu"]]


@needs_engine
def test_an_engine_that_leaves_out_gpus_is_refused(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    if not engine.is_podman or any(Path("/dev").glob("nvidia*")):
        pytest.skip("only podman, and only without GPUs, leaves them out")
    with pytest.raises(SandboxUnavailableError, match="none of the devices that gpus= asks for"):
        make(gpus="all")("1")


# ---- limits that an engine lacks


@needs_engine
def test_what_an_engine_cannot_limit_is_not_promised(
    make: Callable[..., DockerExecutor], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine.info, "MemoryLimit", False)
    with pytest.raises(ValueError, match="cannot enforce memory"):
        make(limits=SandboxLimits(memory=1 << 30))
    assert make().limits.memory is None


# ---- files and the network


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
    assert everything(textwrap.dedent(program)).output == {
        "user": "EPERM",
        "both": "EPERM",
        "files": 0,
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


@needs_engine
def test_containers_start_where_the_engine_cannot_raise_limits(
    make: Callable[..., DockerExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "node", lambda: "another machine")
    executor = make()
    assert executor("6 * 7").output == 42
    executor.cleanup()
    assert executor("6 * 7").output == 42


@needs_engine
def test_a_workspace_that_is_written_is_copied_back(make: Callable[..., DockerExecutor], tmp_path: Path) -> None:
    from actloop.executors.workspace import Workspace

    (tmp_path / "in.txt").write_text("from the host")
    executor = make(["*"], workspace=Workspace(tmp_path, writable=True, quota=1 << 20))
    executor("open('out.txt', 'w').write(open('in.txt').read().upper())")
    assert (tmp_path / "out.txt").read_text() == "FROM THE HOST"


# ---- images


@needs_engine
def test_the_image_is_built_once_with_the_packages(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    base = image_with_wheel(engine)
    logger = Lines()
    first = make(["actloop_probe"], logger, base_image=base)
    assert first("import actloop_probe; actloop_probe.VALUE").output == 42
    assert any("Building the image" in line for line in logger.lines)
    assert any("actloop_probe" in line or "actloop-probe" in line for line in logger.lines)
    again = Lines()
    second = make(["actloop_probe"], again, base_image=base)
    assert (second.image_name, again.lines) == (first.image_name, [])
    other = make(base_image=base)
    assert other.image_name != first.image_name
    assert "actloop_probe" in failing(other, "import actloop_probe")
    assert other.install_packages(["actloop_probe"]) == ["actloop_probe"]
    assert other("import actloop_probe; actloop_probe.VALUE").output == 42
    for name in {other.image_name, first.image_name, base}:
        with contextlib.suppress(api_errors()):
            engine.api.remove_image(name, force=True)


def image_with_wheel(engine: Engine) -> str:
    """The image of tests with a package's wheel, from which pip installs it without any index."""
    name = f"localhost/actloop-test-wheel:{uuid.uuid4().hex}"
    wheel = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(wheel, "w") as archive:
        info = "actloop_probe-1.dist-info/"
        archive.writestr("actloop_probe.py", "VALUE = 42\n")
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: actloop-probe\nVersion: 1\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(info + "RECORD", "actloop_probe.py,,\n")
    dockerfile = f"FROM {image_of_tests()}\nCOPY *.whl /wheels/\nENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels\n"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for file, data in (("Dockerfile", dockerfile.encode()), ("actloop_probe-1-py3-none-any.whl", wheel.getvalue())):
            entry = tarfile.TarInfo(file)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    context.seek(0)
    for line in engine.api.build(fileobj=context, custom_context=True, tag=name, rm=True, decode=True):
        assert "error" not in line, line
    return name


@needs_engine
def test_a_dockerfile_of_the_user(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    dockerfile = f'FROM {image_of_tests()}\nENV MADE_BY=user\nENTRYPOINT ["false"]\n'
    logger = Lines()
    executor = make(["*"], logger, dockerfile_content=dockerfile, image_name="localhost/actloop-mine:test")
    assert executor.image_name == "localhost/actloop-mine:test"
    assert executor("import os; os.environ['MADE_BY']").output == "user"
    again = Lines()
    make(logger=again, dockerfile_content=dockerfile, image_name="localhost/actloop-mine:test")
    assert again.lines == []
    make(logger=again, build_new_image=False, image_name="localhost/actloop-mine:test")
    assert again.lines == []


@needs_engine
def test_a_dockerfile_that_fails_says_where(make: Callable[..., DockerExecutor]) -> None:
    with pytest.raises(SandboxUnavailableError, match="cannot be built"):
        make(dockerfile_content=f"FROM {image_of_tests()}\nRUN false\n", image_name="localhost/actloop-broken:test")


@needs_engine
def test_an_image_without_python_says_so(make: Callable[..., DockerExecutor]) -> None:
    executor = make(python="python2")
    with pytest.raises(SandboxUnavailableError, match="python2"):
        executor("1")


@needs_engine
def test_an_image_with_an_old_python_says_so(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    script = "#!/bin/sh\\necho 'no -I here' >&2\\n"
    dockerfile = (
        f'FROM {image_of_tests()}\nUSER root\nRUN printf "{script}" > /usr/bin/python1 && '
        "python3 -c \"import os; os.chmod('/usr/bin/python1', 0o755)\"\n"
    )
    executor = make(dockerfile_content=dockerfile, image_name="localhost/actloop-old:test", python="python1")
    with pytest.raises(SandboxUnavailableError, match="no -I here"):
        executor("1")


@needs_engine
def test_an_image_that_there_is_not(make: Callable[..., DockerExecutor]) -> None:
    with pytest.raises(SandboxUnavailableError, match="neither here nor can it be fetched"):
        make(image="localhost/no-such-image:1")


@needs_engine
def test_packages_cannot_be_put_into_an_image_of_the_user(make: Callable[..., DockerExecutor]) -> None:
    with pytest.raises(ValueError, match=r"put .* into it"):
        make().install_packages(["requests"])


def test_the_shipped_dockerfile_needs_no_root_and_installs_packages() -> None:
    text = images.shipped()
    assert "\nUSER 65532:65532\n" in text
    assert "requirements.txt" in text


# ---- the end


@needs_engine
def test_a_closed_session_leaves_no_container(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    executor = make()
    executor("1")
    assert len(containers(engine, owner())) == 1
    executor.cleanup()
    assert REAPER.flush(20)
    assert containers(engine, owner()) == []
    assert executor("2").output == 2


HOST = """
import sys
sys.path.insert(0, {root!r})
from actloop.executors.docker import DockerExecutor
from actloop.executors.containers.engine import owner
executor = DockerExecutor(["*"], None, base_url={url!r}, image={image!r}, warm={warm})
executor("import os, time\\nif not os.fork():\\n    os.setsid()\\n    time.sleep(600)")
print(owner(), flush=True)
{then}
"""


def host(then: str, warm: int = 0) -> subprocess.Popen[str]:
    program = HOST.format(root=str(ROOT), url=engine_url(), image=image_of_tests(), then=then, warm=warm)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


@needs_engine
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_dead_host_leaves_no_container(how: signal.Signals, engine: Engine) -> None:
    then = "import time\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt: pass"
    with host(then, warm=1) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert containers(engine, name)
        process.send_signal(how)
        process.wait(30)
        assert eventually(lambda: not containers(engine, name))


@needs_engine
def test_a_host_that_forgets_to_close_leaves_no_container(engine: Engine) -> None:
    with host("") as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert process.wait(30) == 0
        assert not containers(engine, name)


@needs_engine
def test_leftovers_of_dead_hosts_are_removed(engine: Engine) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        label = owner(process.pid)
        assert not is_dead(label)
    assert is_dead(label)
    assert not is_dead(owner())
    for other in ("", "garbage", f"another-boot/pid:[1]/{process.pid}/1"):
        assert not is_dead(other)
    host_config = engine.api.create_host_config(network_mode="none")
    made = engine.api.create_container(image_of_tests(), ["true"], labels={OWNER: label}, host_config=host_config)["Id"]
    alive = engine.api.create_container(image_of_tests(), ["true"], labels={OWNER: owner()}, host_config=host_config)[
        "Id"
    ]
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
    class Impatient:
        async def ready(self, fd: int, *, write: bool = False, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    executor = make()
    with pytest.raises(KeyboardInterrupt):
        run_now(executor.open_session(Impatient()))
    for thread in threading.enumerate():
        if thread.name == "actloop-spawn":
            thread.join(20)
    assert REAPER.flush(20)
    assert containers(engine, owner()) == []


@needs_engine
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
        executor = DockerExecutor([], None, base_url=f"unix://{socket_path}", image=image_of_tests())
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
        REAPER.flush(20)
        engine_at(engine_url()).remove_leftovers()


# ---- containers that are kept ready


@needs_engine
def test_warm_containers_are_taken_and_replaced(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    executor = make(warm=2)
    executor("x = 1")
    assert REAPER.flush(20)
    assert eventually(lambda: len(containers(engine, owner())) == 3)
    session = run_now(executor.open_session(WAITER))
    assert Driver(session).value("'x' in globals()") is False
    session.close()
    executor.cleanup()
    assert REAPER.flush(20)
    assert eventually(lambda: containers(engine, owner()) == [])


@needs_engine
def test_a_warm_container_that_died_is_not_taken(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    executor = make(warm=1)
    executor("1")
    executor_session = executor._session  # pyright: ignore[reportPrivateUsage]
    assert executor_session is not None
    assert eventually(lambda: len(executor._pool._ready) == 1)  # pyright: ignore[reportPrivateUsage]
    ready = executor._pool._ready[0]  # pyright: ignore[reportPrivateUsage]
    engine.remove(ready.container)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    assert eventually(lambda: not ready.alive)
    session = run_now(executor.open_session(WAITER))
    assert Driver(session).value("1") == 1
    session.close()


# ---- finding the engine


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
    import socket

    path = f"/tmp/actloop-dead-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    try:
        assert "does not answer" in address.why_closed(f"unix://{path}")
    finally:
        os.unlink(path)


def test_an_engine_elsewhere_that_does_not_answer() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert address.find(place) == (place, "")
    assert "does not answer" in address.find(place)[1]
    assert "does not answer" in address.find("tcp://127.0.0.1:port")[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_socket_that_may_not_be_used() -> None:
    import socket

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
def test_an_engine_that_is_there_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine_url())
    assert DockerExecutor.why_unavailable() == ""


def test_without_the_sdk_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from actloop.errors import MissingExtraError

    monkeypatch.setattr(address, "find_spec", dict[str, Any]().get)
    assert DockerExecutor.why_unavailable() == "the package 'docker' is not installed: pip install 'actloop[docker]'"
    with pytest.raises(MissingExtraError):
        DockerExecutor([], None)


# ---- the engine's stream


def test_output_is_parted_from_errors_in_whatever_pieces_it_comes() -> None:
    import socket
    import struct

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
        reader.join(20)
        attached.close()
        assert b"".join(found) == b"onetwo"
        assert attached.said == (b"oops" * 2000)[-4000:]


def test_a_container_that_says_nothing_is_given_up() -> None:
    import socket

    ours, theirs = socket.socketpair()
    with theirs:
        assert Attached(SocketStream(ours)).first(0.05) is False
