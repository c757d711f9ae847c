"""What cloud services refuse, and what goes wrong on the way: said plainly, with nothing left behind."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.cloud.service import Fault
from tests.executors.driving import WAITER
from tests.executors.lines import Lines

from actloop.errors import AgentError, InterpreterError, SandboxUnavailableError
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.executors.cloud.conftest import Cloud


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can read; pytest's own are only its user's."""
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


ANSWERS = [
    (401, '{"code": 401, "message": "nope"}', "refused"),
    (402, '{"code": 402, "message": "pay first"}', "plan.*pay first"),
    (403, '{"code": 403, "message": "too many"}', "plan.*too many"),
    (404, '{"code": 404, "message": "what image"}', "404.*what image"),
    (429, '{"code": 429, "message": "slow down"}', "429"),
    (500, '{"code": 500, "message": "broken"}', "broken"),
    (503, '{"code": 503, "message": "full"}', "503"),
    (500, "<html>oops</html>", "could not make a sandbox"),
    (200, "not JSON at all", "could not make a sandbox"),
    (200, "[]", "could not make a sandbox"),
]


@pytest.mark.parametrize(("status", "text", "words"), ANSWERS)
def test_an_answer_that_is_an_error_is_said_plainly(status: int, text: str, words: str, cloud: Cloud) -> None:
    executor = cloud.make()
    cloud.service.faults.append(Fault(cloud.create, status, text))
    with pytest.raises(SandboxUnavailableError, match=f"(?s){words}") as caught:
        executor("1")
    assert cloud.kind.service in caught.value.message
    assert not isinstance(caught.value, InterpreterError)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    cloud.service.faults.clear()
    assert executor("1").output == 1


