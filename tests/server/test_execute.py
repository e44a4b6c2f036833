"""What `POST /burnish/execute` answers on request, with a real sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from agent.sandbox.compare import COMPARATOR_VERSION
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from server.errors import ApiError
from server.schemas.completion import verdict_wire
from server.schemas.execute import parse_execute

CODE = "import random\ndef f(x):\n    y = x - 1\n    return random.random() > 0.5 if x else y / x\n"


async def execute(**body: Any) -> dict[str, Any]:
    asked = parse_execute({"code": CODE, **body})
    async with await WorkerPool.start(SandboxSettings(workers=1)) as pool:
        return verdict_wire(await asked.run(pool), details=asked.details)


async def test_without_details_the_shape_is_the_contract() -> None:
    verdict = await execute(tests="assert f(0) == 1\nassert f(1) is True")
    keys = "id outcome passed total cases error executed_lines stdout stderr seconds peak_mb"
    assert set(verdict) == set(keys.split())
    assert set(verdict["error"]) == {"type", "message", "line", "span", "traceback"}
    assert set(verdict["cases"][0]) <= {"name", "outcome", "expected", "actual", "message"}


async def test_details() -> None:
    verdict = await execute(tests="assert f(0) == 1\nassert f(1) is True", details=True)
    assert verdict["error"]["variables"] == {"y": "-1", "x": "0"}
    assert [case["executed_lines"] for case in verdict["cases"]] == [[3, 4], [3, 4]]
    assert all(0 < case["seconds"] < 1 for case in verdict["cases"])
    assert verdict["executed"] == [[1, 0, 1, 13], [2, 0, 2, 8], [3, 4, 3, 13], [4, 4, 4, 48]]
    assert verdict["comparator"] == COMPARATOR_VERSION


async def test_flaky_and_in_process_are_told() -> None:
    verdict = await execute(tests="assert f(1) is True", flaky_check=True)
    assert (verdict["outcome"], verdict["flaky"], verdict["passed"]) == ("failed_test", True, 0)
    steady = await execute(tests="assert f(1) in (True, False)", flaky_check=True)
    assert steady["outcome"] == "passed" and "flaky" not in steady
    for tests in ("import solution\nassert solution.f is f", "import solution as s\ndef test(): assert s.f is s.f"):
        verdict = await execute(tests=tests, in_process=True, entry_point="f")
        assert (verdict["outcome"], verdict["integrity"], verdict["total"]) == ("passed", "in_process", 1), verdict


async def test_no_tests_in_process_are_no_tests() -> None:
    assert (await execute(tests="", in_process=True))["total"] == 0


@pytest.mark.parametrize("tests", [[{"call": "f(1)", "expected": 1}], [], "x = 1"])
async def test_in_process_needs_source(tests: Any) -> None:
    with pytest.raises(ApiError) as refused:
        await execute(tests=tests, in_process=True)
    assert refused.value.status == 400
