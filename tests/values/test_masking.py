"""Secrets are not shown."""

from __future__ import annotations

import pytest

from actloop.values.masking import MASK, masked


@pytest.mark.parametrize(
    "secret",
    [
        "sk-" + "a1B2" * 10,
        "sk-ant-api03-" + "x9_-" * 12,
        "hf_" + "aB3d" * 8,
        "ghp_" + "a1b2" * 9,
        "github_pat_" + "A1b2_" * 8,
        "AKIA" + "ABCD" * 4,
        "AIza" + "aB3-_" * 7,
        "xoxb-123456789012-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLWhlcmU",
    ],
)
def test_a_key_is_known_by_its_form(secret: str) -> None:
    assert masked(f"curl -H 'Authorization: Bearer {secret}' there") == f"curl -H 'Authorization: Bearer {MASK}' there"


@pytest.mark.parametrize(
    "text",
    ["the task-manager-of-the-year-award", "sk-learn", "hf_hub", "a sk-ip", "AKIAxx", "x = eyJ + 1", "risk-averse"],
)
def test_ordinary_text_stays(text: str) -> None:
    assert masked(text) == text


def test_values_of_secret_variables_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_API_KEY", "correct-horse")
    monkeypatch.setenv("DB_PASSWORD", "correct-horse-battery")
    monkeypatch.setenv("MONKEY", "a banana for you")
    monkeypatch.setenv("OTHER_TOKEN", "short")
    assert masked("key correct-horse, password correct-horse-battery, short") == f"key {MASK}, password {MASK}, short"
    assert masked("a banana for you") == "a banana for you"
