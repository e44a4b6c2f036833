"""Runs that end early, in a process of their own (test_resume.py).

python -m tests.training.resumed half FOLDER BASE     two steps of every algorithm, or two more
python -m tests.training.resumed killed FOLDER BASE   a run of which several processes are killed on the way
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from memory.records import Outcome
from tests.training.examples import sample
from tests.training.runs import SETTINGS, small
from training.adapter import LoraSettings
from training.algorithms import ALGORITHMS, algorithm
from training.batch import Example
from training.loop import OptimiserSettings
from training.objective import Counts, StreamObjective
from training.plan import Shuffled
from training.run import Run, carry_out
from training.sample import TokenSample
from training.settings import AlgorithmSettings, BatchSettings, RunSettings, TrainSettings

KILLS = 6
"""Processes that are killed before one may live."""
_WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


def groups() -> list[list[TokenSample]]:
    """Six problems: a greedy attempt and three others each, some of which pass."""
    drawn = random.Random(5)
    made = []
    for number in range(6):
        group = []
        for at in range(4):
            passed = drawn.random() < 0.5 if at else number % 2 == 0
            tokens = sample(10 * number + at, prompt=6, completion=drawn.randint(6, 16))
            group.append(
                replace(
                    tokens,
                    problem_id=f"p{number}",
                    attempt=at,
                    temperature=1.0 if at else 0.0,
                    outcome=Outcome.PASSED if passed else Outcome.FAILED_TEST,
                    passed=3 if passed else at % 3,
                    total=3,
                    prompt_ids=sample(number, prompt=6).prompt_ids,
                )
            )
        made.append(group)
    return made


def references() -> list[TokenSample]:
    """A solution of each problem."""
    return [
        replace(sample(100 + number), kind="reference", behaviour_logprobs=(), id=f"reference/p{number}")
        for number in range(6)
    ]


def of_algorithm(folder: Path, base: Path, name: str) -> Run[Example, Counts]:
    """A run of four steps, with dropout, so that random numbers matter."""
    chosen = algorithm(name, {})
    given = [[each] for each in references()] if name == "sft" else groups()
    examples = [
        Example(each, streams)
        for group in given
        for each, streams in zip(group, chosen.streams(group), strict=True)
        if not streams.empty
    ]
    warm = algorithm("sft", {})
    others = [Example(each, *warm.streams([each])) for each in references()] if chosen.needs_references else []
    settings = TrainSettings(
        lora=LoraSettings(rank=4, alpha=8, dropout=0.1),
        optimiser=OptimiserSettings(learning_rate=5e-3, schedule="cosine", warmup_steps=1),
        batch=BatchSettings(sequences=4, micro_tokens=40),
        algorithm=AlgorithmSettings(name=name),
        run=RunSettings(save_every=2, threads=1, seed=3),
    )
    share = chosen.reference_share if examples and others else 0.0
    return Run(
        folder=folder / name,
        kind="policy",
        base=base,
        settings=settings,
        steps=4,
        plan=Shuffled(examples, settings.batch.sequences, seed=3, others=others, share=share),
        objective=StreamObjective(chosen.form, chosen.losses, micro_tokens=settings.batch.micro_tokens),
        data="sha256:groups",
    )


def part(folder: Path, base: Path, steps: int, names: Sequence[str] = tuple(ALGORITHMS)) -> None:
    """`steps` more steps of every algorithm's run."""
    for name in names:
        done = count(1)
        carry_out(of_algorithm(folder, base, name), stop=partial(_reached, done, steps))


def _reached(done: Iterator[int], steps: int) -> bool:
    return next(done) >= steps


def killed(folder: Path, base: Path) -> None:
    """Processes that die by SIGKILL at some moment in which they touch the disk; the last one may end."""
    points = random.Random(11)
    settings = SETTINGS.model_copy(update={"run": RunSettings(save_every=1, threads=1)})
    for attempt in range(KILLS + 1):
        child = os.fork()
        if child == 0:
            if attempt < KILLS:
                _die_after(points.randint(10, 120), folder)
            carry_out(small(folder, base, settings=settings))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        points.random()
        print(f"attempt {attempt}: {'killed' if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)}")


def _die_after(events: int, folder: Path) -> None:
    """Kill this process at its `events`-th operation on a file of the run."""
    left = [events]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in _WATCHED and any(str(folder) in str(argument) for argument in arguments):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    what, run_folder, base_folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if what == "killed":
        killed(run_folder, base_folder)
    else:
        part(run_folder, base_folder, 2)
