"""The host's side: nothing leaks, nothing survives, whatever dies and whoever forks."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.kernel.sessions import CONFIG, GUEST, LIMITS, run
from tests.waiting import ends, watched

import actloop
from actloop.errors import SandboxUnavailableError
from actloop.executors.kernel import probe
from actloop.executors.kernel.host import Zygote, zygote_for

if TYPE_CHECKING:
    from actloop.executors.kernel.spawned import Spawned

SOURCE = Path(actloop.__file__).parent.parent


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def children_of(pid: int) -> set[int]:
    """Every process below `pid`, zombies included."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def forker(pid: int) -> int:
    """The process that forks sessions: a zygote's one child, which is the first of its pid namespace."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0])


def test_many_sessions_leak_nothing(zygote: Zygote) -> None:
    zygote.spawn(CONFIG).close()
    zygote_pid = zygote.pid
    assert zygote_pid is not None
    inner = forker(zygote_pid)
    descriptors, held = open_descriptors(), len(os.listdir(f"/proc/{inner}/fd"))
    for _ in range(300):
        zygote.spawn(CONFIG).close()
    last = zygote.spawn(CONFIG)
    last.kill()
    assert last.exit_code(5.0) == -signal.SIGKILL
    last.close()
    assert open_descriptors() == descriptors
    zygote.spawn(CONFIG).close()  # answered only after those before it were reaped
    assert len(children_of(inner)) <= 2
    assert len(os.listdir(f"/proc/{inner}/fd")) <= held + 4


def test_sessions_live_at_once(zygote: Zygote) -> None:
    sessions = [zygote.spawn(CONFIG) for _ in range(20)]
    try:
        assert [run(session, f"result = {number}") for number, session in enumerate(sessions)] == [
            f"ok {number}" for number in range(20)
        ]
    finally:
        for session in sessions:
            session.close()


def test_spawning_from_many_threads(zygote: Zygote) -> None:
    def once(number: int) -> str:
        session = zygote.spawn(CONFIG)
        try:
            return run(session, f"result = {number}")
        finally:
            session.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(once, range(64))) == [f"ok {number}" for number in range(64)]


def test_a_session_outlives_the_thread_that_spawned_it() -> None:
    zygote = Zygote(guest=GUEST)
    spawned: list[Spawned] = []
    thread = threading.Thread(target=lambda: spawned.append(zygote.spawn(CONFIG)))
    thread.start()
    thread.join()
    assert run(spawned[0], "result = 1") == "ok 1"
    spawned[0].close()
    zygote.close()


@pytest.mark.parametrize("without", [(), ("namespaces",)])
def test_a_killed_zygote_takes_its_sessions_along_and_is_replaced(without: tuple[str, ...]) -> None:
    zygote = Zygote(guest=GUEST, without=without)
    sessions = [zygote.spawn(CONFIG) for _ in range(3)]
    pid = zygote.pid
    assert pid is not None
    os.kill(pid if without else forker(pid), signal.SIGKILL)
    assert all(ends(session.pidfd) for session in sessions)
    assert run(sessions[0], "result = 1") == "gone"
    again = zygote.spawn(CONFIG)
    assert run(again, "result = 2") == "ok 2"
    assert zygote.pid != pid
    for session in [*sessions, again]:
        session.close()
    zygote.close()


HOST = """
import sys, time
sys.path[:0] = [{source!r}, {tests!r}]
from sessions import CONFIG, GUEST
from actloop.executors.kernel.host import Zygote
zygote = Zygote(guest=GUEST, without={without!r})
sessions = [zygote.spawn(CONFIG) for _ in range(3)]
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("without", [(), ("namespaces",)])
def test_a_killed_host_leaves_nothing_running(without: tuple[str, ...]) -> None:
    program = HOST.format(source=str(SOURCE), tests=str(GUEST.parent), without=without)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        below = children_of(process.pid)
        assert len(below) >= 4
        with watched(*below) as left:
            process.kill()
            assert all(map(ends, left))


def test_a_host_that_exits_without_closing_leaves_nothing_and_says_nothing() -> None:
    program = HOST.format(source=str(SOURCE), tests=str(GUEST.parent), without=()).replace("time.sleep(60)", "")
    program += "import os\nprint(zygote.pid, sessions[0].pid)\nfor s in sessions: s.close()\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    for pid in done.stdout.split()[1:]:
        assert not Path(f"/proc/{pid}").exists()


