"""The compiled filters, interpreted: what each architecture's sessions may and may not call."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given, strategies as st

from actloop.executors.kernel import seccomp, syscalls
from actloop.executors.kernel.seccomp import ALLOW, ARCHITECTURES, ERRNO, KILL

PID = 4242
STACK = 0x7FFD_1234_5000
THREAD = 0x003D0F00  # the flags of pthread_create

ALLOWED: list[tuple[str, tuple[int, ...]]] = [
    ("read", (0,)),
    ("write", (1,)),
    ("openat", (0,)),
    ("exit_group", (0,)),
    ("futex", (0,)),
    ("getrandom", (0,)),
    ("mmap", (0, 4096, 3, 0x22)),  # private anonymous
    ("mmap", (0, 4096, 1, 0x01, 3)),  # a shared file
    ("mremap", (STACK - 4096, 4096, 8192)),
    ("mremap", (0x5555_FFFF_F000, 4096, 8192)),  # with a larger low half
    ("clone", (THREAD,)),
    ("kill", (PID, 9)),
    ("tgkill", (PID, 7, 9)),
    ("prlimit64", (0, 7, 0, 0x7FFF)),
    ("prctl", (15, 1)),
    ("ioctl", (0, 0x5401)),
    ("ioctl", (0, 0x5421)),
    ("fcntl", (0, 1030)),
    ("fcntl", (0, 4, 0x800)),
    ("fcntl", (0, 6)),
    ("socketpair", (1, 1)),
    ("socketpair", (1, 1 | 0x80000 | 0x800)),
    ("sendto", (3, 1, 1, 0, 0, 0)),
    ("recvfrom", (3, 1, 1)),
    ("getsockopt", (3, 1, 3)),
]

REFUSED: list[tuple[str, tuple[int, ...]]] = [
    ("mmap", (0, 4096, 3, 0x21)),  # shared anonymous: no limit counts it
    ("mmap", (0, 4096, 3, 0x23)),  # the same, validated
    ("mmap", (0, 4096, 3, 0x122)),  # growing downwards: counted as stack
    ("mremap", (STACK, 4096, 1 << 34)),  # the stack is counted by no limit once it is moved
    ("mremap", (0x7FFE_0000_0000, 4096, 1 << 34)),
    ("clone", (17,)),  # fork
    ("clone", (0x4111,)),  # vfork
    ("clone", (THREAD | 0x10000000,)),  # with a user namespace
    ("clone", (0x10000000 | 17,)),
    ("kill", (1, 9)),
    ("kill", (0, 9)),
    ("kill", (2**64 - 1, 9)),
    ("kill", (PID + 1, 9)),
    ("tgkill", (1, 1, 9)),
    ("prlimit64", (1, 7, 0, 1)),
    ("prlimit64", (0, 7, 1, 0)),
    ("prlimit64", (0, 7, 1 << 32, 0)),
    ("prctl", (1, 0)),  # PR_SET_PDEATHSIG
    ("prctl", (4, 1)),  # PR_SET_DUMPABLE
    ("prctl", (22, 1)),  # PR_SET_SECCOMP
    ("ioctl", (0, 0x5412)),  # TIOCSTI
    ("ioctl", (0, 0x8901)),  # FIOSETOWN
    ("ioctl", (0, 0x5452)),  # FIOASYNC
    ("fcntl", (0, 8, 1)),  # F_SETOWN
    ("fcntl", (0, 10, 9)),  # F_SETSIG
    ("fcntl", (0, 15, 1)),  # F_SETOWN_EX
    ("fcntl", (0, 4, 0x2000)),  # O_ASYNC
    ("fcntl", (0, 1024, 1)),  # F_SETLEASE
    ("fcntl", (0, 1026, 1)),  # F_NOTIFY
    ("fcntl", (0, 1031, 1 << 20)),  # F_SETPIPE_SZ
    ("socketpair", (1, 2)),  # datagram
    ("socketpair", (1, 5)),  # seqpacket
    ("socketpair", (2, 1)),
    ("sendto", (3, 1, 1, 0, 1, 16)),
    ("sendto", (3, 1, 1, 0, 1 << 32, 16)),
    ("getsockopt", (3, 1, 77)),  # SO_PEERPIDFD
    ("getsockopt", (3, 1, 17)),  # SO_PEERCRED
    ("getsockopt", (3, 0, 3)),
]

NEVER = """
execve execveat fork vfork ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_open pidfd_getfd
pidfd_send_signal tkill rt_sigqueueinfo rt_tgsigqueueinfo socket connect bind listen accept accept4 sendmsg sendmmsg
recvmsg recvmmsg setsockopt mount umount2 pivot_root chroot unshare setns move_mount open_tree fsopen fsmount
fsconfig fspick mount_setattr statmount listmount open_by_handle_at name_to_handle_at openat2 mknod mknodat chmod
fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes utimensat futimesat setxattr lsetxattr fsetxattr
removexattr setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset setsid setpgid
setpriority setrlimit sched_setscheduler sched_setparam sched_setattr sched_setaffinity ioprio_set personality iopl
ioperm modify_ldt arch_prctl bpf perf_event_open seccomp landlock_create_ruleset landlock_add_rule
landlock_restrict_self userfaultfd io_uring_setup io_uring_enter io_uring_register io_setup io_submit memfd_create
memfd_secret vmsplice splice tee shmget shmat shmctl shmdt semget semop semctl msgget msgsnd msgrcv msgctl mq_open
mq_unlink mq_timedsend keyctl add_key request_key inotify_init inotify_init1 inotify_add_watch fanotify_init
fanotify_mark signalfd signalfd4 timer_create clock_settime clock_adjtime settimeofday adjtimex sethostname
setdomainname reboot kexec_load kexec_file_load init_module finit_module delete_module swapon swapoff acct quotactl
quotactl_fd syslog vhangup sync syncfs mlock mlock2 mlockall remap_file_pages migrate_pages move_pages mbind
set_mempolicy lookup_dcookie nfsservctl flock process_mrelease cachestat map_shadow_stack lsm_get_self_attr
lsm_set_self_attr setxattrat removexattrat open_tree_attr file_setattr get_robust_list readahead mincore getpgid
getsid capget
""".split()  # noqa: SIM905 - names, not strings

architectures = pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))


def answer(architecture: str, name: str, arguments: tuple[int, ...] = (), *, paths: bool = True) -> int:
    code = seccomp.compiled(architecture, PID, stack=STACK, paths=paths)
    return seccomp.decide(code, ARCHITECTURES[architecture], syscalls.NUMBERS[architecture][name], arguments)


@architectures
@pytest.mark.parametrize(("name", "arguments"), ALLOWED)
def test_what_programs_need_is_allowed(architecture: str, name: str, arguments: tuple[int, ...]) -> None:
    assert answer(architecture, name, arguments) == ALLOW


@architectures
@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_dangerous_arguments_are_refused(architecture: str, name: str, arguments: tuple[int, ...]) -> None:
    assert answer(architecture, name, arguments) & 0xFFFF0000 == ERRNO


@architectures
@given(arguments=st.tuples(*[st.integers(0, 2**64 - 1)] * 6))
def test_dangerous_calls_are_refused_whatever_their_arguments(architecture: str, arguments: tuple[int, ...]) -> None:
    code = seccomp.compiled(architecture, PID, stack=STACK)
    table = syscalls.NUMBERS[architecture]
    for name in NEVER:
        if name in table:
            assert seccomp.decide(code, ARCHITECTURES[architecture], table[name], arguments) & 0xFFFF0000 == ERRNO, name


@architectures
def test_every_number_is_decided_and_few_are_allowed(architecture: str) -> None:
    code = seccomp.compiled(architecture, PID, stack=STACK)
    verdicts = {number: seccomp.decide(code, ARCHITECTURES[architecture], number) for number in range(1024)}
    allowed = {number for number, verdict in verdicts.items() if verdict == ALLOW}
    names = {number: name for name, number in syscalls.NUMBERS[architecture].items()}
    assert allowed <= set(names)
    assert not {names[number] for number in allowed} & set(NEVER)
    assert len(allowed) < 140
    assert verdicts[syscalls.LAST_KNOWN + 1] == ERRNO | errno.ENOSYS


@architectures
def test_the_c_library_falls_back_from_clone3(architecture: str) -> None:
    assert answer(architecture, "clone3") == ERRNO | errno.ENOSYS


@architectures
def test_other_architectures_are_killed(architecture: str) -> None:
    code = seccomp.compiled(architecture, PID, stack=STACK)
    for foreign in (0x40000003, 0x40000028, *(set(ARCHITECTURES.values()) - {ARCHITECTURES[architecture]})):
        assert seccomp.decide(code, foreign, 0) == KILL


def test_dangerous_calls_are_spelled_right() -> None:
    assert set(NEVER) <= set(syscalls.NUMBERS["x86_64"]) | set(syscalls.NUMBERS["aarch64"])


def test_x32_is_killed() -> None:
    code = seccomp.compiled("x86_64", PID, stack=STACK)
    assert seccomp.decide(code, ARCHITECTURES["x86_64"], 0x40000000) == KILL
    assert seccomp.decide(code, ARCHITECTURES["x86_64"], 0xFFFFFFFF) == KILL


@architectures
def test_without_other_confinement_no_path_is_taken(architecture: str) -> None:
    for name in ("openat", "newfstatat", "statx", "unlinkat", "chdir", "readlinkat"):
        assert answer(architecture, name) == ALLOW
        assert answer(architecture, name, paths=False) == ERRNO | errno.ENOENT


def test_numbers_of_aarch64() -> None:
    """A sample from the kernel's generic table, which shares no number with the other architecture's."""
    expected = {
        "openat": 56, "read": 63, "write": 64, "exit_group": 94, "ptrace": 117, "kill": 129, "socket": 198,
        "clone": 220, "execve": 221, "mmap": 222, "prlimit64": 261, "getrandom": 278, "statx": 291, "clone3": 435,
    }  # fmt: skip
    table = syscalls.NUMBERS["aarch64"]
    assert {name: table[name] for name in expected} == expected
    assert not {"open", "stat", "fork", "pipe", "poll", "dup2", "access", "getdents"} & set(table)


def test_numbers_are_unique() -> None:
    for table in syscalls.NUMBERS.values():
        assert len(set(table.values())) == len(table)


def test_numbers_of_this_machine_call_what_they_name() -> None:
    assert syscalls.call("getpid") == os.getpid()
    assert syscalls.call("geteuid") == os.geteuid()
    with pytest.raises(OSError, match="close"):
        syscalls.call("close", 1 << 20)


def test_a_filter_without_an_end_is_not_well_formed() -> None:
    with pytest.raises(ValueError, match="past its end"):
        seccomp.decide(seccomp.compiled("x86_64", PID, stack=STACK)[:8], ARCHITECTURES["x86_64"], 0)
