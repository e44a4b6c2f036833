"""The verdict-token critic: what it learns from, what it is asked, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from agent import prompts
from agent.critic import VERDICTS
from memory.records import Attempt, Candidate, Outcome, Problem, Sampling, TestSource, Trajectory, Verdict
from tests.real_engine import model_library
from tests.training import tiny
from tests.training.examples import sample
from training import adapter
from training.adapter import LoraSettings
from training.critic import (
    Asker,
    CriticExample,
    CriticObjective,
    CriticSettings,
    examples,
    probabilities,
    report,
    scored,
)
from training.loop import Learner, OptimiserSettings
from training.sample import OutcomeClass

QWEN = model_library() / "Qwen" / "Qwen2.5-Coder-0.5B-Instruct"
CHAT = ({"role": "user", "content": "Write f."},)
CODE = "def f(a):\n    if a:\n        return 1\n    return 2\n"


def example(code: str, outcome: OutcomeClass, problem: str = "p") -> CriticExample:
    return CriticExample(messages=CHAT, code=code, outcome=outcome, problem_id=problem, family="f")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("critic") / "base")


def attempt(code: str, outcome: Outcome) -> Attempt:
    candidate = Candidate(
        text=code, code=code, code_start=0, prompt_ids=(), completion_ids=(), logprobs=(-0.5, -0.25), prompt_tokens=0,
        completion_tokens=0, finish_reason="stop", sampling=Sampling(model="base", temperature=1.0),
    )  # fmt: skip
    return Attempt(
        candidate=candidate, verdict=Verdict(id="", outcome=outcome, passed=0, total=1), origin="first", round=0
    )


def trajectory(*attempts: Attempt, consent: bool = True) -> Trajectory:
    return Trajectory(
        id="t", problem=Problem(id="p", statement="Write f."), attempts=attempts, accepted=None, status="finished",
        model_version="base", tenant="collect", consent=consent, started=0.0, ended=1.0, rounds=0,
    )  # fmt: skip


def test_examples_are_distinct_judged_programs_and_their_beginnings() -> None:
    good, again, ours = attempt(CODE, Outcome.TIMEOUT), attempt(CODE, Outcome.TIMEOUT), Outcome.SANDBOX_ERROR
    beside = Verdict(id="", outcome=Outcome.PASSED, passed=1, total=1, integrity="in_process")
    forged = replace(attempt("z", Outcome.PASSED), verdict=beside)
    kept = trajectory(good, again, attempt("x", ours), attempt("", Outcome.COMPILE_ERROR), forged)
    made = examples([kept, trajectory(attempt("y", Outcome.PASSED), consent=False)], {"p": "fam"}, CriticSettings())
    assert [one.whole for one in made] == [True, False, False]
    assert [one.logprob for one in made] == [-0.75, None, None], "a beginning is no answer"
    assert {one.outcome for one in made} == {OutcomeClass.RUNTIME_ERROR} and made[0].family == "fam"
    assert all(CODE.startswith(one.code + "\n") and one.code + "\n" != CODE for one in made[1:])
    assert made == examples([kept], {"p": "fam"}, CriticSettings())
    assert examples([kept], {}, CriticSettings()) == []
    own_tests = replace(kept, problem=replace(kept.problem, visible_source=TestSource.GENERATED))
    assert examples([own_tests], {"p": "fam"}, CriticSettings()) == []


@pytest.mark.parametrize("which", ["tiny", "qwen"])
def test_the_question_is_the_engines(which: str, base: Path) -> None:
    if which == "qwen" and not (QWEN / "COMPLETE").exists():
        pytest.skip(f"the default model is not in {QWEN}")
    folder = QWEN if which == "qwen" else base
    asker, tokenizer = Asker(folder), AutoTokenizer.from_pretrained(folder)
    asked = asker.ask(example(CODE, OutcomeClass.PASSED))
    chat = prompts.verdict(CHAT, CODE)
    wanted = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert list(asked.ids) == wanted
    assert CODE.strip() in tokenizer.decode([asked.ids[at] for at in asked.program])
    assert len(set(asker.labels)) == 4
    assert all(word.startswith(tokenizer.decode([one])) for word, one in zip(VERDICTS, asker.labels, strict=True))


def test_long_examples_are_left_out_and_counted(base: Path) -> None:
    long = example("x = 1\n" * 500, OutcomeClass.PASSED)
    kept, refused = Asker(base).ask_all([long, example(CODE, OutcomeClass.PASSED)], CriticSettings())
    assert [one.example.code for one in kept] == [CODE] and refused == 1


def test_it_learns_and_says_how_good_it_is(base: Path) -> None:
    torch.set_num_threads(1)
    asker = Asker(base)
    kinds = (("return a + b", OutcomeClass.PASSED), ("raise index", OutcomeClass.RUNTIME_ERROR))
    given = [
        example(f"def f{number}(a, b):\n    {body}", outcome, f"p{number % 4}")
        for number in range(12)
        for body, outcome in kinds
    ]
    asked, _ = asker.ask_all(given, CriticSettings())
    train, aside = asked[:16], asked[16:]
    model = adapter.build(base, LoraSettings(rank=8, alpha=16))
    before = probabilities(model, aside, asker.labels)
    objective = CriticObjective(asker.labels, CriticSettings())
    learner = Learner(model, objective, OptimiserSettings(learning_rate=5e-3), 30, 0)
    lines = [learner.step(train, number) for number in range(30)]
    assert lines[-1]["verdict"] < 0.3 * lines[0]["verdict"] and lines[-1]["pooled"] < lines[0]["pooled"]
    after = probabilities(model, aside, asker.labels)
    assert all(sum(row) == pytest.approx(1.0) for row in before + after)
    programs = [one.example for one in aside if one.example.whole]
    assert len(programs) == len(aside), "the beginnings are not measured"
    told = report(programs, [row[0] for row in after])
    assert told["auc"] == 1.0
    assert told["ranking_of_mixed"] == {"problems": 4, "first": 1.0, "random": 0.5} == told["ranking"]
    assert told["brier"] < report(programs, [row[0] for row in before])["brier"]
    assert told["families"]["f"]["programs"] == len(aside)


def test_a_random_answer_is_one_of_those_that_were_written() -> None:
    often, wrong = attempt(CODE, Outcome.PASSED), attempt("def f(a):\n    return a\n", Outcome.FAILED_TEST)
    written = examples([trajectory(often, often, often, wrong)], {"p": "fam"}, CriticSettings(prefixes=0))
    assert [one.times for one in written] == [3, 1]
    alone = replace(written[1], problem_id="unsolved")
    told = report([*written, alone], [0.2, 0.3, 0.0])
    assert told["ranking_of_mixed"] == {"problems": 1, "first": 0.0, "random": 0.75}
    assert told["ranking"] == {"problems": 2, "first": 0.0, "random": 0.375}


def test_micro_batches_change_nothing(base: Path) -> None:
    asker = Asker(base)
    programs = ("a", CODE, "b = 1\nc = 2")
    asked = [asker.ask(example(code, OutcomeClass.FAILED_TEST)) for code in programs]
    model = adapter.build(base, LoraSettings(rank=4, alpha=8))
    losses = []
    for budget in (1, 10_000):
        objective = CriticObjective(asker.labels, CriticSettings(micro_tokens=budget))
        parts = objective.split(asked)
        losses.append(sum(float(objective.loss(model, part, len(asked))[0].detach()) for part in parts))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    single = [probabilities(model, [one], asker.labels)[0] for one in asked]
    for alone, together in zip(single, probabilities(model, asked, asker.labels), strict=True):
        assert alone == pytest.approx(together, abs=1e-5)


def test_token_scores_are_the_probability_of_what_happened(base: Path) -> None:
    asker, model = Asker(base), adapter.build(base, LoraSettings(rank=4, alpha=8))
    outcomes = (Outcome.PASSED, Outcome.FAILED_TEST, Outcome.TIMEOUT, Outcome.COMPILE_ERROR)
    made = scored(model, [sample(1, outcome=outcome) for outcome in outcomes], asker.labels)
    sums = [sum(each) for each in zip(*(one.critic for one in made), strict=True)]
    assert sums == pytest.approx([1.0] * 8)  # over the four outcomes of one program
    ids = torch.tensor([[*made[0].prompt_ids, *made[0].completion_ids]])
    logits = model(ids).logits[0, -1, list(asker.labels)].detach()
    assert made[0].critic[-1] == pytest.approx(float(logits.softmax(-1)[0]), abs=1e-5)
    (ours,) = scored(model, [sample(1, outcome=Outcome.SANDBOX_ERROR)], asker.labels)
    assert ours.critic == ()
