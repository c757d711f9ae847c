"""OpenAIModel and AzureOpenAIModel under the contract of all services, and what Azure has of its own."""

from typing import Any

import pytest

from actloop.errors import AgentGenerationError
from actloop.models.azure import AzureOpenAIModel, AzureOpenAIServerModel
from actloop.models.openai import OpenAIModel

from .completions_wire import CompletionsContract
from .conftest import Service, completion
from .contract import ASK, KEY, QUICK


class TestOpenAIModel(CompletionsContract):
    def make(self, service: Service, **options: Any) -> OpenAIModel:
        return self.at(service.url, **{"retry": QUICK, "timeout": 20, **options})

    def at(self, url: str, **options: Any) -> OpenAIModel:
        return OpenAIModel("m", url, KEY, **options)


class TestAzureOpenAIModel(CompletionsContract):
    def make(self, service: Service, **options: Any) -> AzureOpenAIModel:
        return self.at(service.root, **{"retry": QUICK, "timeout": 20, **options})

    def at(self, url: str, **options: Any) -> AzureOpenAIModel:
        return AzureOpenAIModel("m", url, KEY, "2026-01-01", **options)


def test_a_deployment_is_addressed_as_azure_wants_it(service: Service) -> None:
    service.answers = [completion()]
    with AzureOpenAIServerModel("gpt-4o", service.root, KEY, "2026-01-01") as model:
        model.generate(ASK)
    assert service.paths == ["/openai/deployments/gpt-4o/chat/completions?api-version=2026-01-01"]
    assert service.headers[0]["api-key"] == KEY


def test_settings_come_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", service.root)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "from-the-environment")
    monkeypatch.setenv("OPENAI_API_VERSION", "2026-02-02")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    service.answers = [completion()]
    with AzureOpenAIModel("m") as model:
        model.generate(ASK)
    assert service.paths[0].endswith("api-version=2026-02-02")
    assert service.headers[0]["api-key"] == "from-the-environment"


def test_a_token_of_the_directory_instead_of_a_key(service: Service) -> None:
    service.answers = [completion()]
    settings = {"azure_ad_token": "a-token-of-the-directory"}
    with AzureOpenAIModel("m", service.root, api_version="2026-01-01", client_kwargs=settings) as model:
        model.generate(ASK)
    assert service.headers[0]["authorization"] == "Bearer a-token-of-the-directory"
    assert "a-token-of-the-directory" not in repr(model.to_dict())


def test_without_an_address_the_message_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(AgentGenerationError, match="AZURE_OPENAI_ENDPOINT"):
        AzureOpenAIModel("m", api_key=KEY, api_version="2026-01-01").generate(ASK)


def test_organisation_project_and_headers_are_sent(service: Service) -> None:
    service.answers = [completion()]
    settings = {"default_headers": {"x-team": "one"}}
    with OpenAIModel("m", service.url, KEY, "org", "proj", client_kwargs=settings) as model:
        model.generate(ASK)
    names = ("openai-organization", "openai-project", "x-team")
    assert [service.headers[0][name] for name in names] == ["org", "proj", "one"]
