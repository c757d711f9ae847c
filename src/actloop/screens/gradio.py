"""`GradioUI`: an agent's page in a web browser, one conversation for each visitor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.errors import MissingExtraError
from actloop.screens.chat import pull_messages_from_step, stream_to_gradio
from actloop.screens.sessions import Visitors
from actloop.screens.uploads import DEFAULT_FILE_TYPES, DOCUMENTS, MEBIBYTE, RefusedUploadError, UploadFolder
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actloop.agents.base import MultiStepAgent
    from actloop.screens.page import AgentPage

__all__ = ["GradioUI", "pull_messages_from_step", "stream_to_gradio"]


class GradioUI:
    """A chat page for an agent, served by Gradio on this machine.

    Each visitor has a conversation, a sandbox and files of their own, made from the agent's definition when they first
    write and gone when they leave. What models and tools write is shown, never run, and nothing is fetched from other
    hosts.

    Args:
        agent: The agent.
        file_upload_folder: Where files that visitors hand in are kept; None for a page without uploads.
        reset_agent_memory: Begin a new conversation with every message.
        allowed_file_types: Endings of files that visitors may hand in, such as `[".pdf", ".csv"]`.
        max_file_size: Bytes that such a file may have.
        max_concurrent_runs: Runs at a time; further visitors wait their turn.
        allowed_hosts: Names besides localhost under which a page that is served on this machine alone may be asked for,
            such as that of a proxy in front of it.

    Raises:
        MissingExtraError: Gradio is not installed.
    """

    def __init__(
        self,
        agent: MultiStepAgent,
        file_upload_folder: str | Path | None = None,
        reset_agent_memory: bool = False,
        *,
        allowed_file_types: Sequence[str] | None = None,
        max_file_size: int = 20 * MEBIBYTE,
        max_concurrent_runs: int = 8,
        allowed_hosts: Sequence[str] = (),
    ) -> None:
        try:
            import gradio as _  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("gradio", "gradio", "the web page of an agent") from error
        if not hasattr(agent, "copy") or not hasattr(agent, "astream"):
            raise TypeError(cut(f"GradioUI shows an agent; got {type(agent).__name__}: {agent!r}", 300))
        self.agent = agent
        self.file_upload_folder = None if file_upload_folder is None else Path(file_upload_folder)
        self.reset_agent_memory = reset_agent_memory
        self.name = agent.name or "Agent interface"
        self.description = agent.description
        self.max_concurrent_runs = max_concurrent_runs
        self.allowed_hosts = tuple(allowed_hosts)
        self.uploads: UploadFolder | None = None
        if self.file_upload_folder is not None:
            types = DEFAULT_FILE_TYPES if allowed_file_types is None else tuple(allowed_file_types)
            self.uploads = UploadFolder(self.file_upload_folder, types, max_file_size)
            self.uploads.make()
        self.visitors = Visitors(agent.copy)
        self.page: AgentPage | None = None
        """The page that is being served."""

    def upload_file(
        self, file: Any, file_uploads_log: list[str], allowed_file_types: list[str] | None = None
    ) -> tuple[Any, list[str]]:
        """Keep an uploaded file.

        Args:
            file: The file as Gradio gives it: a path, or an object whose `name` is one.
            file_uploads_log: Paths of the files kept so far; not changed.
            allowed_file_types: Endings that are allowed; `.pdf`, `.docx` and `.txt` by default.

        Returns:
            A textbox that says what became of it, and the log with the file's new path, if it was kept.
        """
        import gradio as gr

        if file is None:
            return gr.Textbox(value="No file uploaded", visible=True), file_uploads_log
        if self.uploads is None:
            told = "Uploads are off: this page was made without file_upload_folder"
            return gr.Textbox(value=told, visible=True), file_uploads_log
        allowed = DOCUMENTS if allowed_file_types is None else allowed_file_types
        try:
            kept = str(self.uploads.save(str(getattr(file, "name", file)), allowed))
        except RefusedUploadError as error:
            return gr.Textbox(value=f"File type disallowed or file refused: {error}", visible=True), file_uploads_log
        return gr.Textbox(value=f"File uploaded: {kept}", visible=True), [*file_uploads_log, kept]

    def create_app(self) -> AgentPage:
        """The page as a Gradio app, to launch or to mount (`gradio.mount_gradio_app`)."""
        from actloop.screens.page import AgentPage

        return AgentPage(self)

    def launch(self, share: bool = False, **kwargs: Any) -> Any:
        """Serve the page until Ctrl-C, on this machine alone unless asked otherwise.

        Args:
            share: Have Gradio's servers make a public address for it: anybody who knows it can use the agent.
            **kwargs: As for `gradio.Blocks.launch`, such as `server_port`, `auth`, or `prevent_thread_lock=True` to
                return at once.

        Returns:
            What Gradio's launch returns: the app, its local and its public address.
        """
        self.page = self.create_app()
        try:
            return self.page.launch(share=share, **kwargs)
        finally:
            if not kwargs.get("prevent_thread_lock"):
                self.close()

    def close(self) -> None:
        """Stop serving, and end every visitor's run and sandbox."""
        page, self.page = self.page, None
        if page is not None and page.is_running:
            page.close(verbose=False)
        self.visitors.close()
