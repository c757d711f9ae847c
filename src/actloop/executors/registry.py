"""Executors by the names that `executor_type` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLASSES = {
    "local": "local:LocalPythonExecutor",
    "docker": "docker:DockerExecutor",
    "wasm": "wasm:WasmExecutor",
    "monty": "monty:MontyExecutor",
    "e2b": "e2b:E2BExecutor",
    "modal": "modal:ModalExecutor",
    "blaxel": "blaxel:BlaxelExecutor",
}
"""Module and class of each; a module is loaded when its executor is asked for."""

NAMES = tuple(_CLASSES)


def executor_class(name: str) -> Any:
    """The class of an executor.

    Raises:
        ValueError: There is no executor of this name.
    """
    if not isinstance(name, str) or name not in _CLASSES:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"executor_type={name!r}: there is no such executor; there are {', '.join(NAMES)}")
    module, _, class_name = _CLASSES[name].partition(":")
    return getattr(import_module(f"actloop.executors.{module}"), class_name)


def checked_type(executor_type: Any) -> str | list[str]:
    """What `executor_type` was given: a name, or a list of names.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(executor_type, str):
        return executor_type
    if isinstance(executor_type, list | tuple):
        names: list[Any] = list(cast("Sequence[Any]", executor_type))
        if all(isinstance(name, str) for name in names):
            return names
    raise TypeError(
        f"executor_type={executor_type!r:.100}: give one of the names {', '.join(NAMES)}, or a list of names; an "
        "executor that you made goes to executor="
    )


def checked_hosts(allow_hosts: Any) -> list[str]:
    """What `allow_hosts` was given, as a list.

    Raises:
        TypeError: It is no list of hosts.
        ValueError: It is one text.
    """
    if isinstance(allow_hosts, str):
        raise ValueError(f"allow_hosts is a list of hosts, not one text: write [{allow_hosts!r}]")
    if isinstance(allow_hosts, Mapping | bytes | bytearray) or not isinstance(allow_hosts, Iterable):
        raise TypeError(f"allow_hosts is a list of hosts; got {type(allow_hosts).__name__}")  # pyright: ignore[reportUnknownArgumentType]
    return list(cast("Iterable[str]", allow_hosts))


def _check_options(made: type, options: Mapping[str, Any]) -> None:
    """Refuse options that no constructor of a class takes, by the name of the class that the user asked for."""
    known = options_of(made)
    for name in options:
        if name not in known and not getattr(made, "takes_more", False):
            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise TypeError(f"{made.__name__} takes no argument '{name}'{hint}")


def options_of(made: type) -> set[str]:
    """The options that a class takes by name; where it hands on what it does not know, those of its bases, too."""
    import inspect

    names: set[str] = set()
    for cls in made.__mro__:
        if "__init__" in vars(cls):
            parameters = inspect.signature(cls.__init__).parameters.values()
            names |= {item.name for item in parameters if item.kind in (item.KEYWORD_ONLY, item.POSITIONAL_OR_KEYWORD)}
            if all(item.kind is not item.VAR_KEYWORD for item in parameters):
                break
    return names - {"self", "additional_imports", "additional_authorized_imports", "logger"}


def make_executor(
    executor_type: str | Sequence[str], imports: list[str], logger: Any, options: Mapping[str, Any]
) -> Any:
    """Make an executor, or one that falls over to the next of several.

    Args:
        executor_type: Its name; or several, of which each takes the programs that those before it cannot run.
        imports: Modules that programs may import besides the standard library's.
        logger: Prints what happens.
        options: Keyword arguments of its class; with several names, each takes those that it knows.

    Raises:
        ValueError: There is no such executor, or it does not know an option.
        TypeError: `executor_type` is neither a name nor a list of names.
    """
    executor_type = checked_type(executor_type)
    if not isinstance(executor_type, str):
        from actloop.executors.fallback import fallback_executor

        return fallback_executor(executor_type, imports, logger, options)
    made = executor_class(executor_type)
    _check_options(made, options)
    return made(imports, **options) if executor_type == "local" else made(imports, logger, **options)
