"""How much of a reference is given."""

from __future__ import annotations

import json

from memory.records import Problem
from training.curriculum import Curriculum, CurriculumSettings, Progress, cuts

FIVE = """def f(values):
    for value in values:
        if value > 2:
            return 1
        elif value < 0:
            return 2
    while values:
        values.pop()
    if values: return 3
    return 0
"""
PROBLEM = Problem(id="p", statement="s", reference=FIVE)


def test_stages_go_from_the_last_conditional_to_the_beginning() -> None:
    # E = 5 at lines 2, 3, 5, 7, 9; S = 3: c_5, c_(5 - 1), c_(5 - 3), 0
    given = [FIVE[:cut].count("\n") + 1 for cut in cuts(FIVE)]
    assert given == [9, 7, 3, 1]
    assert all(cut == 0 or FIVE[cut - 1] == "\n" for cut in cuts(FIVE))
    assert FIVE[cuts(FIVE)[0] :].startswith("    if values")  # the policy indents


def test_without_conditionals_or_syntax_nothing_is_given() -> None:
    assert cuts("def f():\n    return 1 if 2 else 3\n") == (0,)
    assert cuts("def f(:") == (0,)
    assert Curriculum(CurriculumSettings()).prefix(Problem(id="q", statement="s")) == ""


def test_half_of_the_window_advances() -> None:
    course = Curriculum(CurriculumSettings())
    assert course.prefix(PROBLEM) == "```python\n" + FIVE[: cuts(FIVE)[0]]
    for number in range(15):
        course.record(PROBLEM, 0, number < 8)
    assert course.progress("p").stage == 0
    course.record(PROBLEM, 0, False)
    assert course.progress("p") == Progress(stage=1)
    course.record(PROBLEM, 0, True)  # late
    assert course.progress("p") == Progress(stage=1)
    for stage in (1, 2):
        for _ in range(16):
            course.record(PROBLEM, stage, True)
    assert course.prefix(PROBLEM) == ""
    for _ in range(200):
        course.record(PROBLEM, 3, True)
    assert course.progress("p").stage == 3


def test_after_128_attempts_a_problem_rests_for_a_round() -> None:
    course = Curriculum(CurriculumSettings())
    for _ in range(127):
        course.record(PROBLEM, 0, False)
    assert not course.progress("p").parked
    course.record(PROBLEM, 0, False)
    assert course.progress("p").parked
    course.next_round()
    assert course.progress("p") == Progress()


def test_the_state_survives_json() -> None:
    course, other = Curriculum(CurriculumSettings()), Curriculum(CurriculumSettings())
    for number in range(20):
        course.record(PROBLEM, 0, number % 3 == 0)
    other.restore(json.loads(json.dumps(course.state())))
    for number in range(30):
        for one in (course, other):
            one.record(PROBLEM, 0, number % 2 == 0)
        assert course.state() == other.state()
    assert other.progress("p").stage == 1
