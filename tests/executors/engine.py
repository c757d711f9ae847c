"""A container engine for tests, and an image for it that is made here, without any registry."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.executors.containers.address import why_closed
from actloop.executors.reaper import REAPER
from actloop.values.temporary import TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "localhost/actloop-test"

PACKAGES = ("numpy", "pandas", "pillow", "pip", "python-dateutil", "six", "tzdata")
"""What the image holds besides Python, as far as it is installed here."""

_OLD = 24 * 3600
"""Seconds after which an image that is not of these tests any more is removed."""

_LEFT_OUT = {
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "site-packages",
    "dist-packages",
}

_CONFIG = """
[containers]
default_ulimits = ["nofile=1024:1024"]
log_size_max = 100000
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""Of the engine that is started here: such as also runs as root in a machine without systemd, with cgroups of old."""


@cache
def why_no_engine() -> str:
    """Why there is no engine for tests; empty when there is one."""
    try:
        engine_url()
    except RuntimeError as error:
        return str(error)
    return ""


@cache
def engine_url() -> str:
    """The address of a running engine: that of `ACTLOOP_TEST_ENGINE`, or a podman's that is started and ended here.

    Raises:
        RuntimeError: There is none.
    """
    given = os.environ.get("ACTLOOP_TEST_ENGINE")
    if given:
        return given
    podman = shutil.which("podman")
    if podman is None or sys.platform != "linux":
        raise RuntimeError("no container engine: podman is not installed (scripts/get_podman.sh)")
    own = TemporaryFolder("podman")  # those of test runs that were killed go now
    folder = own.path
    (folder / "containers.conf").write_text(_CONFIG)
    address = folder / "podman.sock"
    environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
    log = (folder / "log").open("wb")
    tied = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []  # ends with tests that are killed
    service = subprocess.Popen(
        [*tied, podman, "system", "service", "--time=0", f"unix://{address}"],
        env=environment,
        stdout=log,
        stderr=log,
        cwd=folder,  # it leaves files where it runs
        start_new_session=True,
    )
    log.close()

    def end() -> None:
        REAPER.flush(10)
        service.terminate()
        service.wait(10)
        own.close()

    atexit.register(end)
    until = time.monotonic() + 20
    while why_closed(f"unix://{address}"):
        if service.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"no container engine: podman does not start: {(folder / 'log').read_text()[-500:]}")
        time.sleep(0.02)
    return f"unix://{address}"


@cache
def test_image() -> str:
    """The name of an image with this Python and some packages; made when the engine does not have it."""
    import docker

    client: Any = docker.DockerClient(base_url=engine_url(), timeout=120)
    try:
        made_of = [sys.version, Path(__file__).read_text("utf-8"), *(f"{name} {_version(name)}" for name in PACKAGES)]
        name = f"{NAME}-" + hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:12]
        if not client.images.list(name=name):
            for old in client.images.list(filters={"reference": f"{NAME}-*"}):
                with contextlib.suppress(Exception):  # another test run may use it
                    if time.time() - _made(old) > _OLD:  # a newer one may be that of another checkout
                        client.images.remove(old.id)
            with tempfile.TemporaryFile() as file:
                _write_tree(file)
                file.seek(0)
                client.api.import_image_from_data(file, repository=name)  # podman gives it the tag "latest" in any case
        return f"{name}:latest"
    finally:
        client.close()


def _made(image: Any) -> float:
    """When an image was made, in seconds since the epoch."""
    seconds = str(image.attrs["Created"])[:19]  # the rest is finer, and "Z"
    return datetime.fromisoformat(seconds).replace(tzinfo=UTC).timestamp()


def _version(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return ""


def _write_tree(file: Any) -> None:
    executable = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    packages = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix})) / "site-packages"
    paths = {path: path for path in (executable, *_tree(library), Path("/bin/sh").resolve())}
    for name in PACKAGES:
        if _version(name):
            paths |= {
                Path(str(entry.locate())).resolve(): packages / str(entry)
                for entry in distribution(name).files or []
                if not str(entry).startswith("..")
            }
    programs = [str(path) for path in paths if path.suffix == ".so" or path in (executable, Path("/bin/sh").resolve())]
    with tarfile.open(fileobj=file, mode="w") as archive:
        for folder in ("tmp", "workspace", "proc", "sys", "dev", "etc"):
            _add(archive, folder, kind=tarfile.DIRTYPE, mode=0o1777 if folder == "tmp" else 0o755)
        for folder in ("bin", "lib", "lib64", "sbin"):
            if Path("/", folder).is_symlink():
                _add(archive, folder, kind=tarfile.SYMTYPE, link=os.readlink(f"/{folder}"))
        _add(archive, "etc/passwd", b"root:x:0:0::/:/bin/sh\nsandbox:x:65532:65532::/tmp:/bin/sh\n")
        _add(archive, "etc/group", b"root:x:0:\nsandbox:x:65532:\n")
        _add(archive, "usr/bin/python3", kind=tarfile.SYMTYPE, link=str(executable))
        _add(archive, "usr/bin/sh", kind=tarfile.SYMTYPE, link="dash" if Path("/usr/bin/dash").exists() else "bash")
        for source, place in {**{library: library for library in _shared(programs)}, **paths}.items():
            if source.is_file():
                archive.add(source.resolve(), str(place).lstrip("/"), filter=_readable)


def _tree(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith("config-")]
        for name in files:
            if not name.endswith((".opt-1.pyc", ".opt-2.pyc", ".a")):
                yield Path(root, name)


def _shared(programs: list[str]) -> set[Path]:
    """The shared libraries that programs need, under the names by which they are looked for."""
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    return {
        Path(path).parent.resolve() / Path(path).name
        for path in re.findall(r"(?:=> |^\s)(/\S+) \(0x", listed, re.MULTILINE)
    }


def _readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode |= 0o444 | (0o111 if entry.mode & 0o100 else 0)
    entry.uid = entry.gid = 0
    return entry


def _add(
    archive: tarfile.TarFile,
    name: str,
    data: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    link: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, len(data)
    archive.addfile(entry, io.BytesIO(data))
