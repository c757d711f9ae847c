"""What to say when no sandbox can be started since too many files are open."""

from __future__ import annotations

import errno

from actloop.errors import SandboxUnavailableError

_FEW = 64
"""Files that a process must be able to have open for a sandbox to come up in any case."""


def none_left(error: OSError) -> SandboxUnavailableError | None:
    """The error to raise instead of the system's, when that says that no more files can be opened; None otherwise."""
    if error.errno == errno.ENFILE:
        return SandboxUnavailableError("No sandbox can be started: this machine has too many files open (fs.file-max)")
    if error.errno == errno.EMFILE:
        return SandboxUnavailableError(f"No sandbox can be started: {_allowance()[1]}")
    return None


def if_few() -> str:
    """What to add to an error that too small a limit of open files may have caused; empty with a usual limit."""
    limit, words = _allowance()
    return f"; {words}" if limit < _FEW else ""


def _allowance() -> tuple[float, str]:
    try:
        import resource
    except ImportError:  # no such limit on this system
        return float("inf"), "this process has too many files open"
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return float("inf"), "this process has too many files open"
    return limit, f"this process may have only {limit:,} files open at once; raise that limit (ulimit -n)"
