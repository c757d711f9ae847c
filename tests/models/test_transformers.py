"""TransformersModel, run for real on the CPU with tiny models that the tests make."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest

from actloop import CodeAgent, ToolCallingAgent, tool
from actloop.errors import AgentError, AgentGenerationError, AgentInterruptedError, MissingExtraError
from actloop.models.overflow import overflow_of
from actloop.models.switch import forbid_real_requests
from actloop.models.transformers import TransformersModel
from actloop.values.messages import ChatMessage, ChatMessageStreamDelta, MessageRole, StreamedReply
from actloop.values.usage import TokenUsage

from .tiny import WINDOW, make_tokenizer, save_text_model, save_vision_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "accelerate")),
        reason="needs the extra 'transformers'",
    ),
    # PyTorch and transformers are slow to import where the disk is cold or the machine busy.
]

Conversation = list[ChatMessage | dict[str, Any]]

ASK: Conversation = [{"role": "user", "content": "2+2?"}]
PROGRAM = "Thought: I add\n<code>\nfinal_answer(2+2)\n"


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_text_model(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def model(folder: Path) -> TransformersModel:
    return TransformersModel(str(folder))


@pytest.fixture(scope="module")
def make(folder: Path) -> Any:
    """A model that replies in one of the ways that its template starts with."""

    def made(start: str, **options: Any) -> TransformersModel:
        return TransformersModel(str(folder), apply_chat_template_kwargs={"start": start}, **options)

    return made


@pytest.fixture(scope="module")
def endless(make: Any) -> TransformersModel:
    return make("<|endless|>")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "actloop-transformers"]


def streamed(model: TransformersModel, messages: Conversation = ASK, **options: Any) -> ChatMessage:
    whole = StreamedReply()
    for delta in model.generate_stream(messages, **options):
        whole.add(delta)
    return whole.message()


def reply(model: TransformersModel, face: str, messages: Conversation = ASK, **options: Any) -> ChatMessage:
    if face == "generate":
        return model.generate(messages, **options)
    if face == "agenerate":
        return asyncio.run(model.agenerate(messages, **options))
    if face == "generate_stream":
        return streamed(model, messages, **options)

    async def collected() -> ChatMessage:
        whole = StreamedReply()
        async for delta in model.astream(messages, **options):
            whole.add(delta)
        return whole.message()

    return asyncio.run(collected())


faces = pytest.mark.parametrize("face", ["generate", "agenerate", "generate_stream", "astream"])


@faces
def test_a_reply_and_its_tokens(model: TransformersModel, face: str) -> None:
    message = reply(model, face)
    assert (message.role, message.content) == ("assistant", PROGRAM + "</code> more words")
    assert message.token_usage == TokenUsage(4, 10), "<|user|> 2+2 ? <|assistant|>; nine words and the end"


@faces
def test_a_stop_across_two_tokens_ends_the_generation_and_is_left_out(model: TransformersModel, face: str) -> None:
    message = reply(model, face, stop_sequences=["</code>", "never"])
    assert message.content == PROGRAM
    assert message.token_usage == TokenUsage(4, 8), "the words after it were not made"


@faces
def test_a_stop_inside_of_a_token_is_seen(make: Any, face: str) -> None:
    message = reply(make("<|inside|>"), face, stop_sequences=["STOP"])
    assert (message.content, message.token_usage) == ("x = 1", TokenUsage(4, 2))


def test_a_stop_in_the_prompt_is_none(model: TransformersModel) -> None:
    assert model.generate([{"role": "user", "content": "</code> more"}], ["</code>"]).content == PROGRAM


def test_text_before_the_start_of_a_stop_is_streamed_at_once_and_the_stop_is_held_back(
    model: TransformersModel,
) -> None:
    pieces = [delta.content for delta in model.generate_stream(ASK, ["</code>"]) if delta.content]
    assert "".join(pieces) == PROGRAM
    assert len(pieces) > 1


def test_stops_do_not_depend_on_the_models_name(folder: Path, tmp_path: Path) -> None:
    named = tmp_path / "o4-mini"
    named.symlink_to(folder)
    assert TransformersModel(str(named)).generate(ASK, ["</code>"]).content == PROGRAM


@faces
@pytest.mark.parametrize("limit", [{"max_tokens": 3}, {"max_new_tokens": 3}])
def test_max_tokens_of_a_request(model: TransformersModel, face: str, limit: dict[str, Any]) -> None:
    message = reply(model, face, **limit)
    assert (message.content, message.token_usage) == ("Thought: I add\n<code>\n", TokenUsage(4, 3))


def test_max_tokens_is_an_alias_of_max_new_tokens_and_wins(make: Any) -> None:
    model = make("<|endless|>", max_new_tokens=9, max_tokens=5)
    assert model.generate(ASK).token_usage.output_tokens == 5
    assert make("<|endless|>", max_new_tokens=9).generate(ASK).token_usage.output_tokens == 9


def test_the_reply_ends_where_the_context_is_full(endless: TransformersModel) -> None:
    assert endless.context_window == WINDOW
    assert endless.generate(ASK).token_usage == TokenUsage(4, WINDOW - 4)


@faces
def test_a_conversation_beyond_the_context_is_told_and_known_as_such(model: TransformersModel, face: str) -> None:
    long: Conversation = [{"role": "user", "content": "a" * 600}]
    with pytest.raises(AgentGenerationError, match=r"maximum context length is 512 tokens.*alone has 602") as caught:
        reply(model, face, long)
    assert (overflow_of(caught.value) or ("", 0))[1] == WINDOW


def test_context_window_of_the_user_wins(folder: Path) -> None:
    model = TransformersModel(str(folder), context_window=10)
    assert model.generate(ASK).token_usage == TokenUsage(4, 6)


@tool
def add(x: int) -> int:
    """Adds one.

    Args:
        x: A number.
    """
    return x + 1


def test_tools_are_given_to_the_chat_template(model: TransformersModel) -> None:
    assert model.offers_tools
    assert model.generate(ASK, tools_to_call_from=[add]).token_usage == TokenUsage(4 + len("[add]"), 10)


def test_a_template_without_tools_is_known(tmp_path: Path) -> None:
    plain = TransformersModel(str(save_text_model(tmp_path, "{{ messages[0]['content'] }}<|assistant|>")))
    assert not plain.offers_tools


def test_tool_calls_are_read_from_the_text(make: Any) -> None:
    model: TransformersModel = make("<|call|>")
    message = model.parse_tool_calls(model.generate(ASK, tools_to_call_from=[add]))
    calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    assert calls == [("add", {"x": 4})]


@pytest.mark.parametrize("stream", [True, False])
def test_a_code_agent_runs_on_it(model: TransformersModel, stream: bool) -> None:
    agent = CodeAgent(
        tools=[],
        model=TransformersModel(str(model.model_id), context_window=100_000),  # the prompt is long, letter by letter
        stream_outputs=stream,
        verbosity_level=0,
    )
    assert agent.run("2+2?") == 4
    agent.cleanup()


@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_calling_agent_runs_on_it(make: Any, stream: bool) -> None:
    model = make("<|answer|>", context_window=100_000)
    agent = ToolCallingAgent(tools=[add], model=model, stream_outputs=stream, verbosity_level=0)
    assert agent.run("2+2?") == 4
    agent.cleanup()


def test_whatever_a_token_looks_like_the_text_is_kept(make: Any) -> None:
    assert make("<|plain|>").generate(ASK).content == "héllo wörld"
    assert make("<|silent|>").generate(ASK).content == ""
    assert streamed(make("<|silent|>")).content == ""


# Threads


def test_leaving_a_stream_early_ends_its_thread(endless: TransformersModel) -> None:
    with closing(endless.generate_stream(ASK)) as deltas:
        assert next(deltas).content
        assert any(thread.name == "actloop-transformers" for thread in threading.enumerate())
    assert endless.generate(ASK, max_tokens=2).content == "on and "


def test_a_stream_that_is_dropped_ends_its_thread(endless: TransformersModel) -> None:
    deltas = endless.generate_stream(ASK)
    next(deltas)
    del deltas
    assert endless.generate(ASK, max_tokens=2).content == "on and "


def test_a_stream_that_is_not_read_does_not_hold_up_the_next_reply(endless: TransformersModel) -> None:
    with closing(endless.generate_stream(ASK, max_tokens=20)) as deltas:
        next(deltas)
        assert endless.generate(ASK, max_tokens=2).content == "on and "
        assert "".join(delta.content or "" for delta in deltas).endswith("on and ")


async def test_leaving_an_awaited_stream_ends_its_thread(endless: TransformersModel) -> None:
    deltas = endless.astream(ASK)
    assert (await anext(deltas)).content
    await deltas.aclose()
    for thread in threading.enumerate():
        if thread.name == "actloop-transformers":
            await asyncio.to_thread(thread.join, 60)


async def test_cancelling_ends_the_generation(folder: Path) -> None:
    model = TransformersModel(str(folder), apply_chat_template_kwargs={"start": "<|endless|>"}, context_window=10**9)
    begun, ended = threading.Event(), threading.Event()
    generate = model.model.generate

    def watched(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        try:
            return generate(*args, **kwargs)
        finally:
            ended.set()

    model.model.generate = watched
    task = asyncio.create_task(model.agenerate(ASK, max_tokens=10**8))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 60), "it would have taken hours"


async def test_a_request_that_waits_for_its_turn_can_be_cancelled(endless: TransformersModel) -> None:
    with closing(endless.generate_stream(ASK)) as deltas:
        next(deltas)
        with endless._turn.taken(lambda: True) as mine:  # pyright: ignore[reportPrivateUsage]
            assert not mine


def test_an_interrupted_run_ends_the_generation(folder: Path) -> None:
    model = TransformersModel(str(folder), apply_chat_template_kwargs={"start": "<|endless|>"}, context_window=10**9)
    agent = CodeAgent(tools=[], model=model, stream_outputs=True, verbosity_level=0, context="off")
    model.kwargs["max_new_tokens"] = 10**8

    def interrupted() -> None:
        seen = 0
        for event in agent.run("2+2?", stream=True):
            seen += isinstance(event, ChatMessageStreamDelta)
            if seen == 2:
                agent.interrupt()

    with pytest.raises(AgentInterruptedError):
        interrupted()
    agent.cleanup()


def test_many_threads_take_turns(model: TransformersModel) -> None:
    with ThreadPoolExecutor(6) as pool:
        whole = [pool.submit(model.generate, ASK, ["</code>"]) for _ in range(6)]
        pieces = [pool.submit(streamed, model, stop_sequences=["</code>"]) for _ in range(6)]
        replies = [made.result() for made in [*whole, *pieces]]
    assert {(str(made.content), str(made.token_usage)) for made in replies} == {(PROGRAM, str(TokenUsage(4, 8)))}


def test_one_generation_at_a_time(model: TransformersModel) -> None:
    forward = model.model.forward
    inside, most = 0, 0

    @wraps(forward)
    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            return forward(*args, **kwargs)
        finally:
            inside -= 1

    model.model.forward = counted
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(model.generate, [ASK] * 8))
    finally:
        del model.model.forward
    assert most == 1


def test_a_process_may_end_in_the_middle_of_a_stream(folder: Path) -> None:
    program = f"""