def test_after_a_fork_the_child_has_a_zygote_of_its_own(zygote: Zygote) -> None:
    before = zygote.spawn(CONFIG)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = b"failed"
        try:
            session = zygote.spawn(CONFIG)
            answer = run(session, "result = 7").encode() + f" {zygote.pid}".encode()
            session.close()
            zygote.close()
        finally:
            os.write(tell, answer)
            os._exit(0)
    os.close(tell)
    assert os.waitpid(pid, 0)[1] == 0
    answer = os.read(told, 100).decode()
    os.close(told)
    assert answer.startswith("ok 7 ")
    assert int(answer.split()[2]) != zygote.pid
    assert run(before, "result = 1") == "ok 1"
    before.close()


def test_closing_ends_sessions_and_is_idempotent() -> None:
    zygote = Zygote(guest=GUEST)
    zygote.close()
    session = zygote.spawn(CONFIG)
    zygote.close()
    zygote.close()
    assert ends(session.pidfd)
    session.close()
    session.close()
    session.kill()
    session.interrupt()


def test_a_module_that_fails_to_load_is_reported() -> None:
    zygote = Zygote(guest=GUEST, preload=("json", "no_such_module"))
    session = zygote.spawn(CONFIG)
    assert run(session, "import sys\nresult = 'json' in sys.modules") == "ok True"
    session.close()
    zygote.close()
    assert set(zygote.failed) == {"no_such_module"}
    assert "ModuleNotFoundError" in zygote.failed["no_such_module"]


