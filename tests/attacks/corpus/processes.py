"""Processes: signalled, seen, traced, changed, and made."""

from __future__ import annotations

from tests.attacks.attack import Family

signals = Family("signals", control=False)
signals.add("find-a-process", "attempt(lambda: os.kill(victim, 0) is None)", control=True)
signals.add("kill-a-process", "attempt(lambda: os.kill(victim, 9) is None)")
signals.add("kill-the-host", "attempt(lambda: os.kill(host, 9) is None)")
signals.add(
    "stop-the-host",
    """
    import signal
    attempt(lambda: os.kill(host, signal.SIGSTOP) is None)
    """,
)
signals.add(
    "kill-the-zygote",
    """
    others = {zygote, 1, 2, 3, os.getppid()} - {0, os.getpid()}
    [pid for pid in others if attempt(lambda: os.kill(pid, 9) is None)]
    """,
)
signals.add("kill-everybody", "attempt(lambda: os.kill(-1, 9) is None)")
signals.add(
    "kill-the-group",
    """
    [attempt(lambda: os.kill(0, 9) is None), attempt(lambda: os.killpg(os.getpgrp() or 1, 9) is None)] == [True, True]
    """,
)
signals.add("a-thread-of-another-process", "worked(call('tgkill', victim, victim, 9), call('tkill', victim, 9))")
signals.add(
    "a-queued-signal",
    """
    passed(call('rt_sigqueueinfo', victim, 9, bytes(128)), call('rt_tgsigqueueinfo', victim, victim, 9, bytes(128)))
    """,
)
signals.add(
    "by-descriptor",
    """
    pidfd = call("pidfd_open", victim, 0)
    [pidfd] if pidfd >= 0 else passed(call("pidfd_send_signal", 3, 9, None, 0))
    """,
    control=True,
)
signals.add(
    "by-the-owner-of-a-descriptor",
    """
    import fcntl
    ends = os.pipe()
    loot = attempt(lambda: fcntl.fcntl(ends[0], fcntl.F_SETOWN, victim) is not None)
    loot or attempt(lambda: fcntl.fcntl(ends[0], fcntl.F_SETFL, 0x2000) is not None)
    """,
    control=True,
)
signals.add("every-process-id", "[pid for pid in range(2, 40_000) if pid != os.getpid() and call('kill', pid, 0) == 0]")

changes = Family("other-processes")
changes.add("trace-it", "worked(call('ptrace', 16, victim, 0, 0), call('ptrace', 0x4206, victim, 0, 0))")
changes.add("read-its-memory", "passed(call('process_vm_readv', victim, bytes(16), 0, bytes(16), 0, 0))")
changes.add(
    "read-memory-of-every-process",
    """
    buffer = ctypes.create_string_buffer(8)
    here = struct.pack("QQ", ctypes.addressof(buffer), 8)
    there = struct.pack("QQ", id(0), 8)
    others = {1, 2, host, zygote, victim} - {os.getpid()}
    worked(*(call("process_vm_readv", pid, here, 1, there, 1, 0) for pid in others))
    """,
)
changes.add("write-its-memory", "passed(call('process_vm_writev', victim, bytes(16), 0, bytes(16), 0, 0))")
changes.add(
    "its-priority", "worked(call('setpriority', 0, victim, 10)) + worked(call('ioprio_set', 1, victim, 0x6000))"
)
changes.add("its-processors", "worked(call('sched_setaffinity', victim, 8, struct.pack('Q', 1)))")
changes.add(
    "its-schedule",
    """
    passed(call('sched_setscheduler', victim, 3, bytes(4)), call('sched_setattr', victim, bytes(48), 0))
    """,
)
changes.add("its-limits", "worked(call('prlimit64', victim, 7, struct.pack('QQ', 4, 4), None))")
changes.add(
    "its-limits-read",
    "worked(call('prlimit64', victim, 7, None, bytearray(16) and ctypes.create_string_buffer(16)))",
    control=True,
)
changes.add(
    "its-pages",
    """
    passed(call('migrate_pages', victim, 1, bytes(8), bytes(8)), call('move_pages', victim, 0, None, None, None, 0))
    """,
)
changes.add("its-namespaces", "passed(call('setns', 3, 0))")
changes.add(
    "its-robust-futexes",
    """
    worked(call('get_robust_list', victim, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)))
    """,
)
changes.add("what-it-shares", "passed(call('kcmp', victim, victim, 0, 0, 0))")
changes.add(
    "its-memory-freed", "passed(call('process_madvise', 3, bytes(16), 1, 20, 0), call('process_mrelease', 3, 0))"
)
changes.add(
    "its-group", "worked(call('setpgid', victim, 0), call('getsid', victim), call('getpgid', victim))", control=True
)

making = Family("new-processes")
making.add("fork", "attempt(lambda: os.fork() or os._exit(0))", control=True)
making.add(
    "fork-by-number", "worked(call(NR.get('fork', NR['execveat']), 0), call(NR.get('vfork', NR['execveat']), 0))"
)
making.add("clone", "worked(call('clone', 17, None, None, None, None))")
making.add("clone-sharing-memory", "worked(call('clone', 0x4111, None, None, None, None))")
making.add(
    "clone-with-namespaces",
    """
    worked(call('clone', 0x7E010F00, None, None, None, None), call('clone', 0x10010F00, None, None, None, None))
    """,
)
making.add("clone3", "worked(call('clone3', struct.pack('11Q', 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88))")
making.add("a-shell", "os.system('true') == 0", control=True)
making.add(
    "subprocess",
    """
    import subprocess
    attempt(lambda: subprocess.run(['/bin/true']))
    """,
    control=True,
)
making.add("posix-spawn", "attempt(lambda: os.posix_spawn('/bin/true', ['true'], {}))", control=True)
making.add(
    "multiprocessing",
    """
    import multiprocessing
    attempt(lambda: multiprocessing.get_context('fork').Process().start() or True)
    """,
    control=True,
)
making.add(
    "a-terminal-with-a-child",
    """
    import pty
    attempt(lambda: pty.fork())
    """,
)
making.add("another-program-in-its-place", "attempt(lambda: os.execv('/bin/true', ['true']))", dies=False)
making.add(
    "a-program-in-memory",
    """
    fd = call("memfd_create", b"program", 0)
    [fd] if fd >= 0 else worked(call("execveat", 3, b"", None, None, 0x1000))
    """,
    control=True,
)
making.add(
    "a-fork-bomb",
    """
    made = 0
    for _ in range(10_000):
        try:
            pid = os.fork()
        except OSError:
            continue
        made += 1
        if pid == 0:
            while True:
                pass
    made
    """,
)
making.add("its-deathwatch-is-called-off", "passed(call('prctl', 1, 0, 0, 0, 0))")
making.add("it-adopts-orphans", "passed(call('prctl', 36, 1, 0, 0, 0))")
making.add("a-session-of-its-own", "passed(call('setsid'))")

FAMILIES = [signals, changes, making]
