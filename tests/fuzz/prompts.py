"""Random prompts: noise, fragments of every form of example put together at random, and real prompts damaged."""

from __future__ import annotations

import random
from collections.abc import Sequence

FRAGMENTS = (
    *(
        "f(",
        "f(1)",
        "f([1, 2], 'a')",
        "f(x)",
        "g(2)",
        "Solution().f(3)",
        "f(a) => True",
        "f",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
    ),
    *(
        " == ",
        " => ",
        " -> ",
        " ➞ ",
        " = ",
        " should return ",
        " returns ",
        " raises ValueError",
        " # ",
        " is ",
        " # => ",
    ),
    *(
        "1",
        "-1",
        "2.5",
        "1e9",
        "'a'",
        '"b"',
        "[1, 2]",
        "(1,)",
        "{1: 2}",
        "{1, 2}",
        "True",
        "false",
        "null",
        "None",
        "1 + 1 = 2",
    ),
    *(
        ">>> ",
        "... ",
        "assert ",
        "def f(x):\n",
        "def f(x: str) -> int:\n",
        "class Solution:\n    def f(self, x):\n",
        "    ",
    ),
    *("Example 1:\n", "Input: ", "Output: ", "Explanation: ", "-----Sample Input-----\n", "-----Sample Output-----\n"),
    *(
        "Input\n",
        "Output\n",
        "Examples\n",
        "Note\n",
        "x = ",
        "For x = ",
        " the output should be ",
        "**Input:** ",
        "```\n",
    ),
    *("```python\n", "def test_f():\n    assert f(1) == 2\n", "import pytest\n", "class T(unittest.TestCase):\n"),
    *(
        "Traceback (most recent call last):\n",
        "ValueError: no\n",
        "Failed example:\n    f(1)\nExpected:\n    2\nGot:\n    3\n",
    ),
    *(
        "\n",
        "\n\n",
        " ",
        ", ",
        ".",
        ";",
        "`",
        '"""',
        "'''",
        "\\",
        "\t",
        "\r\n",
        "\0",
        "é",
        "输入\n",
        "\ud800",
        "0" * 50,
        "print(",
    ),
    *("the ", "value ", "but ", "or ", "not ", "wrong ", "string x ", "e.g. ", "for instance ", "Write a program. "),
)


def prompt(chance: random.Random, real: Sequence[str]) -> str:
    """One random prompt of at most some thousand characters."""
    kind = chance.random()
    if kind < 0.15:
        return "".join(
            chr(chance.choice((chance.randrange(32, 127), chance.randrange(0x3000))))
            for _ in range(chance.randrange(200))
        )
    if kind < 0.6 or not real:
        return "".join(chance.choice(FRAGMENTS) for _ in range(chance.randrange(1, 40)))
    text = chance.choice(real)
    for _ in range(chance.randrange(1, 6)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.randrange(30))
        match chance.randrange(4):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:start] + chance.choice(FRAGMENTS) + text[start:]
            case 2:
                text = text[:start] + text[start:end] * 2 + text[end:]
            case _:
                other = chance.choice(real)
                place = chance.randrange(len(other) + 1)
                text = text[:start] + other[place : place + chance.randrange(200)] + text[end:]
    return text[:6000]
