"""Which statements an answer lacks."""

from __future__ import annotations

from agent.prelude import STANDARD_IMPORTS, needed


def test_only_what_is_used_and_not_defined() -> None:
    prelude = "import math\nfrom typing import List, Dict\ndef helper(x):\n    return math.floor(x)\n"
    assert needed(prelude, "def f(x: List[int]):\n    return x") == "from typing import List\n"
    assert needed(prelude, "def f(x):\n    return helper(x)").startswith("import math\ndef helper(x):")
    assert needed(prelude, "import math\ndef f(x):\n    return math.pi") == ""
    assert needed(prelude, "def helper(x):\n    return 1\nhelper(2)") == ""
    assert needed(prelude, "def f(:") == ""


def test_a_name_given_twice_is_taken_once() -> None:
    assert needed(STANDARD_IMPORTS + "from typing import List\n", "x: List[int] = []") == "from typing import List\n"


def test_a_guarded_import_counts_as_defined() -> None:
    assert needed(STANDARD_IMPORTS, "try:\n    import math\nexcept ImportError:\n    math = None\nmath.pi") == ""


def test_builtins_are_never_missing() -> None:
    assert needed("def print(x): pass\n", "print(1)") == ""
