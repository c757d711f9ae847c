"""Which settings are secret."""

from typing import Any

import pytest

from actloop.models.base import REMOVE_PARAMETER
from actloop.models.failures import without_keys
from actloop.models.openai import OpenAIModel
from actloop.models.retry import ModelRequestError
from actloop.models.secrets import secrets_in, without_secrets


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "token",
        "hf_token",
        "aws_secret_access_key",
        "aws_session_token",
        "azure_ad_token",
        "extra_headers",
        "AZURE_API_KEY",
    ],
)
def test_secrets_are_known_by_their_names(name: str) -> None:
    settings: dict[str, Any] = {name: "s", "inside": [{name: "s"}], "kept": 1}
    assert without_secrets(settings) == {"inside": [{}], "kept": 1}
    assert secrets_in(settings) == ["s", "s"]


@pytest.mark.parametrize(
    "name", ["max_tokens", "max_completion_tokens", "eos_token_id", "pad_token_id", "top_k", "region_name"]
)
def test_other_settings_are_kept(name: str) -> None:
    assert without_secrets({name: 1}) == {name: 1}


def test_only_plain_data_and_the_mark_that_removes_is_kept() -> None:
    settings: dict[str, Any] = {"client": object(), "stop": REMOVE_PARAMETER, "some": (1, object())}
    assert without_secrets(settings) == {"stop": REMOVE_PARAMETER, "some": [1]}


def fail(below: str, keys: list[str | None]) -> None:
    with without_keys(keys):
        try:
            raise ValueError(below)
        except ValueError as error:
            raise ModelRequestError("refused") from error


def test_a_key_in_an_error_below_is_not_shown() -> None:
    with pytest.raises(ModelRequestError) as caught:
        fail("the key a-long-secret is wrong", ["a-long-secret"])
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_other_errors_keep_what_lies_below() -> None:
    with pytest.raises(ModelRequestError) as caught:
        fail("no x", ["a-long-secret", None, "x"])
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_password_in_an_address_is_neither_told_nor_written_down() -> None:
    model = OpenAIModel("m", "http://user:hunter22@127.0.0.1:9/v1?key=abcdefgh12", "k", retry=False)
    with pytest.raises(ModelRequestError) as caught:
        model.generate([{"role": "user", "content": "hello"}])
    told = f"{caught.value} {caught.value.__cause__} {model.to_dict()}"
    assert "hunter22" not in told
    assert "abcdefgh12" not in told
