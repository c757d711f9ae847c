"""Saving and loading agents: as plain data, as a folder, on the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

from actloop.values.arguments import remember_arguments

if TYPE_CHECKING:
    import os

    from actloop.agents.base import MultiStepAgent
    from actloop.hub.client import CommitInfo


class SavedAgent:
    """What every agent can do to outlive its process.

    Saved are the class, all settings, the prompt templates, the tools with their code, the model without its keys, and
    the managed agents. Callbacks, checks, loggers and other live objects cannot be saved: a warning names them.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """An agent that knows what it was constructed with."""
        self = super().__new__(cls)
        remember_arguments(self, args, {name: value for name, value in kwargs.items() if name != "secrets"})
        return self

    def to_dict(self) -> dict[str, Any]:
        """The agent as plain data, which `json.dumps` takes. A warning names what could not be written down.

        Raises:
            ValueError: The code of a tool cannot be written down.
        """
        from actloop.agents.stored import describe
        from actloop.tools.saving import warn_left_out

        agent = cast("MultiStepAgent", self)
        data, left_out = describe(agent)
        warn_left_out(f"agent '{agent.name or agent.agent_name}'", left_out)
        return data

    @classmethod
    def from_dict(cls, agent_dict: dict[str, Any], *, trust_remote_code: bool = False, **kwargs: Any) -> Self:
        """The agent that `to_dict` gave.

        Args:
            agent_dict: Plain data; nothing in it is trusted.
            trust_remote_code: Say that code of tools that was saved may be run in this process, that modules which are
                named may be imported, and that the model may be reached at the address that was saved.
            **kwargs: Arguments of the constructor, instead of what was saved; `model` replaces those of managed agents,
                too.

        Raises:
            ValueError: It is not an agent's data, or `trust_remote_code` is needed; the message says what for.
        """
        from actloop.agents.restore import restore

        return cast("Self", restore(cls, agent_dict, trust_remote_code, kwargs))

    def save(self, output_dir: str | os.PathLike[str], relative_path: str | None = None) -> None:  # noqa: ARG002
        """Write the agent into a folder: settings, prompts, tools, managed agents, a web page (see `folders`).

        A crash or a full disk leaves what was in the folder before, or the whole new agent.

        Args:
            output_dir: The folder; made where there is none. Other files in it stay.
            relative_path: Not needed any more.

        Raises:
            ValueError: The code of a tool cannot be written down.
            OSError: The folder cannot be written.
        """
        from actloop.agents.folders import files_of
        from actloop.hub.folder import write_files

        write_files(output_dir, files_of(self.to_dict()))

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], *, trust_remote_code: bool = False, **kwargs: Any) -> Self:
        """The agent that `save` wrote, or smolagents did.

        Args:
            folder: The folder; nothing in it is trusted.
            trust_remote_code: As for `from_dict`.
            **kwargs: As for `from_dict`.

        Raises:
            ValueError: A file is missing or broken, or `trust_remote_code` is needed; the message says what for.
            FileNotFoundError: There is no such folder.
        """
        from actloop.agents.folders import read_folder
        from actloop.hub.folder import SavedFolder

        with SavedFolder(folder).reading() as files:
            data = read_folder(files)
        return cls.from_dict(data, trust_remote_code=trust_remote_code, **kwargs)

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str = "Upload agent",
        private: bool | None = None,
        token: bool | str | None = None,
        create_pr: bool = False,
    ) -> CommitInfo:
        """Upload the agent as a Space.

        Args:
            repo_id: Name of the Space, with the owner before it where that is an organisation.
            commit_message: Message of the commit.
            private: Make the Space private; one that is there already stays as it is.
            token: Token to sign in with; the one of `hf auth login` or `HF_TOKEN` by default.
            create_pr: Propose the change instead of making it.

        Raises:
            HubError: The Hub refuses or cannot be reached.
            ValueError: The agent cannot be saved.
        """
        from actloop.agents.folders import files_of
        from actloop.hub.client import HubClient

        files = files_of(self.to_dict())
        tags = ["actloop", "agent"]
        hub = HubClient(token)
        return hub.upload_space(repo_id, files, tags, commit_message, private=private, create_pr=create_pr)

    @classmethod
    def from_hub(cls, repo_id: str, token: str | None = None, trust_remote_code: bool = False, **kwargs: Any) -> Self:
        """The agent that a Space holds.

        Args:
            repo_id: Name of the Space.
            token: Token to sign in with; the one of `hf auth login` or `HF_TOKEN` by default.
            trust_remote_code: Say that the code of its tools may be run in this process.
            **kwargs: `cache_dir`, `force_download`, `revision` and `local_files_only` are for the download; the others
                are arguments of the constructor, as for `from_dict`.

        Raises:
            ValueError: `trust_remote_code` is not set, or what was downloaded is no saved agent.
            HubError: The Hub refuses or cannot be reached.
        """
        if trust_remote_code is not True:
            raise ValueError(
                f"loading the agent of {repo_id} runs the code of its tools in this process, outside any sandbox; read "
                "it on the Hub, and pass trust_remote_code=True if you trust it"
            )
        from actloop.agents.folders import PATTERNS, read_folder
        from actloop.hub.client import HubClient, split_options

        options, arguments = split_options(kwargs)
        data = read_folder(HubClient(token).folder(repo_id, PATTERNS, **options))
        return cls.from_dict(data, trust_remote_code=True, **arguments)
