"""Broken and hostile data of saved agents, and paths that lead out of their folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from actloop import CodeAgent
from actloop.hub.folder import SavedFileError, write_files

from .kit import area, changed, plain_model


@pytest.mark.parametrize(
    "changes",
    [
        {"tools": "area"},
        {"class": None},
        {"tools": [1]},
        {"tools": [{"code": "x"}]},
        {"model": []},
        {"model": {"class": "Tool"}},
        {"model": {"class": "__import__"}},
        {"model": {"class": "OpenAIModel", "data": [1]}},
        {"managed_agents": [1]},
        {"managed_agents": "x"},
        {"name": {"a": 1}},
        {"name": "../x"},
        {"max_steps": "many"},
        {"description": ["x"]},
        {"prompt_templates": {"system_prompt": 1}},
        {"prompt_templates": {"system_prompt": "x"}},
        {"prompt_templates": {"planning": "x"}},
        {"prompt_templates": {"examples": [{"user": 1}]}},
        {"prompt_templates": {"examples": [1]}},
        {"context": {"$": "ContextLimit", "tokens": -1}},
        {"context": {"$": "ContextLimit", "nonsense": 1}},
        {"context": {"$": "os.system"}},
        {"output_type": {"$": "hint", "of": {"$": "class", "module": "builtins", "name": "int"}, "items": [1]}},
        {"output_type": {"$": "class", "module": "builtins", "name": "eval"}},
        {"executor_kwargs": {"limits": {"$": "bytes", "value": 3}}},
        {"journal": "/etc/passwd"},
        {"code_block_tags": ["x"]},
    ],
)
def test_broken_data_is_refused_plainly(changes: dict[str, Any]) -> None:
    data = json.loads(json.dumps(CodeAgent([], plain_model()).to_dict())) | changes
    with pytest.raises((ValueError, TypeError)) as refused:
        CodeAgent.from_dict(data, trust_remote_code=True)
    assert str(refused.value)


def test_agents_that_are_nested_without_end_are_refused(saved: Path) -> None:
    data: dict[str, Any] = CodeAgent([], plain_model(), name="a", description="A").to_dict()
    for _ in range(500):
        data = {**data, "managed_agents": [data]}
    with pytest.raises(ValueError, match="nested too deeply"):
        CodeAgent.from_dict(data)
    inner = saved / "managed_agents" / "worker"
    changed(inner, managed_agents={"worker": "CodeAgent"})
    (inner / "managed_agents").mkdir()
    (inner / "managed_agents" / "worker").symlink_to(inner)
    with pytest.raises(ValueError, match="nested too deeply"):
        CodeAgent.from_folder(saved)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ("[]", "holds no object"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "no valid JSON"),
        ('{"tools": 3}', "'tools' is a list"),
        ('{"tools": [3]}', "the name of a tool is text"),
        ('{"tools": ["x"], "tool_settings": {"x": 1}}', "is an object"),
        ('{"managed_agents": [1]}', "is an object of classes"),
        ('{"managed_agents": {"../x": "CodeAgent"}}', "no name of a managed agent"),
        (" " * 9_000_000, "larger than"),
    ],
)
def test_a_broken_agent_json(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text(text)
    with pytest.raises(SavedFileError, match=why):
        CodeAgent.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "no valid YAML"),
        ("!!python/object/apply:os.system [id]", "no valid YAML"),
        ("- x", "holds no texts by name"),
        ("1: x", "holds no texts by name"),
        ("a: &a [x]\nsystem_prompt: [*a, *a]", "must be text"),
        ("system_prompt: x" + " " * 2_000_000, "larger than"),
    ],
)
def test_a_broken_prompts_yaml(text: str, why: str, saved: Path) -> None:
    (saved / "prompts.yaml").write_text(text)
    with pytest.raises(ValueError, match=why):
        CodeAgent.from_folder(saved, trust_remote_code=True)


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a/b", "..", ".", "", " ", "a\\b", "a\0b", ".hidden"])
def test_names_of_tools_lead_nowhere(name: str, saved: Path) -> None:
    (saved.parent / "evil.py").write_text("raise SystemExit")
    for changes in ({"tools": [name]}, {"tools": ["x"], "tool_settings": {"x": {"file": name}}}):
        with pytest.raises(SavedFileError):
            CodeAgent.from_folder(changed(saved, **changes), trust_remote_code=True)


def test_links_devices_and_pipes_in_a_folder_are_not_read(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("secret = 1")
    path = saved / "tools" / "area.py"
    for target, why in (
        (tmp_path / "outside.py", "leads out of the saved folder"),
        (Path("/dev/zero"), "leads out of the saved folder"),
        (path, "cannot be read"),
        (tmp_path / "nowhere", "cannot be read"),
    ):
        path.unlink()
        path.symlink_to(target)
        with pytest.raises(SavedFileError, match=why):
            CodeAgent.from_folder(saved, trust_remote_code=True)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SavedFileError, match="not a regular file"):
        CodeAgent.from_folder(saved, trust_remote_code=True)
    path.unlink()
    path.mkdir()
    with pytest.raises(SavedFileError, match=r"cannot be read|not a regular file"):
        CodeAgent.from_folder(saved, trust_remote_code=True)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder of a saved agent"):
        CodeAgent.from_folder(tmp_path / "nowhere")
    with pytest.raises(SavedFileError, match=r"agent\.json is missing"):
        CodeAgent.from_folder(tmp_path)


def test_nothing_is_written_through_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "agent.json").write_text("mine")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "tools").symlink_to(outside)
    with pytest.raises(SavedFileError, match="symbolic link"):
        CodeAgent([area], plain_model()).save(tmp_path / "saved")
    (tmp_path / "saved" / "tools").unlink()
    (tmp_path / "saved" / "agent.json").symlink_to(outside / "agent.json")
    CodeAgent([area], plain_model()).save(tmp_path / "saved")
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"agent.json": "mine"}
    CodeAgent.from_folder(tmp_path / "saved", trust_remote_code=True)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "a\\b", "a\0", ".actloop-saved/x"])
def test_paths_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SavedFileError, match="no path inside"):
        write_files(tmp_path / "saved", {"fine": "x", name: "x"})
    assert list(tmp_path.iterdir()) == []
