"""Where an agent's programs run, as the command line's options ask for it, and the secrets that they name."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from actloop.cli.executor_options import read_executor_options
from actloop.cli.settings import MIB, UsageError
from actloop.errors import AgentError, InterpreterError, SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from actloop.cli.settings import ProgramOptions, Settings
    from actloop.ui.logger import AgentLogger
    from actloop.values.secrets import Secret

_WORDS = {
    "allow_hosts: ": "",
    "writable=True": "--writable",
    "leave workspace out": "leave --workspace out",
    "executor_type=['monty', 'local']": "--executor monty,local",
}
"""What messages for programmers name, in the words of the command line."""

_TELLS_WHERE = frozenset({"api_key", "base_url", "deno_path"})
"""Options that say what would be looked for in the environment."""


@contextmanager
def open_executor(options: ProgramOptions, logger: AgentLogger) -> Generator[Any]:
    """The executor that the options ask for, ended at the end; whatever is missing for it is told of here.

    Raises:
        UsageError: An option is wrong, or the executor cannot keep it.
        SandboxUnavailableError: It is not ready.
    """
    names = _names(options.executor)
    given = _executor_options(options, names)
    if "allow_hosts" in given:
        _check_networked(names)
    if len(names) == 1:
        _check_ready(names[0], given, chosen=options.executor is not None)
    else:
        names = _ready_of(names, given, logger)
    executor = _make(names, options.imports or [], logger, given)
    try:
        yield executor
    finally:
        executor.cleanup()


def read_secrets(settings: Settings) -> dict[str, str | Secret]:
    """The secrets that the options name, from the environment.

    Raises:
        UsageError: One is not there, or cannot be one.
    """
    from actloop.values.secrets import Secret, Vault

    found: dict[str, str | Secret] = {}
    options = (("--secret", settings.agent.secret), ("--sandbox-secret", settings.programs.sandbox_secret))
    for option, names in options:
        for name in names or ():
            if not name.isidentifier():  # it may be a value: it is not repeated
                raise UsageError(
                    f"{option} takes the name of an environment variable, such as API_TOKEN; its value is read there"
                )
            value = os.environ.get(name)
            if not value:
                raise UsageError(f"{option} {name}: there is no environment variable of this name, or it is empty")
            found[name] = Secret(value, "tools" if option == "--secret" else "sandbox")
            try:
                Vault(found)
            except ValueError as error:
                raise UsageError(f"{option}: {error}") from error
    return found


def _names(given: str | None) -> list[str]:
    from actloop.executors.registry import NAMES

    if given is None:
        return ["local"]
    names = list(dict.fromkeys(name.strip() for name in given.split(",")))
    for name in names:
        if name not in NAMES:
            raise UsageError(
                f"--executor {name or repr(given)}: there is no such executor; there are {', '.join(NAMES)}"
            )
    return names


def _executor_options(options: ProgramOptions, names: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments for executors' classes."""
    asked: dict[str, Any] = {}
    if options.timeout is not None:
        asked["wall"] = options.timeout
    if options.memory is not None:
        asked["memory"] = options.memory * MIB
    given = read_executor_options(options, names, asked)
    if options.workspace is not None:
        given["workspace"] = _workspace(options)
    elif options.writable or options.quota is not None:
        raise UsageError(f"{'--writable' if options.writable else '--quota'} is for --workspace FOLDER")
    if options.allow_host:
        from actloop.executors.network import NetworkPolicy

        try:
            NetworkPolicy(options.allow_host)
        except ValueError as error:
            raise UsageError(f"--allow-host: {_in_options(error)}") from error
        given["allow_hosts"] = options.allow_host
    return given


def _workspace(options: ProgramOptions) -> Any:
    from actloop.executors.workspace import DEFAULT_QUOTA, Workspace

    quota = DEFAULT_QUOTA if options.quota is None else options.quota * MIB
    try:
        return Workspace(options.workspace or "", options.writable, quota)
    except ValueError as error:
        raise UsageError(f"--workspace: {_in_options(error)}") from error


def _check_networked(names: Sequence[str]) -> None:
    from actloop.executors.registry import executor_class

    if not any(executor_class(name).networked for name in names):
        raise UsageError(f"--allow-host: programs have no network in {' and '.join(names)}; choose another --executor")


def _check_ready(name: str, given: Mapping[str, Any], *, chosen: bool) -> None:
    reason = _missing(name, given)
    if not reason and name == "wasm":
        reason = _fetch_pyodide(given)
    if reason and chosen:
        raise SandboxUnavailableError(f"--executor {name} is not ready: {reason}")
    if reason:
        raise SandboxUnavailableError(
            f"programs cannot run on this machine: {reason}. Choose another place with --executor; `actloop doctor` "
            "lists them"
        )


def _fetch_pyodide(given: Mapping[str, Any]) -> str:
    """Fetch what WebAssembly needs once, as the embedded model is; why that failed, or empty."""
    from actloop.executors.wasm import assets

    try:
        deno = assets.find_deno(_own(given, "wasm").get("deno_path", "deno"))
        assets.ensure_pyodide(deno, lambda line: print(line, file=sys.stderr, flush=True))
    except AgentError as error:
        return str(error)
    return ""


def _ready_of(names: Sequence[str], given: dict[str, Any], logger: AgentLogger) -> list[str]:
    """Those of several that are ready; the others are told of, and options that are theirs alone dropped."""
    missing = {name: _missing(name, given) for name in names}
    ready = [name for name in names if not missing[name]]
    told = [f"{name}: {reason}" for name, reason in missing.items() if reason]
    if not ready:
        raise SandboxUnavailableError(f"--executor {','.join(names)}: none is ready. {'. '.join(told)}")
    for line in told:
        logger.log(f"Not ready: {line}", level="info", markup=False)
    for option in [option for option in given if missing.get(option)]:
        del given[option]
    return ready


def _missing(name: str, given: Mapping[str, Any]) -> str:
    """The one thing that an executor lacks; empty when it is ready, or was told where to look for itself."""
    from actloop.executors.registry import executor_class

    return "" if _own(given, name).keys() & _TELLS_WHERE else executor_class(name).why_unavailable()


def _own(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The options that an executor gets."""
    from actloop.executors.registry import executor_class, merged_options, options_of

    kind = executor_class(name)
    known = {*options_of(kind), *(_TELLS_WHERE if kind.takes_more else ())}
    return merged_options({key: value for key, value in given.items() if key in known}, given.get(name, {}))


def _make(names: list[str], imports: list[str], logger: AgentLogger, given: dict[str, Any]) -> Any:
    from actloop.executors.registry import make_executor

    chosen = ",".join(names)
    try:
        return make_executor(names[0] if len(names) == 1 else names, imports, logger, given)
    except InterpreterError as error:
        raise UsageError(f"--imports: {_in_options(error)}") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"--executor {chosen}: {_in_options(error)}") from error
    except AgentError as error:
        raise SandboxUnavailableError(f"--executor {chosen} is not ready: {_in_options(error)}") from error


def _in_options(error: Exception) -> str:
    told = str(error)
    for theirs, ours in _WORDS.items():
        told = told.replace(theirs, ours)
    return told
