"""An agent from plain data. No code is run and no address is trusted unless the caller says so."""

from __future__ import annotations

import warnings
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from actloop.agents.managed import ManagedAgent
from actloop.agents.prompting import EMPTY_PROMPT_TEMPLATES, packaged_templates
from actloop.agents.stored import PARTS
from actloop.executors.registry import NAMES as EXECUTORS
from actloop.guest import BASE_BUILTIN_MODULES
from actloop.models.base import REMOVE_PARAMETER, Model
from actloop.tools import saving as tools
from actloop.tools.final_answer import FinalAnswerTool
from actloop.ui.logger import LogLevel
from actloop.values.arguments import parameters_of
from actloop.values.cuts import cut
from actloop.values.plain import KIND, foreign_classes, kinds_in, read

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from actloop.agents.base import MultiStepAgent

_DEPTH = 16
"""How deeply agents may manage agents that manage agents."""

_FORMER_MODELS = {"HfApiModel": "InferenceClientModel"}
_ABOUT = PARTS | {"class", "module", "actloop", "requirements", "authorized_imports", "default_prompts"}
_HARMLESS_OPTIONS = frozenset({"timeout_seconds", "max_print_outputs_length", "limits"})
_ADDRESS_NAMES = ("base", "url", "uri", "endpoint", "host", "proxy", "proxies", "header", "headers", "kwargs", "router")
_TYPES: dict[str, tuple[type, ...]] = {
    "actloop": (str,),
    "additional_authorized_imports": (list,),
    "allow_hosts": (list,),
    "authorized_imports": (list,),
    "class": (str,),
    "description": (str, type(None)),
    "executor_kwargs": (dict, type(None)),
    "executor_type": (str, list, type(None)),
    "instructions": (str, type(None)),
    "managed_agents": (list,),
    "model": (dict,),
    "module": (str,),
    "name": (str, type(None)),
    "prompt_templates": (dict, type(None)),
    "tools": (list,),
}


def restore(cls: type, data: Mapping[str, Any], trust: bool, overrides: dict[str, Any]) -> MultiStepAgent:
    """The agent that `stored.describe` wrote down, or smolagents did.

    Args:
        cls: The class it was asked of; a saved class that derives from it is preferred.
        data: Plain data. Nothing in it is trusted.
        trust: Run code that was saved, import modules and contact addresses that are named in it.
        overrides: Arguments of the constructor that replace what was saved; `model` does so in managed agents, too.

    Raises:
        ValueError: It is not an agent's data, or it needs consent and `trust` is not given.
    """
    try:
        _check(data, 0)
        wanted = list(dict.fromkeys(_needs_consent(data, overrides)))
    except RecursionError:
        raise ValueError("the saved agent is nested too deeply") from None
    if wanted and trust is not True:
        listed = "\n".join(f"  - {what}" for what in wanted)
        raise ValueError(
            f"Loading this agent would do the following in this process, outside any sandbox:\n{listed}\n"
            "Read what was saved, and pass trust_remote_code=True if you trust it."
        )
    return _build(cls, data, trust is True, overrides)


def _check(data: Any, depth: int) -> None:
    """Refuse data that is not of the form of an agent's."""
    if not isinstance(data, dict):
        raise ValueError(f"a saved agent is an object with its settings; got {type(data).__name__}")
    if depth > _DEPTH:
        raise ValueError(f"the saved agent is nested too deeply: more than {_DEPTH} agents manage one another")
    agent = cast("dict[str, Any]", data)
    if depth > 0 and _is_wrapper(agent):
        return _check(agent["agent"], depth + 1)
    for key, types in _TYPES.items():
        if key in agent and not isinstance(agent[key], types):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in types)
            raise ValueError(f"'{key}' of a saved agent is a {expected}; got {type(agent[key]).__name__}")
    if "class" not in agent:
        raise ValueError("a saved agent names its 'class', such as 'CodeAgent'; this one names none")
    for tool in agent.get("tools", ()):
        if not isinstance(tool, dict) or not isinstance(cast("dict[str, Any]", tool).get("name"), str):
            raise ValueError(
                f"a saved tool is an object with a 'name' and its 'code'; got {cut(str(cast('Any', tool)), 100)}"
            )
    for managed in agent.get("managed_agents", ()):
        _check(managed, depth + 1)
    _check_templates(agent.get("prompt_templates"))
    return None


