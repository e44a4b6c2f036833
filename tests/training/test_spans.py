"""Blame and executed code, worked out by hand; and that the real sandbox's verdicts are read as they are meant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.records import Candidate, CodeTest, Fault, Outcome, Span, Verdict
from tests.fakes import candidate
from training.spans import MAX_SOURCE, Blame, blame, masks, unexecuted
from training.tokens import CharSpan

CRASH = Outcome.RUNTIME_ERROR
BROKEN = Outcome.COMPILE_ERROR


def ended(
    outcome: Outcome,
    kind: str = "",
    line: int | None = None,
    span: Span | None = None,
    *,
    traceback: bool = True,
    executed: Sequence[Span] = (),
) -> Verdict:
    fault = Fault(type=kind, message="", line=line, span=span, traceback="frames" if traceback and line else "")
    return Verdict(id="", outcome=outcome, passed=0, total=1, error=fault if kind else None, executed=tuple(executed))


def text(code: str, blamed: Blame) -> list[str]:
    assert not isinstance(blamed, str), blamed
    return [code[first:last] for first, last in blamed]


# One test for each row of the table.


def test_1_an_answer_cut_off_that_does_not_compile_is_blamed_whole() -> None:
    code = "def f(x):\n    y = = 1\n    return x"
    broken = ended(BROKEN, "SyntaxError", 2, (2, 8, 2, 9))
    assert blame(code, broken, "length") == "whole"
    assert blame(code, broken, "stop") == ((14, 21),)
    assert blame("x = 1\n", ended(CRASH, "NameError", 1, (1, 0, 1, 5)), "length") == ((0, 5),), "it compiles"
    assert blame("def f(x):\n\ty\n        z\n", ended(BROKEN, "TabError", 3, (3, 0, 3, 1)), "length") == "whole"


@pytest.mark.parametrize(
    ("code", "kind", "line"),
    [
        ("x = 1\ndef f(x):\n    return (x +", "SyntaxError", 3),
        ("x = 1\ndef f(x):\n    '''never closed\n    return x\n", "SyntaxError", 3),
        ("x = 1\ndef f(x):\n", "IndentationError", 2),
        ("x = [\n    1,\n    2,\n", "SyntaxError", 1),
    ],
)
def test_2_a_missing_end_is_blamed_on_the_whole(code: str, kind: str, line: int) -> None:
    assert blame(code, ended(BROKEN, kind, line, (line, 0, line, 1))) == "whole"


def test_3_mixed_tabs_are_ignored() -> None:
    code = "def f(x):\n    y = 1\n\tz = 2\n    return 1\n"
    assert blame(code, ended(BROKEN, "TabError", 3, (3, 0, 3, 1))) == "ignore"


def test_4_a_wrong_indent_is_blamed_with_its_blanks() -> None:
    code = "def f(x):\n    y = 1\n        z = 2\n    return 1\n"
    blamed = blame(code, ended(BROKEN, "IndentationError", 3, (3, 7, 3, 8)))
    assert blamed == ((20, 33),) and text(code, blamed) == ["        z = 2"]
    last = "def f(x):\n    if x:\n        return 1\n   return 2"
    blamed = blame(last, ended(BROKEN, "IndentationError", 4, (4, 11, 4, 12)))
    assert text(last, blamed) == ["   return 2"], "the last line is no reason to blame the whole program"


def test_5_what_the_parser_meets_on_the_last_line_of_code_is_blamed_on_the_whole() -> None:
    code = "def f(x):\n    y = 1\n    return x +* 1\n\n# the end\n"
    assert blame(code, ended(BROKEN, "SyntaxError", 3, (3, 14, 3, 15))) == "whole"


def test_6_what_the_parser_meets_before_is_blamed_on_its_lines() -> None:
    code = "def f(x):\n    y = (1 +\n        * 2\n       ) + '\n    return x\n"
    blamed = blame(code, ended(BROKEN, "SyntaxError", 3, (3, 8, 4, 12)))
    assert text(code, blamed) == ["* 2", ") + '"], "without the leading blanks"
    assert blamed == ((31, 34), (42, 47))


@pytest.mark.parametrize(
    ("code", "line", "blamed"),
    [
        ("def f(x):\n    nonlocal y\n    return x\n", 2, "nonlocal y"),
        ("def f(x, x):\n    return x\n", 1, "def f(x, x):"),
        ("def f(x):\n    from math import *\n    return x\n", 2, "from math import *"),
        ("def f(x):\n    y = 1\n    global y\n", 3, "global y"),
        ("x = 1\nreturn x\n", 2, "return x"),
        ("for x in y:\n    pass\nbreak", 3, "break"),
        ("def f(x):\n    await x", 2, "await x"),
    ],
)
def test_7_what_parses_and_does_not_compile_is_blamed_on_its_lines(code: str, line: int, blamed: str) -> None:
    """Also where it is the last one."""
    found = blame(code, ended(BROKEN, "SyntaxError", line, (line, 0, line, 1)))
    assert text(code, found) == [blamed]
    assert found == ((code.index(blamed), code.index(blamed) + len(blamed)),)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("def f(x):\n    return x\0\n", "SyntaxError"),
        ("def f(x):\n    return x\0\n", "ValueError"),
        ("def f(x):\n    return '\ud800'\n", "UnicodeEncodeError"),
        ("x = " + "-" * 20_000 + "1\n", "MemoryError"),
        ("x = " + "+".join(["1"] * 20_000) + "\n", "RecursionError"),
    ],
)
def test_8_without_a_position_the_whole_program_is_blamed(code: str, kind: str) -> None:
    assert blame(code, ended(BROKEN, kind)) == "whole"


def test_9_no_program_or_another_one_is_blamed_on_the_whole_answer() -> None:
    assert blame("", ended(BROKEN, "no_code")) == "answer"
    missing = ended(CRASH, "NameError")
    assert blame("def g(x):\n    return x\n", missing, entry_point="f") == "answer"
    assert blame("class Answer:\n    def f(self): pass\n", missing, entry_point="Solution().f") == "answer"
    for there in ("def f(x):\n    return x\n", "f = g = max", "if x:\n    from m import f\n", "from m import *\n"):
        assert blame(there, missing, entry_point="f") == "ignore", "the tests miss another name"
    inside = ended(CRASH, "NameError", 2, (2, 4, 2, 12))
    assert blame("def g(x):\n    return x\n", inside, entry_point="f") == ((14, 22),)


@pytest.mark.parametrize(
    "verdict",
    [
        ended(Outcome.TIMEOUT, "timeout", 3, traceback=False),
        ended(Outcome.MEMORY_LIMIT, "MemoryError", 2, (2, 4, 2, 9)),
        ended(Outcome.OUTPUT_LIMIT, "output_limit"),
        ended(CRASH, "RecursionError", 2, (2, 4, 2, 15)),
    ],
)
def test_10_what_does_not_end_is_blamed_on_the_whole(verdict: Verdict) -> None:
    assert blame("def f(x):\n    while f(x):\n        pass\n", verdict) == "whole"


@pytest.mark.parametrize(
    "verdict",
    [
        ended(CRASH, "RuntimeError", 2, (2, 4, 2, 15)),
        ended(CRASH, "SIGSEGV", 2, traceback=False),
        ended(CRASH, "SystemExit", 2, traceback=False),
        ended(CRASH, "TypeError"),
    ],
)
def test_11_what_says_nothing_is_ignored(verdict: Verdict) -> None:
    """The last one is raised by the tests' own call, with no frame of the program."""
    assert blame("def f(x):\n    g()\n    return x\n", verdict) == "ignore"


