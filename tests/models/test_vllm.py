"""VLLMModel, against a stand-in for vLLM: it needs a graphics card, so the library itself does not run here.

What is held fast is the boundary: the stand-in has the names, the parameters and the results that vLLM documents for
`LLM`, `LLM.chat`, `SamplingParams` and `StructuredOutputsParams`, and takes no others. What vLLM does with them is not
tested by it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from actloop import CodeAgent, VLLMModel, tool
from actloop.errors import AgentGenerationError, MissingExtraError
from actloop.models.base import CODEAGENT_RESPONSE_FORMAT
from actloop.models.overflow import overflow_of
from actloop.models.switch import forbid_real_requests
from actloop.values.messages import ChatMessage, MessageRole
from actloop.values.usage import TokenUsage

ASK: list[ChatMessage | dict[str, Any]] = [{"role": "user", "content": "2+2?"}]


@dataclass
class StructuredOutputsParams:
    json: str | dict[str, Any] | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = 16
    structured_outputs: StructuredOutputsParams | None = None


@dataclass
class Chatted:
    """One call of `LLM.chat`."""

    messages: list[dict[str, Any]]
    sampling: SamplingParams
    tools: list[dict[str, Any]] | None
    more: dict[str, Any]


@dataclass
class Engine:
    model_config: Any
    engine_core: Any
    calls: list[Chatted] = field(default_factory=list[Chatted])


class LLM:
    """Ends a reply at a stop, and at the length; hands out replies of interrupted requests, too, oldest first."""

    multimodal = False
    said = "Thought: I add\n<code>\nfinal_answer(2+2)\n</code> more"
    last: LLM

    def __init__(self, model: str, *, max_model_len: int = 4096, revision: str | None = None, hf_token: Any = None):
        if model == "nobody/nothing":
            raise OSError("nobody/nothing is not a local folder and is not a valid model identifier")
        if model == "too/large":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.ended = 0
        self.left: list[Any] = []
        self.inside = self.most = 0
        config = SimpleNamespace(
            max_model_len=max_model_len, is_multimodal_model=self.multimodal, runner_type="generate"
        )
        self.llm_engine = Engine(config, SimpleNamespace(shutdown=self._shutdown))
        self.tokenizer = SimpleNamespace(chat_template="{{ messages }}{{ tools }}")
        LLM.last = self

    def _shutdown(self) -> None:
        self.ended += 1

    def get_tokenizer(self) -> Any:
        return self.tokenizer

    def chat(
        self,
        messages: list[dict[str, Any]],
        sampling_params: SamplingParams | None = None,
        use_tqdm: bool = True,
        lora_request: Any = None,
        chat_template: str | None = None,
        chat_template_content_format: str = "auto",
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: list[dict[str, Any]] | None = None,
        chat_template_kwargs: dict[str, Any] | None = None,
        tokenization_kwargs: dict[str, Any] | None = None,
        mm_processor_kwargs: dict[str, Any] | None = None,
    ) -> list[Any]:
        assert isinstance(sampling_params, SamplingParams)
        more = {
            "use_tqdm": use_tqdm,
            "chat_template": chat_template,
            "add_generation_prompt": add_generation_prompt,
            "chat_template_kwargs": chat_template_kwargs,
        }
        self.llm_engine.calls.append(Chatted(messages, sampling_params, tools, more))
        prompt = json.dumps(messages)
        if len(prompt) > self.llm_engine.model_config.max_model_len:
            length = self.llm_engine.model_config.max_model_len
            raise ValueError(
                f"The decoder prompt (length {len(prompt)}) is longer than the maximum model length of {length}."
            )
        self.inside += 1
        self.most = max(self.most, self.inside)
        text = "{}" if sampling_params.structured_outputs else self.said
        for stop in sampling_params.stop or ():
            text = text.partition(stop)[0]
        words = text.split(" ")[: sampling_params.max_tokens]
        output = SimpleNamespace(text=" ".join(words), token_ids=list(range(len(words))))
        self.left.append(SimpleNamespace(prompt_token_ids=[0] * 7, outputs=[output], finished=True))
        self.inside -= 1
        if text.startswith("interrupted"):
            raise KeyboardInterrupt
        made, self.left = self.left, []
        return made


@pytest.fixture
def cleaned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The library's stand-in; what comes back are the calls of its global clean-up."""
    done: list[str] = []
    modules: dict[str, dict[str, Any]] = {
        "vllm": {"LLM": LLM, "SamplingParams": SamplingParams},
        "vllm.sampling_params": {"SamplingParams": SamplingParams, "StructuredOutputsParams": StructuredOutputsParams},
        "vllm.distributed": {},
        "vllm.distributed.parallel_state": {"cleanup_dist_env_and_memory": lambda: done.append("cleaned")},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return done


@pytest.fixture
def model(cleaned: list[str]) -> VLLMModel:
    return VLLMModel("m")


@tool
def add(x: int) -> int:
    """Adds one.

    Args:
        x: A number.
    """
    return x + 1


def last() -> Chatted:
    return LLM.last.llm_engine.calls[-1]


def test_a_reply_and_its_tokens(model: VLLMModel) -> None:
    message = model.generate(ASK)
    assert (message.role, message.content) == ("assistant", LLM.said)
    assert message.token_usage == TokenUsage(7, 4)
    assert last().messages == [{"role": "user", "content": "2+2?"}]
    assert last().sampling == SamplingParams(temperature=0.0, max_tokens=4096)
    assert last().more["use_tqdm"] is False


async def test_the_other_faces(model: VLLMModel) -> None:
    assert (await model.agenerate(ASK)).content == LLM.said
    assert "".join(delta.content or "" for delta in model.generate_stream(ASK)) == LLM.said
    assert [delta.content async for delta in model.astream(ASK)] == [LLM.said]


def test_stops_are_sent_and_left_out(model: VLLMModel) -> None:
    assert model.generate(ASK, ["</code>"]).content == "Thought: I add\n<code>\nfinal_answer(2+2)\n"
    assert last().sampling.stop == ["</code>"]


def test_settings_of_the_model_are_sampling_parameters_and_those_of_a_request_come_on_top(cleaned: list[str]) -> None:
    model = VLLMModel("m", max_tokens=2, temperature=0.7, seed=5)
    assert model.generate(ASK).content == "Thought: I"
    assert last().sampling == SamplingParams(temperature=0.7, max_tokens=2, seed=5)
    assert model.generate(ASK, max_tokens=1, top_p=0.5).content == "Thought:"
    assert last().sampling == SamplingParams(temperature=0.7, max_tokens=1, seed=5, top_p=0.5)


def test_a_parameter_that_there_is_not_is_told(cleaned: list[str]) -> None:
    with pytest.raises(AgentGenerationError, match="nonsense"):
        VLLMModel("m", nonsense=1).generate(ASK)


def test_tools_are_given_to_the_chat_template(model: VLLMModel) -> None:
    assert model.offers_tools
    model.generate(ASK, tools_to_call_from=[add])
    assert [given["function"]["name"] for given in last().tools or ()] == ["add"]
    model.generate(ASK)
    assert last().tools is None


def test_arguments_of_the_chat_template(cleaned: list[str]) -> None:
    template = {"chat_template": "{{ messages }}", "enable_thinking": False}
    model = VLLMModel("m", apply_chat_template_kwargs=template, use_tqdm=True)
    model.generate(ASK)
    assert last().more == {
        "use_tqdm": True,
        "chat_template": "{{ messages }}",
        "add_generation_prompt": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert not model.offers_tools


def test_structured_output_constrains_the_reply(model: VLLMModel) -> None:
    assert model.generate(ASK, response_format=CODEAGENT_RESPONSE_FORMAT).content == "{}"
    schema = CODEAGENT_RESPONSE_FORMAT["json_schema"]["schema"]
    assert last().sampling.structured_outputs == StructuredOutputsParams(json=schema)
    model.generate(ASK, response_format={"type": "json_object"})
    assert last().sampling.structured_outputs == StructuredOutputsParams(json_object=True)
    model.generate(ASK, response_format={"type": "text"})
    assert last().sampling.structured_outputs is None
    with pytest.raises(AgentGenerationError, match="does not know this response_format"):
        model.generate(ASK, response_format={"type": "yaml"})


def test_model_kwargs_go_to_the_engine_and_are_saved_without_secrets(cleaned: list[str]) -> None:
    model = VLLMModel("m", model_kwargs={"max_model_len": 99, "revision": "r", "hf_token": "hf_x"}, temperature=0.5)
    assert model.context_window == 99
    data = json.loads(json.dumps(model.to_dict()))
    assert data == {"model_id": "m", "temperature": 0.5, "model_kwargs": {"max_model_len": 99, "revision": "r"}}
    assert VLLMModel.from_dict(data).context_window == 99


def test_a_code_agent_runs_on_it(model: VLLMModel) -> None:
    model.context_window = 1_000_000
    LLM.last.llm_engine.model_config.max_model_len = 1_000_000
    agent = CodeAgent(tools=[], model=model, verbosity_level=0)
    assert agent.run("2+2?") == 4
    agent.cleanup()


def test_a_conversation_beyond_the_context_is_known_as_such(cleaned: list[str]) -> None:
    with pytest.raises(AgentGenerationError) as caught:
        VLLMModel("m", model_kwargs={"max_model_len": 128}).generate([{"role": "user", "content": "a" * 200}])
    found = overflow_of(caught.value)
    assert found is not None
    assert found[1] == 128


def test_a_reply_that_was_interrupted_is_not_taken_for_the_next(
    model: VLLMModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LLM, "said", "interrupted")
        with pytest.raises(KeyboardInterrupt):
            model.generate(ASK)
    assert model.generate(ASK).content == LLM.said


def test_threads_take_turns(model: VLLMModel) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(model.generate, [ASK] * 16))
    assert {reply.text for reply in replies} == {LLM.said}
    assert LLM.last.most == 1


async def test_waiting_for_the_turn_can_be_cancelled(model: VLLMModel) -> None:
    with model._turn.taken():  # pyright: ignore[reportPrivateUsage]
        task = asyncio.create_task(model.agenerate(ASK))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for thread in threading.enumerate():
            if thread.name == "actloop-model":
                await asyncio.to_thread(thread.join, 60)
    assert LLM.last.llm_engine.calls == []


def test_cleanup_ends_the_engine_once(model: VLLMModel, cleaned: list[str]) -> None:
    engine = LLM.last
    model.cleanup()
    model.cleanup()
    assert (engine.ended, cleaned, model.model) == (1, ["cleaned"], None)
    with pytest.raises(AgentGenerationError, match=r"ended by cleanup\(\)"):
        model.generate(ASK)


def picture(image: Any) -> list[Any]:
    return [ChatMessage(MessageRole.USER, [{"type": "text", "text": "what?"}, {"type": "image", "image": image}])]


def test_images_are_sent_inline_to_a_model_that_sees(cleaned: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LLM, "multimodal", True)
    model = VLLMModel("m")
    assert model.supports_images
    model.generate(picture(b"\xff\xd8bytes"))
    text, image = last().messages[0]["content"]
    assert text == {"type": "text", "text": "what?"}
    assert image["type"] == "image_url"
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("address", ["http://169.254.169.254/", "file:///etc/passwd"])
def test_an_image_that_is_an_address_is_not_fetched(
    cleaned: list[str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(LLM, "multimodal", True)
    with pytest.raises(AgentGenerationError, match="does not fetch"):
        VLLMModel("m").generate(picture(address))
    assert LLM.last.llm_engine.calls == []


def test_a_model_that_does_not_see_says_so(model: VLLMModel) -> None:
    assert not model.supports_images
    with pytest.raises(AgentGenerationError, match="holds an image"):
        model.generate(picture(b"\xff\xd8bytes"))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("nobody/nothing", r"nobody/nothing .*could not be loaded: OSError.*not a valid model"),
        ("too/large", r"ran out of memory.*quantised"),
    ],
)
def test_a_model_that_cannot_be_loaded(cleaned: list[str], name: str, match: str) -> None:
    with pytest.raises(AgentGenerationError, match=match):
        VLLMModel(name)


def test_forbidden_requests_load_and_ask_nothing(model: VLLMModel) -> None:
    with forbid_real_requests():
        with pytest.raises(AgentGenerationError, match="forbidden"):
            VLLMModel("m")
        with pytest.raises(AgentGenerationError, match="forbidden"):
            model.generate(ASK)


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'actloop\[vllm\]'"):
        VLLMModel("m")
