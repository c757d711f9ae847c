"""Images of sandboxes: built from a small Dockerfile once for each content, or fetched."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actloop.executors.containers.engine import Engine

BASE = "docker.io/library/python:3.12-slim"
"""What images are built on unless told otherwise."""

NAME = "localhost/actloop-sandbox"
"""Name of images that are built, unless told otherwise; the tag is a hash of their content."""

CONTENT = "actloop.content"
"""Label of images: a hash of what they were built from."""


def shipped() -> str:
    """The Dockerfile that comes with this package."""
    return Path(__file__).with_name("Dockerfile").read_text("utf-8")


def get(engine: Engine, name: str, say: Callable[[str], None]) -> dict[str, Any]:
    """What the engine knows of an image, which is fetched when it is not there.

    Raises:
        SandboxUnavailableError: It cannot be had.
    """
    try:
        return engine.api.inspect_image(name)
    except engine.sdk.errors.NotFound:
        say(f"Fetching the image {name}...")
    except engine.errors as error:
        raise engine.unavailable(error) from error
    try:
        repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "latest")
        _follow(engine.api.pull(repository, tag=tag, stream=True, decode=True), say)
        return engine.api.inspect_image(name)
    except (*engine.errors, _BuildError) as error:
        raise SandboxUnavailableError(
            f"The image {name!r} is neither here nor can it be fetched: {getattr(error, 'explanation', None) or error}"
        ) from error


def build(
    engine: Engine,
    say: Callable[[str], None],
    *,
    packages: Sequence[str] = (),
    name: str | None = None,
    base: str | None = None,
    dockerfile: str | None = None,
) -> str:
    """The name of an image with some packages; built when there is none of the same content.

    Args:
        engine: Where.
        say: Told of the progress.
        packages: What pip installs, on top.
        name: Of the image; a name of its content by default.
        base: The image to build on.
        dockerfile: To build that image from; the one that comes with this package installs the packages on it.

    Raises:
        SandboxUnavailableError: It cannot be built.
    """
    parts = [shipped(), dockerfile or "", base or BASE, *packages]
    content = _hash(parts)
    wanted = name or f"{NAME}:{content}"
    if _content_of(engine, wanted) == content:
        return wanted
    if dockerfile is not None:
        below = f"{NAME}-base:{content}" if packages else wanted
        _build(engine, say, below, dockerfile, {}, content, ())
        if not packages:
            return wanted
        base = below
    _build(engine, say, wanted, shipped(), {"BASE": base or BASE}, content, packages)
    return wanted


def has_built(engine: Engine) -> bool:
    """Whether the image is there that programs run in unless told otherwise.

    Raises:
        SandboxUnavailableError: The engine cannot say.
    """
    content = _hash([shipped(), "", BASE])
    return _content_of(engine, f"{NAME}:{content}") == content


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _content_of(engine: Engine, name: str) -> str:
    try:
        image = engine.api.inspect_image(name)
    except engine.sdk.errors.NotFound:
        return ""
    except engine.errors as error:
        raise engine.unavailable(error) from error
    return labels_of(image).get(CONTENT, "")


def labels_of(image: dict[str, Any]) -> dict[str, str]:
    """The labels of an image."""
    config: dict[str, Any] = image.get("Config") or {}
    return config.get("Labels") or {}


class _BuildError(Exception):
    pass


def _build(
    engine: Engine,
    say: Callable[[str], None],
    name: str,
    dockerfile: str,
    arguments: dict[str, str],
    content: str,
    packages: Iterable[str],
) -> None:
    say(f"Building the image {name}...")
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for file, text in (("Dockerfile", dockerfile), ("requirements.txt", "".join(f"{p}\n" for p in packages))):
            data = text.encode()
            entry = tarfile.TarInfo(file)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    context.seek(0)
    try:
        output = engine.api.build(
            fileobj=context,
            custom_context=True,
            tag=name,
            buildargs=arguments,
            labels={CONTENT: content},
            rm=True,
            forcerm=True,
            decode=True,
        )
        _follow(output, say)
    except (*engine.errors, _BuildError) as error:
        reason = getattr(error, "explanation", None) or error
        raise SandboxUnavailableError(
            f"The image {name} cannot be built; image= names one that is here already, with Python 3.11 or later. The "
            f"engine said: {reason}"
        ) from error


def _follow(output: Iterable[Any], say: Callable[[str], None]) -> None:
    """Tell of the progress that an engine reports, line by line."""
    last: list[str] = []
    failed = ""
    for entry in output:  # to its end: only then is the connection free
        if not isinstance(entry, dict):
            continue
        report = cast("dict[str, Any]", entry)
        if report.get("error"):
            failed = "\n".join([*last[-8:], str(report["error"]).strip()])
        line = str(report.get("stream") or report.get("status") or "").rstrip()
        if line and not report.get("progressDetail"):
            last.append(line)
            say(line)
    if failed:
        raise _BuildError(failed)
