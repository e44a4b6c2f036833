"""Tokens per second and peak memory of the trainer beside TRL's SFTTrainer: same model, data, LoRA shape and machine.

    .venv/bin/python -m tests.bench.trainer_speed --model FOLDER [--trl-python PATH] [--steps 3] [--rounds 2] [--json]

Reference solutions of MBPP's training problems behind their statements (tests/data.py says where the file must be),
loss on the solution only, LoRA of rank 16 on all linear layers, bfloat16 base, scaled dot-product attention, AdamW,
constant learning rate. Each trainer runs in a process of its own, in turns, with and without recomputed layers
("checkpointing", TRL's default); the first step warms up. Micro-batches of TRL have `--rows` samples, ours as many as
stay within `--rows` times the longest sample. Tokens are those of prompts and solutions, without padding. On a machine
that has something else to do, look at tokens per CPU second. Where `--trl-python` does not say which environment has
TRL, one is made in a temporary folder and removed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from transformers import AutoTokenizer

from agent.problems import load
from tests.bench.report import publish
from tests.data import data_file

_TRL = ("trl==1.16.*", "peft==0.21.*", "transformers==5.24.*", "torch==2.13.*")
_HERE = Path(__file__).parent
_AS_THE_COMMAND_DOES = (
    "import runpy; from training import allocation; allocation.give_back(); "
    "runpy.run_module('tests.bench.trainer_child', run_name='__main__')"
)
"""Memory is set up before torch is imported, as `python -m training` does it."""


def main() -> None:
    """Measure in turns, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--trl-python", type=Path, help="interpreter of an environment with TRL")
    parser.add_argument("--sequences", type=int, default=8, help="samples of an optimiser step")
    parser.add_argument("--rows", type=int, default=4, help="samples of a micro-batch")
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tokens = _tokens(options.model, (options.steps + 1) * options.sequences)
    counted = sum(len(prompt) + len(completion) for prompt, completion in tokens[options.sequences :])
    measured: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    with _trl(options.trl_python) as python, tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for checkpointing in (False, True):
                job = {
                    "model": str(options.model),
                    "tokens": tokens,
                    "sequences": options.sequences,
                    "rows": options.rows,
                    "checkpointing": checkpointing,
                    "learning_rate": 1e-4,
                }
                file = Path(folder) / "job.json"
                file.write_text(json.dumps(job))
                for name, command in {
                    "Burnish": [sys.executable, "-c", _AS_THE_COMMAND_DOES, str(file)],
                    "TRL": [str(python), str(_HERE / "trl_child.py"), str(file)],
                }.items():
                    found = _child(command, options.threads)
                    measured.setdefault((name, checkpointing), []).append(found)
    rows = [
        {
            "trainer": name,
            "layers recomputed": "yes" if checkpointing else "no",
            "tokens/s": median(counted / each["wall_s"] for each in found),
            "tokens/CPU s": median(counted / each["cpu_s"] for each in found),
            "peak MB": round(median(each["peak_mb"] for each in found)),
            "last loss": round(found[0]["losses"][-1], 3),
        }
        for (name, checkpointing), found in sorted(measured.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
    note = (
        f"{options.steps} steps of {options.sequences} samples, {counted:,} tokens, {options.threads} threads, median "
        f"of {options.rounds} rounds; {', '.join(_TRL)}"
    )
    publish(" ".join(["trainer_speed", *sys.argv[1:]]), rows, as_json=options.json, notes=[note])


def _tokens(model: Path, count: int) -> list[tuple[list[int], list[int]]]:
    """Prompts and solutions as the chat template renders them."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    made: list[tuple[list[int], list[int]]] = []
    for problem in load(data_file("mbpp_train.jsonl.gz")):
        if problem.reference and len(made) < count:
            asked = tokenizer.apply_chat_template(
                [{"role": "user", "content": problem.statement}], add_generation_prompt=True, tokenize=False
            )
            answer = f"```python\n{problem.reference.strip()}\n```<|im_end|>"
            made.append((_ids(tokenizer, asked), _ids(tokenizer, answer)))
    if len(made) < count:
        raise SystemExit(f"there are {len(made)} reference solutions only; ask for fewer steps or sequences")
    return made


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@contextmanager
def _trl(python: Path | None) -> Iterator[Path]:
    """An interpreter with TRL."""
    if python is not None:
        yield python
        return
    with tempfile.TemporaryDirectory(prefix="trl-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        made = Path(folder) / "bin" / "python"
        subprocess.run([str(made), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *_TRL], check=True)
        yield made


def _child(command: list[str], threads: int) -> dict[str, Any]:
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