def _is_wrapper(data: Mapping[str, Any]) -> bool:
    """Whether the data of a managed agent is that of a `ManagedAgent` around one."""
    return data.get("class") == ManagedAgent.__name__ and "agent" in data


def _check_templates(templates: Any) -> None:
    for key, value in cast("dict[str, Any]", templates or {}).items():
        whole = isinstance(EMPTY_PROMPT_TEMPLATES.get(key, ""), str)
        parts: list[Any] = [value]
        if isinstance(value, dict) and not whole:
            parts = list(cast("dict[str, Any]", value).values())
        elif isinstance(value, list) and whole:
            turns = cast("list[Any]", value)
            parts = [text for turn in turns for text in (_values(turn) or [None])]
        if isinstance(value, str) != (whole and not isinstance(value, list)) or not _are_texts(parts):
            raise ValueError(f"the prompt template '{key}' of a saved agent must be text, or texts by name")


def _values(turn: Any) -> list[Any]:
    return list(cast("dict[str, Any]", turn).values()) if isinstance(turn, dict) else []


def _are_texts(parts: list[Any]) -> bool:
    return all(isinstance(part, str) for part in parts)


# What needs the caller's consent


def _needs_consent(data: Mapping[str, Any], overrides: Mapping[str, Any], who: str = "") -> Generator[str]:
    """What loading would do that saved data alone must not bring about, in words.

    This is for the caller to read. What it overlooked is refused all the same where it would be done: nothing below
    imports a module or believes an address without being told to.
    """
    if _own_agent_class(data) is None:
        yield f"import the module {data.get('module')} for the class {data.get('class')}{who}"
    if "tools" not in overrides:
        for tool in data.get("tools", ()):
            if tools.runs_code(tool):
                lines = str(tool.get("code", "")).count("\n") + 1
                yield f"run the code of the tool '{tool['name']}'{who} ({tool.get('file', f'{lines} lines')})"
    if "model" not in overrides and "model" in data:
        yield from (f"{what}{who}" for what in _model_needs(data["model"]))
    settings = {key: value for key, value in data.items() if key not in _ABOUT and key not in overrides}
    yield from (f"{what}{who}" for what in _settings_need(settings))
    options = sorted(set(_executor_options(data.get("executor_kwargs") or {})) - _HARMLESS_OPTIONS)
    if options and "executor_kwargs" not in overrides:
        yield f"change how the sandbox{who} is made: executor_kwargs {', '.join(options)}"
    if data.get("executor_type", "local") != "local" and "executor_type" not in overrides:
        yield f"run the programs{who} elsewhere than in the kernel sandbox: executor_type {data['executor_type']}"
    if data.get("workspace") and "workspace" not in overrides:
        yield f"give the programs{who} a folder of this machine: workspace {cut(str(data['workspace']), 200)}"
    if data.get("allow_hosts") and "allow_hosts" not in overrides:
        yield f"let the programs{who} send requests to {cut(', '.join(map(str, data['allow_hosts'])), 200)}"
    if "managed_agents" not in overrides:
        handed = {"model": None} if "model" in overrides else {}
        for managed in data.get("managed_agents", ()):
            name = f" of the agent '{managed.get('name')}'"
            if _is_wrapper(managed):
                own = {key: value for key, value in managed.items() if key != "agent"}
                yield from (f"{what}{name}" for what in _settings_need(own))
                managed = managed["agent"]
            yield from _needs_consent(managed, handed, name)


