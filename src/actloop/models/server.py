"""The embedded model behind an OpenAI-compatible HTTP server: for `LocalModel`'s own process, and to serve others.

llama.cpp's server by way of `xllamacpp`. Its defaults let any web page in the user's browser talk to it; here a key is
required and no origin is allowed.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import signal
import socket
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentGenerationError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_CONTEXT = 8192
_NO_ORIGIN = "http://actloop.invalid"
"""No page can come from here, so no page may read an answer."""
_PROMPT_CACHE_MIB = 512
"""Memory for the prompt state of conversations that lost their slot, so that they need not be read again."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server is started with.

    Attributes:
        path: The GGUF file.
        name: The model's name for clients.
        context: Tokens that the prompt and the reply of one request may have together.
        threads: Threads that compute.
        parallel: Requests that are worked on at once; others wait.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        api_key: Key that requests must carry; empty for none.
    """

    path: str
    name: str
    context: int = DEFAULT_CONTEXT
    threads: int = 2
    parallel: int = 1
    host: str = "127.0.0.1"
    port: int = 0
    api_key: str = ""


def default_threads() -> int:
    """As many threads as this process may use processors; half of them where there are many, mostly siblings."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return usable if usable <= 4 else usable // 2


def start_server(settings: ServerSettings, *, quiet: bool = True) -> Any:
    """Load the model and listen, in this process. The server lives as long as the object that is returned.

    Raises:
        MissingExtraError: `xllamacpp` is not installed.
        AgentGenerationError: The model cannot be loaded, or the address is taken.
    """
    # Threads that spin while they wait for each other starve each other where processors are shared: two such servers
    # on two processors write a tenth as fast. Read by OpenMP when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        xllamacpp = importlib.import_module("xllamacpp")  # it has no types
    except ModuleNotFoundError as error:
        raise MissingExtraError("xllamacpp", "local", "The embedded model") from error
    _check_address(settings.host, settings.port)
    params: Any = xllamacpp.CommonParams()
    params.model.path = settings.path
    params.model_alias = {settings.name}
    params.n_ctx = settings.context * settings.parallel
    params.n_parallel = settings.parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.hostnames = [settings.host]
    params.port = settings.port
    params.api_keys = [settings.api_key] if settings.api_key else []
    params.cors_origins = _NO_ORIGIN
    params.cors_origins_explicit = True
    params.cors_credentials = False
    params.ui = False
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.verbosity = 1 if quiet else 3
    try:
        return xllamacpp.Server(params)
    except Exception as error:
        raise AgentGenerationError(
            f"The model {settings.path} could not be loaded or served at {settings.host}: {error}. Check that it is a "
            "sound GGUF file and that there is memory for it."
        ) from error


def _check_address(host: str, port: int) -> None:
    """Complain about an address that is taken; the server itself would only say that it failed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AgentGenerationError(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another host or port."
            ) from error


def serve(
    host: str = "127.0.0.1",
    port: int = 8080,
    api_key: str | None = None,
    model: str | None = None,
    *,
    require_key: bool = True,
    context: int = DEFAULT_CONTEXT,
    threads: int | None = None,
    parallel: int = 1,
    ready: Callable[[str, str], None] | None = None,
) -> None:
    """Serve the embedded model over HTTP until Ctrl-C or SIGTERM.

    Args:
        host: Address to listen on; others than the loopback ones are reached from outside.
        port: Port to listen on; 0 for any free one.
        api_key: Key that clients must send; a random one by default.
        model: Name or path, as for `ensure_model`.
        require_key: False serves everyone who can reach the port; only on a loopback address.
        context: Tokens that the prompt and the reply of one request may have together.
        threads: Threads that compute; by default as many as there are processors for them.
        parallel: Requests that are worked on at once.
        ready: Called with the address (ending in `/v1`) and the key once requests are answered.

    Raises:
        AgentGenerationError: The model cannot be had or loaded, or the address cannot be used.
    """
    from actloop.models.embedded import ensure_model

    if not require_key and host not in _LOOPBACK:
        raise AgentGenerationError(
            f"Without a key the model is only served on this machine, not on {host}. Give a key, or use 127.0.0.1."
        )
    key = (api_key or secrets.token_urlsafe(24)) if require_key else ""
    path = ensure_model(model)
    settings = ServerSettings(
        path=str(path),
        name=path.stem,
        context=context,
        threads=threads or default_threads(),
        parallel=parallel,
        host=host,
        port=port,
        api_key=key,
    )
    ended = threading.Event()

    def end(_number: int, _frame: object) -> None:
        ended.set()

    before = signal.signal(signal.SIGTERM, end)
    try:
        server = start_server(settings, quiet=False)
        if ready is not None:
            ready(f"{server.listening_address}/v1", key)
        ended.wait()
        del server
    except KeyboardInterrupt:
        pass  # the way to end it
    finally:
        signal.signal(signal.SIGTERM, before)


def settings_to_json(settings: ServerSettings) -> str:
    """Settings for a server process, as `main` reads them."""
    return json.dumps(asdict(settings))


def main() -> None:
    """A server process of `LocalModel`: settings come as the first line of stdin, the address goes to stdout.

    It ends when stdin ends, thus also when the process that holds the other end is killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, who may go on
    parent = os.getppid()
    settings = ServerSettings(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    # What the library prints must not get between us and the caller.
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        server = start_server(settings)
        told = {"address": server.listening_address}
    except AgentGenerationError as error:
        told = {"error": str(error)}
    except MissingExtraError as error:
        told = {"missing": str(error)}
    with os.fdopen(answer, "w") as out:
        out.write(json.dumps(told) + "\n")
    if "address" in told:
        threading.Event().wait()


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def _end_with_parent(parent: int) -> None:
    """A fork of the caller may hold stdin's other end open longer than the caller lives."""
    asleep = threading.Event()
    while os.getppid() == parent:
        asleep.wait(1.0)
    os._exit(0)


if __name__ == "__main__":
    main()
