"""The one client for every address that a user or a model gives.

It speaks http and https only, refuses addresses that are not public, and keeps to limits of time, size and redirects.
The refusal is made where the connection is made, on the very address that is connected to, for each redirect anew.
"""

from __future__ import annotations

import json as jsonlib
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from actloop.errors import MissingExtraError
from actloop.tools.web.errors import (
    ContentTypeError,
    FetchCancelledError,
    FetchError,
    FetchTimeoutError,
    ForbiddenAddressError,
    StatusError,
    TooLargeError,
)
from actloop.values.addresses import DEFAULT_PORTS, AddressPolicy
from actloop.values.cuts import cut

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import httpx2

    from actloop.tools.web.transport import Transfer

__all__ = [
    "ContentTypeError",
    "FetchError",
    "FetchTimeoutError",
    "Fetched",
    "Fetcher",
    "ForbiddenAddressError",
    "StatusError",
    "TooLargeError",
]

USER_AGENT = "Mozilla/5.0 (compatible; actloop)"
_URL_LIMIT = 8_000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{2,40})""", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"""^\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9_.-]{2,40})["']""")
_TEXT_CODEC = re.compile(
    r"utf-(8|16)(-[bl]e)?|iso8859-\d{1,2}|cp(125\d|874|866|932|949)|koi8-[ru]|mac-(roman|cyrillic)"
    r"|gbk|gb18030|gb2312|big5|big5hkscs|euc_(jp|kr)|iso2022_jp|shift_jis|johab|tis-620|ascii"
)
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer.

    Attributes:
        url: Where it came from, after redirects.
        status: HTTP status.
        headers: Names in lower case.
        body: The body, decompressed.
        is_truncated: Whether the body was longer than the limit and only its beginning is here.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    is_truncated: bool = False

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case; "" if the server does not say."""
        return _media_type(self.headers)

    def text(self) -> str:
        """The body as text, by byte order mark, `Content-Type`, `<meta charset>` or XML declaration, UTF-8, or else
        Windows-1252; what cannot be decoded is replaced."""
        for mark, encoding in _MARKS:
            if self.body.startswith(mark):
                return self.body.decode(encoding, errors="replace")
        declared = re.search(r"""charset\s*=\s*["']?([^\s"';]+)""", self.headers.get("content-type", ""), re.IGNORECASE)
        head = self.body[:4096]
        found = _XML_CHARSET.search(head) or _META_CHARSET.search(head)
        names = [declared[1]] if declared else []
        names += [found[1].decode("ascii")] if found else []
        for name in names:
            try:
                return self.body.decode(_web_encoding(name), errors="replace")
            except (LookupError, ValueError):
                continue
        try:
            return self.body[: _whole_characters(self.body)].decode()
        except UnicodeDecodeError:
            return self.body.decode("cp1252", errors="replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            FetchError: It is no JSON.
        """
        try:
            return jsonlib.loads(self.body)
        except (ValueError, RecursionError):
            raise FetchError(f"{_shown(self.url)} answered with something that is no JSON") from None

    def raise_for_status(self) -> None:
        """Complain about any status but success.

        Raises:
            StatusError: The server answered with an error.
        """
        if 200 <= self.status < 300:
            return
        from http.client import responses

        word = responses.get(self.status, "")
        retry_after = _retry_after(self.headers.get("retry-after", ""))
        wait = f"; it asks to wait {retry_after:g} seconds" if retry_after is not None else ""
        message = f"{_shown(self.url)} answered {self.status} {word}".rstrip() + wait
        raise StatusError(message, self.status, retry_after)


class Fetcher:
    """Fetches addresses that are not trusted. It holds no connection open and may be shared by threads.

    Proxies of the environment are not used: a proxy looks names up by itself, behind the check.

    Args:
        allow_hosts: As in `AddressPolicy`: internal hosts, addresses and networks that may be reached.
        allow_private: As in `AddressPolicy`: whether all private addresses may be reached.
        ports: Ports that may be reached; None for all.
        timeout: Seconds that one fetch may take in all: looking the name up, redirects, the whole body.
        max_bytes: Size of a body, after decompression, in bytes.
        max_redirects: Redirects that are followed.
        user_agent: What it calls itself.
        resolve: Looks a name up: gives its addresses, from a name and a port. The system's resolver, if None.
        ssl_context: How servers are authenticated; with the system's certificates, if None.

    Raises:
        ValueError: An entry of `allow_hosts` cannot be read.
    """

    def __init__(
        self,
        *,
        allow_hosts: Iterable[str] = (),
        allow_private: bool = False,
        ports: Collection[int] | None = DEFAULT_PORTS,
        timeout: float = 20.0,
        max_bytes: int = 5_000_000,
        max_redirects: int = 10,
        user_agent: str = USER_AGENT,
        resolve: Callable[[str, int], Sequence[str]] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.policy = AddressPolicy(allow_hosts=allow_hosts, allow_private=allow_private, ports=ports)
        self.timeout = timeout
        self.max_bytes = max_bytes
        self.max_redirects = max_redirects
        self.user_agent = user_agent
        self._resolve = resolve
        self._ssl_context = ssl_context

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        accept: Collection[str] | None = None,
        truncate: bool = False,
        timeout: float | None = None,
    ) -> Fetched:
        """Fetch one address.

        Args:
            url: Where.
            method: HTTP method.
            params: Query parameters that are added to the address.
            headers: Further headers; a redirect to another origin goes without them.
            json: A body; a redirect to another origin that would carry it there is refused.
            content: A body in bytes, in place of `json`; `headers` say of which type it is.
            accept: Media types that are wanted ("text/html", "text/*", "*+json"); anything else of a success is
                refused before its body is read. None for all.
            truncate: Keep the beginning of a body that is too large, instead of complaining.
            timeout: Seconds, if others than the fetcher's.

        Raises:
            ForbiddenAddressError: The address may not be reached.
            FetchError: It cannot be reached, takes too long, is too large or of another kind.
        """
        from actloop.tools.web.transport import Transfer

        call = _Call(self, method, dict(headers or {}), json, content, accept, truncate)
        return self._run(url, params, call, Transfer(timeout or self.timeout))

    async def afetch(self, url: str, **options: Any) -> Fetched:
        """As `fetch`, without blocking the event loop; a cancelled task ends the transfer at once."""
        import asyncio

        from actloop.tools.web.transport import Transfer

        params, timeout = options.pop("params", None), options.pop("timeout", None)
        call = _Call(
            self,
            options.pop("method", "GET"),
            dict(options.pop("headers", None) or {}),
            options.pop("json", None),
            options.pop("content", None),
            options.pop("accept", None),
            options.pop("truncate", False),
        )
        if options:
            raise TypeError(f"afetch does not take {', '.join(options)}")
        transfer = Transfer(timeout or self.timeout)
        try:
            return await asyncio.to_thread(self._run, url, params, call, transfer)
        finally:
            transfer.cancel()

    def check(self, url: str) -> str:
        """Check an address without fetching it, its name looked up; returns it normalised.

        A program that then connects by itself looks the name up again, and may be given another address.

        Raises:
            ForbiddenAddressError: The address may not be reached.
            FetchError: The name is unknown.
        """
        from actloop.tools.web.transport import Transfer, system_resolve
        from actloop.values.addresses import addresses_of

        parsed = _parsed(url)
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        host = parsed.raw_host.decode("ascii")
        if self.policy.check_host(host, port) is None:
            found = Transfer(self.timeout).look_up(self._resolve or system_resolve, host, port)
            self.policy.check_addresses(host, port, addresses_of(found, host))
        return str(parsed)

    def _run(self, url: str, params: Mapping[str, str | int] | None, call: _Call, transfer: Transfer) -> Fetched:
        target = _parsed(url)
        if params:
            target = target.copy_merge_params(dict(params))
        try:
            return self._follow(target, call, transfer)
        except FetchError as error:
            if transfer.is_cancelled and not isinstance(error, FetchCancelledError):
                raise FetchCancelledError("the transfer was cancelled") from error
            if isinstance(error, StatusError):
                raise
            where, last = _shown(url), _shown(call.target)
            if str(error).startswith((where, last)):
                raise
            redirected = f", redirected to {last}" if last and last != _shown(str(target)) else ""
            raise type(error)(f"{where}{redirected}: {error}") from error

    def _follow(self, target: httpx2.URL, call: _Call, transfer: Transfer) -> Fetched:
        import httpx2

        from actloop.tools.web.transport import CheckedTransport, system_resolve

        transport = CheckedTransport(self.policy, self._resolve or system_resolve, transfer, self._ssl_context)
        headers = {"User-Agent": self.user_agent, "Accept-Encoding": "gzip, deflate", "Accept": "*/*"}
        with httpx2.Client(transport=transport, trust_env=False, timeout=None, headers=headers) as client:
            for _ in range(self.max_redirects + 1):
                call.target = str(target)
                with client.stream(call.method, target, headers=call.headers, **call.body()) as answer:
                    location = answer.headers.get("location", "")
                    if answer.status_code not in _REDIRECTS or not location:
                        return call.read(answer)
                    target = call.redirected(target, location, answer.status_code)
        raise FetchError(f"more than {self.max_redirects} redirects")


@dataclass(slots=True)
class _Call:
    """What is asked for; redirects take away from it."""

    fetcher: Fetcher
    method: str
    headers: dict[str, str]
    json: Any
    content: bytes | None
    accept: Collection[str] | None
    truncate: bool
    target: str = ""

    def body(self) -> dict[str, Any]:
        if self.content is not None:
            return {"content": self.content}
        return {} if self.json is None else {"json": self.json}

    def redirected(self, source: httpx2.URL, location: str, status: int) -> httpx2.URL:
        """Where a redirect leads; to a stranger go neither headers nor bodies that were meant for another."""
        try:
            target = _parsed(str(source.join(location)))
        except (ForbiddenAddressError, ValueError) as error:
            raise ForbiddenAddressError(f"it redirects to {_shown(location)}, which is refused: {error}") from None
        same = (source.scheme, source.host, source.port) == (target.scheme, target.host, target.port)
        if status == 303 or (status in (301, 302) and self.method == "POST"):
            self.method = "HEAD" if self.method == "HEAD" else "GET"
            self.json = self.content = None
        if not same:
            if self.json is not None or self.content is not None:
                raise FetchError(f"it redirects a request with a body to {_shown(str(target))}, which is refused")
            self.headers = {}
        return target

    def read(self, answer: httpx2.Response) -> Fetched:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        url = str(answer.request.url)
        media = _media_type(headers)
        if self.accept is not None and answer.is_success and media and not _is_wanted(media, self.accept):
            raise ContentTypeError(f"it is of the type {cut(media, 80)}, which is not wanted here")
        limit = self.fetcher.max_bytes
        length = headers.get("content-length", "")
        encoding = headers.get("content-encoding", "").strip().lower()
        if not self.truncate and encoding in ("", "identity") and length.isdigit() and int(length[:20]) > limit:
            _too_large(limit)
        body = bytearray()
        for part in _decoded(answer.iter_raw(), encoding, limit):
            room = limit - len(body)
            body += part[:room]
            if len(part) > room:
                if not self.truncate:
                    _too_large(limit)
                return Fetched(url, answer.status_code, headers, bytes(body), is_truncated=True)
        return Fetched(url, answer.status_code, headers, bytes(body))


def _too_large(limit: int) -> NoReturn:
    raise TooLargeError(f"it is larger than {limit:,} bytes")


def _decoded(chunks: Iterable[bytes], encoding: str, limit: int) -> Iterator[bytes]:
    """The body decompressed, never more than `limit` bytes and one at a time."""
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ContentTypeError(f"it is compressed in a way that was not asked for: {cut(encoding, 40)!r}")
    inflate = None
    for chunk in chunks:
        if inflate is None:
            if not chunk:
                continue
            # "deflate" means the zlib format, but some servers send it bare; its first byte tells which.
            is_bare = encoding == "deflate" and chunk[0] & 0x0F != 8
            inflate = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else 32 + zlib.MAX_WBITS)
        if inflate.eof:
            return
        try:
            yield inflate.decompress(chunk, limit + 1)
        except zlib.error as error:
            raise FetchError(f"its compressed body is broken: {error}") from None


def _parsed(url: str) -> httpx2.URL:
    """An address, with everything refused that one program reads so and another otherwise.

    Raises:
        ForbiddenAddressError: It is no http address, or one that is refused by its spelling.
    """
    try:
        import httpx2
    except ImportError as error:
        raise MissingExtraError("httpx2", "web", "Fetching from the web") from error

    text = url.strip() if isinstance(url, str) else ""  # pyright: ignore[reportUnnecessaryIsInstance]
    if not text or len(text) > _URL_LIMIT:
        raise ForbiddenAddressError("an address is a text of 1 to 8,000 characters")
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", text)
    if scheme is None or scheme[1].lower() not in ("http", "https") or text[scheme.end() : scheme.end() + 2] != "//":
        raise ForbiddenAddressError(f"{_shown(text)} is no web address: it must start with http:// or https://")
    if re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise ForbiddenAddressError(f"{_shown(text)} has a backslash, a space or a control character in it")
    try:
        parsed = httpx2.URL(text)
        host = parsed.raw_host.decode("ascii")
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise ForbiddenAddressError(f"{_shown(text)} cannot be read as an address: {error}") from None
    if parsed.userinfo or "@" in re.split(r"[/?#]", text[scheme.end() + 2 :], maxsplit=1)[0]:
        raise ForbiddenAddressError(f"{_shown(text)} has a user name or password in it")
    if parsed.port == 0:
        raise ForbiddenAddressError(f"{_shown(text)}: port 0 is refused")
    if not host or not re.fullmatch(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.%]+", host) or "%" in host:
        raise ForbiddenAddressError(f"{_shown(text)} has no valid host name")
    return parsed


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").split(";")[0].strip().lower()


def _is_wanted(media: str, accept: Collection[str]) -> bool:
    for pattern in accept:
        if pattern in ("*/*", media):
            return True
        if pattern.endswith("/*") and media.startswith(pattern[:-1]):
            return True
        if pattern.startswith("*+") and media.endswith(pattern[1:]):
            return True
    return False


def _web_encoding(name: str) -> str:
    """The encoding that browsers take a name for: Latin-1 and ASCII are read as Windows-1252."""
    import codecs

    found = codecs.lookup(name)
    if not _TEXT_CODEC.fullmatch(found.name):
        raise LookupError(name)  # some of Python's codecs do other things than reading text
    return "cp1252" if found.name in ("iso8859-1", "ascii") else found.name


def _whole_characters(body: bytes) -> int:
    """Length of a body without a UTF-8 character that was cut at its end."""
    for back in range(1, min(4, len(body) + 1)):
        byte = body[-back]
        if byte & 0xC0 == 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(body) - back if size > back else len(body)
        if byte & 0x80 == 0:
            break
    return len(body)


def _retry_after(text: str) -> float | None:
    """Seconds that a server asks to wait: it gives a number or a date."""
    text = text.strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    if not text:
        return None
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, round((moment - datetime.now(UTC)).total_seconds(), 1))


def _shown(url: str) -> str:
    """An address for a message: short, on one line, without its query, which may hold a key."""
    text = re.sub(r"[\x00-\x20\x7f]+", " ", str(url))
    text = re.sub(r"//[^/?#@]*@", "//", text).split("?")[0].split("#")[0]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
