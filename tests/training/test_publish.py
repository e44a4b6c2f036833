"""From an adapter in peft's format to a version: what is in the folder, and that its probe tells the adapter apart."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from agent.adapters import check, published, read
from agent.calibration import Calibration
from memory.trajectories import SqlTrajectoryStore
from tests.test_records import trajectory
from tests.training import tiny
from training import adapter, cli
from training.adapter import LoraSettings
from training.errors import PublishError
from training.publish import probe_of, publish, texts_of

RANDOM = random.Random(5)
TEXTS = [[RANDOM.randrange(5, tiny.VOCABULARY) for _ in range(RANDOM.randrange(20, 90))] for _ in range(12)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("base"))


def trained(base: Path, folder: Path, *, scale: float = 0.05, rank: int = 8) -> Path:
    """An adapter that changes something."""
    model = adapter.build(base, LoraSettings(rank=rank, alpha=16), seed=1)
    with torch.no_grad(), adapter.seeded(2):
        for name, parameter in adapter.trained(model).items():
            if "lora_B" in name:
                parameter.normal_(0.0, scale)
    adapter.save(model, folder, "somewhere/else")
    return folder


def test_the_folder_is_whole_and_says_where_it_comes_from(base: Path, tmp_path: Path) -> None:
    weights = trained(base, tmp_path / "weights")
    root = tmp_path / "adapters"
    for number in (1, 2):
        made = publish(
            weights,
            root,
            "actor",
            base=base,
            base_name="tiny",
            texts=TEXTS,
            parent="actor@0",
            run="r",
            step=7,
            algorithm="rltf",
            data="sha256:d",
        )
        assert made.name == f"actor@{number}"
    assert [one.name for one in published(root)] == ["actor@1", "actor@2"]
    again = read(root / "actor@1")
    check(again)
    assert (again.card.base, again.card.parent, again.card.run, again.card.step) == ("tiny", "actor@0", "r", 7)
    config = json.loads((again.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    assert (again.folder / "adapter_model.safetensors").read_bytes() == (
        weights / "adapter_model.safetensors"
    ).read_bytes()


def test_the_probe_holds_what_peft_and_transformers_compute(base: Path, tmp_path: Path) -> None:
    """Computed once more by the libraries' own forward pass, with and without the adapter."""
    made = publish(
        trained(base, tmp_path / "weights"), tmp_path / "adapters", "actor", base=base, base_name="tiny", texts=TEXTS
    )
    probe = made.probe
    assert 24 <= len(probe.prompts) <= 64
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    wrapped = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), made.folder
    ).eval()

    def logprobs(model: torch.nn.Module, ids: tuple[int, ...]) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        return found

    assert probe.repeated is not None and len(probe.repeated.ids) > 256
    for prompt in (*probe.prompts, probe.repeated):
        for model, values in ((plain, prompt.base), (wrapped, prompt.trained)):
            told = logprobs(model, prompt.ids)[-1][list(prompt.next_ids)]
            assert told.tolist() == pytest.approx(list(values), abs=1e-4)


def test_the_places_that_tell_most_are_chosen(base: Path, tmp_path: Path) -> None:
    """No two are the same, few are of one text, and none that was left out tells more of its text."""
    weights = trained(base, tmp_path / "weights")
    model = adapter.build(base, LoraSettings(rank=8, alpha=16), resume=weights)
    prompts = probe_of(model, [*TEXTS, *TEXTS]).prompts
    assert len({prompt.ids for prompt in prompts}) == len(prompts) >= 24
    owners = Counter(next(n for n, text in enumerate(TEXTS) if tuple(text[: len(p.ids)]) == p.ids) for p in prompts)
    assert max(owners.values()) <= 4 and all(len(prompt.ids) >= 8 for prompt in prompts)
    gaps = [abs(prompt.trained[0] - prompt.base[0]) for prompt in prompts]
    assert gaps == sorted(gaps, reverse=True)
    few = probe_of(model, [TEXTS[0]]).prompts
    best = max(abs(prompt.trained[0] - prompt.base[0]) for prompt in few)
    every = [abs(a - b) for a, b in _every(model, TEXTS[0])]
    assert best == pytest.approx(max(every), abs=1e-5)


