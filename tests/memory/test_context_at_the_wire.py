"""What a service is sent from step to step: the same beginning, byte for byte, so that its prompt cache is hit."""

from __future__ import annotations

import itertools
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from actloop import CodeAgent, LogLevel, MemoryJournal
from actloop.errors import ContextLimitError
from actloop.models.local import LocalModel
from actloop.models.openai import OpenAIModel
from actloop.values.events import Compacted

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 45


class Service(ThreadingHTTPServer):
    """An OpenAI-compatible service with a window: it refuses what is longer, as llama.cpp's server does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []
        self.refused = 0
        self.window = 6_000
        self.acted = 0

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        tokens = len(json.dumps(body["messages"])) // 4
        if tokens > self.window:
            self.refused += 1
            said = f"request ({tokens} tokens) exceeds the available context size ({self.window} tokens)"
            return 400, {"error": {"code": 400, "message": said, "type": "exceed_context_size_error"}}
        self.bodies.append(body)
        if summarises(body):
            reply = "SUMMARY"
        else:
            self.acted += 1
            code = f"print('step {self.acted} ' + 'x' * 2000)" if self.acted <= STEPS else "final_answer('done')"
            reply = f"<code>\n{code}\n</code>"
        message = {"role": "assistant", "content": reply}
        return 200, {
            "id": "1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": tokens, "completion_tokens": 9, "total_tokens": tokens + 9},
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    server: Service  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        status, answer = self.server.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests need no log."""


def summarises(body: dict[str, Any]) -> bool:
    return "<record>" in json.dumps(body["messages"][-1])


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(service: Service, window: int | None, **options: Any) -> list[str]:
    """Runs an agent; the messages of each request for an action as JSON text, without the last bracket."""
    url = f"http://127.0.0.1:{service.server_port}/v1"
    with OpenAIModel("m", api_base=url, api_key="k", context_window=window) as model:
        settings: dict[str, Any] = {"verbosity_level": LogLevel.OFF, "journal": MemoryJournal()} | options
        with CodeAgent([], model, max_steps=STEPS + 1, code_block_tags=("<code>", "</code>"), **settings) as worker:
            assert worker.run("print often") == "done"
    return [json.dumps(body["messages"])[:-1] for body in service.bodies if not summarises(body)]


def test_each_request_begins_with_the_former_one(service: Service) -> None:
    service.window = 1_000_000
    sent = run(service, None)
    assert len(sent) == STEPS + 1
    assert all(after.startswith(before) for before, after in itertools.pairwise(sent))


def test_between_compactions_too(service: Service) -> None:
    service.window = 12_000
    sent = run(service, 12_000)
    assert service.refused == 0
    breaks = [place for place, (a, b) in enumerate(itertools.pairwise(sent)) if not b.startswith(a)]
    assert 1 <= len(breaks) <= STEPS / 4
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(breaks))
    # What is never compacted is a prefix that stays for good: system prompt, examples and the task.
    kept = sent[0][: sent[0].index("print often")]
    assert all(text.startswith(kept) for text in sent)


def test_a_window_that_only_the_service_knows(service: Service) -> None:
    service.window = 7_000
    sent = run(service, None)
    assert service.refused == 1
    assert len(sent) == STEPS + 1


def test_a_task_that_never_fits(service: Service) -> None:
    service.window = 500
    with pytest.raises(ContextLimitError, match="exceeds the available context size"):
        run(service, None)
    assert service.refused <= 2


@pytest.mark.model
@pytest.mark.timeout(600)
def test_the_embedded_model_works_on_in_a_small_window() -> None:
    """With 2,048 tokens, three observations of 2,500 characters would not fit; the run goes on."""
    journal = MemoryJournal()

    def say_again(step: Any, agent: Any) -> None:
        step.observations = f"{step.observations or ''}\n" + "The weather report says: rain, wind, clouds. " * 55

    def refuse(answer: Any, memory: Any, agent: Any) -> bool:
        return False

    with LocalModel(context=2_048, max_tokens=30) as model:
        options: dict[str, Any] = {"verbosity_level": LogLevel.OFF, "journal": journal, "max_steps": 3}
        with CodeAgent([], model, step_callbacks=[say_again], final_answer_checks=[refuse], **options) as worker:
            worker.run("Print the numbers 1, 2, 3, one in each step.")
        texts = model.count_tokens(
            [m for s in [worker.memory.system_prompt, *worker.memory.steps] for m in s.to_messages()]
        )
        assert texts > 2_048
        assert model.count_tokens(worker.memory.messages()) <= 2_048
    assert any(isinstance(event, Compacted) for event in journal.events(journal.runs(1)[0].id))
