"""The programs of the corpus as records, read from the data files beside this module (README.md says how to write
them)."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory.records import AssertTest, CallTest, CodeTest, Limits, Outcome, StdioTest, Test

FOLDER = Path(__file__).parent
FILES = {
    "A": "a_cheats.toml", "B": "b_exhaustion.toml", "C": "c_escapes.toml", "D": "d_honest.toml", "E": "e_further.toml",
    "F": "f_again.toml",
}  # fmt: skip
NUMBERS = {
    "A": range(1, 38), "B": range(38, 64), "C": range(64, 86), "D": range(86, 103),
    "E": (*range(201, 247), *range(260, 274)), "F": range(301, 342),
}  # fmt: skip
"""The entries of each section; every one has at least one program."""
RUNNERS = ("check", "script", "pytest", "unittest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tests that are run together, in one call of the sandbox."""

    name: str
    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program and what the sandbox must make of it."""

    section: str
    number: int
    name: str
    code: str
    """`@word@` stands for a fact about the host, filled in when it runs (`host.Host.facts`)."""
    prelude: str
    entry_point: str | None
    batches: tuple[Batch, ...]
    """Each is a run of its own; a program without tests is loaded once."""
    outcomes: frozenset[Outcome]
    """What each run may end with."""
    limits: Limits
    reports: bool
    """The program tells `refused` or `DONE` of each of its attempts, a line each; none may be done."""
    partly: bool
    """Single cases may pass although the program as a whole does not."""
    then: str
    """Program that the same worker runs next; it reports like one with `reports`."""
    same: int
    """So many runs must agree in every case."""
    at_once: int
    """So many runs are under way at once, each on a worker of its own."""
    alone: bool
    """It needs threads, which all runs of one user share in `B-user`: it is run when no other program is."""
    loses_worker: bool
    """Its worker is killed while it runs; nothing of it may be left, and it runs once more on another."""
    needs: tuple[str, ...]
    """Machine names, and modules that the sandbox must have."""
    exempt: dict[str, str]
    """Tiers (`B`) or ways to have one (`B-user`) that this program says nothing about, each with the reason."""
    fools: str
    """Harness of `naive.py` that accepts this program."""

    @property
    def title(self) -> str:
        return f"{self.section}{self.number} {self.name}"


@functools.cache
def programs() -> tuple[Program, ...]:
    """The whole corpus in its order."""
    sets = {name: tuple(_tests(table)) for name, table in _read("tests.toml").items()}
    return tuple(made for section, file in FILES.items() for made in _section(section, _read(file), sets))


def _read(file: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / file).read_text())


def _section(section: str, data: dict[str, Any], sets: dict[str, tuple[Test, ...]]) -> Iterator[Program]:
    defaults = data["defaults"]
    for entry in data["program"]:
        unknown = set(entry) - _KEYS
        if unknown:
            raise ValueError(f"{section}{entry['number']} {entry['name']}: unknown keys {sorted(unknown)}")
        for values in entry.get("each", [{}]):
            yield _program(section, {**defaults, **entry}, defaults["limits"], values, sets)


_KEYS = {
    "number", "name", "code", "fill", "each", "tests", "test", "outcomes", "limits", "entry_point", "reports",
    "partly", "then", "same", "at_once", "needs", "exempt", "fools", "prelude", "loses_worker",
    "alone",
}  # fmt: skip


def _program(
    section: str,
    entry: dict[str, Any],
    limits: dict[str, Any],
    values: dict[str, str],
    sets: dict[str, tuple[Test, ...]],
) -> Program:
    fill = entry.get("fill", {"text": "", "times": 0})
    filling = _filled(fill["text"], values) * fill["times"]
    batches = [Batch(name=name, tests=sets[name]) for name in entry["tests"]]
    if "test" in entry:
        batches = [Batch(name="own", tests=tuple(_tests(entry["test"], filling)))]
    return Program(
        section=section,
        number=entry["number"],
        name=": ".join([entry["name"], *(" ".join(value.split())[:60] for value in list(values.values())[:1])]),
        code=_filled(entry["code"], values).replace("@fill@", filling),
        prelude=entry.get("prelude", ""),
        entry_point=entry.get("entry_point"),
        batches=tuple(batches) or (Batch(name="load", tests=()),),
        outcomes=frozenset(Outcome(name) for name in entry["outcomes"]),
        limits=Limits(**{**limits, **entry["limits"]}),
        reports=entry.get("reports", False),
        partly=entry.get("partly", False),
        then=_filled(entry.get("then", ""), values),
        same=entry.get("same", 1),
        at_once=entry.get("at_once", 1),
        alone=entry.get("alone", False),
        loses_worker=entry.get("loses_worker", False),
        needs=tuple(entry.get("needs", ())),
        exempt=entry.get("exempt", {}),
        fools=entry.get("fools", ""),
    )


def _filled(text: str, values: dict[str, str]) -> str:
    for word, value in values.items():
        text = text.replace(f"@{word}@", value)
    return text


def _tests(table: dict[str, Any], filling: str = "") -> Iterator[Test]:
    """The tests in one table: `assert`, `call` and `stdio` hold several each, a runner of `CodeTest` one source.
    `filling` stands for `@fill@` in texts on standard input and output."""
    for kind, held in table.items():
        if kind == "assert":
            yield from (AssertTest(source=source) for source in held)
        elif kind == "call":
            yield from (CallTest(call=call, expected=expected) for call, expected in held)
        elif kind == "stdio":
            for stdin, stdout in held:
                yield StdioTest(stdin=stdin.replace("@fill@", filling), stdout=stdout.replace("@fill@", filling))
        elif kind in RUNNERS:
            yield CodeTest(source=held, runner=kind)  # type: ignore[arg-type]
        else:
            raise ValueError(f"unknown kind of test {kind!r}")
