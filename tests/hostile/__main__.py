"""`python -m tests.hostile [--tier T] [--only NUMBER ...]`: run the corpus; one line per program, then a table."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Sequence

from agent.errors import IsolationUnavailable
from tests.hostile import corpus, harness
from tests.hostile.harness import Finding
from tests.hostile.tiers import TIERS, Unreachable, start

UNAVAILABLE = 78
"""Exit status where a tier cannot be had; standard output says why."""


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 as expected, 1 not so, UNAVAILABLE."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--tier", choices=list(TIERS), help="default: every tier in turn")
    parser.add_argument("--only", type=int, action="append", default=[], metavar="NUMBER", help="entries to run")
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON document")
    parser.add_argument("--here", action="store_true", help="as this user, in this process")
    options = parser.parse_args(arguments)
    rest = [*(f"--only={number}" for number in options.only), *(["--json"] if options.json else [])]
    if options.here:
        return _run(options.tier, options.only, as_json=options.json)
    return max(_start(tier, rest) for tier in ([options.tier] if options.tier else TIERS))


def _start(tier: str, arguments: Sequence[str]) -> int:
    try:
        return start(tier, arguments).returncode
    except Unreachable as reason:
        print(f"{tier}: {reason}")
        return UNAVAILABLE


def _run(tier: str, only: Sequence[int], *, as_json: bool) -> int:
    chosen = [program for program in corpus.programs() if not only or program.number in only]
    try:
        findings = asyncio.run(harness.run(chosen, TIERS[tier], _quiet if as_json else _tell))
    except (IsolationUnavailable, harness.WrongTier) as reason:
        print(f"{tier}: {reason}")
        return UNAVAILABLE
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        _summary(tier, findings)
    return int(any(finding.problems for finding in findings))


def _quiet(finding: Finding) -> None:
    return


def _tell(finding: Finding) -> None:
    mark = "skip" if finding.skipped else "BAD " if finding.problems else "ok  "
    detail = finding.skipped or ", ".join(finding.outcomes)
    print(f"{mark} {finding.title}: {detail} ({finding.seconds:.2f} s)", flush=True)


def _summary(tier: str, findings: Sequence[Finding]) -> None:
    print(f"\n| {tier} | programs | runs | as expected | not run | unexpected |")
    print("|---|---|---|---|---|---|")
    for section in (*corpus.FILES, "all"):
        part = [finding for finding in findings if finding.section and section in (finding.section, "all")]
        runs = sum(len(finding.outcomes) for finding in part)
        skipped = sum(bool(finding.skipped) for finding in part)
        bad = sum(bool(finding.problems) for finding in part)
        right = len(part) - skipped - bad
        print(f"| {section} | {len(part)} | {runs} | {right} | {skipped} | {bad} |")
    for finding in findings:
        for problem in finding.problems:
            print(f"\n{finding.title}: {problem}", end="")
    print()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
