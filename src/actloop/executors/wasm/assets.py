"""What it takes to run Pyodide: Deno's program, and Pyodide's files, fetched once into the user's cache."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from actloop.errors import MissingExtraError, SandboxUnavailableError
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

PYODIDE = "314.0.7"
"""Version of Pyodide, on npm."""

PYTHON = (3, 14)
"""Version of Python that it is."""

INFO = {"abi_version": "2026_0", "arch": "wasm32", "platform": "emscripten_5_0_3", "python": "3.14.2"}
"""What Pyodide wants to be told of itself; as in its own `pyodide-lock.json`."""

FILES = {
    "pyodide.mjs": "6f1d60f7bf529beb300f0f47983c921d3982363640ba20af0e38efdddbc66109",
    "pyodide.asm.mjs": "f7cdc8ece80678ceb712f8e65ebe6d3a83203a180c399865f49612a051693635",
    "pyodide.asm.wasm": "cc36e3cab04fdfc9a63ff13eb52eae2b911bf46c025cc7b281f394bd3de1d5e6",
    "python_stdlib.zip": "fa1957e5777068fc4f7437f96d860ae2fbe9c19732ba06c84e004ec16dd7dd7a",
}
"""Its files that are needed, with the SHA-256 of each."""

FETCH_SECONDS = 600.0
"""Seconds that fetching them may take."""


def cache_folder() -> Path:
    """Where everything of this executor lies: a part of actloop's cache, which `ACTLOOP_CACHE` moves."""
    from actloop.models.embedded import cache_folder

    return cache_folder() / "wasm"


# ---- Deno


def find_deno(path: str = "deno") -> str:
    """Deno's program.

    Args:
        path: Its path or name. Under the name "deno", the one that the extra `wasm` installs comes before others.

    Raises:
        MissingExtraError: It is not installed.
        SandboxUnavailableError: There is none at that path.
    """
    if path == "deno":
        try:
            from deno import find_deno_bin  # pyright: ignore[reportMissingTypeStubs]
        except ImportError:
            pass
        else:
            try:
                return find_deno_bin()
            except FileNotFoundError:
                pass
    found = shutil.which(path)
    if found is not None:
        return os.path.abspath(found)
    if path == "deno":
        raise MissingExtraError("deno", "wasm", "running programs in WebAssembly")
    raise SandboxUnavailableError(f"deno_path={path!r}: there is no such program")


# ---- Pyodide


def pyodide_folder() -> Path:
    """Where Pyodide's files are, or will be."""
    return cache_folder() / f"pyodide-{PYODIDE}"


def has_pyodide() -> bool:
    """Whether Pyodide has been fetched."""
    return all((pyodide_folder() / name).is_file() for name in FILES)


def ensure_pyodide(deno: str, say: Callable[[str], None] = lambda _: None) -> Path:
    """The folder of Pyodide's files, which are fetched first if they are not there, and checked.

    They come from the npm registry through Deno, which heeds `NPM_CONFIG_REGISTRY` and `.npmrc`.

    Args:
        deno: Deno's program.
        say: Called with what happens, if that takes a while.

    Raises:
        SandboxUnavailableError: They cannot be fetched, or are not what they should be.
    """
    folder = pyodide_folder()
    if not has_pyodide():
        with locked("pyodide"):
            if not has_pyodide():
                _fetch(deno, folder, say)
    check_files(folder)
    return folder


@functools.cache
def check_files(folder: Path) -> None:
    """Hold Pyodide's files against their hashes; once in a process.

    Raises:
        SandboxUnavailableError: One differs, or is not there.
    """
    for name, expected in FILES.items():
        try:
            actual = sha256(folder / name)
        except OSError as error:
            raise SandboxUnavailableError(f"Pyodide's file {folder / name} cannot be read: {error}") from None
        if actual != expected:
            raise SandboxUnavailableError(
                f"{folder / name} is not the file of Pyodide {PYODIDE}: delete {folder}, and it is fetched anew"
            )


def _fetch(deno: str, folder: Path, say: Callable[[str], None]) -> None:
    say(f"Fetching Pyodide {PYODIDE} (13 MB, once) ...")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as temporary:
        work = Path(temporary)
        command = [deno, "cache", "--no-config", "--no-lock", f"npm:pyodide@{PYODIDE}"]
        environment = {**os.environ, "DENO_DIR": str(work / "deno"), "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"}
        try:
            done = subprocess.run(
                command,
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=FETCH_SECONDS,
                check=False,
            )
            said = done.stderr.decode(errors="replace").strip() if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
        found = next((work / "deno").glob(f"npm/**/pyodide/{PYODIDE}/pyodide.asm.wasm"), None)
        if said or found is None:
            reason = cut(said.splitlines()[-1].strip(), 500) if said else "it is not there"
            raise SandboxUnavailableError(
                f"Pyodide {PYODIDE} could not be fetched from the npm registry: {reason}. It is needed once: connect "
                "this machine, or name a registry that it reaches in NPM_CONFIG_REGISTRY, or unpack the npm package "
                f"pyodide@{PYODIDE} into {folder}"
            )
        check_files(found.parent)
        ready = work / "ready"
        ready.mkdir()
        for name in FILES:
            shutil.move(found.with_name(name), ready / name)
        shutil.rmtree(folder, ignore_errors=True)  # of one that was damaged
        ready.rename(folder)


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(name: str) -> Generator[None]:
    """Let one process at a time make what is missing in the cache."""
    import fcntl

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
