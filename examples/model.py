"""The model of the examples: a service where one is named in the environment, else the embedded model."""

import os

from actloop import LocalModel, Model, OpenAIModel


def choose_model() -> Model:
    """`OPENAI_API_KEY` or `OPENAI_BASE_URL` choose a service, and `MODEL` its model's name."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        return OpenAIModel(os.environ.get("MODEL", "gpt-5-mini"))
    return LocalModel()
