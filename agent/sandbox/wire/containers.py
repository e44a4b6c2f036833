"""Mutable containers that both sides of a connection hold, so that each sees what the other does to them.

A container has a number from its first message on: even ones are given by the judge, odd ones by the program. It is
told by content once, afterwards as `["@", number]`. Before a side hands over control it looks which of the containers
that both hold have changed, and tells what they hold now; a container that nothing else on a side holds is forgotten
on both. An encoded value is

    v    the tagged value                         n    number of the first container that is told of in it
    c    [number, ["l", items]] of each that      o    what the instances in it hold, in order, as ["l", items]
         changed, read before `v`                 d    numbers that are forgotten: first, how many, first, how many ...

or `v` alone. `["M", ..., value]` is a value of a class below a built-in one. New containers are numbered as they come
when `c`, `v` and `o` are read in this order. `["o", name]` is an instance of a class that the problem statement gives,
such as the node of a list; it is a container like the others, and told apart from what refers to it, so that long
chains need no depth. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import base64
import collections
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from agent.sandbox.wire import codec
from agent.sandbox.wire.codec import (
    MAX_DEPTH,
    MAX_NODES,
    SCALARS,
    Encoder,
    Export,
    Json,
    Malformed,
    TooMuch,
    Unserialisable,
)
from agent.sandbox.wire.contents import INSTANCE, KINDS, Kind, kind_of, news
from agent.sandbox.wire.decoding import NOT_TAGGED, Decoder, Resolve, not_tagged

JUDGE, PROGRAM = 0, 1
"""The first numbers."""
_STEP = 2
_MOST = MAX_NODES // 2
"""Containers that both sides hold at one time."""

MIRRORED = (list, dict, set, int, float, str)
"""Classes whose instances, if of classes below, can have methods on the other side."""
NameOf = Callable[[object], str | None]
"""Name of the class of an object if the problem statement gives it."""
ClassOf = Callable[[str], type]
"""That class here. Raises KeyError."""


class Mirrors(Protocol):
    """Values of classes below built-in ones."""

    def tell(self, value: object) -> list[Json] | None:
        """`["M", ..., [...]]`, what the other side must know of the class; a reference; None if it travels as plain."""

    def make(self, told: list[Json], plain: object) -> object:
        """The value, from what followed the tag. Raises Malformed."""


class _Entry:
    """One container."""

    __slots__ = ("before", "inner", "kind", "number", "object", "references")

    def __init__(self, held: object, kind: Kind, number: int) -> None:
        self.object = held
        self.kind = kind
        self.number = number
        self.before: Sequence[object] = ()
        """What it held when the other side was told last."""
        self.inner: Sequence[_Entry] = ()
        """Those of the containers that `before` refers to, as often as it does."""
        self.references = 0
        """How often it stands in the `inner` of others."""


_Undo = tuple[Sequence[_Entry], Sequence[tuple[_Entry, Sequence[object]]], Sequence[int]]
"""Containers told of for the first time, what others held before, numbers told to be forgotten."""
_NOTHING: _Undo = (), (), ()


class Containers:
    """The containers of one side."""

    def __init__(
        self, first: int, export: Export, resolve: Resolve, name_of: NameOf, class_of: ClassOf, mirrors: Mirrors
    ) -> None:
        self._export = export
        self._mirrors = mirrors
        self._resolve = resolve
        self._name_of = name_of
        self._class_of = class_of
        self._next = first
        self._theirs = 1 - first
        self._entries: dict[int, _Entry] = {}
        self._numbered: dict[int, _Entry] = {}
        self._fresh: list[_Entry] | None = None
        self._instances: list[object] = []
        self._forgotten: list[int] = []
        self._undo: _Undo = _NOTHING

    def __len__(self) -> int:
        return len(self._numbered)

    def encode(self, value: object) -> Json:
        """`value` for the message that hands over control. Raises Unserialisable."""
        if self._fresh is not None:
            raise Unserialisable("a call while the value of another message is read")
        self._undo = _NOTHING
        if type(value) in SCALARS and not self._numbered and not self._forgotten:
            return codec.encode(value)
        encoder = Encoder(self._export, self._share, self._mirrors.tell)
        self._fresh, first = [], self._next
        try:
            changed = list(self._changed())
            told = [[entry.number, encoder.items("l", now, 0)] for entry, now in changed]
            encoder.spend(2 * len(told))
            wire: Json = {"v": encoder.value(value, 0)}
            del value
            encoder.spend(len(self._instances))
            instances = [encoder.items("l", INSTANCE[0](each), 0) for each in self._instances]
            if len(self._entries) > _MOST:
                raise Unserialisable(f"program and tests share more than {_MOST} containers")
        except BaseException:
            for entry in self._fresh:
                self._forget(entry)
            raise
        finally:
            fresh, self._fresh = self._fresh, None
            self._instances = []
        if fresh or changed or self._forgotten:
            self._settle(fresh, changed)
            wire |= {"n": first, "c": told, "o": instances, "d": _ranges(self._forgotten)}
            self._forgotten = []
        return wire

    def unsent(self) -> None:
        """What `encode` made last never left."""
        fresh, changed, forgotten = self._undo
        for entry in fresh:
            self._forget(entry)
        for entry, before in changed:
            self._keep(entry, before)
        self._forgotten = [*forgotten, *self._forgotten]
        self._undo = _NOTHING

    def decode(self, wire: Json) -> object:
        """The value, after all that came with it. Raises Malformed."""
        try:
            receiver = _Receiver(self._resolve, self._numbered, self._class_of, self._mirrors.make, wire.get("n"))
            changed = [(self._numbered[number], receiver.items(flat, 0)) for number, flat in wire.get("c", ())]
            targets = [entry.object for entry, _ in changed]
            value = receiver.value(wire["v"], 0)
            if len(wire) == 1 and not receiver.made:
                return value
            held = [receiver.items(flat, 0) for flat in wire.get("o", ())]
            for instance, flat in zip(receiver.instances, held, strict=True):
                INSTANCE[1](instance, flat)
            for made, (_, fill), flat in receiver.waiting:
                fill(made, flat)
            for (entry, flat), target in zip(changed, targets, strict=True):
                entry.kind[1](target, flat)
            forgotten = set(_each(wire.get("d", [])))
            fresh = self._received(receiver.made, wire.get("n"), forgotten)
        except NOT_TAGGED as error:
            raise not_tagged(error) from None
        for entry in fresh:
            self._keep(entry, entry.kind[0](entry.object))
        for entry, _ in changed:
            self._keep(entry, entry.kind[0](entry.object))
        for number in forgotten:
            if number in self._numbered:
                self._forget(self._numbered[number])
        return value

    def _share(self, value: object) -> Json:
        """What stands for a container; None if it is told of by its content, or is none."""
        entry = self._entries.get(id(value))
        if entry is not None:
            return ["@", entry.number]
        kind, name = kind_of(value), None
        if kind is None:
            name = self._name_of(value)
            if name is None:
                return None
            kind = INSTANCE
            self._instances.append(value)
        assert self._fresh is not None
        entry = self._entries[id(value)] = _Entry(value, kind, self._next)
        self._next += _STEP
        self._fresh.append(entry)
        return None if name is None else ["o", name]

    def _changed(self) -> Iterator[tuple[_Entry, list[Any]]]:
        """Those that hold something else than before, and what. Those that only this side's own records hold are
        forgotten."""
        for entry in list(self._numbered.values()):
            now = news(entry.object, entry.kind, entry.before)
            if now is not None:
                yield entry, now
            elif sys.getrefcount(entry.object) == _ALONE + entry.references:
                self._forgotten.append(entry.number)
                self._forget(entry)

    def _settle(self, fresh: list[_Entry], changed: list[tuple[_Entry, list[Any]]]) -> None:
        """Remember what was told. New containers that nothing here holds are the other side's alone."""
        kept: list[_Entry] = []
        self._undo = kept, [(entry, entry.before) for entry, _ in changed], [*self._forgotten]
        for entry, now in changed:
            self._keep(entry, now)
        for entry in fresh:
            if sys.getrefcount(entry.object) == _ALONE + entry.references:
                self._forgotten.append(entry.number)
                self._forget(entry)
            else:
                kept.append(entry)
                self._numbered[entry.number] = entry
                self._keep(entry, entry.kind[0](entry.object))

    def _received(self, made: list[tuple[object, Kind]], first: Json, forgotten: set[int]) -> list[_Entry]:
        """Those of the new containers that are kept."""
        if not made:
            return []
        if type(first) is not int or first < self._theirs or (first - self._theirs) % _STEP or first > 1 << 60:
            raise Malformed("numbers of containers that are no such")
        self._theirs = first + _STEP * len(made)
        fresh = []
        for number, (held, kind) in zip(range(first, self._theirs, _STEP), made, strict=True):
            if number not in forgotten:
                entry = self._entries[id(held)] = self._numbered[number] = _Entry(held, kind, number)
                fresh.append(entry)
        if len(self._entries) > _MOST:
            raise TooMuch(f"program and tests share more than {_MOST} containers")
        return fresh

    def _keep(self, entry: _Entry, now: Sequence[object]) -> None:
        for inner in entry.inner:
            inner.references -= 1
        entry.before, entry.inner = now, ()
        if not SCALARS.issuperset(map(type, now)):
            entry.inner = [inner for inner in map(self._entries.get, map(id, now)) if inner is not None]
            for inner in entry.inner:
                inner.references += 1

    def _forget(self, entry: _Entry) -> None:
        self._entries.pop(id(entry.object), None)
        self._numbered.pop(entry.number, None)
        self._keep(entry, ())
        entry.object = None


