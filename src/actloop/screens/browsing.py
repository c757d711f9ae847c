"""A web browser that programs drive: one Chromium, one page at a time, every request through a guarded proxy."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from actloop.errors import AgentToolExecutionError
from actloop.screens.chromium import CHROMIUM_OPTIONS, BrowserUnavailableError, find_chromium
from actloop.screens.page_text import FIND, NUMBER, SCRIPT
from actloop.screens.proxy import OWN, GuardedProxy
from actloop.tools.web.errors import ForbiddenAddressError
from actloop.values.addresses import DEFAULT_PORTS, AddressPolicy

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Self

    from playwright.async_api import Locator, Page

T = TypeVar("T")

WIDTH, HEIGHT = 1000, 1350
TEXT_PART = 6_000
"""Characters of a page's text that are read at once."""

_LOAD_SECONDS, _ACT_SECONDS, _SETTLE_SECONDS = 30.0, 8.0, 3.0
_REACT_SECONDS = 0.25
"""Seconds that a click has to open a window."""

_ROLES = ("link", "button", "textbox", "searchbox", "checkbox", "radio", "tab", "menuitem", "option", "combobox")


class BrowserError(AgentToolExecutionError):
    """The browser could not do what it was asked; the message says why."""


class Browser:
    """A browser of its own, without any history, cookies or passwords; started when it is first used.

    It may be used from any thread: it lives on an event loop in a thread of its own. Use it as a context manager, or
    close it.

    Args:
        headless: Show no window.
        allow_private: Let pages on this machine and in private networks be opened.
        executable: Path of Chromium; found by itself by default.
    """

    def __init__(self, *, headless: bool = True, allow_private: bool = False, executable: str | None = None) -> None:
        self._headless = headless
        self._executable = executable
        self._policy = AddressPolicy(
            allow_private=allow_private,
            ports=None if allow_private else DEFAULT_PORTS,
            opened_by="allow_private=True (on the command line: --allow-private)",
        )
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._proxy = GuardedProxy(self._policy)
        self._playwright: Any = None
        self._chromium: Any = None
        self._pages: list[Page] = []
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Its own thread

    def _do(self, work: Coroutine[Any, Any, T], seconds: float = _LOAD_SECONDS + 30.0) -> T:
        """Do something on the browser's loop, and wait for it."""
        try:
            with self._lock:
                if self._is_closed:
                    raise BrowserError("the browser is closed")
                loop = self._started()
        except BaseException:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise BrowserError(f"the browser did not answer within {seconds:g} s") from None
        except BaseException:
            future.cancel()
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            path = self._executable or find_chromium()
            loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(loop,), name="actloop-browser", daemon=True)
            self._thread.start()
            self._loop = loop
            try:
                asyncio.run_coroutine_threadsafe(self._start(path), loop).result(90)
            except BaseException as error:
                self._end()
                if not isinstance(error, Exception):
                    raise
                told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise BrowserUnavailableError(f"{path} did not start: {told}") from error
        return self._loop

    async def _start(self, path: str) -> None:
        from playwright.async_api import async_playwright

        await self._proxy.start()
        self._playwright = await async_playwright().start()
        self._chromium = await self._playwright.chromium.launch(
            executable_path=path,
            headless=self._headless,
            args=[*CHROMIUM_OPTIONS, "--proxy-bypass-list=<-loopback>"],
            proxy={"server": self._proxy.address},
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        context = await self._chromium.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=1,
            accept_downloads=False,
            service_workers="block",
        )
        context.set_default_timeout(_ACT_SECONDS * 1000)
        context.set_default_navigation_timeout(_LOAD_SECONDS * 1000)
        context.on("page", self._take)
        await context.new_page()

    def _take(self, page: Page) -> None:
        """A page has opened, asked for or by itself: it is the one in front."""
        self._pages.append(page)
        page.on("dialog", lambda dialog: asyncio.ensure_future(_dismiss(dialog)))
        page.on("close", lambda _: self._pages.remove(page) if page in self._pages else None)

    @property
    def _page(self) -> Page:
        if not self._pages:
            raise BrowserError("the page was closed: open another")
        return self._pages[-1]

    def close(self) -> None:
        """End the browser and everything that belongs to it; idempotent."""
        with self._lock:
            self._is_closed = True
            self._end()

    def _end(self) -> None:
        loop, self._loop = self._loop, None
        if loop is None:
            return
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:
            self._thread.join(30)

    async def _stop(self) -> None:
        for part, end in ((self._chromium, "close"), (self._playwright, "stop")):
            if part is not None:
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(getattr(part, end)(), 10)
        await self._proxy.close()

    # What an agent does with it

    @property
    def is_started(self) -> bool:
        """Whether it was used yet, and is open."""
        return self._loop is not None

    @property
    def url(self) -> str:
        """Address of the page in front."""
        return self._do(self._url())

    async def _url(self) -> str:
        return self._page.url

    def open(self, url: str) -> str:
        """Open a page; returns where that led."""
        return self._do(self._open(_whole(url)))

    async def _open(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BrowserError(f"{url}: only http and https addresses are opened")
        try:
            self._policy.check_host(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        except ForbiddenAddressError as error:
            raise BrowserError(error.message) from error
        failures = len(self._proxy.failures)
        try:
            answer = await self._page.goto(url, wait_until="domcontentloaded")
        except Exception as error:
            why = next((told for host, told in self._proxy.failures[failures:] if host == parts.hostname), None)
            if why is not None:
                raise BrowserError(why) from error
            raise BrowserError(f"{url} could not be opened: {_reason(error)}") from error
        if answer is not None and OWN in answer.headers:
            raise BrowserError(await answer.text())
        if answer is not None and answer.status in (404, 410):
            await self._page.go_back(wait_until="domcontentloaded")
            raise BrowserError(
                f"there is no page at {url} ({answer.status}); the browser is back at {self._page.url}. Do not guess"
                " addresses: follow a link of the page with click, by its number or its words"
            )
        where = await self._where()
        return where if answer is None or answer.status < 400 else f"{where} (the server answered {answer.status})"

    async def _where(self) -> str:
        """Let the page settle, or the one that has opened in front of it, and say where it is."""
        page: Page | None = None
        while page is not self._page:
            page = self._page
            with contextlib.suppress(Exception):
                await page.wait_for_load_state("networkidle", timeout=_SETTLE_SECONDS * 1000)
        return f'Now at {self._page.url} "{await self._page.title()}"'

    def back(self) -> str:
        """Go back; a page that opened in front of another is closed."""
        return self._do(self._back())

    async def _back(self) -> str:
        if await self._page.go_back(wait_until="domcontentloaded") is None and len(self._pages) > 1:
            await self._page.close()
        return await self._where()

    def click(self, target: Any, role: str | None = None) -> str:
        """Click an element: its number in the page's text, or the words on it."""
        return self._do(self._click(target, role))

    async def _click(self, target: Any, role: str | None) -> str:
        element = await self._find(target, role)
        try:
            await element.click()
        except Exception as error:
            raise BrowserError(f"{target!r} could not be clicked: {_reason(error)}") from error
        await asyncio.sleep(_REACT_SECONDS)
        return await self._where()

    def fill(self, target: Any, text: str, *, enter: bool = False) -> str:
        """Write into a field, in place of what is there."""
        return self._do(self._fill(target, text, enter))

    async def _fill(self, target: Any, text: str, enter: bool) -> str:
        element = await self._find(target, None, field=True)
        try:
            if await element.evaluate("e => e.tagName") == "SELECT":
                await element.select_option(label=text)
            else:
                await element.fill(text)
            if enter:
                await element.press("Enter")
        except Exception as error:
            raise BrowserError(f"{target!r} could not be filled in: {_reason(error)}") from error
        return await self._where()

    async def _find(self, target: Any, role: str | None, *, field: bool = False) -> Locator:
        page = self._page
        if isinstance(target, int) or (isinstance(target, str) and target.strip("[] ").isdigit()):
            number = str(target).strip("[] ")
            found = page.locator(f'[{NUMBER}="{number}"]')
            if await found.count() == 0:
                raise BrowserError(f"there is no element with the number {number}: read the page again")
            return found.first
        if role is not None and role not in _ROLES:
            raise BrowserError(f"role is one of {', '.join(_ROLES)}; got {role!r}")
        for candidate in self._candidates(str(target), role, field):
            count = await candidate.count()
            for index in range(min(count, 5)):
                if await candidate.nth(index).is_visible():
                    return candidate.nth(index)
        what = f"{role} " if role else ("field " if field else "element ")
        raise BrowserError(f"no {what}{target!r} is on this page: read the page and give an element's number")

    def _candidates(self, text: str, role: Any, field: bool) -> list[Locator]:
        page = self._page
        if field:
            return [
                page.get_by_label(text),
                page.get_by_placeholder(text),
                page.locator("[name]").and_(page.locator(f"[name={_quoted(text)}]")),
                page.get_by_role("textbox", name=text),
            ]
        if role is not None:
            return [page.get_by_role(role, name=text, exact=True), page.get_by_role(role, name=text)]
        named = [
            page.get_by_role(kind, name=text, exact=exact) for exact in (True, False) for kind in ("link", "button")
        ]
        return [*named, page.get_by_text(text, exact=True), page.get_by_text(text), page.get_by_label(text)]

    def press(self, key: str) -> str:
        """Press a key, such as "Enter" or "Escape"."""
        return self._do(self._press(key))

    async def _press(self, key: str) -> str:
        try:
            await self._page.keyboard.press(key)
        except Exception as error:
            raise BrowserError(f"there is no key {key!r}: {_reason(error)}") from error
        return await self._where()

    def scroll(self, pixels: int) -> str:
        """Scroll down, or up by a negative number."""
        return self._do(self._scroll(pixels))

    async def _scroll(self, pixels: int) -> str:
        at, most = await self._page.evaluate(
            "pixels => { scrollBy(0, pixels); return [scrollY, document.documentElement.scrollHeight - innerHeight] }",
            pixels,
        )
        return f"At pixel {round(at)} of {max(0, round(most))}."

    def find_text(self, text: str, nth: int = 1) -> str:
        """Scroll to a text; returns what stands around it."""
        if not text or nth < 1:
            raise BrowserError("give a text, and the number of the match from 1 on")
        count, around = self._do(self._evaluate(FIND, [text, nth]))
        if not around:
            raise BrowserError(f"match {nth} of {text!r} is not on this page: there are {count}")
        return f"Match {nth} of {count} for {text!r}:\n{around}"

    def text(self) -> str:
        """The page in front as text, elements numbered; numbers hold until it is read again."""
        return str(self._do(self._evaluate(SCRIPT, NUMBER)))

    async def _evaluate(self, script: str, argument: Any) -> Any:
        try:
            return await self._page.evaluate(script, argument)
        except BrowserError:
            raise
        except Exception as error:
            raise BrowserError(f"the page cannot be read: {_reason(error)}") from error

    def screenshot(self) -> bytes:
        """What is seen of the page in front, as PNG."""
        return self._do(self._shoot())

    async def _shoot(self) -> bytes:
        try:
            return await self._page.screenshot(timeout=15_000, animations="disabled")
        except Exception as error:
            raise BrowserError(f"no screenshot could be taken: {_reason(error)}") from error


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _dismiss(dialog: Any) -> None:
    """Close a dialog of a page; one that asks whether to leave the page must not keep the agent there."""
    with contextlib.suppress(Exception):
        await (dialog.accept() if dialog.type == "beforeunload" else dialog.dismiss())


def _whole(url: str) -> str:
    url = url.strip()
    return url if "://" in url or url.startswith(("data:", "javascript:", "about:")) else f"https://{url}"


def _quoted(text: str) -> str:
    """A text as a string of a CSS selector."""
    return '"' + "".join(f"\\{ord(c):x} " if c in '"\\' or ord(c) < 32 else c for c in text) + '"'


def _reason(error: Exception) -> str:
    """The first line of what Playwright says, without its own call log."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
