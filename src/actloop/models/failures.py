"""How a service's failures are told: which model, where, what happened, what to do, and whether to try again."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from actloop.errors import AgentGenerationError
from actloop.models.fields import get, text
from actloop.models.replies import OversizedReplyError, oversized
from actloop.models.retry import ModelRequestError, is_retriable_status, retry_after_of
from actloop.values.masking import masked

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from types import ModuleType

_PASSING = ("server_error", "api_error", "overloaded", "rate_limit", "throttl", "timeout", "unavailable")
_NO_CREDIT = ("insufficient_quota", "billing_error")
_HINTS = {
    401: "Check the API key.",
    402: "The account has no credit left.",
    403: "The key may not use this model, or not from here.",
    404: "Check the model's name and the address (api_base usually ends in /v1).",
    413: "The conversation is too long: lower max_steps or the tools' output.",
    529: "The service is overloaded.",
}
_LONGEST = 1000


def refused(
    where: str, status: int, body: object, message: str, headers: Mapping[str, str] | None
) -> ModelRequestError:
    """An answer whose status says failure.

    Args:
        where: Model and address.
        status: HTTP status.
        body: The answer, decoded where it was JSON; services put what they say into `message`, often inside of `error`.
        message: What to tell where the body says nothing.
        headers: The answer's headers.
    """
    inner = get(body, "error") if isinstance(get(body, "error"), dict) else body
    kinds = (str(get(inner, "code") or ""), str(get(inner, "type") or ""))
    broke = any(kind in _NO_CREDIT for kind in kinds)
    headers = headers or {}
    retriable = is_retriable_status(status) and not broke and headers.get("x-should-retry") != "false"
    hint = _HINTS[402] if broke else _HINTS.get(status, "")
    said = text(get(inner, "message")) or text(get(body, "error")) or text(get(body, "detail")) or message
    told = f"{where} answered {status}: {_cut(said)}. {hint}".strip()
    return ModelRequestError(told, status=status, retriable=retriable, retry_after=retry_after_of(headers))


def failed_in_stream(where: str, body: object, message: str, status: int | None = None) -> ModelRequestError:
    """An error that a service sent as an event of a stream."""
    inner = get(body, "error") if isinstance(get(body, "error"), dict) else body
    code = get(inner, "code")
    if status is None and str(code).isdecimal():
        status = int(code)
    kind = f"{get(inner, 'type')} {code}".lower()
    retriable = is_retriable_status(status) if status else any(word in kind for word in _PASSING)
    said = text(get(inner, "message")) or message
    return ModelRequestError(f"{where} failed while replying: {_cut(said)}", status=status, retriable=retriable)


def broken(where: str, what: str) -> ModelRequestError:
    """An answer that cannot be used, though its status says success; another try may bring a good one."""
    return ModelRequestError(f"{where} gave a broken answer: {what}.", retriable=True)


def late(where: str, seconds: float) -> ModelRequestError:
    """No answer in time."""
    told = f"{where} did not answer within {seconds:g} s. Set timeout to wait longer."
    return ModelRequestError(told, retriable=True)


def lost(where: str, error: BaseException) -> ModelRequestError:
    """No connection, or one that broke off."""
    told = f"The connection to {where} failed: {_reason(error)}. Check the address and the network."
    return ModelRequestError(told, retriable=True)


def endless(where: str, error: OversizedReplyError) -> ModelRequestError:
    """A reply that is too long to be read; another one would hardly be shorter."""
    return ModelRequestError(f"{where} gave a broken answer: {error}. It was not read to its end.")


@contextmanager
def within_bounds(where: str) -> Generator[None]:
    """Raise as our own that a reply was too long, whatever an SDK made of it."""
    try:
        yield
    except Exception as error:
        found = oversized(error)
        if found is None:
            raise
        raise endless(where, found) from error


@contextmanager
def readable(where: str) -> Generator[None]:
    """Around an SDK's call: some stumble over an answer of another shape than they expect."""
    try:
        yield
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise broken(where, f"it cannot be read ({error!r})") from error


@contextmanager
def explained(sdk: ModuleType, http: ModuleType, where: str, seconds: float) -> Generator[None]:
    """Raise as our own what an SDK raises that is built like OpenAI's (Anthropic's and LiteLLM's are).

    Args:
        sdk: The SDK; its errors carry the same names in each.
        http: The HTTP library that it stands on, whose errors come through while a stream is read.
        where: Model and address.
        seconds: The time-out, for the message.
    """
    base: type[Exception] = sdk.OpenAIError if hasattr(sdk, "OpenAIError") else sdk.AnthropicError
    try:
        with within_bounds(where):
            yield
    except (sdk.APITimeoutError, http.TimeoutException) as error:
        raise late(where, seconds) from error
    except (sdk.APIConnectionError, http.RequestError) as error:
        raise lost(where, error) from error
    except (sdk.APIResponseValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise broken(where, f"it is not valid JSON ({error})") from error
    except sdk.APIError as error:
        status = getattr(error, "status_code", 200)
        if status == 200:
            raise failed_in_stream(where, error.body, error.message) from error
        response = getattr(error, "response", None)
        headers = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None)
        raise refused(where, status, error.body, error.message, headers) from error
    except (base, ValueError) as error:
        raise AgentGenerationError(f"No request to {where} could be made: {error}") from error


@contextmanager
def without_keys(keys: Iterable[str | None]) -> Generator[None]:
    """Strike keys out of an error's message, and drop the error below it, should a service repeat them."""
    try:
        yield
    except AgentGenerationError as error:
        hidden = masked(error.message)
        secrets = [key for key in keys if key and len(key) >= 8]
        known = error
        leaky = hidden != error.message
        while known is not None:
            leaky = leaky or any(secret in str(known) or secret in repr(known.__dict__) for secret in secrets)
            known = known.__cause__ or known.__context__
        if not leaky:
            raise
        error.message = hidden
        for secret in secrets:
            error.message = error.message.replace(secret, "***")
        error.args = (error.message,)
        raise error from None


def _cut(said: str) -> str:
    return said.rstrip(".") if len(said) <= _LONGEST else f"{said[:_LONGEST]} [...]"


def _reason(error: BaseException) -> str:
    """What the operating system said, from below all that was raised on top of it."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return str(error) or type(error).__name__
