"""What the judge cannot do. Standard library only: this module runs inside the jail."""

from __future__ import annotations

NEEDS_PROCESS = "needs the program's own objects: mark the tests in_process"


class Beyond(BaseException):
    """Test code asks for more than the judge can do, or gets a value that cannot travel. Not an Exception: a test that
    expects one must not take this for it."""