def test_no_message_shows_the_key(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    key = cloud.service.options["api_key"]
    cloud.service.faults.append(Fault(cloud.create, 400, f'{{"code": 400, "message": "bad key {key} here"}}'))
    with caplog.at_level(logging.DEBUG), pytest.raises(AgentError) as caught:
        cloud.make()("1")
    assert key not in str(caught.value)
    assert "***" in str(caught.value)
    assert key not in caplog.text


def test_a_wrong_key_is_refused_by_the_service(cloud: Cloud) -> None:
    with pytest.raises(SandboxUnavailableError, match=r"refused .*401"):
        cloud.make(api_key="wrong-key-0123")("1")


def test_a_service_that_cannot_be_reached_is_named(cloud: Cloud) -> None:
    nowhere = "http://127.0.0.1:9"
    address: dict[str, Any] = {"api_url": nowhere} if cloud.kind.service == "E2B" else {"base_url": nowhere}
    with pytest.raises(SandboxUnavailableError, match=f"{cloud.kind.service} cannot be reached"):
        cloud.make(**address)("1")


def test_an_image_without_python_is_named(cloud: Cloud) -> None:
    cloud.service.python = None
    with pytest.raises(SandboxUnavailableError, match=r"(?s)cannot run programs.*python3.*not found"):
        cloud.make()("1")


def test_an_image_with_an_old_python_is_named(cloud: Cloud, shared: Path) -> None:
    script = shared / "python"
    script.write_text(
        f'#!/bin/sh\nshift 2\nexec {sys.executable} -I -c "import sys; sys.version_info = (3, 9, 2); $1"\n'
    )
    script.chmod(0o755)
    cloud.service.python = str(script)
    with pytest.raises(SandboxUnavailableError, match=r"Python is 3\.9.*3\.11"):
        cloud.make()("1")


def test_a_sandbox_that_takes_too_long_to_start_is_given_up(cloud: Cloud) -> None:
    cloud.service.python = "cat > /dev/null #"
    with pytest.raises(SandboxUnavailableError, match="in time"):
        cloud.make(start_timeout=0.5)("1")
    cloud.service.wait_empty()


@pytest.mark.parametrize("what", ["write", "stream"])
@pytest.mark.parametrize(("status", "text"), [(500, "{}"), (404, '{"message": "gone"}'), (200, "garbage")])
def test_what_fails_after_the_sandbox_was_created_removes_it(what: str, status: int, text: str, cloud: Cloud) -> None:
    cloud.service.faults.append(Fault(getattr(cloud, what), status, text))
    with pytest.raises(SandboxUnavailableError):
        cloud.make(start_timeout=5)("1")
    cloud.service.wait_empty()
    assert len(cloud.service.asked(cloud.remove)) == 1


def test_a_sandbox_whose_creation_was_not_answered_is_removed(cloud: Cloud) -> None:
    cloud.service.faults.append(Fault(cloud.create, drop=True))
    with pytest.raises(SandboxUnavailableError):
        cloud.make()("1")
    assert cloud.service.machines
    cloud.service.wait_empty()


def test_a_write_that_fails_in_the_middle_loses_the_session(cloud: Cloud) -> None:
    executor = cloud.make()
    executor("x = 1")
    cloud.service.faults.append(Fault(cloud.write, 500, "{}"))
    with pytest.raises(InterpreterError, match="gone"):
        executor("x")
    cloud.service.faults.clear()
    assert executor("2").output == 2


def garbage(_piece: bytes) -> bytes:
    return b"\xff\xfe garbage \x00" * 50


def half(piece: bytes) -> bytes:
    return piece[: len(piece) // 2]


def whole(piece: bytes) -> bytes:
    return piece


def not_there(_name: str) -> None:
    return None


@pytest.mark.parametrize("spoil", [garbage, half])
def test_a_stream_that_breaks_the_protocol_loses_the_session(spoil: Any, cloud: Cloud) -> None:
    executor = cloud.make(timeout_seconds=5)
    executor("x = 1")
    cloud.service.cut = spoil
    with pytest.raises(InterpreterError, match="gone"):
        executor("x")
    cloud.service.cut = whole
    assert executor("2").output == 2


def test_a_guest_that_writes_past_the_keeper_does_no_harm(cloud: Cloud) -> None:
    """The keeper's streams are not the guest's, so what programs write there is not heard."""
    executor = cloud.make(["os"])
    assert executor("import os\n[os.write(number, b'AAAA\\n' * 1000) for number in (1, 2)]\n7").output == 7


# ---- credentials


def test_missing_credentials_are_named_when_the_executor_is_made(cloud: Cloud) -> None:
    with pytest.raises(SandboxUnavailableError, match=r"E2B_API_KEY|BL_API_KEY and BL_WORKSPACE"):
        cloud.kind([], None)
    reason = cloud.kind.why_unavailable()
    assert "API_KEY" in reason
    assert "https://" in reason


def test_credentials_of_the_environment_are_used(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(cloud.service.options)
    monkeypatch.setenv("E2B_API_KEY", options.pop("api_key"))
    monkeypatch.setenv("BL_API_KEY", cloud.service.options["api_key"])
    monkeypatch.setenv("BL_WORKSPACE", options.pop("blaxel_workspace", "acme"))
    assert cloud.kind.why_unavailable() == ""
    cloud.kind([], None, **options)


def test_a_missing_library_is_named(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    from actloop.errors import MissingExtraError
    from actloop.executors import service

    monkeypatch.setattr(service, "find_spec", not_there)
    with pytest.raises(MissingExtraError, match=r"pip install 'actloop\["):
        cloud.make()
    assert f"actloop[{cloud.kind.extra}]" in cloud.kind.why_unavailable()


def test_pickles_are_refused(cloud: Cloud) -> None:
    cloud.make(allow_pickle=False)
    with pytest.raises(ValueError, match="allow_pickle"):
        cloud.make(allow_pickle=True)


# ---- packages


def wheel(folder: Any) -> None:
    """A package of one module, as a wheel."""
    import zipfile

    with zipfile.ZipFile(folder / "shrubbery-1.0-py3-none-any.whl", "w") as file:
        file.writestr("shrubbery.py", "NICE = 'and not too expensive'\n")
        info = "shrubbery-1.0.dist-info"
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: shrubbery\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture
def image(cloud: Cloud, shared: Path) -> None:
    """Sandboxes with a Python of their own, whose pip finds one package."""
    import venv

    folder = shared
    venv.create(folder / "python", system_site_packages=True, symlinks=True)
    wheel(folder)
    cloud.service.python = str(folder / "python/bin/python3")
    cloud.service.variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_NO_CACHE_DIR": "1"}


@pytest.mark.usefixtures("image")
def test_packages_that_are_missing_are_installed_and_it_is_told(cloud: Cloud) -> None:
    log = Lines()
    executor = cloud.make(["shrubbery", "json"], log)
    assert executor("import shrubbery\nshrubbery.NICE").output == "and not too expensive"
    assert any("shrubbery" in line for line in log.lines)


@pytest.mark.usefixtures("image")
def test_packages_that_cannot_be_had_are_named(cloud: Cloud) -> None:
    with pytest.raises(SandboxUnavailableError, match=r"(?s)pip could not install knights_who.*No matching") as caught:
        cloud.make(["knights_who"], Lines())("1")
    assert cloud.kind.service in caught.value.message
    cloud.service.wait_empty()


@pytest.mark.usefixtures("image")
def test_install_packages_serves_later_programs(cloud: Cloud) -> None:
    executor = cloud.make()
    executor("x = 1")
    assert executor.install_packages(["shrubbery==1.0"]) == ["shrubbery==1.0"]
    assert executor("import shrubbery\nshrubbery.NICE").output == "and not too expensive"


def test_packages_that_are_there_are_not_installed(cloud: Cloud) -> None:
    cloud.service.variables = {"PIP_NO_INDEX": "1"}
    assert cloud.make(["numpy"])("import numpy\nint(numpy.arange(4).sum())").output == 6


@pytest.mark.parametrize("name", ["--index-url=http://evil", "-r", "a\nb"])
def test_options_of_pip_are_no_packages(name: str, cloud: Cloud) -> None:
    with pytest.raises(ValueError, match="additional_imports"):
        cloud.make([name])


def test_a_session_can_be_opened_and_abandoned(cloud: Cloud) -> None:
    session = run_now(cloud.make().open_session(WAITER))
    session.close()
    cloud.service.wait_empty()