from actloop.models.transformers import TransformersModel
model = TransformersModel({str(folder)!r}, apply_chat_template_kwargs={{"start": "<|endless|>"}}, context_window=10**9)
deltas = model.generate_stream([{{"role": "user", "content": "2+2?"}}], max_tokens=10**8)
print(next(deltas).content)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout.strip()) == (0, "on"), done.stderr


# Parameters and errors


def test_generation_arguments_are_passed_on(make: Any, folder: Path) -> None:
    assert make("<|endless|>", min_new_tokens=2, max_tokens=4).generate(ASK).token_usage.output_tokens == 4
    assert TransformersModel(str(folder), temperature=0.5, top_p=0.9).generate(ASK, ["</code>"]).content == PROGRAM
    assert TransformersModel(str(folder), temperature=0).generate(ASK, ["</code>"]).content == PROGRAM
    with pytest.raises(AgentGenerationError, match="nonsense"):
        TransformersModel(str(folder), nonsense=1).generate(ASK)
    with pytest.raises(AgentGenerationError, match="nonsense"):
        list(TransformersModel(str(folder), nonsense=1).generate_stream(ASK))


def test_beam_search_cannot_be_streamed_and_comes_as_a_whole(model: TransformersModel) -> None:
    deltas = list(model.generate_stream(ASK, ["</code>"], num_beams=2))
    assert [delta.content for delta in deltas] == [PROGRAM]


