"""Packages for programs in Pyodide: wheels of Python alone or built for it, which pip fetches on the host."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from actloop.errors import InterpreterError
from actloop.executors.wasm import assets
from actloop.values.cuts import cut_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_TAG = "{}{}".format(*assets.PYTHON)
_PLATFORM = f"pyemscripten_{assets.INFO['abi_version']}_{assets.INFO['arch']}"
_WHICH = (
    *("--only-binary=:all:", "--implementation", "cp", "--python-version", "{}.{}".format(*assets.PYTHON)),
    *("--abi", f"cp{_TAG}", "--abi", "abi3", "--abi", "none", "--platform", _PLATFORM, "--platform", "any"),
)
"""Wheels that Pyodide can take, as pip is told of them."""


def ensure_packages(wanted: Sequence[str], say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Wheels of some packages and of all that they need, fetched on first use.

    Args:
        wanted: Packages, requirements as pip understands them, or paths of wheels.
        say: Called with what happens, if that takes a while.

    Raises:
        InterpreterError: One cannot be had for Pyodide.
    """
    wheels = check_wheels(wanted)
    names = sorted(name for name in wanted if not name.endswith(".whl"))
    if not names:
        return wheels
    key = hashlib.sha256("\n".join([_PLATFORM, *names]).encode()).hexdigest()[:20]
    folder = assets.cache_folder() / f"packages-{key}"
    if not folder.is_dir():
        with assets.locked(folder.name):
            if not folder.is_dir():
                say(f"Fetching {', '.join(names)} for Pyodide (once) ...")
                _download(names, folder)
    return [*wheels, *sorted(folder.glob("*.whl"))]


def check_wheels(wanted: Sequence[str]) -> list[Path]:
    """The wheels among what is wanted that are given by their paths.

    Raises:
        InterpreterError: There is none at that path.
    """
    wheels = [Path(name) for name in wanted if name.endswith(".whl")]
    for wheel in wheels:
        if not wheel.is_file():
            raise InterpreterError(f"There is no wheel {wheel}")
    return wheels


def _download(names: Sequence[str], folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="pip-") as work:
        target = Path(work) / "wheels"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, *_WHICH, "--dest", str(target), "--", *names],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
            reason = cut_before(" ".join(lines), 500) or "pip failed"
            raise InterpreterError(
                f"{', '.join(names)} cannot be had for Pyodide {assets.PYODIDE}: {reason}. It takes wheels of Python "
                f"alone and wheels for {_PLATFORM}; name another version, or the path of a wheel, in additional_imports"
            )
        target.mkdir(exist_ok=True)
        target.rename(folder)


def modules_of(wheels: Iterable[Path]) -> list[str]:
    """Modules that can be imported from wheels."""
    import zipfile

    found: set[str] = set()
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                top, _, rest = name.partition("/")
                if rest and not top.endswith((".dist-info", ".data")):
                    found.add(top)
                elif not rest and top.endswith((".py", ".so")):
                    found.add(top.partition(".")[0])
    return sorted(found)
