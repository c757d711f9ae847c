"""Makes the agent that the command line's options ask for."""

from __future__ import annotations

import importlib
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actloop.agents.code import CodeAgent
    from actloop.executors.local import LocalPythonExecutor
    from actloop.models.base import Model
    from actloop.ui.logger import AgentLogger

NAME = re.compile(r"[\w.*/:,\\-]+")
MODEL_TYPES = {
    "local": "local",
    "localmodel": "local",
    "openai": "openai",
    "openaimodel": "openai",
    "openaiservermodel": "openai",
}


class UsageError(Exception):
    """The command was used wrongly; the message says how it is meant."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options say."""

    model_type: str | None = None
    model_id: str | None = None
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    imports: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    max_steps: int = 20
    verbosity: int = 1
    as_json: bool = False
    journal: bool = True


def split_names(values: list[str] | None, task: str | None) -> tuple[tuple[str, ...], str | None]:
    """Names given one by one or with commas between, and the task.

    An option that takes several names swallows a task that stands right behind it; a name has no blanks, so the task is
    found again.
    """
    names = list(values or ())
    if names and task is None and not NAME.fullmatch(names[-1]):
        task = names.pop()
    parts = [part.strip() for name in names for part in name.split(",")]
    return tuple(part for part in parts if part), task


def make_model(settings: Settings) -> Model:
    """The model that the options and the environment ask for; an embedded one is fetched and loaded, with progress.

    Raises:
        UsageError: The options do not fit together.
        AgentError: The model cannot be had.
    """
    kind = settings.model_type
    if kind is not None:
        if kind.lower() not in MODEL_TYPES:
            raise UsageError(f"--model-type {kind}: there is 'local' (the embedded model) and 'openai'")
        kind = MODEL_TYPES[kind.lower()]
    elif settings.api_base or settings.api_key:  # on the command line: a key in the environment chooses nothing
        kind = "openai"
    if kind == "openai":
        from actloop.models.openai import OpenAIModel

        if not settings.model_id:
            raise UsageError("a model behind an API needs its name: --model-id NAME")
        return OpenAIModel(settings.model_id, api_base=settings.api_base, api_key=api_key_of(settings.api_key))
    return _local_model(settings.model_id)


def _local_model(name: str | None) -> Model:
    from actloop.cli.progress import ModelProgress
    from actloop.models.embedded import KNOWN_MODELS
    from actloop.models.local import LocalModel

    if name and name not in KNOWN_MODELS and not Path(name).expanduser().is_file():
        raise UsageError(
            f"--model-id {name}: there is no such file, and the embedded models are {', '.join(KNOWN_MODELS)};"
            " for a model behind an API add --model-type openai or --api-base URL"
        )
    with ModelProgress() as progress:
        model = LocalModel(name, progress=progress)
        try:
            model.load()
        except BaseException:
            model.close()
            raise
    return model


def make_tools(names: tuple[str, ...]) -> list[Any]:
    """Tools by name, or from a module: `package.module:name`.

    Raises:
        UsageError: There is no such tool, it is none, or two have one name.
    """
    from actloop.agents.checks import by_name
    from actloop.tools.default import TOOL_MAPPING

    found: list[Any] = []
    for name in names:
        module, colon, attribute = name.partition(":")
        if colon:
            found.append(_tool_of(module, attribute))
        elif name in TOOL_MAPPING:
            found.append(TOOL_MAPPING[name]())
        else:
            known = ", ".join(TOOL_MAPPING)
            raise UsageError(f"--tools {name}: there is no such tool; known are {known}, or give module:name")
    try:
        named = by_name(found, "tool")
    except TypeError as error:
        raise UsageError(f"--tools: {error}") from error
    if len(named) < len(found):
        raise UsageError(f"--tools {', '.join(names)}: two of them have the same name")
    return found


def _tool_of(module: str, attribute: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        value: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--tools {module}:{attribute}: {error}") from error
    return value() if isinstance(value, type) else value


def make_executor(imports: tuple[str, ...]) -> LocalPythonExecutor:
    """The sandbox for programs that may import these modules; no process is started yet.

    Raises:
        UsageError: A module is not installed.
    """
    from actloop.errors import InterpreterError
    from actloop.executors.local import LocalPythonExecutor

    try:
        return LocalPythonExecutor(imports)
    except InterpreterError as error:
        raise UsageError(f"--imports: {error}") from error


def make_agent(
    settings: Settings, tools: list[Any], executor: LocalPythonExecutor, model: Model, logger: AgentLogger
) -> CodeAgent:
    """The agent for a task or a conversation.

    Raises:
        UsageError: The tools do not fit together.
    """
    from actloop.agents.code import CodeAgent

    try:
        return CodeAgent(
            tools=tools,
            model=model,
            executor=executor,
            additional_authorized_imports=list(settings.imports),
            max_steps=settings.max_steps,
            stream_outputs=not settings.as_json,
            logger=logger,
            journal="default" if settings.journal else None,
        )
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error


def stdin_task() -> str:
    """The task from standard input.

    Raises:
        UsageError: There is none.
    """
    task = sys.stdin.read().strip()
    if not task:
        raise UsageError("standard input holds no task")
    return task


def api_key_of(given: str | None) -> str | None:
    """The key from the option or from `ACTLOOP_API_KEY`."""
    return given or os.environ.get("ACTLOOP_API_KEY") or None
