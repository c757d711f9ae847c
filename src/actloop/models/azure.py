"""Models that are deployed at Azure OpenAI."""

from __future__ import annotations

import os
from typing import Any

from actloop.models.api import from_environment
from actloop.models.clients import check_address
from actloop.models.openai import OpenAIModel


class AzureOpenAIModel(OpenAIModel):
    """A deployment at Azure OpenAI.

    Args:
        model_id: The deployment's name.
        azure_endpoint: Address of the resource, `https://NAME.openai.azure.com/`; `AZURE_OPENAI_ENDPOINT` by default.
        api_key: Key; `AZURE_OPENAI_API_KEY` by default. `azure_ad_token` or `azure_ad_token_provider` may stand in
            `client_kwargs` instead.
        api_version: Version of the interface; `OPENAI_API_VERSION` by default.
        client_kwargs: Further arguments of the SDK's client.
        custom_role_conversions: Roles to send instead of others.
        **kwargs: As for `OpenAIModel`.
    """

    _sdk_class = "AzureOpenAI"

    def __init__(
        self,
        model_id: str,
        azure_endpoint: str | None = None,
        api_key: str | None = None,
        api_version: str | None = None,
        client_kwargs: dict[str, Any] | None = None,
        custom_role_conversions: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        check_address("azure_endpoint", azure_endpoint)
        super().__init__(
            model_id=model_id,
            api_key=api_key,
            client_kwargs=client_kwargs,
            custom_role_conversions=custom_role_conversions,
            **kwargs,
        )
        self.azure_endpoint = azure_endpoint
        self.api_version = api_version
        self.client_kwargs.update(api_version=api_version, azure_endpoint=azure_endpoint)

    def to_dict(self) -> dict[str, Any]:
        """As for `OpenAIModel`."""
        data = super().to_dict()
        del data["api_base"]
        return {**data, "api_version": self.api_version}

    @property
    def _where(self) -> str:
        return f"{self.model_id} at {self.azure_endpoint or os.environ.get('AZURE_OPENAI_ENDPOINT') or 'Azure OpenAI'}"

    @property
    def _keys(self) -> tuple[str | None, ...]:
        token: object = self.client_kwargs.get("azure_ad_token")
        given = token if isinstance(token, str) else None
        return (*super()._keys, given, *from_environment("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"))


AzureOpenAIServerModel = AzureOpenAIModel