def _executor_options(given: Mapping[str, Any]) -> Generator[str]:
    """The names of executors' options; those that are one executor's own with its name, unless they are harmless."""
    for name, value in given.items():
        if name in EXECUTORS and isinstance(value, dict) and KIND not in value:
            yield from (own if own in _HARMLESS_OPTIONS else f"{name}.{own}" for own in cast("dict[str, Any]", value))
        else:
            yield name


def _settings_need(settings: Any) -> Generator[str]:
    yield from (f"import the module of {name}" for name in foreign_classes(settings))
    for model in kinds_in(settings, "model"):
        yield from _model_needs(model)


def _model_needs(model: Mapping[str, Any]) -> Generator[str]:
    name = _FORMER_MODELS.get(str(model.get("class")), str(model.get("class")))
    if "module" in model and not _is_own_module(model["module"]):
        yield f"import the module {model['module']} for the class {name}"
    yield from _settings_need(model.get("data"))
    for place, value in _leaves(model.get("data"), ""):
        last = place.rpartition(".")[2].lower()
        if last == "trust_remote_code" and value:
            yield f"let {name} run code that comes with a model ({place})"
        elif (isinstance(value, str) and "://" in value) or (value and set(last.split("_")) & {*_ADDRESS_NAMES}):
            yield f"have {name} send requests, and your key, as {place}={cut(str(value), 100)!r} says"


def _is_own_module(home: Any) -> bool:
    return isinstance(home, str) and home.startswith("actloop.")


def _leaves(value: Any, place: str) -> Generator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            yield from _leaves(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _leaves(item, place)
    else:
        yield place, value


# Building


def _public(name: str) -> Any:
    import actloop

    return getattr(actloop, name) if name in actloop.__all__ else None


def _own_agent_class(data: Mapping[str, Any]) -> type | None:
    """The class of a saved agent, where it is one of actloop's."""
    from actloop.agents.base import MultiStepAgent

    home = data.get("module")
    if home and not _is_own_module(home):
        return None
    found: Any = _imported(data, "agent", trust=False) if home else _public(str(data.get("class")))
    return found if isinstance(found, type) and issubclass(found, MultiStepAgent) else None


def _agent_class(cls: type, data: Mapping[str, Any], *, trust: bool) -> type:
    from actloop.agents.base import MultiStepAgent

    found: Any = _own_agent_class(data)
    if found is None:
        found = _imported(data, "agent", trust=trust)
    if not isinstance(found, type) or not issubclass(found, MultiStepAgent):
        raise ValueError(f"{data.get('class')!r} is no class of agents")
    return found if issubclass(found, cls) else cls


def _imported(data: Mapping[str, Any], what: str, *, trust: bool) -> Any:
    name, home = str(data.get("class")), data.get("module")
    if not isinstance(home, str):
        raise ValueError(f"there is no {what} of the class {name!r} in actloop")
    if not trust and not _is_own_module(home):
        raise ValueError(f"loading the {what} imports the module {home}; pass trust_remote_code=True if you trust it")
    try:
        found: Any = import_module(home)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"the class {name} of the saved {what} is not found in {home}: {error}") from error
    return found


