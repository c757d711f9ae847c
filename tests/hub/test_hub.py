"""Tools and agents go to the Hub and come back, over HTTP to a server that speaks its endpoints."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from tests.hub.server import COMMIT, TOKEN, Hub, Space

from actloop import CodeAgent, LogLevel, OpenAIModel, ScriptedModel, Tool, tool
from actloop.hub.client import HubClient, HubError
from actloop.tools.collection import ToolCollection
from actloop.tools.loading import load_tool

if TYPE_CHECKING:
    from pathlib import Path

CODE = b"""
from smolagents import Tool

class Greeter(Tool):
    name = "greet"
    description = "Greets."
    inputs = {"who": {"type": "string", "description": "Whom."}}
    output_type = "string"

    def __init__(self, greeting="Hello", model_repo_id="default"):
        super().__init__()
        self.greeting, self.model_repo_id = greeting, model_repo_id

    def forward(self, who: str) -> str:
        return f"{self.greeting}, {who}"
"""


@tool
def area(radius: float) -> float:
    """Area of a circle.

    Args:
        radius: Of the circle.
    """
    return 3 * radius**2


def agent(**kwargs: Any) -> CodeAgent:
    return CodeAgent([area], OpenAIModel("m"), instructions="Be brief.", verbosity_level=LogLevel.OFF, **kwargs)


def test_an_agent_goes_to_the_hub_and_comes_back(hub: Hub) -> None:
    info = agent().push_to_hub("me/boss", commit_message="Mine", private=True)
    assert (info.oid, str(info.commit_url)) == (COMMIT, f"{hub.endpoint}/spaces/me/boss/commit/{COMMIT}")
    [created] = hub.of("POST", "/api/repos/create")
    assert created.token == TOKEN
    assert created.body == {
        "name": "boss", "organization": "me", "visibility": "private", "type": "space", "sdk": "gradio",
    }  # fmt: skip
    [commit] = hub.commits
    assert (commit["summary"], commit["space"]) == ("Mine", "me/boss")
    assert sorted(commit["files"]) == [
        "README.md", "agent.json", "app.py", "prompts.yaml", "requirements.txt", "tools/area.py",
        "tools/final_answer.py",
    ]  # fmt: skip
    assert commit["files"]["README.md"].decode() == (
        "---\ntitle: Given\nsdk: gradio\ntags:\n- mine\n- actloop\n- agent\n---\nAbout it.\n"
    )
    with ScriptedModel(["<code>\nfinal_answer(area(2))\n</code>"]) as model:
        loaded = CodeAgent.from_hub("me/boss", trust_remote_code=True, model=model)
        with loaded:
            assert loaded.run("Go.") == 12
    assert loaded.instructions == "Be brief."
    assert not [one for one in hub.asked if one.path.endswith(("app.py", "requirements.txt")) and "resolve" in one.path]


def test_pushing_again_keeps_the_space_and_does_not_repeat_tags(hub: Hub) -> None:
    for _ in range(2):
        agent(max_steps=len(hub.commits) + 3).push_to_hub("boss")
    assert hub.commits[1]["space"] == "me/boss"
    assert hub.spaces["me/boss"].files["README.md"].count(b"- actloop") == 1


def test_a_space_without_a_card_gets_one(hub: Hub) -> None:
    hub.spaces["me/boss"] = Space()
    agent().push_to_hub("me/boss", create_pr=True)
    assert hub.spaces["me/boss"].files["README.md"].decode() == (
        "---\ntitle: boss\nsdk: gradio\napp_file: app.py\ntags:\n- actloop\n- agent\n---\n"
    )
    assert hub.of("POST", "commit")[0].path.endswith("?create_pr=1")


def test_a_tool_goes_to_the_hub_and_comes_back(hub: Hub) -> None:
    area.push_to_hub("me/area")
    assert sorted(hub.commits[0]["files"]) == ["README.md", "app.py", "requirements.txt", "tool.py"]
    assert Tool.from_hub("me/area", trust_remote_code=True)(2.0) == 12.0


def test_load_tool_of_a_space_that_smolagents_made(hub: Hub) -> None:
    hub.spaces["org/greet"] = Space({"tool.py": CODE, "sub/tool.py": CODE.replace(b"Hello", b"Bye")})
    loaded: Any = load_tool("org/greet", trust_remote_code=True)
    assert (loaded("you"), loaded.model_repo_id) == ("Hello, you", "default")
    loaded = load_tool("org/greet", "org/model", trust_remote_code=True, greeting="Hi", revision="main")
    assert (loaded("you"), loaded.model_repo_id) == ("Hi, you", "org/model")
    assert load_tool("org/greet", trust_remote_code=True, subfolder="sub")("you") == "Bye, you"


def test_nothing_is_asked_for_without_consent(hub: Hub) -> None:
    for load in (
        lambda: Tool.from_hub("org/greet"),
        lambda: load_tool("org/greet"),
        lambda: CodeAgent.from_hub("org/agent"),
        lambda: ToolCollection.from_hub("org/several"),
    ):
        with pytest.raises(ValueError, match="pass trust_remote_code=True"):
            load()
    with pytest.raises(ValueError, match="pass trust_remote_code=True"), ToolCollection.from_mcp({"url": hub.endpoint}):
        pass
    assert hub.asked == []


def test_a_collection_gives_the_tools_of_its_spaces(hub: Hub) -> None:
    hub.spaces["org/greet"] = Space({"tool.py": CODE})
    hub.spaces["org/part"] = Space({"tool.py": CODE.replace(b'"greet"', b'"part"').replace(b"Hello", b"Bye")})
    hub.collections["org/several-1"] = [
        {"_id": "1", "id": "org/part", "type": "space", "position": 0},
        {"_id": "2", "id": "org/model", "type": "model", "position": 1},
        {"_id": "3", "id": "org/greet", "type": "space", "position": 2},
        {"_id": "4", "id": "org/part", "type": "space", "position": 3},
    ]
    collection = ToolCollection.from_hub("org/several-1", token="mine", trust_remote_code=True)
    assert [one.name for one in collection.tools] == ["part", "greet"]
    assert [one("you") for one in collection.tools] == ["Bye, you", "Hello, you"]
    assert {one.token for one in hub.asked} == {"mine"}
    with pytest.raises(HubError, match="Reading the collection org/none failed: it does not exist"):
        ToolCollection.from_hub("org/none", trust_remote_code=True)


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (None, "it does not exist, or it is private"),
        (Space({"tool.py": CODE}, needs_token=True), "the token is missing or wrong.*hf auth login"),
        (Space({"tool.py": CODE}, status=403, error="GatedRepo"), "granted by its owner"),
        (Space({"tool.py": CODE}, status=403), "has not the right"),
        (Space({"tool.py": CODE}, status=500), r"the Hub failed \(status 500\)"),
        (Space({"tool.py": CODE}, status=429), "too many requests"),
        (Space({}), "there is no such file"),
        (Space({"tool.py": b"\xff\xfe"}), "not UTF-8"),
        (Space({"tool.py": CODE}, sizes={"tool.py": 10**9}), "1,000,000,000 bytes"),
    ],
    ids=lambda value: None if isinstance(value, Space) else str(value)[:20],
)
def test_errors_of_the_hub_are_said_plainly(hub: Hub, space: Space | None, told: str) -> None:
    if space is not None:
        hub.spaces["org/greet"] = space
    with pytest.raises(HubError, match=f"Reading tool.py of org/greet failed: .*{told}") as failed:
        Tool.from_hub("org/greet", token="another", trust_remote_code=True)
    assert "another" not in str(failed.value)


def test_errors_of_an_upload_are_said_plainly(hub: Hub) -> None:
    with pytest.raises(HubError, match=r"Uploading to me/area failed: .*token is missing or wrong") as failed:
        area.push_to_hub("me/area", token="wrong")
    assert failed.value.status == 401
    for status, told in ((403, "has not the right"), (500, "the Hub failed"), (429, "too many requests")):
        hub.refuse_creation = status
        with pytest.raises(HubError, match=told) as failed:
            area.push_to_hub("me/area")
        assert failed.value.status == status
    with pytest.raises(HubError, match="Repo id must"):
        area.push_to_hub("me/../area")
    assert hub.commits == []


def test_a_hub_that_cannot_be_reached(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(HubError, match=rf"failed: http://127.0.0.1:{port} cannot be reached"):
        Tool.from_hub("org/greet", trust_remote_code=True)
    with pytest.raises(HubError, match="cannot be reached"):
        area.push_to_hub("me/area")
    with pytest.raises(HubError, match="cannot be reached"):
        CodeAgent.from_hub("org/agent", trust_remote_code=True)


def test_what_is_in_the_cache_needs_no_hub(hub: Hub, tmp_path: Path) -> None:
    agent().push_to_hub("me/boss")
    CodeAgent.from_hub("me/boss", trust_remote_code=True, cache_dir=tmp_path / "own")
    asked = len(hub.asked)
    loaded = CodeAgent.from_hub(
        "me/boss", trust_remote_code=True, cache_dir=tmp_path / "own", local_files_only=True, max_steps=2
    )
    assert len(hub.asked) == asked
    assert loaded.max_steps == 2
    with pytest.raises(HubError, match="Downloading me/boss failed"):
        CodeAgent.from_hub("me/boss", trust_remote_code=True, cache_dir=tmp_path / "none", local_files_only=True)


def test_a_hostile_space_writes_nothing_outside_and_fetches_nothing_huge(hub: Hub, tmp_path: Path) -> None:
    agent().push_to_hub("me/boss")
    space = hub.spaces["me/boss"]
    space.files["tools/../../../../../evil.py"] = b"evil"
    space.files["managed_agents/../../evil.json"] = b"evil"
    with pytest.raises(HubError):
        CodeAgent.from_hub("me/boss", trust_remote_code=True, cache_dir=tmp_path / "own" / "cache")
    assert not list(tmp_path.rglob("evil*"))
    space.files = {name: data for name, data in space.files.items() if "evil" not in name}
    space.files["tools/huge.py"], space.sizes["tools/huge.py"] = b"x", 10**12
    with pytest.raises(HubError, match="bytes, which is more than"):
        CodeAgent.from_hub("me/boss", trust_remote_code=True, cache_dir=tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_links_in_the_cache_lead_to_its_own_contents_only(hub: Hub, tmp_path: Path) -> None:
    agent().push_to_hub("me/boss")
    folder = HubClient().folder("me/boss", ["agent.json", "tools/*"], cache_dir=str(tmp_path))
    path = folder.find("tools/area.py")
    assert path is not None
    assert path.is_symlink()
    assert "area" in folder.text("tools/area.py")
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="leads out of the saved folder"):
        folder.text("tools/area.py")


def test_a_space_that_holds_no_agent(hub: Hub) -> None:
    hub.spaces["org/greet"] = Space({"agent.json": json.dumps({"tools": ["x"]}).encode()})
    with pytest.raises(ValueError, match=r"x\.py is missing"):
        CodeAgent.from_hub("org/greet", trust_remote_code=True)
    hub.spaces["org/none"] = Space({"tool.py": CODE})
    with pytest.raises(HubError, match=r"org/none holds none of the files agent\.json"):
        CodeAgent.from_hub("org/none", trust_remote_code=True)
