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
        "gsk_" + "aB3d" * 8,
        "glpat-" + "aB3d_" * 4,
        "r8_" + "aB3d" * 9,
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabcd\n-----END RSA PRIVATE KEY-----",
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


def test_a_colour_before_a_key_does_not_hide_it() -> None:
    key = "sk-" + "a1B2" * 10
    assert masked(f"\x1b[1m{key}\x1b[0m") == f"\x1b[1m{MASK}\x1b[0m"
    assert key not in masked(f"\\x1b[31m{key}")


def test_credentials_in_addresses() -> None:
    assert masked("http://user:hunter22@host/v1") == f"http://user:{MASK}@host/v1"
    assert masked("see http://h/v1?key=abcdefgh12&page=2") == f"see http://h/v1?key={MASK}&page=2"
    for text in ("http://host:8000/v1", "a://b:c/d", "http://h/?q=key", "user@example.org", "http://h/?key=de"):
        assert masked(text) == text


def test_long_hostile_text_costs_little() -> None:
    for text in (
        "://" * 200_000,
        "-----BEGIN PRIVATE KEY-----" * 5_000,
        "://a:" + "b" * 300_000,
        "sk-" * 200_000,
        "?key=" * 90_000,
        "-eyJ" * 90_000,
        "0meyJ" * 160_000,
        "0msk-" * 60_000,
    ):
        masked(f"http://{text}")
