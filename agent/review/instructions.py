"""Whether a program keeps to what the statement asks of its form: the signature it gives, names and constructs to use
or not to use. What cannot be told for certain from the program's text is not judged."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from agent.review.demands import Demand, demands
from agent.stub import code_tree, is_unfinished
from memory.records import Problem

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Check:
    """One instruction that could be judged."""

    text: str
    """The instruction, in a few words."""
    kept: bool


def checks(problem: Problem, tree: ast.Module) -> tuple[Check, ...]:
    """Every instruction of the statement that the program certainly keeps or certainly does not."""
    found = [_signature(problem, tree)]
    program = _Program.of(tree)
    for demand in demands(problem.statement):
        used = _uses(program, demand)
        if used is not None:
            verb = "use" if demand.wanted else "do not use"
            found.append(Check(f"{verb} {demand.subject.name}", used is demand.wanted))
    return tuple(check for check in found if check is not None)


def _signature(problem: Problem, tree: ast.Module) -> Check | None:
    """The entry point as the statement begins it; None where it begins none, or the program makes it another way."""
    given = code_tree(problem.statement)
    stated = None if given is None else _definition(given, problem.entry_point)
    if problem.entry_point is None or stated is None or not is_unfinished(stated):
        return None
    text = f"keep the signature of {problem.entry_point}"
    written = _definition(tree, problem.entry_point)
    if written is None:
        return None if problem.entry_point in _bound(tree) else Check(text, False)
    return Check(text, _keeps(written, stated))


def _definition(tree: ast.Module, name: str | None) -> _Function | ast.ClassDef | None:
    """The last definition of that name at the top level."""
    found = [node for node in tree.body if isinstance(node, _Function | ast.ClassDef) and node.name == name]
    return found[-1] if found else None


def _keeps(written: _Function | ast.ClassDef, stated: _Function | ast.ClassDef) -> bool:
    if isinstance(stated, ast.ClassDef):
        methods = {node.name: node for node in getattr(written, "body", []) if isinstance(node, _Function)}
        return isinstance(written, ast.ClassDef) and all(
            node.name in methods and _keeps(methods[node.name], node)
            for node in stated.body
            if isinstance(node, _Function) and is_unfinished(node)
        )
    if type(written) is not type(stated) or isinstance(written, ast.ClassDef):
        return False
    ours, theirs = written.args, stated.args
    positional, asked = [*ours.posonlyargs, *ours.args], [*theirs.posonlyargs, *theirs.args]
    names, wanted = [arg.arg for arg in positional], [arg.arg for arg in asked]
    further = len(positional) - len(asked)
    return (
        names[: len(wanted)] == wanted
        and len(ours.defaults) >= further + len(theirs.defaults)
        and (ours.vararg is not None) >= (theirs.vararg is not None)
        and (ours.kwarg is not None) >= (theirs.kwarg is not None)
        and _keyword_only(theirs).items() <= _keyword_only(ours).items()
        and all(name in _keyword_only(theirs) or default for name, default in _keyword_only(ours).items())
    )


def _keyword_only(arguments: ast.arguments) -> dict[str, bool]:
    """Name and whether there is a default."""
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {argument.arg: default is not None for argument, default in pairs}


@dataclass(frozen=True, slots=True)
class _Program:
    """What a program's text shows of what it uses."""

    nodes: tuple[ast.AST, ...]
    bound: frozenset[str]
    read: frozenset[str]
    attributes: frozenset[str]
    imported: frozenset[str]
    """Modules, with every package above them, and `module.name`."""

    @classmethod
    def of(cls, tree: ast.Module) -> _Program:
        nodes = tuple(ast.walk(tree))
        return cls(
            nodes=nodes,
            bound=frozenset(_bound(tree)),
            read=frozenset(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)),
            attributes=frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute)),
            imported=frozenset(_imported(nodes)),
        )


