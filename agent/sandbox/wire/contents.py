"""What mutable containers hold: read, compared and replaced without running the code of their classes.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from itertools import chain
from operator import is_
from typing import Any

from agent.sandbox.wire.codec import Malformed

Kind = tuple[Callable[[Any], list[Any]], Callable[[Any, list[Any]], None]]
"""What a container holds, flat, mappings as key, value, key, value ...; and what makes it hold something else."""


def kind_of(held: object) -> Kind | None:
    """How `held` is read and filled if it is a container that can be changed, of a built-in class or one below."""
    kind = KINDS.get(type(held))
    if kind is None and isinstance(held, list | dict | set):
        return KINDS[next(base for base in (list, set, collections.OrderedDict, dict) if isinstance(held, base))]
    return kind


def news(held: object, kind: Kind, before: Sequence[object]) -> list[Any] | None:
    """What a container holds, None if that is the same objects as before."""
    now: list[Any] = held if type(held) is list else kind[0](held)
    if len(before) == len(now):
        if all(map(is_, before, now)):
            return None
        if type(held) is bytearray and before == now:
            return None
    return kind[0](held)


def _put_list(held: list[Any], flat: list[Any]) -> None:
    list.__setitem__(held, slice(None), flat)


def _put_set(held: set[Any], flat: list[Any]) -> None:
    made = set(flat)
    set.clear(held)
    set.update(held, made)


def _put_deque(held: collections.deque[Any], flat: list[Any]) -> None:
    held.clear()
    held.extend(flat)


def _put_bytes(held: bytearray, flat: list[Any]) -> None:
    if len(flat) != 1 or type(flat[0]) is not bytes:
        raise Malformed("a bytearray of something else than bytes")
    held[:] = flat[0]


def _pairs(held: dict[Any, Any]) -> list[Any]:
    return list(chain.from_iterable(dict.items(held)))


def _put_pairs(held: dict[Any, Any], flat: list[Any]) -> None:
    made = dict(zip(flat[::2], flat[1::2], strict=True))
    dict.clear(held)
    dict.update(held, made)


def _ordered(held: collections.OrderedDict[Any, Any]) -> list[Any]:
    return list(chain.from_iterable(collections.OrderedDict.items(held)))


def _put_ordered(held: collections.OrderedDict[Any, Any], flat: list[Any]) -> None:
    made = dict(zip(flat[::2], flat[1::2], strict=True))
    collections.OrderedDict.clear(held)
    for key, value in made.items():
        collections.OrderedDict.__setitem__(held, key, value)


def _defaults(held: collections.defaultdict[Any, Any]) -> list[Any]:
    return [held.default_factory, *_pairs(held)]


def _put_defaults(held: collections.defaultdict[Any, Any], flat: list[Any]) -> None:
    _put_pairs(held, flat[1:])
    held.default_factory = flat[0]


KINDS: dict[type, Kind] = {
    list: (list.copy, _put_list),
    set: (lambda held: list(set.__iter__(held)), _put_set),
    collections.OrderedDict: (_ordered, _put_ordered),
    collections.defaultdict: (_defaults, _put_defaults),
    dict: (_pairs, _put_pairs),
    collections.Counter: (_pairs, _put_pairs),
    collections.deque: (list, _put_deque),
    bytearray: (lambda held: [bytes(held)], _put_bytes),
}


def attributes(item: object) -> list[Any]:
    """What an instance holds, flat as a mapping."""
    found = dict(getattr(item, "__dict__", {}))
    for kind in type(item).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(item, name):
                found[name] = getattr(item, name)
    return list(chain.from_iterable(found.items()))


def put_attributes(item: object, flat: list[Any]) -> None:
    """Set attributes, unless one would hide what the class of `item` does; take the others away. Raises Malformed."""
    names = flat[::2]
    for name, value in zip(names, flat[1::2], strict=True):
        if type(name) is not str:
            raise Malformed("an attribute without a name")
        hidden = next((kind.__dict__[name] for kind in type(item).__mro__ if name in kind.__dict__), None)
        if name.startswith("__") or callable(hidden) or isinstance(hidden, classmethod | staticmethod):
            raise Malformed(f"an attribute where the class has {name[:100]!r}")
        setattr(item, name, value)
    for name in set(attributes(item)[::2]).difference(names):
        delattr(item, name)


INSTANCE: Kind = attributes, put_attributes
