"""The environment of the peer: smolagents from the package index, made on first use. The evaluation uses it, too."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import venv
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

PEER = "smolagents 1.24.0"
REQUIREMENT = "smolagents[docker,openai]==1.24.0"
DENO = "deno>=2.9"  # for its WebAssembly executor


class PeerUnavailableError(RuntimeError):
    """The peer's environment cannot be made; the message says why and what to do."""


def peer_python() -> Path:
    """The interpreter of an environment that holds the peer; its version of CPython is that of the caller.

    The environment lies in the user's cache folder and is made on first use, with pip's own progress on standard error.

    Raises:
        PeerUnavailableError: It cannot be made.
    """
    from actloop.models.embedded import cache_folder

    folder = cache_folder() / "peer-smolagents"
    python = folder / "bin" / "python"
    made_of = f"{REQUIREMENT} and {DENO} on CPython {sys.version.split()[0]} at {sys.base_prefix}"
    with _locked(folder):
        mark = folder / "complete"
        if not mark.exists() or mark.read_text() != made_of:
            _make(folder, python)
            mark.write_text(made_of)
    return python


def _make(folder: Path, python: Path) -> None:
    _tell(f"Installing {PEER} into {folder} (once; about 300 MB on disk) ...")
    try:
        venv.EnvBuilder(clear=True, with_pip=True).create(folder)
        command = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", REQUIREMENT, DENO]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)
        # Compiled now, so that no measurement pays for it.
        subprocess.run([python, "-m", "compileall", "-q", folder / "lib"], stdout=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeerUnavailableError(
            f"{PEER} cannot be installed into {folder}: {error}. See pip's message above; without it, use --no-peer."
        ) from error


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Held by one process at a time, so that two do not make the same environment."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell(f"Another process makes {folder}; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
