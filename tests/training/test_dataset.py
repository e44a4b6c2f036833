"""Which attempts become samples, and on which side of the split they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from agent.problems import load
from memory.experience import Selection
from memory.records import (
    Attempt,
    CallTest,
    Candidate,
    Fault,
    Outcome,
    Problem,
    Sampling,
    TestSource,
    Trajectory,
    Verdict,
)
from memory.trajectories import SqlTrajectoryStore
from tests.data import data_file
from tests.training import stored
from tests.training.vocabulary import end, sampled, write_tokenizer
from training.dataset import Dataset, DatasetSettings, dataset, digest, groups, read_dataset, split
from training.errors import BadData
from training.families import held_out
from training.references import Renderer, references
from training.sample import TokenSample
from training.tokens import Vocabulary, read_vocabulary

BASE = "base/model"
ALL = DatasetSettings(base=BASE, held_out_share=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return write_tokenizer(folder)


@pytest.fixture(scope="module")
def vocabulary(folder: Path, tokenizer: Tokenizer) -> Vocabulary:
    return read_vocabulary(folder)


PASSED = Verdict(id="", outcome=Outcome.PASSED, passed=3, total=3, executed=((1, 0, 1, 8), (2, 4, 2, 16)))


def made(tokenizer: Tokenizer, number: int, temperature: float = 1.0, model: str = BASE) -> Candidate:
    """An answer that no other number gives."""
    answer = sampled(tokenizer, f"```python\ndef f(x):\n    return x + {number}\n```")
    return replace(answer, sampling=Sampling(model=model, temperature=temperature, seed=number))


def attempt(candidate: Candidate, verdict: Verdict | None = PASSED, **more: Any) -> Attempt:
    return Attempt(candidate=candidate, verdict=verdict, **{"origin": "sample", "round": 0, **more})


trajectory = partial(stored.trajectory, version=BASE)


def test_a_sample_is_what_was_stored(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    crash = Fault(type="TypeError", message="", line=2, span=(2, 4, 2, 16), traceback="frames")
    failed = Verdict(id="", outcome=Outcome.RUNTIME_ERROR, passed=1, total=3, error=crash, executed=((1, 0, 1, 8),))
    greedy, crashed = made(tokenizer, 1, temperature=0.0), made(tokenizer, 2)
    found = dataset([trajectory([attempt(greedy, origin="first"), attempt(crashed, failed)])], vocabulary, ALL)
    one, other = found.train
    assert (one.id, one.problem_id, one.family, one.trajectory_id, one.attempt) == ("t1/0", "p1", "p1", "t1", 0)
    assert one.greedy and one.origin == "first" and (one.outcome, one.passed, one.total) == (Outcome.PASSED, 3, 3)
    assert one.completion_ids == greedy.completion_ids and one.behaviour_logprobs == greedy.logprobs
    assert one.prompt_ids == (1, 2, 3) and one.error == "" and not any(one.blamed) and all(one.executed)
    assert (other.error, other.policy_version, other.temperature) == ("TypeError", BASE, 1.0)
    length = len(other.completion_ids)
    assert {len(mask) for mask in (other.sampled, other.program, other.blamed, other.executed)} == {length}

    def spelled(mask: Sequence[bool]) -> str:
        return vocabulary.text([number for number, one in zip(other.completion_ids, mask, strict=True) if one])

    assert spelled(other.program).strip() == "def f(x):\n    return x + 2"
    assert spelled(other.blamed).strip() == "return x + 2"
    assert spelled([not one for one in other.executed]).strip() == "return x + 2", "only the header ran"
    assert other.completion_ids[-1] == end(tokenizer) and not other.program[-1] and other.sampled[-1]
    assert found.counts.kept == 2 and found.counts.refused == {} and found.counts.trajectories == 1
    assert found.problems["p1"].hidden == () and found.families == {"p1": "p1"}


REFUSED: dict[str, Any] = {
    "no_verdict": lambda one: attempt(one, None),
    "sandbox_error": lambda one: attempt(one, Verdict(id="", outcome=Outcome.SANDBOX_ERROR, passed=0, total=0)),
    "untested": lambda one: attempt(one, replace(PASSED, passed=0, total=0)),
    "in_process": lambda one: attempt(one, replace(PASSED, integrity="in_process")),
    "flaky": lambda one: attempt(one, replace(PASSED, flaky=True)),
    "recalled": lambda one: attempt(one, origin="recalled"),
    "unknown_version": lambda one: attempt(replace(one, sampling=replace(one.sampling, model="other/model"))),
    "no_ids": lambda one: attempt(replace(one, completion_ids=(), logprobs=())),
    "drift": lambda one: attempt(replace(one, text=one.text + "!")),
    "too_long": lambda one: attempt(replace(one, prompt_ids=(1,) * 5000)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_trained_on_is_counted(reason: str, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    attempts = [attempt(made(tokenizer, 1)), REFUSED[reason](made(tokenizer, 2))]
    found = dataset([trajectory(attempts)], vocabulary, ALL)
    assert [one.id for one in found.train] == ["t1/0"]
    assert found.counts.refused == {reason: 1} and found.counts.attempts == 2


def test_ids_without_the_rest_are_no_ids(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    one = made(tokenizer, 2)
    for broken in (
        replace(one, prompt_ids=()),
        replace(one, logprobs=()),
        replace(one, logprobs=one.logprobs[1:]),
        replace(one, logprobs=(float("nan"), *one.logprobs[1:])),
        replace(one, logprobs=(float("-inf"), *one.logprobs[1:])),
    ):
        found = dataset([trajectory([attempt(made(tokenizer, 1)), attempt(broken)])], vocabulary, ALL)
        assert found.counts.refused == {"no_ids": 1}


def test_versions_that_are_too_old_are_stale(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    versions = [BASE, "actor@2", "actor@3", "actor@7", "actor@07", "critic@6"]
    attempts = [attempt(made(tokenizer, place, model=name)) for place, name in enumerate(versions)]
    current = ALL.model_copy(update={"current": 7, "max_lag": 4})
    found = dataset([trajectory(attempts)], vocabulary, current)
    assert [one.policy_version for one in found.train] == ["actor@3", "actor@7"]
    assert found.counts.refused == {"unknown_version": 2, "stale": 2}
    assert len(dataset([trajectory(attempts)], vocabulary, ALL).train) == 4


def test_the_same_from_the_same_prompt_is_a_duplicate(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    one = made(tokenizer, 1)
    again = replace(one, sampling=replace(one.sampling, seed=77))
    greedy = replace(one, sampling=replace(one.sampling, temperature=0.0))
    elsewhere = replace(one, prompt_ids=(1, 2, 4))
    later = replace(one, sampling=replace(one.sampling, model="actor@1"))
    attempts = [attempt(each) for each in (one, again, greedy, elsewhere, later)]
    found = dataset([trajectory(attempts)], vocabulary, ALL)
    assert [sample.attempt for sample in found.train] == [0, 2, 3, 4] and found.counts.refused == {"duplicate": 1}
    keeping = ALL.model_copy(update={"keep_duplicates": True})
    both = replace(trajectory([attempt(one), attempt(again)]), id="t9")
    found = dataset([trajectory(attempts), both], vocabulary, keeping)
    assert found.counts.kept == 5 and found.counts.refused == {"duplicate": 2}, "the same seed is the same draw"


def test_what_a_tenant_does_not_allow_is_not_even_kept(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    private = trajectory([attempt(made(tokenizer, 1)), attempt(made(tokenizer, 2))], 2, consent=False)
    found = dataset([trajectory([attempt(made(tokenizer, 1))]), private], vocabulary, ALL)
    assert found.counts.refused == {"no_consent": 2} and set(found.problems) == {"p1"}


def test_no_benchmark_gets_in_by_statement_reference_or_answer(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    human = load(data_file("humaneval.jsonl.gz"))[1]
    assert human.reference is not None
    good = made(tokenizer, 1)
    answered = sampled(tokenizer, f"```python\n{human.reference}\n```")
    answered = replace(answered, sampling=good.sampling)
    found = dataset(
        [
            trajectory([attempt(good), attempt(answered)]),
            trajectory([attempt(good)], 2, statement=f"Please do this.\n\n{human.statement}"),
            trajectory([attempt(good)], 3, reference=human.reference),
        ],
        vocabulary,
        ALL,
    )
    assert found.counts.refused == {"benchmark": 3} and set(found.problems) == {"p1"}


def test_tests_that_a_model_wrote_reward_nothing(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    good, written = made(tokenizer, 1), (CallTest(call="f(1)", expected="2"),)
    generated: dict[str, Any] = {"hidden": (), "visible": written, "visible_source": TestSource.GENERATED}
    stated = {**generated, "visible_source": TestSource.REQUEST}
    found = dataset(
        [trajectory([attempt(good)], 1, **generated), trajectory([attempt(good)], 2, **stated)], vocabulary, ALL
    )
    assert found.counts.refused == {"untested": 1} and found.train[0].problem_id == "p2"


def test_a_request_is_known_by_what_it_says(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """Two requests with the same statement and another layout are one problem, whatever their ids are."""
    first = trajectory([attempt(made(tokenizer, 1))], 1, id="t1", statement="Add the two numbers.")
    second = trajectory([attempt(made(tokenizer, 2))], 2, id="t2", statement="add the  two numbers .")
    found = dataset([first, second], vocabulary, ALL)
    [name] = {one.problem_id for one in found.train}
    assert name.startswith("prompt/") and set(found.problems) == {name} and len(groups(found.train)) == 1


def many(tokenizer: Tokenizer, count: int = 60) -> list[Trajectory]:
    """Problems of which every three are near-duplicates."""
    out = []
    for number in range(count):
        said = " ".join(f"word{number // 3}x{place}" for place in range(20))
        attempts = [attempt(made(tokenizer, place)) for place in range(2)]
        out.append(trajectory(attempts, number, statement=f"{said} number {number}"))
    return out


def families_of(samples: Sequence[TokenSample]) -> set[str]:
    return {one.family for one in samples}


@pytest.mark.parametrize("seed", range(5))
def test_no_family_is_on_both_sides(seed: int, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    settings = DatasetSettings(base=BASE, held_out_share=0.3, seed=seed, held_out=("p7",))
    found = dataset(many(tokenizer), vocabulary, settings)
    assert len(set(found.families.values())) == 20 and found.counts.kept == 120
    assert found.train and found.held_out
    assert not families_of(found.train) & families_of(found.held_out)
    assert {"p6", "p7", "p8"} <= {one.problem_id for one in found.held_out}, "its family is held out with a problem"
    statements = {one.problem_id.removeprefix("p") for one in found.train}
    assert not {int(one) // 3 for one in statements} & {int(one.problem_id[1:]) // 3 for one in found.held_out}
    out = held_out(found.families, 0.3, seed, ["p7"])
    assert split([*found.train, *found.held_out], out) == (list(found.train), list(found.held_out))


def test_references_are_split_with_the_samples(tokenizer: Tokenizer, vocabulary: Vocabulary, folder: Path) -> None:
    """A problem that was never asked is held out if it is nearly one that is."""
    settings = DatasetSettings(base=BASE, held_out_share=0.0, held_out=("p7",))
    asked = [one.problem for one in many(tokenizer)]
    twin = Problem(id="twin", statement=asked[7].statement + " again", reference="def f(x):\n    return x\n")
    alone = Problem(id="alone", statement="Something else entirely.", reference="def f(x):\n    return x\n")
    human = load(data_file("humaneval.jsonl.gz"))[1]
    found = dataset(many(tokenizer), vocabulary, settings, [twin, alone, human])
    made = references([twin, alone, human], found.families, Renderer(folder))
    train, aside = split(made.samples, found.families_held_out)
    assert [one.problem_id for one in train] == ["alone"] and [one.problem_id for one in aside] == ["twin"]
    assert human.id not in found.problems and made.refused == {human.id: "benchmark"}


def test_groups_are_of_one_problem_prompt_and_version(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    greedy = made(tokenizer, 9, temperature=0.0)
    repair = replace(made(tokenizer, 3), prompt_ids=(1, 2, 3, 4))
    newer = made(tokenizer, 4, model="actor@1")
    attempts = [attempt(one) for one in (greedy, made(tokenizer, 1), repair, newer, made(tokenizer, 2))]
    found = dataset([trajectory(attempts), trajectory([attempt(greedy)], 2)], vocabulary, ALL)
    assert [[one.id for one in group] for group in groups(found.train)] == [
        ["t1/0", "t1/1", "t1/4"],
        ["t1/2"],
        ["t1/3"],
        ["t2/0"],
    ]


def test_the_digest_is_that_of_the_samples(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    trajectories = many(tokenizer, 6)

    def of(given: Sequence[Trajectory]) -> Dataset:
        return dataset(given, vocabulary, ALL)

    assert of(trajectories).digest == of(trajectories[::-1]).digest == digest(of(trajectories).train)
    failed = replace(trajectories[0].attempts[0], verdict=replace(PASSED, outcome=Outcome.FAILED_TEST))
    changed = replace(trajectories[0], attempts=(failed, trajectories[0].attempts[1]))
    assert of([changed, *trajectories[1:]]).digest != of(trajectories).digest


def test_where_nothing_is_left_the_reasons_are_said(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    with pytest.raises(BadData, match=r"1 trajectories.*'flaky': 1.*collect more"):
        dataset([trajectory([attempt(made(tokenizer, 1), replace(PASSED, flaky=True))])], vocabulary, ALL)


async def test_a_store_is_read_as_it_is_selected(tokenizer: Tokenizer, vocabulary: Vocabulary, tmp_path: Path) -> None:
    store = await SqlTrajectoryStore.open(tmp_path / "db.sqlite")
    trajectories = many(tokenizer, 9)
    for one in trajectories:
        await store.append(one)
    await store.append(replace(trajectories[0], id="other", tenant="local"))
    found = await read_dataset(store, vocabulary, ALL, Selection(tenant="collect"))
    every = await read_dataset(store, vocabulary, ALL)
    await store.aclose()
    assert found == dataset(trajectories, vocabulary, ALL)
    assert every.counts.trajectories == 10 and every.counts.refused == {"duplicate": 2}
