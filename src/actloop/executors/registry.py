"""Executors by the names that `executor_type` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import MissingExtraError, SandboxUnavailableError, UnsupportedError
from actloop.executors.checks import declared_options, did_you_mean as did_you_mean, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actloop.executors.fallback import FallbackExecutor

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

_NO_OPTIONS = ("self", "additional_imports", "additional_authorized_imports", "logger")
"""Parameters of executors that are given in other ways."""

_LIMITS_OF_THEIR_OWN = ("timeout_seconds", "timeout", "max_print_outputs_length")
"""Options that set one of the limits, and would set it again in limits that are an executor's own."""


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
        ValueError: The list is empty.
    """
    if isinstance(executor_type, str):
        return executor_type
    if isinstance(executor_type, list | tuple):
        names: list[Any] = list(cast("Sequence[Any]", executor_type))
        if not names:
            raise ValueError(
                f"executor_type={executor_type!r} names no executor: give one or more of {', '.join(NAMES)}"
            )
        if all(isinstance(name, str) for name in names):
            return names
    raise TypeError(
        f"executor_type={executor_type!r:.100}: give one of the names {', '.join(NAMES)}, or a list of names; an "
        "executor that you made goes to executor="
    )


def checked_options(executor_kwargs: Any) -> dict[str, Any]:
    """What `executor_kwargs` was given, as a dict; None is an empty one.

    Raises:
        TypeError: It is no dict.
    """
    if executor_kwargs is None:
        return {}
    if not isinstance(executor_kwargs, Mapping):
        raise TypeError(f"executor_kwargs is a dict of options; got {type(executor_kwargs).__name__}")
    return dict(cast("Mapping[str, Any]", executor_kwargs))


def split_options(names: Sequence[str], options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The options that are for all executors, and those that are for one of them: under its name.

    Args:
        names: The executors that were asked for.
        options: What `executor_kwargs` was given.

    Raises:
        TypeError: Those under a name are no options, or are those of an executor that was not asked for.
    """
    shared: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        if name not in _CLASSES:
            shared[name] = value
        elif name not in names:
            raise TypeError(
                f"there are options for {name!r}, which is not among the executors asked for: {', '.join(names)}"
            )
        elif not isinstance(value, Mapping):
            raise TypeError(
                f"executor_kwargs[{name!r}] is a dict of that executor's own options; got {type(value).__name__}"
            )
        else:
            own[name] = dict(cast("Mapping[str, Any]", value))
    return shared, own


def merged_options(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one executor: its own come before those that it shares with others."""
    displaced = _LIMITS_OF_THEIR_OWN if "limits" in own else ()
    return {name: value for name, value in shared.items() if name not in displaced} | dict(own)


def check_options(made: type, options: Iterable[str]) -> None:
    """Refuse options that no constructor of a class takes, by the name of the class that the user asked for.

    Raises:
        TypeError: It does not take one of them.
    """
    refuse_unknown(made, options, options_of(made))


def options_of(made: type) -> dict[str, Any]:
    """The options that a class takes by name; where it hands on what it does not know, those of its bases, too.

    Returns:
        The type of each, as it is written where it is declared.
    """
    return {name: kind for name, kind in declared_options(made).items() if name not in _NO_OPTIONS}


def make_executor(
    executor_type: str | Sequence[str], imports: list[str], logger: Any, options: Mapping[str, Any]
) -> Any:
    """Make an executor, or one that falls over to the next of several.

    Args:
        executor_type: Its name; or several, of which each takes the programs that those before it cannot run.
        imports: Modules that programs may import besides the standard library's.
        logger: Prints what happens.
        options: Keyword arguments of its class; with several names, each takes those that it knows. A dict under the
            name of one of them holds its own, which it must know, and which come first.

    Raises:
        ValueError: There is no such executor.
        TypeError: `executor_type` is neither a name nor a list of names, or an option is not known.
    """
    executor_type = checked_type(executor_type)
    if not isinstance(executor_type, str):
        return fallback_executor(executor_type, imports, logger, options)
    made = executor_class(executor_type)
    shared, own = split_options([executor_type], options)
    options = merged_options(shared, own.get(executor_type, {}))
    check_options(made, options)
    return made(imports, **options) if executor_type == "local" else made(imports, logger, **options)


def fallback_executor(
    names: list[str], imports: list[str], logger: Any, options: Mapping[str, Any]
) -> FallbackExecutor:
    """An executor of several, by their names.

    Args:
        names: In the order in which they are tried.
        imports: Modules that programs may import; an executor that has no others than its own is not asked for them.
        logger: Prints what happens.
        options: Keyword arguments; each class gets those that it knows, and those under its name. One that cannot keep
            what is asked of it, such as a workspace, is passed over.

    Raises:
        ValueError: One of the names is not known, there are none, or an option has a wrong value.
        TypeError: None of the classes knows an option, or one does not know an option of its own.
        SandboxUnavailableError: None of them can keep what is asked.
    """
    from actloop.executors.fallback import FallbackExecutor, none_left

    classes: dict[str, Any] = {name: executor_class(name) for name in names}
    shared, own = split_options(names, options)
    for name, given in own.items():
        check_options(classes[name], given)
    known = {name: options_of(made) for name, made in classes.items()}
    anything = {name for name, kind in classes.items() if getattr(kind, "takes_more", False)}
    nobodys = [option for option in shared if not any(option in taken for taken in known.values())]
    if nobodys and not anything:
        hint = did_you_mean(nobodys[0], sorted({*names}.union(*known.values())))
        raise TypeError(f"none of the executors {', '.join(names)} takes an option {nobodys[0]!r}{hint}")
    made: list[Any] = []
    reasons: list[str] = []
    for name, kind in classes.items():
        taken = {
            option: value
            for option, value in shared.items()
            if option in known[name] or (name in anything and option in nobodys)
        }
        given = merged_options(taken, own.get(name, {}))
        wanted = [] if hasattr(kind, "lacks") else imports
        try:
            made.append(kind(wanted, **given) if name == "local" else kind(wanted, logger, **given))
        except (UnsupportedError, MissingExtraError, SandboxUnavailableError) as error:
            reason = _shortly(str(error), kind)
            reasons.append(f"{name}: {reason}")
            if logger is not None:
                logger.log(f"{name} is passed over: {reason}", level="info", markup=False)
    if not made:
        raise none_left(reasons)
    return FallbackExecutor(made, logger)


def _shortly(text: str, kind: type) -> str:
    """What a class that refuses its options says of itself, without what to do about it."""
    if not text.startswith(f"{kind.__name__} "):
        return text
    return "it " + text.removeprefix(f"{kind.__name__} ").partition(": ")[0]
