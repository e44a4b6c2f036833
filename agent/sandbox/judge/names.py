"""The program's names as test code in the judge finds them: by use, and by import under any module name.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from agent.sandbox.judge.limits import NEEDS_PROCESS, Beyond
from agent.sandbox.judge.program import Program
from agent.sandbox.judge.proxy import Proxy
from agent.sandbox.suite.recorder import MissingName

_ACTIVE = frozenset(
    ("antigravity", "conftest", "ensurepip", "idlelib", "lib2to3", "site", "test", "tests", "this", "turtle",
     "turtledemo")
)  # fmt: skip
"""What opens, prints, installs or tests something when it is imported."""
_NO_CLASS = "_"
"""What tests know the entry point as: its results are answers, even if it is called a class."""
_ALIASES = {("np", "numpy"), ("pd", "pandas"), ("plt", "matplotlib.pyplot"), ("dt", "datetime")}


class Names:
    """The program's names as its process reported them."""

    def __init__(self, program: Program, reported: list[list[str]], base: dict[str, Any], root: str) -> None:
        self._program = program
        self._root = root
        self._base = base
        self._reported = {name: where for name, *where in reported}
        self._taken: frozenset[str] = frozenset()

    def keep(self, names: frozenset[str]) -> None:
        """Names that the test code which runs next gives a meaning itself."""
        self._taken = names

    def public(self) -> list[str]:
        """What `import *` brings: never another meaning of a name that everybody or the test code has, unless it is the
        entry point."""
        return [name for name, entry in self._reported.items() if name == self._root or self._is_public(name, entry)]

    def _is_public(self, name: str, entry: list[str]) -> bool:
        known = hasattr(builtins, name) or name in sys.stdlib_module_names
        return not name.startswith("_") and name not in self._taken and not (known and entry[0] != "import")

    def find(self, name: str, *, called: bool = False) -> Any:
        """The object behind `name`, which is a module of the standard library rather than the program's unless it is
        `called`. Raises KeyError if the program does not define it."""
        kind, *place = self._reported[name]
        if kind == "import":
            return _imported(name, *place)
        if name in sys.stdlib_module_names and name != self._root and not called and _may_be_imported(name):
            return _imported(name, name, "")
        return self._own(name)

    def _own(self, name: str) -> Any:
        kind, *number = self._reported[name]
        found = self._program.function(name, int(*number)) if kind == "function" else self._program.name(name)
        if name == self._root and isinstance(found, Proxy):
            found.burnish_known_as(_NO_CLASS)
        return found

    def find_for_import(self, name: str) -> Any:
        """As `find`, with what the prelude defines; an own name is the program's, whatever else has it. Raises
        MissingName."""
        try:
            if self._reported[name][0] != "import":
                return self._own(name)
            return self.find(name)
        except KeyError:
            if name in self._base and not name.startswith("__"):
                return self._base[name]
            raise MissingName(f"cannot import name {name!r} from the program") from None


class Finder:
    """Lets test code import the program under any name that nothing else has, on no machine."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None or name.startswith("_") or name in sys.stdlib_module_names:
            return None
        return ModuleSpec(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        made = _ProgramModule(spec.name)
        made.__dict__["__getattr__"] = self._attribute
        return made

    def exec_module(self, module: ModuleType) -> None:
        return

    def _attribute(self, name: str) -> Any:
        if name == "__all__":
            return self._names.public()
        if name.startswith("__"):
            raise AttributeError(name)
        return self._names.find_for_import(name)


class _ProgramModule(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("__"):
            raise Beyond(f"patching {name!r} of the program's module {NEEDS_PROCESS}")
        super().__setattr__(name, value)


def _imported(name: str, module: str, attribute: str) -> Any:
    """What the program imported under `name`, imported here from the same place; only where the names agree, so that
    a program cannot give the tests another function than the one they mean. Raises KeyError if there is none, whatever
    the import itself did."""
    agrees = (
        attribute.split(".")[-1] == name if attribute else module.split(".")[-1] == name or (name, module) in _ALIASES
    )
    if not agrees or not _may_be_imported(module):
        raise KeyError(name)
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
    except BaseException:
        raise KeyError(name) from None
    return found


def _may_be_imported(module: str) -> bool:
    """Whether a program may have the judge import `module`: of a known package, and none that does more than define
    things when it is imported."""
    parts = module.split(".")
    known = parts[0] in sys.stdlib_module_names or parts[0] in ("numpy", "pandas")
    return known and not any(part in _ACTIVE or part.startswith("__") for part in parts)
