"""`actloop web`: does a task in a web browser."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

Names = Annotated[list[str] | None, Parameter(consume_multiple=True)]


def web(
    task: str,
    /,
    *,
    url: str | None = None,
    model_type: str | None = None,
    model_id: Annotated[str | None, Parameter(name=["--model-id", "--model"])] = None,
    api_base: str | None = None,
    api_key: str | None = None,
    provider: str | None = None,
    tools: Names = None,
    mcp: Annotated[list[str] | None, Parameter(name="--mcp")] = None,
    max_steps: Annotated[int, Parameter(validator=Number(gte=0))] = 20,
    verbosity: Annotated[
        int, Parameter(name=["--verbosity", "--verbosity-level"], validator=Number(gte=-1, lte=2))
    ] = 1,
    vision: Annotated[bool | None, Parameter(negative="--no-vision")] = None,
    show: bool = False,
    allow_private: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    no_journal: bool = False,
) -> int:
    """Do a task in a web browser of its own.

    Parameters
    ----------
    task
        What to do; `-` reads it from standard input.
    url
        A page to begin on.
    model_type
        As for a task without a browser.
    model_id
        The model's name, or the path of a GGUF file.
    api_base
        Address of the service.
    api_key
        Key of the service; better given as ACTLOOP_API_KEY or OPENAI_API_KEY, which no list of processes shows.
    provider
        Provider of Hugging Face's inference.
    tools
        Further tools: names of default tools, module:name for your own, or owner/space for a Space.
    mcp
        An MCP server whose tools may be called, too: its address, or the command that starts it.
    max_steps
        Steps that the run may take.
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
    no_journal
        Keep no record of the run.
    """
    from actloop.cli import setup

    tool_names, found = setup.split_names(tools, task)
    task = setup.stdin_task() if found in (None, "\0stdin") else str(found)
    if not task.strip():
        raise setup.UsageError("the task is empty")
    settings = setup.Settings(
        model_type=model_type,
        model_id=model_id,
        api_base=api_base,
        api_key=api_key,
        provider=provider,
        tools=tool_names,
        mcp=tuple(mcp or ()),
        max_steps=max_steps,
        verbosity=verbosity,
        as_json=as_json,
        journal=not no_journal,
    )
    return _run_web(settings, task, url, vision=vision, show=show, allow_private=allow_private)


def _run_web(settings: Any, task: str, url: str | None, *, vision: bool | None, show: bool, allow_private: bool) -> int:
    from actloop.cli import running, setup
    from actloop.screens.browser import first_task, web_agent
    from actloop.screens.browsing import Browser
    from actloop.screens.chromium import find_chromium

    # What is missing is said before a model is loaded.
    executable = find_chromium()
    with (
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
            max_steps=settings.max_steps,
            stream_outputs=not settings.as_json,
            logger=running.make_logger(settings),
            journal="default" if settings.journal else None,
        ) as agent:
            told, images = first_task(task, browser, url, vision=sees)
            return running.run_agent(agent, told, reset=True, images=images or None)
