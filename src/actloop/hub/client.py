"""All traffic with the Hugging Face Hub: Spaces are made, filled and read, collections listed."""

from __future__ import annotations

import contextlib
import os
import sys
from fnmatch import fnmatch
from functools import partial
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentError, MissingExtraError, message_of
from actloop.hub.folder import MAX_BYTES, SavedFileError, SavedFolder

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from huggingface_hub import CommitInfo as CommitInfo, HfApi

_DOWNLOAD = frozenset({"cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder"})
_SIGN_IN = "Sign in with `hf auth login`, set HF_TOKEN, or pass token="


class HubError(AgentError):
    """The Hub refused a request, or could not be reached.

    Attributes:
        status: HTTP status of the answer; None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def split_options(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keyword arguments that are for a download, and the others."""
    options = {key: value for key, value in kwargs.items() if key in _DOWNLOAD and value is not None}
    options.pop("proxies", None)  # of older clients; proxies are taken from the environment
    return options, {key: value for key, value in kwargs.items() if key not in _DOWNLOAD}


class HubClient:
    """A client of the Hub at `HF_ENDPOINT`.

    Args:
        token: Token to sign in with, False for none; the one of `hf auth login` or `HF_TOKEN` by default.

    Raises:
        MissingExtraError: `huggingface_hub` is not installed.
    """

    def __init__(self, token: bool | str | None = None) -> None:
        try:
            from huggingface_hub import HfApi
        except ImportError:
            raise MissingExtraError("huggingface_hub", "huggingface", "The Hugging Face Hub") from None
        # The library reads the variable when it is imported; here it counts when it is used.
        self._api: HfApi = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token, library_name="actloop")

    @property
    def endpoint(self) -> str:
        """Address of the Hub."""
        return str(self._api.endpoint)

    def upload_space(
        self,
        repo_id: str,
        files: Mapping[str, str],
        tags: Sequence[str],
        message: str,
        *,
        private: bool | None = None,
        create_pr: bool = False,
    ) -> CommitInfo:
        """Upload files into a Space, in one commit. The Space is made where there is none; other files in it stay.

        Args:
            repo_id: Name of the Space.
            files: Texts by path.
            tags: Put into the Space's metadata, beside those that are there.
            message: Message of the commit.
            private: Make a new Space private.
            create_pr: Propose the change instead of making it.

        Raises:
            HubError: The Hub refuses or cannot be reached.
        """
        from huggingface_hub import CommitOperationAdd

        with self._explained(f"Uploading to {repo_id}"):
            made = self._api.create_repo(repo_id, private=private, exist_ok=True, repo_type="space", space_sdk="gradio")
            repo_id = made.repo_id
            texts = {**files, "README.md": self._card(repo_id, tags)}
            operations = [CommitOperationAdd(name, text.encode()) for name, text in texts.items()]
            return self._api.create_commit(
                repo_id, operations, commit_message=message, repo_type="space", create_pr=create_pr
            )

    def _card(self, repo_id: str, tags: Sequence[str]) -> str:
        """The Space's README, its text kept, with the tags in its metadata."""
        from huggingface_hub import RepoCard
        from huggingface_hub.errors import EntryNotFoundError

        try:
            text = self._text(repo_id, "README.md", force_download=True)
        except EntryNotFoundError:
            title = repo_id.rpartition("/")[2]
            text = f"---\ntitle: {title}\nsdk: gradio\napp_file: app.py\n---\n"
        card: Any = RepoCard(text, ignore_metadata_errors=True)
        data: Any = card.data
        given: Any = data.get("tags")
        data["tags"] = [*(given if isinstance(given, list) else []), *(tag for tag in tags if tag not in (given or []))]
        return str(card)

    def text(self, repo_id: str, filename: str, **options: Any) -> str:
        """Text of a file of a Space.

        Args:
            repo_id: Name of the Space.
            filename: Path of the file.
            **options: For the download: `revision`, `subfolder`, `cache_dir`, `force_download`, `local_files_only`.

        Raises:
            HubError: The Hub refuses or cannot be reached, or the file is missing, too large or no text.
        """
        with self._explained(f"Reading {filename} of {repo_id}"):
            return self._text(repo_id, filename, **options)

    def _text(self, repo_id: str, filename: str, **options: Any) -> str:
        path = self._fetched(repo_id, filename, options)
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        _check_size(len(data))
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SavedFileError(f"the file is not UTF-8 text: {error}") from None

    def _fetched(self, repo_id: str, filename: str, options: dict[str, Any]) -> str:
        """Path of a file in the cache; its size is asked for before it is fetched."""
        from huggingface_hub import errors, hf_hub_url

        api: Any = self._api
        download = partial(api.hf_hub_download, repo_id, filename, repo_type="space")
        if options.get("local_files_only"):
            return download(**options)
        where = {key: options[key] for key in ("revision", "subfolder") if key in options}
        try:
            about = api.get_hf_file_metadata(
                url=hf_hub_url(repo_id, filename, repo_type="space", endpoint=self.endpoint, **where)
            )
        except (*_network_errors(), errors.HfHubHTTPError) as error:
            if (_status(error) or 500) < 500 or options.get("force_download"):
                raise
            try:  # the Hub is away: what was fetched before will do
                return download(**{**options, "local_files_only": True})
            except errors.LocalEntryNotFoundError:
                raise error from None
        _check_size(about.size)
        return download(**options)

    def folder(self, repo_id: str, patterns: Sequence[str], **options: Any) -> SavedFolder:
        """A copy of a Space's files, to be read.

        Args:
            repo_id: Name of the Space.
            patterns: Which files, as `*.py` and the like.
            **options: For the download: `revision`, `cache_dir`, `force_download`, `local_files_only`.

        Raises:
            HubError: The Hub refuses or cannot be reached.
        """
        from pathlib import Path

        options.pop("subfolder", None)
        with self._explained(f"Downloading {repo_id}"):
            api: Any = self._api
            if not options.get("local_files_only"):
                self._check_sizes(repo_id, patterns, options.get("revision"))
            found = Path(api.snapshot_download(repo_id, repo_type="space", allow_patterns=list(patterns), **options))
        if not found.is_dir():
            raise HubError(f"{repo_id} holds none of the files {', '.join(patterns)}.")
        # Files of a snapshot are links into the cache's own store of contents.
        return SavedFolder(found, root=found.parent.parent)

    def _check_sizes(self, repo_id: str, patterns: Sequence[str], revision: str | None) -> None:
        """Refuse a Space whose files are too large before any of them is fetched."""
        from huggingface_hub.hf_api import RepoFile

        entries = self._api.list_repo_tree(repo_id, recursive=True, revision=revision, repo_type="space")
        with contextlib.suppress(*_network_errors()):  # then the cache may have them
            sizes = {one.path: one.size for one in entries if isinstance(one, RepoFile)}
            wanted = [name for name in sizes if any(fnmatch(name, pattern) for pattern in patterns)]
            _check_size(sum(sizes[name] for name in wanted), 8 * MAX_BYTES)

    def spaces_of(self, collection_slug: str) -> list[str]:
        """Names of the Spaces in a collection, each once, in its order.

        Raises:
            HubError: The Hub refuses or cannot be reached.
        """
        with self._explained(f"Reading the collection {collection_slug}"):
            items = self._api.get_collection(collection_slug).items
            return list(dict.fromkeys(str(item.item_id) for item in items if item.item_type == "space"))

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Generator[None]:
        """Say of every failure what it means and what to do."""
        try:
            yield
        except AgentError:
            raise
        except Exception as error:
            raise self._explain(doing, error) from error

    def _explain(self, doing: str, error: Exception) -> HubError:
        from huggingface_hub import errors

        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__) is not None and cause not in causes:
            causes.append(cause)
        status = next((found for cause in causes if (found := _status(cause)) is not None), None)

        def is_a(*kinds: type[BaseException]) -> bool:
            return any(isinstance(cause, kinds) for cause in causes)

        if is_a(errors.OfflineModeIsEnabled):
            why = "HF_HUB_OFFLINE is set, so nothing was asked for"
        elif is_a(errors.LocalTokenNotFoundError):
            why = f"there is no token. {_SIGN_IN}"
        elif is_a(errors.HFValidationError):
            why = message_of(error)
        elif is_a(errors.GatedRepoError):
            why = f"access to it is granted by its owner only. Ask for it on its page at {self.endpoint}, then sign in"
        elif status == 401:
            why = f"it is private or does not exist, or the token is missing or wrong. {_SIGN_IN}"
        elif status == 403:
            why = "the token has not the right to do this. Use one with the right to write to it"
        elif is_a(errors.RevisionNotFoundError):
            why = "there is no such revision"
        elif is_a(errors.EntryNotFoundError) and status == 404:
            why = "there is no such file in it"
        elif status == 404:
            why = f"it does not exist, or it is private. {_SIGN_IN} if it is"
        elif status == 429:
            why = "the Hub has had too many requests. Wait a while"
        elif status is not None and status >= 500:
            why = f"the Hub failed (status {status}). Try again later"
        elif status is None and is_a(*_network_errors()):
            why = f"{self.endpoint} cannot be reached ({message_of(causes[-1]) or type(causes[-1]).__name__})"
        else:
            why = f"{type(error).__name__}: {message_of(error)}"
        return HubError(f"{doing} failed: {why}.", status)


def _check_size(size: int | None, limit: int = MAX_BYTES) -> None:
    if size is not None and size > limit:
        raise SavedFileError(f"it takes {size:,} bytes, which is more than {limit:,}")


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _network_errors() -> tuple[type[BaseException], ...]:
    """What the HTTP library of huggingface_hub raises: httpx up to its version 1, httpx2 from version 2 on."""
    loaded: list[Any] = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return (ConnectionError, TimeoutError, *(library.TransportError for library in loaded))
