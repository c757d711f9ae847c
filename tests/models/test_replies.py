"""Replies that would fill the memory, from the services of three SDKs."""

import asyncio
import gzip
import json
import resource
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from actloop.models.anthropic import AnthropicModel
from actloop.models.api import ServiceModel
from actloop.models.inference import InferenceClientModel
from actloop.models.openai import OpenAIModel
from actloop.models.retry import ModelRequestError, RetryPolicy
from actloop.values.messages import ChatMessage, MessageRole

from .conftest import DONE, Answer, Service, chunk, completion, stream

ASK = [ChatMessage(MessageRole.USER, "how many?")]
QUICK = RetryPolicy(attempts=3, first_wait=0.001, jitter=0.0)
MODELS: list[Callable[[Service], ServiceModel]] = [
    lambda service: OpenAIModel("m", service.url, "key", retry=QUICK),
    lambda service: AnthropicModel("m", api_base=service.root, api_key="key", retry=QUICK),
    lambda service: InferenceClientModel("m", base_url=service.url, token="key", retry=QUICK),
]
NAMES = ["openai", "anthropic", "inference"]


async def _ask(model: ServiceModel, face: str) -> Any:
    match face:
        case "generate":
            return await asyncio.to_thread(model.generate, ASK)
        case "agenerate":
            return await model.agenerate(ASK)
        case "generate_stream":
            return await asyncio.to_thread(lambda: list(model.generate_stream(ASK)))
        case _:
            return [delta async for delta in model.astream(ASK)]


def packed(data: bytes, content_type: str, code: int = 200) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Bytes that unpack to 300 MiB of one text."""
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    return packer.compress(b'{"a": "') + b"".join(packer.compress(b"z" * 2**20) for _ in range(300)) + packer.flush()


@pytest.mark.parametrize("face", ["generate", "agenerate", "generate_stream", "astream"])
@pytest.mark.parametrize("make", MODELS, ids=NAMES)
@pytest.mark.parametrize("code", [200, 400])
async def test_a_reply_that_unpacks_without_end_is_refused_at_once(
    service: Service, make: Callable[[Service], ServiceModel], bomb: bytes, face: str, code: int
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content_type = "text/event-stream" if "stream" in face else "application/json"
    service.answers = [packed(bomb, content_type, code)] * 3
    with make(service) as model:
        with pytest.raises(
            ModelRequestError, match=r"gave a broken answer: .*more than (64|16) MiB|answered 400"
        ) as caught:
            await _ask(model, face)
        await model.aclose()
    assert not caught.value.retriable
    assert len(service.requests) == 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # in KiB
    assert grown < 250 * 1024


@pytest.mark.parametrize("face", ["generate_stream", "astream"])
@pytest.mark.parametrize(
    ("make", "end"),
    [(MODELS[0], ""), (MODELS[1], ""), (MODELS[2], ""), (MODELS[0], "\ndata: "), (MODELS[1], "\ndata: ")],
)
async def test_an_event_without_end_is_refused(
    service: Service, make: Callable[[Service], ServiceModel], end: str, face: str
) -> None:
    service.answers = [stream("data: ", *(["x" * 2**20 + end] * 20), pause=0.001)]
    with make(service) as model:
        with pytest.raises(ModelRequestError, match="an event of more than 16 MiB"):
            await _ask(model, face)
        await model.aclose()


@pytest.mark.parametrize("make", MODELS, ids=NAMES)
async def test_a_reply_of_millions_of_values_is_refused_before_it_is_decoded(
    service: Service, make: Callable[[Service], ServiceModel]
) -> None:
    service.answers = [packed(gzip.compress(b"[" + b"{}," * 2**22), "application/json")]
    with make(service) as model, pytest.raises(ModelRequestError, match="more than 2,000,000 objects and lists"):
        await _ask(model, "generate")


@pytest.mark.parametrize("face", ["generate", "agenerate", "generate_stream", "astream"])
@pytest.mark.parametrize("index", [0, 2], ids=["openai", "inference"])
async def test_packed_replies_are_read(service: Service, index: int, face: str) -> None:
    if "stream" in face:
        text = "".join([*(chunk(content=c) for c in "hello"), chunk(finish="stop"), DONE])
        service.answers = [packed(gzip.compress(text.encode()), "text/event-stream")]
    else:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        service.answers = [packed(gzip.compress(json.dumps(body).encode()), "application/json")]
    with MODELS[index](service) as model:
        reply = await _ask(model, face)
        assert ("".join(delta.content or "" for delta in reply) if "stream" in face else reply.content) == "hello"
        await model.aclose()
    assert service.headers[0]["accept-encoding"] == "gzip"


@pytest.mark.parametrize("make", MODELS, ids=NAMES)
async def test_a_reply_that_is_packed_wrongly_is_told(
    service: Service, make: Callable[[Service], ServiceModel]
) -> None:
    service.answers = [packed(b"no gzip at all", "application/json")] * 3
    with make(service) as model, pytest.raises(ModelRequestError, match="cannot be unpacked"):
        await _ask(model, "generate")
    assert len(service.requests) == 3


async def test_a_long_honest_reply_is_read(service: Service) -> None:
    service.answers = [completion("z" * 2**24)]
    with MODELS[0](service) as model:
        assert len((await _ask(model, "generate")).content) == 2**24
