"""Executors by the names that `executor_type` takes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    if name not in _CLASSES:
        raise ValueError(f"executor_type={name!r}: there is no such executor; there are {', '.join(NAMES)}")
    module, _, class_name = _CLASSES[name].partition(":")
    return getattr(import_module(f"actloop.executors.{module}"), class_name)


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
    """
    if not isinstance(executor_type, str):
        from actloop.executors.fallback import fallback_executor

        return fallback_executor(list(executor_type), imports, logger, options)
    made = executor_class(executor_type)
    return made(imports, **options) if executor_type == "local" else made(imports, logger, **options)
