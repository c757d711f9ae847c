"""The page itself, as a Gradio app. Imported only where Gradio is installed."""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncGenerator  # noqa: TC003  (Gradio reads the types of handlers at run time)
from typing import TYPE_CHECKING, Any, cast

import gradio as gr
from gradio.themes import Default as DefaultTheme

from actloop.screens.chat import Entry
from actloop.screens.markup import MATH, escaped, plain
from actloop.screens.serving import CAUTION, PageGuard, private_temporary_folder
from actloop.screens.uploads import IMAGES, MEBIBYTE, RefusedUploadError, content_of
from actloop.values.hosts import LOCAL_NAMES, is_loopback

if TYPE_CHECKING:
    from pathlib import Path

    from actloop.screens.gradio import GradioUI
    from actloop.screens.sessions import Visitor

MOST_FILES = 10
LARGEST_VARIABLE = 8 * MEBIBYTE
"""Bytes up to which a file's content is handed to programs; of larger ones they get the path, for tools."""

STYLE = """
.gradio-container { width: 100% !important; max-width: 60rem !important; margin: 0 auto !important; }
.plain, .prose { overflow-wrap: anywhere; }
.plain { white-space: pre-wrap; }
.plain .code { font-family: var(--font-mono); font-size: 0.8em; opacity: 0.85; }
.prose pre { white-space: pre-wrap; }
#top { align-items: center; flex-wrap: nowrap; }
#top h1 { margin: 0; font-size: clamp(1.1rem, 4vw, 1.6rem); }
#chat { border: 0 solid transparent; background: transparent; }
#chat .bubble-wrap { background: transparent; }
#chat .top-panel, #chat [aria-label="Share"], #chat [title="Share"] { display: none; }
#chat .bot-row { width: calc(100% - 2.5rem); max-width: none; }
#chat .bot-row .flex-wrap, #chat .bot.message { width: 100%; max-width: 100%; margin-right: 0; }
#chat .bot-row * { min-width: 0; }
#chat .bot-row .message, #chat .thought-group { max-width: 100%; box-sizing: border-box; }
#chat pre { overflow-x: auto; max-height: 60vh; }
#chat code.language-text { white-space: pre-wrap; overflow-wrap: anywhere; }
#chat .thought-group { margin: 0.25rem 0; }
footer { display: none !important; }
"""


def _theme() -> Any:
    """Fonts of the visitor's own machine: the default theme fetches them from elsewhere."""
    fonts: Any = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return DefaultTheme(**fonts)


