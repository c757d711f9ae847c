"""Sessions with a folder of the user's: nothing beside it may be reached, nor what may only be read be changed."""

from __future__ import annotations

from tests.attacks.attack import COMMON, Family

read_only = Family("read-only-workspace", workspace="read", needs=("workspace",), dies=False)

CHANGES = {
    "write-over-it": "open('own.txt', 'w').write('x')",
    "append": "open('own.txt', 'a').write('x')",
    "truncate": "os.truncate('own.txt', 0) or True",
    "remove": "os.remove('own.txt') or True",
    "rename": "os.rename('own.txt', 'other') or True",
    "rename-a-file-over-it": "os.replace('sub/other.txt', 'own.txt') or True",
    "a-new-file": "open('new', 'w').write('x')",
    "a-new-folder": "os.mkdir('new') or True",
    "a-new-link": "os.symlink(canary, 'new') or True",
    "a-second-name": "os.link('own.txt', 'new') or True",
    "a-name-in-the-private-folder": "os.link('own.txt', os.environ['HOME'] + '/new') or True",
    "remove-its-folder": "os.rmdir('/workspace') or True",
    "chmod": "os.chmod('own.txt', 0o777) or True",
    "chown": "os.chown('own.txt', os.getuid(), 0) or True",
    "set-its-times": "os.utime('own.txt', (0, 0)) or True",
    "an-extended-attribute": "os.setxattr('own.txt', 'user.x', b'x') or True",
    "a-file-without-a-name": "os.open('.', os.O_TMPFILE | os.O_WRONLY)",
    "shared-memory-of-it": "__import__('mmap').mmap(os.open('own.txt', os.O_RDWR), 4)",
    "a-map-that-becomes-writable": (
        "worked(call('mprotect', ctypes.addressof(ctypes.c_char.from_buffer(__import__('mmap').mmap("
        "os.open('own.txt', os.O_RDONLY), 4096, prot=1))), 4096, 3))"
    ),
    "by-the-links-of-its-descriptors": "open(f'/proc/self/fd/{os.open(\"own.txt\", os.O_RDONLY)}', 'w').write('x')",
    "mount-it-anew": "worked(call('mount', None, b'/workspace', None, 0x20, None))",
}
BEYOND = {
    "up": "os.read(os.open('../../' * 9 + canary.lstrip('/'), os.O_RDONLY), 100)",
    "the-users-link-to-a-file": "os.read(os.open('link', os.O_RDONLY), 100)",
    "the-users-link-to-a-folder": "os.listdir('way')",
    "through-the-users-link-to-a-folder": "os.read(os.open('way/canary', os.O_RDONLY), 100)",
    "a-descriptor-of-the-folder": "os.open('../..' + canary, os.O_RDONLY, dir_fd=os.open('/workspace', os.O_RDONLY))",
    "a-handle-of-its-folder": "worked(call('name_to_handle_at', -100, b'/workspace', bytes(200), bytes(8), 0))",
    "where-it-is-on-the-host": (
        "[line for place in ('/proc/self/mountinfo', '/proc/mounts', '/etc/mtab') if os.path.exists(place)"
        " for line in open(place) if 'actloop-work' in line]"
    ),
}
for _name, _code in {**CHANGES, **BEYOND}.items():
    read_only.add(_name, f"attempt(lambda: {_code})")

tricks = Family(
    "workspace-tricks", workspace="write", needs=("workspace",), yields=True, prelude=COMMON + "import os, time\n"
)
TRICKS = {
    "a-link-out": "os.symlink(canary, 'new'); os.symlink(folder, 'out'); os.symlink('/etc', 'etc')",
    "a-link-in-place-of-a-file": "os.remove('own.txt'); os.symlink(canary, 'own.txt')",
    "a-link-in-place-of-a-folder": """
        os.remove('sub/other.txt'); os.rmdir('sub'); os.symlink(folder, 'sub')
    """,
    "links-in-a-circle": "os.symlink('a', 'b'); os.symlink('b', 'a'); os.symlink('.', 'here')",
    "second-names": "[os.link('own.txt', f'n{n}') for n in range(50)]",
    "pipes": """
        for name in ("pipe", "sub/pipe"):
            try: os.mkfifo(name)
            except OSError: pass
    """,
    "names-of-bytes": "open(b'\\xff\\xfe', 'w').write('x'); open(b'a\\xe9.txt', 'w').write('x')",
    "names-of-controls": "[open(f'a{chr(n)}', 'w').write('x') for n in range(1, 32)]",
    "very-deep": """
        for n in range(2000):
            os.mkdir('d'); os.chdir('d')
    """,
    "very-deep-and-long": """
        for n in range(60):
            os.mkdir('d' * 200); os.chdir('d' * 200)
    """,
    "very-many": "[os.mkdir(f'm{n}') for n in range(1000)]",
    "as-many-as-fit": """
        try:
            for n in range(20_000): os.close(os.open(f'm{n}', os.O_CREAT))
        except OSError: pass
    """,
    "files-of-holes": """
        open('holes', 'wb').truncate(1 << 19)
        for n in range(500): open(f'h{n}', 'wb').truncate(1 << 20)
    """,
    "a-file-that-does-not-rest": """
        import threading
        def write():
            while True:
                open('own.txt', 'w').write(str(time.time_ns()))
                os.replace('own.txt', 'own.tmp'); os.replace('own.tmp', 'own.txt')
        threading.Thread(target=write, daemon=True).start()
    """,
    "leaves-the-folder": "os.chdir('/'); os.chdir('/sandbox')",
    "takes-everything-away": """
        import shutil
        for name in os.listdir('.'): shutil.rmtree(name) if os.path.isdir(name) else os.remove(name)
    """,
    "closed-to-the-guest": "os.umask(0o777); open('closed', 'w').write('x'); os.mkdir('shut')",
}
for _name, _code in TRICKS.items():
    tricks.add(_name, _code)

FAMILIES = [read_only, tricks]
