# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

"""`PipelineTool` with a real, tiny model that is made here."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actloop.agents.code import CodeAgent
from actloop.errors import MissingExtraError
from actloop.models.scripted import ScriptedModel
from actloop.tools.pipeline import PipelineTool
from actloop.tools.types import AgentText

if TYPE_CHECKING:
    from pathlib import Path

if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
    pytest.skip("torch and transformers are not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of a few hundred parameters that tells "good" from "bad", and its tokenizer."""
    import tokenizers
    import torch
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    words = {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3}
    inner: Any = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))  # type: ignore[attr-defined]
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()  # type: ignore[attr-defined]
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")
    config = BertConfig(
        vocab_size=4,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=8,
        id2label={0: "NEGATIVE", 1: "POSITIVE"},
    )
    torch.manual_seed(0)
    model: Any = BertForSequenceClassification(config).eval()
    with torch.no_grad():  # the sign of the words' only difference decides
        model.classifier.weight.zero_()
        inputs = {name: torch.tensor([[value]]) for name, value in (("input_ids", 2), ("attention_mask", 1))}
        good = model.bert(**inputs).pooler_output[0]
        bad = model.bert(**inputs | {"input_ids": torch.tensor([[3]])}).pooler_output[0]
        model.classifier.weight[1] = good - bad
        model.classifier.bias[1] = -((good - bad) @ (good + bad)) / 2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def classifier(**changes: Any) -> type[PipelineTool]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    class Classifier(PipelineTool):
        name = "mood"
        description = "Says whether a text is positive."
        inputs = {"text": {"type": "string", "description": "The text."}}
        output_type = "string"
        pre_processor_class = AutoTokenizer
        model_class = AutoModelForSequenceClassification

        def decode(self, outputs: Any) -> str:
            return self.model.config.id2label[int(outputs.logits.argmax())]

    for name, value in changes.items():
        setattr(Classifier, name, value)
    return Classifier


def test_a_model_is_a_tool_and_is_loaded_at_the_first_call(checkpoint: Path) -> None:
    tool = classifier(default_checkpoint=str(checkpoint))()
    assert tool.model == str(checkpoint)
    assert not tool.is_initialized
    assert tool("good") == tool(text="good") == "POSITIVE"
    assert tool("bad") == "NEGATIVE"
    assert tool.is_initialized
    assert str(tool.model.device) == str(tool.device)
    result = tool(AgentText("bad"), sanitize_inputs_outputs=True)
    assert isinstance(result, AgentText)


def test_parts_may_be_given_loaded(checkpoint: Path) -> None:
    first = classifier()(str(checkpoint), device="cpu")
    assert first("good") == "POSITIVE"
    second = classifier()(first.model, first.pre_processor, device="cpu")
    assert second("good") == "POSITIVE"
    assert second.model is first.model


def test_encode_forward_and_decode_may_be_written_anew(checkpoint: Path) -> None:
    def encode(self: Any, text: str, shout: bool = False) -> Any:
        return {**self.pre_processor(text.lower(), return_tensors="pt"), "return_dict": True}

    def forward(self: Any, inputs: Any) -> Any:
        assert inputs["return_dict"] is True  # what is no tensor goes along
        return [self.model(**inputs).logits.detach()]

    tool = classifier(encode=encode, forward=forward, decode=lambda self, outputs: outputs[0].argmax().item())
    assert tool(str(checkpoint))(text="GOOD", shout=True) == 1


def test_threads_load_it_once(checkpoint: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    loads: list[str] = []

    class Slow:
        @staticmethod
        def from_pretrained(name: str, **options: Any) -> Any:
            loads.append(name)
            return AutoModelForSequenceClassification.from_pretrained(name, **options)

    tool = classifier(model_class=Slow)(str(checkpoint))
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(tool("bad"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["NEGATIVE"] * 8
    assert len(loads) == 1


def test_a_load_that_failed_is_tried_again(checkpoint: Path) -> None:
    tool = classifier()(str(checkpoint / "nothing"), pre_processor=str(checkpoint))
    with pytest.raises(Exception, match="nothing"):
        tool("good")
    assert not tool.is_initialized
    tool.model = str(checkpoint)
    assert tool("good") == "POSITIVE"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="Classifier has no default_checkpoint: give it a model"):
        classifier()()
    bare = classifier(model_class=None)("somewhere", pre_processor=object())
    with pytest.raises(ValueError, match="must set model_class, which loads 'somewhere'"):
        bare("x")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'actloop\[transformers\]'"):
        classifier(default_checkpoint="x")()


def test_an_agent_uses_it(checkpoint: Path) -> None:
    tool = classifier()(str(checkpoint))
    model = ScriptedModel(["<code>\nfinal_answer([mood(text='good'), mood('bad')])\n</code>"])
    with CodeAgent([tool], model, journal=None, verbosity_level=0) as agent:
        assert agent.run("mood?") == ["POSITIVE", "NEGATIVE"]


def test_the_class_is_imported_without_torch() -> None:
    code = "import sys, actloop.tools.pipeline; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
