"""Files of the host: read, written, touched, seen; descriptors left open; the private folder abused."""

from __future__ import annotations

from tests.attacks.attack import Family

from actloop.executors.session import SandboxLimits

files = Family("files", control=True)
files.add("open", "attempt(lambda: open(canary).read())")
files.add(
    "pathlib",
    """
    from pathlib import Path
    attempt(lambda: Path(canary).read_bytes())
    """,
)
files.add("a-bare-descriptor", "attempt(lambda: os.read(os.open(canary, os.O_RDONLY), 100))")
files.add("only-its-path", "worked(call('openat', -100, canary.encode(), os.O_PATH, 0))")
files.add("the-old-system-call", "worked(call(NR.get('open', NR['openat']), canary.encode(), 0, 0))", control=False)
files.add(
    "openat2",
    "worked(call('openat2', -100, canary.encode(), struct.pack('QQQ', 0, 0, 0), 24))",
)
files.add("append", "attempt(lambda: open(canary, 'a').write('!'))", control=False)
files.add("truncate", "worked(call('truncate', canary.encode(), 0))", control=False)
files.add("unlink", "attempt(lambda: os.unlink(canary) or True)", control=False)
files.add("rename-over-it", "attempt(lambda: os.rename(canary, folder + '/other') or True)", control=False)
files.add("make-a-file-beside-it", "attempt(lambda: os.open(folder + '/new', os.O_CREAT | os.O_WRONLY))", control=False)
files.add("chmod", "worked(call('fchmodat', -100, canary.encode(), 0o777, 0))", control=False)
files.add("chmod-by-its-newest-call", "worked(call('fchmodat2', -100, canary.encode(), 0o777, 0))", control=False)
files.add("chown", "worked(call('fchownat', -100, canary.encode(), 1, 1, 0))", control=False)
files.add("set-its-times", "worked(call('utimensat', -100, canary.encode(), None, 0))", control=False)
files.add("extended-attribute", "attempt(lambda: os.setxattr(canary, 'user.x', b'1') or True)", control=False)
files.add("existence", "os.path.exists(canary)")
files.add("metadata", "attempt(lambda: os.stat(canary).st_size)")
files.add("list-a-folder", "attempt(lambda: os.listdir(folder))")
files.add("change-into-a-folder", "attempt(lambda: os.chdir(folder) or open('canary').read())")
files.add("climb-out-of-the-root", "attempt(lambda: open('/' + '../' * 40 + canary.lstrip('/')).read())")
files.add("the-hosts-users", "attempt(lambda: open('/etc/passwd').read())")
files.add(
    "a-handle",
    """
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    passed(call("name_to_handle_at", -100, canary.encode(), handle, ctypes.byref(mount), 0))
    """,
)
files.add("open-by-handle", "passed(call('open_by_handle_at', -100, struct.pack('Ii', 8, 1) + bytes(8), 0))")
files.add(
    "a-symlink-from-the-private-folder",
    """
    os.symlink(canary, f'l{os.getpid()}')
    attempt(lambda: open(f'l{os.getpid()}').read())
    """,
    control=False,
)
files.add("a-hard-link", "attempt(lambda: os.link(canary, 'hard') or open('hard').read())", control=False)
files.add("a-hard-link-to-a-library", "attempt(lambda: os.link(library, 'hard') or True)", control=False)
files.add("io-uring-opens", "passed(call('io_uring_setup', 8, bytes(120)))", control=False)
files.add("inotify-watches", "passed(call('inotify_init1', 0), call('fanotify_init', 0, 0))")

