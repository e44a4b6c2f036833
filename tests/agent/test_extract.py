"""The program inside an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.extract import extract

BLOCK = "```python\ndef f():\n    return 1\n```"


@pytest.mark.parametrize(
    ("text", "entry_point", "code"),
    [
        (f"Sure!\n\n{BLOCK}\nDone.", "f", "def f():\n    return 1\n"),
        ("```python\nimport os\n```\nthen\n```python\ndef f():\n    pass\n```", "f", "def f():\n    pass\n"),
        ("```py\nx = 1\n```\n```\nprint(f())\nprint(f())\n```", None, "print(f())\nprint(f())\n"),
        ("```python\ndef g(): pass\n```\n```python\ng()\n```", None, "def g(): pass\n"),
        ("```python\ndef f():\n    return", "f", "def f():\n    return"),
        ("```javascript\nlet f = 1\n```", None, ""),
        ("  ```python\n  def f():\n      return 1\n  ```", "f", "  def f():\n      return 1\n"),
        ("def f():\n    return 1\n", "f", "def f():\n    return 1\n"),
        ("hello", None, ""),
        ("I cannot do that, sorry.", None, ""),
        ("", None, ""),
    ],
)
def test_extract(text: str, entry_point: str | None, code: str) -> None:
    assert extract(text, entry_point).code == code


@given(st.text(alphabet="`python\n def:f()1 ", max_size=200))
def test_the_place_is_exact_and_nothing_crashes(text: str) -> None:
    found = extract(text, "f")
    assert text[found.start : found.start + len(found.code)] == found.code