def test_12_an_exception_is_blamed_on_the_statement_of_its_innermost_frame() -> None:
    code = "def f(x):\n    y = 1\n    return (x +\n        undefined)\n"
    blamed = blame(code, ended(CRASH, "NameError", 4, (3, 4, 4, 18)))
    assert text(code, blamed) == ["return (x +", "undefined)"] and blamed == ((24, 35), (44, 54))
    header = "def f(x):\n    if x[0]:\n        return 1\n"
    assert text(header, blame(header, ended(CRASH, "TypeError", 2, (2, 4, 2, 11)))) == ["if x[0]"]
    assert text(header, blame(header, ended(CRASH, "NotImplementedError", 3, (3, 8, 3, 16)))) == ["return 1"]
    assert text(header, blame(header, ended(CRASH, "SystemExit", 3, (3, 8, 3, 16)))) == ["return 1"]
    assert text(header, blame(header, ended(CRASH, "KeyError", 3))) == ["return 1"], "only the line is known"
    accents = "é = 'é'; ü = é[9]\r\nx = 1\r\n"
    assert text(accents, blame(accents, ended(CRASH, "IndexError", 1, (1, 9, 1, 17)))) == ["ü = é[9]"]


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.FAILED_TEST, Outcome.SANDBOX_ERROR])
def test_13_wrong_results_are_blamed_on_nothing(outcome: Outcome) -> None:
    assert blame("def f(x):\n    return x\n", ended(outcome, "AssertionError", 1, (1, 0, 1, 5))) == ()