proc = Family("proc")
proc.add("environment-of-the-host", "attempt(lambda: open(f'/proc/{host}/environ', 'rb').read())", control=True)
proc.add("root-of-the-host", "attempt(lambda: open(f'/proc/{host}/root{canary}').read())", control=True)
proc.add("folder-of-the-host", "attempt(lambda: os.listdir(f'/proc/{host}/cwd'))", control=True)
proc.add("descriptors-of-the-host", "attempt(lambda: os.listdir(f'/proc/{host}/fd'))", control=True)
proc.add("memory-of-the-host", "attempt(lambda: open(f'/proc/{host}/mem', 'rb'))", control=True)
proc.add("processes", "attempt(lambda: [name for name in os.listdir('/proc') if name.isdigit()])", control=True)
proc.add("memory-of-the-zygote", "attempt(lambda: open(f'/proc/{zygote}/maps').read())")
proc.add("root-of-process-one", "attempt(lambda: open(f'/proc/1/root{canary}').read())")
proc.add("its-own-id-maps", "attempt(lambda: open('/proc/self/uid_map', 'w').write('0 0 1'))")
proc.add("its-own-oom-score", "attempt(lambda: open('/proc/self/oom_score_adj', 'w').write('-1000'))")
proc.add("kernel-settings", "attempt(lambda: open('/proc/sys/kernel/core_pattern').read())", control=True)
proc.add("sysrq", "attempt(lambda: os.open('/proc/sysrq-trigger', os.O_WRONLY))")
proc.add("kernel-log", "[path for path in ('/dev/kmsg', '/proc/kmsg') if attempt(lambda: open(path))]")
proc.add("hardware", "attempt(lambda: os.listdir('/sys'))", control=True)
proc.add("cgroups", "attempt(lambda: open('/sys/fs/cgroup/cgroup.procs', 'w'))")
proc.add(
    "mount-proc-anew",
    """
    os.mkdir('p')
    worked(call('mount', b'proc', b'p', b'proc', 0, None))
    """,
)

devices = Family("devices")
devices.add(
    "what-lies-in-dev",
    """
    names = attempt(lambda: os.listdir("/dev")) or []
    [name for name in names if name not in ("null", "urandom")]
    """,
    control=True,
)
devices.add(
    "memory",
    """
    [attempt(lambda: open(path)) for path in ('/dev/mem', '/dev/kmem', '/dev/port') if attempt(lambda: open(path))]
    """,
)
devices.add("virtual-machines", "attempt(lambda: os.open('/dev/kvm', os.O_RDWR))")
devices.add("make-a-disk", "attempt(lambda: os.mknod('disk', 0o60600, os.makedev(254, 0)) or True)")
devices.add("make-a-pipe-with-a-name", "attempt(lambda: os.mkfifo('fifo') or True)")
devices.add("the-terminal", "attempt(lambda: os.open('/dev/tty', os.O_RDWR))")
devices.add(
    "typing-into-a-terminal",
    """
    import fcntl
    attempt(lambda: fcntl.ioctl(0, 0x5412, b"x")) is not None
    """,
)
devices.add("a-pseudo-terminal", "attempt(lambda: os.openpty())", control=True)
devices.add("writing-to-the-random-device", "attempt(lambda: os.write(os.open('/dev/urandom', os.O_WRONLY), b'x'))")

libraries = Family("shared-folders")
libraries.add("write-into-the-interpreter", "attempt(lambda: open(library, 'a').write('#'))")
libraries.add("make-a-module-of-the-interpreter", "attempt(lambda: open(library + '.x.py', 'w'))")
libraries.add(
    "a-compiled-file-beside-it", "attempt(lambda: open(os.path.dirname(library) + '/__pycache__/x.pyc', 'wb'))"
)
libraries.add("chmod", "worked(call('fchmodat', -100, library.encode(), 0o777, 0))")
libraries.add("set-its-times", "worked(call('utimensat', -100, library.encode(), None, 0))")
libraries.add("set-its-times-by-descriptor", "worked(call('utimensat', os.open(library, 0), None, None, 0))")
libraries.add("chown-by-descriptor", "worked(call('fchown', os.open(library, 0), 0, 0))")
libraries.add(
    "lock-it",
    """
    import fcntl
    attempt(lambda: fcntl.flock(os.open(library, 0), fcntl.LOCK_EX) or True)
    """,
)
libraries.add(
    "a-lease-on-it",
    """
    import fcntl
    attempt(lambda: fcntl.fcntl(os.open(library, 0), 1024, 0) is not None)
    """,
)
libraries.add(
    "remount-it",
    """
    worked(call('mount', None, b'/', None, 32, None), call('mount', None, b'/usr/lib', None, 4128, None))
    """,
)
libraries.add("unmount-it", "worked(call('umount2', b'/usr/lib', 2), call('umount2', b'/', 2))")
libraries.add(
    "a-file-in-the-root", "[path for path in ('/x', '/usr/x', '/dev/x', '/etc/x') if attempt(lambda: open(path, 'w'))]"
)