class AgentPage(gr.Blocks):
    """A chat with an agent.

    Args:
        ui: What the page is made for.
    """

    def __init__(self, ui: GradioUI) -> None:
        private_temporary_folder()
        self._ui = ui
        title = ui.name.replace("_", " ").capitalize()
        options: dict[str, Any] = {"title": title, "fill_height": True, "delete_cache": (3600, 86400)}
        super().__init__(analytics_enabled=False, **options)  # pyright: ignore[reportUnknownMemberType]
        with self:
            self._build(title)
        self.queue(max_size=200, api_open=False)

    def _build(self, title: str) -> None:
        ui = self._ui
        with gr.Row(elem_id="top"):
            gr.HTML(f"<h1>{escaped(title)}</h1>", padding=False)
            new = gr.Button("New conversation", size="sm", scale=0, min_width=150)
        delimiters: Any = [{"left": left, "right": right, "display": left != r"\("} for left, right in MATH]
        chat = gr.Chatbot(
            label="Conversation",
            show_label=False,
            elem_id="chat",
            scale=1,
            height="calc(100dvh - 11rem)",
            min_height="16rem",
            latex_delimiters=delimiters,
            buttons=[],
            feedback_options=None,
            allow_tags=False,
            placeholder=escaped(ui.description or "Write a task."),
        )
        box: Any
        if ui.uploads is None:
            box = gr.Textbox(**_BOX)
        else:
            box = gr.MultimodalTextbox(
                file_types=list(ui.uploads.file_types), file_count="multiple", sources=["upload"], **_BOX
            )
        submitted = _on(
            box.submit,
            self._answer,
            [box],
            [chat, box],
            concurrency_limit=ui.max_concurrent_runs,
            show_progress="hidden",
        )
        _on(submitted.then, self._restore, None, [box], queue=False, show_progress="hidden")
        _on(box.stop, self._stop, None, None, queue=False, show_progress="hidden")
        for event in (new.click, chat.clear):
            _on(event, self._restart, None, [chat], queue=False, show_progress="hidden")
        self.unload(self._leave)

    # Events. Gradio finds a visitor's request by the type of a parameter.

    async def _answer(self, message: Any, request: gr.Request) -> AsyncGenerator[tuple[Any, Any]]:
        text: str = message if isinstance(message, str) else message["text"]
        files: list[str] = [] if isinstance(message, str) else message["files"]
        visitor = self._ui.visitors.get(_key(request))
        if visitor.is_busy:
            gr.Warning("The agent is still at work.")
            return
        if not text.strip() and not files:
            return
        empty: Any = "" if isinstance(message, str) else {"text": "", "files": []}
        try:
            task, images, variables = self._take_in(visitor, text, files)
        except RefusedUploadError as error:
            gr.Warning(escaped(str(error)), title="Not taken")
            return
        yield visitor.log.messages(), self._box(value=empty, interactive=False, submit_btn=False, stop_btn=True)
        reset = self._ui.reset_agent_memory
        async for messages in visitor.ask(task, reset=reset, images=images, variables=variables):
            yield messages, _UNCHANGED

    def _take_in(self, visitor: Visitor, text: str, files: list[str]) -> tuple[str, list[Any], dict[str, Any]]:
        """Keep the files that came with a message, and show the message.

        Returns:
            The task, the images among the files, and variables that hand the files to programs.
        """
        if not files or self._ui.uploads is None:
            visitor.log.put([Entry(plain(text), role="user")])
            return text, [], {}
        if len(files) > MOST_FILES:
            raise RefusedUploadError(f"{len(files)} files at once are too many; up to {MOST_FILES} are taken")
        kept: list[Path] = []
        try:
            kept += (self._ui.uploads.save(file) for file in files)
        except RefusedUploadError:
            for path in kept:
                path.unlink(missing_ok=True)
            raise
        shown = [Entry({"path": file}, role="user") for file in files]
        visitor.log.put([*shown, *([Entry(plain(text), role="user")] if text.strip() else [])])
        task = text.strip() or "Look at the files."
        task += f"\nFiles that came with this task: {[str(path) for path in kept]}"
        given = {path.name: content_of(path) for path in kept if path.stat().st_size <= LARGEST_VARIABLE}
        variables = {"uploaded_files": given} if given else {}
        return task, [_image(path) for path in kept if path.suffix.lower() in IMAGES], variables

    @property
    def _box(self) -> Any:
        return gr.Textbox if self._ui.uploads is None else gr.MultimodalTextbox

    def _restore(self) -> Any:
        return self._box(interactive=True, submit_btn=True, stop_btn=False)

    def _stop(self, request: gr.Request) -> None:
        self._ui.visitors.stop(_key(request))

    def _restart(self, request: gr.Request) -> list[Any]:
        self._ui.visitors.get(_key(request)).restart()
        return []

    def _leave(self, request: gr.Request) -> None:
        self._ui.visitors.leave(_key(request))

    # Serving

    def launch(self, *args: Any, **kwargs: Any) -> Any:
        """Serve the page, as `gradio.Blocks.launch` does: on this machine alone, not shared, without calls home."""
        kwargs.setdefault("share", False)
        kwargs.setdefault("server_name", os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
        kwargs = {"theme": _theme(), "css": STYLE, "footer_links": [], "ssr_mode": False, **kwargs}
        uploads = self._ui.uploads
        kwargs.setdefault("max_file_size", uploads.max_bytes if uploads is not None else 1)
        if kwargs["share"]:
            print(CAUTION, flush=True)
        has_door = kwargs.get("auth") or kwargs.get("auth_dependency")
        if not is_loopback(kwargs["server_name"]) and not has_door:
            warnings.warn(
                f"The page listens on {kwargs['server_name']}, so that other machines can reach it, and asks nobody for"
                " a password: pass auth=(user, password), or leave server_name out.",
                stacklevel=2,
            )
        is_local = is_loopback(kwargs["server_name"]) and not kwargs["share"]
        hosts = (*LOCAL_NAMES, *self._ui.allowed_hosts) if is_local else None
        app: dict[str, Any] = dict(kwargs.pop("app_kwargs", None) or {})
        app["middleware"] = [*app.get("middleware", ()), PageGuard.as_middleware(hosts)]
        return super().launch(*args, app_kwargs=app, **kwargs)


_UNCHANGED: Any = {"__type__": "update"}  # what gr.skip() gives
_BOX: dict[str, Any] = {
    "show_label": False,
    "placeholder": "Write a task…",
    "submit_btn": True,
    "stop_btn": False,
    "autofocus": True,
    "lines": 1,
    "max_lines": 12,
}


def _on(event: Any, function: Any, inputs: Any, outputs: Any, **options: Any) -> Any:
    """Bind an event; none of them is an endpoint of an API."""
    return event(function, inputs, outputs, api_visibility="private", **options)


def _key(request: gr.Request) -> str:
    return f"{request.username or ''}\n{request.session_hash or ''}"


def _image(path: Path) -> Any:
    import PIL.Image

    try:
        with PIL.Image.open(path) as image:
            image.load()
            return cast("Any", image.copy())
    except (OSError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise RefusedUploadError(f"{path.name}: it cannot be read as an image") from error
