"""Container engines for tests, and an image for them that is made here, without any registry."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import os
import re
import shutil
import signal
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
    from collections.abc import Iterable, Iterator

NAME = "localhost/actloop-test"

PACKAGES = ("numpy", "pandas", "pillow", "pip", "python-dateutil", "six", "tzdata")
"""What the image holds besides Python, as far as it is installed here."""

_START = 60
"""Seconds that an engine may take to start."""

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

_MAYBE_LINKS = ("bin", "lib", "lib64", "sbin")

_PODMAN_CONFIG = """
[containers]
default_ulimits = ["nofile=1024:1024"]
log_size_max = 100000
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""Of the podman that is started here: such as also runs as root in a machine without systemd, with cgroups of old."""

_DOCKERD_OPTIONS = (
    *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
    *("--storage-driver=overlay2", "--exec-opt=native.cgroupdriver=cgroupfs", "--log-level=error"),
)
"""Of the Docker that is started here: it leaves the network of this machine alone, and needs no systemd."""

_APART = (
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("sh", "-c", 'mkdir data && mount -t tmpfs -o size=2g tmpfs data && "$@" & wait $!', "sh"),
)
"""How Docker is started: with processes and mounts of its own, which go with it however it ends, and with images in
memory, so that its driver works wherever temporary files lie."""

ENGINES = ("given",) if os.environ.get("ACTLOOP_TEST_ENGINE") else ("podman", "docker")
"""The engines that tests are held against: one that runs already, or those that are started and ended here."""


def why_no_engine(kind: str = "") -> str:
    """Why there is no engine for tests; empty when there is one. Argument as of `engine_url`."""
    try:
        engine_url(kind)
    except RuntimeError as error:
        return str(error)
    return ""


def engine_url(kind: str = "") -> str:
    """The address of a running engine, which is started when it is asked for first.

    Args:
        kind: One of `ENGINES`; by default the first of them that there is.

    Raises:
        RuntimeError: There is none.
    """
    reasons: list[str] = []
    for each in [kind] if kind else ENGINES:
        url, reason = _found(each)
        if not reason:
            return url
        reasons.append(reason)
    raise RuntimeError(reasons[0])


@cache
def _found(kind: str) -> tuple[str, str]:
    """The address of an engine, and why there is none; one of the two is empty."""
    if kind == "given":
        return os.environ["ACTLOOP_TEST_ENGINE"], ""
    try:
        return {"podman": _podman, "docker": _dockerd}[kind](), ""
    except RuntimeError as error:
        return "", str(error)


def _podman() -> str:
    podman = shutil.which("podman")
    if podman is None or sys.platform != "linux":
        raise RuntimeError("no container engine: podman is not installed (scripts/get_engines.sh)")
    own = TemporaryFolder("podman")  # those of test runs that were killed go now
    (own.path / "containers.conf").write_text(_PODMAN_CONFIG)
    address = f"unix://{own.path / 'podman.sock'}"
    environment = {**os.environ, "CONTAINERS_CONF": str(own.path / "containers.conf")}
    return _started([podman, "system", "service", "--time=0", address], address, own, signal.SIGTERM, environment)


def _dockerd() -> str:
    """A Docker of its own, beside one that may run here: with its own folders, and its own names in a containerd."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for program in ("dockerd", "unshare"):
        if sys.platform != "linux" or shutil.which(program, path=path) is None:
            raise RuntimeError(f"docker has no engine: {program} is not installed (scripts/get_engines.sh)")
    if os.geteuid():
        raise RuntimeError("docker has no engine: only root can start one beside others")
    own = TemporaryFolder("dockerd")
    (own.path / "daemon.json").write_text("{}")
    address = f"unix://{own.path / 'docker.sock'}"
    places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid", "config-file": "daemon.json"}
    options = [*_DOCKERD_OPTIONS, *(f"--{option}={own.path / name}" for option, name in places.items())]
    options += [f"--containerd-{kind}namespace=actloop-{kind}{os.getpid()}" for kind in ("", "plugins-")]
    command = [*_APART, "dockerd", *options, f"--host={address}"]
    try:
        url = _started(command, address, own, signal.SIGKILL, {**os.environ, "PATH": path})
        _check_runs(url)
    except RuntimeError as error:
        raise RuntimeError(f"docker has no engine: {error}") from error
    return url