class _Receiver(Decoder):
    """The containers of one message; those that hash what they hold are filled when all is there."""

    def __init__(
        self,
        resolve: Resolve,
        numbered: dict[int, _Entry],
        class_of: ClassOf,
        mirror: Callable[[list[Json], object], object],
        first: Json,
    ) -> None:
        super().__init__(resolve, arrays=True)
        self._numbered = numbered
        self._class_of = class_of
        self._mirror = mirror
        self._first = first
        self.made: list[tuple[Any, Kind]] = []
        self.instances: list[object] = []
        self.waiting: list[tuple[Any, Kind, list[Any]]] = []

    def value(self, wire: Json, depth: int) -> object:
        if type(wire) is not list:
            return super().value(wire, depth)
        tag = wire[0]
        if tag == "l":
            found: list[object] = []
            self._made(found, depth)
            found += self.items(wire, depth)
            return found
        if tag in _EMPTY:
            made = _EMPTY[tag](wire)
            kind = self._made(made, depth)
            self.waiting.append((made, kind, self._flat(tag, wire, depth)))
            return made
        if tag == "@":
            return self._known(wire[1])
        if tag == "o":
            instance: object = object.__new__(self._class_of(wire[1]))
            self.made.append((instance, INSTANCE))
            self.instances.append(instance)
            return instance
        if tag == "M":
            return self._mirrored(wire, depth)
        if tag == "n":
            return Decoder(self._resolve, arrays=True).value(wire, depth)
        return super().value(wire, depth)

    def _mirrored(self, wire: list[Json], depth: int) -> object:
        *told, plain = wire[1:]
        if type(plain) is not list or plain[0] not in _MIRRORED:
            return self._mirror(told, super().value(plain, depth))
        made = self._mirror(told, _MIRRORED[plain[0]]())
        kind = self._made(made, depth)
        self.waiting.append((made, kind, self.items(plain, depth)))
        return made

    def _made(self, made: object, depth: int) -> Kind:
        if depth > MAX_DEPTH:
            raise Malformed(f"nested deeper than {MAX_DEPTH}")
        kind = kind_of(made)
        if kind is None:
            raise Malformed("a container that is none")
        self.made.append((made, kind))
        return kind

    def _flat(self, tag: Json, wire: list[Json], depth: int) -> list[Any]:
        if tag == "e":
            return [self.value(wire[1], depth + 1), *self.items(wire[2], depth)]
        if tag == "q":
            return self.listed(wire[2], depth)
        return [base64.b64decode(wire[1], validate=True)] if tag == "B" else self.items(wire, depth)

    def _known(self, number: Json) -> object:
        if type(number) is not int:
            raise Malformed("a container without number")
        if number in self._numbered:
            return self._numbered[number].object
        place, between = divmod(number - self._first, _STEP)
        if place < 0 or between:
            raise Malformed("a container that was never told of")
        return self.made[place][0]


