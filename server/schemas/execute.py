"""One program and its tests, as `POST /burnish/execute` and `burnish execute` take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from agent.errors import BadTests
from agent.given_tests import called_name, read_tests
from agent.sandbox.contract import Sandbox
from memory.records import CodeTest, Limits, Test, Verdict
from server.errors import bad_request
from server.schemas.validation import parse


class LimitsRequest(BaseModel):
    """What the program may use; absent keys keep their defaults."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    cpu_seconds_per_test: float = Field(default=Limits().cpu_seconds_per_test, gt=0, le=120)
    cpu_seconds: float = Field(default=Limits().cpu_seconds, gt=0, le=600)
    memory_mb: int = Field(default=Limits().memory_mb, ge=16, le=16_384)
    output_bytes: int = Field(default=Limits().output_bytes, ge=0, le=256 * 1024 * 1024)
    processes: bool = False


class ExecuteRequest(BaseModel):
    """One run."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: str = ""
    code: str
    tests: str | list[dict[str, Any]] = []
    entry_point: str | None = None
    limits: LimitsRequest = LimitsRequest()
    flaky_check: bool = False
    """Run twice with different random numbers; the worse result counts."""
    in_process: bool = False
    """Run the tests (source code) beside the program, on its own objects; the verdict then says so."""
    details: bool = False
    """Answer with executed statements, the time and lines of each case, and the variables at the error."""

    async def run(self, sandbox: Sandbox, owner: str = "") -> Verdict:
        """Execute it, in turn with the runs of others than `owner`. Raises ApiError 400 if the tests have no known
        shape or do not compile."""
        try:
            tests = self._beside() if self.in_process else read_tests(self.tests)
            return await sandbox.run(
                self.code,
                tests,
                entry_point=self.entry_point or called_name(tests),
                limits=Limits(**self.limits.model_dump()),
                run_id=self.id,
                owner=owner,
                flaky_check=self.flaky_check,
            )
        except BadTests as error:
            raise bad_request(str(error), param="tests") from error

    def _beside(self) -> Sequence[Test]:
        if not isinstance(self.tests, str):
            raise BadTests("in_process needs tests as source code, as assert lines or a test file")
        tests = read_tests(self.tests)
        if not tests:
            return []
        if len(tests) == 1 and isinstance(tests[0], CodeTest):
            return [replace(tests[0], in_process=True)]
        return [CodeTest(source=self.tests, runner="script", in_process=True)]


def parse_execute(body: object) -> ExecuteRequest:
    """Validate a decoded body. Raises ApiError 400 that names the field."""
    return parse(ExecuteRequest, body)
