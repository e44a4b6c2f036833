"""What the tables of the experience store's SQLite file share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()
PAGE = 500
"""Values in one statement."""


class AnyText(sa.types.TypeDecorator[str]):
    """Text that need not be valid Unicode: what is not ASCII, and the backslash, are escaped."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else value.encode("unicode_escape").decode()

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return value if value is None or "\\" not in value else value.encode().decode("unicode_escape")


def pages(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Few enough for one statement each."""
    for start in range(0, len(items), PAGE):
        yield items[start : start + PAGE]
