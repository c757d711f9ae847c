"""What can go wrong between a tool and the web."""

from __future__ import annotations

from actloop.errors import AgentError, FetchError, ForbiddenAddressError

__all__ = [
    "ContentTypeError",
    "FetchCancelledError",
    "FetchError",
    "FetchTimeoutError",
    "ForbiddenAddressError",
    "NoResultsError",
    "StatusError",
    "TooLargeError",
]


class FetchTimeoutError(FetchError, TimeoutError):
    """A transfer was not complete within its time."""


class FetchCancelledError(FetchError):
    """A transfer was called off by the program."""


class TooLargeError(FetchError):
    """An answer is larger than the limit."""


class ContentTypeError(FetchError):
    """An answer is of a kind that the caller did not ask for."""


class StatusError(FetchError):
    """A server answered with an error.

    Args:
        message: What happened.
        status: HTTP status.
        retry_after: Seconds that the server asks to wait, if it says.
    """

    def __init__(self, message: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class NoResultsError(AgentError):
    """A search found nothing."""
