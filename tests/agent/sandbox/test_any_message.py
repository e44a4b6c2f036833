"""Whatever a program's process sends: a case, or one of the errors that are expected."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sandbox import testimony
from agent.sandbox.plan import Literal, Unit
from agent.sandbox.results import literal_case, reported_case
from agent.sandbox.wire import codec, decoding, frames
from agent.sandbox.wire.work import Work

SOURCE = "def f(x):\n    return x\n"
SAMPLES: list[Any] = [
    {"id": 1, "ok": {"v": ["l", 1, ["t", "a", 2.5], ["d", "k", ["s", 1, 2]], ["N", "P", ["x"], ["t", 1]]], "o": []}},
    {"id": 1, "ok": {"v": ["q", 3, ["l", ["D", "1.5"], ["F", "0x1", "0x3"], ["r", 0, 9, 2]]], "o": [["Node", ["d"]]]}},
    {"id": 1, "ok": {"v": ["l", ["b", "eA=="], ["T", "date", "2020-01-01"], ["T", "timedelta", 1, 2, 3], ["g", "int"]], "o": []}},
    {"id": 1, "ok": {"v": ["l", ["i", "0xff"], ["c", 1.0, 2.0], ["e", "int", ["d", 1, 2]], ["S", 1, 2, 3]], "o": []}},
    {"id": 1, "ok": {"v": ["n", "int64", ["l", 1, 2]], "o": []}, "hits": [0, 1, 5]},
    {"id": 1, "ok": {"v": ["h", "x", "Thing", "<thing>", True, {"v": 5, "o": []}], "o": []}},
    {"id": 1, "err": {"type": "ValueError", "bases": ["ValueError"], "message": "no", "memory": False, "line": 2,
                      "span": [2, 4, 2, 12], "traceback": "x", "variables": [["x", "1"]], "args": None}},
    {"id": 1, "err": {"type": "Unserialisable", "message": "too deep"}},
    {"unit": 0, "event": "result", "case": 0, "seconds": 0.5, "hits": [], "outcome": "value", "value": {"v": 5, "o": []}},
    {"unit": 0, "event": "result", "case": 0, "outcome": "failed_test", "type": "E", "message": "m", "expected": "1"},
    {"unit": 0, "event": "result", "case": 0, "outcome": "runtime_error", "fault": {"type": "E", "message": "m"}},
    {"stage": "compiled", "statements": [[1, 0, 1, 9], [2, 4, 2, 12]]},
    {"names": [["f", "own"], ["g", "import", "os.path", "join"]]},
]  # fmt: skip
TAGS = list("ltszdbBcDFrqTnNohgikOeS")
WORDS = [*TAGS, "v", "o", "ok", "err", "message", "fault", "\ud800", "x" * 300, "0x1", "int", "date", "Node", "h"]

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(WORDS)
    | st.sampled_from([1 << 64, 10**300, -1, 1e999])
)  # fmt: skip
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
        | st.tuples(st.sampled_from(TAGS), inner, inner).map(list)
    ),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A message as it should be, but for some places."""
    message = json.loads(json.dumps(draw(st.sampled_from(SAMPLES))))
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = message
        while True:
            places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not places:
                break
            place = draw(st.sampled_from(places))
            if isinstance(holder[place], dict | list) and draw(st.integers(0, 3)):
                holder = holder[place]
                continue
            holder[place] = draw(anything)
            break
    return message


def read(message: Any) -> None:
    """Read a message in every way in which the server does."""
    literal = Literal(0, "f(1) == [1]", "f(1)", lambda actual: bool(actual == [1]), "[1]", assertion=True)
    unit = Unit(0, "value", "value", "f(1)", ("f(1)",), lambda actual: bool(actual == [1]), "[1]")
    if not isinstance(message, dict):
        return
    cases = [reported_case(unit, "name", message)]
    if "ok" in message or "err" in message:
        cases.append(literal_case(literal, message, 0.0))
    for key in ("fault", "err", "ok"):
        outcome, fault = testimony.of_fault(message.get(key))
        assert outcome
        json.dumps(asdict(fault), ensure_ascii=False).encode()
    for case in cases:
        if case is not None:
            json.dumps(asdict(case), ensure_ascii=False).encode()
    testimony.spans(message.get("statements"), SOURCE)
    with contextlib.suppress(codec.Malformed):
        testimony.names(message.get("names"))
    for value in (message.get("ok"), message.get("value"), message):
        with contextlib.suppress(codec.Malformed):
            decoding.decode(value, work=Work())


@given(mutated() | anything)
@settings(max_examples=600, deadline=None)
def test_messages(message: Any) -> None:
    body = json.dumps(message).encode()
    try:
        received = frames.unpack(body)
    except codec.Malformed:
        assert not isinstance(message, dict) or "1e999" in str(message)
        return
    read(received)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\0123456789eE+-.truefalsn ', max_size=60).map(str.encode))
@settings(max_examples=400, deadline=None)
def test_bytes(body: bytes) -> None:
    with contextlib.suppress(codec.Malformed):
        read(frames.unpack(body))
    testimony.last_line(body)


@given(st.sampled_from(SAMPLES), st.integers(0, 400), st.binary(max_size=6), st.integers(0, 6))
@settings(max_examples=400, deadline=None)
def test_messages_cut_and_mended(message: Any, place: int, put: bytes, left_out: int) -> None:
    body = json.dumps(message).encode()
    with contextlib.suppress(codec.Malformed):
        read(frames.unpack(body[:place] + put + body[place + left_out :]))


def test_depth() -> None:
    for depth in (50, 99, 100, 101, 102, 103, 150, 500, 900, 940, 950, 960, 965, 970, 980, 990, 5000):
        deep = b"[" * depth + b"]" * depth
        tagged = b'["l",' * depth + b"1" + b"]" * depth
        for body in (b'{"err":{"type":"Unserialisable","message":%s}}', b'{"ok":{"v":%s,"o":[]}}', b'{"names":%s}'):
            for held in (deep, tagged):
                with contextlib.suppress(codec.Malformed):
                    read(frames.unpack(body % held))


def test_values_outside_texts_are_counted_in_time() -> None:
    for body in (b"," * 2_000_001 + b'"' + b'\\"' * 40_000, b',"' * 4_000_000, b'",,"' * 2_000_000 + b"," * 300_000):
        with contextlib.suppress(codec.Malformed):
            frames.unpack(b'{"ok":' + body)
    text = '\\",[' * 1_000_000
    assert frames.unpack(json.dumps({"text": text}).encode()) == {"text": text}
