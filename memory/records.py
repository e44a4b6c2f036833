"""The records that every part of Burnish passes on: few, frozen, typed. Standard library only.

A program that fails is data (`Verdict`); a part of Burnish that fails raises an exception. Records become JSON and
come back through `memory.wire`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

SCHEMA_VERSION = 1
"""Version of the stored shape of `Trajectory`; a change of these records that old rows cannot satisfy raises it."""


class Outcome(StrEnum):
    """How a program, or one test of it, ended (docs: README, "What the answer means")."""

    PASSED = "passed"
    FAILED_TEST = "failed_test"
    RUNTIME_ERROR = "runtime_error"
    COMPILE_ERROR = "compile_error"
    TIMEOUT = "timeout"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    SANDBOX_ERROR = "sandbox_error"
    """Our fault, never the program's: never a reward, never a reason to repair."""


class TestSource(StrEnum):
    """Who provided the tests that a verdict rests on."""

    __test__ = False

    REQUEST = "request"
    PROMPT = "prompt"
    GENERATED = "generated"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertTest:
    """Python statements of which the last is an `assert`; setup statements may stand before it."""

    source: str
    kind: Literal["assert"] = "assert"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTest:
    """One call and the value it must return."""

    call: str
    """Python expression over the program's names, e.g. `add(1, 2)` or `Solution().two_sum([2, 7], 9)`."""
    expected: str
    """Python literal, e.g. `[0, 1]`."""
    from_json: bool = False
    """The expectation came from JSON, which has no tuples: a tuple equals a list with the same elements."""
    kind: Literal["call"] = "call"


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioTest:
    """Text on standard input and the text that must appear on standard output."""

    stdin: str
    stdout: str
    kind: Literal["stdio"] = "stdio"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTest:
    """Test source that calls the program: runs in the judge process, away from the program, unless `in_process`."""

    source: str
    runner: Literal["check", "script", "pytest", "unittest"]
    """check: the source defines `check(candidate)`, called with the entry point (HumanEval). script: the source itself
    makes the calls and asserts. pytest: `test_*` functions and `Test*` classes. unittest: `TestCase` classes."""
    in_process: bool = False
    """The tests need the program's own objects (subclass its classes, patch its module, see what it prints) and run
    beside it, where it could forge their result. Such a verdict says so in `integrity`; no reward may rest on it."""
    kind: Literal["code"] = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTest:
    """A question without an expectation: what does the program make of this input? `CaseResult.actual` holds the
    answer, so that programs with equal answers can be told from others."""

    call: str | None = None
    """Python expression: a call with literal arguments."""
    stdin: str | None = None
    """Instead of `call`: standard input of the whole program."""
    kind: Literal["probe"] = "probe"


Span = tuple[int, int, int, int]
"""First line, first column, last line, last column of a program; lines from 1, columns in characters from 0, end
exclusive."""

