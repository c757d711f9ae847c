"""Spaces of the Hugging Face Hub, and other Gradio apps, as tools."""

from __future__ import annotations

import atexit
import io
import os
import re
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import AgentToolCallError, AgentToolExecutionError
from actloop.tools.base import Tool
from actloop.tools.foreign.schemas import description_of, tool_inputs
from actloop.tools.foreign.space_client import SpaceClient, file_data, is_file
from actloop.tools.schema import is_class_loaded
from actloop.values.cuts import cut
from actloop.values.temporary import TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actloop.tools.foreign.space_client import Endpoint

_MEDIA = {"Image": "image", "Audio": "audio"}
_FILES = {
    "File", "Video", "Model3D", "Gallery", "UploadButton", "ImageEditor", "ImageSlider", "AnnotatedImage",
    "MultimodalTextbox", "DownloadButton",
}  # fmt: skip
_LARGEST_UPLOAD = 200_000_000


class SpaceTool(Tool):
    """An endpoint of a Gradio app.

    Files go in as images, sounds, bytes, web addresses (the app fetches them) or paths; a path is read only where it
    lies in the working folder (unless that is the root) or one of `file_folders`, and is not hidden, because a model
    may name any path. Files come back as `AgentImage`, `AgentAudio` or the path of a copy. No address or path
    that the app names is opened: what it returns is fetched from the app itself. Each call is a session of its own.

    Args:
        space_id: `owner/name` of a Space on the Hugging Face Hub, or the address of a Gradio app (version 4 or later).
        name: The tool's name.
        description: What it does; by default what the app says of the endpoint.
        api_name: The endpoint, such as "/predict"; by default the first, with a warning that says which.
        token: For private Spaces and more quota. It is sent to the app; none is taken from the environment.
        timeout: Seconds that one call may take.
        file_folders: Further folders whose files may be sent.
        max_file_bytes: Size of one file that comes back.
        quiet: Whether to choose an endpoint without a warning.

    Raises:
        ValueError: `space_id` is no app, or the app has no such endpoint.
        FetchError: The app cannot be reached.
        MissingExtraError: The extra "web" is not installed.
    """

    name = "space"
    description = ""
    inputs: dict[str, dict[str, Any]] = {}  # noqa: RUF012  (each tool has its own)
    output_type = "any"
    skip_forward_signature_validation = True

    def __init__(
        self,
        space_id: str,
        name: str,
        description: str = "",
        api_name: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 300.0,
        file_folders: Iterable[str | Path] = (),
        max_file_bytes: int = 100_000_000,
        quiet: bool = False,
    ) -> None:
        super().__init__()
        self.space_id = space_id
        self.name = name
        self.client = SpaceClient(space_id, token, timeout, max_file_bytes)
        self.endpoint = _endpoint(self.client, api_name, quiet=quiet)
        self.api_name = self.endpoint.name
        self.file_folders = [Path(folder).resolve() for folder in file_folders]
        self.description = description or description_of(self.endpoint.description)
        self._components = {str(entry.get("parameter_name")): entry for entry in self.endpoint.parameters}
        self.inputs = _inputs(self.endpoint)
        kinds = [str(entry.get("component")) for entry in self.endpoint.returns]
        self.output_type = _MEDIA.get(kinds[0], "any") if kinds else "any"
        self.is_initialized = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the app.

        Returns:
            Its value; of several, the first where that is an image, a sound or another file, else their list.

        Raises:
            AgentToolCallError: A file may not be sent.
            AgentToolExecutionError: The app failed.
            FetchError: The app cannot be reached, takes too long or sends too much.
        """
        given = dict(zip(self.inputs, args, strict=False)) | kwargs
        data: list[Any] = []
        for entry in self.endpoint.parameters:
            name = str(entry.get("parameter_name"))
            value = given.get(name)
            if value is None and (name not in given or entry.get("parameter_has_default")):
                # A default goes back as it came: the app may name a file of its own there, never one of ours.
                value = entry.get("parameter_default")
            elif _takes_files(entry) or is_class_loaded("PIL.Image", "Image", value):
                value = self._file(value)
            data.append(value)
        values = self.client.call(self.endpoint, data)
        if len(values) > 1 and values[0] is None and isinstance(values[1], str):
            raise AgentToolExecutionError(f"the app gave no result; it says: {cut(values[1], 500)}")
        kinds = [str(entry.get("component")) for entry in self.endpoint.returns]
        kinds += [""] * (len(values) - len(kinds))
        if len(values) == 1 or (values and (kinds[0] in _MEDIA or is_file(values[0]))):
            return self._value(values[0], kinds[0])
        return [self._value(value, kind) for value, kind in zip(values, kinds, strict=False)]

    def _file(self, value: Any) -> Any:
        """A file as the app takes it; lists of files, too."""
        if value is None:
            return None
        if isinstance(value, list | tuple):
            return [self._file(item) for item in cast("list[Any]", value)]
        if isinstance(value, dict):
            parts = cast("dict[str, Any]", value)
            if isinstance(parts.get("path"), str):
                return self._file(parts["path"])
            return {key: self._file(item) if key in _PARTS else item for key, item in parts.items()}
        if isinstance(value, bytes | bytearray):
            return self.client.upload(bytes(value), "file")
        if is_class_loaded("PIL.Image", "Image", value):
            buffer = io.BytesIO()
            value.save(buffer, "PNG")
            return self.client.upload(buffer.getvalue(), "image.png")
        from actloop.tools.types import AgentAudio

        if isinstance(value, AgentAudio):
            named = str.__str__(value)  # empty, where it holds samples: they are written to a file of our own
            if named:
                return self._local(named)
            path = Path(value.to_string())
            return self.client.upload(path.read_bytes(), path.name)
        text = str(value)
        if text.startswith(("http://", "https://")):
            return file_data(text, "file")
        return self._local(text)

    def _local(self, text: str) -> dict[str, Any]:
        """A file of this machine, where the caller's folders hold it."""
        working = Path.cwd()
        folders = [_folder(), *self.file_folders, *([working] if working != Path(working.anchor) else [])]
        try:
            path = Path(text).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            raise AgentToolCallError(f"{self.name}: there is no file {cut(text, 200)!r} to send to the app") from None
        within = [folder.resolve() for folder in folders if path.is_relative_to(folder.resolve())]
        hidden = all(any(part.startswith(".") for part in path.relative_to(folder).parts) for folder in within)
        if not within or hidden:
            raise AgentToolCallError(
                f"{self.name}: {cut(text, 200)!r} may not be sent to the app: files come from the working folder or "
                "from file_folders of the tool, and hidden ones are never sent"
            )
        try:
            # Opened without following a link and without waiting for a pipe, and then read as what was opened.
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(handle, "rb") as file:
                content = file.read(_LARGEST_UPLOAD + 1) if path.is_file() else None
        except OSError as error:
            raise AgentToolCallError(f"{self.name}: {cut(text, 200)!r} cannot be read: {error.strerror}") from None
        if content is None or len(content) > _LARGEST_UPLOAD:
            raise AgentToolCallError(f"{self.name}: {cut(text, 200)!r} is no file of at most {_LARGEST_UPLOAD:,} bytes")
        return self.client.upload(content, path.name)

    def _value(self, value: Any, component: str) -> Any:
        """A value that came back; files are fetched from the app and nothing else."""
        if isinstance(value, list):
            return [self._value(item, component) for item in cast("list[Any]", value)]
        if not is_file(value):
            if isinstance(value, dict):
                return {key: self._value(item, component) for key, item in cast("dict[str, Any]", value).items()}
            return value
        file = cast("dict[str, Any]", value)
        content = self.client.download(file)
        name = file.get("orig_name")
        path = _written(content, name if isinstance(name, str) and name else str(file["path"]))
        if component in ("Image", "Gallery", "ImageSlider", "AnnotatedImage"):
            from actloop.tools.image import AgentImage

            return AgentImage(path)
        if component == "Audio":
            from actloop.tools.types import AgentAudio

            return AgentAudio(path)
        return path


