"""Quality by the real tools. Programs are text here: none is executed."""

from __future__ import annotations

import asyncio
import textwrap
import time
from pathlib import Path

import pytest

from agent.review.quality import MAX_CHARS, quality, review
from memory.records import Problem, Quality

PLAIN = Problem(id="p", statement="Write a program.")
CLEAN = "def double(number):\n    return 2 * number\n"


def branches(count: int, name: str = "f") -> str:
    return (
        f"def {name}(x):\n" + "".join(f"    if x == {i}:\n        x += {i}\n" for i in range(count)) + "    return x\n"
    )


async def test_a_clean_program() -> None:
    found = await review(PLAIN, CLEAN)
    assert found.quality == Quality(style=1.0, complexity=1.0, instructions=None)
    assert found.findings == ()


async def test_findings_per_statement() -> None:
    found = await review(PLAIN, "import os\n\ndef f(x):\n    '''Doc.'''\n    y = 1\n    return x\n")
    assert found.quality.style == pytest.approx(1 - 2 / 4)
    assert [(one.kind, one.line, one.text.split()[0]) for one in found.findings] == [
        ("style", 1, "F401"),
        ("style", 5, "F841"),
    ]


@pytest.mark.parametrize(
    "code",
    [
        "",
        "\n\n",
        "'''only a text'''",
        "# nothing",
        "def f(:\n",
        "def f():\nreturn",
        "print 'x'",
        "x = '\ud800'",
        "a\0b",
    ],
    ids=ascii,
)
async def test_no_program_is_not_judged(code: str) -> None:
    assert await quality(PLAIN, code) == Quality()


async def test_another_language_is_not_judged() -> None:
    assert await quality(Problem(id="p", statement="", language="cpp"), CLEAN) == Quality()


