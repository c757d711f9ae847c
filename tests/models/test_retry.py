"""The retry policy and the limit of requests, apart from any service."""

import email.utils
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import stamina

from actloop.models.openai import OpenAIModel
from actloop.models.retry import ModelRequestError, RateLimiter, RetryPolicy, is_retriable_status, retry_after_of

from .conftest import Service, completion


class Flaky:
    """Fails with the given errors, one after the other, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def awaited(self) -> str:
        return self()


def passing(retry_after: float | None = None) -> ModelRequestError:
    return ModelRequestError("busy.", status=503, retriable=True, retry_after=retry_after)


@pytest.fixture(params=["call", "acall"])
def face(request: pytest.FixtureRequest) -> str:
    return request.param


async def run(policy: RetryPolicy, send: Flaky, face: str) -> str:
    return policy.call(send) if face == "call" else await policy.acall(send.awaited)


QUICK = RetryPolicy(attempts=3, first_wait=0.001, jitter=0.0)


async def test_passing_failures_are_sat_out(face: str) -> None:
    send = Flaky(passing(), passing(0.001))
    assert await run(QUICK, send, face) == "done"
    assert send.calls == 3


async def test_at_most_so_many_attempts(face: str) -> None:
    send = Flaky(*[passing() for _ in range(9)])
    with pytest.raises(ModelRequestError, match=r"busy\. It was tried 3 times"):
        await run(QUICK, send, face)
    assert send.calls == 3


@pytest.mark.parametrize("error", [ModelRequestError("no", status=400), ValueError("bug"), KeyError("429")])
async def test_everything_else_is_raised_at_once(face: str, error: Exception) -> None:
    send = Flaky(error)
    with pytest.raises(type(error)):
        await run(QUICK, send, face)
    assert send.calls == 1


async def test_a_wait_that_is_too_long_is_not_begun(face: str) -> None:
    send = Flaky(passing(3600))
    with pytest.raises(ModelRequestError, match="asks to wait 3600 s"):
        await run(RetryPolicy(patience=60), send, face)
    assert send.calls == 1


def test_waits_grow_from_a_small_one_and_are_bounded() -> None:
    waits: list[float] = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: waits.append(details.wait_for)])
    try:
        policy = RetryPolicy(attempts=6, first_wait=0.001, longest_wait=0.005, jitter=0.0)
        policy.call(Flaky(*[passing() for _ in range(5)]))
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert waits == pytest.approx([0.001, 0.002, 0.004, 0.005, 0.005])


async def test_each_wait_is_told_of_in_one_sentence(face: str, caplog: pytest.LogCaptureFixture) -> None:
    error = ModelRequestError("busy \x1b[2J\nnow.", status=503, retriable=True)
    await run(QUICK, Flaky(error, passing()), face)
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        (
            "actloop.models",
            "Attempt 1 of 3 to reach the model failed (busy [2J now.); the next one follows in 0.0 s.",
        ),
        ("actloop.models", "Attempt 2 of 3 to reach the model failed (busy.); the next one follows in 0.0 s."),
    ]


def test_other_uses_of_stamina_keep_their_log(caplog: pytest.LogCaptureFixture) -> None:
    QUICK.call(Flaky(passing()))
    caplog.clear()
    send = Flaky(ValueError("theirs"))
    for attempt in stamina.retry_context(on=ValueError, wait_initial=0.001, wait_jitter=0.0):
        with attempt:
            send()
    assert [record.getMessage() for record in caplog.records] == ["stamina.retry_scheduled"]


def test_which_statuses_may_pass() -> None:
    assert all(map(is_retriable_status, [408, 409, 425, 429, 500, 502, 503, 504, 529]))
    assert not any(map(is_retriable_status, [400, 401, 402, 403, 404, 405, 413, 422, 501, 505]))


def test_retry_after_in_seconds_milliseconds_and_as_a_date() -> None:
    assert retry_after_of({"retry-after": "2.5"}) == 2.5
    assert retry_after_of({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after_of({"retry-after": email.utils.formatdate(time.time() + 100)}) == pytest.approx(100, abs=5)
    assert retry_after_of({"retry-after": email.utils.formatdate(time.time() - 100)}) == 0.0


@pytest.mark.parametrize("value", ["soon", "", "nan", "Mon, 99 Foo 2020"])
def test_a_retry_after_that_says_nothing_is_ignored(value: str) -> None:
    assert retry_after_of({"retry-after": value}) is None


async def test_requests_are_spaced() -> None:
    limiter = RateLimiter(60 * 1000)
    start = time.monotonic()
    for _ in range(10):
        limiter.throttle()
        await limiter.athrottle()
    assert time.monotonic() - start >= 0.019  # a lower bound, which no load of the machine can break
    with pytest.raises(ValueError, match="positive"):
        RateLimiter(0)


class SharedClock:
    """Time stands still; who has to sleep is noted down."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.limiter = RateLimiter(30, clock=lambda: self.now, sleep=self.slept.append)


def test_models_of_several_threads_share_one_limit(service: Service) -> None:
    clock = SharedClock()
    models = [
        OpenAIModel(name, api_base=service.url, api_key="k", requests_per_minute=clock.limiter) for name in ("a", "b")
    ]
    service.answers = [completion()] * 8
    with ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(model.generate, [{"role": "user", "content": "?"}]) for model in models * 4]
        assert [reply.result().content for reply in replies] == ["hello"] * 8
    assert sorted(clock.slept) == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0], "one slot each; the first need not wait"
    assert sorted(request["model"] for request in service.requests) == ["a"] * 4 + ["b"] * 4
    clock.now = 100.0
    service.answers = [completion()]
    models[0].generate([{"role": "user", "content": "?"}])
    assert len(clock.slept) == 7, "slots that nobody took are not saved up, nor does anyone wait for them"
    for model in models:
        model.close()


def test_models_with_numbers_of_their_own_share_nothing() -> None:
    one, other = (OpenAIModel("m", api_key="k", requests_per_minute=30) for _ in range(2))
    assert one.rate_limiter is not other.rate_limiter


def test_saving_a_model_keeps_the_number_of_a_shared_limit() -> None:
    model = OpenAIModel("m", api_key="k", requests_per_minute=RateLimiter(30))
    data = model.to_dict()
    assert data["requests_per_minute"] == 30
    assert json.loads(json.dumps(data)) == data
    assert OpenAIModel.from_dict({**data, "api_key": "k"}).rate_limiter.requests_per_minute == 30