_PARTS = ("background", "layers", "composite", "files", "image", "video")
"""Where components of several parts keep files."""


def _endpoint(client: SpaceClient, api_name: str | None, *, quiet: bool) -> Endpoint:
    if not client.endpoints:
        raise ValueError(f"the app at {client.root} has no endpoint with a name")
    if api_name is None:
        first = next(iter(client.endpoints.values()))
        if not quiet and len(client.endpoints) > 1:
            others = ", ".join(list(client.endpoints)[:20])
            warnings.warn(f"api_name was not given: {first.name} is used, of {others}", stacklevel=4)
        return first
    name = api_name if api_name.startswith("/") else f"/{api_name}"
    if name not in client.endpoints:
        raise ValueError(f"the app has no endpoint {api_name!r}; it has {', '.join(list(client.endpoints)[:20])}")
    return client.endpoints[name]


def _takes_files(entry: dict[str, Any]) -> bool:
    return entry.get("component") in _MEDIA or entry.get("component") in _FILES


def _inputs(endpoint: Endpoint) -> dict[str, dict[str, Any]]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for entry in endpoint.parameters:
        name = str(entry.get("parameter_name"))
        schema: Any = entry.get("type")
        if entry.get("component") in _MEDIA:
            schema = {"type": _MEDIA[str(entry["component"])]}
        elif _takes_files(entry) or not isinstance(schema, dict):
            schema = {"type": "any"}
        properties[name] = {**cast("dict[str, Any]", schema), "description": _about(entry)}
        if not entry.get("parameter_has_default"):
            required.append(name)
    return tool_inputs({"type": "object", "properties": properties, "required": required})


def _about(entry: dict[str, Any]) -> str:
    label, kind = entry.get("label"), entry.get("python_type")
    told: Any = cast("dict[str, Any]", kind).get("description") if isinstance(kind, dict) else ""
    texts = [label] if isinstance(label, str) and not re.fullmatch(r"parameter_\d+", label) else []
    if _takes_files(entry):
        texts.append("an image, a sound, a path or a web address" if entry.get("component") in _MEDIA else "a file")
    elif isinstance(told, str) and told:
        texts.append(told)
    return ": ".join(text for text in texts if text)


@cache
def _folder() -> Path:
    """Where copies of files that came back lie, until the process ends."""
    folder = TemporaryFolder("space")
    atexit.register(folder.close)
    return folder.path


def _written(content: bytes, name: str) -> str:
    suffix = re.search(r"\.[A-Za-z0-9]{1,10}$", name)
    handle, path = tempfile.mkstemp(suffix=suffix[0] if suffix else "", dir=_folder())
    with open(handle, "wb") as file:
        file.write(content)
    return path
