"""The characters of an answer that each of its tokens stands for, from the ids that the engine reported.

Nothing is tokenised again: the bytes of the stored ids are put together and must spell the stored text. For byte-level
BPE (Qwen2.5, SmolLM2 and most others), whose tokens are byte strings that need not end where a character does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory.records import Candidate
from training.errors import BadData

CharSpan = tuple[int, int]
"""First character and the one after the last, from 0."""

_UNREADABLE = "\ufffd"
"""What engines write for bytes that are no character; those at the very end they leave out."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What each token of a model is spelled like."""

    pieces: Mapping[int, bytes]
    """UTF-8 bytes by id; empty for special tokens, which engines leave out of the text."""
    digest: str
    """SHA-256 of the pieces, hexadecimal: equal for equal vocabularies."""

    def text(self, ids: Sequence[int]) -> str:
        """The ids as the engine writes them; bytes that are no character are replaced."""
        return self.spell(ids).decode("utf-8", "replace")

    def spell(self, ids: Sequence[int]) -> bytes:
        """The ids' bytes, one after the other; ids that the vocabulary does not know have none."""
        return b"".join(self.pieces.get(number, b"") for number in ids)


def read_vocabulary(folder: Path) -> Vocabulary:
    """The vocabulary in `tokenizer.json` of a model folder. Raises BadData if it is no byte-level BPE."""
    file = folder / "tokenizer.json"
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
        vocabulary, added = content["model"]["vocab"], content.get("added_tokens") or []
        pieces = {number: _bytes(piece) for piece, number in vocabulary.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(
            f"{file} is no byte-level BPE tokenizer ({type(error).__name__}: {error}); training needs a model with "
            "one, such as Qwen2.5 or SmolLM2, and its folder as the engine serves it"
        ) from error
    if not _is_byte_level(content.get("decoder")):
        raise BadData(f"{file} does not decode by bytes (decoder ByteLevel); training needs a model that does")
    for token in added:
        pieces[token["id"]] = b"" if token["special"] else token["content"].encode()
    digest = hashlib.sha256()
    for number in sorted(pieces):
        digest.update(b"%d %d " % (number, len(pieces[number])) + pieces[number])
    return Vocabulary(pieces, digest.hexdigest())


def token_spans(vocabulary: Vocabulary, candidate: Candidate) -> tuple[CharSpan, ...] | None:
    """For each of `completion_ids` its characters in `candidate.text`; None if the ids do not spell the sampled text.

    A token with part of a character has the whole character. One that stands for nothing (special tokens, what a stop
    text cut off) has an empty span where it stands. Time is linear in the bytes.
    """
    start = len(candidate.prefix)
    sampled = candidate.text[start:]
    pieces = [vocabulary.pieces.get(number, b"") for number in candidate.completion_ids]
    spelled, lengths = _characters(b"".join(pieces))
    spans = _spans(pieces, lengths)
    if spelled != sampled and not _is_cut(spelled, sampled, spans, pieces, candidate):
        return None
    end = len(sampled)
    return tuple((start + min(first, end), start + min(last, end)) for first, last in spans)


def _is_cut(
    spelled: str, sampled: str, spans: Sequence[CharSpan], pieces: Sequence[bytes], candidate: Candidate
) -> bool:
    """Whether the engine left out the end of what the tokens spell, as it does after a stop text or within a character
    that was not finished."""
    if not spelled.startswith(sampled):
        return False
    rest = spelled[len(sampled) :]
    if not rest.strip(_UNREADABLE):
        return True
    last = max((span[0] for span, piece in zip(spans, pieces, strict=True) if piece), default=0)
    for stop in candidate.sampling.stop:
        kept = sampled.endswith(stop) and len(sampled) > last
        dropped = rest.startswith(stop) and len(sampled) + len(stop) > last
        if kept or dropped:
            return True
    return False


def _characters(data: bytes) -> tuple[str, list[int]]:
    """The text of some bytes, and how many of them each character takes. What is no character is replaced as engines
    do: once for each longest part that could have begun one."""
    view = memoryview(data)
    parts: list[str] = []
    lengths: list[int] = []
    place = 0
    while place < len(data):
        try:
            good, bad = str(view[place:], "utf-8"), 0
        except UnicodeDecodeError as error:
            good, bad = str(view[place : place + error.start], "utf-8"), error.end - error.start
        parts.append(good)
        lengths += [1] * len(good) if good.isascii() else [len(one.encode()) for one in good]
        place += sum(lengths[-len(good) :]) if good else 0
        if bad:
            parts.append(_UNREADABLE)
            lengths.append(bad)
            place += bad
    return "".join(parts), lengths


def _spans(pieces: Sequence[bytes], lengths: Sequence[int]) -> list[CharSpan]:
    """The characters that the bytes of each piece are part of."""
    owner = [index for index, length in enumerate(lengths) for _ in range(length)]
    spans: list[CharSpan] = []
    place = 0
    for piece in pieces:
        end = place + len(piece)
        if piece:
            spans.append((owner[place], owner[end - 1] + 1))
        else:
            here = owner[place] if place < len(owner) else len(lengths)
            spans.append((here, here))
        place = end
    return spans


def _is_byte_level(decoder: Any) -> bool:
    """Whether the decoder is ByteLevel alone; in a sequence the others would change the text."""
    return isinstance(decoder, dict) and (
        decoder.get("type") == "ByteLevel"
        or (decoder.get("type") == "Sequence" and [one.get("type") for one in decoder["decoders"]] == ["ByteLevel"])
    )


def _bytes(piece: str) -> bytes:
    """Raises KeyError for a character that stands for no byte."""
    return bytes(_BYTE_OF[one] for one in piece)


def _alphabet() -> dict[str, int]:
    """GPT-2's characters for bytes: printable ones stand for themselves, the others are moved behind U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(moved)}


_BYTE_OF = _alphabet()