def test_stopping_criteria_of_the_user_are_kept(model: TransformersModel) -> None:
    import torch

    def at_once(ids: Any, *_: Any, **__: Any) -> Any:
        return torch.ones(ids.shape[0], dtype=torch.bool)

    assert model.generate(ASK, stopping_criteria=[at_once]).content == "Thought:"


def test_make_stopping_criteria_can_be_used_with_the_library_itself(model: TransformersModel) -> None:
    ids = model.tokenizer("</code><|assistant|>", return_tensors="pt")["input_ids"]
    criteria = model.make_stopping_criteria(["</code>"], model.tokenizer)
    made = model.model.generate(inputs=ids, stopping_criteria=criteria, max_new_tokens=50)
    assert model.tokenizer.decode(made[0, ids.shape[1] :]) == PROGRAM + "</code> more"


def test_device_data_type_and_revision_are_passed_on(folder: Path) -> None:
    import torch

    model = TransformersModel(str(folder), device="cpu", torch_dtype="bfloat16", model_kwargs={"revision": "main"})
    assert (model.model.device.type, model.model.dtype) == ("cpu", torch.bfloat16)
    assert model.generate(ASK, ["</code>"]).content == PROGRAM
    assert TransformersModel(str(folder), device_map="auto").model.device.type == "cpu"


