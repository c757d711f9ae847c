"""Gradio apps as tools, against a real one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actloop.agents.code import CodeAgent
from actloop.errors import AgentToolCallError, AgentToolExecutionError
from actloop.models.scripted import ScriptedModel
from actloop.tools.base import Tool
from actloop.tools.foreign.gradio import GradioTool
from actloop.tools.types import AgentAudio
from actloop.tools.validation import bind_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("gradio")
pytest.importorskip("httpx2")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an app."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    folder = tmp_path_factory.mktemp("gradio")
    environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder)}
    script = Path(__file__).with_name("gradio_app.py")
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([sys.executable, script, str(port)], env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_an_endpoint_is_a_tool(app: str) -> None:
    tool = Tool.from_space(app, "greeter", "Greets.", api_name="/greet")
    assert (tool.name, tool.description, tool.output_type) == ("greeter", "Greets.", "any")
    assert tool.inputs["name"] == {"type": "string", "description": "Name"}
    assert tool.inputs["times"]["type"] == "number"
    assert tool.inputs["times"]["nullable"] is True
    assert tool("ho") == tool(name="ho") == tool({"name": "ho"}) == "hoho"
    assert tool(name="ho", times=3) == tool(**bind_arguments(tool, ("ho",), {"times": "3"})) == "hohoho"
    assert Tool.from_space(app, "greeter", api_name="greet").description == "Says a name several times."


def test_the_first_endpoint_is_taken_where_none_is_named(app: str) -> None:
    with pytest.warns(UserWarning, match="/greet is used, of /greet, /paint"):
        assert Tool.from_space(app, "greeter").api_name == "/greet"
    with pytest.raises(ValueError, match="no endpoint 'nothing'; it has /greet"):
        Tool.from_space(app, "x", api_name="nothing")


def test_an_image_with_a_seed_is_the_image(app: str) -> None:
    tool = Tool.from_space(app, "painter", api_name="/paint")
    assert tool.output_type == "image"
    image = tool("a cat", size=5)
    assert image.to_raw().size == (5, 5)
    assert image.to_raw().convert("RGB").getpixel((0, 0)) == (200, 200, 200)


def test_several_values_are_a_list_and_state_is_none_of_them(app: str) -> None:
    assert Tool.from_space(app, "split", api_name="/split")("abc") == ["a", "bc"]
    assert Tool.from_space(app, "count", api_name="/count")(3) == "at 3"
    assert Tool.from_space(app, "stream", api_name="/stream")(3) == "2"


def test_structured_arguments(app: str) -> None:
    tool = Tool.from_space(app, "mix", api_name="/mix")
    assert "'a', 'b'" in tool.to_code_prompt()
    given = bind_arguments(tool, (), {"choice": "b", "flag": True, "data": {"k": [1]}})
    assert tool(**given) == {"choice": "b", "flag": True, "data": {"k": [1]}}


def test_what_the_app_says_of_a_failure_is_the_error(app: str) -> None:
    with pytest.raises(AgentToolExecutionError, match="the app failed: the shop is closed"):
        Tool.from_space(app, "fail", api_name="/fail")("x")


def test_images_go_in_and_out(app: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Tool.from_space(app, "turn", api_name="/turn")
    image = Image.new("RGB", (4, 2), "red")
    assert turn(image).to_raw().size == (2, 4)
    image.save(tmp_path / "red.png")
    monkeypatch.chdir(tmp_path)
    assert turn("./red.png").to_raw().size == (2, 4)
    assert turn(tmp_path / "red.png").to_raw().size == (2, 4)
    assert turn((tmp_path / "red.png").read_bytes()).to_raw().size == (2, 4)
    assert Tool.from_space(app, "size", api_name="/size")(turn(image)) == "(2, 4)"


def test_files_and_sounds_go_in_and_out(app: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    copy = Tool.from_space(app, "file", api_name="/file")("notes.txt")
    assert Path(copy).read_text() == "hello"
    assert Path(copy).suffix == ".txt"
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\x01\x02" * 100)
    result = Tool.from_space(app, "sound", api_name="/sound")(AgentAudio(tmp_path / "a.wav"))
    assert isinstance(result, AgentAudio)
    assert len(result.to_raw()) == 100


@pytest.mark.parametrize("disguise", ["{}", "path", "file data"])
def test_a_path_of_the_models_choice_does_not_leave_the_machine(
    app: str, disguise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (tmp_path / "secret.txt").write_text("secret")
    (work / ".env").write_text("KEY=1")
    (work / "link.txt").symlink_to(tmp_path / "secret.txt")
    tool = Tool.from_space(app, "file", api_name="/file")
    for path in (
        "/etc/passwd",
        "../secret.txt",
        "link.txt",
        ".env",
        str(tmp_path / "secret.txt"),
        "/proc/self/environ",
    ):
        given = path if disguise == "{}" else {"path": path}
        if disguise == "file data":
            given = {"path": path, "meta": {"_type": "gradio.FileData"}}
        with pytest.raises(AgentToolCallError, match=r"may not be sent|there is no file"):
            tool(given)
    with pytest.raises(AgentToolCallError, match="may not be sent"):
        Tool.from_space(app, "sound", api_name="/sound")(AgentAudio("/etc/passwd"))
    monkeypatch.chdir("/")
    with pytest.raises(AgentToolCallError, match="may not be sent"):
        tool("etc/passwd")
    monkeypatch.chdir(work)
    allowed = Tool.from_space(app, "file", api_name="/file", file_folders=[tmp_path])
    assert Path(allowed("../secret.txt")).read_text() == "secret"


def test_gradio_tool_makes_a_name_of_its_own(app: str) -> None:
    tool = GradioTool(app, api_name="/greet")
    assert tool.name == f"gradio_{app.removeprefix('http://').replace('.', '_').replace(':', '_')}"
    assert tool.description == "Says a name several times."
    assert GradioTool(app, name="greeter").api_name == "/greet"


def test_an_agent_uses_it(app: str) -> None:
    tool = GradioTool(app, name="greeter", description="Greets.")
    model = ScriptedModel(["<code>\nfinal_answer(greeter('ho', times=2))\n</code>"])
    with CodeAgent([tool], model, journal=None, verbosity_level=0) as agent:
        assert agent.run("greet") == "hoho"