_KIN = {"sort": "sorted", "sorted": "sort", "reverse": "reversed", "reversed": "reverse"}
"""Who forbids one may mean the other as well."""
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_NODES: dict[str, tuple[type[ast.AST], ...]] = {
    "for loop": (ast.For, ast.AsyncFor),
    "while loop": (ast.While,),
    "loop": (ast.For, ast.AsyncFor, ast.While),
    "list comprehension": (ast.ListComp,),
    "comprehension": _COMPREHENSIONS,
    "lambda": (ast.Lambda,),
}


def _uses(program: _Program, demand: Demand) -> bool | None:
    """Whether the program uses what the demand is about; None if its text does not tell."""
    kind, name = demand.subject.kind, demand.subject.name
    if kind == "construct":
        return _has(program, name)
    last = name.rpartition(".")[2]
    if last in program.bound:
        return None
    if kind == "module":
        used = name in program.imported or name in program.read or (name == "re" and "regex" in program.imported)
    elif kind == "method":
        used = last in program.attributes
    else:
        full = name in program.imported or any(module.endswith(f".{name}") for module in program.imported)
        used = full or (name in program.read if kind == "function" else _reads_member(program, name))
        if not used and last in program.attributes | program.read:
            return None
    return None if not used and _KIN.get(last) in program.read | program.attributes else used


def _has(program: _Program, construct: str) -> bool | None:
    """Whether a construct occurs. `typing` and `__future__` are no imports that anybody would forbid."""
    if construct == "recursion":
        return _recursive(program)
    if construct.endswith("import"):
        modules = {full.partition(".")[0] for full in program.imported} - {"typing", "__future__"}
        return bool(modules - sys.stdlib_module_names if construct.startswith("third") else modules)
    found = any(isinstance(node, _NODES[construct]) for node in program.nodes)
    if not found and "loop" in construct and any(isinstance(node, _COMPREHENSIONS) for node in program.nodes):
        return None
    return found


def _reads_member(program: _Program, name: str) -> bool:
    return any(isinstance(node, ast.Attribute) and ast.unparse(node) == name for node in program.nodes)


def _imported(nodes: tuple[ast.AST, ...]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                yield from (".".join(parts[: end + 1]) for end in range(len(parts)))
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.partition(".")[0]
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _bound(tree: ast.AST) -> set[str]:
    """Names that the program gives a meaning of its own, anywhere; imports do not count."""
    bound: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                bound.add(name)
    return bound


def _recursive(program: _Program) -> bool | None:
    """Whether a function reaches itself over the names that it reads; None if it may, over attributes of other objects
    or names that it binds itself."""
    bodies: dict[str, list[ast.AST]] = {}
    for node in program.nodes:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bodies.setdefault(name, []).append(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda() as function):
                bodies.setdefault(name, []).append(function)
    certain = {name: set[str]().union(*map(_called, nodes)) for name, nodes in bodies.items() if len(nodes) == 1}
    if any(name in _reached(name, certain) for name in certain):
        return True
    possible = {name: set[str]().union(*map(_named, nodes)) for name, nodes in bodies.items()}
    return None if any(name in _reached(name, possible) for name in possible) else False


def _called(function: ast.AST) -> set[str]:
    """Names that are read and not bound inside, and attributes of `self` and `cls`."""
    inside = _inside(function)
    own = {node.arg for node in inside if isinstance(node, ast.arg)}
    own |= {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    read = {node.id for node in inside if isinstance(node, ast.Name)}
    return (read - own) | {
        node.attr
        for node in inside
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
    }


def _named(function: ast.AST) -> set[str]:
    inside = _inside(function)
    return {node.id for node in inside if isinstance(node, ast.Name)} | {
        node.attr for node in inside if isinstance(node, ast.Attribute)
    }


def _inside(function: ast.AST) -> list[ast.AST]:
    """Arguments and body; what decorates a function is outside of it."""
    decorators = {id(inner) for outer in getattr(function, "decorator_list", []) for inner in ast.walk(outer)}
    return [node for node in ast.walk(function) if id(node) not in decorators]


def _reached(start: str, reads: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    pending = [start]
    while pending:
        for name in reads[pending.pop()] & reads.keys():
            if name not in reached:
                reached.add(name)
                pending.append(name)
    return reached
