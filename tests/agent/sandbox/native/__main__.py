"""Programs in other languages as the user who runs this: `python -m tests.agent.sandbox.native [--tier A|B]` prints one
outcome for each as JSON, after the tier."""

from __future__ import annotations

import argparse
import asyncio
import json

from agent.errors import IsolationUnavailable
from agent.sandbox.native.language import Language
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from tests.agent.sandbox.native import cheats
from tests.agent.sandbox.native.machine import SHORT, call, lacking, stdio

HONEST = {
    Language.JAVASCRIPT: "const f = (x) => x + 1\nconsole.log(3)",
    Language.CPP: '#include <cstdio>\nint f(int x) { return x + 1; }\nint main() { puts("3"); }',
}
CHEATS = {Language.JAVASCRIPT: cheats.JAVASCRIPT, Language.CPP: cheats.CPP}
_EVERY = 4
"""Of the cheats that every user runs."""


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tier", default="A")
    tier = parser.parse_args().tier
    try:
        pool = await WorkerPool.start(SandboxSettings(workers=2, tier=tier))
    except IsolationUnavailable as error:
        print(json.dumps({"unavailable": str(error)}))
        return
    async with pool:
        told: dict[str, object] = {"tier": pool.isolation.tier, "honest": {}, "cheats": {}}
        for language, code in HONEST.items():
            if not lacking(language):
                verdict = await pool.run(code, [call("f(2)", "3"), stdio("", "3")], language=language)
                told["honest"][language] = [verdict.outcome, verdict.error and verdict.error.message]  # type: ignore[index]
                if tier == "A":
                    chosen = list(CHEATS[language].items())[::_EVERY]
                    runs = [
                        pool.run(cheat, [call("f(2)", "3")], language=language, limits=SHORT) for _, cheat in chosen
                    ]
                    got = [judged.outcome for judged in await asyncio.gather(*runs)]
                    told["cheats"][language] = got  # type: ignore[index]
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
