"""Each level of the kernel sandbox by itself, and on kernels, containers and interpreters that offer less."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.kernel.sessions import CONFIG, GUEST, LEGITIMATE, run

import actloop
from actloop.executors.kernel.harden import LEVELS
from actloop.executors.kernel.host import Zygote

if TYPE_CHECKING:
    from actloop.executors.kernel.spawned import Spawned

SOURCE = Path(actloop.__file__).parent
AS_ROOT = os.geteuid() == 0


def test_every_level_stands_here(session: Spawned) -> None:
    assert [level.name for level in session.levels] == list(LEVELS)
    missing = {level.name for level in session.levels if not level.applied}
    assert missing <= (set[str]() if AS_ROOT else {"uid"})


ATTACKS = {
    "file": "import os\nresult = len(open(config['canary']).read())",
    "fork": "import os\nresult = os.fork()",
    "udp": "import _socket\nresult = _socket.socket(2, 2) and 1",
    "tcp": "import _socket\nresult = _socket.socket(2, 1).connect(('127.0.0.1', config['port']))",
}


@pytest.mark.parametrize(
    ("without", "closed"),
    [
        ((), {"file", "fork", "udp", "tcp"}),
        (("namespaces",), {"file", "fork", "udp", "tcp"}),
        (("landlock",), {"file", "fork", "udp", "tcp"}),
        (("landlock", "namespaces"), {"file", "fork", "udp", "tcp"}),  # the filter alone, which takes no path then
        (("seccomp",), {"file", "tcp"}),
        (("seccomp", "namespaces"), {"file", "tcp"}),  # landlock alone
        (("seccomp", "landlock"), {"file", "tcp"}),  # namespaces alone
        (("seccomp", "landlock", "namespaces", "uid"), set[str]()),  # what the attacks do where nothing stops them
    ],
)
def test_each_level_stands_alone(without: tuple[str, ...], closed: set[str]) -> None:
    canary = Path("/etc/hostname")  # readable by everybody
    with socket.create_server(("127.0.0.1", 0)) as server:
        zygote = Zygote(guest=GUEST, without=without)
        config: dict[str, Any] = {**CONFIG, "canary": str(canary), "port": server.getsockname()[1]}
        try:
            session = zygote.spawn(config)
            assert {level.name for level in session.levels if not level.applied} >= set(without)
            held: set[str] = set()
            for name, code in ATTACKS.items():
                if name == "fork" and name not in closed:
                    continue  # a second process would speak on the same channel
                if not run(session, code).startswith("ok"):
                    held.add(name)
            session.close()
        finally:
            zygote.close()
    assert held == closed


PROGRAM = """
import json, sys
sys.path[:0] = [{source!r}, {tests!r}]
from pathlib import Path
from sessions import CONFIG, GUEST, run
{before}
from actloop.executors.kernel.host import Zygote
zygote = Zygote(paths={paths!r}, guest=GUEST)
session = zygote.spawn(CONFIG)
answers = [run(session, code) for code in json.load(sys.stdin)]
print(json.dumps([[list(level) for level in session.levels], answers]))
session.close()
zygote.close()
"""

BLOCK = """
import ctypes, os, struct
from actloop.executors.kernel import seccomp, syscalls
table = syscalls.NUMBERS[syscalls.machine()]
code = [(0x20, 0, 0, 0)]
for name in {names!r}:
    code += [(0x15, 0, 1, table[name]), (0x06, 0, 0, seccomp.ERRNO | {number})]
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
seccomp.install(b"".join(struct.pack("=HBBI", *line) for line in [*code, (0x06, 0, 0, seccomp.ALLOW)]))
"""
"""Makes this process see an older or more restricted kernel: the named calls fail."""


def in_another_process(
    codes: list[str],
    *,
    python: str = sys.executable,
    source: Path = SOURCE.parent,
    block: tuple[str, ...] = (),
    number: int = 1,
    tests: Path = GUEST.parent,
    through: tuple[str, ...] = (),
    **options: Any,
) -> tuple[dict[str, tuple[bool, str]], list[str]]:
    """Start a host of its own, in which the calls named in `block` fail, and run snippets in a session of it."""
    before = BLOCK.format(names=block, number=number) if block else ""
    program = PROGRAM.format(source=str(source), tests=str(tests), before=before, paths=())
    done = subprocess.run(
        [*through, python, "-W", "error", "-c", program],
        input=json.dumps(codes),
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    levels, answers = json.loads(done.stdout)
    return {name: (applied, reason) for name, applied, reason in levels}, answers


HARMLESS = [LEGITIMATE[name] for name in ("threads", "decimal")]


def test_a_container_without_namespaces() -> None:
    """As under a container runtime's usual profile, which refuses unshare, mount and setns."""
    levels, answers = in_another_process(
        [*HARMLESS, "open('/etc/passwd')"], block=("unshare", "mount", "setns", "pivot_root")
    )
    assert answers[:2] == ["ok 3", "ok 3"]
    assert "PermissionError" in answers[2]
    assert {name for name, (applied, _) in levels.items() if not applied} <= {
        "namespaces", "root", "scratch", "uid", "threads"
    }  # fmt: skip
    assert not levels["namespaces"][0]
    assert "unshare" in levels["namespaces"][1]
    assert levels["landlock"][0]
    assert levels["seccomp"][0]


