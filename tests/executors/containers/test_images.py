"""Images: built once, with packages, from a Dockerfile of the user, and those that do not serve."""

from __future__ import annotations

import contextlib
import io
import tarfile
import uuid
import zipfile
from typing import TYPE_CHECKING

import pytest

from actloop.errors import SandboxUnavailableError
from actloop.executors.containers import images
from actloop.executors.docker import DockerExecutor

from ..lines import Lines
from .kit import api_errors, failing, needs_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.executors.containers.engine import Engine


@needs_engine
def test_the_image_is_built_once_with_the_packages(
    make: Callable[..., DockerExecutor], engine: Engine, image: str
) -> None:
    base = image_with_wheel(engine, image)
    logger = Lines()
    first = make(["actloop_probe"], logger, base_image=base)
    assert first("import actloop_probe; actloop_probe.VALUE").output == 42
    assert any("Building the image" in line for line in logger.lines)
    assert any("actloop_probe" in line or "actloop-probe" in line for line in logger.lines)
    again = Lines()
    second = make(["actloop_probe"], again, base_image=base)
    assert (second.image_name, again.lines) == (first.image_name, [])
    other = make(base_image=base)
    assert other.image_name != first.image_name
    assert "actloop_probe" in failing(other, "import actloop_probe")
    assert other.install_packages(["actloop_probe"]) == ["actloop_probe"]
    assert other("import actloop_probe; actloop_probe.VALUE").output == 42
    for name in {other.image_name, first.image_name, base}:
        with contextlib.suppress(api_errors()):
            engine.api.remove_image(name, force=True)


def image_with_wheel(engine: Engine, image: str) -> str:
    """The image of tests with a package's wheel, from which pip installs it without any index."""
    name = f"localhost/actloop-test-wheel:{uuid.uuid4().hex}"
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        info = "actloop_probe-1.dist-info/"
        archive.writestr("actloop_probe.py", "VALUE = 42\n")
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: actloop-probe\nVersion: 1\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(info + "RECORD", "actloop_probe.py,,\n")
    dockerfile = f"FROM {image}\nCOPY *.whl /wheels/\nENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels\n"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for file, data in (("Dockerfile", dockerfile.encode()), ("actloop_probe-1-py3-none-any.whl", wheel.getvalue())):
            entry = tarfile.TarInfo(file)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    context.seek(0)
    for line in engine.api.build(fileobj=context, custom_context=True, tag=name, rm=True, decode=True):
        assert "error" not in line, line
    return name


@needs_engine
def test_a_dockerfile_of_the_user(make: Callable[..., DockerExecutor], image: str) -> None:
    dockerfile = f'FROM {image}\nENV MADE_BY=user\nENTRYPOINT ["false"]\n'
    logger = Lines()
    executor = make(["*"], logger, dockerfile_content=dockerfile, image_name="localhost/actloop-mine:test")
    assert executor.image_name == "localhost/actloop-mine:test"
    assert executor("import os; os.environ['MADE_BY']").output == "user"
    again = Lines()
    make(logger=again, dockerfile_content=dockerfile, image_name="localhost/actloop-mine:test")
    assert again.lines == []
    make(logger=again, build_new_image=False, image_name="localhost/actloop-mine:test")
    assert again.lines == []


@needs_engine
def test_a_dockerfile_that_fails_says_where(make: Callable[..., DockerExecutor], image: str) -> None:
    with pytest.raises(SandboxUnavailableError, match="cannot be built"):
        make(dockerfile_content=f"FROM {image}\nRUN false\n", image_name="localhost/actloop-broken:test")


@needs_engine
def test_an_image_without_python_says_so(make: Callable[..., DockerExecutor]) -> None:
    executor = make(python="python2")
    with pytest.raises(SandboxUnavailableError, match="python2"):
        executor("1")


@needs_engine
def test_an_image_with_an_old_python_says_so(make: Callable[..., DockerExecutor], image: str) -> None:
    script = "#!/bin/sh\\necho 'no -I here' >&2\\n"
    dockerfile = (
        f'FROM {image}\nUSER root\nRUN printf "{script}" > /usr/bin/python1 && '
        "python3 -c \"import os; os.chmod('/usr/bin/python1', 0o755)\"\n"
    )
    executor = make(dockerfile_content=dockerfile, image_name="localhost/actloop-old:test", python="python1")
    with pytest.raises(SandboxUnavailableError, match="no -I here"):
        executor("1")


@needs_engine
def test_an_image_that_there_is_not(make: Callable[..., DockerExecutor]) -> None:
    with pytest.raises(SandboxUnavailableError, match="neither here nor can it be fetched"):
        make(image="localhost/no-such-image:1")


@needs_engine
def test_packages_cannot_be_put_into_an_image_of_the_user(make: Callable[..., DockerExecutor]) -> None:
    with pytest.raises(ValueError, match=r"put .* into it"):
        make().install_packages(["requests"])


def test_the_shipped_dockerfile_needs_no_root_and_installs_packages() -> None:
    text = images.shipped()
    assert "\nUSER 65532:65532\n" in text
    assert "requirements.txt" in text


@needs_engine
def test_what_the_first_session_has_to_build_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    monkeypatch.setattr(images, "BASE", f"localhost/never-built:{uuid.uuid4().hex}")
    assert not images.has_built(engine)
    assert DockerExecutor.to_fetch().startswith("builds its image")
