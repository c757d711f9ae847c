"""The embedded model: a small language model on this machine, in a process of its own."""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from typing import TYPE_CHECKING, Any, cast

from actloop.models.conversion import get_clean_message_list, tool_role_conversions
from actloop.models.embedded import DEFAULT_MODEL, OnProgress, ensure_model
from actloop.models.openai import OpenAIModel
from actloop.models.retry import RetryPolicy
from actloop.models.server import DEFAULT_CONTEXT, ServerSettings, default_threads
from actloop.models.server_process import SharedServer, acquire, release
from actloop.models.switch import check_real_requests
from actloop.models.threads import call_in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actloop.values.messages import ChatMessage

_RETRY = RetryPolicy(attempts=2, first_wait=0.1, jitter=0.1)
"""A server that died is started again once; what kills it twice would kill it each time."""


class LocalModel(OpenAIModel):
    """A model from a GGUF file, run by llama.cpp in a process of its own.

    The file is fetched and the process started at the first request, or by `load`. All models of the same file and
    settings in this process share one server, which remembers what it has read of a conversation: the next step reads
    only what is new. A server that died is started again by the next request. It ends with `close`, or with this
    process, however that ends.

    Args:
        model: Name of a known model or path of a GGUF file; by default `ACTLOOP_MODEL`, else the embedded model.
        context: Tokens that a conversation and its reply may have together.
        threads: Threads that compute; by default as many as there are processors for them.
        parallel: Requests that are worked on at once; others wait. Each takes memory for a whole context.
        temperature: Randomness; 0 gives the same reply to the same conversation. A request may override it.
        max_tokens: Tokens that a reply may have. A request may override it.
        seed: Seed of the randomness. A request may override it.
        timeout: Seconds that a whole request may take; time in the queue counts.
        progress: Called while the file is fetched and the model loaded.
        **kwargs: As for `OpenAIModel`.
    """

    supports_grammar = True
    native_tool_calls = False  # small models write their calls as text more reliably
    _direct = True  # the server is on this machine: no proxy can reach it

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        context: int = DEFAULT_CONTEXT,
        threads: int | None = None,
        parallel: int = 1,
        temperature: float = 0.0,
        max_tokens: int = 1024,
        seed: int = 0,
        timeout: float = 1800.0,
        progress: OnProgress | None = None,
        **kwargs: Any,
    ) -> None:
        given: str | os.PathLike[str] | None = kwargs.pop("model_id", None)
        name = model or given or os.environ.get("ACTLOOP_MODEL") or DEFAULT_MODEL
        kwargs.setdefault("retry", _RETRY)
        super().__init__(model_id=os.fspath(name), timeout=timeout, **kwargs)
        self.context = context
        self.context_window = min(context, self.context_window or context)
        self.threads = threads or default_threads()
        self.parallel = parallel
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.seed = seed
        self.progress = progress
        self._server: SharedServer | None = None
        self._server_lock = threading.Lock()

    def load(self) -> None:
        """Fetch the file and start the server now, not at the first request.

        Raises:
            AgentGenerationError: The file cannot be had or the model not be loaded.
        """
        check_real_requests(self._where)
        self._endpoint()

    def count_tokens(self, text: str | Sequence[ChatMessage | dict[str, Any]]) -> int:
        """Tokens of a text, or of a conversation as the model reads it, its markers included."""
        check_real_requests(self._where)
        if not isinstance(text, str):
            messages = get_clean_message_list(text, tool_role_conversions, flatten_messages_as_text=True)
            text = cast("str", self._ask("/apply-template", {"messages": messages})["prompt"])
        answer = self._ask("/tokenize", {"content": text, "parse_special": True})
        return len(cast("list[int]", answer["tokens"]))

    @property
    def server_pid(self) -> int | None:
        """Id of the server's process, where it runs."""
        return self._server.pid if self._server else None

    def close(self) -> None:
        """Close connections, and end the server where no other model uses it; a later request starts it again."""
        super().close()
        with self._server_lock:
            server, self._server = self._server, None
        if server is not None and server.owner == os.getpid():
            release(server)

    def to_dict(self) -> dict[str, Any]:
        """The model's settings as plain data."""
        data = super().to_dict()
        for name in ("api_base", "organization", "project"):
            del data[name]
        if data.get("context_window") == self.context:
            del data["context_window"]
        return {**data, "context": self.context, "parallel": self.parallel, "seed": self.seed}

    def _prepare_completion_kwargs(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed, "cache_prompt": True}
        return super()._prepare_completion_kwargs(*args, **{**own, **kwargs})

    def _endpoint(self) -> tuple[str, str]:
        return self._shared_server().endpoint(self.progress)

    async def _aendpoint(self) -> tuple[str, str]:
        return await call_in_thread(self._endpoint)

    def _shared_server(self) -> SharedServer:
        server = self._server
        if server is not None and server.owner == os.getpid():
            return server
        path = ensure_model(self.model_id, self.progress)
        settings = ServerSettings(
            path=str(path), name=path.stem, context=self.context, threads=self.threads, parallel=self.parallel
        )
        with self._server_lock:
            if self._server is None or self._server.owner != os.getpid():
                self._server = acquire(settings)
            return self._server

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A request that is no chat completion."""
        base, key = self._endpoint()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        url = base.removesuffix("/v1") + path
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  # our own server
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with self._explained(), opener.open(request, timeout=self.timeout) as response:
            return cast("dict[str, Any]", json.load(response))

    @property
    def _where(self) -> str:
        return f"The embedded model {self.model_id}"
