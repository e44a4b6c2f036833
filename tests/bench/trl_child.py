"""The same steps by TRL's SFTTrainer, in an environment that has TRL and nothing of Burnish (trainer_speed.py)."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import peft
import transformers
import trl


class Clock(transformers.TrainerCallback):  # type: ignore[misc]
    """When the first step was done, and when the last one; the losses."""

    def __init__(self) -> None:
        self.moments: list[tuple[float, float]] = []
        self.losses: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        self.moments.append((time.perf_counter(), time.process_time()))

    def on_log(self, *_: object, logs: dict[str, float] | None = None, **__: object) -> None:
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))


def main(job: dict[str, Any]) -> None:
    """`job` as trainer_speed.py writes it; prints what was measured as one JSON object."""
    rows = [
        {"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion}
        for prompt, completion in job["tokens"]
    ]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = trl.SFTTrainer(
            model=job["model"],
            args=trl.SFTConfig(
                output_dir=folder,
                model_init_kwargs={"dtype": "bfloat16", "attn_implementation": "sdpa"},
                per_device_train_batch_size=job["rows"],
                gradient_accumulation_steps=job["sequences"] // job["rows"],
                gradient_checkpointing=job["checkpointing"],
                num_train_epochs=1,
                learning_rate=job["learning_rate"],
                lr_scheduler_type="constant",
                train_sampling_strategy="sequential",
                max_length=None,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                seed=0,
            ),
            train_dataset=datasets.Dataset.from_list(rows),
            peft_config=peft.LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"),
            callbacks=[clock],
        )
        trainer.train()
    wall, cpu = (last - first for last, first in zip(clock.moments[-1], clock.moments[0], strict=True))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_mb": usage.ru_maxrss / 1024, "losses": clock.losses}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
