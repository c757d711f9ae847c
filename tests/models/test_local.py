"""The embedded model in its own process, and behind its own HTTP server. One server serves nearly all tests."""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.waiting import lives

from actloop.errors import AgentGenerationError, MissingExtraError
from actloop.models.local import LocalModel
from actloop.models.openai import OpenAIModel
from actloop.models.retry import ModelRequestError
from actloop.models.server import ServerSettings, serve, start_server
from actloop.models.switch import forbid_real_requests
from actloop.values.messages import ChatMessage, MessageRole, StreamedReply

if TYPE_CHECKING:
    from actloop.models.embedded import Progress

pytestmark = pytest.mark.timeout(600)  # two busy processors take minutes where two idle ones take seconds
SOURCES = Path(__file__).parents[2] / "src"
ASK = [ChatMessage(MessageRole.USER, "Say hello.")]
YES_OR_NO = 'root ::= "yes" | "no"'


@dataclass
class Described:
    name: str
    description: str
    inputs: Any


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    told: list[Progress] = []
    with LocalModel(max_tokens=4, progress=told.append) as model:
        model.load()
        assert (told[-1].phase, told[-1].done) == ("loading", told[-1].total)
        pid = model.server_pid
        assert pid
        yield model
        last = model.server_pid
    assert last
    assert not lives(last)


@pytest.fixture
def behind_http(model: LocalModel) -> Iterator[OpenAIModel]:
    """The same server, as any OpenAI-compatible service."""
    address, key = endpoint(model)
    with OpenAIModel("any", address, key, max_tokens=4, temperature=0) as service:
        yield service


def endpoint(model: LocalModel) -> tuple[str, str]:
    return model._endpoint()  # pyright: ignore[reportPrivateUsage]


def get(url: str, **headers: str) -> tuple[int, dict[str, str]]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers)


@pytest.mark.model
def test_a_reply_with_its_tokens(model: LocalModel) -> None:
    reply = model.generate(ASK)
    assert "hello" in reply.text.lower()
    assert reply.token_usage
    assert reply.token_usage.output_tokens <= 4
    assert reply.token_usage.input_tokens == model.count_tokens(ASK)
    assert model.count_tokens("hello world") == 2


@pytest.mark.model
async def test_the_four_faces_reply_alike(model: LocalModel) -> None:
    whole = await asyncio.to_thread(model.generate, ASK)
    assert (await model.agenerate(ASK)).content == whole.content
    blocking, awaited = StreamedReply(), StreamedReply()
    for delta in await asyncio.to_thread(lambda: list(model.generate_stream(ASK))):
        blocking.add(delta)
    async for delta in model.astream(ASK):
        awaited.add(delta)
    assert blocking.message() == awaited.message()
    assert (awaited.message().content, awaited.message().token_usage) == (whole.content, whole.token_usage)


@pytest.mark.model
def test_a_grammar_binds_the_reply(model: LocalModel) -> None:
    ask = [ChatMessage(MessageRole.USER, "Is water wet? Explain at length.")]
    assert model.generate(ask, grammar=YES_OR_NO).content in ("yes", "no")
    with pytest.raises(ModelRequestError, match=r"answered 400: .*grammar"):
        model.generate(ASK, grammar="root := broken")


@pytest.mark.model
def test_stop_sequences_end_the_reply(model: LocalModel) -> None:
    ask = [ChatMessage(MessageRole.USER, "Reply with exactly: one two three")]
    assert model.generate(ask, stop_sequences=["two"], max_tokens=8).content == "one "
    pieces = [delta.content or "" for delta in model.generate_stream(ask, stop_sequences=["two"], max_tokens=8)]
    assert "".join(pieces) == "one "


@pytest.mark.model
def test_a_schema_binds_the_reply(model: LocalModel) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    reply = model.generate([ChatMessage(MessageRole.USER, "Three")], response_format=wanted, max_tokens=20)
    assert isinstance(json.loads(reply.text)["n"], int)


@pytest.mark.model
def test_a_tool_is_called_natively(behind_http: OpenAIModel) -> None:
    tool = Described("add", "Adds two numbers.", {"x": {"type": "integer"}, "y": {"type": "integer"}})
    ask = [ChatMessage(MessageRole.USER, "Add 2 and 3 with the tool.")]
    behind_http.kwargs["max_tokens"] = 60
    message = behind_http.parse_tool_calls(behind_http.generate(ask, tools_to_call_from=[tool]))
    assert [(call.function.name, call.function.arguments) for call in message.tool_calls or ()] == [
        ("add", {"x": 2, "y": 3})
    ]


@pytest.mark.model
def test_the_next_step_reads_only_what_is_new(model: LocalModel) -> None:
    conversation = [ChatMessage(MessageRole.SYSTEM, "You are brief. " * 10), *ASK]
    first = model.generate(conversation)
    second = model.generate([*conversation, first, ChatMessage(MessageRole.USER, "Again.")])
    assert second.raw
    assert first.token_usage
    # The end of the reply's turn is read anew, since the model did not write it.
    assert second.raw.timings["cache_n"] >= first.token_usage.input_tokens
    assert second.raw.timings["prompt_n"] < 20


