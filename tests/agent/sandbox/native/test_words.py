"""What compilers and node say, read without running them."""

from __future__ import annotations

from agent.sandbox.native import complaints, stack

GXX = """\
In file included from main.cpp:3:
program.cpp: In function 'int main()':
program.cpp:2:10: error: 'missing' was not declared in this scope
    2 |  int x = missing(1);
      |          ^~~~~~~
program.cpp:9:3: error: no match for 'operator+' (operand types are 'A' and 'B')
    9 |   a + b;
      |   ~~^~~
"""
IN_A_HEADER = """\
/usr/include/c++/12/bits/stl_algo.h: In instantiation of 'void std::sort(...)':
program.cpp:5:12:   required from here
/usr/include/c++/12/bits/stl_algo.h:4820:22: error: no match for 'operator-'
 4820 |                                 std::__lg(__last - __first) * 2,
      |                                           ~~~~~~~^~~~~~~~~
"""


def test_complaints_have_places() -> None:
    first, second = complaints.read(GXX)
    assert (first.file, first.line, first.span) == ("program.cpp", 2, (2, 9, 2, 16))
    assert (second.message[:12], second.span) == ("no match for", (9, 2, 9, 7))
    fault = complaints.fault(first, GXX)
    assert (fault.type, fault.line, fault.traceback) == ("CompileError", 2, GXX.strip())


def test_a_complaint_in_a_header_is_told_where_the_program_needed_it() -> None:
    (found,) = complaints.read(IN_A_HEADER)
    assert (found.file, found.line, found.message) == ("program.cpp", 5, "no match for 'operator-'")


def test_the_linker_and_silence() -> None:
    linked = complaints.fault(None, "/usr/bin/ld: x.o: in function `main':\nmain.cpp: undefined reference to `f()'\n")
    assert (linked.type, linked.message, linked.line) == ("LinkError", "undefined reference to `f()'", None)
    assert complaints.fault(None, "").message == "the compiler gave up on this program"


def test_last_words_of_node_22_and_24_name_the_place() -> None:
    words = (
        "printed before\n/tmp/program.js:4\n  throw new RangeError('a: b')\n  ^\n\nRangeError: a: b\n"
        "    at f (/tmp/program.js:4:9)\n    at Object.<anonymous> (/tmp/program.js:6:1)\n"
        "    at Module._compile (node:internal/modules/cjs/loader:1554:14) {\n  code: 'X'\n}\n\nNode.js v24.1.0\n"
    )
    thrown = stack.last_words(words, before=2, lines=9)
    assert thrown is not None
    assert (thrown.fault.type, thrown.fault.message, thrown.fault.line) == ("RangeError", "a: b", 2)
    assert thrown.fault.span == (2, 2, 2, 3)
    assert "at f (program.js:2:9)\nat Object.<anonymous> (program.js:4:1)" in thrown.fault.traceback
    assert not (thrown.compiling or thrown.memory)
    assert stack.last_words("RangeError: a\n    at f (/tmp/program.js:4:9)\n", before=0, lines=9) is None


def test_memory() -> None:
    for words in (
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        "#\n# Fatal process out of memory: Zone\n#",
        "# Fatal JavaScript out of memory: Ineffective mark-compacts near heap limit",
    ):
        assert stack.out_of_memory(words)
    assert not stack.out_of_memory("the program says it is out of memory")