def test_a_program_too_long_to_parse_is_blamed_whole_at_once() -> None:
    code = "x = 1\n" * (MAX_SOURCE // 6 + 1) + "y = = 2\n"
    started = time.process_time()
    assert blame(code, ended(BROKEN, "SyntaxError", 1, (1, 0, 1, 1))) == "whole"
    assert unexecuted(code, [(1, 0, 1, 5)]) == ()
    assert time.process_time() - started < 0.1


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="def f(x):\n\t if=1'\"[]#é\r\0\\", max_size=60),
    st.sampled_from([BROKEN, CRASH]),
    st.sampled_from(["SyntaxError", "IndentationError", "TabError", "NameError", "ValueError"]),
    st.integers(1, 9),
    st.integers(0, 30),
)
def test_no_source_and_no_place_makes_it_fail(code: str, outcome: Outcome, kind: str, line: int, column: int) -> None:
    verdict = ended(outcome, kind, line, (line, column, line + 1, column))
    found = blame(code, verdict, entry_point="f")
    if not isinstance(found, str):
        assert all(0 <= first < last <= len(code) for first, last in found)
    idle = unexecuted(code, [(line, column, line, column + 1), (1, 0, 1, 1)])
    assert all(0 <= first < last <= len(code) for first, last in idle)
    assert all(one[1] < other[0] for one, other in pairwise(idle))


# Executed code.


def ran(code: str, *lines: str) -> list[Span]:
    """Spans of the statements that begin like this, as the sandbox tells them."""
    spans = []
    for line in lines:
        number, own = next((n, own) for n, own in enumerate(code.split("\n"), 1) if own.strip().startswith(line))
        column = own.index(line)
        spans.append((number, column, number, len(own)))
    return spans


def idle_lines(code: str, executed: Sequence[Span]) -> list[str]:
    """What did not run, line by line."""
    return [line.strip() for first, last in unexecuted(code, executed) for line in code[first:last].split("\n") if line]


BRANCHES = dedent("""\
    import math

    def f(x):
        '''Says what it does.'''
        # why
        if x > 1:
            # the large ones
            return math.inf
            # never reached
        elif x == 1:
            y = 2
        else:
            y = (3 +
                 4)
        # at the end
        return y
""")


def test_the_branch_that_did_not_run_is_idle_with_its_comments_and_keywords() -> None:
    executed = ran(BRANCHES, "import", "def", "if x", "elif", "y = (3", "return y")
    assert idle_lines(BRANCHES, executed) == [
        "# the large ones",
        "return math.inf",
        "# never reached",
        "y = 2",
    ]
    other = ran(BRANCHES, "import", "def", "if x", "elif", "y = 2", "return y")
    assert idle_lines(BRANCHES, other)[3:] == ["else:", "y = (3 +", "4)"]


def test_the_places_are_those_of_the_lines() -> None:
    code = "def f(x):\n    if x:\n        return 1\n    return 2\n"
    executed = [(1, 0, 1, 8), (2, 4, 2, 8), (4, 4, 4, 12)]
    assert unexecuted(code, executed) == ((20, 37),) and code[20:37] == "        return 1\n"
    assert unexecuted(code, [*executed, (3, 8, 3, 16)]) == ()