def test_a_container_where_only_mounting_is_refused() -> None:
    levels, answers = in_another_process([*HARMLESS, "open('/etc/passwd')"], block=("mount",))
    assert answers[:2] == ["ok 3", "ok 3"]
    assert "PermissionError" in answers[2]
    assert levels["namespaces"][0]
    assert not levels["root"][0]
    assert not levels["scratch"][0]


@pytest.mark.skipif(not AS_ROOT or shutil.which("setpriv") is None, reason="needs root and setpriv")
@pytest.mark.parametrize(
    ("dropped", "missing"),
    [
        ("-sys_admin", {"uid"}),  # a user namespace of its own, in which only one user id is mapped
        ("-all", {"uid", "namespaces", "root", "scratch", "threads"}),
    ],
)
def test_root_without_capabilities(dropped: str, missing: set[str]) -> None:
    levels, answers = in_another_process(
        [*HARMLESS, "import os; os.kill(os.getppid() or 2, 0)"], through=("setpriv", "--bounding-set", dropped)
    )
    assert answers[:2] == ["ok 3", "ok 3"]
    assert "PermissionError" in answers[2]
    assert {name for name, (applied, _) in levels.items() if not applied} == missing


def test_a_kernel_without_landlock() -> None:
    levels, answers = in_another_process(
        [*HARMLESS, "open('/etc/passwd')"], block=("landlock_create_ruleset",), number=38
    )
    assert answers[:2] == ["ok 3", "ok 3"]
    assert "FileNotFoundError" in answers[2]
    assert {name for name, (applied, _) in levels.items() if not applied} - {"uid"} == {"landlock"}


def test_a_kernel_without_landlock_in_a_container() -> None:
    levels, answers = in_another_process(
        [*HARMLESS, "open('/etc/passwd')"], block=("landlock_create_ruleset", "unshare"), number=38
    )
    assert answers[:2] == ["ok 3", "ok 3"]
    assert "FileNotFoundError" in answers[2]
    assert "no file can be opened" in levels["seccomp"][1]


def test_a_kernel_without_recursive_mount_attributes() -> None:
    levels, answers = in_another_process(
        ["open(__import__('os').__file__, 'a')", "open('/x', 'w')"], block=("mount_setattr", "close_range"), number=38
    )
    assert all("Read-only file system" in answer or "PermissionError" in answer for answer in answers)
    assert levels["root"][0]


def test_unprivileged_with_the_systems_interpreter() -> None:
    python = "/usr/bin/python3"
    if not AS_ROOT:
        pytest.skip("dropping privileges needs root")
    if (
        not Path(python).exists()
        or subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode
    ):
        pytest.skip("needs a Python 3.11 that every user may run")
    folder = Path("/var/tmp") / f"actloop-{os.getpid()}"
    try:
        shutil.copytree(SOURCE, folder / "src" / "actloop", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(GUEST.parent, folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
        levels, answers = in_another_process(
            [
                *HARMLESS,
                "open('/etc/passwd')",
                "import os; result = os.getuid()",
                LEGITIMATE["files"],
                LEGITIMATE["zoneinfo"],
            ],
            python=python,
            source=folder / "src",
            tests=folder / "tests",
            user=23456,
            group=23456,
            extra_groups=[],
            cwd="/",
        )
    finally:
        shutil.rmtree(folder)
    assert answers[:2] == ["ok 3", "ok 3"]
    assert "FileNotFoundError" in answers[2]
    assert answers[3:] == ["ok 1000", "ok 3", "ok 3"]
    assert {name for name, (applied, _) in levels.items() if not applied} == {"uid"}


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_other_interpreters(version: str) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"Python {version} is not installed")
    names = sorted(set(LEGITIMATE) - {"numpy", "pandas"})
    levels, answers = in_another_process([LEGITIMATE[name] for name in names], python=python)
    assert dict(zip(names, answers, strict=True)) == dict.fromkeys(names, "ok 3")
    assert levels["seccomp"][0]
