"""A guest that tries what a session must not be able to do, one attempt at a time, and tells how each went.

`probe` runs it in a real session. Standard library only; each attempt returns what it reached, or raises when refused.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENOSYS, errno.EROFS, errno.ESRCH, errno.ENETUNREACH)


def _read_host_file(config: dict[str, Any]) -> str:
    with open(config["canary"]) as file:
        return f"read {len(file.read())} characters of {config['canary']}"


def _write_host_file(config: dict[str, Any]) -> str:
    descriptor = os.open(config["canary"], os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, b"reached")
    os.close(descriptor)
    return f"wrote to {config['canary']}"


def _write_outside(_: dict[str, Any]) -> str:
    for folder in ("/", "/usr/lib", "/dev", os.path.dirname(os.__file__)):
        try:
            descriptor = os.open(os.path.join(folder, "actloop-trial"), os.O_CREAT | os.O_WRONLY, 0o600)
        except OSError:
            continue
        os.close(descriptor)
        return f"made a file in {folder}"
    raise PermissionError(errno.EACCES, "no folder takes a file")


def _connect(config: dict[str, Any]) -> str:
    with socket.socket() as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", config["port"]))
    return "connected to a server of the host"


def _datagram(_: dict[str, Any]) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", ("127.0.0.1", 9))
    return "sent a datagram"


def _fork(_: dict[str, Any]) -> str:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return "forked"


def _execute(_: dict[str, Any]) -> str:
    os.posix_spawn("/bin/true", ["true"], {})
    return "started a program"


def _signal_host(config: dict[str, Any]) -> str:
    os.kill(config["host"], 0)
    return "could signal the host"


def _see_processes(_: dict[str, Any]) -> str:
    return f"sees {sum(name.isdigit() for name in os.listdir('/proc'))} processes"


def _root(_: dict[str, Any]) -> str:
    os.setuid(0)
    return "became root"


def _kernel(name: str, *arguments: int | bytes) -> Callable[[dict[str, Any]], str]:
    def attempt(_: dict[str, Any]) -> str:
        function: Any = getattr(ctypes.CDLL(None, use_errno=True), name)
        if function(*arguments) == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return f"{name} succeeded"

    return attempt


def _memory(config: dict[str, Any]) -> str:
    block = bytearray(2 * config["limits"]["memory"])
    return f"allocated {len(block)} bytes"


def _shared_memory(config: dict[str, Any]) -> str:
    with mmap.mmap(-1, 2 * config["limits"]["memory"]) as block:
        return f"mapped {len(block)} bytes"


def _descriptors(config: dict[str, Any]) -> str:
    opened: list[int] = []
    try:
        while len(opened) <= config["limits"]["files"]:
            opened.append(os.dup(0))
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return f"opened {len(opened)} files"


def _threads(config: dict[str, Any]) -> str:
    over = threading.Event()
    threads: list[threading.Thread] = []
    try:
        while len(threads) <= config["limits"]["processes"]:
            thread = threading.Thread(target=over.wait)
            thread.start()
            threads.append(thread)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return f"started {len(threads)} threads"


def _disk(config: dict[str, Any]) -> str:
    written = 0
    try:
        for number in range(4):
            with open(f"fill-{number}", "wb", buffering=0) as file:
                written += file.write(bytes(config["limits"]["disk"] // 2))
    finally:
        for number in range(4):
            if os.path.exists(f"fill-{number}"):
                os.unlink(f"fill-{number}")
    if written <= config["limits"]["disk"]:
        raise OSError(errno.ENOSPC, "the folder is full")
    return f"wrote {written} bytes"


def _raise_limit(_: dict[str, Any]) -> str:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 16, 1 << 16))
    return "raised a limit"


ATTEMPTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "read a file of the host": _read_host_file,
    "write a file of the host": _write_host_file,
    "write outside the scratch folder": _write_outside,
    "connect to a server of the host": _connect,
    "send a datagram": _datagram,
    "fork": _fork,
    "start a program": _execute,
    "signal the host": _signal_host,
    "see other processes": _see_processes,
    "become root": _root,
    "enter a namespace": _kernel("unshare", 0x10000000),
    "mount a file system": _kernel("mount", b"none", b"/", b"tmpfs", 0, b""),
    "attach to a process": _kernel("ptrace", 16, 1, 0, 0),
    "read the kernel's keys": _kernel("syscall", 219 if os.uname().machine == "aarch64" else 250, 0, -3, 0),
    "take twice its memory": _memory,
    "take memory that no limit counts": _shared_memory,
    "open too many files": _descriptors,
    "start too many threads": _threads,
    "fill the disk": _disk,
    "raise a limit": _raise_limit,
}
"""What must be refused, by name. The last ones are refused by limits."""


def _outcome(attempt: Callable[[dict[str, Any]], str], config: dict[str, Any]) -> tuple[bool, str]:
    """Whether the attempt was refused, and what it met or reached."""
    try:
        return False, attempt(config)
    except MemoryError:
        return True, "MemoryError"
    except (RuntimeError, ValueError) as error:  # no further thread, no higher limit
        return True, str(error)
    except OSError as error:
        refused = error.errno in _REFUSALS or error.errno in (errno.EMFILE, errno.ENOSPC, errno.EFBIG, errno.ENOMEM)
        return refused, error.strerror or str(error)


def _scratch() -> str:
    with open("trial", "w") as file:
        file.write("text")
    with open("trial") as file:
        kept = file.read()
    os.unlink("trial")
    return "" if kept == "text" else "what was written did not come back"


def serve(fd: int, config: dict[str, Any]) -> NoReturn:
    """Try everything once, send what happened as one line of JSON, and spin until killed."""
    outcomes = {name: _outcome(attempt, config) for name, attempt in ATTEMPTS.items()}
    try:
        scratch = _scratch()
    except OSError as error:
        scratch = str(error)
    report = {"attempts": outcomes, "environment": sorted(os.environ), "scratch": scratch}
    payload = json.dumps(report).encode()
    os.write(fd, struct.pack("!I", len(payload)) + payload)
    while True:
        pass