def test_packages_are_imported_from_the_given_folders_only(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("value = 3")
    tmp_path.chmod(0o755)  # its parents stay closed to other users
    config = CONFIG
    given, bare = Zygote([str(tmp_path)], guest=GUEST), Zygote((), guest=GUEST)
    try:
        session = given.spawn(config)
        assert run(session, "import mine; result = mine.value") == "ok 3"
        assert run(session, f"open({str(tmp_path / 'mine.py')!r}, 'a')")[:2] != "ok"
        session.close()
        session = bare.spawn(config)
        assert run(session, "import mine").startswith("ModuleNotFoundError")
        session.close()
    finally:
        given.close()
        bare.close()


def test_a_folder_closed_to_other_users_is_told_of(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("sessions of an unprivileged host keep its user id")
    tmp_path.chmod(0o700)
    zygote = Zygote([str(tmp_path)], guest=GUEST)
    session = zygote.spawn(CONFIG)
    (uid,) = [level for level in session.levels if level.name == "uid"]
    session.close()
    zygote.close()
    assert uid.applied
    assert str(tmp_path) in uid.reason


def test_numpy_draws_differ_between_sessions() -> None:
    pytest.importorskip("numpy")
    zygote = Zygote(guest=GUEST, preload=("numpy",))
    sessions = [zygote.spawn(CONFIG) for _ in range(2)]
    draws = {run(session, "import numpy; result = float(numpy.random.random())") for session in sessions}
    assert len(draws) == 2
    for session in sessions:
        session.close()
    zygote.close()


def test_a_guest_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "guest.py"
    broken.write_text("raise ValueError('broken guest')")
    zygote = Zygote(guest=broken)
    descriptors = open_descriptors()
    with pytest.raises(SandboxUnavailableError, match="broken guest"):
        zygote.spawn(CONFIG)
    assert open_descriptors() == descriptors


FEW_FILES = """
import resource
from actloop import LocalPythonExecutor
from actloop.errors import SandboxUnavailableError
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
said = []
for most in range({first}, 40):
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, {hard}))
    with LocalPythonExecutor() as executor:
        try:
            assert executor("1 + 1").output == 2
            break
        except SandboxUnavailableError as error:
            assert f"may have only {{most}} files open at once; raise that limit (ulimit -n)" in str(error), error
            said.append(most)
assert len(said) > 3, said
"""


def test_too_few_files_that_may_be_open_are_named() -> None:
    code = FEW_FILES.format(first=8, hard="hard")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("most", [8, 10, 12, 14, 16, 18])
def test_a_limit_of_files_that_holds_for_sandboxes_too_is_named(most: int) -> None:
    code = FEW_FILES.format(first=most, hard=most).replace("40", f"{most + 1}").replace("> 3", "== 1")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_limits_that_cannot_be_are_an_error(zygote: Zygote) -> None:
    with pytest.raises(SandboxUnavailableError, match=r"could not be confined.*KeyError"):
        zygote.spawn({"limits": {"memory": 1 << 28}})


def test_a_stopped_zygote_is_replaced_after_the_time_out() -> None:
    zygote = Zygote(guest=GUEST)
    zygote.spawn(CONFIG).close()
    pid = zygote.pid
    assert pid is not None
    for process in (*children_of(pid), pid):
        with suppress(ProcessLookupError):  # the session's, which has ended by now
            os.kill(process, signal.SIGSTOP)
    with pytest.raises(SandboxUnavailableError, match="did not answer within"):
        zygote.spawn(CONFIG, timeout=0.2)
    session = zygote.spawn(CONFIG)
    assert run(session, "result = 1") == "ok 1"
    session.close()
    zygote.close()
    assert not Path(f"/proc/{pid}").exists()


def test_one_zygote_is_shared_for_one_configuration() -> None:
    assert zygote_for((), ("json",)) is zygote_for((), ("json",))
    assert zygote_for((), ("json",)) is not zygote_for((), ("re",))


def test_the_hosts_descriptors_and_environment_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    kept = socket.socket()
    os.set_inheritable(kept.fileno(), True)
    zygote = Zygote(guest=GUEST)
    try:
        session = zygote.spawn(CONFIG)
        assert "SECRET" not in run(session, "import os; result = dict(os.environ)")
        assert run(session, f"import os; os.fstat({kept.fileno() + 40})").startswith("OSError")
        environment = b"".join(Path(f"/proc/{pid}/environ").read_bytes() for pid in [zygote.pid, session.pid])
        assert b"hunter2" not in environment
        session.close()
    finally:
        zygote.close()
        kept.close()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_platforms_are_told_so(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert not probe.isolation_available()
    (finding,) = probe.probe()
    assert not finding.ok
    assert platform in finding.detail
    with pytest.raises(SandboxUnavailableError, match=platform):
        Zygote(guest=GUEST).spawn(CONFIG)


ELSEWHERE = """
import os, sys
sys.platform = {platform!r}
for name in {missing!r}:
    sys.modules[name] = None
for name in ("fork", "register_at_fork", "pidfd_open", "pipe2"):
    delattr(os, name)
sys.path.insert(0, {source!r})
from actloop.executors.kernel import host, probe
assert not probe.isolation_available()
print(probe.probe()[0].detail)
"""


@pytest.mark.parametrize(("platform", "missing"), [("darwin", ()), ("win32", ("resource", "fcntl", "grp", "pwd"))])
def test_the_host_side_imports_on_other_platforms(platform: str, missing: tuple[str, ...]) -> None:
    program = ELSEWHERE.format(platform=platform, missing=missing, source=str(SOURCE))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == f"the kernel sandbox needs Linux, and this is {platform}", done.stderr


def test_the_probe_finds_everything_closed_here() -> None:
    findings = probe.probe()
    missing = [finding for finding in findings if not finding.ok and finding.name != "uid"]
    assert missing == []
    assert len(findings) > 30


def test_the_probe_tells_what_lies_open() -> None:
    findings = {finding.name: finding for finding in probe.probe(("seccomp", "namespaces"))}
    assert not findings["seccomp"].ok
    assert not findings["cannot fork"].ok
    assert not findings["cannot send a datagram"].ok
    assert findings["cannot read a file of the host"].ok
    assert all(finding.remedy for finding in findings.values() if not finding.ok)


def test_limits_hold_for_each_session(zygote: Zygote) -> None:
    config: dict[str, Any] = {"limits": {**LIMITS, "memory": 32 << 20, "files": 16}}
    session = zygote.spawn(config)
    assert run(session, "bytearray(16 << 20)") == "ok None"
    assert run(session, "bytearray(48 << 20)").startswith("MemoryError")
    assert run(session, "import os\nx = [os.dup(0) for _ in range(16)]").startswith("OSError")
    assert not select.select([session.pidfd], [], [], 0)[0]
    session.close()


def test_what_zygotes_load_is_compiled_once(tmp_path: Path) -> None:
    shutil.copytree(SOURCE / "actloop", tmp_path / "actloop", ignore=shutil.ignore_patterns("__pycache__"))
    program = f"from actloop.executors.kernel import host; z = host.Zygote(()); z.spawn({CONFIG!r}).close(); z.close()"
    for flags, kept in (["-B"], False), ([], True):
        environment = {"PYTHONPATH": str(tmp_path)}
        subprocess.run([sys.executable, *flags, "-c", program], check=True, env=environment)
        for name in ("guest/session.py", "executors/kernel/zygote.py"):
            assert Path(cache_from_source(str(tmp_path / "actloop" / name))).exists() == kept