@pytest.mark.model
def test_a_conversation_that_is_too_long_is_told(model: LocalModel) -> None:
    with pytest.raises(ModelRequestError, match=r"answered 400: .*exceeds the available context size") as caught:
        model.generate([ChatMessage(MessageRole.USER, "a " * 9000)])
    assert not caught.value.retriable


@pytest.mark.model
def test_requests_at_once_are_queued(model: LocalModel) -> None:
    def ask(number: int) -> Any:
        return model.generate(ASK, grammar=f'root ::= "{number}"').content

    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(ask, range(4)))
    assert replies == ["0", "1", "2", "3"]


@pytest.mark.model
def test_models_of_the_same_settings_share_a_server(model: LocalModel) -> None:
    with LocalModel(temperature=0.7) as other:
        other.load()
        assert other.server_pid == model.server_pid
    assert lives(model.server_pid or 0)


@pytest.mark.model
@pytest.mark.parametrize("key", ["", "Bearer wrong"])
def test_without_the_key_nothing_is_served(model: LocalModel, key: str) -> None:
    address, _ = endpoint(model)
    for path in ("/models", "/chat/completions", "/../slots", "/../props", "/../metrics"):
        assert get(address + path, Authorization=key)[0] == 401


@pytest.mark.model
def test_pages_of_the_web_may_not_read_answers(model: LocalModel) -> None:
    address, key = endpoint(model)
    _, headers = get(f"{address}/models", Authorization=f"Bearer {key}", Origin="http://evil.test")
    assert headers.get("Access-Control-Allow-Origin") not in ("*", "null", "http://evil.test")
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.model
def test_a_wrong_key_is_an_error_that_says_so(model: LocalModel) -> None:
    address, _ = endpoint(model)
    refused = pytest.raises(ModelRequestError, match=r"answered 401: Invalid API Key\. Check the API key")
    with OpenAIModel("any", address, "wrong") as service, refused:
        service.generate(ASK)


@pytest.mark.model
def test_the_key_is_not_shown_to_other_users(model: LocalModel) -> None:
    _, key = endpoint(model)
    assert key.encode() not in Path(f"/proc/{model.server_pid}/cmdline").read_bytes()


@pytest.mark.model
def test_a_server_that_died_is_started_again(model: LocalModel, caplog: pytest.LogCaptureFixture) -> None:
    before = model.server_pid
    assert before
    os.kill(before, signal.SIGKILL)
    with caplog.at_level(logging.WARNING, "actloop.models"):
        assert model.generate(ASK, grammar=YES_OR_NO).content in ("yes", "no")
    assert model.server_pid != before
    assert "is started again" in caplog.text


@pytest.mark.model
def test_killing_the_caller_ends_the_server() -> None:
    program = """
import os, sys, time
from actloop.models.local import LocalModel
model = LocalModel(context=512)
model.load()
if os.fork() == 0:  # a fork holds the pipe to the server open
    time.sleep(5)
    os._exit(0)
print(model.server_pid, flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as caller:
        assert caller.stdout
        pid = int(caller.stdout.readline())
        assert lives(pid)
        caller.kill()
        caller.wait()
        wait_for_end(pid)


@pytest.mark.model
def test_serving_over_http_until_told_to_end() -> None:
    program = """
from actloop.models.server import serve
serve(port=0, api_key="k", context=512, ready=lambda *told: print(*told, flush=True))
"""
    command = [sys.executable, "-c", program]
    options: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "env": environment()}
    with subprocess.Popen(command, **options) as server:
        assert server.stdout
        address, key = server.stdout.readline().split()
        with OpenAIModel("any", address, key, max_tokens=3) as service:
            assert service.generate(ASK).content
        assert get(f"{address}/models")[0] == 401
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    with LocalModel(broken) as model, pytest.raises(AgentGenerationError, match=r"broken\.gguf.* sound GGUF file"):
        model.load()


def test_an_address_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AgentGenerationError, match=f"Cannot listen on 127.0.0.1:{port}: Address already in use"):
            start_server(ServerSettings("/nowhere.gguf", "m", port=port))


def test_without_a_key_only_this_machine_is_served() -> None:
    with pytest.raises(AgentGenerationError, match="Without a key"):
        serve(host="0.0.0.0", require_key=False)


def test_without_the_library_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'actloop\[local\]'"):
        start_server(ServerSettings("/nowhere.gguf", "m"))


def test_the_switch_forbids_the_embedded_model() -> None:
    model = LocalModel()
    with forbid_real_requests():
        for request in (model.load, lambda: model.generate(ASK), lambda: model.count_tokens("x")):
            with pytest.raises(AgentGenerationError, match="forbidden"):
                request()


def test_settings_survive_a_round_trip() -> None:
    data = LocalModel(temperature=0.3, context=512, seed=4).to_dict()
    assert LocalModel.from_dict(data).to_dict() == data
    assert (data["temperature"], data["context"], data["seed"]) == (0.3, 512, 4)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(SOURCES)}


def wait_for_end(pid: int) -> None:
    """Wait for a process that is no child of ours; pytest's time-out is the bound."""
    descriptor = os.pidfd_open(pid)
    try:
        asyncio.run(_readable(descriptor))
    finally:
        os.close(descriptor)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    await ended.wait()
    loop.remove_reader(descriptor)
