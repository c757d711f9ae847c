"""Checks of what users pass to an agent: each refusal says what was expected and what came."""

from __future__ import annotations

import difflib
import inspect
import keyword
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

from actloop.memory.callbacks import CallbackRegistry
from actloop.memory.compaction import ContextLimit
from actloop.memory.steps import ActionStep, MemoryStep
from actloop.tools.base import BaseTool
from actloop.ui.logger import LogLevel
from actloop.values.cuts import cut
from actloop.values.secrets import Vault

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


def whole_number(name: str, value: int, *, least: int) -> int:
    """`value`, if it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"{name} must be a whole number, {least} or more; got {value!r}")
    return value


def valid_name(name: str | None) -> str | None:
    """An agent's name: other agents call it by that, as they call a function."""
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise ValueError(f"an agent's name must be a Python identifier and no keyword; got {name!r}")
    return name


def checked_variables(variables: dict[str, Any] | None, taken: set[str]) -> dict[str, Any]:
    """`additional_args` of a run; each becomes a variable, so it needs a variable's name, and not one of a tool."""
    if variables is None:
        return {}
    if not isinstance(variables, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"additional_args must be a dict of variables by name; got {type(variables).__name__}")
    wrong = [name for name in variables if not str(name).isidentifier() or keyword.iskeyword(name)]
    if wrong:
        raise ValueError(f"additional_args must be named as Python variables are; these are not: {wrong}")
    clashing = [name for name in variables if name in taken or name.startswith("__")]
    if clashing:
        raise ValueError(f"additional_args must not hide a tool or a name of Python's own; these do: {clashing}")
    return variables


def check_images(images: Any) -> None:
    """Images of a task are objects of Pillow's: a path or bytes would reach no model."""
    if images is None:
        return
    if not isinstance(images, list | tuple):
        raise TypeError(f"images must be a list of PIL images; got {type(images).__name__}")
    for image in cast("list[Any]", images):
        if not (hasattr(image, "save") and hasattr(image, "size")):
            raise TypeError(cut(f"images must be PIL images (PIL.Image.open(path) makes one); got {image!r}", 300))


def checked_context(context: Any) -> ContextLimit | Literal["off"] | None:
    """How conversations are kept within the model's window."""
    if context is not None and context != "off" and not isinstance(context, ContextLimit):
        raise TypeError(cut(f"context must be a ContextLimit, 'off' or None; got {context!r}", 300))
    return context


def checked_model(model: Any) -> Any:
    """Something that replies."""
    if isinstance(model, type):
        raise TypeError(f"model must be an object: make one of the class, {model.__name__}(...)")
    if not callable(getattr(model, "generate", None)):
        given = cut(f"{type(model).__name__}: {model!r}", 200)
        raise TypeError(f"model must be a model, such as OpenAIModel('name') or LocalModel(); got {given}")
    return model


def checked_level(level: Any) -> LogLevel | int:
    """How much is printed."""
    if isinstance(level, bool) or not isinstance(level, int):
        names = ", ".join(f"LogLevel.{one.name} ({one.value})" for one in LogLevel)
        raise TypeError(cut(f"verbosity_level must be one of {names}; got {level!r}", 300))
    return level


def checked_text(name: str, value: Any) -> str | None:
    """A text, or nothing."""
    if value is not None and not isinstance(value, str):
        raise TypeError(cut(f"{name} must be a text; got {type(value).__name__}: {value!r}", 300))
    return value


def checked_functions(name: str, value: Any) -> list[Any]:
    """A list of functions."""
    if value is None:
        return []
    if not isinstance(value, list | tuple) or not all(callable(item) for item in cast("list[Any]", value)):
        raise TypeError(cut(f"{name} must be a list of functions; got {value!r}", 300))
    return list(cast("list[Any]", value))


def checked_names(name: str, value: Any) -> list[str]:
    """A list of names: a text alone would be taken for its letters."""
    if value is None:
        return []
    if isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise TypeError(cut(f"{name} must be a list of texts, such as ['numpy']; got {value!r}", 300))
    return list(value)


def check_options(cls: type, base: type, given: Mapping[str, Any]) -> None:
    """Refuse arguments that no constructor of the class takes, by the name of the class that the user wrote."""
    known = _arguments_of(cls) | _arguments_of(base)
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise TypeError(f"{cls.__name__} takes no argument '{name}'{hint}")


@cache
def _arguments_of(cls: type) -> frozenset[str]:
    return frozenset(inspect.signature(cls.__init__).parameters)


def checked_secrets(given: Any, taken: Collection[str], *, for_programs: bool) -> Vault:
    """An agent's secrets.

    Args:
        given: As the user gave them.
        taken: Names of its tools and agents.
        for_programs: Whether it runs programs, which may have secrets.
    """
    vault = Vault(given)
    for name in vault.of_sandbox:
        if not for_programs:
            raise ValueError(f"the secret {name} is placed in the sandbox, but this agent runs no programs")
        if name in taken:
            raise ValueError(f"the secret {name} would hide the tool of that name: choose another name")
    return vault


def by_name(items: Sequence[Any], what: str) -> dict[str, Any]:
    """Tools or managed agents by their names."""
    for item in items:
        if isinstance(item, type):
            raise TypeError(f"{what}s must be objects: make one of the class, {item.__name__}(...)")
        if what == "tool" and not isinstance(item, BaseTool):
            raise TypeError(
                f"tools must be Tool objects; got {type(item).__name__}: {item!r}. "
                "Put @tool above a function to make one"
            )
        if what != "tool" and not (getattr(item, "name", None) and getattr(item, "description", None)):
            raise ValueError(f"every managed agent needs a name and a description; {item!r} lacks one")
    return {item.name: item for item in items}


def callback_registry(given: Any) -> CallbackRegistry:
    """The user's step callbacks: a list is for action steps, a dict goes by step class."""
    registry = CallbackRegistry()
    if given is None:
        return registry
    if isinstance(given, list):
        given = {ActionStep: cast("list[Any]", given)}
    if not isinstance(given, dict):
        raise TypeError(f"step_callbacks must be a list, or a dict by step class; got {type(given).__name__}")
    for cls, callbacks in cast("dict[type[MemoryStep], Any]", given).items():
        several = cast("list[Any]", callbacks) if isinstance(callbacks, list) else [callbacks]
        for callback in several:
            registry.register(cls, callback)
    return registry
