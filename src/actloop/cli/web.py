"""`actloop web`: does a task in a web browser."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from actloop.cli.settings import AGENT_DEFAULTS, PROGRAM_DEFAULTS, AgentOptions, ProgramOptions, Settings, UsageError


def web(
    task: str,
    /,
    *,
    url: str | None = None,
    agent: AgentOptions = AGENT_DEFAULTS,
    programs: ProgramOptions = PROGRAM_DEFAULTS,
    verbosity: Annotated[
        int, Parameter(name=["--verbosity", "--verbosity-level"], validator=Number(gte=-1, lte=2))
    ] = 1,
    vision: Annotated[bool | None, Parameter(negative="--no-vision")] = None,
    show: bool = False,
    allow_private: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Do a task in a web browser of its own.

    Parameters
    ----------
    task
        What to do; `-` reads it from standard input.
    url
        A page to begin on.
    verbosity
        -1 prints only the answer, 0 errors, too, 1 the steps, 2 prompts and tool calls, too.
    vision
        Show the model screenshots, or with --no-vision the pages as text; by default what the model takes.
    show
        Open the browser's window.
    allow_private
        Let pages on this machine and in private networks be opened.
    as_json
        Write events as JSON lines to standard output, and nothing else.
    """
    from actloop.cli import setup

    settings, _ = Settings(agent=agent, programs=programs, verbosity=verbosity, as_json=as_json).split(task)
    task = setup.stdin_task() if task == "\0stdin" else task
    if not task.strip():
        raise UsageError("the task is empty")
    return _run_web(settings, task, url, vision=vision, show=show, allow_private=allow_private)


def _run_web(
    settings: Settings, task: str, url: str | None, *, vision: bool | None, show: bool, allow_private: bool
) -> int:
    from actloop.cli import running, setup
    from actloop.screens.browser import first_task, web_agent
    from actloop.screens.browsing import Browser
    from actloop.screens.chromium import find_chromium

    # What is missing is said before a model is loaded.
    executable = find_chromium()
    secrets = setup.read_secrets(settings)
    logger = running.make_logger(settings)
    with (
        setup.open_executor(settings.programs, logger) as executor,
        setup.open_tools(settings) as tools,
        Browser(headless=not show, allow_private=allow_private, executable=executable) as browser,
        setup.open_model(settings) as model,
    ):
        sees = bool(getattr(model, "supports_images", False)) if vision is None else vision
        with web_agent(
            model,
            browser,
            vision=sees,
            tools=tools,
            executor=executor,
            secrets=secrets,
            additional_authorized_imports=settings.programs.imports,
            max_steps=settings.agent.max_steps,
            stream_outputs=not settings.as_json,
            logger=logger,
            journal=None if settings.agent.no_journal else "default",
        ) as agent:
            told, images = first_task(task, browser, url, vision=sees)
            return running.run_agent(agent, told, reset=True, images=images or None)
