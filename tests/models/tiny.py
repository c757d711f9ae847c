"""Tiny models that a test makes: real architectures of transformers, whose weights say which token follows which.

The embedding of every token is a direction of its own, the layers add nothing, and the last matrix maps each direction
to the token that comes next. So a reply follows from the last token of the prompt alone, and is known beforehand.
"""

from __future__ import annotations

import itertools
import string
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 192
WINDOW = 512

TEMPLATE = (
    "{%- for message in messages -%}<|{{ message['role'] }}|>"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}<image>{%- else -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{%- endfor -%}"
    "{%- for tool in tools or [] -%}[{{ tool['function']['name'] }}]{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ start or '<|assistant|>' }}{%- endif -%}"
)

REPLIES = {
    "<|assistant|>": ["Thought:", " I add", "\n<code>\n", "final_answer(", "2+2", ")", "\n</co", "de> more", " words"],
    "<|endless|>": ["on ", "and "],
    "<|inside|>": ["x = ", "1STOP2", "3"],
    "<|call|>": ['{"name": "add", ', '"arguments": ', '{"x": 4}}'],
    "<|answer|>": ['{"name": "final_answer", ', '"arguments"', ': {"answer": 4}}'],
    "<|plain|>": ["héllo", " wörld"],
    "<|silent|>": [],
}
"""What the model replies, by the token that the prompt ends with; `<|endless|>` goes on for ever."""

SPECIAL = ["<unk>", "<|end|>", "<|system|>", "<|user|>", "<image>", *REPLIES]


def make_tokenizer(template: str | None = TEMPLATE) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = [word for reply in REPLIES.values() for word in reply]
    assert len(set(words)) == len(words), "a token can only have one that follows it"
    scores = [(token, 0.0) for token in SPECIAL] + [(word, -1.0) for word in words]
    scores += [(char, -10.0) for char in string.printable if char not in words]
    assert len(scores) <= SIZE
    inner: Any = Tokenizer(models.Unigram(scores, unk_id=0))
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    made: Any = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", eos_token="<|end|>", extra_special_tokens={"image_token": "<image>"}
    )
    made.chat_template = template
    return made


def follow(tokenizer: Any, embedding: Any, head: Any) -> None:
    """Set the weights so that the replies follow."""
    import torch

    with torch.no_grad():
        embedding.weight.copy_(torch.eye(SIZE))
        head.weight.zero_()
        end = tokenizer.convert_tokens_to_ids("<|end|>")
        for start, reply in REPLIES.items():
            ids = tokenizer.convert_tokens_to_ids([start, *reply])
            ids.append(ids[1] if start == "<|endless|>" else end)
            for one, other in itertools.pairwise(ids):
                head.weight[other, one] = 9.0


def silence(layers: Any) -> None:
    """Let the layers add nothing to what passes through them."""
    for layer in layers:
        layer.self_attn.o_proj.weight.data.zero_()
        layer.mlp.down_proj.weight.data.zero_()


def text_settings() -> dict[str, Any]:
    return {
        "vocab_size": SIZE,
        "hidden_size": SIZE,
        "intermediate_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": WINDOW,
        "tie_word_embeddings": False,
        "eos_token_id": 1,
    }


def save_text_model(folder: Path, template: str | None = TEMPLATE) -> Path:
    """A Llama, with its tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(template)
    model: Any = LlamaForCausalLM(LlamaConfig(**text_settings()))
    follow(tokenizer, model.model.embed_tokens, model.lm_head)
    silence(model.model.layers)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_vision_model(folder: Path) -> Path:
    """A Llava, with its processor."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = make_tokenizer()
    seeing: Any = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1, image_size=8, patch_size=4
    )
    config = LlavaConfig(
        vision_config=seeing,
        text_config=LlamaConfig(**text_settings()),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model: Any = LlavaForConditionalGeneration(config)
    follow(tokenizer, model.model.language_model.embed_tokens, model.lm_head)
    silence(model.model.language_model.layers)
    model.save_pretrained(folder)
    images: Any = CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    processor: Any = LlavaProcessor(
        images,
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(folder)
    return folder
