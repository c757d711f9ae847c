"""Steps as messages of a chat, markup that is harmless, uploads, and how a page is launched; without a browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actloop import (
    ActionStep,
    AgentImage,
    AgentText,
    ChatMessage,
    CodeAgent,
    FinalAnswerStep,
    MessageRole,
    PlanningStep,
    ScriptedModel,
    Timing,
    TokenUsage,
    ToolCall,
)
from actloop.errors import AgentExecutionError
from actloop.screens.chat import ChatLog, LiveReply, pull_messages_from_step, stream_to_gradio
from actloop.screens.gradio import GradioUI
from actloop.screens.markup import escaped, fenced, markdown, plain
from actloop.screens.sessions import Visitors
from actloop.screens.uploads import RefusedUploadError, UploadFolder, safe_name
from actloop.values.hosts import is_loopback
from actloop.values.messages import ChatMessageStreamDelta

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:gradio")


def agent_of(replies: list[str], **options: Any) -> CodeAgent:
    return CodeAgent([], ScriptedModel(replies), verbosity_level=-1, journal=None, **options)


def code(text: str) -> str:
    return f"Thought: I think.\n<code>\n{text}\n</code>"


# Markup


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a\n\n<iframe src=http://evil></iframe>",
        "`<b>` ``<b>``",
        "```\n<b>\n````\n<script>x</script>",
        "  ~~~\n<script>\n~~~\n<script>",
        "> ```\n<script>x</script>\n",
        "- ```\n  <b>\n\n<script>x</script>",
        "<!-- \n\n <b> -->",
        "&lt;script&gt;",
        "[x]: http://evil\n\n![x] ![y][x]",
        "| a |\n|---|\n| <b> |",
        "\\<script\\>",
        "<a href='javascript:x'>",
        "[a](javascript:x) [b](data:text/html,x) [c](vbscript:x) [d](file:///etc/passwd)",
        "\\(<b>\\) $$<b>$$",
    ],
)
def test_markdown_comes_out_without_tags_of_the_model(text: str) -> None:
    rendered = markdown(text)
    outside = re.sub(r"^(`{3,})[a-z]+\n.*?\n\1$", "", rendered, flags=re.DOTALL | re.MULTILINE)
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z!]+)", outside))
    assert tags <= {"div", "p", "a", "code", "pre", "span", "br", "blockquote", "ul", "li", "em", "strong", *TABLE}
    assert not re.search(r"(?:src|on\w+)=|href=\"(?!https?:|mailto:)", re.sub(r">[^<]*<", "><", outside))
    for block in re.split(r"\n\n", outside):
        assert not block.strip() or block.strip().startswith("<div")


TABLE = ("table", "thead", "tbody", "tr", "th", "td")


def test_markdown_keeps_what_is_harmless() -> None:
    rendered = markdown("# T\n\n**b** [l](https://a.b/c)\n\n```Python\nx = '<b>'\n\ny\n```\n\n\\(x_1 < y_2\\) costs $5")
    assert "<h1>T</h1>" in rendered
    assert 'href="https://a.b/c"' in rendered
    assert "```python\nx = '<b>'\n\ny\n```" in rendered
    assert r"\(x_1 &lt; y_2\) costs".replace(" costs", "</span> costs") in rendered


def test_a_fence_cannot_be_closed_from_inside() -> None:
    assert fenced("a\n```\n<script>\n````") == "`````text\na\n```\n<script>\n````\n`````"
    assert fenced("x", "mermaid").startswith("```text")
    assert fenced("x", 'a" onload=b').startswith("```text")


def test_escaped_text_is_one_block_and_the_same_in_pieces() -> None:
    text = "a\n\n<b>&`$x$`\\(y\\)\t\x1b[31m\u202e"
    assert "\n" not in plain(text)
    assert "".join(map(escaped, text)) == escaped(text)
    assert "<" not in escaped(text).replace("<br>", "")


# Steps


def action(**values: Any) -> ActionStep:
    return ActionStep(step_number=3, timing=Timing(1.0, 3.5), token_usage=TokenUsage(1234, 56), **values)


def test_an_action_step_becomes_thought_code_output_error_and_footnote() -> None:
    import PIL.Image

    step = action(
        model_output=code("print(1)"),
        code_action="print(1)",
        tool_calls=[ToolCall("python_interpreter", "print(1)", "c1")],
        observations="Execution logs:\n1",
        observations_images=[PIL.Image.new("RGB", (2, 2))],
        error=AgentExecutionError("it <b>broke</b>"),
    )
    messages = list(pull_messages_from_step(step))
    assert [dict(message.metadata).get("title") for message in messages] == [
        None, "Code", "Output", "Image", "Error", None,
    ]  # fmt: skip
    assert messages[1].content == "```python\nprint(1)\n```"
    assert messages[1].metadata == {"title": "Code", "status": "done"}
    assert messages[2].content == "```text\n1\n```"
    assert "status" not in messages[4].metadata  # open: an error is not hidden
    assert "Step 3 · 2.5 s · 1,234 tokens in, 56 out" in str(messages[5].content)
    skipped = list(pull_messages_from_step(step, skip_model_outputs=True))
    assert len(skipped) == len(messages) - 1


def test_every_tool_call_of_a_step_is_shown_with_its_arguments() -> None:
    calls = [ToolCall("search", {"query": "a"}, "1"), ToolCall("<b>evil</b>", {"x": "```"}, "2")]
    messages = list(pull_messages_from_step(action(model_output="I search.", tool_calls=calls)))
    assert [dict(message.metadata).get("title") for message in messages] == [
        None, "Tool: search", "Tool: bevilb", None,
    ]  # fmt: skip
    assert '"query": "a"' in str(messages[1].content)


def test_plans_and_answers() -> None:
    plan = PlanningStep(
        model_input_messages=None,
        model_output_message=ChatMessage(MessageRole.ASSISTANT, "p"),
        plan="1. **do**",
        timing=Timing(0.0, 1.0),
    )
    shown, note = pull_messages_from_step(plan)
    assert "<strong>do</strong>" in str(shown.content)
    assert "Plan · 1.0 s" in str(note.content)
    (text,) = pull_messages_from_step(FinalAnswerStep(AgentText("**42** <b>")))
    assert "Final answer" in str(text.content)
    assert "<strong>42</strong> &lt;b&gt;" in str(text.content)
    (number,) = pull_messages_from_step(FinalAnswerStep(0))
    assert '<div class="plain">0</div>' in str(number.content)
    (mapping,) = pull_messages_from_step(FinalAnswerStep({"a": "<b>"}))
    assert "{'a': '<b>'}" in str(mapping.content)
    with pytest.raises(ValueError, match="not str"):
        list(pull_messages_from_step("step"))


def test_an_image_answer_is_written_anew_and_never_a_path_of_the_model(tmp_path: Path) -> None:
    import PIL.Image

    _, image = pull_messages_from_step(FinalAnswerStep(AgentImage(PIL.Image.new("RGB", (2, 2)))))
    assert isinstance(image.content, dict)
    path = str(image.content["path"])  # pyright: ignore[reportTypedDictNotRequiredAccess]
    assert path.endswith(".png")
    os.unlink(path)
    (answer,) = pull_messages_from_step(FinalAnswerStep(AgentText("/etc/passwd")))
    assert isinstance(answer.content, str)


def test_stream_to_gradio_yields_the_reply_so_far_and_then_messages() -> None:
    agent = agent_of([code("x = 1\nprint(x)"), code("final_answer(x + 1)")], stream_outputs=True)
    with agent:
        items = list(stream_to_gradio(agent, "count"))
    texts = [item for item in items if isinstance(item, str)]
    titles = [dict(item.metadata).get("title") for item in items if not isinstance(item, str)]
    assert texts
    assert texts[0].startswith('<div class="plain">Thought:')
    assert titles == ["Code", "Output", None, "Code", None, None]


def test_stream_to_gradio_continues_the_conversation_unless_reset() -> None:
    kept = "try:\n    final_answer(x)\nexcept NameError:\n    final_answer('forgotten')"
    agent = agent_of([code("x = 'kept'\nfinal_answer(0)"), code(kept), code(kept)])
    with agent:
        list(stream_to_gradio(agent, "one"))
        assert "kept" in str(list(stream_to_gradio(agent, "two", additional_args={"y": 1}))[-1])
        assert agent.state["y"] == 1
        assert "forgotten" in str(list(stream_to_gradio(agent, "three", reset_agent_memory=True))[-1])


def test_a_streamed_reply_costs_linear_work() -> None:
    """The reference rendered the whole reply anew for every piece of it."""
    reply = LiveReply()
    for _ in range(20_000):
        reply.add(ChatMessageStreamDelta(content="<word> "))
    assert len(reply.pieces) == 20_000
    assert reply.pieces[5] == escaped("<word> ")
    log = ChatLog()
    assert log.pause == pytest.approx(0.1)
    log.add(ChatMessageStreamDelta(content="x" * 100_000))
    assert log.pause == pytest.approx(0.6)


# Uploads


def uploaded(path: Path, name: str, content: bytes = b"text") -> Path:
    path.mkdir(exist_ok=True)
    (path / name).write_bytes(content)
    return path / name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a b.txt", "a_b.txt"),
        ("../../etc/passwd.txt", "passwd.txt"),
        ("..\\..\\boot.txt", "boot.txt"),
        ("...hidden.txt", "hidden.txt"),
        ("-rf.txt", "rf.txt"),
        ("x\0y\n.txt", "x_y_.txt"),
        ("éü.txt", "éü.txt"),
        (".txt", "txt"),
        ("", "file"),
        ("n" * 500 + ".txt", "n" * 96 + ".txt"),
    ],
)
def test_names_of_uploads_lead_nowhere(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_uploads_of_one_name_are_all_kept(tmp_path: Path) -> None:
    folder = UploadFolder(tmp_path / "kept")
    folder.make()
    paths = [folder.save(uploaded(tmp_path / "in", "a.txt", f"{n}".encode())) for n in range(3)]
    assert [path.name for path in paths] == ["a.txt", "a-2.txt", "a-3.txt"]
    assert [path.read_text() for path in paths] == ["0", "1", "2"]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_an_upload_never_follows_a_link_that_waits_in_the_folder(tmp_path: Path) -> None:
    folder = UploadFolder(tmp_path / "kept")
    folder.make()
    (folder.path / "a.txt").symlink_to(tmp_path / "victim")
    assert folder.save(uploaded(tmp_path / "in", "a.txt")).name == "a-2.txt"
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.exe", b"MZ", "not taken"),
        ("a.txt.exe", b"x", "not taken"),
        ("a", b"x", "not taken"),
        ("a.png", b"<script>", "content is not that of"),
        ("a.pdf", b"PK\x03\x04", "content is not that of"),
        ("a.txt", b"\x7fELF\0", "not text"),
        ("a.txt", b"x" * 101, "larger than"),
    ],
)
def test_uploads_are_checked_by_type_content_and_size(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    folder = UploadFolder(tmp_path / "kept", max_bytes=100)
    folder.make()
    with pytest.raises(RefusedUploadError, match=why):
        folder.save(uploaded(tmp_path / "in", name, content))
    assert list(folder.path.iterdir()) == []


def test_an_upload_is_a_plain_file(tmp_path: Path) -> None:
    folder = UploadFolder(tmp_path / "kept")
    folder.make()
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    for name in ("link.txt", "pipe.txt", "folder.txt", "missing.txt"):
        with pytest.raises(RefusedUploadError):
            folder.save(tmp_path / name)


def test_upload_file_keeps_allowed_files_and_says_what_it_did(tmp_path: Path) -> None:
    ui = GradioUI(agent_of([]), file_upload_folder=str(tmp_path / "kept"))
    assert ui.upload_file(None, ["old"])[1] == ["old"]
    text = SimpleNamespace(name=str(uploaded(tmp_path / "in", "note.txt")))
    log: list[str] = []
    told, new = ui.upload_file(text, log)
    assert told.value == f"File uploaded: {tmp_path / 'kept' / 'note.txt'}"
    assert new == [str(tmp_path / "kept" / "note.txt")]
    assert log == []
    table = SimpleNamespace(name=str(uploaded(tmp_path / "in", "t.csv")))
    assert "File type disallowed" in ui.upload_file(table, [])[0].value
    assert len(ui.upload_file(table, [], allowed_file_types=[".csv"])[1]) == 1
    assert "Uploads are off" in GradioUI(agent_of([])).upload_file(text, [])[0].value


# Visitors


def test_visitors_have_agents_of_their_own_and_the_idle_leave() -> None:
    agent = agent_of([])
    visitors = Visitors(agent.copy, limit=2)
    one, two = visitors.get("1"), visitors.get("2")
    assert visitors.get("1") is one
    assert one.agent is not two.agent
    assert one.agent.model is agent.model
    assert one.agent.memory is not two.agent.memory
    one.is_busy = True
    visitors.get("3")
    assert set(visitors.known) == {"1", "3"}  # 2 was idle longest; 1 is at work
    assert not two.folder.exists()
    visitors.leave("nobody")
    visitors.close()
    assert len(visitors) == 0
    assert not one.folder.exists()


def test_a_copy_of_an_agent_shares_its_definition_and_no_conversation() -> None:
    agent = agent_of([code("x = 1\nfinal_answer(x)"), code("final_answer('x' in globals())")])
    with agent:
        agent.run("one")
        other = agent.copy()
        assert other.memory.steps == []
        assert other.run("two", reset=False) is False
        other.tools["more"] = agent.tools["final_answer"]
        assert "more" not in agent.tools
        assert agent.task == "one"
        other.forget()
        assert other.memory.steps == []


# Launching


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Gradio would be told, up to where it would open its port."""
    import gradio

    seen: list[dict[str, Any]] = []

    def launch(self: Any, **kwargs: Any) -> None:
        seen.append(kwargs)

    monkeypatch.setattr(gradio.Blocks, "launch", launch)
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    return seen


# In a running event loop: where it finds none, Gradio makes one and leaves it behind.


async def test_the_page_is_served_on_this_machine_and_not_shared(launches: list[dict[str, Any]]) -> None:
    ui = GradioUI(agent_of([]))
    ui.launch()
    ui.create_app().launch()
    for told in launches:
        assert told["share"] is False
        assert told["server_name"] == "127.0.0.1"
    page = ui.create_app()
    assert page.analytics_enabled is False


async def test_sharing_is_cautioned_and_an_open_door_warned_of(
    launches: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    ui = GradioUI(agent_of([]))
    ui.launch(share=True)
    assert "public address" in capsys.readouterr().out
    assert launches[0]["share"] is True
    with pytest.warns(UserWarning, match="asks nobody for a password"):
        ui.launch(server_name="0.0.0.0")
    ui.launch(server_name="0.0.0.0", auth=("a", "b"))  # no warning
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.com")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_missing_gradio_names_the_extra(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['gradio'] = None\n"
        "from actloop.screens.gradio import GradioUI, stream_to_gradio\n"
        "for make in (lambda: GradioUI(None), lambda: next(stream_to_gradio(None, 'x'))):\n"
        "    try: make()\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'actloop[gradio]'") == 2
