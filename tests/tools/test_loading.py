"""The web page for a tool, served for real; and the one of a saved agent."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Literal

from actloop import CodeAgent, OpenAIModel, tool

SRC = str(Path(__file__).parents[2] / "src")


@tool
def scale(number: float, times: int = 2, unit: Literal["m", "cm"] = "m", parts: dict[str, int] | None = None) -> str:
    """Scales.

    Args:
        number: What.
        times: How often.
        unit: In what.
        parts: More of it.
    """
    return f"{number * times + sum((parts or {}).values())} {unit}"


COMPONENTS = """
import json
from typing import Any
from actloop import Tool, tool
from actloop.tools.loading import gradio_demo

class Every(Tool):
    name = "every one"
    description = "Takes all."
    inputs = {
        kind: {"type": kind, "description": kind}
        for kind in ("boolean", "image", "audio", "string", "integer", "number", "object", "array", "any")
    }
    output_type = "audio"
    skip_forward_signature_validation = True

    def forward(self, **kwargs: Any) -> Any:
        return kwargs

@tool
async def later(text: str) -> dict[str, int]:
    "Counts letters."
    return {letter: text.count(letter) for letter in text}

def kinds(components):
    return [[type(one).__name__, one.label] for one in components]

every, counted = gradio_demo(Every()), gradio_demo(later)
print(json.dumps([kinds(every.input_components), kinds(every.output_components), kinds(counted.output_components)]))
"""


def test_the_components_follow_the_types() -> None:
    env = os.environ | {"PYTHONPATH": SRC, "GRADIO_ANALYTICS_ENABLED": "False"}
    done = subprocess.run([sys.executable, "-c", COMPONENTS], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    taken, given, counted = json.loads(done.stdout)
    assert taken == [
        ["Checkbox", "boolean"], ["Image", "image"], ["Audio", "audio"], ["Textbox", "string"], ["Number", "integer"],
        ["Number", "number"], ["JSON", "object"], ["JSON", "array"], ["Textbox", "any"],
    ]  # fmt: skip
    assert (given, counted) == ([["Audio", "Output"]], [["JSON", "Output"]])


class Page:
    """A program that serves a page, and what it prints."""

    def __init__(self, program: list[str], folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        quiet = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, *program],
            cwd=folder,
            env=os.environ | quiet | {"PYTHONPATH": SRC},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.port = port
        self.address = f"http://127.0.0.1:{port}"

    def __enter__(self) -> Page:
        for _ in range(3000):
            if self.process.poll() is not None:
                raise AssertionError(self.process.communicate()[0])
            try:
                self.get("/config")
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise AssertionError("the page does not come up")

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()

    def get(self, path: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def call(self, name: str, values: list[Any]) -> str:
        """What an endpoint of the page answers."""
        event = json.loads(self.get(f"/gradio_api/call/{name}", {"data": values}))["event_id"]
        return self.get(f"/gradio_api/call/{name}/{event}").decode()

    def listens_elsewhere(self) -> bool:
        """Whether it listens on more than the loopback address."""
        lines = [
            line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()
        ]
        port = f":{self.port:04X}"
        return any(line[1].endswith(port) and line[3] == "0A" and not line[1].startswith("0100007F") for line in lines)


def test_a_tool_is_tried_on_its_web_page(tmp_path: Path) -> None:
    scale.save(tmp_path)
    with Page(["app.py"], tmp_path) as page:
        assert not page.listens_elsewhere()
        assert 'data: ["14.5 cm"]' in page.call("scale", [4.5, 3, "cm", {"x": 1}])
        assert 'data: ["9.0 m"]' in page.call("scale", [4.5, None, None, None])
        assert "event: error" in page.call("scale", [4, 1, "m", {"x": "many"}])


def test_a_saved_agent_comes_with_a_web_page(tmp_path: Path) -> None:
    CodeAgent([scale], OpenAIModel("m", api_base="http://127.0.0.1:9/v1"), name="boss").save(tmp_path)
    with Page(["app.py"], tmp_path) as page:
        assert not page.listens_elsewhere()
        assert "chatbot" in page.get("/config").decode()
