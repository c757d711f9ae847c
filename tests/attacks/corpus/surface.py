"""The kernel itself: calls that have no business in a sandbox, and privileges won back."""

from __future__ import annotations

from tests.attacks.attack import Family

surface = Family("kernel-surface")
surface.add(
    "everything-dangerous-at-once",
    """
    names = '''
        bpf perf_event_open userfaultfd keyctl add_key request_key io_uring_setup io_uring_register
        memfd_create memfd_secret kexec_load kexec_file_load init_module finit_module delete_module
        syslog acct swapon swapoff reboot quotactl fanotify_init lookup_dcookie mbind set_mempolicy
        migrate_pages ptrace process_vm_readv process_vm_writev open_by_handle_at name_to_handle_at
        mount umount2 pivot_root chroot fsopen fsmount fspick open_tree move_mount mount_setattr setns
        unshare personality vhangup sethostname setdomainname clock_settime settimeofday adjtimex
        clock_adjtime seccomp landlock_create_ruleset landlock_restrict_self modify_ldt iopl ioperm
        uselib nfsservctl shmget msgget semget mq_open timer_create signalfd4 socket connect bind listen
        accept4 execve execveat splice tee vmsplice pidfd_open pidfd_getfd pidfd_send_signal kcmp setuid
        setgid setresuid setgroups capset setrlimit sched_setaffinity sched_setscheduler sched_setattr
        setpriority ioprio_set mlock mlockall mlock2 flock io_setup sync syncfs vfork fork
    '''.split()
    [name for name in names if name in NR and passed(call(name, 0, 0, 0, 0, 0, 0))]
    """,
)
surface.add("calls-that-have-no-number-yet", "passed(*(call(number, 0, 0, 0, 0, 0, 0) for number in range(470, 1024)))")
surface.add(
    "a-thread-without-the-filter",
    """
    found = []
    def look():
        found.extend(passed(call("unshare", 0), call("ptrace", 0, 0, 0, 0), call("socket", 2, 1, 0)))
    threads = [threading.Thread(target=look) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    found
    """,
)
surface.add(
    "32-bit-calls",
    """
    import mmap
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
        page.write(bytes.fromhex("b814000000cd80c3"))  # getpid through the old gate
        entry = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        loot = entry() > 0
    else:
        os._exit(1)
    loot
    """,
    ends="SandboxCrash",
    dies=True,
)
surface.add(
    "the-x32-numbering",
    "call(0x40000000 + 39) if os.uname().machine == 'x86_64' else os._exit(1)",
    ends="SandboxCrash",
    dies=True,
)
surface.add(
    "calls-from-code-of-its-own",
    """
    import mmap
    page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
    code = {
        "x86_64": "b829000000bf02000000be0100000031d20f05c3",
        "aarch64": "400080d2210080d2020080d2c81880d2010000d4c0035fd6",
    }
    page.write(bytes.fromhex(code[os.uname().machine]))  # socket(AF_INET, SOCK_STREAM, 0)
    entry = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    entry() >= 0
    """,
)
surface.add("the-filter-is-replaced", "passed(call('seccomp', 1, 0, None)) + passed(call('prctl', 22, 2, None, 0, 0))")
surface.add("a-filter-that-asks-the-host", "passed(call('seccomp', 1, 8, struct.pack('HxxxxxxQ', 0, 0)))")
surface.add("it-may-be-dumped", "passed(call('prctl', 4, 1, 0, 0, 0))")
surface.add("its-memory-is-renamed", "passed(*(call('prctl', 35, option, 0, 0, 0) for option in range(15)))")
surface.add("randomness-is-turned-off", "passed(call('personality', 0x0040000))")
surface.add("capabilities-kept", "passed(call('prctl', 8, 1, 0, 0, 0), call('prctl', 47, 2, 21, 0, 0))")
surface.add("user-faults", "worked(call('userfaultfd', 0x80001))")
surface.add("keys-of-the-host", "worked(*(call('keyctl', 0, key, 1) for key in range(-8, 0)))")
surface.add("counters-of-the-processor", "worked(call('perf_event_open', bytes(128), 0, -1, -1, 0))")
surface.add(
    "pages-given-away",
    """
    ends = os.pipe()
    passed(call('vmsplice', ends[1], bytes(16), 1, 8), call('splice', 3, 0, ends[1], 0, 1, 0))
    """,
)
surface.add(
    "times-of-memory-pages", "passed(call('mincore', 0, 4096, bytes(8)), call('cachestat', 3, bytes(16), bytes(40), 0))"
)

