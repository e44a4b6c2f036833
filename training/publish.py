"""A run's checkpoint becomes a version: an immutable folder with its card and the probe that proves it once served.

The probe (agent/adapters.py) holds log-probabilities that are computed here with and without the adapter, after those
beginnings of the given texts where they differ most: where they do not differ, an engine that answers with the base
model would not be found out.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import peft
import torch
import typer
from transformers import AutoTokenizer

from agent import prompts
from agent.adapters import (
    WEIGHTS,
    Adapter,
    Card,
    Kind,
    Probe,
    ProbePrompt,
    check_shape,
    next_version,
    write,
)
from agent.calibration import Calibration
from agent.errors import AgentError
from agent.task import Message
from memory.errors import StoreUnavailable
from memory.experience import Selection
from memory.trajectories import SqlTrajectoryStore
from training import adapter
from training.batch import Batch
from training.checkpoint import ADAPTER, FOLDER
from training.console import standard_error
from training.critic_run import calibration_of
from training.errors import PublishError, TrainingError
from training.places import data_dir_of, store_of

_PROMPTS = 64
"""Beginnings of texts in a probe: many, because what one tells is half noise of arithmetic."""
_OF_ONE_TEXT = 4
"""Most beginnings of the same text."""
_LOOKED_AT = 24
"""Texts among which they are chosen."""
_LENGTH = 384
"""Tokens of a text that are looked at."""
_BLOCK = 128
"""Tokens of the engine's largest prefix-cache block: vLLM's on a CPU."""
_LONG = 2 * _BLOCK + 64
"""Least tokens of the text that is asked twice."""
_SHORT = 8
"""Least tokens of the others, where a text has so many."""
_NEXT = 4
"""Tokens after a text whose log-probabilities are kept: its own and the likeliest ones."""
_LIKELY = -4.0
"""Log-probability from which a token is looked at: less likely ones are told with the rounding of large logits."""


def publish(
    weights: Path,
    root: Path,
    kind: Kind,
    *,
    base: Path,
    base_name: str,
    texts: Sequence[Sequence[int]],
    max_rank: int = 16,
    parent: str = "",
    run: str = "",
    step: int = 0,
    algorithm: str = "",
    data: str = "",
    note: str = "",
    calibration: Calibration | None = None,
) -> Adapter:
    """Publish the adapter in `weights` (peft's format) as the next version of its kind in `root`, the data directory's
    `adapters`. `base` is the served model's folder, `texts` are token ids of prompts with their answers, as trained on.

    Raises PublishError: nothing was published.
    """
    try:
        check_shape(weights, max_rank)
        model = adapter.build(base, adapter.shape(weights, max_rank), resume=weights)
        probe = probe_of(model, texts)
        with tempfile.TemporaryDirectory() as folder:
            named = _named(weights, Path(folder), base)
            card = Card(
                name=next_version(root, kind),
                base=base_name,
                base_digest=_digest(base),
                parent=parent,
                run=run,
                step=step,
                algorithm=algorithm,
                data=data,
                created=time.time(),
                note=note,
                calibration=calibration,
            )
            return write(root, card, probe, named)
    except PublishError:
        raise
    except (AgentError, TrainingError, OSError) as error:
        raise PublishError(f"{weights} is not published: {error}") from error


def probe_of(model: peft.PeftModel, texts: Sequence[Sequence[int]]) -> Probe:
    """The probe of a model with its adapter, which is turned to float32 for it. Raises PublishError if no text has two
    tokens, or if adapter and base model say the same of all of them."""
    model.eval().float()  # the rounding of the served type would be taken for what the adapter changes
    usable = [tuple(text[:_LENGTH]) for text in texts if len(text) > 1][:_LOOKED_AT]
    if not usable:
        raise PublishError("a probe needs texts: give some prompts with their answers as token ids")
    places = [place for text in usable for place in _places(model, text, min(_SHORT, len(text) - 1))]
    chosen = _chosen(places)
    if not chosen or chosen[0].gap == 0.0:
        raise PublishError("the adapter changes nothing: with and without it every probability is the same")
    far = _chosen(_places(model, _long(usable), 2 * _BLOCK + 1))
    return Probe(
        prompts=tuple(_prompts(model, chosen)),
        repeated=_prompts(model, far[:1])[0] if far else None,
    )


async def texts_of(data_dir: Path, base: Path, kind: Kind, store_url: str | None = None) -> list[tuple[int, ...]]:
    """Token ids of kept attempts that may be trained on: prompts with answers for an actor, questions about programs
    for a critic. Raises StoreUnavailable."""
    store = await SqlTrajectoryStore.open(store_of(data_dir, store_url))
    tokenizer = AutoTokenizer.from_pretrained(base) if kind == "critic" else None
    found: list[tuple[int, ...]] = []
    async with aclosing(store):
        async for trajectory in store.select(Selection()):
            if not trajectory.consent or not trajectory.attempts:
                continue
            made = trajectory.attempts[0].candidate
            if tokenizer is not None:
                asked = [{"role": "user", "content": trajectory.problem.statement}]
                found.append(_tokens(tokenizer, prompts.verdict(asked, made.code)))
            elif made.prompt_ids and made.completion_ids:
                found.append((*made.prompt_ids, *made.completion_ids))
            if len(found) == _LOOKED_AT:
                break
    return found


def command(
    checkpoint: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="A checkpoint, or an adapter folder in peft's format.")
    ],
    base: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of the served base model.")],
    base_name: Annotated[str, typer.Option(help="The name it is served under.")],
    kind: Annotated[str, typer.Option(help="actor or critic.")] = "actor",
    data_dir: Annotated[Path | None, typer.Option(help="The server's data directory.")] = None,
    store_url: Annotated[str | None, typer.Option(help="SQLAlchemy URL of the trajectory store.")] = None,
    max_rank: Annotated[int, typer.Option(min=1, help="The engine's --max-lora-rank.")] = 16,
    parent: Annotated[str, typer.Option(help="Version that training started from.")] = "",
    run: Annotated[str, typer.Option(help="Name of the run.")] = "",
    note: Annotated[str, typer.Option(help="What a person should know.")] = "",
) -> None:
    """Make a version out of a checkpoint and print its name; `burnish adapters publish NAME` brings it to life.

    The probe's texts are attempts of the trajectory store.
    """
    console = standard_error()
    if kind not in ("actor", "critic"):
        raise typer.BadParameter("is actor or critic", param_hint="--kind")
    which: Literal["actor", "critic"] = "actor" if kind == "actor" else "critic"
    where = data_dir_of(data_dir)
    if checkpoint.name == ADAPTER and checkpoint.parent.parent.name == FOLDER:
        checkpoint = checkpoint.parent
    weights = checkpoint / ADAPTER if (checkpoint / ADAPTER).is_dir() else checkpoint
    try:
        texts = asyncio.run(texts_of(where, base, which, store_url))
        made = publish(
            weights,
            where / "adapters",
            which,
            base=base,
            base_name=base_name,
            texts=texts,
            max_rank=max_rank,
            parent=parent,
            run=run or _run_of(checkpoint),
            step=int(checkpoint.name) if checkpoint.name.isdigit() else 0,
            note=note,
            calibration=calibration_of(checkpoint) if which == "critic" else None,
        )
    except (TrainingError, StoreUnavailable) as error:
        console.print(str(error))
        raise typer.Exit(1) from error
    typer.echo(made.name)


def _named(weights: Path, folder: Path, base: Path) -> Path:
    """The same adapter, with the served model's path as its base."""
    for name in WEIGHTS:
        shutil.copyfile(weights / name, folder / name)
    config = json.loads((folder / WEIGHTS[0]).read_text())
    config |= {"base_model_name_or_path": str(base), "inference_mode": True}
    (folder / WEIGHTS[0]).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    return folder


class _Place(NamedTuple):
    """A beginning of a text, and the token that follows."""

    gap: float
    """How much the adapter changes that token's log-probability."""
    text: tuple[int, ...]
    length: int


def _places(model: peft.PeftModel, text: tuple[int, ...], least: int) -> list[_Place]:
    """The beginnings of a text, of at least so many tokens, that a likely token follows; of any token, if none is."""
    lengths = list(range(least, len(text)))
    trained, base = _both(model, text, [length - 1 for length in lengths], [text[length] for length in lengths])
    found = [
        (max(one, other) > _LIKELY, _Place(abs(one - other), text, length))
        for length, one, other in zip(lengths, trained, base, strict=True)
    ]
    return [place for likely, place in found if likely] or [place for _, place in found]


def _chosen(places: Sequence[_Place]) -> list[_Place]:
    """Those where the adapter changes most: no two the same tokens, few of one text."""
    taken: Counter[tuple[int, ...]] = Counter()
    seen: set[tuple[int, ...]] = set()
    made: list[_Place] = []
    for place in sorted(places, key=lambda place: -place.gap):
        ids = place.text[: place.length]
        if taken[place.text] < _OF_ONE_TEXT and ids not in seen:
            taken[place.text] += 1
            seen.add(ids)
            made.append(place)
    return made[:_PROMPTS]


def _prompts(model: peft.PeftModel, places: Sequence[_Place]) -> list[ProbePrompt]:
    """A prompt for each place, in their order; attention is causal, so that one pass serves all places of a text."""
    of_text: dict[tuple[int, ...], list[_Place]] = {}
    for place in places:
        of_text.setdefault(place.text, []).append(place)
    made: dict[_Place, ProbePrompt] = {}
    for text, some in of_text.items():
        last = [place.length - 1 for place in some]
        with torch.no_grad():
            states = adapter.hidden(model, torch.tensor([text], device=model.device))[0, last]
            values, tokens = (states @ adapter.head(model).t()).float().log_softmax(-1).topk(_NEXT)
        following = []
        for place, row, ids in zip(some, values.tolist(), tokens.tolist(), strict=True):
            likely = [token for token, value in zip(ids, row, strict=True) if value > _LIKELY]
            following.append(tuple(dict.fromkeys([text[place.length], *likely]))[:_NEXT])
        repeated = [at for at, next_ids in zip(last, following, strict=True) for _ in next_ids]
        targets = [token for next_ids in following for token in next_ids]
        trained, base = map(iter, _both(model, text, repeated, targets))
        for place, next_ids in zip(some, following, strict=True):
            made[place] = ProbePrompt(
                ids=text[: place.length],
                next_ids=next_ids,
                trained=tuple(islice(trained, len(next_ids))),
                base=tuple(islice(base, len(next_ids))),
            )
    return [made[place] for place in places]


def _long(texts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Texts one after the other until they are long enough."""
    ids: tuple[int, ...] = ()
    while len(ids) <= _LONG:
        for text in texts:
            ids += text
            if len(ids) > _LONG:
                break
    return ids[: _LONG + _LENGTH]


def _both(
    model: peft.PeftModel, ids: Sequence[int], places: Sequence[int], targets: Sequence[int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """log p of each target after its place, with the adapter and without it."""
    device = model.device
    nothing = torch.zeros(len(places), device=device)
    batch = Batch(
        input_ids=torch.tensor([list(ids)], device=device),
        positions=torch.tensor(list(places), device=device),
        targets=torch.tensor(list(targets), device=device),
        behaviour=nothing,
        advantage=nothing,
        pg_weight=nothing,
        ce_weight=nothing,
        kl_weight=nothing,
        tokens=len(ids),
    )
    with torch.no_grad():
        trained = adapter.logprobs(model, batch).tolist()
    return tuple(trained), tuple(adapter.logprobs(model, batch, reference=True).tolist())


def _tokens(tokenizer: Any, messages: Sequence[Message]) -> tuple[int, ...]:
    text = tokenizer.apply_chat_template(
        [dict(message) for message in messages], add_generation_prompt=True, tokenize=False
    )
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _digest(base: Path) -> str:
    """The digest that the model library noted; empty for a folder of the user's own."""
    try:
        return str(json.loads((base / "COMPLETE").read_text())["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _run_of(checkpoint: Path) -> str:
    """The run's name where the folder lies in one: RUN/checkpoints/000120."""
    return checkpoint.parent.parent.name if checkpoint.parent.name == FOLDER else ""


if __name__ == "__main__":
    typer.run(command)
