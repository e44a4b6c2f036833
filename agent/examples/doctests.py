"""Interpreter prompts `>>>` with the value, the printed text or the exception under them."""

from __future__ import annotations

import ast
import builtins
import doctest
import textwrap
from collections.abc import Iterator

from agent.examples.asserts import is_check
from agent.examples.values import MAX_EXAMPLE, is_constant, literal
from memory.records import AssertTest, CallTest, Test
from memory.syntax import compiles, parse

_PROMPT = ">>>"
_MAX_BLOCKS = 500
_VALUES = frozenset({"inf", "nan"})


def doctests(text: str) -> Iterator[Test]:
    """One test per prompt that shows what follows. Statements before it in the same block become its setup."""
    for number, block in enumerate(_blocks(text)):
        if number == _MAX_BLOCKS:
            return
        yield from _tests(block)


def _blocks(text: str) -> Iterator[str]:
    """Runs of lines from a prompt to the next blank line or fence."""
    block: list[str] = []
    for line in text.split("\n"):
        bare = line.strip()
        if bare.startswith(_PROMPT):
            block.append(bare)
        elif block and bare and not bare.startswith("```"):
            block.append(_kept(line, bare))
        elif block:
            yield "\n".join(block) + "\n"
            block = []
    if block:
        yield "\n".join(block) + "\n"


def _kept(line: str, bare: str) -> str:
    """Results stand at any indentation in prompts; what a statement goes on with keeps its own."""
    return line.lstrip() if line.lstrip().startswith("...") else bare


def _tests(block: str) -> Iterator[Test]:
    setup = ""
    for source, want, exception in _examples(block):
        tree = parse(source)
        if tree is None or not tree.body or len(source) > MAX_EXAMPLE:
            return  # what stands below may need what could not be read
        test = _test(tree, source, want, exception, setup)
        if test is not None:
            yield test
        if exception is not None and _changes(tree):
            return  # how far it came is not known
        if _changes(tree):
            setup += source + "\n"


def _examples(block: str) -> Iterator[tuple[str, str, str | None]]:
    """Source, wanted text and wanted exception of each prompt."""
    try:
        examples = doctest.DocTestParser().get_examples(block)
    except ValueError:
        return
    for example in examples:
        exception = _exception(example.want)
        yield example.source.strip(), "" if exception else example.want.strip(), exception


def _exception(want: str) -> str | None:
    """Name of the built-in exception in a traceback; `?` for another one."""
    lines = [line.strip() for line in want.strip().split("\n")]
    if not lines[0].startswith("Traceback (") or len(lines) < 2:
        return None
    name = lines[-1].partition(":")[0].strip()
    kind = getattr(builtins, name, None)
    return name if isinstance(kind, type) and issubclass(kind, Exception) else "?"


def _test(tree: ast.Module, source: str, want: str, exception: str | None, setup: str) -> Test | None:
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return None
    made: Test | None = None
    node = tree.body[0].value
    claim = _claim(tree, source)
    if exception is not None:
        made = raises(source, exception, setup) if exception != "?" and _calls_program(node, setup) else None
    elif claim is not None:
        if want in ("", "True"):
            made = AssertTest(source=f"{setup}assert {source}") if setup else CallTest(call=claim[0], expected=claim[1])
    elif want and _is_print(node):
        made = printed(node, want, setup) if _calls_program(node, setup) and "\n" not in want else None
    elif want and (value := _wanted(want)) is not None and _calls_program(node, setup):
        made = (
            AssertTest(source=f"{setup}assert ({source}) == {value}")
            if setup
            else CallTest(call=ast.get_source_segment(source, node) or source, expected=value)
        )
    if isinstance(made, AssertTest) and not compiles(made.source):
        return None
    return made


def _wanted(want: str) -> str | None:
    """The value that the interpreter, or a person, printed."""
    value = literal(want)
    if value is None:
        head, mark, _ = want.partition("#")
        value = literal(head) if mark else None
    return value


def _claim(tree: ast.Module, source: str) -> tuple[str, str] | None:
    """Call and value of `>>> f(1) == 2`."""
    match tree.body:
        case [ast.Expr(value=ast.Compare(left=ast.Call() as call, ops=[ast.Eq()], comparators=[value]))] if is_constant(
            value
        ) and is_check(call):
            return ast.get_source_segment(source, call) or "", ast.get_source_segment(source, value) or ""
        case _:
            return None


def _calls_program(node: ast.expr, setup: str) -> bool:
    """With a setup the names are its own; without one the expression must be a call by itself."""
    return bool(setup) or is_check(node)


def _is_print(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"


def _changes(tree: ast.Module) -> bool:
    """Whether later statements may depend on this one: no plain function of literals, no comparison or other value."""
    match tree.body:
        case [ast.Expr(value=ast.Call(func=ast.Name(), args=args, keywords=keywords))]:
            return not all(is_constant(value) for value in (*args, *(keyword.value for keyword in keywords)))
        case [ast.Expr(value=ast.Call())]:
            return True
        case [ast.Expr()]:
            return False
        case _:
            return True


def printed(node: ast.expr, text: str, setup: str = "") -> AssertTest | None:
    """A test that what `print(…)` prints of one value is the text, whatever the value's type."""
    match node:
        case ast.Call(args=[shown], keywords=[]) if not isinstance(shown, ast.Starred):
            return AssertTest(source=f"{setup}assert str({ast.unparse(shown)}) == {text!r}")
        case _:
            return None


def raises(source: str, exception: str, setup: str = "") -> AssertTest:
    """A test that the expression raises the exception."""
    caught = (
        f"try:\n{textwrap.indent(source, '    ')}\n    raised = None\nexcept {exception} as error:\n    raised = error"
    )
    return AssertTest(source=f"{setup}{caught}\nassert isinstance(raised, {exception})")
