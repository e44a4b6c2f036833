"""Stand-ins for the program's objects inside the judge: every use is a call into the program's process.

What a stand-in may do is limited where the program could cheat: it never equals plain data and is never smaller or
larger than plain data. The program sees the other operand of an operator, or of a method like one, only where the test
makes its object itself (`burnish_own`): by calling a class, which must be one by the name that the test uses too, since
the program may call anything a class. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

from agent.sandbox.judge.limits import NEEDS_PROCESS, Beyond

_CLAIMS = frozenset(
    ("startswith", "endswith", "issubset", "issuperset", "isdisjoint", "find", "rfind", "index", "rindex", "count")
)
"""Methods by which texts, lists and sets say whether what is expected of them holds."""


class Home(Protocol):
    """Where the objects are."""

    def call(self, target: object, positional: tuple[object, ...], named: dict[str, object]) -> object:
        """Call an object of the program."""

    def operate(self, name: str, *arguments: object) -> Any:
        """Apply an operation of `OPERATIONS`."""

    def attribute(self, target: object, name: str) -> Any:
        """An attribute of an object of the program."""

    def leave(self, name: str, target: object, error: BaseException | None) -> bool:
        """Leave the context of an object by the operation `name`; whether it keeps `error` to itself."""

    def decode(self, wire: Any) -> object:
        """A value from the program that is a copy. Raises Malformed."""

    def raised(self, number: Any) -> Exception:
        """An exception that test code raised in a call of the program."""

    def class_of(self, kind: KindOfProxy) -> Any:
        """The class whose instances have stand-ins of this kind."""


def refuse_claim(name: str) -> None:
    """Raises AttributeError for what only plain data can be asked."""
    if name in _CLAIMS:
        raise AttributeError(f"{name}: an object that stands for plain data must be plain data")


def is_programs(value: object) -> bool:
    """Whether `value` stands for an object of the program."""
    return isinstance(value, Proxy) or isinstance(type(value), KindOfProxy)


def become_own(value: Any) -> None:
    """The test made `value` itself, if it is an object of the program."""
    if is_programs(value):
        value.burnish_become_own()


class Proxy:
    """One object of the program: a function, a class or an instance."""

    __slots__ = (
        "__weakref__", "burnish_base", "burnish_builds", "burnish_class", "burnish_index", "burnish_kind",
        "burnish_name", "burnish_own", "burnish_program",
    )  # fmt: skip

    def burnish_init(
        self, program: Home, index: int, kind: str, name: str, owner: int | None = None, base: object = None
    ) -> None:
        """Fill the fields; `owner` is the reference of the class, `base` the plain value of an enum member."""
        keep = functools.partial(object.__setattr__, self)
        keep("burnish_program", program)
        keep("burnish_index", index)
        keep("burnish_kind", kind)
        keep("burnish_name", name)
        keep("burnish_class", owner)
        keep("burnish_base", base)
        keep("burnish_builds", None)
        keep("burnish_own", False)

    def burnish_known_as(self, name: str) -> None:
        """The test calls this object `name`; one name that no class has is enough for it not to be taken for one."""
        bare = name.strip("_")
        is_class = self.burnish_kind == "class" and bare[:1].isupper() and "_" not in bare
        object.__setattr__(self, "burnish_builds", is_class and self.burnish_builds is not False)

    def burnish_become_own(self) -> None:
        """The test made this object itself."""
        object.__setattr__(self, "burnish_own", True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__array"):
            raise AttributeError(f"{name} would let numpy read memory where the program says")
        if not (self.burnish_own or self.burnish_builds):
            refuse_claim(name)
        return self.burnish_program.attribute(self, name)

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return self.burnish_program.attribute(self, "__dict__")

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return self.burnish_program.attribute(self, "__doc__")

    def __setattr__(self, name: str, value: object) -> None:
        self.burnish_program.operate("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        self.burnish_program.operate("delattr", self, name)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        raise Beyond(f"a subclass of the program's {self.burnish_name} {NEEDS_PROCESS}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Proxy):
            if isinstance(other, KindOfProxy):
                return bool(self.burnish_index == other.burnish_of)
            if self.burnish_own:
                return self.burnish_program.operate("eq", self, other) is True
            return self.burnish_base is not None and bool(self.burnish_base == other)
        if self.burnish_index == other.burnish_index:
            return True
        both_own = self.burnish_own and other.burnish_own
        if not both_own and (self.burnish_class is None or self.burnish_class != other.burnish_class):
            return False
        return self.burnish_program.operate("eq", self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return int(self.burnish_program.operate("hash", self))

    def __instancecheck__(self, value: object) -> bool:
        return is_programs(value) and bool(self.burnish_program.operate("isinstance", value, self))

    def __subclasscheck__(self, kind: object) -> bool:
        return isinstance(kind, Proxy) and bool(self.burnish_program.operate("issubclass", kind, self))

    def __str__(self) -> str:
        return str(self.burnish_program.operate("str", self))

    def __repr__(self) -> str:
        return str(self.burnish_program.operate("repr", self))

    def __format__(self, spec: str) -> str:
        return str(self.burnish_program.operate("format", self, spec))

    def __dir__(self) -> list[str]:
        return list(self.burnish_program.operate("dir", self))

    def __copy__(self) -> Any:
        return self.burnish_program.operate("copy", self)

    def __deepcopy__(self, seen: object) -> Any:
        return self.burnish_program.operate("deepcopy", self)


class KindOfProxy(type):
    """Class of all stand-ins for instances of one class of the program: what `type` tells of them."""

    burnish_home: Home
    burnish_of: int

    def __call__(cls, *positional: object, **named: object) -> Any:
        return cls.burnish_home.class_of(cls)(*positional, **named)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        return cls.burnish_home.attribute(cls.burnish_home.class_of(cls), name)
