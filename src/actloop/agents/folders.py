"""A saved agent as a folder.

agent.json            settings; names of the tools and of the managed agents
prompts.yaml          prompt templates
tools/NAME.py         code of each tool
managed_agents/NAME/  a folder of this form for each managed agent
app.py                a web page for the agent
requirements.txt      packages that it needs
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from actloop.agents.managed import ManagedAgent
from actloop.hub.folder import SavedFileError
from actloop.tools.names import python_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actloop.hub.folder import SavedFolder

PATTERNS = ("agent.json", "prompts.yaml", "tools/*.py", "managed_agents/*")
"""Files of a saved agent that loading reads."""

_DEPTH = 16
_WRAPPER = ManagedAgent.__name__
_EXTRAS = {"azure": "openai", "inference": "huggingface"}
_OWN_EXTRAS = frozenset(
    {"openai", "local", "anthropic", "bedrock", "huggingface", "litellm", "transformers", "vllm", "mlx"}
)


def files_of(data: Mapping[str, Any], folder: str = "") -> dict[str, str]:
    """The files of a saved agent, by their paths.

    Args:
        data: What `stored.describe` gave.
        folder: Where in the saved folder, with `/` at its end.
    """
    settings = {key: value for key, value in data.items() if key != "prompt_templates"}
    files: dict[str, str] = {}
    settings["tools"] = [tool["name"] for tool in data["tools"]]
    about: dict[str, Any] = {}
    for tool, name in zip(data["tools"], _file_names(settings["tools"]), strict=True):
        files[f"{folder}tools/{name}.py"] = tool["code"]
        rest = {key: value for key, value in tool.items() if key not in ("name", "code", "requirements")}
        if name != tool["name"]:
            rest["file"] = name
        if rest:
            about[tool["name"]] = rest
    if about:
        settings["tool_settings"] = about
    settings["managed_agents"] = {}
    for managed in data["managed_agents"]:
        wrapped = "agent" in managed
        name = managed["name"]
        files |= files_of(managed["agent"] if wrapped else managed, f"{folder}managed_agents/{name}/")
        kept = {key: value for key, value in managed.items() if key not in ("agent", "requirements")}
        settings["managed_agents"][name] = kept if wrapped else managed["class"]
    files[f"{folder}prompts.yaml"] = _yaml(data["prompt_templates"])
    files[f"{folder}requirements.txt"] = _requirements(data)
    files[f"{folder}app.py"] = _app(data)
    files[f"{folder}agent.json"] = json.dumps(settings, indent=4) + "\n"
    return files


def _file_names(names: list[str]) -> list[str]:
    """A file name for each tool, of which no two are the same on any file system."""
    taken: set[str] = set()
    found: list[str] = []
    for name in names:
        base = name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name) else python_name(name)[:40] + "_"
        alias, number = base, 2
        while alias.lower() in taken:
            alias, number = f"{base}_{number}", number + 1
        taken.add(alias.lower())
        found.append(alias)
    return found


def _yaml(templates: Mapping[str, Any]) -> str:
    """Templates as YAML, texts of several lines as they are."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    plain = json.loads(json.dumps(templates))
    return yaml.dump(plain, Dumper=Dumper, sort_keys=False, width=1_000_000, allow_unicode=True)


def _requirements(data: Mapping[str, Any]) -> str:
    import actloop

    name = str(data["model"]["class"])
    module = getattr(actloop, name).__module__ if name in actloop.__all__ else ""
    extra = _EXTRAS.get(module.rpartition(".")[2], module.rpartition(".")[2])
    extras = ",".join(["gradio", *([extra] if extra in _OWN_EXTRAS else [])])
    return "".join(f"{f'actloop[{extras}]' if line == 'actloop' else line}\n" for line in data["requirements"])


