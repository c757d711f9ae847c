"""What a run looks like on a terminal, in a pipe, on a narrow screen, and when hostile text is printed."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from actloop.ui.logger import AgentLogger, LogLevel
from actloop.ui.safe import safe_text
from actloop.ui.terminal import TerminalScreen, replay, thought_of
from actloop.values import events
from actloop.values.messages import ChatMessage, ChatMessageStreamDelta, MessageRole
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Sequence

CODE = "total = sum(range(10))\nprint(total)"
REPLY = f"Thought: I add them up.\n<code>\n{CODE}\n</code>"


def reply(text: str) -> events.ModelReplied:
    message = ChatMessage(MessageRole.ASSISTANT, text, token_usage=TokenUsage(1200, 80))
    return events.ModelReplied(purpose="action", message=message, seconds=1.0, time=2.0)


def started(task: str = "Add the numbers") -> events.RunStarted:
    return events.RunStarted(
        run="r", agent="CodeAgent", model="m1", task=task, system_prompt="SYS", prompt="PRO", max_steps=5, time=1.0
    )


RUN: list[events.Event] = [
    started(),
    events.StepStarted(number=1, time=1.0),
    reply(REPLY),
    events.ProgramStarted(id="p1", code=CODE),
    events.ProgramFinished(id="p1", output=[1, 2], logs="45\n"),
    events.StepFinished(number=1, observation="45", time=3.5),
    events.StepStarted(number=2, time=3.5),
    reply("1/0 it is\n```python\n1/0\n```"),
    events.ProgramStarted(id="p2", code="1/0"),
    events.ProgramFinished(id="p2", error_kind="ZeroDivisionError", error="division by zero"),
    events.StepFinished(number=2, error_kind="AgentExecutionError", error="ZeroDivisionError: oh", time=4.0),
    events.RunFinished(state="success", answer="forty-five", usage=TokenUsage(2400, 160), time=5.0),
]


def printed(run: Sequence[events.Event], *, level: int = LogLevel.INFO, width: int = 80, terminal: bool = False) -> str:
    colours = "truecolor" if terminal else None
    file = io.StringIO()
    console = Console(file=file, width=width, height=24, force_terminal=terminal, color_system=colours, highlight=False)
    screen = TerminalScreen(AgentLogger(level, console))
    for event in run:
        screen.on_event(event)
    return file.getvalue()


def test_a_run_shows_task_thought_code_output_errors_figures_and_answer() -> None:
    text = printed(RUN)
    places = [
        "CodeAgent · m1",
        "Add the numbers",
        "Step 1",
        "  I add them up.",
        "    total = sum(range(10))\n    print(total)",
        "  │ 45",
        "  │ = [1, 2]",
        "2.5 s · 1,200 tokens in, 80 out",
        "Step 2",
        "  1/0 it is\n    1/0\n  │ ZeroDivisionError: oh",
        "Answer\n  forty-five",
        "4.0 s · 2,400 tokens in, 160 out",
    ]
    found = [text.find(place) for place in places]
    assert -1 not in found
    assert found == sorted(found)
    assert "SYS" not in text
    assert "<code>" not in text
    assert "\x1b" not in text


def test_a_replay_prints_what_was_printed() -> None:
    live: list[events.Event] = []
    for event in RUN:
        if isinstance(event, events.ModelReplied):
            pieces = event.message.text.split(" ")
            live += [events.Delta(delta=ChatMessageStreamDelta(content=piece + " ")) for piece in pieces]
        live.append(event)
        if isinstance(event, events.ProgramStarted) and event.id == "p1":
            live += [events.Printed(text="4"), events.Printed(text="5\n")]
    console = Console(file=io.StringIO(), width=80, highlight=False)
    replay(RUN, console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == printed(live)
    replay(RUN, console, detailed=True)
    assert "SYS" in console.file.getvalue()


@pytest.mark.parametrize("width", [24, 40, 80])
def test_a_terminal_of_any_width_shows_every_word(width: int) -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed(RUN, width=width, terminal=True))
    assert all(len(line) <= width for line in text.replace("\r", "\n").split("\n"))
    words = text.split()
    for word in ("numbers", "print(total)", "ZeroDivisionError:", "forty-five", "Answer"):
        assert word in words


def test_tool_calls_and_what_came_of_each() -> None:
    called = [
        events.ToolCalled(id=city, name="get_weather", args=[], kwargs={"city": city}, origin="message")
        for city in ("Paris", "Nowhere")
    ]
    text = printed(
        [
            started(),
            events.StepStarted(number=1),
            reply('Thought: I look.\n{"name": "get_weather", "arguments": {}}'),
            events.CallsRead(thought="I look."),
            *called,
            events.CallObserved(id="Paris", observation="18 degrees"),
            events.CallObserved(id="Nowhere", observation="Error: ValueError: no such city"),
            events.CallsFinished(),
            events.StepFinished(number=1, error_kind="AgentToolExecutionError", error="ValueError: no such city"),
        ]
    )
    places = [
        "  I look.\n",
        "→ get_weather(city='Paris')\n",
        "→ get_weather(city='Nowhere')\n",
        "│ 18 degrees\n",
        "│ Error: ValueError: no such city\n",
    ]
    assert [text.count(place) for place in places] == [1] * 5
    assert [text.find(place) for place in places] == sorted(text.find(place) for place in places)
    assert text.count("no such city") == 1
    assert '{"name"' not in text


def test_streamed_text_is_gone_when_the_reply_is_printed() -> None:
    run = [started(), events.StepStarted(number=1)]
    run += [events.Delta(delta=ChatMessageStreamDelta(content=f"word{i} ")) for i in range(50)]
    run += [*RUN[2:6], RUN[-1]]
    text = printed(run, terminal=True)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor is back
    assert "thinking" in text
    assert "I add them up." in text


def test_an_interrupted_run_gives_the_cursor_back() -> None:
    run = [started(), events.StepStarted(number=1), events.RunFinished(state="interrupted", error="stop")]
    text = printed(run, terminal=True)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert "Interrupted" in text


def test_levels() -> None:
    assert "ZeroDivisionError: oh" in printed(RUN, level=LogLevel.ERROR)
    assert "Step 1" not in printed(RUN, level=LogLevel.ERROR)
    assert "SYS" in printed(RUN, level=LogLevel.DEBUG)


HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://evil\x1b\\click\x9b31m \u202egnirts"
    " \u2066x\u2069 \rAnswer: forged\x08\x7f \u2028 [red]m[/red] \U000e0041"
)


@pytest.mark.parametrize("terminal", [True, False])
def test_hostile_text_cannot_forge_a_screen(terminal: bool) -> None:
    run: list[events.Event] = [
        started(HOSTILE),
        events.StepStarted(number=1),
        events.Delta(delta=ChatMessageStreamDelta(content=HOSTILE)),
        reply(f"{HOSTILE}\n<code>\nx = '''{HOSTILE}'''\n</code>"),
        events.ProgramStarted(id="p", code=f"x = '''{HOSTILE}'''"),
        events.ToolCalled(id="c", name=f"f{HOSTILE}", args=[HOSTILE], kwargs={}, origin="message"),
        events.ToolReturned(id="c", result=HOSTILE),
        events.Printed(text=HOSTILE + "\n"),
        events.ProgramFinished(id="p", output=HOSTILE),
        events.StepFinished(number=1, error_kind=HOSTILE, error=HOSTILE),
        events.RunFinished(state="failed", error_kind=HOSTILE, error=HOSTILE),
        events.RunFinished(state="success", answer=HOSTILE),
    ]
    text = printed(run, level=LogLevel.DEBUG, terminal=terminal)
    ours = re.sub(r"\x1b\[(?:[0-9;]*m|\?25[lh]|[0-9]*[AK])|\r(?=\x1b)", "", text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\U000e0041]", ours)
    assert "\\x1b[2J" in text
    assert "[red]m[/red]" in text


def test_long_output_is_counted_not_shown() -> None:
    run = [*RUN[:4], events.ProgramFinished(id="p1", logs="line\n" * 10_000), *RUN[5:6]]
    text = printed(run)
    assert text.count("│ line") == 60
    assert "10,000 lines" in text


@pytest.mark.parametrize(
    ("text", "code", "thought"),
    [
        (REPLY, CODE, "I add them up."),
        ('{"thought": "so", "code": "x"}', "x", "so"),
        ("no program here", "x = 1", "no program here"),
        ("```py\nx = 1\n```", "x = 1", ""),
        ("**Thought**: now\nCode:\n```python\nx = 1\n```", "x = 1", "now"),
    ],
)
def test_the_thought_is_what_stands_before_the_program(text: str, code: str, thought: str) -> None:
    assert thought_of(text, code).removesuffix("Code:").strip() == thought


def test_text_for_a_terminal_that_lacks_characters() -> None:
    assert safe_text("é\n→", "ascii") == "\\xe9\n\\u2192"
    assert safe_text("a\r\nb\tc\rd") == "a\nb\tc\\rd"


def test_a_closed_pipe_does_not_end_the_run(own_home: object) -> None:
    program = (
        "from actloop.ui.logger import AgentLogger\nfrom actloop.values import events\nimport os, sys\n"
        "screen = AgentLogger().screen()\nos.close(1)\n"
        "for i in range(3): screen.append('r', events.StepStarted(number=i))\n"
        "print('went on', file=sys.stderr)\nos.open(os.devnull, os.O_WRONLY)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, check=True)
    assert done.stderr == "went on\n"


def test_no_color_is_honoured() -> None:
    program = (
        "from rich.console import Console\nfrom actloop.ui.logger import AgentLogger\n"
        "AgentLogger(1, Console(force_terminal=True)).log_code('t', 'print(1)')"
    )
    env = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color"}
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True, env=env)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", done.stdout)


def test_secrets_are_masked_wherever_they_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-" + "a1B2c3" * 8
    monkeypatch.setenv("WEATHER_API_KEY", "umbrella-weather")
    run: list[events.Event] = [
        started(f"use {key}"),
        events.StepStarted(number=1, time=1.0),
        reply(f"Thought: the key is {key}\n<code>\nprint('{key}')\n</code>"),
        events.ProgramStarted(id="p1", code=f"print('{key}')"),
        events.ToolCalled(id="c1", name="fetch", args=[key], kwargs={"token": "umbrella-weather"}, origin="code"),
        events.ToolReturned(id="c1", result="umbrella-weather"),
        events.ProgramFinished(id="p1", output=key, logs=f"{key}\numbrella-weather\n"),
        events.StepFinished(number=1, error_kind="AgentError", error=f"no such key: {key}", time=3.5),
        events.RunFinished(state="success", answer=f"it is {key} or umbrella-weather", time=5.0),
    ]
    for level in (LogLevel.ERROR, LogLevel.INFO, LogLevel.DEBUG):
        text = printed(run, level=level)
        assert key not in text
        assert "umbrella-weather" not in text
        assert "[secret]" in text


def test_what_a_tool_yields_is_shown_as_it_comes() -> None:
    run: list[events.Event] = [
        started(),
        events.ToolCalled(id="c1", name="count", args=[], kwargs={}, origin="code"),
        *[events.ToolYielded(id="c1", name="count", piece=piece) for piece in ("a b", "c\nlast", {"found": 3})],
    ]
    text = printed(run)
    assert "│ a bc" in text
    assert "│ last{'found': 3}" in text
    assert "cyan" not in text
    end = events.ToolReturned(id="c1", result="done")
    assert "│ rest" in printed([*run, events.ToolYielded(id="c1", name="count", piece="rest"), end])


@pytest.mark.parametrize("width", [1, 8, 20, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_any_width_and_a_pipe(width: int, terminal: bool) -> None:
    text = printed(RUN, width=width, terminal=terminal)
    assert "forty-five" in re.sub(r"\x1b\[[0-9;]*m|[\s│]", "", text)
    if not terminal:
        assert "    total = sum(range(10))\n" in text  # in a pipe no line is broken


def test_requests_to_the_network_are_quiet_lines() -> None:
    asked = [
        events.NetworkRequested(host="api.example.org", port=443, method="CONNECT", address="8.8.8.8", sent=1234),
        events.NetworkRequested(host="", port=0, method="", refused="the request cannot be \x1b[31m understood"),
    ]
    more = [events.NetworkRequested(host="h.example", port=80, method="GET")] * 25
    shown = printed([*RUN[:4], *asked, *more, *RUN[4:], *asked])
    assert "  network: CONNECT api.example.org:443 · 1,234 bytes out, 0 in\n" in shown
    assert "network: a request was refused: the request cannot be " in shown
    assert "\x1b[31m" not in shown
    assert shown.count("network: ") == 21
    assert "network: 7 more requests" in shown
    assert "network" not in printed([*RUN[:4], *asked, *RUN[4:]], level=LogLevel.ERROR)
