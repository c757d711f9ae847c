"""What the command line's options say, and the error of a command that was used wrongly.

Options that several commands have are declared here once, with their help.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import Token

NAME = re.compile(r"[\w.*/:,\\-]+")
MIB = 1024 * 1024

Names = Annotated[list[str] | None, Parameter(consume_multiple=True)]


def whole_number(_: type, tokens: Sequence[Token]) -> int:
    """A whole number as it was written: none is rounded."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", tokens[0].value):
        raise ValueError(f"{tokens[0].value:.40} is no whole number")
    return int(tokens[0].value)


class UsageError(Exception):
    """The command was used wrongly; the message says how it is meant."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """The options of every command that makes an agent.

    Parameters
    ----------
    model_type
        "local" (the embedded model), "openai" (any OpenAI-compatible service), "anthropic", "azure", "bedrock",
        "huggingface", "litellm", "transformers", "vllm" or "mlx"; the names of their classes will do, too.
    model_id
        The model's name, or the path of a GGUF file.
    api_base
        Address of the model's service.
    api_key
        Key of the service; better given as ACTLOOP_API_KEY or OPENAI_API_KEY, which no list of processes shows.
    provider
        Provider of Hugging Face's inference.
    tools
        Tools that may be called: names of default tools, module:name for your own, or owner/space for a Space.
    mcp
        An MCP server whose tools may be called: its address, or the command that starts it; may be given repeatedly.
    secret
        Name of an environment variable whose value tools may ask for, and nobody else sees; may be given repeatedly.
    max_steps
        Steps that a run may take.
    no_journal
        Keep no record of runs.
    """

    model_type: str | None = None
    model_id: Annotated[str | None, Parameter(name=["--model-id", "--model"])] = None
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    provider: str | None = None
    tools: Names = None
    mcp: list[str] | None = None
    secret: list[str] | None = None
    max_steps: Annotated[int, Parameter(validator=Number(gte=0))] = 20
    no_journal: bool = False


@Parameter(name="*", group="Programs")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOptions:
    """The options that say where an agent's programs run, and what they may use there.

    Parameters
    ----------
    imports
        Modules that programs may import besides the standard ones, such as "numpy" or "pkg.*".
    executor
        Where they run: local, docker, wasm, monty, e2b, modal or blaxel; of NAME,NAME each takes what the first cannot.
    image
        The container image that they run in; Python 3.11 or later must be in it.
    gpus
        GPUs that a container may use: all, a number, or ids with commas between.
    executor_option
        NAME=VALUE for any other option of the executor; docker.cpus=2 is for docker alone; may be given repeatedly.
    workspace
        A folder that programs may read, as their current folder.
    writable
        Let programs change the folder of --workspace, too.
    quota
        MiB that the files of the workspace may take together. [default: 64]
    allow_host
        A host that programs may send requests to: HOST or HOST:PORT; may be given repeatedly.
    sandbox_secret
        As --secret; programs have the value, too, as a variable of that name.
    timeout
        Seconds that one program may run. [default: 30; with wasm 60]
    memory
        MiB that a program may hold. [default: 512]
    """

    imports: Names = None
    executor: str | None = None
    image: str | None = None
    gpus: str | None = None
    executor_option: Annotated[list[str] | None, Parameter(allow_leading_hyphen=True)] = None
    workspace: str | None = None
    writable: bool = False
    quota: Annotated[int | None, Parameter(converter=whole_number, validator=Number(gte=1, lte=1 << 24))] = None
    allow_host: list[str] | None = None
    sandbox_secret: list[str] | None = None
    timeout: Annotated[float | None, Parameter(validator=Number(gte=0.01, lte=1e6))] = None
    memory: Annotated[int | None, Parameter(converter=whole_number, validator=Number(gte=1, lte=1 << 24))] = None

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        return [f"--{name.replace('_', '-')}" for name in type(self).__slots__ if getattr(self, name)]


AGENT_DEFAULTS, PROGRAM_DEFAULTS = AgentOptions(), ProgramOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that the options say."""

    agent: AgentOptions = AGENT_DEFAULTS
    programs: ProgramOptions = PROGRAM_DEFAULTS
    action_type: str = "code"
    verbosity: int = 1
    as_json: bool = False

    def split(self, task: str | None) -> tuple[Settings, str | None]:
        """The settings with names one by one, and the task, which an option that takes names may have swallowed."""
        imports, task = split_names(self.programs.imports, task)
        tools, task = split_names(self.agent.tools, task)
        programs = replace(self.programs, imports=imports)
        return replace(self, programs=programs, agent=replace(self.agent, tools=tools)), task


def split_names(values: list[str] | None, task: str | None) -> tuple[list[str], str | None]:
    """Names given one by one or with commas between, and the task.

    An option that takes several names swallows a task that stands right behind it; a name has no blanks, so the task is
    found again.
    """
    names = list(values or ())
    if names and task is None and not NAME.fullmatch(names[-1]):
        task = names.pop()
    parts = [part.strip() for name in names for part in name.split(",")]
    return [part for part in parts if part], task


def api_key_of(given: str | None) -> str | None:
    """The key from the option or from `ACTLOOP_API_KEY`."""
    return given or os.environ.get("ACTLOOP_API_KEY") or None
