"""A small byte-level BPE tokenizer with a chat template, as a model folder has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from agent.extract import extract
from memory.records import Candidate, Sampling

END = "<|im_end|>"
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CORPUS = ["def f(x):\n    return x + 1\n", "```python\n", "    if x > 1:\n        return x\n    else:\n"] * 9


def write_tokenizer(folder: Path) -> Tokenizer:
    """Write `tokenizer.json` and its settings to `folder`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.add_special_tokens(["<|im_start|>", END])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False, special=False)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return tokenizer


def end(tokenizer: Tokenizer) -> int:
    """Id of the token that ends a turn."""
    number = tokenizer.token_to_id(END)
    assert number is not None
    return number


def sampled(tokenizer: Tokenizer, text: str, prefix: str = "", ids: Sequence[int] | None = None) -> Candidate:
    """An answer of which all but `prefix` was sampled, ended by the end-of-turn token if no ids are given."""
    if ids is None:
        ids = [*tokenizer.encode(text[len(prefix) :], add_special_tokens=False).ids, end(tokenizer)]
    program = extract(text)
    return Candidate(
        text=text,
        code=program.code,
        code_start=program.start,
        prompt_ids=(1, 2, 3),
        completion_ids=tuple(ids),
        logprobs=(-0.5,) * len(ids),
        prompt_tokens=3,
        completion_tokens=len(ids),
        finish_reason="stop",
        sampling=Sampling(model="base", temperature=1.0, seed=1),
        prefix=prefix,
    )
