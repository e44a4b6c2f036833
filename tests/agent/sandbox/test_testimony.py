"""What a program's process says of itself."""

from __future__ import annotations

import pytest

from agent.sandbox.testimony import last_line, names, of_fault, spans
from agent.sandbox.wire.codec import Malformed


def test_places() -> None:
    told = [[1, 0, 1, 5], [2, 1, 3, 0]]
    assert spans(told, "x = 5\n y(\r\n)") == ((1, 0, 1, 5), (2, 1, 3, 0))
    assert spans(told, "x = 5\r y(\r)") == ((1, 0, 1, 5), (2, 1, 3, 0))


@pytest.mark.parametrize(
    "wire",
    [
        None, 5, "text", {"0": 1}, [[1, 0, 1]], [[1, 0, 1, -5]], [[1, 0, 1, True]], [[1, 0, 1, 5], None], [[0, 0, 0, 0]],
        [[1, 0, 3, 0]], [[3, 0, 3, 0]], [[1, 6, 1, 6]], [[1, 0, 1, 6]], [[1, 5, 1, 4]], [[2, 0, 1, 5]], [[1, 0, 10**300, 1]],
        [[1, 0, 1, 1]] * 65537,
    ],
    ids=str,
)  # fmt: skip
def test_places_that_are_none(wire: object) -> None:
    assert spans(wire, "x = 5\ny") == ()


@pytest.mark.parametrize(
    "wire",
    [
        None, 5, "f", [5], [[]], [["f"]], [["f", "import"]], [[["f"], ["own"]]], {"f": "own"}, [["f", "own", 5]],
        [["f", "other"]], [["f", "import", "os", None]], [["f", "own"]] * 10_001, [["f" * 500_000, "own"]],
        [["f", "function"]], [["f", "function", 0]], [["f", "function", "-1"]], [["f", "function", "\u0663"]],
        [["f", "function", "1" * 10]],
    ],
    ids=lambda wire: str(wire)[:40],
)  # fmt: skip
def test_names_that_are_none(wire: object) -> None:
    with pytest.raises(Malformed):
        names(wire)


def test_names() -> None:
    told = [["f", "own"], ["g", "import", "os.path", "join"], ["h", "function", "0"]]
    assert names(told) == told


def test_last_line() -> None:
    stack = (
        b'Current thread 0x1 (most recent call first):\n  File "/x.py", line 7 in g\n  File "<program>", line 31 in f\n'
    )
    assert last_line(stack) == 31
    for words in (b"", b'File "<program>", line x', b'File "<program>", line ' + b"9" * 5000, b"\xff" * 100):
        assert last_line(words) is None


def test_variables_are_read_as_untrusted_text() -> None:
    told = {"type": "E", "variables": [["a", "1"], ["b"], 5, ["c" * 999, 7], ["d", "\ud800"]]}
    _, fault = of_fault(told)
    assert fault.variables[0] == ("a", "1")
    assert len(fault.variables) == 3
    assert fault.variables[1] == ("c" * 120, "")
    fault.variables[2][1].encode()
