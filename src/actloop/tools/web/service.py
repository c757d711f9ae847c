"""Asking a search service: not too often, and with plain words for what it answers instead of results."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from actloop.tools.web.errors import FetchError, StatusError
from actloop.tools.web.fetch import Fetched, Fetcher
from actloop.tools.web.results import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_WAIT = 10.0
"""Seconds that a service may make us wait, in all, before it is an error."""

_EXPLAINED = {
    401: "it refuses the API key: check it",
    402: "the account has no credit left",
    403: "it refuses access: check the API key and what it may do",
    404: "there is nothing at this address: check the endpoint",
    429: "too many queries in a short time",
}


class Pace:
    """Lets callers through at most so many times a second; threads queue up.

    Args:
        rate_limit: Calls a second; None or 0 for no limit.
    """

    def __init__(self, rate_limit: float | None) -> None:
        self._interval = 1.0 / rate_limit if rate_limit else 0.0
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
        if turn > now:
            time.sleep(turn - now)

    def __getstate__(self) -> dict[str, Any]:
        return {"_interval": self._interval, "_next": 0.0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class Service:
    """A search service.

    Args:
        name: What it is called in messages.
        endpoint: Its address. It is the caller's own choice and may therefore be internal; redirects from it may not.
        rate_limit: Queries a second; None for no limit.
        secret: The API key, so that no message shows it.
        fetcher: Fetches the answers; None for one that may reach the endpoint.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        *,
        rate_limit: float | None = None,
        secret: str | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.pace = Pace(rate_limit)
        self._secret = secret
        self._fetcher = fetcher or Fetcher(allow_hosts=_place(endpoint))

    def ask(
        self,
        params: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> Fetched:
        """One query; it is repeated when the service asks to wait for a short while.

        Raises:
            FetchError: The service cannot be reached or refuses to answer.
        """
        waited = 0.0
        method = "GET" if json is None else "POST"
        while True:
            self.pace.wait()
            try:
                answer = self._fetcher.fetch(self.endpoint, method=method, params=params, headers=headers, json=json)
                answer.raise_for_status()
            except StatusError as error:
                pause = error.retry_after
                if error.status not in (429, 503) or pause is None or waited + pause > _LONGEST_WAIT:
                    raise self._explained(error, answer) from None  # pyright: ignore[reportPossiblyUnboundVariable]
                waited += max(pause, 0.5)
                time.sleep(pause)
            except FetchError as error:
                raise type(error)(self._hidden(f"{self.name} cannot be searched: {error}")) from error
            else:
                return answer

    def ask_json(self, params: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """One query whose answer is a JSON object.

        Raises:
            FetchError: The service cannot be reached, refuses to answer, or answers something else.
        """
        answer = self.ask(params, **options)
        try:
            found = answer.json()
        except FetchError:
            found = None
        if not isinstance(found, dict):
            raise FetchError(f"{self.name} answered with something that is no JSON object; its endpoint may be wrong")
        return cast("dict[str, Any]", found)

    def _explained(self, error: StatusError, answer: Fetched) -> StatusError:
        why = _EXPLAINED.get(error.status, "")
        if error.status >= 500:
            why = "it has a fault of its own: try again later"
        wait = f"; it asks to wait {error.retry_after:g} seconds" if error.retry_after is not None else ""
        said = _said(answer)
        text = f"{self.name} answered {error.status}" + (f": {why}" if why else "") + wait
        text += f" (it says: {said})" if said else ""
        return StatusError(self._hidden(text), error.status, error.retry_after)

    def _hidden(self, text: str) -> str:
        return text.replace(self._secret, "***") if self._secret and len(self._secret) >= 4 else text


def _said(answer: Fetched) -> str:
    """The error message in a JSON answer."""
    try:
        found = answer.json()
    except FetchError:
        return ""
    for key in ("error", "message", "detail", "errors"):
        value: Any = cast("dict[str, Any]", found).get(key) if isinstance(found, dict) else None
        if isinstance(value, dict):
            inner = cast("dict[str, Any]", value)
            value = inner.get("detail") or inner.get("message")
        if isinstance(value, str):
            return one_line(value, 200)
    return ""


def _place(endpoint: str) -> list[str]:
    """Host and port of an address, for `allow_hosts`."""
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port = "", 0
    if not host:
        raise ValueError(f"{endpoint!r} is no address of a search service: it must start with https:// or http://")
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
