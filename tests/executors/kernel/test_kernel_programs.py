"""Real sessions: useful programs run in them, hostile ones are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.executors.kernel.sessions import LEGITIMATE, run

from actloop.executors.kernel import syscalls

if TYPE_CHECKING:
    from actloop.executors.kernel.spawned import Spawned

HOSTILE = {
    "fork": "os.fork()",
    "spawn": "os.posix_spawn('/bin/sh', ['sh'], {})",
    "exec": "os.execv('/bin/sh', ['sh'])",
    "subprocess": "__import__('subprocess').run(['true'])",
    "tcp": "__import__('socket').create_connection(('127.0.0.1', 80))",
    "udp": "__import__('socket').socket(2, 2)",
    "netlink": "__import__('socket').socket(16, 3, 0)",
    "abstract": "__import__('socket').socket(1, 1)",
    "datagram pair": "__import__('socket').socketpair(1, 2)",
    "unix address": "__import__('socket').socket(fileno=os.dup(channel)).sendto(b'', '/x')",
    "peer": "__import__('socket').socket(fileno=os.dup(channel)).getsockopt(1, 17, 12)",
    "passwd": "open('/etc/passwd')",
    "proc": "os.listdir('/proc')",
    "own memory": "open('/proc/self/mem', 'wb')",
    "home": "os.listdir(os.path.expanduser('~root/.ssh'))",
    "sys": "os.listdir('/sys')",
    "write root": "open('/x', 'w')",
    "write library": "open(os.__file__, 'a')",
    "write device": "open('/dev/sda', 'w')",
    "chmod": "os.chmod('.', 0o777)",
    "utime": "os.utime('.')",
    "device": "os.mknod('d', 0o20600, os.makedev(1, 3))",
    "fifo": "os.mkfifo('f')",
    "setuid": "os.setuid(0)",
    "nice": "os.nice(-5)",
    "signal init": "os.kill(2, 9)",
    "signal group": "os.killpg(1, 9)",
    "signal all": "os.kill(-1, 9)",
    "raise limit": "__import__('resource').setrlimit(7, (4096, 4096))",
    "own signal": "__import__('fcntl').fcntl(channel, 8, 1)",
    "asynchronous": "__import__('fcntl').fcntl(channel, 4, 0x2000)",
    "lease": "__import__('fcntl').fcntl(os.open(os.__file__, 0), 1024, 0)",
    "lock": "__import__('fcntl').flock(os.open(os.__file__, 0), 2)",
    "terminal": "__import__('fcntl').ioctl(0, 0x5412, b'x')",
    "shared memory": "__import__('mmap').mmap(-1, 1 << 34)",
    "memory": "bytearray(1 << 34)",
    "moved stack": "moved_stack()",
    "disk": "open('big', 'wb').truncate(1 << 34)",
    "unshare": "os.unshare(0x10000000) if hasattr(os, 'unshare') else 1 / 0",
    "descriptors": "[os.dup(0) for _ in range(100)]",
}
"""Expressions that must raise."""

MREMAP = syscalls.NUMBERS.get(syscalls.machine(), {}).get("mremap")
MOVED_STACK = f"""
def moved_stack():
    import ctypes
    c = ctypes.CDLL(None, use_errno=True)
    c.syscall.restype = ctypes.c_long
    page = (ctypes.c_void_p.in_dll(c, "__libc_stack_end").value & ~4095) - 8192
    moved = c.syscall({MREMAP}, ctypes.c_void_p(page), 4096, 1 << 30, 1)
    if moved == -1:
        raise OSError(ctypes.get_errno(), "refused")
"""

RAW = """
ptrace process_vm_readv process_vm_writev memfd_create io_uring_setup userfaultfd keyctl add_key request_key bpf
perf_event_open mount umount2 pivot_root setns unshare open_by_handle_at name_to_handle_at shmget msgget semget mq_open
personality fanotify_init inotify_init1 vmsplice splice pidfd_open pidfd_getfd pidfd_send_signal kcmp seccomp
landlock_create_ruleset clone3 execve execveat chroot syslog openat2 capset setsid rt_sigqueueinfo tkill recvmsg sendmsg
process_madvise signalfd4 timer_create mlock remap_file_pages arch_prctl ioperm modify_ldt fsopen open_tree statmount
""".split()  # noqa: SIM905 - names, not strings


@pytest.mark.parametrize("name", sorted(LEGITIMATE))
def test_useful_programs_run(session: Spawned, name: str) -> None:
    assert run(session, LEGITIMATE[name]) == "ok 3"


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_programs_are_refused(session: Spawned, name: str) -> None:
    assert run(session, MOVED_STACK) == "ok None"
    answer = run(session, f"import os\nresult = {HOSTILE[name]}")
    assert not answer.startswith("ok")
    assert answer != "gone"
    assert "SyntaxError" not in answer
    assert run(session, "result = 1") == "ok 1"


def test_dangerous_system_calls_are_refused(session: Spawned) -> None:
    table = syscalls.NUMBERS[syscalls.machine()]
    numbers = {name: table[name] for name in RAW if name in table}
    code = (
        "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
        f"result = [n for n, k in {numbers!r}.items() if c.syscall(k, 0, 0, 0, 0, 0, 0) != -1 "
        "or ctypes.get_errno() not in (1, 38)]"
    )
    assert run(session, code) == "ok []"


def test_the_session_sees_nothing_of_the_host(session: Spawned) -> None:
    assert run(session, "import os\nresult = sorted(os.environ)") == "ok ['HOME', 'LANG', 'TMPDIR', 'TZ']"
    assert run(session, "result = os.getpid(), os.getppid(), os.getuid(), os.getcwd()") == "ok (1, 0, 1000, '/sandbox')"
    assert run(session, "result = os.uname().nodename") == "ok 'sandbox'"
    descriptors = (
        "result = [n for n in range(64) if not __import__('contextlib').suppress(OSError).__enter__() and ok(n)]"
    )
    define = "def ok(n):\n try: os.fstat(n); return True\n except OSError: return False"
    assert run(session, define + "\n" + descriptors) == "ok [0, 1, 2, 3]"
