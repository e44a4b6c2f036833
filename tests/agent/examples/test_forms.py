"""The forms in which people write examples, one after the other, and what is dropped in each."""

from __future__ import annotations

import pytest

from tests.agent.examples.shown import checks, in_chat

STUB = "def f(s, n=0):\n    pass\n\n"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (">>> f(1) == 2", ["f(1) == 2"]),
        (">>> f(1) == 2\nTrue", ["f(1) == 2"]),
        (">>> f(1) == 2\nFalse", []),
        (">>> print(f(1))\n2", ["assert str(f(1)) == '2'"]),
        (">>> f('a')\n\"b\"  # a comment", ["f('a') == \"b\""]),
        (">>> s = f()\n>>> s.add(1)\n>>> s.size()\n1", ["s = f()\ns.add(1)\nassert (s.size()) == 1"]),
        (">>> f(1)\n2\nwhich is right", []),
        (">>> len([1])\n1", []),
        (">>> f(undefined_name)\n2", []),
    ],
)
def test_interpreter_prompts(statement: str, expected: list[str]) -> None:
    assert checks(statement) == expected


def test_exceptions() -> None:
    wanted = (
        "try:\n    f(-1)\n    raised = None\nexcept ValueError as error:\n    raised = error\n"
        "assert isinstance(raised, ValueError)"
    )
    assert checks(">>> f(-1)\nTraceback (most recent call last):\n  ...\nValueError: negative\n") == [wanted]
    assert checks("f(-1) should raise ValueError") == [wanted]
    assert checks("f(-1) raises a Tantrum") == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("f(1) = 1, f(2) = 2 and f(3) = 4.", ["f(1) == 1", "f(2) == 2", "f(3) == 4"]),
        ("`f(1)` should return `2`.", ["f(1) == 2"]),
        ("f(1)  # 2", ["f(1) == 2"]),
        ("f(1)  # => [2]", ["f(1) == [2]"]),
        ("f(1) # counts to 2", []),
        ("print(f(1))  # 2", ["assert str(f(1)) == '2'"]),
        ("print(f(1))  # 'ab'", []),
        ("f(20) -> 20 - 5 - 6 = 9", ["f(20) == 9"]),
        ("f(20) -> 20 - 5 - 6 = 8", []),
        ("f(1) -> 2 or 3", []),
        ("f(1) -> 2 but should be 3", []),
        ("f(1) -> -3", ["f(1) == -3"]),
        ("f(1) returns 2 (wrong, 3 is expected)", []),
        ("currently f(1) returns 2", []),
        ("My function has a bug: f(1) returns 2. It should not.", []),
        ("f(1) == 2\nf(1) == 3", []),
        ("for f(1) == 2", ["f(1) == 2"]),
        ("for x in f(1) == 2", []),
        ("f(1, g(2)) == 3", []),
        ("f(1) == [1,\n 2]", ["f(1) == [1,\n 2]"]),
    ],
)
def test_calls_and_arrows(statement: str, expected: list[str]) -> None:
    assert checks(statement) == expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("Input: s = [2, 7], n = 9\nOutput: [0, 1]\nExplanation: 2 + 7.", ["f([2, 7], 9) == [0, 1]"]),
        ("**Input:** s = [2]\n**Output:** true", ["f([2]) == True"]),
        ("Input: 5\nOutput: -1", ["f(5) == -1"]),
        ("Input: s = [2] Output: [1]", ["f([2]) == [1]"]),
        ("Input:\n  text : 'a'\n  times : 2\nOutput: 'aa'", ["f('a', 2) == 'aa'"]),
        ("Input: n = 5, s = 1\nOutput: 6", ["f(1, 5) == 6"]),
        ("Input: s = abc\nOutput: 3", []),
        ("Input: q = 1, r = 2, t = 3\nOutput: 3", []),
        ("Input: s = [3]\nOutput: 2, s = [2, _]", []),
        ("Input: s = 1\nExample 2:\nOutput: 3", []),
        ('For s = "AB" the output should be 1.', ['f("AB") == 1']),
        ('For s = "a", n = 2 the sum will be 6 and the output should be "110".', ['f("a", 2) == "110"']),
        ("If s = 3, then the list is [1] and more.", []),
    ],
)
def test_values_by_name(statement: str, expected: list[str]) -> None:
    assert checks(STUB + statement) == expected


def test_values_and_a_return_line_in_a_docstring() -> None:
    text = "def f(s):\n    '''Example:\n    s = [2, 1]\n      -> sort -> [1, 2]\n    return [1, 2]\n    '''\n"
    assert checks(text) == ["f([2, 1]) == [1, 2]"]


def test_code_is_no_example() -> None:
    assert in_chat("Fix this:\n```python\ndef f(x):\n    # example\n    x = 3\n    return 4\n```") == []
    assert in_chat("Fix this:\n```python\ndef f(x):\n    # example\n    x = 3\n    return 4\n    retrun 2 2\n```") == []
    assert checks("y = f(1) == 2") == []


