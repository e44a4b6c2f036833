"""Reference solutions as samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from agent.problems import load
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.records import Outcome, Problem
from tests.data import data_file
from tests.training.test_buffer import sample
from tests.training.vocabulary import END, end, write_tokenizer
from training.errors import BadData
from training.references import Renderer, first_prompts, passing, references

PROBLEM = Problem(id="p", statement="Add one.", entry_point="f", reference="\ndef f(x):\n    return x + 1\n")

FAMILIES = {"p": "family"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return write_tokenizer(folder)


@pytest.fixture(scope="module")
def renderer(folder: Path, tokenizer: Tokenizer) -> Renderer:
    return Renderer(folder)


def test_a_reference_is_answered_as_a_model_answers(renderer: Renderer, tokenizer: Tokenizer) -> None:
    found = references([PROBLEM], FAMILIES, renderer)
    [made] = found.samples
    assert tokenizer.decode(list(made.prompt_ids), skip_special_tokens=False) == (
        "<|im_start|>user\nAdd one.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert made.prompt_ids[0] == tokenizer.token_to_id("<|im_start|>"), "the template's tokens are special ones"
    text = "```python\ndef f(x):\n    return x + 1\n```"
    assert tokenizer.decode(list(made.completion_ids), skip_special_tokens=False) == text + END
    assert made.completion_ids[-1] == end(tokenizer)
    program = [number for number, one in zip(made.completion_ids, made.program, strict=True) if one]
    assert renderer.vocabulary.text(program).strip() == "def f(x):\n    return x + 1"
    assert (made.id, made.kind, made.family, made.outcome) == ("reference/p", "reference", "family", Outcome.PASSED)
    assert made.behaviour_logprobs == () and all(made.sampled) and all(made.executed) and not any(made.blamed)
    assert not made.greedy


def test_names_of_special_tokens_in_a_program_are_text(renderer: Renderer, tokenizer: Tokenizer) -> None:
    said = replace(PROBLEM, reference=f"def f(x):\n    return '{END}'\n")
    [made] = references([said], FAMILIES, renderer).samples
    assert made.completion_ids.count(end(tokenizer)) == 1
    assert END in renderer.vocabulary.text(made.completion_ids)


def test_letters_that_the_tokenizer_normalises_keep_their_place(renderer: Renderer) -> None:
    said = replace(PROBLEM, reference="def f(x):\n    return 'e\u0301'\n")
    [made] = references([said], FAMILIES, renderer).samples
    assert "'é'" in renderer.vocabulary.text(made.completion_ids) and any(made.program)


def test_prompts_are_compared_with_those_of_the_engine(renderer: Renderer) -> None:
    prompt = renderer.prompt_ids([{"role": "user", "content": "Add one."}])
    assert references([PROBLEM], FAMILIES, renderer, stored={"p": prompt, "q": (1,)}).compared == 1
    with pytest.raises(BadData, match=r"prompt of p has other token ids.*model folder that the engine serves"):
        references([PROBLEM], FAMILIES, renderer, stored={"p": (*prompt, 7)})
    first = replace(sample("t/0"), problem_id="p", origin="first", prompt_ids=prompt)
    repair = replace(first, id="t/1", origin="repair", prompt_ids=(1, 2))
    assert first_prompts([repair, first]) == {"p": prompt}


def test_what_is_no_reference_says_why(renderer: Renderer) -> None:
    human = load(data_file("humaneval.jsonl.gz"))[0]
    found = references(
        [
            PROBLEM,
            replace(PROBLEM, id="none", reference=None),
            replace(PROBLEM, id="long", reference="x = 1\n" * 3000),
            replace(PROBLEM, id="stranger"),
            human,
        ],
        FAMILIES | {human.id: human.id, "none": "none", "long": "long"},
        renderer,
    )
    assert found.refused == {
        "none": "no_reference",
        "long": "too_long",
        "stranger": "unknown_family",
        human.id: "benchmark",
    }
    assert [one.problem_id for one in found.samples] == ["p"]


def test_a_folder_without_a_template_is_refused(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(BadData, match="no chat template"):
        Renderer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    with pytest.raises(BadData, match="does not end the assistant's turn"):
        Renderer(tmp_path)


async def test_references_that_fail_their_own_tests_are_known() -> None:
    problems = [one for one in load(data_file("mbpp_train.jsonl.gz")) if one.id in ("MBPP/601", "MBPP/602", "MBPP/603")]
    unsolved = replace(problems[1], id="unsolved", reference=None)
    async with await WorkerPool.start(SandboxSettings(workers=1)) as sandbox:
        assert await passing([*problems, unsolved], sandbox) == {"MBPP/602", "MBPP/603"}