def _app(data: Mapping[str, Any]) -> str:
    public = "module" not in data
    name = data["class"] if public else "MultiStepAgent"
    return (
        '"""Web page of a saved agent."""\n\n'
        "from pathlib import Path\n\n"
        f"from actloop import {', '.join(sorted((name, 'GradioUI')))}\n\n"
        "# Runs the code in tools/ in this process.\n"
        f"agent = {name}.from_folder(Path(__file__).resolve().parent, trust_remote_code=True)\n\n"
        'if __name__ == "__main__":\n'
        "    GradioUI(agent).launch()\n"
    )


# Reading


def read_folder(folder: SavedFolder, inside: str = "", depth: int = 0) -> dict[str, Any]:
    """The plain data of a saved agent. Nothing of it is trusted, and no code is run.

    Args:
        folder: The folder.
        inside: Where in it, with `/` at its end.
        depth: How many agents this one is managed by.

    Raises:
        SavedFileError: A file is missing, broken or not to be read.
    """
    if depth > _DEPTH:
        raise SavedFileError(f"{folder.path} is nested too deeply: more than {_DEPTH} agents manage one another")
    data = _json(folder, f"{inside}agent.json")
    names = data.get("tools", [])
    about = data.pop("tool_settings", {})
    if not isinstance(names, list) or not isinstance(about, dict):
        raise SavedFileError(f"{inside}agent.json: 'tools' is a list of names, 'tool_settings' an object")
    data["tools"] = [_tool(folder, inside, name, cast("dict[str, Any]", about)) for name in cast("list[Any]", names)]
    managed: Any = data.get("managed_agents") or {}
    if not isinstance(managed, dict):
        raise SavedFileError(f"{inside}agent.json: 'managed_agents' is an object of classes by name")
    agents: list[dict[str, Any]] = []
    for name, wrapper in cast("dict[str, Any]", managed).items():
        if not name.isidentifier():
            raise SavedFileError(f"{inside}agent.json: {name!r} is no name of a managed agent")
        inner = read_folder(folder, f"{inside}managed_agents/{name}/", depth + 1)
        is_wrapped = isinstance(wrapper, dict) and cast("dict[str, Any]", wrapper).get("class") == _WRAPPER
        agents.append({**wrapper, "agent": inner} if is_wrapped else inner)
    data["managed_agents"] = agents
    if folder.find(f"{inside}prompts.yaml") is not None:
        data["prompt_templates"] = _prompts(folder, f"{inside}prompts.yaml")
    return data


def _tool(folder: SavedFolder, inside: str, name: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(name, str):
        raise SavedFileError(f"{inside}agent.json: the name of a tool is text; got {name!r}")
    rest = about.get(name, {})
    if not isinstance(rest, dict):
        raise SavedFileError(f"{inside}agent.json: 'tool_settings' of {name!r} is an object")
    settings = cast("dict[str, Any]", rest)
    stem = settings.get("file", name)
    if not isinstance(stem, str) or not stem.strip() or "/" in stem or "\\" in stem or stem.startswith("."):
        raise SavedFileError(f"{inside}agent.json: {stem!r} is no name of a tool's file")
    path = f"{inside}tools/{stem}.py"
    return {**settings, "name": name, "code": folder.text(path), "file": path}


def _json(folder: SavedFolder, name: str) -> dict[str, Any]:
    try:
        data = json.loads(folder.text(name))
    except SavedFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise SavedFileError(f"{folder.path / name} is no valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise SavedFileError(f"{folder.path / name} holds no object but a {type(data).__name__}")
    return cast("dict[str, Any]", data)


def _prompts(folder: SavedFolder, name: str) -> dict[str, Any]:
    import yaml

    text = folder.text(name, 1024 * 1024)
    try:
        data: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SavedFileError(f"{folder.path / name} is no valid YAML: {error}") from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in cast("dict[Any, Any]", data)):
        raise SavedFileError(f"{folder.path / name} holds no texts by name")
    return cast("dict[str, Any]", data)
