"""The first program in the sandbox of a cloud service: prepares the sandbox, then becomes the guest's keeper.

The host sends this file's text, with that of the guest, through the standard input of a Python that does no more than
read and run it (`cloud.command`). So a sandbox needs nothing but Python, no file has to be put there first, and
whatever Python it is can say that it is too old: this file keeps to what old ones understand.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

_NEW_NET, _NEW_USER = 0x40000000, 0x10000000
_NO_NEW_PRIVILEGES = 38
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41


def boot(options: dict[str, Any], source: str) -> None:
    """Prepare the sandbox and run the guest's keeper; never returns.

    Args:
        options: `keep` (the keeper's options), `marker` (what is written when the stream begins), `packages` (pairs of
            a module and of what to install if that cannot be imported), `network` ("open"; "close", which must
            succeed; or "try", for services that close it themselves).
        source: The guest, as one file.
    """
    import json
    import tempfile

    if sys.version_info < (3, 11):  # noqa: UP036 - of the sandbox, not of this machine
        _fail("its Python is {}.{}, and programs need 3.11 or later".format(*sys.version_info))
    os.umask(0o022)
    _install(options["packages"])
    if options["network"] != "open":
        _close_network(options["network"] == "close")
    _prctl(_NO_NEW_PRIVILEGES)
    folder = tempfile.mkdtemp(prefix="session-")
    os.environ["HOME"] = options["keep"]["config"]["folder"] = folder
    os.write(1, "\n{}\n".format(options["marker"]).encode())
    sys.argv = ["guest.py", "--keep", json.dumps(options["keep"])]
    exec(compile(source, "guest.py", "exec"), {"__name__": "__main__"})  # noqa: S102 - the guest, from the host


def _fail(reason: str) -> NoReturn:
    os.write(2, f"\nactloop: {reason}\n".encode())
    os._exit(78)


def _install(packages: list[tuple[str, str]]) -> None:
    """Install what is not there yet; what pip says goes to standard error."""
    import importlib.util
    import subprocess

    wanted: list[str] = []
    for module, package in packages:
        try:
            there = bool(module) and importlib.util.find_spec(module) is not None
        except (ImportError, ValueError):
            there = False
        if not there:
            wanted.append(package)
    if not wanted:
        return
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--"]
    environment = dict(os.environ, PIP_BREAK_SYSTEM_PACKAGES="1", PIP_ROOT_USER_ACTION="ignore")
    done = subprocess.run(command + wanted, stdin=subprocess.DEVNULL, stdout=2, env=environment)
    if done.returncode:
        _fail("pip could not install {}".format(", ".join(wanted)))
    importlib.invalidate_caches()


def _close_network(must: bool) -> None:
    """Leave the network of the sandbox for one that holds nothing but a loopback of its own."""
    try:
        import ctypes
        import fcntl
        import socket
        import struct

        system = ctypes.CDLL(None, use_errno=True)
        if system.unshare(_NEW_NET) and system.unshare(_NEW_NET | _NEW_USER):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            fcntl.ioctl(probe, _SET_FLAGS, struct.pack("16sH14x", b"lo", _UP_AND_RUNNING))
    except (ImportError, OSError, AttributeError) as error:
        if must:
            _fail(f"its network cannot be closed ({error})")


def _prctl(operation: int) -> None:
    """Turn something on for this process and its children, where the system has it."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(operation, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass
