"""What test code may do to an object of the program: each operation by the name under which it travels.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Awaitable, Callable
from typing import Any

from agent.sandbox.program.abilities import IN_PLACE

_runners: list[Any] = []
"""The event loop of everything that tests await, once they do."""
_tasks: dict[int, Any] = {}
"""What tests wait for, by the identity of what they await."""
_SLICE = 0.005
"""Seconds after which a test that waits may do something else."""


def call(target: Any, positional: tuple[Any, ...], names: tuple[str, ...], named: tuple[Any, ...]) -> object:
    """Call with positional and named arguments. All in tuples: these have no identity that both sides must know."""
    return target(*positional, **dict(zip(names, named, strict=True)))


def _setattr(target: object, name: str, value: object) -> None:
    setattr(target, name, value)


def _throw(target: Any, kind: Any, arguments: tuple[object, ...]) -> object:
    return target.throw(kind(*arguments))


def _details(kind: Any = None, arguments: tuple[object, ...] = ()) -> tuple[Any, Any, Any]:
    return (None, None, None) if kind is None else (kind, kind(*arguments), None)


def _await(target: Awaitable[object]) -> object:
    """Run `target` to its end; what else its event loop holds goes on meanwhile."""
    return _runner().run(_awaited(target))


def _runner() -> Any:
    import asyncio

    if not _runners:
        _runners.append(asyncio.Runner())
    return _runners[0]


async def _awaited(target: Awaitable[object]) -> object:
    return await target


def _wait(target: Awaitable[object]) -> tuple[bool, object]:
    """Run the event loop for a while; whether `target` has come to its end, and its result."""
    loop = _runner().get_loop()
    if id(target) not in _tasks:
        _tasks[id(target)] = loop.create_task(_awaited(target))
    task = _tasks[id(target)]

    def stop(done: object = None) -> None:
        loop.stop()

    task.add_done_callback(stop)
    handle = loop.call_later(_SLICE, stop)
    try:
        loop.run_forever()
    finally:
        handle.cancel()
        task.remove_done_callback(stop)
    return (True, _tasks.pop(id(target)).result()) if task.done() else (False, None)


def _cancel(target: Awaitable[object]) -> None:
    task = _tasks.pop(id(target), None)
    if task is not None:
        task.cancel()
        _runner().get_loop().run_until_complete(_settled(task))


async def _settled(task: Any) -> None:
    import asyncio

    await asyncio.wait([task], timeout=_SLICE)


OPERATIONS: dict[str, Callable[..., object]] = {
    "getattr": getattr, "setattr": _setattr, "delattr": delattr, "hasattr": hasattr, "isinstance": isinstance,
    "issubclass": issubclass, "len": len, "iter": iter, "next": next, "str": str, "repr": repr, "bool": bool,
    "hash": hash, "int": int, "float": float, "index": operator.index, "abs": abs, "round": round, "format": format,
    "reversed": reversed, "getitem": operator.getitem, "setitem": operator.setitem, "delitem": operator.delitem,
    "contains": operator.contains, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "matmul": operator.matmul,
    "truediv": operator.truediv, "floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow,
    "and": operator.and_, "or": operator.or_, "xor": operator.xor, "neg": operator.neg, "pos": operator.pos,
    "lshift": operator.lshift, "rshift": operator.rshift, "divmod": divmod, "bytes": bytes, "complex": complex,
    "floor": math.floor, "ceil": math.ceil, "trunc": math.trunc, "invert": operator.invert,
    "eq": lambda left, right: bool(left == right), "dir": dir, "call": call,
    "missing": lambda target, key: type(target).__missing__(target, key),
    "enter": lambda target: type(target).__enter__(target),
    "exit": lambda target, *error: type(target).__exit__(target, *_details(*error)), "copy": copy.copy,
    "deepcopy": copy.deepcopy, "send": lambda target, value: target.send(value), "throw": _throw,
    "close": lambda target: target.close(), "wait": _wait, "cancel": _cancel, "aiter": aiter,
    "anext": lambda target: _await(anext(target)),
    "aenter": lambda target: _await(type(target).__aenter__(target)),
    "aexit": lambda target, *error: _await(type(target).__aexit__(target, *_details(*error))),
    **{name: getattr(operator, name) for name in IN_PLACE},
}  # fmt: skip
