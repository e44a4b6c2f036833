"""The prompts, word for word."""

from __future__ import annotations

from agent import prompts
from memory.records import Attempt, CaseResult, Fault, Outcome, Problem, Verdict
from tests.fakes import candidate, program


def attempt(verdict: Verdict) -> Attempt:
    made = candidate(program("def f(x):\n    return x[0]"))
    return Attempt(candidate=made, verdict=verdict, origin="first", round=0)


def repair_turn(verdict: Verdict) -> str:
    chat = ({"role": "user", "content": "Write f."},)
    prompt = prompts.repair(chat, attempt(verdict), verdict)
    assert prompt.prefix == "```python\n", "the answer is begun as code"
    messages = prompt.messages
    assert messages[0] == chat[0]
    assert messages[1]["content"] == "```python\ndef f(x):\n    return x[0]\n```"
    return messages[2]["content"].split("\n\n")[0]


def test_a_wrong_result() -> None:
    case = CaseResult(name="f([1]) == 2", outcome=Outcome.FAILED_TEST, expected="2", actual="1")
    good = CaseResult(name="f([3]) == 3", outcome=Outcome.PASSED)
    verdict = Verdict(id="", outcome=Outcome.FAILED_TEST, passed=1, total=2, cases=(good, case))
    assert repair_turn(verdict) == (
        "The program gives a wrong result.\nFailing test: f([1]) == 2\nExpected: 2\nGot: 1\n1 of 2 tests pass."
    )


def test_an_exception_with_its_line() -> None:
    case = CaseResult(name="f([]) is None", outcome=Outcome.RUNTIME_ERROR, expected="None", message="IndexError")
    fault = Fault(type="IndexError", message="list index out of range", line=2)
    verdict = Verdict(id="", outcome=Outcome.RUNTIME_ERROR, passed=0, total=1, cases=(case,), error=fault)
    assert repair_turn(verdict) == (
        "The program stops with an error.\nFailing test: f([]) is None\nExpected: None\nResult: IndexError\n"
        "Error: IndexError: list index out of range\nAt line 2: `return x[0]`"
    )


def test_long_values_are_cut_in_the_middle() -> None:
    case = CaseResult(name="f(x)", outcome=Outcome.FAILED_TEST, expected="1" * 5000, actual="2")
    verdict = Verdict(id="", outcome=Outcome.FAILED_TEST, passed=0, total=1, cases=(case,))
    assert len(repair_turn(verdict)) < 1000


def test_an_answer_is_begun_with_the_unfinished_code_of_the_statement() -> None:
    statement = 'Complete:\n```python\nimport math\n\ndef f(x):\n    """Root."""\n```'
    chat = ({"role": "user", "content": statement},)
    begun = prompts.begun(chat, Problem(id="p", statement=statement, entry_point="f"))
    assert begun.messages == chat
    assert begun.prefix == '```python\nimport math\n\ndef f(x):\n    """Root."""\n'
    assert prompts.begun(chat, Problem(id="p", statement="Write f.", entry_point="f")).prefix == "```python\n"
    assert prompts.continued(chat, "def f(x):\n").prefix == "```python\ndef f(x):\n"


def test_tests_are_asked_for_instead_of_the_program() -> None:
    chat = ({"role": "system", "content": "Be short."}, {"role": "user", "content": "Write f."})
    before, asked = prompts.tests(chat, "f", 5)
    assert before == chat[0]
    assert asked["content"].startswith("Write f.\n\nDo not write the program. Write 5 tests for `f`")
