"""The page of an agent in a real browser: a scripted model, real sandboxes, real visitors."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import urllib.error
import urllib.request
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from actloop import CodeAgent, ScriptedModel, tool

from .conftest import WAIT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from actloop.screens.gradio import GradioUI
    from actloop.values.messages import ChatMessage, ChatMessageStreamDelta

    from .conftest import Listener

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Gradio's, of Pandas
]


@tool
def draw(size: int) -> Any:
    """Draw a picture.

    Args:
        size: Pixels.
    """
    import PIL.Image

    return PIL.Image.new("RGB", (size, size), "orange")


def last_task(messages: list[ChatMessage]) -> str:
    found = re.findall(r"TASK (.*)", "\n".join(message.text for message in messages if message.role == "user"))
    return found[-1]


def code(text: str) -> str:
    return f"Thought: I write a program.\n<code>\n{text}\n</code>"


class PageModel(ScriptedModel):
    """Answers by the task; a task that begins with `wait` is answered in two halves, the second when told."""

    def __init__(self) -> None:
        super().__init__(self.reply)
        self.go_on = threading.Event()
        self.hostile = ""

    def reply(self, messages: list[ChatMessage]) -> str | Exception:
        words = last_task(messages).split()
        second = "Observation" in messages[-1].text
        match words:
            case ["remember", value]:
                return code(f"x = {value!r}\nfinal_answer('remembered ' + x)")
            case ["recall"]:
                return code(
                    "try:\n    kept = x\nexcept NameError:\n    kept = 'nothing'\nfinal_answer('I know ' + kept)"
                )
            case ["print", value]:
                return code("final_answer('printed')" if second else f"print({value!r} * 2)")
            case ["wait", *_]:
                return code("final_answer('after the wait')")
            case ["loop"]:
                return code("while True:\n    pass")
            case ["fail"]:
                return (
                    ConnectionError("the model is out of reach") if second else code("raise ValueError('<b>boom</b>')")
                )
            case ["draw"]:
                return code("final_answer(draw(64))")
            case ["files"]:
                return code("final_answer(repr({k: v for k, v in uploaded_files.items()}))")
            case ["hostile"]:
                return self.hostile if second else code(f"print({self.hostile!r})\nraise ValueError({self.hostile!r})")
            case _:
                raise AssertionError(f"the test gives no reply to {words}")

    async def astream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[ChatMessageStreamDelta]:
        deltas = [delta async for delta in super().astream(messages, *args, **kwargs)]
        for number, delta in enumerate(deltas):
            if number == 4 and last_task(messages).startswith("wait"):
                await asyncio.to_thread(self.go_on.wait, 60)
            yield delta


@pytest.fixture(scope="module")
def model() -> PageModel:
    return PageModel()


@pytest.fixture(scope="module")
def ui(model: PageModel, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Generator[GradioUI]:
    # After the browser, whose event loop Gradio finds: where there is none, it makes some and leaves them behind.
    from actloop.screens.gradio import GradioUI

    agent = CodeAgent(
        [draw], model, stream_outputs=True, verbosity_level=-1, journal=None, name="test_agent", description="Tests."
    )
    folder = tmp_path_factory.mktemp("page") / "uploads"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio's own, of its dependencies
        ui = GradioUI(agent, file_upload_folder=folder, max_file_size=1000)
        ui.launch(prevent_thread_lock=True, quiet=True)
    yield ui
    ui.close()


@pytest.fixture(scope="module")
def address(ui: GradioUI) -> str:
    assert ui.page is not None
    assert ui.page.local_url is not None
    return ui.page.local_url


@pytest.fixture
def visit(chromium: Browser, address: str) -> Generator[Callable[[], Page]]:
    contexts: list[Any] = []

    def make() -> Page:
        context = chromium.new_context()
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        page.goto(address)
        page.get_by_placeholder("Write a task").wait_for()
        return page

    yield make
    for context in contexts:
        context.close()


def ask(page: Page, task: str) -> None:
    box = page.get_by_placeholder("Write a task")
    page.wait_for_function("() => !document.querySelector('textarea').disabled")
    box.fill(f"TASK {task}")
    box.press("Enter")


def see(page: Page, text: str) -> None:
    page.locator("#chat").get_by_text(text).last.wait_for()


def test_code_and_output_are_folded_and_open_at_a_click(visit: Callable[[], Page]) -> None:
    page = visit()
    ask(page, "print ab")
    see(page, "printed")
    output = page.locator("#chat").get_by_text("abab")
    assert output.count() == 0 or not output.first.is_visible()
    page.locator("#chat").get_by_text("Output", exact=True).click()
    output.first.wait_for()
    page.locator("#chat").get_by_text("Code", exact=True).first.click()
    page.locator("#chat code.language-python").first.wait_for()
    see(page, "Step 1")
    assert re.search(r"tokens in, \d+ out", page.locator("#chat").inner_text())


def test_a_reply_appears_while_it_is_written(visit: Callable[[], Page], model: PageModel) -> None:
    model.go_on.clear()
    page = visit()
    ask(page, "wait now")
    see(page, "I write")
    assert "after the wait" not in page.locator("#chat").inner_text()
    model.go_on.set()
    see(page, "after the wait")


def test_two_visitors_at_once_do_not_mix(visit: Callable[[], Page], ui: GradioUI) -> None:
    ann, bob = visit(), visit()
    ask(ann, "remember apple")
    ask(bob, "remember banana")
    see(ann, "remembered apple")
    see(bob, "remembered banana")
    ask(ann, "recall")
    ask(bob, "recall")
    see(ann, "I know apple")
    see(bob, "I know banana")
    assert "banana" not in ann.content()
    assert "apple" not in bob.content()
    assert ui.agent.memory.steps == []  # the definition itself has run nothing


def test_the_stop_button_interrupts_the_run(visit: Callable[[], Page]) -> None:
    page = visit()
    ask(page, "loop")
    see(page, "while")
    page.get_by_label("Stop").or_(page.locator("button.stop-button")).first.click()
    see(page, "Stopped.")
    ask(page, "remember pear")
    see(page, "remembered pear")


def test_a_new_conversation_forgets_the_old_one(visit: Callable[[], Page]) -> None:
    page = visit()
    ask(page, "remember plum")
    see(page, "remembered plum")
    page.get_by_role("button", name="New conversation").click()
    page.wait_for_function("() => !document.querySelector('#chat').innerText.includes('plum')")
    ask(page, "recall")
    see(page, "I know nothing")


def test_errors_are_shown_plainly(visit: Callable[[], Page]) -> None:
    page = visit()
    ask(page, "fail")
    see(page, "the model is out of reach")
    see(page, "ValueError: <b>boom</b>")


def test_an_image_answer_is_shown(visit: Callable[[], Page]) -> None:
    page = visit()
    ask(page, "draw")
    page.wait_for_function("() => [...document.querySelectorAll('#chat img')].some(i => i.naturalWidth === 64)")


def test_an_upload_reaches_the_program_and_is_never_overwritten(
    visit: Callable[[], Page], ui: GradioUI, tmp_path: Path
) -> None:
    for content in ("first", "second"):
        (tmp_path / "notes.txt").write_text(content)
        page = visit()
        page.locator("input[type=file]").first.set_input_files(tmp_path / "notes.txt")
        page.locator(".thumbnail-item").first.wait_for()
        ask(page, "files")
        see(page, f": '{content}'")
    assert ui.file_upload_folder is not None
    assert {path.read_text() for path in ui.file_upload_folder.iterdir()} == {"first", "second"}


def test_an_upload_that_is_too_large_is_refused(visit: Callable[[], Page], ui: GradioUI, tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_text("x" * 2000)
    page = visit()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "large.txt")
    page.get_by_text(re.compile("maximum allowed size|too large|exceed", re.IGNORECASE)).first.wait_for()
    assert ui.file_upload_folder is not None
    assert not list(ui.file_upload_folder.glob("large*"))


def test_hostile_output_neither_runs_nor_leaks(visit: Callable[[], Page], model: PageModel, listener: Listener) -> None:
    address = listener.address
    model.hostile = (
        f"<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>![a]({address}/md?secret)\n\n"
        f"<img src='{address}/img'>\n\n```\n</code></pre><img src='{address}/fence'>\n```\n\n"
        f"[click](javascript:window.hacked=3) <iframe src='{address}/frame'></iframe> ![r][r]\n\n[r]: {address}/ref\n"
        f"<style>@import '{address}/css'; body {{ background: url({address}/bg) }}</style>"
        f"```mermaid\ngraph TD; A-->B\n```\n"
        f"<code>\nfinal_answer('''<svg onload='window.hacked=4'></svg> ![b]({address}/answer)"
        " <b id=bold>b</b>''')\n</code>"
    )
    page = visit()
    ask(page, "hostile")
    see(page, "Final answer")
    for fold in page.locator("#chat").get_by_text(re.compile("^(Code|Output)$")).all():
        fold.click()
    see(page, "<svg onload")
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None
    assert page.locator("#bold").count() == 0
    assert listener.paths == []


def test_the_page_may_not_talk_to_other_hosts(visit: Callable[[], Page], listener: Listener) -> None:
    page = visit()
    refused = page.evaluate(
        """async address => {
            const image = new Promise(done => {
                const element = new Image();
                element.onload = () => done(false); element.onerror = () => done(true);
                element.src = address + '/injected';
            });
            const request = fetch(address + '/fetched', {mode: 'no-cors'}).then(() => false, () => true);
            return [await image, await request];
        }""",
        listener.address,
    )
    assert refused == [True, True]
    assert listener.paths == []


def test_everything_is_loaded_from_the_page_itself(chromium: Browser, address: str) -> None:
    context = chromium.new_context()
    context.set_default_timeout(WAIT)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.get_by_placeholder("Write a task").wait_for()
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    context.close()


def test_a_visitor_who_leaves_leaves_nothing_behind(visit: Callable[[], Page], ui: GradioUI) -> None:
    before = dict(ui.visitors.known)
    page = visit()
    ask(page, "remember cherry")
    see(page, "remembered cherry")
    (visitor,) = [visitor for key, visitor in ui.visitors.known.items() if key not in before]
    page.context.close()
    gone = threading.Event()
    for _ in range(600):
        if visitor not in ui.visitors.known.values() and not visitor.folder.exists():
            gone.set()
            break
        threading.Event().wait(0.1)
    assert gone.is_set()


def post(address: str, body: bytes, kind: str) -> Any:
    request = urllib.request.Request(address, body, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def submitted(ui: GradioUI, address: str, files: list[str]) -> str:
    """What the server says of a message that no page has checked."""
    assert ui.page is not None
    config: Any = ui.page.config
    (submit,) = [
        function for function in config["dependencies"] if any(target[1] == "submit" for target in function["targets"])
    ]
    data = [{"text": "TASK files", "files": [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in files]}]
    session = os.urandom(6).hex()
    job = {"data": data, "fn_index": submit["id"], "session_hash": session, "trigger_id": submit["targets"][0][0]}
    post(f"{address}gradio_api/queue/join", json.dumps(job).encode(), "application/json")
    told = ""
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash={session}", timeout=60) as stream:
        for line in stream:
            told += line.decode()
            if "process_completed" in told:
                return told
    return told


def sent(address: str, name: str, content: bytes) -> str:
    """Path of a file that was handed to the server's upload address."""
    head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + b"\r\n--b--\r\n"
    return post(f"{address}gradio_api/upload", body, "multipart/form-data; boundary=b")[0]


