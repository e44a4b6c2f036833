"""Headings of examples (`Input:`, `-----Sample Output-----`, `**Explanation:**`) and the text under each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto


class Label(Enum):
    """What a heading announces."""

    INPUT = auto()
    OUTPUT = auto()
    EXAMPLE = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Labelled:
    """A heading and what stands under it, up to the next heading."""

    label: Label
    body: str
    is_sample: bool
    """The heading itself says `Sample` or `Example`."""
    is_line: bool
    """The heading has its line for itself."""
    numbered: str = ""
    """Its number, if it has one."""


_INPUT = r"(?:std)?inputs?|stdin|entradas?|entrée|eingabe|ввод|вход|входные\s+данные|输入|入力|입력"
_OUTPUT = (
    r"(?:std|expected\s+)?outputs?|stdout|expected|returns?|salidas?|saídas?|sortie|ausgabe|вывод|выход|выходные\s+данные|"
    r"输出|出力|출력"
)
_SAMPLE = r"samples?|examples?|ejemplos?|exemplos?|exemples?|beispiele?|пример|примеры|样例|入力例|出力例|测试用例"
_OTHER = (
    r"notes?|explanations?|constraints?|hints?|follow[ -]?up|limits?|scoring|variables|subtasks?|remarks?|problem|task|"
    r"input\s+(?:format|specification)|output\s+(?:format|specification)|"
    r"explicación|explicação|примечани[ея]|ограничения|пояснение|说明|提示|数据范围"
)
_GAP = r"[ \t]*+"
_MARKUP = r"(?:(?P=bold))?(?:</\w{1,10}>)?"
"""Closes what stands before the word: never a character more, which may belong to the value."""
_HEADING = re.compile(
    rf"^(?P<open>{_GAP}(?:[-#=>\[][-#=>\[ \t]*+)?(?:\*[ \t]++)?(?:\d{{1,3}}[.)]{_GAP})?"
    rf"(?:<\w{{1,10}}>)?(?P<bold>[*_`]{{0,3}}))"
    rf"(?:(?P<other>{_OTHER})"
    rf"|(?:(?P<adjective>{_SAMPLE}){_GAP}\#?\d{{0,4}}{_GAP}(?:case)?[:]?{_GAP}[-\u2013]?{_GAP})?"
    rf"(?:(?P<input>{_INPUT})|(?P<output>{_OUTPUT}))(?:copy)?"
    rf"|(?P<example>{_SAMPLE}|test{_GAP}(?:cases?|(?=\#?\d))))"
    rf"(?P<number>{_GAP}\#?\d{{0,4}})(?:{_GAP}\([^()\n]{{0,40}}\))?{_MARKUP}{_GAP}"
    rf"(?P<colon>[:\uff1a]?){_MARKUP}{_GAP}(?P<close>[-#=*_\]]{{1,12}}(?=[ \t]*$))?{_GAP}",
    re.MULTILINE | re.IGNORECASE,
)
_WEAK = re.compile(r"returns?|expected|problem|task|variables|limits?|hints?|remarks?", re.IGNORECASE)
"""Words that are headings only with a colon or a mark around them."""
_MAX_HEADINGS = 1000
_INLINE_OUTPUT = re.compile(
    r"(?<=\S)[ \t,;|]{1,20}(?:(?:expected[ \t]+)?output|returns?)[ \t]*(?::|=)[ \t]*", re.IGNORECASE
)


def labelled(text: str) -> Iterator[Labelled]:
    """Every heading of the text in order. A heading stands on a line of its own or ends with a colon."""
    heading: Labelled | None = None
    body_start = 0
    for match in _HEADING.finditer(text):
        line_end = text.find("\n", match.end())
        is_line = not text[match.end() : line_end if line_end >= 0 else len(text)].strip()
        if not match["colon"] and not (is_line and _stands_alone(match)):
            continue
        if heading is not None:
            yield from _closed(heading, text[body_start : match.start()])
        is_sample = match["adjective"] is not None
        heading = Labelled(_label(match), "", is_sample, is_line, match["number"].strip(" \t#"))
        body_start = match.end()
    if heading is not None:
        yield from _closed(heading, text[body_start:])


def pairs(text: str) -> Iterator[tuple[Labelled, Labelled, bool]]:
    """Each input with the output right after it, and whether a heading `Example` stands before them.

    Where both are numbered the numbers must be equal.
    """
    given: Labelled | None = None
    among_examples = False
    for number, part in enumerate(labelled(text)):
        if number == _MAX_HEADINGS:
            return
        among_examples |= part.label is Label.EXAMPLE or part.is_sample
        if part.label is Label.OUTPUT and given is not None and given.numbered == part.numbered:
            yield given, part, among_examples
        given = part if part.label is Label.INPUT else None


def _stands_alone(match: re.Match[str]) -> bool:
    """Whether a word without a colon is a heading: not if it may be a word of the text or of a sample."""
    is_marked = bool(match["open"].strip() or match["close"])
    word = match[0].strip(" \t-#=*_>[]`")
    return is_marked or not _WEAK.fullmatch(word.rstrip(" 0123456789#"))


def _label(match: re.Match[str]) -> Label:
    if match["other"]:
        return Label.OTHER
    if match["input"]:
        return Label.INPUT
    return Label.OUTPUT if match["output"] else Label.EXAMPLE


def _closed(heading: Labelled, body: str) -> Iterator[Labelled]:
    """The heading with its body; an output on the line of its input is a heading of its own."""
    split = _INLINE_OUTPUT.search(body) if heading.label is Label.INPUT and not heading.is_line else None
    if split is None:
        yield replace(heading, body=body)
        return
    yield replace(heading, body=body[: split.start()])
    yield replace(heading, label=Label.OUTPUT, body=body[split.end() :])
