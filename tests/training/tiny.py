"""A random model of 200,000 parameters in Qwen2's shape, made in a second; training tests learn with it.

    folder = tiny.model(tmp_path / "base")          # weights, tokenizer, chat template, as a served model's folder
    tiny.model(tmp_path / "other", seed=1)          # another base model

Tied embeddings, grouped-query attention and the chat format are the default model's; weights are float32, so that
equality can be tested. The tokenizer is byte-level: it spells any text, and has merges, so that a token may be several
characters, or a part of one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

VOCABULARY = 352
END = "<|endoftext|>"
TURN = "<|im_start|>"
END_OF_TURN = "<|im_end|>"
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
_TEXTS = (
    "def add(a, b):\n    return a + b\n",
    "for index in range(10):\n    if index % 2 == 0:\n        print(index)\n",
    "```python\ndef largest(values):\n    best = values[0]\n    for value in values:\n        if value > best:\n"
    "            best = value\n    return best\n```",
    "Write a function that returns the sum of two numbers.",
)


def model(folder: Path, *, seed: int = 0) -> Path:
    """`folder`, with a model as `transformers` saves it. Another seed gives other weights."""
    made = tokenizer()
    made.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.125,  # at Qwen2's 0.02 a frozen head of this width could make no token likely
        bos_token_id=made.convert_tokens_to_ids(END),
        eos_token_id=made.convert_tokens_to_ids(END_OF_TURN),
        pad_token_id=made.convert_tokens_to_ids(END),
        dtype="float32",
    )
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    torch.set_rng_state(state)
    return folder


def tokenizer() -> Any:
    """The tokenizer alone; always the same."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, TURN, END_OF_TURN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(_TEXTS * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END_OF_TURN, pad_token=END, chat_template=CHAT_TEMPLATE
    )