def test_it_is_saved_with_all_that_it_was_made_with(folder: Path) -> None:
    import torch

    model = TransformersModel(
        str(folder),
        device_map="cpu",
        torch_dtype=torch.bfloat16,
        model_kwargs={"revision": "main", "token": "hf_secret"},
        max_tokens=7,
        apply_chat_template_kwargs={"start": "<|endless|>"},
        repetition_penalty=1.0,
        pad_token_id=0,
    )
    data = json.loads(json.dumps(model.to_dict()))
    assert "hf_secret" not in json.dumps(data)
    assert not {"context_window", "supports_images"} & set(data), "the model itself says these"
    copy = TransformersModel.from_dict(data)
    assert (copy.model.dtype, copy.model_kwargs, copy.kwargs) == (
        torch.bfloat16,
        {"revision": "main"},
        {"max_new_tokens": 7, "repetition_penalty": 1.0, "pad_token_id": 0},
    )
    assert copy.generate(ASK).content == model.generate(ASK).content == "on and on and on and on "


def test_structured_output_is_refused_in_plain_words(model: TransformersModel) -> None:
    with pytest.raises(AgentGenerationError, match=r"does not constrain.*VLLMModel"):
        model.generate(ASK, response_format={"type": "json_object"})
    with pytest.raises(AgentGenerationError, match="does not constrain"):
        next(model.generate_stream(ASK, response_format={"type": "json_object"}))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("nobody/nothing-of-this-name", "not in the cache, and the Hub cannot be reached"),
        ("no such model", "no folder and no model at the Hub of this name"),
    ],
)
def test_a_model_that_is_not_there(name: str, match: str) -> None:
    with pytest.raises(AgentGenerationError, match=match):
        TransformersModel(name)


def test_a_broken_model_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(AgentGenerationError, match="could not be loaded"):
        TransformersModel(str(tmp_path))


