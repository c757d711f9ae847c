"""An agent as plain data: what is written down of it."""

from __future__ import annotations

import inspect
import json
import sys
from typing import TYPE_CHECKING, Any, cast

from actloop.agents.managed import ManagedAgent
from actloop.models.base import REMOVE_PARAMETER, Model
from actloop.tools.final_answer import FinalAnswerTool
from actloop.tools.saving import described
from actloop.tools.source import package_of
from actloop.ui.logger import AgentLogger
from actloop.values.arguments import arguments_of, parameters_of, takes_any_name
from actloop.values.plain import KIND, Writer, is_secret, name_of

if TYPE_CHECKING:
    from actloop.agents.base import MultiStepAgent

PARTS = frozenset(
    {"tools", "model", "managed_agents", "prompt_templates", "add_base_tools", "logger", "verbosity_level", "secrets"}
)
"""Parameters of agents that are written down in a form of their own, or never."""


def describe(agent: MultiStepAgent) -> tuple[dict[str, Any], list[str]]:
    """An agent as plain data, with all that it holds, and what could not be written down, in words.

    Raises:
        ValueError: A tool or a managed agent cannot be written down at all.
    """
    import actloop

    writer = Writer(_write_object)
    data: dict[str, Any] = {**class_of(agent), "actloop": actloop.__version__}
    data["tools"] = _tools(agent, writer)
    data["model"] = describe_model(agent.model, writer, "model")
    data["managed_agents"] = _managed(agent, writer)
    data["prompt_templates"] = dict(agent.prompt_templates)
    if is_secret(json.dumps(data["prompt_templates"])):
        raise ValueError(
            "the prompt templates hold what looks like a secret; pass it as a variable of the task instead"
        )
    if getattr(agent, "_own_prompts", False):
        data["default_prompts"] = True
    data |= writer.settings({name: _setting(agent, name) for name in parameters_of(type(agent)) if name not in PARTS})
    data |= _logger(agent, writer)
    if agent.vault:
        writer.left_out.append("secrets")
        if held := [name for name, value in data.items() if agent.vault.masked(value) is not value]:
            raise ValueError(
                f"one of the agent's secrets is written out in its {' and '.join(held)}, which would be saved; "
                "take it out there, and let tools ask for it with secret(name)"
            )
    imports = {str(name).partition(".")[0] for name in getattr(agent, "additional_authorized_imports", ())}
    if hasattr(agent, "authorized_imports"):
        data["authorized_imports"] = list(cast("Any", agent).authorized_imports)
    parts = [*data["tools"], *data["managed_agents"]]
    data["requirements"] = sorted(
        {"actloop", *(package for part in parts for package in part.get("requirements", ()))}
        | {package_of(name) for name in imports - sys.stdlib_module_names - {"*"}}
    )
    return data, writer.left_out


def class_of(value: Any) -> dict[str, str]:
    """How the class of an agent or a model is named, with its module where it is not one of actloop's public names."""
    import actloop

    cls = cast("type[Any]", type(value))
    public = cls.__name__ in actloop.__all__ and getattr(actloop, cls.__name__) is cls
    return {"class": cls.__name__} if public else {"class": cls.__qualname__, "module": cls.__module__}


def _setting(agent: Any, name: str) -> Any:
    """The present value of a constructor's argument, or the one that was given."""
    cls = cast("type[Any]", type(agent))
    own = cast("dict[str, Any]", vars(agent))
    for key in (name, f"_{name}"):
        if key in own:
            value = own[key]
            if isinstance(value, tuple):
                return list(cast("tuple[Any, ...]", value))
            return None if name == "step_callbacks" and not value else value
    given = arguments_of(agent)
    default = parameters_of(cls)[name].default
    return given.get(name, None if default is inspect.Parameter.empty else default)


def _logger(agent: MultiStepAgent, writer: Writer) -> dict[str, Any]:
    logger: Any = agent.logger
    given = arguments_of(agent).get("logger") is logger
    if type(logger) is not AgentLogger or (given and vars(logger).get("_console") is not None):
        writer.left_out.append(f"logger ({name_of(logger)})")
    return {"verbosity_level": int(getattr(logger, "level", 1))}


def _tools(agent: MultiStepAgent, writer: Writer) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for key, tool in agent.tools.items():
        if key != tool.name:
            writer.left_out.append(f"tools[{key!r}] (saved under its own name, {tool.name!r})")
        if isinstance(tool, FinalAnswerTool) and agent.answer_type is not None:
            continue  # made from `output_type`
        data, left_out = described(tool)
        told.append(data)
        writer.left_out += [f"tool '{tool.name}': {part}" for part in left_out]
    return told


def _managed(agent: MultiStepAgent, writer: Writer) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for name, managed in agent.managed_agents.items():
        inner: Any = managed.agent if isinstance(managed, ManagedAgent) else managed
        try:
            data, left_out = describe(inner)
        except RecursionError:
            raise ValueError(f"managed agent '{name}' manages itself, which cannot be saved") from None
        if isinstance(managed, ManagedAgent):
            names = [key for key in parameters_of(type(managed)) if key != "agent"]
            own = writer.settings({key: getattr(managed, key) for key in names}, f"agent '{name}'")
            data = {**class_of(managed), **own, "agent": data, "requirements": data["requirements"]}
        told.append(data)
        writer.left_out += [f"agent '{name}': {part}" for part in left_out]
    return told


def describe_model(model: Any, writer: Writer, where: str) -> dict[str, Any]:
    """A model's class and settings, without keys and tokens."""
    cls = cast("type[Any]", type(model))
    named = class_of(model)
    parameters = parameters_of(cls)
    given = {name: value for name, value in arguments_of(model).items() if name in parameters}
    told: dict[str, Any] = model.to_dict() if isinstance(model, Model) else {}
    # What `to_dict` leaves out of these without a word, the writer names.
    given |= {name: value for name, value in told.items() if not _cleaned(given.get(name), value)}
    settings: dict[str, Any] = {**told, **given, **getattr(model, "kwargs", {})}
    if not takes_any_name(cls):
        settings = {name: value for name, value in settings.items() if name in parameters}
    data = writer.settings(settings, where)
    needed = [name for name, one in parameters.items() if one.default is inspect.Parameter.empty and name not in data]
    writer.left_out += [f"{where}.{name} (which {named['class']} needs)" for name in needed]
    return {**named, "data": data}


def _cleaned(given: Any, told: Any) -> bool:
    """Whether a setting as a model tells it is the one it was given, without what cannot be written down."""
    return isinstance(given, dict) and Writer(_write_object).settings({"x": given}) == {"x": told}


def _write_object(writer: Writer, value: Any, place: str) -> Any:
    if value is REMOVE_PARAMETER:
        return {KIND: "remove_parameter"}
    return {KIND: "model", **describe_model(value, writer, place)} if isinstance(value, Model) else None