def test_files_that_no_page_has_checked_are_refused_by_the_server(ui: GradioUI, address: str, tmp_path: Path) -> None:
    assert ui.file_upload_folder is not None
    before = set(ui.file_upload_folder.iterdir())
    (tmp_path / "secret.txt").write_text("top secret")
    for path in (
        str(tmp_path / "secret.txt"),
        "/etc/passwd",
        sent(address, "evil.exe", b"MZ"),
        sent(address, "page.png", b"<script>"),
        sent(address, "fine.txt", b"x") + "/../../../../../etc/passwd",
    ):
        told = submitted(ui, address, [path])
        assert "process_completed" in told
        assert "top secret" not in told
        assert "root:" not in told
    assert set(ui.file_upload_folder.iterdir()) == before
    told = submitted(ui, address, [sent(address, "../../../up.txt", b"climbs")])
    assert {path.name for path in set(ui.file_upload_folder.iterdir()) - before} == {"up.txt"}, told


def test_the_page_answers_under_its_own_names_only(address: str) -> None:
    """A name of another site that points to this machine does not open the page to that site."""

    def status(host: str) -> int:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, headers={"Host": host}), timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert [status(host) for host in ("evil.example", "127.0.0.1.evil.example:7860", "[::", "localhost:1")] == [
        421, 421, 421, 200,
    ]  # fmt: skip


def test_other_sites_cannot_send_anything_to_the_page(address: str) -> None:
    """A browser lets any site post to this machine, and names the site."""

    def status(origin: str | None) -> int:
        body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.txt"\r\n\r\nfill\r\n--b--\r\n'
        headers = {"Content-Type": "multipart/form-data; boundary=b"} | ({"Origin": origin} if origin else {})
        request = urllib.request.Request(f"{address.rstrip('/')}/gradio_api/upload", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert [status(origin) for origin in ("http://evil.example", "null", address.rstrip("/"), None)] == [
        421, 421, 200, 200,
    ]  # fmt: skip