def _every(model: peft.PeftModel, text: list[int]) -> list[tuple[float, float]]:
    """With and without the adapter: each token from the ninth on, where it is likely or none is."""

    def told() -> list[float]:
        with torch.no_grad():
            found = model(input_ids=torch.tensor([text])).logits[0].log_softmax(-1)
        return [float(found[at - 1, text[at]]) for at in range(8, len(text))]

    both = told()
    with model.disable_adapter():
        pairs = list(zip(both, told(), strict=True))
    return [pair for pair in pairs if max(pair) > -4.0] or pairs


def test_an_adapter_that_changes_nothing_is_refused(base: Path, tmp_path: Path) -> None:
    adapter.save(adapter.build(base, LoraSettings(rank=8), seed=1), tmp_path / "fresh", str(base))
    with pytest.raises(PublishError, match="changes nothing"):
        publish(tmp_path / "fresh", tmp_path / "adapters", "actor", base=base, base_name="tiny", texts=TEXTS)
    assert published(tmp_path / "adapters") == []


def test_without_texts_nothing_is_published(base: Path, tmp_path: Path) -> None:
    weights = trained(base, tmp_path / "weights")
    with pytest.raises(PublishError, match="needs texts"):
        publish(weights, tmp_path / "adapters", "actor", base=base, base_name="tiny", texts=[[1], []])


def test_broken_and_unservable_adapters_are_refused(base: Path, tmp_path: Path) -> None:
    weights = trained(base, tmp_path / "weights")
    root = tmp_path / "adapters"
    with pytest.raises(PublishError, match="max_lora_rank 4"):
        publish(weights, root, "actor", base=base, base_name="tiny", texts=TEXTS, max_rank=4)
    data = (weights / "adapter_model.safetensors").read_bytes()
    (weights / "adapter_model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(PublishError, match="is not published"):
        publish(weights, root, "actor", base=base, base_name="tiny", texts=TEXTS)
    (weights / "adapter_config.json").unlink()
    with pytest.raises(PublishError, match="cannot be read"):
        publish(weights, root, "actor", base=base, base_name="tiny", texts=TEXTS)
    assert published(root) == []


async def test_texts_come_from_attempts_that_may_be_trained_on(base: Path, tmp_path: Path) -> None:
    store = await SqlTrajectoryStore.open(tmp_path / "trajectories.sqlite")
    made = trajectory()
    await store.append(replace(made, id="a", consent=True))
    await store.append(replace(made, id="b", consent=False))
    await store.aclose()
    first = made.attempts[0].candidate
    assert await texts_of(tmp_path, base, "actor") == [(*first.prompt_ids, *first.completion_ids)]
    (question,) = await texts_of(tmp_path, base, "critic")
    text = tiny.tokenizer().decode(question)
    assert first.code.strip() in text and text.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("given", ["run7/checkpoints/000004", "run7/checkpoints/000004/adapter"])
def test_a_version_knows_its_run_and_its_calibration(base: Path, tmp_path: Path, given: str) -> None:
    """Whether the checkpoint is named, or the adapter in it."""

    async def keep() -> None:
        store = await SqlTrajectoryStore.open(tmp_path / "trajectories.sqlite")
        await store.append(replace(trajectory(), consent=True))
        await store.aclose()

    asyncio.run(keep())
    trained(base, tmp_path / "run7/checkpoints/000004/adapter")
    calibration = Calibration(bias=0.5, verdict=0.7, surprise=-0.3, length=0.2, usual=-0.1)
    told = {"checkpoint": "000004", "calibration": asdict(calibration)}
    (tmp_path / "run7/calibration.json").write_text(json.dumps(told))
    line = ["publish", str(tmp_path / given), "--base", str(base), "--base-name", "tiny", "--kind", "critic"]
    done = CliRunner().invoke(cli.app, [*line, "--data-dir", str(tmp_path)])
    assert (done.exit_code, done.stdout.strip()) == (0, "critic@1"), done.output
    card = read(tmp_path / "adapters/critic@1").card
    assert (card.run, card.step, card.calibration) == ("run7", 4, calibration)