def test_a_function_that_was_never_called_keeps_its_header() -> None:
    code = "def g():\n    # nothing\n    '''Doc.'''\n    global q\n    return 1\n\n\n"
    code += "@cache\n# said\ndef f(x):\n    '''Doc.'''\n"
    assert idle_lines(code, [(1, 0, 1, 7)]) == [
        "# nothing",
        "'''Doc.'''",
        "global q",
        "return 1",
        "@cache",
        "# said",
        "def f(x):",
        "'''Doc.'''",
    ]
    assert idle_lines(code, [(1, 0, 1, 7), (10, 0, 10, 8)]) == ["# nothing", "'''Doc.'''", "global q", "return 1"]


def test_keywords_go_with_what_they_lead_to() -> None:
    code = dedent("""\
        try:
            a()
        except KeyError:
            b()
        else:
            c()
        finally:
            d()
        match e:
            # first
            case 1:
                g()
            case _:
                h()
        while i: j()
        else: k()
    """)
    executed = ran(code, "a()", "d()", "match", "h()", "while")
    assert idle_lines(code, executed) == [
        "except KeyError:",
        "b()",
        "else:",
        "c()",
        "# first",
        "case 1:",
        "g()",
        "j()",
        "else: k()",
    ]


def test_statements_on_one_line_are_told_apart() -> None:
    code = "if x: y = 1; z = 2\n"
    assert [code[a:b] for a, b in unexecuted(code, [(1, 0, 1, 4)])] == ["y = 1; z = 2\n"]
    assert [code[a:b] for a, b in unexecuted(code, [(1, 0, 1, 4), (1, 6, 1, 11)])] == ["z = 2\n"]


def test_where_nothing_ran_or_nothing_is_known_everything_counts() -> None:
    assert unexecuted(BRANCHES, []) == () and unexecuted("def f(:\n", [(1, 0, 1, 3)]) == ()


# Tokens.


def letters(made: Candidate) -> list[CharSpan]:
    """Every character a token, and one for the end."""
    return [*((place, place + 1) for place in range(len(made.text))), (len(made.text), len(made.text))]


def shown(made: Candidate, mask: Sequence[bool]) -> str:
    return "".join(letter if one else "." for letter, one in zip(made.text, mask, strict=False))


ANSWER = "Hi\n```python\ndef f(x):\n    if x:\n        return a\n    return 2\n```\nBye"


def test_masks_lie_where_the_program_is() -> None:
    made = candidate(ANSWER)
    verdict = ended(CRASH, "NameError", 3, (3, 8, 3, 16), executed=[(1, 0, 1, 8), (2, 4, 2, 8), (3, 8, 3, 16)])
    found = masks(made, verdict, letters(made))
    assert shown(made, found.program).strip(".") == made.code and sum(found.program) == len(made.code) == 50
    assert shown(made, found.blamed).strip(".") == "return a"
    idle = [not one for one in found.executed]
    assert shown(made, idle).strip(".") == "    return 2\n" and found.executed[-1] and found.executed[0]
    whole = masks(made, ended(Outcome.TIMEOUT, "timeout"), letters(made))
    assert whole.blamed == whole.program and all(whole.executed)
    nothing = masks(made, ended(Outcome.FAILED_TEST, "AssertionError"), letters(made))
    assert not any(nothing.blamed)
    other = masks(made, ended(CRASH, "NameError"), letters(made), entry_point="g")
    assert all(other.blamed) and len(other.blamed) == len(ANSWER) + 1


def test_a_token_over_a_border_is_blamed_and_belongs_to_what_it_begins() -> None:
    """Tokens `a\\n` and `    return` reach over the end of a line and into the blanks before a statement."""
    made = candidate(ANSWER)
    start = ANSWER.index("return a")
    after = ANSWER.index("    return 2")
    spans = [(start - 8, start + 6), (start + 6, start + 9), (start + 7, start + 9), (after, after + 10), (0, 3)]
    verdict = ended(CRASH, "NameError", 3, (3, 8, 3, 16), executed=[(1, 0, 1, 8), (2, 4, 2, 8), (3, 8, 3, 16)])
    found = masks(made, verdict, spans)
    assert found.blamed == (True, True, True, False, False)
    assert found.executed == (True, True, True, False, True)
    assert found.program == (True, True, True, True, False)
    fence = ANSWER.index("```\nBye")
    border = masks(made, verdict, [(fence - 1, fence + 3), (fence, fence + 3)])
    assert border.program == (True, False) and border.executed == (False, True)