descriptors = Family("descriptors", prelude="import os, stat\n" + "import ctypes, errno, struct, time\n")
descriptors.add(
    "all-that-are-open",
    """
    known = {"null": [], "socket": [], "pipe": [], "other": []}
    for number in range(1024):
        try:
            found = os.fstat(number)
        except OSError:
            continue
        mode = found.st_mode
        if stat.S_ISCHR(mode) and found.st_rdev == os.makedev(1, 3):
            known["null"].append(number)
        else:
            kind = "socket" if stat.S_ISSOCK(mode) else "pipe" if stat.S_ISFIFO(mode) else "other"
            known[kind].append(number)
    # Its own: three standard streams, the channel, and a pipe with which its threads wake each other.
    [] if (known["null"], known["socket"], len(known["pipe"]), known["other"]) == ([0, 1, 2], [3], 2, []) else known
    """,
)
descriptors.add(
    "folders-that-lead-out",
    """
    found = []
    for number in range(1024):
        for name in ("..", "../../..", canary.lstrip("/")):
            try:
                found.append(os.listdir(os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=number)))
            except OSError:
                pass
    found
    """,
)
descriptors.add(
    "more-through-the-channel",
    """
    import socket
    channel = socket.socket(fileno=os.dup(3))
    try:
        loot = channel.recvmsg(100, 1000, socket.MSG_DONTWAIT)[1]
    except OSError:
        loot = []
    channel.detach()
    loot
    """,
)
descriptors.add(
    "taken-from-another-process",
    """
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    for pid in (1, 2, host, victim, zygote):
        pidfd = libc.syscall(NR["pidfd_open"], pid, 0)
        found += [fd for fd in range(64) if pidfd >= 0 and libc.syscall(NR["pidfd_getfd"], pidfd, fd, 0) >= 0]
    found
    """,
)

small = SandboxLimits(wall=5.0, disk=1 << 20)
scratch = Family("private-folder", limits=small)
scratch.add(
    "fill-the-disk",
    """
    written = 0
    try:
        while True:
            with open(f"f{written}", "wb") as file:
                written += file.write(bytes(65_536))
    except OSError:
        pass
    written > 2 << 20
    """,
)
scratch.add("a-huge-sparse-file", "attempt(lambda: os.truncate(os.open('s', os.O_CREAT | os.O_RDWR), 1 << 40) or True)")
scratch.add(
    "room-set-aside", "attempt(lambda: os.posix_fallocate(os.open('s', os.O_CREAT | os.O_RDWR), 0, 1 << 30) or True)"
)
scratch.add(
    "as-many-files-as-can-be",
    """
    count = 0
    try:
        for count in range(100_000):
            os.close(os.open(f"f{count}", os.O_CREAT | os.O_WRONLY))
    except OSError:
        pass
    count > 10_000
    """,
)
scratch.add(
    "files-that-have-no-name",
    """
    held = []
    try:
        while len(held) < 10_000:
            held.append(os.open("f", os.O_CREAT | os.O_WRONLY))
            os.unlink("f")
            os.write(held[-1], bytes(1 << 20))
    except OSError:
        pass
    len(held) > 100
    """,
)
scratch.add(
    "folders-within-folders",
    """
    depth = 0
    try:
        for depth in range(100_000):
            os.mkdir("d")
            os.chdir("d")
    except OSError:
        pass
    depth > 10_000
    """,
)
scratch.add(
    "a-program-is-started-from-there",
    """
    with open("program", "wb") as file:
        file.write(b"#!/usr/bin/true")
    worked(call("execve", b"program", None, None), call("execveat", -100, b"program", None, None, 0))
    """,
)
scratch.add(
    "code-is-mapped-from-there",
    """
    import mmap
    with open("code", "wb+") as file:
        file.write(bytes(4096))
        file.flush()
        loot = attempt(lambda: mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC))
    loot
    """,
)
scratch.add(
    "a-set-user-id-program",
    """
    open("s", "w").close()
    worked(call("fchmodat", -100, b"s", 0o4755, 0), call("fchmod", 0, 0o4755))
    """,
)
scratch.add(
    "links-that-never-end",
    """
    os.symlink("b", "a")
    os.symlink("a", "b")
    attempt(lambda: open("a"))
    """,
)
scratch.add("another-sessions-files", "import tempfile; os.listdir('.') or os.listdir(tempfile.gettempdir())")

FAMILIES = [files, proc, devices, libraries, descriptors, scratch]
