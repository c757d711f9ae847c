"""`actloop`: runs a task from the command line, and looks at what runs have left."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from actloop.cli.settings import AGENT_DEFAULTS, PROGRAM_DEFAULTS, AgentOptions, ProgramOptions, Settings, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

WRONG_USE, INTERRUPTED = 2, 130
STDIN = "\0stdin"
"""Stands for `-` among the arguments: the parser takes that for an option."""

EPILOGUE = """\
Without a task, a conversation begins. A task that is also a command's name goes behind `run`: actloop run "doctor".
Without options, the model is the embedded one, or what ACTLOOP_MODEL names (a known model, or the path of a GGUF file).
Exit codes: 0 answered, 1 not answered, 2 wrong use, 130 interrupted."""

app = App(
    name="actloop",
    help="Give a task to an agent that acts by writing Python, which runs in a sandbox.",
    help_epilogue=EPILOGUE,
    help_format="plaintext",
    version=lambda: _version(),
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)


@app.default
def run(
    task: str | None = None,
    /,
    *,
    agent: AgentOptions = AGENT_DEFAULTS,
    action_type: str = "code",
    programs: ProgramOptions = PROGRAM_DEFAULTS,
    verbosity: Annotated[
        int, Parameter(name=["--verbosity", "--verbosity-level"], validator=Number(gte=-1, lte=2))
    ] = 1,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Run a task.

    Parameters
    ----------
    task
        What to do; `-` reads it from standard input.
    action_type
        "code" acts by programs, "tool_calling" by tool calls.
    verbosity
        -1 prints only the answer, 0 errors, too, 1 the steps, 2 prompts and tool calls, too.
    as_json
        Write events as JSON lines to standard output, and nothing else.
    """
    from actloop.cli import running, setup

    settings, task = Settings(
        agent=agent,
        programs=programs,
        action_type=action_type.replace("-", "_"),
        verbosity=verbosity,
        as_json=as_json,
    ).split(task)
    if task is None:
        return running.converse(settings)
    task = setup.stdin_task() if task == STDIN else task
    if not task.strip():
        raise UsageError("the task is empty")
    return running.run_task(settings, task)


# A command's own help ends without the epilogue, which is about tasks; those loaded late have theirs listed from here.
app.command(run, name="run", help_epilogue="")
app.command("actloop.cli.web:web", name="web", help="Do a task in a web browser of its own.", help_epilogue="")
app.command(
    "actloop.cli.mcp:mcp",
    name="mcp",
    help="Serve an agent to MCP clients, over standard input and output or over HTTP, until they leave or Ctrl-C.",
    help_epilogue="",
)


@app.command(help_epilogue="")
def runs(
    *,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 20,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """List the latest runs.

    Parameters
    ----------
    limit
        How many.
    as_json
        One JSON object a line.
    """
    from actloop.cli.reports import list_runs

    return list_runs(limit, as_json)


@app.command(help_epilogue="")
def show(
    run: str | None = None,
    /,
    *,
    detailed: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Print a run again, as it was printed.

    Parameters
    ----------
    run
        Its id, or the beginning of it; the latest by default.
    detailed
        Prompts, whole replies and tool calls, too.
    as_json
        Its events as JSON lines.
    """
    from actloop.cli.reports import show_run

    return show_run(run, detailed, as_json)


@app.command(help_epilogue="")
def doctor(*, as_json: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Try what this machine can isolate, and say what is missing.

    Parameters
    ----------
    as_json
        One JSON object.
    """
    from actloop.cli.reports import doctor

    return doctor(as_json)


@app.command(help_epilogue="")
def serve_model(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8080,
    api_key: str | None = None,
    model: str | None = None,
) -> int:
    """Serve the embedded model over HTTP, OpenAI-compatible, until Ctrl-C.

    Parameters
    ----------
    host
        Address to listen on.
    port
        Port to listen on; 0 for any free one.
    api_key
        Key that clients must send (or ACTLOOP_API_KEY); a random one by default, which is printed.
    model
        Name of a known model, or path of a GGUF file.
    """
    from actloop.cli.settings import api_key_of
    from actloop.models.server import serve

    _fetch(model)
    given = api_key_of(api_key)

    def ready(address: str, key: str) -> None:
        print(f"Serving at {address}", flush=True)
        if not given:
            print(f"Key: {key}", flush=True)

    serve(host, port, given, model, ready=ready)
    return 0


@app.command(help_epilogue="")
def fetch_model(model: str | None = None, /) -> int:
    """Fetch a model into the user's cache; goes on where it was broken off.

    Parameters
    ----------
    model
        Name of a known model.
    """
    print(_fetch(model))
    return 0


def _fetch(model: str | None) -> str:
    from actloop.cli.progress import ModelProgress
    from actloop.models.embedded import ensure_model

    with ModelProgress() as progress:
        return str(ensure_model(model, progress))


def _version() -> str:
    import actloop

    return f"actloop {actloop.__version__}"


def command(arguments: Sequence[str]) -> int:
    """Carry out one command; returns the exit code."""
    from actloop.errors import AgentError
    from actloop.journal import UnknownRunError

    try:
        result: object = app([STDIN if argument == "-" else argument for argument in arguments])
    except CycloptsError as error:
        return _complain(f"{error}\n`actloop --help` lists what there is.", WRONG_USE)
    except (UsageError, UnknownRunError) as error:
        return _complain(str(error), WRONG_USE)
    except AgentError as error:
        return _complain(str(error), 1)
    return result if isinstance(result, int) else 0


def _complain(message: str, code: int) -> int:
    from actloop.ui.safe import safe_text

    print(f"actloop: {safe_text(message)}", file=sys.stderr)
    return code


def _terminate(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Entry point of the `actloop` command."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = command(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left; what is still in the buffer must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
