"""The command as users and scripts meet it: real processes, a real service, the real sandbox."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.waiting import eventually

from actloop import __version__
from actloop.cli.reports import Finding, print_findings
from actloop.executors.kernel.probe import REMEDIES

from .conftest import COMMAND, actloop, environment

if TYPE_CHECKING:
    from .conftest import Service

ANSWER = "Thought: easy.\n<code>\nprint('working')\nfinal_answer(6 * 7)\n</code>"


def test_the_package_itself_is_the_command() -> None:
    command = [sys.executable, "-m", "actloop", "--version"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == actloop("--version").stdout
    assert __version__ in done.stdout


def test_a_task_is_answered_and_recorded(service: Service) -> None:
    service.replies = [ANSWER]
    done = actloop("What is six times seven?", *service.options)
    assert done.returncode == 0, done.stderr
    for part in ("What is six times seven?", "easy.", "print('working')", "│ working", "Answer\n  42", "10 tokens in"):
        assert part in done.stdout
    assert "\x1b" not in done.stdout
    assert "secret-key-1" not in done.stdout + done.stderr

    listed = actloop("runs")
    assert "What is six times seven?" in listed.stdout
    (run,) = [json.loads(line) for line in actloop("runs", "--json").stdout.splitlines()]
    assert (run["state"], run["steps"], run["tokens"]) == ("success", 1, 15)
    assert actloop("show", run["id"][:4]).stdout == done.stdout
    assert actloop("show").stdout == done.stdout
    detailed = actloop("show", run["id"], "--detailed").stdout
    assert "System prompt" in detailed
    kinds = [json.loads(line)["kind"] for line in actloop("show", run["id"], "--json").stdout.splitlines()]
    assert kinds[0] == "RunStarted"
    assert kinds[-1] == "RunFinished"


def test_json_lines_and_nothing_else(service: Service) -> None:
    service.replies = ["<code>\nimport os, datetime\nprint('x')\ndatetime.date(2026, 1, 2)\n</code>", ANSWER]
    done = actloop("t", "--json", *service.options)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["kind"] == "RunStarted"
    assert events[-1]["kind"] == "RunFinished"
    assert events[-1]["answer"] == 42
    assert len({event["run"] for event in events}) == 1


def test_no_journal(service: Service) -> None:
    service.replies = [ANSWER, ANSWER]
    assert actloop("t", "--no-journal", *service.options).returncode == 0
    assert actloop("t", *service.options, ACTLOOP_JOURNAL="off").returncode == 0
    assert actloop("runs").stdout == "No runs yet.\n"


@pytest.mark.parametrize("verbosity", ["0", "-1"])
def test_the_answer_is_printed_however_quiet(service: Service, verbosity: str) -> None:
    service.replies = ["<code>\nfinal_answer('a [bold]b[/bold]\\x1b[2J')\n</code>"] * 2
    done = actloop("t", "--verbosity", verbosity, *service.options)
    assert (done.returncode, done.stdout) == (0, "a [bold]b[/bold]\\x1b[2J\n"), done.stderr
    done = actloop("--verbosity", verbosity, *service.options, given="t\n")
    assert done.stdout == "a [bold]b[/bold]\\x1b[2J\n"


def test_steps_used_up_is_no_answer(service: Service) -> None:
    service.replies = ["<code>\n1\n</code>", "I do not know."]
    done = actloop("t", "--max-steps", "1", *service.options)
    assert done.returncode == 1
    assert "I do not know." in done.stdout


def test_a_model_that_fails_is_no_answer(service: Service) -> None:
    options = ["--api-base", "http://127.0.0.1:9/v1", "--model-id", "m", "--api-key", "secret-key-1"]
    for more in ([], ["--json"], ["--verbosity", "0"], ["--verbosity", "-1"]):
        done = actloop("t", *options, *more)
        assert done.returncode == 1
        assert "Traceback" not in done.stdout + done.stderr
        assert "secret-key-1" not in done.stdout + done.stderr
        assert done.stdout if more == [] else done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bogus"], "--bogus"),
        (["t", "--max-steps", "many"], "many"),
        (["t", "--max-steps", "-1"], "-1"),
        (["t", "--verbosity", "7"], "7"),
        (["t", "--model-type", "magic"], "magic"),
        (["t", "--model-type", "openai"], "--model-id"),
        (["t", "--model-id", "no-such-file.gguf"], "no-such-file.gguf"),
        (["t", "--api-base", "http://127.0.0.1:9", "--model-id", "m", "--api-key", "k", "--tools", "hammer"], "hammer"),
        (["t", "--api-base", "http://127.0.0.1:9", "--model-id", "m", "--api-key", "k", "--tools", "no.mod:x"], "no"),
        (["  "], "empty"),
        (["-"], "standard input"),
        (["one", "two"], "two"),
        (["show", "abc"], "abc"),
        (["show"], "no runs"),
        (["runs", "--limit", "0"], "0"),
    ],
)
def test_wrong_use(arguments: list[str], told: str) -> None:
    done = actloop(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tools", "hammer"],
        ["--tools", "no.mod:x"],
        ["--tools", "json:dumps"],
        ["--tools", "python_interpreter,python_interpreter"],
        ["--imports", "not_installed_anywhere"],
    ],
)
def test_wrong_tools_and_imports_are_told_of_before_the_model_is_made(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"no model at all")
    done = actloop("t", "--model-id", str(tmp_path / "broken.gguf"), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert arguments[0] in done.stderr


def test_a_missing_import_is_told_of_in_the_words_of_the_command(service: Service) -> None:
    done = actloop("t", "--imports", "not_installed_anywhere", *service.options)
    assert done.returncode == 2
    assert "--imports: " in done.stderr
    assert "not_installed_anywhere" in done.stderr
    assert "additional_authorized_imports" not in done.stderr


def test_the_help_describes_every_command_and_ends_with_the_epilogue_once() -> None:
    told = actloop("--help", COLUMNS="120").stdout
    commands = dict(re.findall(r"^│ ([a-z][a-z-]+) +(.*?) *│$", told.partition("Arguments")[0], re.MULTILINE))
    assert {"doctor", "fetch-model", "mcp", "run", "runs", "serve-model", "show", "web"} <= set(commands)
    assert all(commands.values()), commands
    assert "Exit codes" in told
    for name in commands:
        told = actloop(name, "--help", COLUMNS="120").stdout
        assert told.lstrip().startswith(f"Usage: actloop {name}")
        assert "Exit codes" not in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--provider", "p", "--model-type", "openai"], "--provider names a provider"),
        (["--mcp", "/no/such/program"], "cannot connect to MCP server '/no/such/program'"),
        (["--action-type", "tool-calling", "--imports", "numpy"], "--imports is for programs"),
    ],
)
def test_an_agent_that_is_served_is_chosen_as_for_a_task(service: Service, arguments: list[str], told: str) -> None:
    for command in (["mcp"], ["t"]):
        done = actloop(*command, *arguments, *service.options)
        assert done.returncode in (1, 2)
        assert done.stderr.startswith(f"actloop: {told}"), done.stderr


def test_a_key_in_the_environment_does_not_choose_the_model(service: Service) -> None:
    done = actloop("t", "--model-id", "no-such-file.gguf", ACTLOOP_API_KEY="exported")
    assert (done.returncode, done.stdout) == (2, "")
    assert "embedded models" in done.stderr
    done = actloop("t", "--model-id", "m", *service.options[:2], ACTLOOP_API_KEY="exported")
    assert done.returncode == 0, done.stderr
    assert service.keys == ["Bearer exported"]


def test_tasks_from_standard_input_and_tasks_named_like_commands(service: Service) -> None:
    service.replies = [ANSWER] * 3
    assert actloop("-", *service.options, given="From a pipe?\n").returncode == 0
    assert actloop("run", "doctor", *service.options).returncode == 0
    assert actloop(*service.options, "--imports", "numpy,pandas", "json", "What is it?").returncode == 0
    tasks = [json.loads(line)["task"] for line in actloop("runs", "--json").stdout.splitlines()]
    assert tasks == ["What is it?", "doctor", "From a pipe?"]


def test_own_tools(service: Service, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from actloop import tool\n\n@tool\ndef double(x: int) -> int:\n"
        '    """Doubles.\n\n    Args:\n        x: A number.\n    """\n    return 2 * x\n'
    )
    service.replies = ["<code>\nfinal_answer(double(21))\n</code>"]
    arguments = [*COMMAND, "t", "--tools", "mine:double", *service.options]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert "Answer\n  42" in done.stdout


def test_a_conversation_keeps_variables(service: Service) -> None:
    service.replies = ["<code>\nx = 20\nfinal_answer('kept')\n</code>", "<code>\nfinal_answer(x + 1)\n</code>", ANSWER]
    done = actloop(*service.options, given="remember 20\n/help\n/nonsense\nadd one\n/new\nagain\n/quit\nnot this\n")
    assert done.returncode == 0, done.stderr
    assert "Answer\n  21" in done.stdout
    assert "no command '/nonsense'" in done.stdout
    assert [len(request["messages"]) for request in service.requests][1] > len(service.requests[2]["messages"])
    assert len(service.requests) == 3


def children_of(pid: int) -> set[int]:
    found: set[int] = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(status.parent.name)
            found |= {child} | children_of(child)
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_and_leaves_no_process(service: Service, number: int, code: int) -> None:
    service.replies = ["<code>\nprint('endless', flush=True)\nwhile True: pass\n</code>"]
    with subprocess.Popen(
        [*COMMAND, "t", *service.options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        shown = ""
        while "│ endless" not in shown:
            shown += process.stdout.readline()
        children = children_of(process.pid)
        assert children
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert "Interrupted" in rest
    assert eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    (run,) = [json.loads(line) for line in actloop("runs", "--json").stdout.splitlines()]
    assert run["state"] == "interrupted"


def read_until(terminal: int, text: str, shown: str = "", again: bytes = b"") -> str:
    """What the terminal shows until a text has come; `again` is typed until then, as a user would.

    A Ctrl-C that comes between the prompt and Python's wait for a key is only noticed with the next key.
    """
    deadline, typed = time.monotonic() + 30, 0.0
    while text not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown):
        assert time.monotonic() < deadline, f"{text!r} did not come:\n{shown}"
        if again and time.monotonic() - typed > 1:
            os.write(terminal, again)
            typed = time.monotonic()
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace")
    return shown


def test_ctrl_c_ends_the_run_but_not_the_session(service: Service) -> None:
    service.replies = ["<code>\nwhile True: pass\n</code>", ANSWER]
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *service.options],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env=environment(TERM="xterm"),
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(inner)
    try:
        read_until(outer, "> ")
        os.write(outer, b"loop\n")
        read_until(outer, "while True")
        os.write(outer, b"\x03")
        read_until(outer, "Interrupted")
        os.write(outer, b"again\n")
        shown = read_until(outer, "Answer")
        shown = read_until(outer, "> ", shown.rpartition("Answer")[2])
        shown = read_until(outer, "leaves", again=b"\x03")
        read_until(outer, "> ", shown.rpartition("leaves")[2])  # only the prompt takes Ctrl-D for the end
        os.write(outer, b"\x04")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(outer)


def test_doctor_tells_what_holds() -> None:
    done = actloop("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["isolated"] else 1)
    assert {"sandbox", "executors", "model", "journal", "extras"} <= set(found)
    executors = {item["name"]: item for item in found["executors"]}
    assert list(executors) == ["local", "docker", "wasm", "monty", "e2b", "modal", "blaxel"]
    assert executors["local"]["ok"] == found["isolated"]
    assert all(
        item["detail"].startswith("ready") if item["ok"] else "\n" not in item["detail"] for item in executors.values()
    )
    text = actloop("doctor")
    assert text.returncode == done.returncode
    assert "seccomp" in text.stdout


def test_doctor_says_how_to_get_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [Finding(level, ok=False, remedy=REMEDIES[level]) for level in REMEDIES]
    print_findings({"Sandbox": findings}, isolated=False)
    shown = capsys.readouterr().out
    assert "to have it: run as root" in shown
    assert shown.count("to have it") == len(findings)


def test_doctor_prints_one_line_for_each_executor_under_one_another() -> None:
    done = actloop("doctor", DOCKER_HOST="nonsense", E2B_API_KEY="", COLUMNS="80")
    lines = done.stdout.partition("Executors\n")[2].partition("\nModel")[0].splitlines()
    assert [line.split()[1] for line in lines] == ["local", "docker", "wasm", "monty", "e2b", "modal", "blaxel"]
    assert {line[14] for line in lines} == {" "}
    assert " " not in {line[15] for line in lines}
    assert "'nonsense' is no address of a container engine" in lines[1]
    assert "set E2B_API_KEY" in lines[4]
    assert sum(line.startswith("  ok   installed") for line in done.stdout.splitlines()) == 1


def test_doctor_tries_whether_the_journal_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (broken,) = json.loads(actloop("doctor", "--json", ACTLOOP_HOME=str(tmp_path / "file")).stdout)["journal"]
    assert not broken["ok"]
    assert "cannot be written" in broken["detail"]
    assert "ACTLOOP_HOME" in broken["remedy"]
    (sound,) = json.loads(actloop("doctor", "--json", ACTLOOP_HOME=str(tmp_path / "new")).stdout)["journal"]
    assert sound["ok"]
    assert sound["detail"].endswith(", 0 runs")


def test_hostile_words_in_a_file_of_runs(service: Service) -> None:
    service.replies = [ANSWER]
    assert actloop("evil \x1b]0;owned\x07 \u202e task", *service.options).returncode == 0
    for arguments in (["runs"], ["show"]):
        shown = actloop(*arguments, FORCE_COLOR="1").stdout
        assert "\x1b]" not in shown
        assert "\u202e" not in shown
        assert "\\x1b]0;owned" in shown


def test_help_version_and_a_closed_pipe(service: Service) -> None:
    assert "--max-steps" in actloop("--help").stdout
    assert actloop("--version").stdout == f"actloop {__version__}\n"
    service.replies = [ANSWER]
    assert actloop("t", *service.options).returncode == 0
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen([*COMMAND, "show"], stdout=writing, stderr=subprocess.PIPE, env=environment()) as process:
        os.close(writing)
        _, errors = process.communicate()
    assert b"Traceback" not in errors


def test_an_agent_that_acts_by_tool_calls(service: Service) -> None:
    service.replies = ['{"name": "final_answer", "arguments": {"answer": 42}}']
    done = actloop("six times seven?", "--action-type", "tool_calling", *service.options)
    assert done.returncode == 0, done.stderr
    assert "Answer\n  42" in done.stdout
    names = [tool["function"]["name"] for tool in service.requests[0]["tools"]]
    assert names == ["final_answer"]


def test_tools_of_an_mcp_server(service: Service, tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(
        "from fastmcp import FastMCP\n"
        "server = FastMCP('numbers')\n"
        "@server.tool\n"
        "def triple(number: int) -> int:\n"
        "    'Gives three times a number.'\n"
        "    return number * 3\n"
        "server.run(show_banner=False)\n"
    )
    service.replies = ["Thought: I call it.\n<code>\nfinal_answer(triple(14))\n</code>"]
    done = actloop("three times 14?", "--mcp", f"{sys.executable} {script}", *service.options)
    assert done.returncode == 0, done.stderr
    assert "Answer\n  42" in done.stdout
    assert "def triple(number: int)" in json.dumps(service.requests[0]["messages"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model-type", "oracle"], "there are local, openai, anthropic"),
        (["--model-type", "anthropic"], "--model-id"),
        (["--model-type", "openai", "--model-id", "m", "--provider", "x"], "--provider"),
        (["--model-type", "transformers", "--model-id", "m", "--api-base", "http://x"], "mean nothing"),
        (["--action-type", "prayer"], "'code' and 'tool_calling'"),
        (["--action-type", "tool_calling", "--imports", "numpy"], "--imports"),
        (["--tools", "no_such_tool"], "no such tool"),
    ],
)
def test_options_that_do_not_fit_are_named(options: list[str], told: str) -> None:
    done = actloop("a task", *options)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_knows_every_extra() -> None:
    import tomllib

    from actloop.cli.reports import EXTRAS

    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"]) - {"all"}