privileges = Family("privileges")
privileges.add("become-root", "worked(call('setuid', 0), call('setresuid', 0, 0, 0), call('setreuid', 0, 0))")
privileges.add("join-groups", "worked(call('setgroups', 1, struct.pack('I', 0)), call('setgid', 0))")
privileges.add(
    "capabilities", "worked(call('capset', struct.pack('Ii', 0x20080522, 0), struct.pack('6I', *[0xFFFFFFFF] * 6)))"
)
privileges.add(
    "a-user-namespace-of-its-own",
    """
    user = 0x10000000
    others = [0x20000, 0x40000000, 0x20000000, 0x4000000, 0x8000000]  # mount net pid uts ipc
    worked(call("unshare", user), *(call("unshare", flags) for one in others for flags in (one, one | user)))
    """,
    control=True,
)
privileges.add(
    "another-root",
    """
    os.mkdir('r')
    worked(call('chroot', b'r'), call('pivot_root', b'.', b'r'))
    """,
)
privileges.add("a-file-system", "worked(call('mount', b'tmpfs', b'.', b'tmpfs', 0, None), call('fsopen', b'tmpfs', 0))")
privileges.add(
    "a-bind-mount",
    """
    os.mkdir('b')
    worked(call('mount', b'/', b'b', None, 4096, None), call('open_tree', -100, b'/', 1))
    """,
)
privileges.add(
    "higher-limits",
    """
    worked(*(call('prlimit64', 0, kind, struct.pack('QQ', 2**40, 2**40), None) for kind in range(16)))
    """,
)
privileges.add(
    "higher-limits-by-resource",
    """
    import resource
    found = []
    for name in ("DATA", "AS", "NOFILE", "NPROC", "FSIZE"):
        kind = getattr(resource, f"RLIMIT_{name}")
        soft, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY or attempt(lambda: resource.setrlimit(kind, (hard + 1, hard + 1)) or True):
            found.append(kind)
    found
    """,
    control=True,
)
privileges.add("the-machines-name", "worked(call('sethostname', b'owned', 5), call('setdomainname', b'owned', 5))")
privileges.add("the-name-of-the-host-shows", "os.uname().nodename != 'sandbox'", control=True)
privileges.add("the-clock", "worked(call('clock_settime', 0, bytes(16)), call('settimeofday', bytes(16), None))")
privileges.add(
    "priority", "passed(call('setpriority', 0, 0, -20), call('sched_setscheduler', 0, 1, struct.pack('I', 99)))"
)
privileges.add("locked-memory", "passed(call('mlockall', 3), call('mlock', id(0), 4096))")
privileges.add(
    "who-it-is",
    """
    0 in (*os.getresuid(), *os.getresgid(), *os.getgroups())
    """,
)

sharing = Family("shared-memory")
sharing.add(
    "system-v",
    """
    worked(call('shmget', 0, 4096, 0o1666), call('msgget', 0, 0o1666), call('semget', 0, 1, 0o1666))
    """,
    control=True,
)
sharing.add("posix-queues", "worked(call('mq_open', b'actloop', 0o102, 0o666, None))")
sharing.add(
    "posix-memory",
    """
    from multiprocessing import shared_memory
    attempt(lambda: shared_memory.SharedMemory(create=True, size=64).name)
    """,
)
sharing.add("a-file-in-memory", "worked(call('memfd_create', b'x', 0), call('memfd_secret', 0))", control=True)
sharing.add(
    "semaphores",
    """
    import multiprocessing
    attempt(lambda: multiprocessing.get_context('fork').Lock() and True)
    """,
)
sharing.add("system-v-of-others", "worked(*(call('shmat', number, None, 0) for number in range(100)))")
sharing.add(
    "what-another-session-left-in-memory", "secret_name in str(dict(os.environ)) or 'left_by_another' in globals()"
)

FAMILIES = [surface, privileges, sharing]