Test = AssertTest | CallTest | StdioTest | CodeTest | ProbeTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use in the sandbox."""

    cpu_seconds_per_test: float = 4.0
    cpu_seconds: float = 10.0
    """CPU seconds for the whole run: loading and all tests."""
    memory_mb: int = 512
    output_bytes: int = 8 * 1024 * 1024
    """Standard output and error together; more ends the run with `output_limit`."""
    processes: bool = False
    """Whether the program may start processes (up to 32)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is asked for and how an answer can be checked."""

    id: str
    statement: str
    language: str = "python"
    entry_point: str | None = None
    """Function or class the tests use; None for programs that read standard input or where nothing names one."""
    visible: tuple[Test, ...] = ()
    """Tests the refinement may use."""
    visible_source: TestSource = TestSource.NONE
    hidden: tuple[Test, ...] = ()
    """Tests only the judge of a benchmark or a training run may use; never sent to the server."""
    prelude: str = ""
    """Imports and helpers the statement gives; available to every candidate outside its line numbering."""
    limits: Limits = field(default_factory=Limits)
    reference: str | None = None
    family: str | None = None
    """Group of similar problems; training and held-out data are split by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a candidate was asked for. Every value is sent to the engine explicitly."""

    model: str
    """Version name as the engine knows it: the base model's name or `actor@N`."""
    temperature: float
    top_p: float = 1.0
    min_p: float = 0.0
    """Tokens less likely than this share of the likeliest one are left out."""
    seed: int | None = None
    max_tokens: int | None = None
    """Limit for the completion, in tokens; None is the rest of the context window."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer and are its last part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One sampled answer, with what the engine reported about it."""

    text: str
    code: str
    """The program inside `text`: `text[code_start:code_start + len(code)]`; empty if there is none."""
    code_start: int
    prompt_ids: tuple[int, ...]
    """Token ids of the prompt; empty if the engine does not report them."""
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Raw log-probability (before temperature) of each completion token; empty if not reported."""
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    sampling: Sampling
    prefix: str = ""
    """Beginning of `text` that was given to the model, not sampled; its tokens are the last of `prompt_ids`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """Result of one test."""

    name: str
    outcome: Outcome
    expected: str | None = None
    actual: str | None = None
    message: str | None = None
    seconds: float = 0.0
    executed_lines: tuple[int, ...] = ()
    """As `Verdict.executed_lines`, of this test alone: what loading the program executed is not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Where and how a program went wrong first."""

    type: str
    """Exception class name, or the outcome where no exception exists (`timeout`)."""
    message: str
    line: int | None = None
    """1-based line of the program (prelude not counted)."""
    span: Span | None = None
    """Blamed statement; of a compound one its header."""
    traceback: str = ""
    """Frames of the program only."""
    variables: tuple[tuple[str, str], ...] = ()
    """Name and short text of local variables in the innermost of these frames, those of the blamed statement first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the sandbox found out about one program. `passed` means that every test ran and passed."""

    id: str
    outcome: Outcome
    passed: int
    total: int
    cases: tuple[CaseResult, ...] = ()
    error: Fault | None = None
    executed_lines: tuple[int, ...] = ()
    """1-based lines of the program on which an executed statement begins, over all tests."""
    executed: tuple[Span, ...] = ()
    """The executed statements; of a compound one its header."""
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    """Wall time of the run, queueing not counted."""
    peak_mb: float = 0.0
    flaky: bool = False
    """Two runs with different random numbers disagreed; the outcomes are the worse of both."""
    integrity: Literal["isolated", "in_process"] = "isolated"
    """Where the verdict was made: out of the program's reach, or, for some test, beside the program."""
    comparator: int = 0
    """Version of the rules by which what came was compared with what was expected; 0 where nothing was compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a critic thinks of a program, or of the beginning of one: probabilities of the four outcomes, together 1."""

    passed: float
    failed: float
    crashes: float
    invalid: float
    by: str
    """The model version that was asked, or `rule`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What is known of a program beside its verdict on the visible tests."""

    votes: int = 1
    """Attempts with this program, but for layout and comments."""
    agreement: float | None = None
    """Mean share of the compared programs that answer probes as this one does."""
    consensus: float | None = None
    """Score by the tests that the model wrote, as a share of the best (CodeT)."""
    written_passed: int = 0
    """How many of these tests it passes."""
    critic: Opinion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One candidate, its verdict and how it came about."""

    candidate: Candidate
    verdict: Verdict | None
    """None if the request ended before the candidate was executed."""
    origin: Literal["first", "sample", "refine", "repair", "recalled"]
    """recalled: a remembered program, not sampled for this request."""
    round: int
    """0 for the first sampling, then the number of the refine or repair round."""
    parent: int | None = None
    """Index of the attempt that this one repairs or continues."""
    shown: tuple[str, ...] = ()
    """Ids of the experiences that stood in its prompt, or of the one that it is."""
    score: Score | None = None
    """What a comparison of the passing programs found out about this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Cost of a trajectory over all candidates."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_seconds: float = 0.0
    engine_seconds: float = 0.0
    sandbox_seconds: float = 0.0
    critic_seconds: float = 0.0
    memory_seconds: float = 0.0
    overhead_seconds: float = 0.0
    """Wall time during which none of these was at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """Everything that happened for one request."""

    id: str
    problem: Problem
    attempts: tuple[Attempt, ...]
    accepted: int | None
    """Index of the attempt that was answered; None if there was none."""
    status: Literal["finished", "deadline", "cancelled", "failed"]
    model_version: str
    tenant: str
    """Id of the API key's owner; `local` without authentication."""
    consent: bool
    """Whether the tenant allows training on this trajectory."""
    started: float
    """Unix time, seconds."""
    ended: float
    rounds: int
    written: tuple[CallTest, ...] = ()
    """Tests that the model wrote itself, for the choice between programs."""
    totals: Totals = field(default_factory=Totals)
    detail: str = ""
    """What went wrong, for status `failed`."""
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well a program is written, apart from whether it is right; every share from 0 (worst) to 1. None: not
    judged."""

    style: float | None = None
    """Linter findings per line."""
    complexity: float | None = None
    """Cyclomatic complexity of its functions."""
    instructions: float | None = None
    """What was asked of the form: the signature, names to be used or not to be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """Something worth remembering: a verified program, or how a failure was overcome."""

    id: str
    kind: Literal["solution", "lesson"]
    tenant: str
    problem: str
    """Fingerprint of the statement; equal for statements that differ in layout only."""
    gist: str
    """What the task asks, shortened: solutions are found by it."""
    code: str
    """The verified program; of a lesson the corrected one."""
    source: TestSource
    """Who provided the tests that the program passed."""
    passed: int
    total: int
    signature: str = ""
    """Header of the entry point, as the program has it."""
    error: str = ""
    """Of a lesson, what was overcome: the exception's class, or the outcome where there is none."""
    message: str = ""
    blamed: str = ""
    """Of a lesson: the blamed lines of the failed program."""
    fix: str = ""
    """Of a lesson: unified diff from the failed program to `code`."""
    quality: Quality = field(default_factory=Quality)
    model_version: str = ""
    trajectory_id: str = ""
    """Where it comes from; empty for what was imported."""
    created: float = 0.0
    """Unix time, seconds."""
