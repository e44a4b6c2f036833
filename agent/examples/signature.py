"""What the statement says about the function its examples call: how to call it, with which parameters."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.examples.values import value_of
from agent.stub import code_tree, is_unfinished
from memory.syntax import parse

_DEFINITION = r"^[ \t]*(?:async[ \t]+)?def[ \t]+{name}[ \t]*(?=\()"
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool, int),
    "list": (list, tuple),
    "List": (list, tuple),
    "dict": (dict,),
    "Dict": (dict,),
    "set": (set, list),
    "Set": (set, list),
    "tuple": (tuple, list),
    "Tuple": (tuple, list),
}
"""What an annotation admits; one that is not here admits everything."""
_NODES = re.compile(r"\b(?:ListNode|TreeNode|Node|NestedInteger)\b")
"""Types of LeetCode that a literal cannot be."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter that a call has to fill."""

    name: str
    annotation: str
    required: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """How the examples' function is called."""

    name: str
    """As examples call it, without a class before it."""
    target: str
    """Expression to be called: `f` or `Solution().two_sum`."""
    parameters: tuple[Parameter, ...] | None
    """Without `self`; None if the statement does not tell them."""
    returns: str = ""
    """Return annotation; empty if there is none."""
    is_stub: bool = False
    """The statement shows no body: an assignment and a `return` in it are no code."""

    def call(self, arguments: Sequence[str]) -> str:
        """The call with these arguments."""
        return f"{self.target}({', '.join(arguments)})"

    def accepts(self, values: dict[str, str]) -> bool:
        """Whether literals by parameter name fit names and annotations."""
        if self.parameters is None:
            return False
        known = {parameter.name: parameter for parameter in self.parameters}
        required = {parameter.name for parameter in self.parameters if parameter.required}
        return required <= set(values) <= set(known) and all(
            _fits(value, known[name].annotation) for name, value in values.items()
        )

    def takes(self, values: Sequence[str]) -> bool:
        """Whether literals by position fit count and annotations."""
        if self.parameters is None:
            return True
        if len(values) > len(self.parameters):
            return False
        return self.accepts({parameter.name: value for parameter, value in zip(self.parameters, values, strict=False)})

    def gives(self, expected: str) -> bool:
        """Whether a literal fits the return annotation; one that contradicts it was not read as it was meant."""
        return _fits(expected, self.returns)


def signature(statement: str, entry_point: str | None) -> Signature | None:
    """The function that examples of the statement call: the entry point, or the one method that is to be written in it.

    None without an entry point and for a class with several methods.
    """
    if entry_point is None or not entry_point.isidentifier():
        return None
    tree = code_tree(statement)
    for node in tree.body if tree is not None else []:
        if getattr(node, "name", None) != entry_point:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return _of(node, node.name, is_method=False)
        if isinstance(node, ast.ClassDef):
            return _of_class(node)
    return _from_header(statement, entry_point) or Signature(entry_point, entry_point, None)


def _of_class(node: ast.ClassDef) -> Signature | None:
    methods = [child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)]
    public = [method for method in methods if not method.name.startswith("_")]
    unfinished = [method for method in public if is_unfinished(method)] or public
    if any(method.name == "__init__" and len(method.args.args) > 1 for method in methods) or len(unfinished) != 1:
        return None
    return _of(unfinished[0], f"{node.name}().{unfinished[0].name}", is_method=True)


def _of(node: ast.FunctionDef | ast.AsyncFunctionDef, target: str, *, is_method: bool) -> Signature:
    arguments = [*node.args.posonlyargs, *node.args.args]
    defaults = len(node.args.defaults)
    required = [True] * (len(arguments) - defaults) + [False] * defaults
    parameters = tuple(
        Parameter(argument.arg, ast.unparse(argument.annotation) if argument.annotation else "", needed)
        for argument, needed in zip(arguments, required, strict=True)
    )
    if is_method and not any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in node.decorator_list):
        parameters = parameters[1:]
    open_ended = node.args.vararg or node.args.kwarg or node.args.kwonlyargs
    returns = ast.unparse(node.returns) if node.returns else ""
    return Signature(node.name, target, None if open_ended else parameters, returns, is_unfinished(node))


def _from_header(statement: str, name: str) -> Signature | None:
    """From `def name(…)` in code that is no Python as a whole: a program to be repaired, a header in prose."""
    match = re.search(_DEFINITION.format(name=re.escape(name)), statement, re.MULTILINE)
    if match is None:
        return None
    header = statement[match.start() : match.end() + 1000].lstrip()
    end = re.search(r":[ \t]*(?:#[^\n]*)?(?:\n|$)", header)
    tree = parse(f"{header[: end.start()] if end else header.partition(chr(10))[0]}: return")
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    node = tree.body[0]
    if node.args.args and node.args.args[0].arg == "self":
        return None
    return _of(node, node.name, is_method=False)


def _fits(value: str, annotation: str) -> bool:
    if not annotation:
        return True
    if _NODES.search(annotation):
        return False
    if annotation == "None":
        return value == "None"
    kinds = _KINDS.get(annotation.partition("[")[0].rpartition(".")[2])
    return kinds is None or isinstance(value_of(value), kinds)