def test_a_method_is_called_on_an_instance_and_annotations_guard_it() -> None:
    stub = "```python\nclass Solution:\n    def two(self, nums: List[int], t: int) -> List[int]:\n```"
    block = "Input: nums = [2, 7], t = 9\nOutput: [0, 1]\n\n"
    assert in_chat(f"Complete.\n{block}{stub}") == ["Solution().two([2, 7], 9) == [0, 1]"]
    assert in_chat(f"Complete.\ntwo([3], 3) ➞ [0]\n{stub}") == ["Solution().two([3], 3) == [0]"]
    assert in_chat(f"Complete.\n{block}{stub.replace('-> List[int]', '-> int')}") == []
    assert in_chat(f"Complete.\n{block}{stub.replace('nums: List[int]', 'nums: ListNode')}") == []


def test_a_class_driven_by_lists() -> None:
    statement = (
        'Complete.\nInput\n["Stack", "push", "pop"]\n[[], [3], []]\nOutput\n[null, null, 3]\n\n'
        "```python\nclass Stack:\n    def push(self, x: int) -> None:\n        pass\n    def pop(self) -> int:\n        pass\n```"
    )
    assert in_chat(statement) == ["made = Stack()\nassert [made.push(3), made.pop()] == [None, 3]"]


def test_a_strange_name_and_bare_words() -> None:
    assert checks("def f(a):\n    pass\n\nExample:\ng([1]) ==> 2") == ["f([1]) == 2"]
    assert checks("def f(a):\n    pass\n\nLet g reverse. Example:\ng([1]) ==> 2") == []
    words = "def f(s):\n    '''Is the string s happy?\n    Examples:\n    f(aa) => False\n    f(ab) => True\n    '''"
    assert checks(words) == ['f("aa") == False', 'f("ab") == True']
    assert checks(words.replace("string s", "thing s")) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("Input\nA number.\nOutput\nIts double.\nExamples\nInput\n3\n1 2\nOutput\n6\n\nInput\n1\nOutput\n2\nNote\nOk", ["3\n1 2\n-> 6\n", "1\n-> 2\n"]),
        ("-----Sample Input-----\n5\n\n-----Sample Output-----\nYes\n5\n\nThe figure below shows the tree.", ["5\n-> Yes\n5\n"]),
        ("Sample Input 1:\n```\n1\n\n2\n```\nSample Output 1:\n```\n3\n\n4\n```\nDone.", ["1\n\n2\n-> 3\n\n4\n"]),
        ("Sample Input 1\n1\nSample Input 2\n2\nSample Output 1\n3\nSample Output 2\n4", []),
        ("Example\ninputCopy\n1\noutputCopy\n-1", ["1\n-> -1\n"]),
        ("样例输入\n1\n\n样例输出\n2\n", ["1\n-> 2\n"]),
        ("Sample Input\n1\nSample Output\n2\n\nGood luck!", []),
        ("Sample Input\n1\nSample Output\n2\nPlease write it in Python.", []),
    ],
)  # fmt: skip
def test_standard_input(statement: str, expected: list[str]) -> None:
    assert checks(statement, None) == expected


def test_pasted_files() -> None:
    tests = "import pytest\nfrom mine import f\n\ndef test_one():\n    assert f(1) == 2\n"
    assert in_chat(f"Write f so that my tests pass:\n```python\n{tests}```\nThanks.") == [f"pytest: {tests}"]
    assert in_chat(f"Write f so that these pass.\n\n{tests}\nThanks a lot!") == [f"pytest: {tests}"]
    case = "import unittest\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 2)\n"
    assert in_chat(f"Fix f:\n```python\ndef f(x):\n    return x\n```\n```python\n{case}```") == [f"unittest: {case}"]
    both = "def f(x):\n    return x\n\ndef test_f():\n    assert f(1) == 2\n"
    assert checks(f"This fails:\n```python\n{both}```") == ["pytest: def test_f():\n    assert f(1) == 2\n"]


def test_failure_reports() -> None:
    assert checks("Failed example:\n    f(2)\nExpected:\n    4\nGot:\n    5\n") == ["f(2) == 4"]
    trace = (
        'Traceback (most recent call last):\n  File "a.py", line 3, in <module>\n    assert f(2) == 4\nAssertionError'
    )
    assert checks(f"this fails with\n{trace}") == ["assert f(2) == 4"]


@pytest.mark.parametrize(
    "text",
    ["x" * 300_000, "f(" * 50_000, "Sample" + " " * 100_000, "assert (" * 12_000, (" " * 99 + "\n") * 1900, "[" * 9000],
)
def test_long_texts_end(text: str) -> None:
    assert checks(text) == []