def test_code_that_comes_with_a_model_is_not_run_unasked(folder: Path, tmp_path: Path) -> None:
    own = json.loads((folder / "config.json").read_text())
    own |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(AgentGenerationError, match="trust_remote_code=True"):
        TransformersModel(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_a_model_without_a_chat_template_is_told(tmp_path: Path) -> None:
    bare = TransformersModel(str(save_text_model(tmp_path, template=None)))
    with pytest.raises(AgentGenerationError, match="has no chat template"):
        bare.generate(ASK)
    given = {"chat_template": "{{ messages[0]['content'] }}!<|assistant|>"}
    told = TransformersModel(str(tmp_path), apply_chat_template_kwargs=given)
    assert told.generate(ASK).token_usage == TokenUsage(4, 10)


def test_a_template_that_refuses_is_told(tmp_path: Path) -> None:
    strict = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(AgentGenerationError, match="refuses this conversation: System role not supported"):
        TransformersModel(str(save_text_model(tmp_path, strict))).generate(ASK)


@pytest.mark.parametrize("face", ["generate", "generate_stream"])
def test_running_out_of_memory_is_told(folder: Path, face: str) -> None:
    import torch

    model = TransformersModel(str(folder))

    @wraps(model.model.forward)
    def greedy(*_: Any, **__: Any) -> Any:
        return torch.empty(10**14)  # what the library does where a conversation is too long for the machine

    model.model.forward = greedy
    with pytest.raises(AgentGenerationError, match=r"ran out of memory.*smaller or quantised model"):
        reply(model, face)
    del model.model.forward
    assert reply(model, face).content, "the turn was given back"


def test_forbidden_requests_load_and_ask_nothing(model: TransformersModel, folder: Path) -> None:
    with forbid_real_requests():
        with pytest.raises(AgentGenerationError, match="forbidden"):
            TransformersModel(str(folder))
        with pytest.raises(AgentGenerationError, match="forbidden"):
            model.generate(ASK)


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"actloop\[transformers\]"):
        TransformersModel(str(folder))


def test_no_model_id_warns_and_takes_the_default() -> None:
    with pytest.warns(FutureWarning, match="SmolLM2"), pytest.raises(AgentError, match=r"SmolLM2-1\.7B-Instruct"):
        TransformersModel()


# Images


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> TransformersModel:
    pytest.importorskip("PIL")
    return TransformersModel(str(save_vision_model(tmp_path_factory.mktemp("vision"))))


def picture(color: str) -> Any:
    from PIL import Image

    return Image.new("RGB", (20, 10), color)


def showing(image: Any) -> list[Any]:
    return [ChatMessage(MessageRole.USER, [{"type": "text", "text": "2+2?"}, {"type": "image", "image": image}])]


def test_a_model_that_sees_is_recognised(seeing: TransformersModel, model: TransformersModel) -> None:
    assert (seeing.supports_images, model.supports_images) == (True, False)
    assert seeing.context_window == WINDOW
    assert not TransformersModel(str(seeing.model_id), supports_images=False).supports_images


def test_images_reach_the_model(seeing: TransformersModel) -> None:
    seen: list[float] = []

    def look(_: Any, given: Any) -> None:
        seen.append(given[0].mean().item())

    hook = seeing.model.model.vision_tower.register_forward_pre_hook(look)
    dark = seeing.generate(showing(picture("black")), ["</code>"])
    light = seeing.generate(showing(picture("white")), ["</code>"])
    hook.remove()
    assert dark.content == light.content == PROGRAM
    assert dark.token_usage == TokenUsage(8, 8), "four tokens for the four patches"
    assert seen[0] < 0 < seen[1]


def test_a_conversation_without_images_works_too(seeing: TransformersModel) -> None:
    assert streamed(seeing, stop_sequences=["</code>"]).content == PROGRAM


def test_a_model_that_does_not_see_says_so(model: TransformersModel) -> None:
    with pytest.raises(AgentGenerationError, match="holds an image"):
        model.generate(showing(picture("black")))


@pytest.mark.parametrize(
    "address",
    ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "/etc/passwd", "data:text/html;base64,"],
)
def test_an_image_that_is_an_address_is_not_fetched(seeing: TransformersModel, address: str) -> None:
    with pytest.raises(AgentGenerationError, match="does not fetch"):
        seeing.generate(showing(address))


def test_an_image_that_is_none_is_told(seeing: TransformersModel) -> None:
    with pytest.raises(AgentGenerationError, match="cannot be read"):
        seeing.generate(showing(b"\xff\xd8 no image"))


def test_the_tiny_tokenizer_gives_back_what_it_was_given() -> None:
    tokenizer = make_tokenizer()
    assert tokenizer.decode(tokenizer(PROGRAM)["input_ids"]) == PROGRAM
