"""The logger that users of the reference know."""

from __future__ import annotations

import io
import subprocess
import sys
from types import SimpleNamespace

from rich.console import Console

from actloop.memory.steps import ActionStep
from actloop.ui.logger import AgentLogger, LogLevel, Monitor
from actloop.values.messages import ChatMessage, MessageRole
from actloop.values.usage import Timing, TokenUsage


def logger(level: int = LogLevel.INFO) -> tuple[AgentLogger, io.StringIO]:
    file = io.StringIO()
    return AgentLogger(level, Console(file=file, width=80, highlight=False)), file


def test_levels() -> None:
    log, file = logger(LogLevel.INFO)
    log.log("shown")
    log.log("hidden", level=LogLevel.DEBUG)
    log.log("hidden, too", level="debug")
    log.log_error("wrong [bold]")
    assert file.getvalue() == "shown\nwrong [bold]\n"


def test_off_prints_nothing() -> None:
    log, file = logger(LogLevel.OFF)
    log.log_error("x")
    log.log_task("x", "y")
    log.log_rule("x", level=LogLevel.ERROR)
    assert file.getvalue() == ""


def test_every_kind_of_message() -> None:
    log, file = logger(LogLevel.DEBUG)
    log.log_task("the task", "a subtitle", title="agent one")
    log.log_rule("Step 1")
    log.log_markdown("# head\x1b[2J", title="Output")
    log.log_code("Code", "print('x')")
    log.log_messages([ChatMessage(MessageRole.USER, "hello")])
    text = file.getvalue()
    for part in ("the task", "a subtitle", "agent one", "Step 1", "# head\\x1b[2J", "print('x')", '"content": "hello"'):
        assert part in text


def test_the_tree_of_agents() -> None:
    tool = SimpleNamespace(
        name="f", description="Does it.", inputs={"x": {"type": "integer", "description": "a number"}}
    )
    model = SimpleNamespace(model_id="model-1")
    helper = SimpleNamespace(model=model, tools={}, managed_agents={}, description="Helps.")
    boss = SimpleNamespace(
        model=model, tools={"f": tool}, managed_agents={"helper": helper}, additional_authorized_imports=["numpy"]
    )
    log, file = logger()
    log.visualize_agent_tree(boss)
    text = file.getvalue()
    for part in ("model-1", "numpy", "Does it.", "x (integer): a number", "helper", "Helps."):
        assert part in text


def test_the_monitor_adds_up() -> None:
    log, file = logger()
    monitor = Monitor(None, log)
    for _ in range(2):
        monitor.update_metrics(ActionStep(step_number=1, timing=Timing(1.0, 3.0), token_usage=TokenUsage(10, 5)))
    assert monitor.get_total_token_counts() == TokenUsage(20, 10)
    assert monitor.step_durations == [2.0, 2.0]
    assert "20 tokens in and 10 out" in file.getvalue()
    monitor.reset()
    assert monitor.get_total_token_counts() == TokenUsage(0, 0)


def test_making_a_logger_loads_no_rich() -> None:
    program = "import sys\nfrom actloop.ui.logger import AgentLogger\nAgentLogger()\nassert 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
