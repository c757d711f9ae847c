"""Options of executors that the command takes: real processes, real sandboxes, a real container engine."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from tests.executors import engine

from actloop.cli.main import command

from .conftest import actloop

if TYPE_CHECKING:
    from .conftest import Service

needs_monty = pytest.mark.skipif(find_spec("pydantic_monty") is None, reason="Monty is not installed")
needs_docker = pytest.mark.skipif(find_spec("docker") is None, reason="the SDK of Docker is not installed")


def program(code: str) -> str:
    return f"<code>\n{code}\n</code>"


def option(*given: str) -> list[str]:
    """Each as an option of its own."""
    return [part for one in given for part in ("--executor-option", one)]


def test_limits_without_an_option_of_their_own_are_set_by_name(service: Service) -> None:
    service.replies = [program("while True: pass"), program("print('x' * 99)"), program("final_answer('done')")]
    done = actloop("t", *option("limits.cpu=0.2", "limits.output=20"), "--timeout", "50", *service.options)
    assert done.returncode == 0, done.stderr
    told = json.dumps(service.requests[-1]["messages"])
    assert "processor time" in told
    assert "x" * 21 not in told


@needs_monty
def test_options_of_one_of_several_executors_are_its_own(service: Service) -> None:
    spins = "import statistics\nwhile True: pass"
    service.replies = [program("x = 1"), program(spins), program("final_answer('done')")]
    options = ["--executor", "monty,local", "--timeout", "50", *option("local.limits.wall=0.5")]
    done = actloop("t", *options, *service.options)
    assert done.returncode == 0, done.stderr
    assert "0.5 s" in json.dumps(service.requests[-1]["messages"])


@needs_docker
@pytest.mark.skipif(bool(engine.why_no_engine()), reason=engine.why_no_engine())
def test_programs_run_in_the_image_and_at_the_engine_that_were_named(service: Service) -> None:
    service.replies = [program("import os\nfinal_answer(os.path.exists('/etc/debian_version'))")]
    options = ["--executor", "docker", "--image", engine.image_of_tests(), "--imports", "os"]
    options += option(f"base_url={engine.engine_url()}", "cpus=1.5")
    done = actloop("t", *options, *service.options, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == 0, done.stderr
    assert "Answer\n  False" in done.stdout


@needs_docker
@pytest.mark.skipif(bool(engine.why_no_engine()), reason=engine.why_no_engine())
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--image", "localhost/none:1", "--verbosity", "0"], 1, "is not ready: The image 'localhost/none:1'"),
        (option("cpus=-1"), 2, "--executor docker: cpus"),
        (option("user=0:0"), 2, "--executor docker: user"),
    ],
)
def test_what_an_engine_cannot_do_is_said_before_a_model_is_asked(
    service: Service, options: list[str], code: int, said: str
) -> None:
    done = actloop("t", "--executor", "docker", *options, *service.options, DOCKER_HOST=engine.engine_url())
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert service.requests == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--image", "x"], "--image is for --executor docker or blaxel; programs run in local here"),
        (["--executor", "e2b", "--image", "x"], "goes to --executor-option template=NAME"),
        (["--executor", "modal", "--gpus", "1"], "goes to --executor-option create_kwargs.gpu=NAME"),
        (["--executor", "docker", "--image", ""], "--image takes the name of an image"),
        (["--executor", "docker", "--gpus", "0"], "--gpus '0': give all, a number from 1 on, or ids"),
        (["--executor", "docker", "--image", "x", *option("image=y")], "image and --image say the same"),
        (["--timeout", "3", *option("limits.wall=4")], "limits.wall and --timeout say the same"),
        (option("limits.cpu=3", "limits.cpu=4"), "limits.cpu is given twice"),
        (option("limits.cpus=3"), "limits.cpus: there is no such limit; there are wall, cpu, memory"),
        (option("limits.cpu=soon"), "limits: cpu must be a number of seconds"),
        (option("limits=3"), "limits: write limits.NAME=VALUE; there are wall"),
        (option("secret-key"), "takes NAME=VALUE, such as cpus=2"),
        (option("timeot_seconds=3"), "local takes no such option; did you mean 'timeout_seconds'?"),
        (option("cpus=3"), "local takes no such option; there are allow_hosts, limits, "),
        (option("network_budget=much"), "network_budget takes a whole number or null, not text"),
        (option("timeout_seconds.x=1"), "timeout_seconds.x: there is nothing within timeout_seconds"),
        (["--executor", "e2b,local", *option("docker.cpus=3")], "docker is not among the executors that were chosen"),
        (["--executor", "docker,local", *option("docker=3")], "write docker.NAME=VALUE"),
    ],
)
def test_options_that_no_executor_can_have_are_named(
    capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    code = command(["t", *options, "--api-base", "http://127.0.0.1:9/v1", "--model-id", "m", "--api-key", "k"])
    shown = capsys.readouterr()
    assert (code, shown.out) == (2, "")
    assert said in shown.err
    assert "secret-key" not in shown.err
    assert shown.err.count("\n") == 1


def test_a_tool_calling_agent_takes_no_options_of_executors(service: Service) -> None:
    for options in (["--image", "x"], ["--gpus", "all"], option("limits.cpu=1")):
        done = actloop("t", "--action-type", "tool_calling", *options, *service.options)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{options[0]} is for programs" in done.stderr


@pytest.mark.skipif(find_spec("e2b") is None, reason="e2b is not installed")
def test_credentials_may_be_options(service: Service) -> None:
    service.replies = [program("1")]
    options = ["--executor", "e2b", *option("api_key=12345", "domain=127.0.0.1:9"), "--max-steps", "1"]
    done = actloop("t", *options, *service.options, E2B_API_KEY="")
    assert done.returncode == 1
    assert "E2B" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "12345" not in done.stdout + done.stderr