def _check_runs(url: str) -> None:
    """See that an engine that has started can run a container here: its kernel, or a sandbox around, may not let it.

    Raises:
        RuntimeError: It cannot.
    """
    import docker
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    client: Any = docker.DockerClient(base_url=url, timeout=120)
    try:
        client.containers.run(image_of_tests(url), ["python3", "-c", ""], remove=True, network_mode="none")
    except (DockerException, RequestException) as error:
        raise RuntimeError(f"it runs no container here: {str(error)[:500]}") from error
    finally:
        client.close()


def _started(
    command: list[str],
    address: str,
    own: TemporaryFolder,
    ends: signal.Signals,
    environment: dict[str, str] | None = None,
) -> str:
    """The address of an engine that is started in a folder of its own, and ends with the tests.

    Args:
        command: Starts it.
        address: Where it then answers.
        own: Where it runs.
        ends: What ends it.
        environment: Its variables; by default, those of this process.

    Raises:
        RuntimeError: It does not start.
    """
    tied = (
        ["setpriv", "--pdeathsig", ends.name[3:]] if shutil.which("setpriv") else []
    )  # ends with tests that are killed
    with (own.path / "log").open("wb") as log:
        service = subprocess.Popen(
            [*tied, *command],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=own.path,  # it leaves files where it runs
            start_new_session=True,
        )

    def end() -> None:
        REAPER.flush(10)
        service.send_signal(ends)
        try:
            service.wait(30)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()
        own.close()

    atexit.register(end)
    until = time.monotonic() + _START
    while why_closed(address):
        if service.poll() is not None or time.monotonic() > until:
            said = (own.path / "log").read_text(errors="replace")[-500:]
            raise RuntimeError(f"it does not start: {said}")
        time.sleep(0.02)
    return address


@cache
def image_of_tests(url: str = "") -> str:
    """The name of an image with this Python and some packages; made when the engine does not have it.

    Args:
        url: Address of the engine; by default that of `engine_url()`.
    """
    import docker

    client: Any = docker.DockerClient(base_url=url or engine_url(), timeout=120)
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
                if not str(entry).startswith("..") and entry.parts[1:2] != ("tests",)
            }
    programs = [str(path) for path in paths if path.suffix == ".so" or path in (executable, Path("/bin/sh").resolve())]
    places = {**{path: path for path in _shared(programs)}, **paths}
    links = {folder: os.readlink(f"/{folder}") for folder in _MAYBE_LINKS if Path("/", folder).is_symlink()}
    with tarfile.open(fileobj=file, mode="w") as archive:
        for folder, mode in _folders(places.values()).items():
            if folder not in links:
                _add(archive, folder, kind=tarfile.DIRTYPE, mode=mode)
        for folder, link in links.items():
            _add(archive, folder, kind=tarfile.SYMTYPE, link=link)
        _add(archive, "etc/passwd", b"root:x:0:0::/:/bin/sh\nsandbox:x:65532:65532::/tmp:/bin/sh\n")
        _add(archive, "etc/group", b"root:x:0:\nsandbox:x:65532:\n")
        _add(archive, "usr/bin/python3", kind=tarfile.SYMTYPE, link=str(executable))
        _add(archive, "usr/bin/sh", kind=tarfile.SYMTYPE, link="dash" if Path("/usr/bin/dash").exists() else "bash")
        for source, place in places.items():
            if source.is_file():
                archive.add(source.resolve(), str(place).lstrip("/"), filter=_readable)


def _folders(files: Iterable[Path]) -> dict[str, int]:
    """The folders that an image needs, parents first, and their modes: Docker makes those that are missing for root."""
    parents = {parent for place in (Path("/usr/bin/sh"), *files) for parent in place.parents}
    modes = {str(folder).lstrip("/"): 0o755 for folder in sorted(parents - {Path("/")})}
    return modes | dict.fromkeys(("workspace", "proc", "sys", "dev", "etc"), 0o755) | {"tmp": 0o1777}


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