def _build(cls: type, data: Mapping[str, Any], trust: bool, overrides: Mapping[str, Any]) -> Any:
    target: Any = _agent_class(cls, data, trust=trust)
    accepted = parameters_of(target)
    settings = {key: value for key, value in data.items() if key in accepted and key not in PARTS}
    if "actloop" not in data:  # smolagents writes null where nothing was given
        settings = {key: value for key, value in settings.items() if value is not None}
    if "additional_authorized_imports" not in settings and "additional_authorized_imports" in accepted:
        more = [name for name in data.get("authorized_imports", ()) if name not in BASE_BUILTIN_MODULES]
        settings["additional_authorized_imports"] = more
    arguments: dict[str, Any] = {key: _read(value, trust) for key, value in settings.items() if key not in overrides}
    if overrides.get("executor") is not None:  # takes the place of the saved one
        for name in ("executor_type", "executor_kwargs"):
            arguments.pop(name, None)
    arguments |= _templates(data)
    if data.get("verbosity_level") is not None:
        level = data["verbosity_level"]
        arguments["verbosity_level"] = LogLevel(level) if level in {*LogLevel} else level
    if "model" not in overrides:
        arguments["model"] = build_model(data.get("model", {}), trust=trust)
    if "tools" not in overrides:
        loaded = [tools.from_dict(tool, trust_remote_code=trust) for tool in data.get("tools", ())]
        typed = overrides.get("output_type") is not None  # then the agent makes a final answer of that type
        arguments["tools"] = [tool for tool in loaded if not (typed and type(tool) is FinalAnswerTool)]
    if "managed_agents" not in overrides:
        handed = {"model": overrides["model"]} if "model" in overrides else {}
        arguments["managed_agents"] = [_managed(one, trust, handed) for one in data.get("managed_agents", ())]
    unknown = sorted(key for key in data if key not in accepted and key not in _ABOUT and data[key] is not None)
    if unknown:
        warnings.warn(f"{target.__name__} takes no such settings as were saved: {', '.join(unknown)}", stacklevel=5)
    return target(**{**arguments, **overrides})


def _managed(data: Mapping[str, Any], trust: bool, handed: Mapping[str, Any]) -> Any:
    from actloop.agents.base import MultiStepAgent

    if not _is_wrapper(data):
        return _build(MultiStepAgent, data, trust, handed)
    names = [key for key in parameters_of(ManagedAgent) if key != "agent" and key in data]
    own = {key: _read(data[key], trust) for key in names}
    return ManagedAgent(_build(MultiStepAgent, data["agent"], trust, handed), **own)


def _templates(data: Mapping[str, Any]) -> dict[str, Any]:
    """The templates, unless they are those that the class uses by itself."""
    templates = data.get("prompt_templates")
    if not templates:
        return {}
    if data.get("default_prompts") is True and any(templates == packaged_templates(name) for name in _packaged()):
        return {}
    return {"prompt_templates": templates}


def _packaged() -> list[str]:
    from importlib import resources

    files = resources.files("actloop.prompts").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def build_model(data: Mapping[str, Any], *, trust: bool) -> Model:
    """A model from its class and settings.

    Args:
        data: What was saved of it.
        trust: Import the module that it names, and believe the addresses in it.

    Raises:
        ValueError: There is no such class, it cannot be made of these settings, or `trust` is needed.
    """
    if not trust and (needs := list(_model_needs(data))):
        raise ValueError(f"loading this model would {needs[0]}; pass trust_remote_code=True if you trust it")
    name = str(data.get("class"))
    named = "module" in data
    found: Any = _imported(data, "model", trust=trust) if named else _public(_FORMER_MODELS.get(name, name))
    if not isinstance(found, type) or not issubclass(found, Model):
        raise ValueError(f"the saved agent's model is of the class {name!r}, which actloop has not; pass model=")
    settings: Any = data.get("data") or {}
    if not isinstance(settings, dict):
        raise ValueError(f"the settings of a saved model are an object; got {type(settings).__name__}")
    try:
        return found.from_dict(_read(settings, trust))
    except TypeError as error:
        raise ValueError(f"{name} cannot be made again of what was saved ({error}); pass model=") from error


def _read(value: Any, trust: bool) -> Any:
    return read(value, partial(_read_object, trust=trust), trust=trust)


def _read_object(data: dict[str, Any], *, trust: bool) -> Any:
    if data[KIND] == "remove_parameter":
        return REMOVE_PARAMETER
    if data[KIND] == "model":
        return build_model(data, trust=trust)
    raise ValueError(f"no value of the kind {data[KIND]!r} can be loaded; a newer version may have saved it")
