"""What a prompt is told about a verdict."""

from __future__ import annotations

from agent.feedback import describe
from memory.records import Candidate, CaseResult, Fault, Outcome, Sampling, Verdict

CODE = "def f(a, b):\n    c = a - b\n    return a / c\n"


def candidate() -> Candidate:
    return Candidate(
        text=CODE, code=CODE, code_start=0, prompt_ids=(), completion_ids=(), logprobs=(), prompt_tokens=1,
        completion_tokens=1, finish_reason="stop", sampling=Sampling(model="m", temperature=0.0),
    )  # fmt: skip


def verdict(*variables: tuple[str, str], outcome: Outcome = Outcome.RUNTIME_ERROR) -> Verdict:
    fault = Fault(type="ZeroDivisionError", message="division by zero", line=3, variables=variables)
    case = CaseResult(name="assert f(1, 1) == 1", outcome=outcome, message=fault.message)
    return Verdict(id="v", outcome=outcome, passed=0, total=1, cases=(case,), error=fault)


def test_an_error_is_told_with_its_line_and_variables() -> None:
    assert describe(candidate(), verdict(("a", "1"), ("c", "0"))).splitlines()[-3:] == [
        "Error: ZeroDivisionError: division by zero",
        "At line 3: `return a / c`",
        "Variables there: a = 1, c = 0",
    ]


def test_many_or_no_variables() -> None:
    many = describe(candidate(), verdict(*[(f"v{number}", "x" * 120) for number in range(12)]))
    assert "v0 = x" in many and "v11" not in many
    assert len(many) < 1200
    assert "Variables" not in describe(candidate(), verdict())


def test_a_wrong_result_is_told_without_them() -> None:
    assert "Variables" not in describe(candidate(), verdict(("a", "1"), outcome=Outcome.FAILED_TEST))
