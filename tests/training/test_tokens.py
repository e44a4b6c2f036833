"""Which characters a token stands for."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.training.vocabulary import END, end, sampled, write_tokenizer
from training.errors import BadData
from training.tokens import Vocabulary, read_vocabulary, token_spans


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return write_tokenizer(folder)


@pytest.fixture(scope="module")
def vocabulary(folder: Path, tokenizer: Tokenizer) -> Vocabulary:
    return read_vocabulary(folder)


def of_bytes(vocabulary: Vocabulary, *pieces: bytes) -> list[int]:
    """Ids that are spelled like this."""
    found = {piece: number for number, piece in vocabulary.pieces.items()}
    return [found[piece] for piece in pieces]


def test_every_character_belongs_to_its_token(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    text = "Here:\n```python\ndef f(x):\n    return 'ß☃🎉' + <tool>\n```\n"
    made = sampled(tokenizer, text)
    spans = token_spans(vocabulary, made)
    assert spans is not None and len(spans) == len(made.completion_ids)
    assert spans[-1] == (len(text), len(text)), "the end of the turn stands for nothing"
    covered = {place for first, last in spans for place in range(first, last)}
    assert covered == set(range(len(text))) and spans == tuple(sorted(spans))
    pieces = [vocabulary.pieces[number] for number in made.completion_ids]
    for (first, last), piece in zip(spans, pieces, strict=True):
        assert piece in text[first:last].encode()


def test_a_part_of_a_character_has_the_whole_character(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """`a☃b`: the snowman has three bytes, of which the first stands with `a` in no token, so each is a token."""
    ids = of_bytes(vocabulary, b"a", b"\xe2", b"\x98", b"\x83", b"b")
    assert token_spans(vocabulary, sampled(tokenizer, "a☃b", ids=ids)) == ((0, 1), (1, 2), (1, 2), (1, 2), (2, 3))


def test_what_was_given_is_not_sampled(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    made = sampled(tokenizer, "```python\ndef f(x):\n    return x", prefix="```python\ndef f(x):\n")
    spans = token_spans(vocabulary, made)
    assert spans is not None and spans[0][0] == len(made.prefix) and spans[-1][1] == len(made.text)


def test_special_tokens_stand_for_nothing_and_others_for_their_name(
    tokenizer: Tokenizer, vocabulary: Vocabulary
) -> None:
    ids = [*of_bytes(vocabulary, b"a"), end(tokenizer), *of_bytes(vocabulary, b"<tool>", b"b")]
    assert token_spans(vocabulary, sampled(tokenizer, "a<tool>b", ids=ids)) == ((0, 1), (1, 1), (1, 7), (7, 8))
    assert token_spans(vocabulary, sampled(tokenizer, f"a{END}<tool>b", ids=ids)) is None
    unknown = [*of_bytes(vocabulary, b"a"), 99_999]
    assert token_spans(vocabulary, sampled(tokenizer, "a", ids=unknown)) == ((0, 1), (1, 1))


def test_ids_that_spell_something_else_are_refused(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    made = sampled(tokenizer, "return x + 1")
    assert token_spans(vocabulary, made) is not None
    for text in ("return x + 2", "return x", "return x + 1 ", ""):
        assert token_spans(vocabulary, replace(made, text=text)) is None


def test_what_a_stop_text_kept_or_cut(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """`ab` `c` and a last token `  ` of two blanks, with one blank as the text that stops."""
    ids = of_bytes(vocabulary, b"a", b"b", b"  ")
    asked = replace(sampled(tokenizer, "", ids=ids).sampling, stop=(" ",))
    kept = replace(sampled(tokenizer, "ab ", ids=ids), sampling=asked)
    assert token_spans(vocabulary, kept) == ((0, 1), (1, 2), (2, 3))
    cut = replace(sampled(tokenizer, "ab", ids=ids), sampling=asked)
    assert token_spans(vocabulary, cut) == ((0, 1), (1, 2), (2, 2))
    assert token_spans(vocabulary, sampled(tokenizer, "ab ", ids=ids)) is None, "nothing was to stop it"
    early = replace(sampled(tokenizer, "a", ids=ids), sampling=replace(asked, stop=("b",)))
    assert token_spans(vocabulary, early) is None, "the stop text ended before the last token"


def test_bytes_that_are_no_character(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """In the middle the engine writes a sign for them, at the end it leaves them out."""
    ids = of_bytes(vocabulary, b"a", b"\xf0", b"\x9f", b"b", b"\xe2")
    assert token_spans(vocabulary, sampled(tokenizer, "a\ufffdb\ufffd", ids=ids)) == (
        (0, 1),
        (1, 2),
        (1, 2),
        (2, 3),
        (3, 4),
    )
    assert token_spans(vocabulary, sampled(tokenizer, "a\ufffdb", ids=ids)) == ((0, 1), (1, 2), (1, 2), (2, 3), (3, 3))


def test_random_ids_are_written_as_the_tokenizer_writes_them(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    draw = random.Random(7)
    for _ in range(500):
        ids = [draw.randrange(len(vocabulary.pieces)) for _ in range(draw.randrange(1, 40))]
        text = tokenizer.decode(ids, skip_special_tokens=True)
        assert vocabulary.text(ids) == text
        assert token_spans(vocabulary, sampled(tokenizer, text, ids=ids)) is not None


def test_time_is_linear(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """Ten times the tokens take about ten times as long, also where no byte is a character."""

    def seconds(count: int) -> float:
        ids = of_bytes(vocabulary, b"\xf0", b"\x9f", b"b", b"\xe2") * count
        made = sampled(tokenizer, "\ufffdb\ufffd" * count, ids=ids)
        started = time.process_time()
        assert token_spans(vocabulary, made) is not None
        return time.process_time() - started

    seconds(1000)
    assert seconds(20_000) < 40 * max(seconds(2_000), 0.005)


def test_other_tokenizers_are_refused(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"tokenizer\.json is no byte-level BPE"):
        read_vocabulary(tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["decoder"] = {"type": "Metaspace"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(BadData, match="does not decode by bytes"):
        read_vocabulary(tmp_path)
    content["model"]["vocab"]["▁the"] = 7
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(BadData, match="no byte-level BPE"):
        read_vocabulary(tmp_path)


def test_the_digest_is_that_of_the_spelling(folder: Path, vocabulary: Vocabulary, tmp_path: Path) -> None:
    assert read_vocabulary(folder).digest == vocabulary.digest
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"][-1]["content"] = "<toll>"
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert read_vocabulary(tmp_path).digest != vocabulary.digest