async def test_huge_programs_are_not_judged() -> None:
    started = time.monotonic()
    assert await quality(PLAIN, "x = 1\n" * 50_000) == Quality()
    assert time.monotonic() - started < 0.5
    assert await quality(PLAIN, "x = 1\n" * (MAX_CHARS // 6)) != Quality()


async def test_deep_nesting_harms_nobody() -> None:
    for code in ("x = " + "(" * 5000 + ")" * 5000, "x = " + "+".join(["a"] * 15_000), "x = " + "-" * 30_000 + "1"):
        found = await quality(PLAIN, code)
        assert found.instructions is None
        assert found.complexity in (None, 1.0)


@pytest.mark.parametrize(
    "code",
    [
        "import os  # noqa\nx = 1\n",
        "# ruff: noqa\nimport os\nx = 1\n",
        "# flake8: noqa\nimport os\nx = 1\n",
        "import os  # noqa: F401\nx = 1\n",
        "# ruff: disable[F401]\nimport os\nx = 1\n# ruff: enable[F401]\n",
    ],
)
async def test_a_program_cannot_silence_the_judge(code: str) -> None:
    assert (await quality(PLAIN, code)).style == 0.5


async def test_lines_of_the_statement_are_not_the_programs_fault() -> None:
    given = Problem(
        id="p", statement="```python\nfrom typing import List\ndef f(l, list):\n    ...\n```", entry_point="f"
    )
    code = "from typing import List\ndef f(l, list):\n    return l\n"
    assert (await quality(given, code)).style == 1.0
    assert (await quality(PLAIN, code)).style == 0.0


async def test_names_that_a_prelude_supplies_are_no_finding() -> None:
    assert (await quality(PLAIN, "def f(x: List[int]) -> int:\n    return math.prod(x)\n")).style == 1.0


async def test_layout_at_the_end_is_no_finding() -> None:
    for code in (CLEAN.rstrip(), CLEAN + "\n\n\n", CLEAN.replace("\n", "\r\n")):
        assert (await quality(PLAIN, code)).style == 1.0


@pytest.mark.parametrize(("count", "share"), [(0, 1.0), (4, 1.0), (9, 31 / 36), (22, 0.5), (40, 0.0), (80, 0.0)])
async def test_complexity_of_the_worst_function(count: int, share: float) -> None:
    found = await review(PLAIN, CLEAN + branches(count))
    assert found.quality.complexity == pytest.approx(share)
    assert [one.line for one in found.findings if one.kind == "complexity"] == ([] if share == 1 else [3])


@pytest.mark.parametrize(
    "shape",
    [
        "{}",
        "async {}",
        "@cache\n{}",
        "class A:\n{:4}",
        "class A:\n    class B:\n{:8}",
        "def outer():\n{:4}\n    return f\n",
        "def outer():\n    class A:\n{:8}\n    return A\n",
        "if True:\n{:4}",
    ],
)
async def test_functions_are_found_wherever_they_stand(shape: str) -> None:
    head, _, rest = shape.partition("{")
    indent, _, tail = rest.partition("}")
    body = textwrap.indent(branches(22), " " * int(indent[1:] or 0))
    found = await review(PLAIN, head + body + tail)
    assert found.quality.complexity == pytest.approx(0.5)
    assert "`f` has a cyclomatic complexity of 23" in [one.text for one in found.findings]


async def test_code_outside_of_functions_counts() -> None:
    code = "x = int(input())\n" + "".join(f"if x == {i}:\n    print(x)\n" for i in range(22))
    assert (await quality(PLAIN, code)).complexity == pytest.approx(0.5)


async def test_branches_squeezed_into_an_expression_count() -> None:
    code = "def f(x):\n    return " + " and ".join(f"x != {i}" for i in range(23)) + "\n"
    assert (await quality(PLAIN, code)).complexity == pytest.approx(0.5)


async def test_complexity_against_the_reference() -> None:
    problem = Problem(id="p", statement="", reference=branches(3))
    assert (await quality(problem, branches(3))).complexity == 1.0
    assert (await quality(problem, branches(1))).complexity == 1.0
    assert (await quality(problem, branches(7))).complexity == 0.5
    halves = branches(4, "f") + branches(3, "g")
    assert (await quality(problem, halves)).complexity == 0.5
    broken = Problem(id="p", statement="", reference="def f(:")
    assert (await quality(broken, branches(7))).complexity == pytest.approx(33 / 36)


async def test_instructions() -> None:
    problem = Problem(
        id="p",
        statement="Do not use sorted().\n```python\ndef f(items):\n    ...\n```",
        entry_point="f",
    )
    found = await review(problem, "def f(items):\n    return sorted(items)\n")
    assert found.quality.instructions == 0.5
    assert [one.text for one in found.findings] == ["not kept: do not use sorted"]


async def test_non_ascii_programs() -> None:
    found = await review(PLAIN, "def größe(wört):\n    # 漢字 😀\n    ungenutzt = '😀'\n    return wört\n")
    assert found.quality.style == pytest.approx(1 - 1 / 3)
    assert "ungenutzt" in found.findings[0].text


async def test_at_most_a_few_findings_of_style() -> None:
    found = await review(PLAIN, "a = 1; b = 2\n" * 100)
    assert found.quality.style == 0.5
    assert len(found.findings) == 8


def tool(folder: Path, script: str) -> Path:
    path = folder / "ruff"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("script", ["exit 2", "kill -9 $$", "echo program.py:1:1: invalid-syntax: no"])
async def test_a_tool_that_is_absent_or_fails_is_no_bad_mark(tmp_path: Path, script: str) -> None:
    for ruff in (tmp_path / "none", tool(tmp_path, script)):
        assert (await review(PLAIN, CLEAN, ruff=ruff)).quality == Quality(style=None, complexity=1.0)


async def test_a_slow_tool_blocks_nobody_and_is_given_up(tmp_path: Path) -> None:
    judged = asyncio.create_task(review(PLAIN, CLEAN, ruff=tool(tmp_path, "exec sleep 60")))
    ticks = 0
    while not judged.done():
        await asyncio.sleep(0.1)
        ticks += 1
    assert (await judged).quality == Quality(style=None, complexity=1.0)
    assert 10 < ticks < 150


async def test_configuration_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ruff.toml").write_text('lint.select = ["D"]\nline-length = 1\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUFF_OUTPUT_FILE", str(tmp_path / "out"))
    monkeypatch.setenv("RUFF_CONFIG", str(tmp_path / "ruff.toml"))
    assert (await quality(PLAIN, CLEAN)).style == 1.0
