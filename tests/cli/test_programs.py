"""Where programs run and what they may use there, as options of the command: real processes, the real sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from actloop.executors.registry import NAMES

from .conftest import COMMAND, actloop, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Service

VALUE = "tk-93f0c1a7e5d24b8"
MAKES_A_FILE = "<code>\nopen('report.md', 'w').write('# Sales\\n')\nfinal_answer('made')\n</code>"

needs_monty = pytest.mark.skipif(find_spec("pydantic_monty") is None, reason="Monty is not installed")


def program(code: str) -> str:
    return f"<code>\n{code}\n</code>"


def events(stdout: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in map(json.loads, stdout.splitlines()) if event["kind"] == kind]


def told(service: Service) -> str:
    """All that the model was told."""
    return json.dumps([request["messages"] for request in service.requests])


# ---- executors


@pytest.mark.parametrize("name", ["podman", "", "local,podman", "local,"])
def test_an_unknown_executor_is_answered_with_the_known_ones(service: Service, name: str) -> None:
    done = actloop("t", "--executor", name, *service.options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("actloop: --executor ")
    assert ", ".join(NAMES) in done.stderr
    assert service.requests == []


def test_an_executor_that_is_not_ready_says_what_is_missing_before_a_model_is_asked(service: Service) -> None:
    done = actloop("t", "--executor", "e2b", *service.options, E2B_API_KEY="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("actloop: --executor e2b is not ready: ")
    assert done.stderr.count("\n") == 1
    assert service.requests == []


def test_of_several_executors_none_of_which_is_ready_each_says_what_is_missing(service: Service) -> None:
    done = actloop(
        "t", "--executor", "docker,e2b", *service.options, E2B_API_KEY="", DOCKER_HOST="unix:///nowhere/docker.sock"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "none is ready. docker: " in done.stderr
    assert "e2b: " in done.stderr
    assert service.requests == []


def test_of_several_executors_those_that_are_not_ready_are_passed_over_and_told_of(service: Service) -> None:
    service.replies = [program("final_answer(6 * 7)")]
    done = actloop("t", "--executor", "e2b,local", *service.options, E2B_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert "Not ready: e2b: " in done.stdout
    assert "Answer\n  42" in done.stdout


@needs_monty
def test_programs_run_in_the_executor_that_was_named(service: Service) -> None:
    service.replies = [program("import socket"), program("final_answer(6 * 7)")]
    done = actloop("t", "--executor", "monty", *service.options)
    assert done.returncode == 0, done.stderr
    assert "Monty" in told(service)
    assert "Answer\n  42" in done.stdout


@needs_monty
def test_a_program_that_needs_more_runs_in_the_next_executor(service: Service) -> None:
    service.replies = [program("number = 20"), program("import decimal, statistics, queue\nfinal_answer(number + 1)")]
    done = actloop("t", "--executor", "monty,local", *service.options)
    assert done.returncode == 0, done.stderr
    assert "Answer\n  21" in done.stdout


@needs_monty
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--executor", "monty", "--workspace", "."], "leave --workspace out"),
        (["--executor", "monty", "--allow-host", "a.example"], "--allow-host: programs have no network in monty"),
        (["--executor", "wasm,monty", "--allow-host", "a.example"], "no network in wasm and monty"),
        (["--executor", "monty", "--imports", "numpy"], "--executor monty,local"),
    ],
)
def test_what_an_executor_cannot_keep_is_told_of_before_a_model_is_asked(
    service: Service, options: list[str], said: str
) -> None:
    done = actloop(*options, "t", *service.options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert service.requests == []


def test_a_tool_calling_agent_takes_no_option_for_programs(service: Service, tmp_path: Path) -> None:
    for options in (
        ["--executor", "local"],
        ["--workspace", str(tmp_path)],
        ["--timeout", "3"],
        ["--memory", "99"],
        ["--allow-host", "a.example"],
        ["--sandbox-secret", "API_TOKEN"],
    ):
        done = actloop("t", "--action-type", "tool_calling", *options, *service.options)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{options[0]} is for programs" in done.stderr
    assert service.requests == []


# ---- limits


def test_a_program_that_runs_too_long_or_holds_too_much_is_ended(service: Service) -> None:
    service.replies = [program("while True: pass"), program("x = b'1' * (200 << 20)"), program("final_answer('done')")]
    done = actloop("t", "--timeout", "0.5", "--memory", "100", *service.options)
    assert done.returncode == 0, done.stderr
    messages = service.requests[-1]["messages"]
    assert "0.5" in json.dumps(messages)
    assert "MemoryError" in json.dumps(messages)


@pytest.mark.parametrize(
    "options",
    [
        ["--timeout", "0"],
        ["--memory", "1.5"],
        ["--quota", "1.5"],
        ["--timeout", "nan"],
        ["--timeout", "soon"],
        ["--memory", "0"],
        ["--memory", "99999999999"],
        ["--quota", "0"],
    ],
)
def test_limits_that_are_none_are_refused(service: Service, options: list[str], tmp_path: Path) -> None:
    done = actloop("t", "--workspace", str(tmp_path), *options, *service.options)
    assert (done.returncode, done.stdout) == (2, "")
    assert options[0] in done.stderr
    assert "Traceback" not in done.stderr
    assert service.requests == []


# ---- files


def test_programs_read_the_workspace_and_cannot_write_it(service: Service, tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("Rome,3\n")
    service.replies = [program("print(open('sales.csv').read())"), MAKES_A_FILE, program("final_answer('no')")]
    done = actloop("t", "--workspace", str(tmp_path), *service.options)
    assert done.returncode == 0, done.stderr
    assert "Rome,3" in done.stdout
    assert "sales.csv" in told(service)
    assert [path.name for path in tmp_path.iterdir()] == ["sales.csv"]
    assert "Files in" not in done.stdout


def test_the_files_of_a_run_are_named_at_its_end(service: Service, tmp_path: Path) -> None:
    service.replies = [MAKES_A_FILE]
    done = actloop("t", "--workspace", str(tmp_path), "--writable", *service.options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.md").read_text() == "# Sales\n"
    assert done.stdout.endswith(f"\nFiles in {tmp_path}\n  report.md  text/markdown, 8 bytes\n")


def test_many_files_are_counted(service: Service, tmp_path: Path) -> None:
    service.replies = [program("for n in range(40): open(f'{n:02}.txt', 'w').write('x')\nfinal_answer('made')")]
    done = actloop("t", "--workspace", str(tmp_path), "--writable", *service.options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n  29.txt  text/plain, 1 byte\n  and 10 more\n")


def test_a_conversation_names_the_files_of_each_run(service: Service, tmp_path: Path) -> None:
    service.replies = [MAKES_A_FILE, program("open('more.txt', 'w').write('x')\nfinal_answer('made')")]
    done = actloop("--workspace", str(tmp_path), "--writable", *service.options, given="one\ntwo\n")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("\nFiles in ")[1:]
    assert "report.md  " in first
    assert "more.txt  " in second
    assert "report.md  " not in second


def test_json_lines_hold_the_files_and_nothing_else_is_printed(service: Service, tmp_path: Path) -> None:
    service.replies = [MAKES_A_FILE]
    done = actloop("t", "--workspace", str(tmp_path), "--writable", "--json", *service.options)
    assert done.returncode == 0, done.stderr
    (changed,) = events(done.stdout, "FilesChanged")
    assert changed["created"] == [{"name": "report.md", "type": "text/markdown", "size": 8}]


@pytest.mark.parametrize("verbosity", ["0", "-1"])
def test_a_quiet_run_prints_the_answer_alone(service: Service, tmp_path: Path, verbosity: str) -> None:
    service.replies = [MAKES_A_FILE]
    options = ["--workspace", str(tmp_path), "--writable", "--verbosity", verbosity]
    assert actloop("t", *options, *service.options).stdout == "made\n"
    assert (tmp_path / "report.md").is_file()


def test_files_take_no_more_than_the_quota(service: Service, tmp_path: Path) -> None:
    service.replies = [program("open('big', 'wb').write(b'1' * (3 << 20))\nfinal_answer('made')")]
    done = actloop("t", "--workspace", str(tmp_path), "--writable", "--quota", "2", *service.options)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
    assert "folder takes 2,097,152 bytes in all" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workspace", "no-such-folder"], "make the folder first"),
        (["--workspace", __file__], "is not a folder"),
        (["--workspace", ""], "is no path"),
        (["--workspace", "/", "--writable"], "holds your home folder or the whole disk"),
        (["--writable"], "--writable is for --workspace FOLDER"),
        (["--quota", "3"], "--quota is for --workspace FOLDER"),
    ],
)
def test_a_workspace_that_cannot_be_is_told_of_before_a_model_is_asked(
    service: Service, options: list[str], said: str
) -> None:
    done = actloop("t", *options, *service.options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert service.requests == []


# ---- network


@pytest.fixture
def weather() -> Iterator[int]:
    """Port of a service on this machine."""

    class Weather(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"sunny")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Weather)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_programs_reach_the_hosts_that_were_named_and_no_other(service: Service, weather: int) -> None:
    asks = "import urllib.request\nprint(urllib.request.urlopen('http://{}/').read().decode())"
    service.replies = [
        program(asks.format(f"127.0.0.1:{weather}")),
        program(asks.format(f"127.0.0.1:{service.port}")),
        program("final_answer('done')"),
    ]
    hosts = ["--allow-host", "api.example.org", "--allow-host", f"127.0.0.1:{weather}"]
    done = actloop("t", *hosts, "--json", *service.options)
    assert done.returncode == 0, done.stderr
    asked = {event["port"]: event["refused"] for event in events(done.stdout, "NetworkRequested")}
    assert asked[weather] == ""
    assert "not among what may be reached" in asked[service.port]
    assert "sunny" in told(service)


@pytest.mark.parametrize("host", ["*", "http://a.example/", "a b", "a:99999", ""])
def test_a_host_that_is_none_is_refused(service: Service, host: str) -> None:
    done = actloop("t", "--allow-host", host, *service.options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("actloop: --allow-host: ")
    assert "allow_hosts" not in done.stderr
    assert service.requests == []


# ---- secrets


def run_in(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder,
        env=environment(**more),
    )


@pytest.fixture
def own_tool(tmp_path: Path) -> Path:
    """A folder with a module of tools, one of which needs a key."""
    (tmp_path / "mine.py").write_text(
        "from actloop import secret, tool\n\n@tool\ndef tickets() -> str:\n"
        '    """Open tickets."""\n    key = secret("TRACKER")\n    return f"{len(key)} with {key}"\n'
    )
    return tmp_path


@pytest.mark.parametrize("more", [[], ["--verbosity", "2"], ["--verbosity", "-1"], ["--json"]])
def test_a_tool_has_a_secret_and_nobody_else_sees_it(service: Service, own_tool: Path, more: list[str]) -> None:
    service.replies = [program("print(tickets())\nfinal_answer(tickets())")]
    options = ["--tools", "mine:tickets", "--secret", "TRACKER", *more, *service.options]
    done = run_in(own_tool, "t", *options, TRACKER=VALUE)
    assert done.returncode == 0, done.stderr
    assert f"{len(VALUE)} with [secret TRACKER]" in done.stdout
    shown = [done.stdout, done.stderr, told(service), actloop("show", "--json").stdout]
    assert not [text for text in shown if VALUE in text]


def test_files_whose_names_hold_a_secret_are_neither_kept_nor_named(service: Service, tmp_path: Path) -> None:
    service.replies = [
        program("open(TRACKER + '.txt', 'w').write('1'); open('a.txt', 'w').write('2')\nfinal_answer(1)")
    ]
    more = ["--sandbox-secret", "TRACKER", "--workspace", str(tmp_path), "--writable"]
    done = actloop("t", *more, *service.options, TRACKER=VALUE)
    assert "a.txt  text/plain, 1 byte" in done.stdout, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert VALUE not in done.stdout + done.stderr + actloop("show", "--json").stdout


def test_a_secret_of_tools_is_not_in_the_sandbox(service: Service) -> None:
    service.replies = [program("final_answer(TRACKER)"), program("1")]
    done = actloop("t", "--secret", "TRACKER", "--max-steps", "1", *service.options, TRACKER=VALUE)
    assert "NameError" in told(service) + done.stdout
    assert VALUE not in done.stdout + done.stderr + told(service)


@pytest.mark.parametrize("more", [[], ["--verbosity", "-1"], ["--json"]])
def test_programs_have_a_secret_of_the_sandbox_as_a_variable(service: Service, more: list[str]) -> None:
    service.replies = [program("print(len(TRACKER))\nprint(TRACKER)\nfinal_answer(TRACKER)")]
    done = actloop("t", "--sandbox-secret", "TRACKER", *more, *service.options, TRACKER=VALUE)
    assert done.returncode == 0, done.stderr
    assert "[secret TRACKER]" in done.stdout
    assert VALUE not in done.stdout + done.stderr + told(service)
    assert VALUE not in actloop("show", "--json").stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("NOWHERE_SET", "there is no environment variable of this name"),
        ("EMPTY", "or it is empty"),
        ("SHORT", "shorter than 6 characters"),
        (f"TRACKER={VALUE}", "takes the name of an environment variable"),
        (VALUE, "takes the name of an environment variable"),
    ],
)
@pytest.mark.parametrize("option", ["--secret", "--sandbox-secret"])
def test_a_secret_comes_from_the_environment_alone(service: Service, option: str, given: str, said: str) -> None:
    done = actloop("t", option, given, *service.options, SHORT="abcde", EMPTY="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"actloop: {option}")
    assert said in done.stderr
    assert VALUE not in done.stderr
    assert service.requests == []


# ---- the agent as a server


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--executor", "podman"], 2, "--executor podman: there is no such executor"),
        (["--executor", "e2b"], 1, "--executor e2b is not ready: "),
        (["--workspace", "no-such-folder"], 2, "--workspace: The workspace 'no-such-folder' is not there"),
        (["--secret", "NOWHERE_SET"], 2, "--secret NOWHERE_SET: there is no environment variable"),
    ],
)
def test_a_server_that_cannot_be_says_so_at_once(service: Service, options: list[str], code: int, said: str) -> None:
    done = actloop("mcp", *options, *service.options, E2B_API_KEY="")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"actloop: {said}")


def test_an_agent_that_is_served_has_the_options_of_a_task(service: Service, own_tool: Path) -> None:
    from actloop import MCPClient
    from mcp import StdioServerParameters

    service.replies = [program("open('made.txt', 'w').write(tickets())\nfinal_answer(open('made.txt').read())")]
    options = ["--tools", "mine:tickets", "--secret", "TRACKER", "--executor", "local", "--timeout", "20"]
    options += ["--workspace", str(own_tool), "--writable", "--quota", "2", *service.options]
    server = StdioServerParameters(
        command=sys.executable, args=[*COMMAND[1:], "mcp", *options], env=environment(TRACKER=VALUE), cwd=own_tool
    )
    with MCPClient(server) as tools:
        (agent,) = tools
        assert agent(task="Count.") == f"{len(VALUE)} with [secret TRACKER]"
    assert (own_tool / "made.txt").read_text() == f"{len(VALUE)} with [secret TRACKER]"