_EMPTY: dict[str, Callable[[list[Json]], object]] = {
    "d": lambda wire: {}, "s": lambda wire: set(), "B": lambda wire: bytearray(),
    "q": lambda wire: collections.deque(maxlen=wire[1]), "k": lambda wire: collections.Counter(),
    "O": lambda wire: collections.OrderedDict(), "e": lambda wire: collections.defaultdict(),
}  # fmt: skip
_MIRRORED: dict[str, type] = {"l": list, "d": dict, "s": set}
_SOME = _Entry([], KINDS[list], 0)
_ALONE = sys.getrefcount(_SOME.object)
"""Count of what nothing but an entry holds."""


def _ranges(numbers: list[int]) -> list[int]:
    """Numbers as first, how many, first, how many ..."""
    found: list[int] = []
    for number in numbers:
        if found and number == found[-2] + _STEP * found[-1]:
            found[-1] += 1
        else:
            found += (number, 1)
    return found


def _each(ranges: list[Json]) -> Iterator[int]:
    """The numbers again. Raises Malformed if they are too many."""
    if sum(ranges[1::2]) > MAX_NODES:
        raise Malformed("more containers are forgotten than there can be")
    for first, count in zip(ranges[::2], ranges[1::2], strict=True):
        yield from range(first, first + _STEP * count, _STEP)
