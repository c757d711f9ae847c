"""Becomes Deno, confined by the kernel before: a second wall behind Deno's own, where Linux has what it takes.

Run by its path in an isolated Python, as `launch.py PLAN COMMAND...`. The plan, as JSON, names what Deno may read. What
cannot be had is said on standard error, a line each; Deno starts all the same.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LOADERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store", "/gnu/store")
"""Where the dynamic loader and the system's libraries may lie."""

SYSTEM = ("/etc/ld.so.cache", "/proc/self", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/dev/urandom")
"""What Deno and V8 read of the system."""

_NEW_USER, _NEW_IPC, _NEW_NET = 0x10000000, 0x08000000, 0x40000000
_NO_NEW_PRIVILEGES = 38


def main() -> None:
    """Confine this process and become Deno."""
    plan, command = json.loads(sys.argv[1]), sys.argv[2:]
    kernel = _kernel()
    _attempt("no network of its own", lambda: _leave_network(kernel.syscalls))
    _attempt("privileges can be gained", lambda: kernel.syscalls.prctl(_NO_NEW_PRIVILEGES, 1))
    _attempt("files are open to it", lambda: _close_files(kernel.landlock, plan, command[0]))
    os.execv(command[0], command)  # noqa: S606 - there is no shell to be had


def _attempt(without: str, step: Callable[[], object]) -> None:
    try:
        step()
    except (OSError, NotImplementedError) as error:
        os.write(2, f"{without}: {error}\n".encode())


def _kernel() -> Any:
    """The package of the kernel sandbox, which lies beside: nothing of actloop is found by name in isolated mode."""
    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kernel")
    spec = spec_from_file_location("kernel", f"{folder}/__init__.py", submodule_search_locations=[folder])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["kernel"] = package = module_from_spec(spec)
    spec.loader.exec_module(package)
    __import__("kernel.landlock")
    return package


def _leave_network(syscalls: Any) -> None:
    """Enter a network without any way out: as root at once, else in a user namespace."""
    try:
        syscalls.call("unshare", _NEW_NET | _NEW_IPC)
    except OSError:
        syscalls.call("unshare", _NEW_USER | _NEW_NET | _NEW_IPC)


def _close_files(landlock: Any, plan: dict[str, Any], deno: str) -> None:
    landlock.restrict((*LOADERS, *SYSTEM, *plan["read"]), ("/dev/null", *plan["write"]), executable=(deno, *LOADERS))


if __name__ == "__main__":
    main()
