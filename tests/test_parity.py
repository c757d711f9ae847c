"""The reference's public names, their parameters and their members: all of them are here, under the same names.

`reference_api.json` lists them as facts, read off version 1.24 of the reference: for each name the module it is in
there, its parameters in order with their defaults ("..." where a default has no short text), and its public members.
"""

from __future__ import annotations

import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import actloop

REFERENCE: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "reference_api.json").read_text())

_ENUM = "the classes of enumerations tell no signature of their own from Python 3.11 on"
OTHERWISE = {
    "ActionStep.model_input_messages": "computed from the memory, not stored with each step",
    "AgentImage.save.output_bytes": "is called fp, as in Pillow, whose images these are",
    "AgentLogger.log_markdown.style": "colours of our own",
    "DockerExecutor.image_name": "an image is named after its content, so that another content is another image",
    "GradioUI.launch.share": "a page is public only where that is asked for",
    "LogLevel": _ENUM,
    "MessageRole": _ENUM,
    "ModalExecutor.app_name": "names this package",
    "PythonInterpreterTool.timeout_seconds": "the same number, as a float",
    "SpeechToTextTool.encode.audio": "is called raw_inputs, as in `PipelineTool`, whose method it is",
    "WikipediaSearchTool.user_agent": "names this package",
    "get_clean_message_list.role_conversions": "None instead of a dict that could be changed",
}
"""Parameters and members of the reference that are left out, by `Name.member.parameter`, with the reason."""


@cache
def parameters_of(name: str, member: str | None = None) -> dict[str, inspect.Parameter]:
    target: Any = getattr(actloop, name)
    if member is not None:
        return dict(inspect.signature(getattr(target, member)).parameters)
    if inspect.isclass(target) and inspect.isfunction(target.__init__):
        target = target.__init__  # a class that has __new__, too, shows that
    return dict(inspect.signature(target).parameters)


def told(text: str) -> tuple[str, str | None]:
    """Name and default of a parameter as the list writes it."""
    name, found, default = text.partition("=")
    return name, default if found else None


def check(where: str, wanted: list[str], given: dict[str, inspect.Parameter]) -> None:
    takes_more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in given.values())
    positional = [
        name for name, p in given.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and name != "self"
    ]
    place, keyword_only = 0, False
    for text in wanted:
        if text.startswith("*"):
            keyword_only = True
            if text.startswith("**"):
                assert takes_more or f"{where}.{text}" in OTHERWISE, f"{where} takes no further named arguments"
            continue
        name, default = told(text)
        if name == "self":
            continue
        if f"{where}.{name}" in OTHERWISE:
            place += 1
            continue
        if name not in given:
            assert takes_more, f"{where} has no parameter {name}"
            assert keyword_only, f"{where}: {name} can only be given by name"
            continue
        if not keyword_only and place < len(positional):
            assert name in positional, f"{where}: {name} can only be given by name"
            assert positional.index(name) == place, f"{where}: {name} is not at place {place}: {positional}"
        place += 1
        if default is None:
            continue
        own = given[name].default
        assert own is not inspect.Parameter.empty, f"{where}: {name} has to be given"
        if default != "...":
            assert repr(own) == default, f"{where}: the default of {name} is {own!r}, there it is {default}"


@pytest.mark.parametrize("name", REFERENCE)
def test_a_name_of_the_reference_can_be_imported(name: str) -> None:
    assert name in actloop.__all__
    assert getattr(actloop, name) is not None


@pytest.mark.parametrize("name", [name for name, entry in REFERENCE.items() if entry.get("parameters") is not None])
def test_its_parameters_are_those_of_the_reference(name: str) -> None:
    if name not in OTHERWISE:
        check(name, REFERENCE[name]["parameters"], parameters_of(name))


@pytest.mark.parametrize(
    ("name", "member"), [(name, member) for name, entry in REFERENCE.items() for member in entry.get("members", ())]
)
def test_its_members_are_those_of_the_reference(name: str, member: str) -> None:
    if f"{name}.{member}" in OTHERWISE:
        return
    target = getattr(actloop, name)
    assert hasattr(target, member) or member in getattr(target, "__annotations__", {}), f"{name} has no {member}"
    wanted: list[str] | str | None = REFERENCE[name]["members"][member]
    if isinstance(wanted, list):
        check(f"{name}.{member}", wanted, parameters_of(name, member))


@pytest.mark.parametrize("name", REFERENCE)
def test_it_can_be_imported_from_the_module_it_is_in_there(name: str) -> None:
    module = __import__(f"actloop.{REFERENCE[name]['module']}", fromlist=[name])
    assert getattr(module, name) is getattr(actloop, name)
