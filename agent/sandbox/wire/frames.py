"""Messages between processes: JSON objects in length-prefixed frames.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import json
import json.encoder
import struct
from typing import Any

from agent.sandbox.wire.codec import MAX_NODES, Json, Malformed, Unserialisable

MAX_BYTES = 8 * 1024 * 1024
HEADER = struct.Struct(">I")

_to_json: Any = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
    None, None, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True
)
_from_json: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
"""What `json` uses inside, made once: a program's process is so short that making them anew would be felt."""
_NO_MARKS = bytes(set(range(256)) - set(b'",[{'))


def pack(message: Json) -> bytes:
    """One frame. Raises Unserialisable if it exceeds MAX_BYTES or is nested too deeply."""
    try:
        body = "".join(_to_json(message, 0)).encode("ascii")
    except RecursionError:
        raise Unserialisable("a message is nested too deeply") from None
    if len(body) > MAX_BYTES:
        raise Unserialisable(f"{len(body)} bytes of data exceed the limit of {MAX_BYTES}")
    return HEADER.pack(len(body)) + body


def body_size(header: bytes | bytearray) -> int:
    """Length of the body that follows a header, which `header` starts with. Raises Malformed above MAX_BYTES."""
    (size,) = HEADER.unpack_from(header)
    if size > MAX_BYTES:
        raise Malformed(f"a frame of {size} bytes exceeds the limit of {MAX_BYTES}")
    return int(size)


def unpack(body: bytes) -> dict[str, Json]:
    """The message in a frame's body; sizes are checked before anything is built. Raises Malformed."""
    if len(body) > 2 * MAX_NODES and _marks(body) > 2 * MAX_NODES:
        raise Malformed(f"a frame holds more than {MAX_NODES} values")
    try:
        message, end = _from_json(body.decode("ascii"), 0)
    except (ValueError, RecursionError, StopIteration) as error:
        raise Malformed(f"a frame is not JSON: {type(error).__name__}") from None
    if type(message) is not dict or end != len(body):
        raise Malformed("a frame is not an object")
    return message


def _marks(body: bytes) -> int:
    """How many commas and opening brackets stand outside texts."""
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NO_MARKS).replace(b'""', b"")
    return sum(map(len, bare.split(b'"')[::2]))