def test_a_beginning_that_was_given_shifts_nothing() -> None:
    made = replace(candidate(ANSWER), prefix=ANSWER[:16])
    spans = letters(made)[16:]
    found = masks(made, ended(CRASH, "NameError", 2, (2, 4, 2, 8)), spans)
    assert [span for span, one in zip(spans, found.blamed, strict=True) if one] == [
        (27, 28),
        (28, 29),
        (29, 30),
        (30, 31),
    ]
    assert ANSWER[27:31] == "if x"


def test_no_program_is_blamed_as_an_answer() -> None:
    made = candidate("I cannot.")
    found = masks(made, ended(BROKEN, "no_code"), letters(made))
    assert all(found.blamed) and not any(found.program) and all(found.executed)


# The real sandbox.

PROGRAMS: dict[str, tuple[str, Any]] = {
    "open bracket": ("def f(x):\n    return (x + 1", "whole"),
    "tabs": ("def f(x):\n    y = 1\n\tz = 2\n    return 1\n", "ignore"),
    "indent": ("def f(x):\n    y = 1\n        z = 2\n    return 1\n", ["        z = 2"]),
    "last line": ("def f(x):\n    return x +* 1\n", "whole"),
    "other line": ("def f(x):\n    y = = 1\n    return x\n", ["y = = 1"]),
    "scope": ("def f(x):\n    nonlocal y\n    return x\n", ["nonlocal y"]),
    "null": ("def f(x):\n    return x\0\n", "whole"),
    "deep": ("def f(x):\n    return " + "-" * 20_000 + "1\n", "whole"),
    "missing": ("def g(x):\n    return x\n", "answer"),
    "endless": ("def f(x):\n    return f(x)\n", "whole"),
    "memory": ("def f(x):\n    return len(bytearray(10**10))\n", "whole"),
    "runtime": ("def f(x):\n    raise RuntimeError('a')\n", "ignore"),
    "left": ("import os\ndef f(x):\n    os._exit(3)\n", "ignore"),
    "exit": ("import sys\ndef f(x):\n    sys.exit(3)\n", ["sys.exit(3)"]),
    "name": ("def f(x):\n    return (x +\n        undefined)\n", ["return (x +", "undefined)"]),
    "inner": ("def g(x):\n    return x[3]\ndef f(x):\n    return g(x)\n", ["return x[3]"]),
    "own assertion": ("def f(x):\n    assert x > 3\n    return x\n", ["assert x > 3"]),
    "load": ("import nothing\ndef f(x):\n    return x\n", ["import nothing"]),
    "arguments": ("def f():\n    return 1\n", "ignore"),
    "wrong": ("def f(x):\n    return x\n", []),
    "right": ("def f(x):\n    return x + 1\n", []),
}


async def test_verdicts_of_the_sandbox_are_read_as_they_are_meant() -> None:
    tests = (CodeTest(source="def check(c):\n    assert c(1) == 2\n", runner="check"),)
    async with await WorkerPool.start(SandboxSettings(workers=1)) as sandbox:
        runs = [sandbox.run(code, tests, entry_point="f") for code, _ in PROGRAMS.values()]
        verdicts = await asyncio.gather(*runs)
        branches = await sandbox.run(
            BRANCHES, (CodeTest(source="def check(c):\n    assert c(0) == 7\n", runner="check"),), entry_point="f"
        )
    for (name, (code, expected)), verdict in zip(PROGRAMS.items(), verdicts, strict=True):
        found = blame(code, verdict, entry_point="f")
        assert (found if isinstance(found, str) else text(code, found)) == expected, (name, verdict)
    assert branches.outcome is Outcome.PASSED
    assert idle_lines(BRANCHES, branches.executed) == [
        "# the large ones",
        "return math.inf",
        "# never reached",
        "y = 2",
    ]
