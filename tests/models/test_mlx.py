"""MLXModel, against a stand-in for mlx-lm: it needs Apple silicon, so the library itself does not run here.

What is held fast is the boundary: the stand-in has the names, the parameters and the results of mlx-lm 0.32 for `load`,
`stream_generate`, `make_sampler` and `make_logits_processors`, and takes no others. What mlx-lm does with them is not
tested by it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actloop import CodeAgent, MLXModel, tool
from actloop.errors import AgentGenerationError, MissingExtraError
from actloop.models.overflow import overflow_of
from actloop.models.switch import forbid_real_requests
from actloop.values.messages import ChatMessage, MessageRole, StreamedReply
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

ASK: list[ChatMessage | dict[str, Any]] = [{"role": "user", "content": "2+2?"}]
WORDS = ["Thought:", " I add", "\n<code>\n", "final_answer(2+2)", "\n</co", "de> more", " words"]
PROGRAM = "Thought: I add\n<code>\nfinal_answer(2+2)\n"


@dataclass
class GenerationResponse:
    text: str
    token: int
    prompt_tokens: int
    generation_tokens: int
    finish_reason: str | None = None


class Library:
    """The stand-in, and what it was asked."""

    def __init__(self) -> None:
        self.words = WORDS
        self.window: int | None = 1000
        self.loaded: list[dict[str, Any]] = []
        self.templates: list[dict[str, Any]] = []
        self.options: list[dict[str, Any]] = []
        self.made = self.closed = self.inside = self.most = 0
        self.begun = threading.Event()

    def load(
        self,
        path_or_hf_repo: str,
        tokenizer_config: dict[str, Any] | None = None,
        model_config: dict[str, Any] | None = None,
        adapter_path: str | None = None,
        lazy: bool = False,
        return_config: bool = False,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> tuple[Any, Any]:
        if path_or_hf_repo == "nobody/nothing":
            raise FileNotFoundError("No safetensors found in nobody/nothing")
        self.loaded.append(
            {"tokenizer_config": tokenizer_config, "adapter_path": adapter_path, "trust": trust_remote_code}
        )
        tokenizer = SimpleNamespace(chat_template="{{ tools }}", apply_chat_template=self.apply_chat_template)
        return SimpleNamespace(args=SimpleNamespace(max_position_embeddings=self.window)), tokenizer

    def apply_chat_template(self, messages: list[dict[str, str]], **kwargs: Any) -> list[int]:
        self.templates.append(kwargs)
        return list(range(sum(len(message["content"]) for message in messages)))

    def stream_generate(
        self,
        model: Any,
        tokenizer: Any,
        prompt: list[int],
        max_tokens: int = 256,
        draft_model: Any = None,
        *,
        sampler: Callable[..., Any] | None = None,
        logits_processors: list[Any] | None = None,
        max_kv_size: int | None = None,
    ) -> Generator[GenerationResponse]:
        self.options.append({"max_tokens": max_tokens, "sampler": sampler, "processors": logits_processors})
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.begun.set()
        try:
            for count, word in enumerate(self.words[:max_tokens], 1):
                self.made += 1
                yield GenerationResponse(word, count, len(prompt), count)
            yield GenerationResponse("", 0, len(prompt), min(max_tokens, len(self.words) + 1), "stop")
        finally:
            self.inside -= 1
            self.closed += 1


def make_sampler(temp: float = 0.0, top_p: float = 0.0, min_p: float = 0.0, top_k: int = 0) -> Any:
    return ("sampler", temp, top_p)


def make_logits_processors(
    logit_bias: dict[int, float] | None = None,
    repetition_penalty: float | None = None,
    repetition_context_size: int | None = 20,
) -> Any:
    return [("penalty", repetition_penalty)]


@pytest.fixture
def mlx(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    modules: dict[str, dict[str, Any]] = {
        "mlx_lm": {"load": library.load, "stream_generate": library.stream_generate},
        "mlx_lm.sample_utils": {"make_sampler": make_sampler, "make_logits_processors": make_logits_processors},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return library


@pytest.fixture
def model(mlx: Library) -> MLXModel:
    return MLXModel("m")


@tool
def add(x: int) -> int:
    """Adds one.

    Args:
        x: A number.
    """
    return x + 1


def streamed(model: MLXModel, **options: Any) -> ChatMessage:
    whole = StreamedReply()
    for delta in model.generate_stream(ASK, **options):
        whole.add(delta)
    return whole.message()


async def test_a_reply_and_its_tokens(model: MLXModel) -> None:
    for message in (model.generate(ASK), await model.agenerate(ASK), streamed(model)):
        assert (message.role, message.content) == ("assistant", "".join(WORDS))
        assert message.token_usage == TokenUsage(4, 8)


@pytest.mark.parametrize("stream", [True, False])
def test_a_stop_across_two_pieces_ends_the_generation_and_is_left_out(
    model: MLXModel, mlx: Library, stream: bool
) -> None:
    stops = ["</code>", "never"]
    message = streamed(model, stop_sequences=stops) if stream else model.generate(ASK, stops)
    assert (message.content, message.token_usage) == (PROGRAM, TokenUsage(4, 6))
    assert (mlx.made, mlx.closed) == (6, 1), "the words after it were not made"


def test_max_tokens_and_the_context(model: MLXModel, mlx: Library) -> None:
    model.generate(ASK)
    assert mlx.options[-1]["max_tokens"] == 996, "what the context leaves, not the library's 256"
    assert model.generate(ASK, max_tokens=2).token_usage == TokenUsage(4, 2)
    MLXModel("m", max_tokens=3).generate(ASK)
    assert mlx.options[-1]["max_tokens"] == 3


def test_a_conversation_beyond_the_context_is_known_as_such(model: MLXModel) -> None:
    assert model.context_window == 1000
    with pytest.raises(AgentGenerationError) as caught:
        model.generate([{"role": "user", "content": "a" * 1000}])
    assert (overflow_of(caught.value) or ("", 0))[1] == 1000


def test_a_model_that_does_not_say_its_window(mlx: Library) -> None:
    mlx.window = None
    model = MLXModel("m")
    assert model.context_window is None
    model.generate(ASK)
    assert mlx.options[-1]["max_tokens"] == 4096


def test_sampling_is_told_by_functions_of_the_library(mlx: Library) -> None:
    MLXModel("m", temperature=0.7, top_p=0.9, repetition_penalty=1.1).generate(ASK)
    assert mlx.options[-1]["sampler"] == ("sampler", 0.7, 0.9)
    assert mlx.options[-1]["processors"] == [("penalty", 1.1)]
    MLXModel("m").generate(ASK)
    assert (mlx.options[-1]["sampler"], mlx.options[-1]["processors"]) == (None, None)
    with pytest.raises(AgentGenerationError, match="nonsense"):
        MLXModel("m", nonsense=1).generate(ASK)


def test_tools_and_arguments_are_given_to_the_chat_template(mlx: Library) -> None:
    model = MLXModel("m", apply_chat_template_kwargs={"enable_thinking": False})
    model.generate(ASK, tools_to_call_from=[add])
    (given,) = mlx.templates
    assert [each["function"]["name"] for each in given.pop("tools")] == ["add"]
    assert given == {"add_generation_prompt": True, "enable_thinking": False}


def test_load_kwargs_and_trust(mlx: Library) -> None:
    given = {"adapter_path": "a", "tokenizer_config": {"eos_token": "x"}}
    model = MLXModel("m", trust_remote_code=True, load_kwargs=given)
    assert mlx.loaded == [
        {"tokenizer_config": {"trust_remote_code": True, "eos_token": "x"}, "adapter_path": "a", "trust": True}
    ]
    assert given == {"adapter_path": "a", "tokenizer_config": {"eos_token": "x"}}, "the caller's stays as it was"
    data = json.loads(json.dumps(model.to_dict()))
    MLXModel.from_dict(data)
    assert mlx.loaded[0] == mlx.loaded[1]
    MLXModel("m")
    assert mlx.loaded[2]["tokenizer_config"] == {"trust_remote_code": False}


def test_leaving_a_stream_early_ends_the_generation(model: MLXModel, mlx: Library) -> None:
    with closing(model.generate_stream(ASK)) as deltas:
        assert next(deltas).content == "Thought:"
    assert (mlx.made, mlx.closed) == (1, 1)
    assert model.generate(ASK).content == "".join(WORDS)


def test_a_reply_in_the_middle_of_a_stream_is_refused_and_not_waited_for(model: MLXModel) -> None:
    with closing(model.generate_stream(ASK)) as deltas:
        next(deltas)
        with pytest.raises(AgentGenerationError, match="still streaming another reply to this thread"):
            model.generate(ASK)
        assert "".join(delta.content or "" for delta in deltas) == "".join(WORDS[1:])


def test_threads_take_turns(model: MLXModel, mlx: Library) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(model.generate, ASK) for _ in range(8)] + [
            pool.submit(streamed, model) for _ in range(8)
        ]
        assert {reply.result().text for reply in replies} == {"".join(WORDS)}
    assert mlx.most == 1


async def test_cancelling_ends_the_generation(model: MLXModel, mlx: Library) -> None:
    class Endless(list[str]):
        def __getitem__(self, _: Any) -> Any:
            return iter(lambda: "on ", "")

    mlx.words = Endless()
    task = asyncio.create_task(model.agenerate(ASK))
    await asyncio.to_thread(mlx.begun.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for thread in threading.enumerate():
        if thread.name == "actloop-model":
            await asyncio.to_thread(thread.join, 60)
    assert mlx.closed == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_code_agent_runs_on_it(mlx: Library, stream: bool) -> None:
    agent = CodeAgent(tools=[], model=MLXModel("m", context_window=10**6), stream_outputs=stream, verbosity_level=0)
    assert agent.run("2+2?") == 4
    agent.cleanup()


def test_structured_output_and_images_are_refused_in_plain_words(model: MLXModel) -> None:
    with pytest.raises(AgentGenerationError, match="mlx-lm does not constrain"):
        model.generate(ASK, response_format={"type": "json_object"})
    image = ChatMessage(MessageRole.USER, [{"type": "image", "image": b"\xff\xd8bytes"}])
    with pytest.raises(AgentGenerationError, match="holds an image"):
        model.generate([image])


def test_a_model_that_cannot_be_loaded(mlx: Library) -> None:
    with pytest.raises(AgentGenerationError, match=r"could not be loaded: FileNotFoundError: No safetensors found"):
        MLXModel("nobody/nothing")


def test_forbidden_requests_load_and_ask_nothing(model: MLXModel) -> None:
    with forbid_real_requests():
        with pytest.raises(AgentGenerationError, match="forbidden"):
            MLXModel("m")
        with pytest.raises(AgentGenerationError, match="forbidden"):
            model.generate(ASK)


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlx_lm", None)
    with pytest.raises(MissingExtraError, match=r"'mlx-lm'.*pip install 'actloop\[mlx\]'"):
        MLXModel("m")
